//! The wire: bytes to message and back. RFC 3261 §7, §8.2.6, §18, §19.1, §20 and §25; RFC 3581.
//!
//! It knows no policy: it says what stands in a message and what is wrong with it, never what is
//! to be done. It never changes the bytes it was given. A change is an entry in [`Edits`], applied
//! once when the message leaves; what no edit touches leaves as it came in, byte for byte.
//!
//! ```text
//!  bytes ─▶ frame (streams) ─▶ scan (steering) ─▶ parse ─▶ Message ─▶ uri via addr (on demand)
//!                                                            │
//!                                    bytes ◀─ apply ◀─ Edits ┴─▶ reply::write ─▶ bytes
//! ```
//!
//! Costs: one pass over the header, one entry of 14 bytes for each field, no allocation into a
//! [`Message`] that has been used before.

pub mod span;
pub mod error;
pub mod name;
pub mod method;
pub mod status;
mod lex;
pub mod host;
pub mod param;
pub mod uri;
pub mod addr;
pub mod cseq;
pub mod via;
mod parse;
pub mod message;
pub mod spare;
pub mod edit;
pub mod reply;
pub mod scan;
pub mod http;
pub mod frame;

pub use addr::NameAddr;
pub use cseq::CSeq;
pub use edit::{Edits, Press};
pub use error::{FrameError, HttpRefusal, Malformed, ParseError, UriError, Violation};
pub use frame::{Frame, Framer};
pub use message::{Header, Message};
pub use method::Method;
pub use name::HeaderName;
pub use param::Param;
pub use reply::Reply;
pub use span::Span;
pub use spare::Spare;
pub use uri::{Scheme, Uri};
pub use via::Via;

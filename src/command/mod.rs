//! The program around the library: arguments, configuration file, what the terminal shows.

pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod files;
pub(crate) mod start;
pub(crate) mod table;
pub(crate) mod text;

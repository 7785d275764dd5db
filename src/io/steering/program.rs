//! The kernel program: finds the Call-ID of a datagram as `sip::scan` does, and picks the socket
//! of its owner as `steer::owner` does (RFC 3261 §7.3.1, §7.3.3, §8.1.1.4).
//!
//! ```text
//!  CRLF* ──▶ start line ──▶ line start ──▶ name, blanks ──▶ ':' ──▶ value, folds ──▶ FOUND
//!  BEFORE     IN_LINE ◀──── LINE_START      AFTER_NAME               VALUE
//!                 └── any other ──▲              └─▶ IN_LINE
//! ```
//!
//! The kernel's `bpf_loop` calls [`step`] until the Call-ID has been read or there is none. Each
//! step copies the next [`WINDOW_SIZE`] bytes of the datagram into the frame, does what the place
//! it is at demands, and says how far it came. Lines of no interest are searched for their end
//! eight bytes at a time. All that steps share lies in the frame of the main function.
//!
//! What it cannot decide, like what has no Call-ID, goes to the owner of the empty one: more than
//! `limits::HEADER_COUNT_MAX` lines before the Call-ID, or more steps than [`STEP_COUNT_MAX`].
//! There the core reads the datagram itself and hands it over if need be.
//!
//! Costs: about 0.6 us for an INVITE with the Call-ID behind Via, From and To, a dozen steps. The
//! verifier sees each step once, whatever the length of a datagram: only the kernel's loop repeats.

use super::assembler::{Assembler, Helper, If, Instruction, Label, Op, Reg, Reg::*, Size};
use crate::limits::{HEADER_COUNT_MAX, MESSAGE_SIZE_MAX};

/// Bytes of the datagram that one step looks at.
const WINDOW_SIZE: i16 = 64;

/// Bytes of a Call-ID that one step takes in; the instructions for each byte are written out.
const VALUE_STRIDE: i16 = 32;

/// Steps for a datagram: as many as the longest one and the most lines can need, and as many
/// again for what is rarer. A hostile datagram of 60 kB costs at most about 150 us.
const STEP_COUNT_MAX: usize =
    2 * (MESSAGE_SIZE_MAX.div_ceil(WINDOW_SIZE as usize) + HEADER_COUNT_MAX);

/// The datagram begins with the header of UDP.
const UDP_HEADER_SIZE: i32 = 8;

/// `struct sk_reuseport_md`: bytes from the header of UDP on.
const CONTEXT_LENGTH: i16 = 16;

/// Where things lie in the frame, from its lower end.
///
/// Numbers have four bytes each, in the upper half of eight. The verifier keeps no account of
/// values that lie there, so it takes each step as one that may begin with any: the state behind
/// the first step is the state before it, and one look at the step is enough. If it knew the
/// values, it would follow them from step to step until it gave up.
mod frame {
    /// The context that the kernel gave; helpers want it. Eight bytes.
    pub(super) const CONTEXT: i16 = 0;
    /// How far the datagram has been read.
    pub(super) const AT: i16 = 12;
    /// Where it ends.
    pub(super) const LENGTH: i16 = 20;
    /// What the byte at `AT` belongs to.
    pub(super) const PLACE: i16 = 28;
    /// Lines that may still be looked at.
    pub(super) const LINES_LEFT: i16 = 36;
    /// The hash of the value so far, blanks within it included.
    pub(super) const HASH: i16 = 44;
    /// The hash up to the last byte that is no blank.
    pub(super) const VALUE_HASH: i16 = 52;
    /// What is known of the value, see [`super::BEGUN`].
    pub(super) const VALUE_FLAGS: i16 = 60;
    /// The number of the socket.
    pub(super) const KEY: i16 = 68;
    /// The bytes at `AT`, then zeros.
    pub(super) const WINDOW: i16 = 72;
    pub(super) const SIZE: i16 = WINDOW + super::WINDOW_SIZE;
}

/// Before the start line, where line ends are skipped.
const BEFORE: i32 = 0;
/// In a line that is not, or not yet known to be, the Call-ID.
const IN_LINE: i32 = 1;
/// Behind a line end.
const LINE_START: i32 = 2;
/// Behind a name that is the Call-ID's if a colon follows.
const AFTER_NAME: i32 = 3;
/// Behind that colon.
const VALUE: i32 = 4;
/// The Call-ID has been read.
const FOUND: i32 = 5;

/// The value has begun: blanks may be part of it.
const BEGUN: i32 = 1;
/// The last byte ended a line: the value goes on only if a blank follows.
const LINE_ENDED: i32 = 2;

/// The hash of nothing and its prime, as in `steer::hash`.
const HASH_BASIS: i32 = 0x811c_9dc5_u32 as i32;
const HASH_PRIME: i32 = 0x0100_0193;

const LINE_FEED: u8 = b'\n';
const RETURN: u8 = b'\r';

/// The frame of the main function, in every function here.
const FRAME: Reg = R6;

/// How many bytes the window has, in a step.
const COUNT: Reg = R7;

/// A program and where its second function begins.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    pub(super) step_at: u32,
}

/// The program for a group of `socket_count` sockets that stand in the map by shard.
pub(super) fn write(map: i32, socket_count: u16) -> Program {
    let mut asm = Assembler::default();
    let step_label = asm.label();
    main(&mut asm, step_label, map, socket_count);
    asm.place(step_label);
    step(&mut asm);
    Program {
        step_at: asm.place_of(step_label) as u32,
        instructions: asm.finish(),
    }
}

/// `main(context)`: chooses a socket and lets the datagram pass. When there is no socket in the
/// place it chose, the kernel spreads by its own hash.
fn main(asm: &mut Assembler, step: Label, map: i32, socket_count: u16) {
    const CONTEXT: Reg = R7;
    asm.op(Op::Mov, CONTEXT, R1);
    asm.op(Op::Mov, FRAME, R10);
    asm.op(Op::Add, FRAME, -i32::from(frame::SIZE));
    asm.store(Size::Eight, (FRAME, frame::CONTEXT), CONTEXT);
    asm.load(Size::Four, R1, (CONTEXT, CONTEXT_LENGTH));
    asm.store(Size::Four, (FRAME, frame::LENGTH), R1);
    asm.store(Size::Four, (FRAME, frame::AT), UDP_HEADER_SIZE);
    asm.store(Size::Four, (FRAME, frame::PLACE), BEFORE);
    asm.store(
        Size::Four,
        (FRAME, frame::LINES_LEFT),
        HEADER_COUNT_MAX as i32,
    );
    asm.store(Size::Four, (FRAME, frame::HASH), HASH_BASIS);
    asm.store(Size::Four, (FRAME, frame::VALUE_HASH), HASH_BASIS);
    asm.store(Size::Four, (FRAME, frame::VALUE_FLAGS), 0);
    clear_window(asm);

    asm.op(Op::Mov, R1, STEP_COUNT_MAX as i32);
    asm.function(R2, step);
    asm.op(Op::Mov, R3, FRAME);
    asm.op(Op::Mov, R4, 0);
    asm.call(Helper::Loop);

    // R1 = the hash of the Call-ID, or of the empty one.
    let scale = asm.label();
    asm.op_32(Op::Mov, R1, HASH_BASIS);
    asm.load(Size::Four, R2, (FRAME, frame::PLACE));
    asm.jump_if(R2, If::NotEqual, FOUND, scale);
    asm.load(Size::Four, R1, (FRAME, frame::VALUE_HASH));
    asm.place(scale);
    avalanche(asm, R1, R2);
    asm.op(Op::Mul, R1, i32::from(socket_count));
    asm.op(Op::Right, R1, 32);

    asm.store(Size::Four, (FRAME, frame::KEY), R1);
    asm.op(Op::Mov, R1, CONTEXT);
    asm.map(R2, map);
    asm.op(Op::Mov, R3, FRAME);
    asm.op(Op::Add, R3, i32::from(frame::KEY));
    asm.op(Op::Mov, R4, 0);
    asm.call(Helper::SkSelectReuseport);
    asm.op(Op::Mov, R0, 1);
    asm.exit();
}

/// The end of `steer::hash`.
fn avalanche(asm: &mut Assembler, hash: Reg, spare: Reg) {
    let rounds = [
        (16, Some(0x85eb_ca6b_u32)),
        (13, Some(0xc2b2_ae35)),
        (16, None),
    ];
    for (shift, factor) in rounds {
        asm.op_32(Op::Mov, spare, hash);
        asm.op_32(Op::Right, spare, shift);
        asm.op_32(Op::Xor, hash, spare);
        if let Some(factor) = factor {
            asm.op_32(Op::Mul, hash, factor as i32);
        }
    }
}

fn clear_window(asm: &mut Assembler) {
    for offset in (0..WINDOW_SIZE).step_by(8) {
        asm.store(Size::Eight, (FRAME, frame::WINDOW + offset), 0);
    }
}

/// Where a step goes on.
struct Exits {
    /// In a line, at the beginning of the window.
    in_line: Label,
    /// One byte further, at the same place.
    one_on: Label,
    /// As far as `AT` says.
    go_on: Label,
    stop: Label,
}

/// `step(index, frame)`: 0 to be called again, 1 when all is said.
fn step(asm: &mut Assembler) {
    let exits = Exits {
        in_line: asm.label(),
        one_on: asm.label(),
        go_on: asm.label(),
        stop: asm.label(),
    };
    let [line_start, after_name, value, end] = [(); 4].map(|()| asm.label());

    asm.op(Op::Mov, FRAME, R2);
    fill_window(asm, end, exits.stop);
    asm.load(Size::Four, R1, (FRAME, frame::PLACE));
    asm.jump_if(R1, If::Equal, IN_LINE, exits.in_line);
    asm.jump_if(R1, If::Equal, LINE_START, line_start);
    asm.jump_if(R1, If::Equal, AFTER_NAME, after_name);
    asm.jump_if(R1, If::Equal, VALUE, value);

    before(asm, &exits);
    asm.place(exits.in_line);
    in_line(asm, &exits);
    asm.place(line_start);
    at_line_start(asm, &exits);
    asm.place(after_name);
    behind_name(asm, &exits);
    asm.place(value);
    in_value(asm, &exits);
    asm.place(end);
    at_end(asm, &exits);

    asm.place(exits.one_on);
    advance(asm, 1);
    asm.place(exits.go_on);
    asm.op(Op::Mov, R0, 0);
    asm.exit();
    asm.place(exits.stop);
    asm.op(Op::Mov, R0, 1);
    asm.exit();
}

/// Copies the next bytes into the window; `COUNT` says how many, the rest is zeros.
fn fill_window(asm: &mut Assembler, end: Label, stop: Label) {
    let (full, load) = (asm.label(), asm.label());
    asm.load(Size::Four, COUNT, (FRAME, frame::LENGTH));
    asm.load(Size::Four, R2, (FRAME, frame::AT));
    asm.op(Op::Sub, COUNT, R2);
    asm.jump_if(COUNT, If::Equal, 0, end);
    asm.jump_if(COUNT, If::AtLeast, i32::from(WINDOW_SIZE), full);
    clear_window(asm);
    asm.jump(load);
    asm.place(full);
    asm.op(Op::Mov, COUNT, i32::from(WINDOW_SIZE));
    asm.place(load);
    asm.load(Size::Eight, R1, (FRAME, frame::CONTEXT));
    asm.op(Op::Mov, R3, FRAME);
    asm.op(Op::Add, R3, i32::from(frame::WINDOW));
    asm.op(Op::Mov, R4, COUNT);
    asm.call(Helper::SkbLoadBytes);
    asm.jump_if(R0, If::NotEqual, 0, stop);
}

/// Skips one line end; anything else begins the start line, and the search for its end follows.
fn before(asm: &mut Assembler, exits: &Exits) {
    asm.load(Size::One, R1, (FRAME, frame::WINDOW));
    asm.jump_if(R1, If::Equal, RETURN, exits.one_on);
    asm.jump_if(R1, If::Equal, LINE_FEED, exits.one_on);
}

/// Searches the window for a line feed and goes behind it, or behind the window.
fn in_line(asm: &mut Assembler, exits: &Exits) {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    let hit = asm.label();
    asm.wide(R2, LOWEST * u64::from(LINE_FEED));
    asm.wide(R4, LOWEST);
    asm.wide(R5, LOWEST << 7);
    for offset in (0..WINDOW_SIZE).step_by(8) {
        // Bytes that are line feeds become 0, and of a word `x` the highest bits of
        // `(x - LOWEST) & !x` mark bytes that are 0: the lowest mark is never wrong.
        asm.load_text(R1, (FRAME, frame::WINDOW + offset));
        asm.op(Op::Xor, R1, R2);
        asm.op(Op::Mov, R3, R1);
        asm.op(Op::Sub, R3, R4);
        asm.op(Op::Xor, R1, -1);
        asm.op(Op::And, R3, R1);
        asm.op(Op::And, R3, R5);
        asm.op(Op::Mov, R0, i32::from(offset));
        asm.jump_if(R3, If::NotEqual, 0, hit);
    }
    asm.store(Size::Four, (FRAME, frame::PLACE), IN_LINE);
    advance(asm, COUNT);
    asm.jump(exits.go_on);

    // The lowest mark alone, moved to the bottom of its byte k: times this number, the highest
    // byte of the product is k.
    asm.place(hit);
    asm.op(Op::Mov, R1, R3);
    asm.op(Op::Neg, R1, 0);
    asm.op(Op::And, R3, R1);
    asm.op(Op::Right, R3, 7);
    asm.wide(R1, 0x0001_0203_0405_0607);
    asm.op(Op::Mul, R3, R1);
    asm.op(Op::Right, R3, 56);
    asm.op(Op::Add, R0, R3);
    asm.op(Op::Add, R0, 1);
    asm.store(Size::Four, (FRAME, frame::PLACE), LINE_START);
    advance(asm, R0);
    asm.jump(exits.go_on);
}

/// Tells an empty line, a continued one, the Call-ID and other fields apart.
fn at_line_start(asm: &mut Assembler, exits: &Exits) {
    /// What makes the letters of `call-id` small and leaves the rest alone.
    const SMALL: [u8; 8] = [0, 0x20, 0x20, 0x20, 0x20, 0, 0x20, 0x20];
    let (field, matched) = (asm.label(), asm.label());
    asm.load_text(R1, (FRAME, frame::WINDOW));
    asm.op(Op::Mov, R2, R1);
    asm.op(Op::And, R2, 0xff);
    asm.jump_if(R2, If::Equal, b' ', exits.in_line);
    asm.jump_if(R2, If::Equal, b'\t', exits.in_line);
    asm.jump_if(R2, If::Equal, LINE_FEED, exits.stop);
    asm.jump_if(R2, If::NotEqual, RETURN, field);
    asm.op(Op::Mov, R3, R1);
    asm.op(Op::Right, R3, 8);
    asm.op(Op::And, R3, 0xff);
    asm.jump_if(R3, If::Equal, LINE_FEED, exits.stop);

    asm.place(field);
    asm.load(Size::Four, R3, (FRAME, frame::LINES_LEFT));
    asm.jump_if(R3, If::Equal, 0, exits.stop);
    asm.op(Op::Sub, R3, 1);
    asm.store(Size::Four, (FRAME, frame::LINES_LEFT), R3);

    // Seven bytes of the name, moved up so that the eighth is out of the way.
    asm.op(Op::Left, R1, 8);
    asm.wide(R3, u64::from_le_bytes(SMALL));
    asm.op(Op::Or, R1, R3);
    asm.wide(R3, u64::from_le_bytes(*b"\0call-id"));
    asm.op(Op::Mov, R4, 7);
    asm.jump_if(R1, If::Equal, R3, matched);
    asm.op(Op::Or, R2, 0x20);
    asm.jump_if(R2, If::NotEqual, b'i', exits.in_line);
    asm.op(Op::Mov, R4, 1);
    asm.place(matched);
    asm.store(Size::Four, (FRAME, frame::PLACE), AFTER_NAME);
    advance(asm, R4);
    asm.jump(exits.go_on);
}

/// Skips one blank or takes the colon; anything else makes it another name.
fn behind_name(asm: &mut Assembler, exits: &Exits) {
    asm.load(Size::One, R1, (FRAME, frame::WINDOW));
    asm.jump_if(R1, If::Equal, b' ', exits.one_on);
    asm.jump_if(R1, If::Equal, b'\t', exits.one_on);
    asm.jump_if(R1, If::NotEqual, b':', exits.in_line);
    asm.store(Size::Four, (FRAME, frame::PLACE), VALUE);
    asm.jump(exits.one_on);
}

/// Takes bytes of the value into the hash, without the blanks before and behind it.
fn in_value(asm: &mut Assembler, exits: &Exits) {
    const HASH: Reg = R8;
    const VALUE_HASH: Reg = R9;
    const FLAGS: Reg = R5;
    let (done, found) = (asm.label(), asm.label());
    asm.load(Size::Four, HASH, (FRAME, frame::HASH));
    asm.load(Size::Four, VALUE_HASH, (FRAME, frame::VALUE_HASH));
    asm.load(Size::Four, FLAGS, (FRAME, frame::VALUE_FLAGS));
    for offset in 0..VALUE_STRIDE {
        let [same_line, blank, line_feed, next] = [(); 4].map(|()| asm.label());
        asm.jump_if(COUNT, If::AtMost, i32::from(offset), done);
        asm.load(Size::One, R1, (FRAME, frame::WINDOW + offset));
        // Behind a line end: only a blank goes on with the value.
        asm.op(Op::Mov, R2, FLAGS);
        asm.op(Op::And, R2, LINE_ENDED);
        asm.jump_if(R2, If::Equal, 0, same_line);
        asm.op(Op::And, FLAGS, BEGUN);
        asm.jump_if(R1, If::Equal, b' ', same_line);
        asm.jump_if(R1, If::NotEqual, b'\t', found);
        asm.place(same_line);
        asm.op_32(Op::Xor, HASH, R1);
        asm.op_32(Op::Mul, HASH, HASH_PRIME);
        asm.jump_if(R1, If::Equal, LINE_FEED, line_feed);
        asm.jump_if(R1, If::Equal, b' ', blank);
        asm.jump_if(R1, If::Equal, b'\t', blank);
        asm.jump_if(R1, If::Equal, RETURN, blank);
        asm.op(Op::Or, FLAGS, BEGUN);
        asm.op(Op::Mov, VALUE_HASH, HASH);
        asm.jump(next);
        asm.place(line_feed);
        asm.op(Op::Or, FLAGS, LINE_ENDED);
        asm.place(blank);
        asm.jump_if(FLAGS, If::Common, BEGUN, next);
        asm.op_32(Op::Mov, HASH, HASH_BASIS);
        asm.place(next);
    }
    asm.place(done);
    asm.store(Size::Four, (FRAME, frame::HASH), HASH);
    asm.store(Size::Four, (FRAME, frame::VALUE_HASH), VALUE_HASH);
    asm.store(Size::Four, (FRAME, frame::VALUE_FLAGS), FLAGS);
    let short = asm.label();
    asm.jump_if(COUNT, If::AtMost, i32::from(VALUE_STRIDE), short);
    asm.op(Op::Mov, COUNT, i32::from(VALUE_STRIDE));
    asm.place(short);
    advance(asm, COUNT);
    asm.jump(exits.go_on);

    asm.place(found);
    asm.store(Size::Four, (FRAME, frame::VALUE_HASH), VALUE_HASH);
    asm.store(Size::Four, (FRAME, frame::PLACE), FOUND);
    asm.jump(exits.stop);
}

/// The datagram is over: a value counts if its line had ended.
fn at_end(asm: &mut Assembler, exits: &Exits) {
    asm.load(Size::Four, R1, (FRAME, frame::PLACE));
    asm.jump_if(R1, If::NotEqual, VALUE, exits.stop);
    asm.load(Size::Four, R1, (FRAME, frame::VALUE_FLAGS));
    asm.op(Op::And, R1, LINE_ENDED);
    asm.jump_if(R1, If::Equal, 0, exits.stop);
    asm.store(Size::Four, (FRAME, frame::PLACE), FOUND);
    asm.jump(exits.stop);
}

/// `AT` moves on.
fn advance(asm: &mut Assembler, distance: impl Into<super::assembler::Operand>) {
    asm.load(Size::Four, R1, (FRAME, frame::AT));
    asm.op(Op::Add, R1, distance);
    asm.store(Size::Four, (FRAME, frame::AT), R1);
}

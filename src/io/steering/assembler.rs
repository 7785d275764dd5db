//! A small assembler for eBPF: one method for each instruction, labels for jumps.
//!
//! The encoding is that of the kernel's `instruction-set.rst`. It knows what one program needs and
//! no more; whether a program is sound is the verifier's business. There is no text and no file
//! format in between: a program is a function that calls these methods.

/// A register. `R0` carries results, `R1` to `R5` arguments, which calls destroy; `R6` to `R9`
/// live through calls, and `R10` is the end of the stack frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The right side of an operation or a comparison.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Reg(Reg),
    /// Sign-extended where the operation is one of 64 bits.
    Value(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Operand::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Operand::Value(value)
    }
}

impl From<u8> for Operand {
    fn from(value: u8) -> Self {
        Operand::Value(value.into())
    }
}

/// An operation on a register.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Or = 0x40,
    And = 0x50,
    Left = 0x60,
    Right = 0x70,
    Neg = 0x80,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// A comparison of 64 bits without sign.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum If {
    Equal = 0x10,
    AtLeast = 0x30,
    /// They have bits in common.
    Common = 0x40,
    NotEqual = 0x50,
    AtMost = 0xb0,
}

/// How much of memory is read or written.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Size {
    Four = 0x00,
    One = 0x10,
    Eight = 0x18,
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(super) enum Helper {
    SkbLoadBytes = 26,
    SkSelectReuseport = 82,
    Loop = 181,
}

/// A place in the program, which may be used before it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// One instruction as the kernel reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WIDE: u8 = 0x18;
const LOAD: u8 = 0x61;
const STORE_VALUE: u8 = 0x62;
const STORE: u8 = 0x63;
const ALU_32: u8 = 0x04;
const JUMP: u8 = 0x05;
const ALU: u8 = 0x07;
const FROM_REG: u8 = 0x08;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// To the byte order in which the first byte in memory is the lowest.
const TO_LITTLE_ENDIAN: u8 = 0xd4;

/// What the source register of a wide load says its value is.
const IS_MAP: u8 = 1;
const IS_FUNCTION: u8 = 4;

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    places: Vec<Option<usize>>,
    /// Instructions that wait for the place of a label.
    open: Vec<(usize, Label)>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The next instruction is where this label stands.
    pub(super) fn place(&mut self, label: Label) {
        let old = self.places[label.0].replace(self.instructions.len());
        assert!(old.is_none(), "a label stands at one place");
    }

    pub(super) fn op(&mut self, op: Op, target: Reg, operand: impl Into<Operand>) {
        self.with_operand(ALU | op as u8, target, operand.into(), 0);
    }

    /// An operation on the lower 32 bits; the upper ones become 0.
    pub(super) fn op_32(&mut self, op: Op, target: Reg, operand: impl Into<Operand>) {
        self.with_operand(ALU_32 | op as u8, target, operand.into(), 0);
    }

    /// `target` = the memory at `base + offset`.
    pub(super) fn load(&mut self, size: Size, target: Reg, (base, offset): (Reg, i16)) {
        self.push(LOAD | size as u8, (target, base as u8), offset, 0);
    }

    /// Eight bytes of a message, the first one lowest whatever the machine.
    pub(super) fn load_text(&mut self, target: Reg, from: (Reg, i16)) {
        self.load(Size::Eight, target, from);
        self.push(TO_LITTLE_ENDIAN, (target, 0), 0, 64);
    }

    /// The memory at `base + offset` = a register, or a value.
    pub(super) fn store(&mut self, size: Size, to: (Reg, i16), operand: impl Into<Operand>) {
        let (base, offset) = to;
        match operand.into() {
            Operand::Reg(reg) => self.push(STORE | size as u8, (base, reg as u8), offset, 0),
            Operand::Value(n) => self.push(STORE_VALUE | size as u8, (base, 0), offset, n),
        }
    }

    pub(super) fn wide(&mut self, target: Reg, value: u64) {
        self.push(LOAD_WIDE, (target, 0), 0, value as i32);
        self.push(0, (Reg::R0, 0), 0, (value >> 32) as i32);
    }

    /// A reference to the map behind this descriptor.
    pub(super) fn map(&mut self, target: Reg, descriptor: i32) {
        self.push(LOAD_WIDE, (target, IS_MAP), 0, descriptor);
        self.push(0, (Reg::R0, 0), 0, 0);
    }

    /// A reference to the function that begins at the label.
    pub(super) fn function(&mut self, target: Reg, label: Label) {
        self.open.push((self.instructions.len(), label));
        self.push(LOAD_WIDE, (target, IS_FUNCTION), 0, 0);
        self.push(0, (Reg::R0, 0), 0, 0);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.open.push((self.instructions.len(), to));
        self.push(JUMP, (Reg::R0, 0), 0, 0);
    }

    pub(super) fn jump_if(&mut self, left: Reg, is: If, right: impl Into<Operand>, to: Label) {
        self.open.push((self.instructions.len(), to));
        self.with_operand(JUMP | is as u8, left, right.into(), 0);
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CALL, (Reg::R0, 0), 0, helper as i32);
    }

    pub(super) fn exit(&mut self) {
        self.push(EXIT, (Reg::R0, 0), 0, 0);
    }

    /// Where a label stands, counted in instructions.
    pub(super) fn place_of(&self, label: Label) -> usize {
        self.places[label.0].expect("every label is placed")
    }

    /// The program, with every jump going where its label stands.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in std::mem::take(&mut self.open) {
            let distance = self.place_of(label) as i64 - at as i64 - 1;
            let instruction = &mut self.instructions[at];
            if instruction.code == LOAD_WIDE {
                instruction.value = i32::try_from(distance).expect("programs are short");
            } else {
                instruction.offset = i16::try_from(distance).expect("jumps are short");
            }
        }
        self.instructions
    }

    fn with_operand(&mut self, code: u8, target: Reg, operand: Operand, offset: i16) {
        match operand {
            Operand::Reg(reg) => self.push(code | FROM_REG, (target, reg as u8), offset, 0),
            Operand::Value(n) => self.push(code, (target, 0), offset, n),
        }
    }

    fn push(&mut self, code: u8, (target, source): (Reg, u8), offset: i16, value: i32) {
        let (first, second) = (target as u8, source);
        // Two bit fields in one byte: compilers lay the first one where the byte order begins.
        let registers = match cfg!(target_endian = "little") {
            true => first | second << 4,
            false => first << 4 | second,
        };
        self.instructions.push(Instruction {
            code,
            registers,
            offset,
            value,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reg::*;

    #[test]
    fn instructions_are_what_the_kernel_reads() {
        type Write = fn(&mut Assembler);
        let table: [(Write, [u8; 8]); 12] = [
            (|a| a.op(Op::Mov, R6, R1), [0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            (
                |a| a.op(Op::Add, R6, -8),
                [0x07, 0x06, 0, 0, 0xf8, 255, 255, 255],
            ),
            (|a| a.op_32(Op::Xor, R1, R2), [0xac, 0x21, 0, 0, 0, 0, 0, 0]),
            (
                |a| a.op_32(Op::Right, R1, 16),
                [0x74, 0x01, 0, 0, 16, 0, 0, 0],
            ),
            (|a| a.op(Op::Neg, R1, 0), [0x87, 0x01, 0, 0, 0, 0, 0, 0]),
            (
                |a| a.load(Size::Eight, R1, (R6, 8)),
                [0x79, 0x61, 8, 0, 0, 0, 0, 0],
            ),
            (
                |a| a.load(Size::Four, R2, (R1, 16)),
                [0x61, 0x12, 16, 0, 0, 0, 0, 0],
            ),
            (
                |a| a.load(Size::One, R2, (R6, 64)),
                [0x71, 0x62, 64, 0, 0, 0, 0, 0],
            ),
            (
                |a| a.store(Size::Eight, (R10, -8), R1),
                [0x7b, 0x1a, 0xf8, 255, 0, 0, 0, 0],
            ),
            (
                |a| a.store(Size::Four, (R6, 4), 7),
                [0x62, 0x06, 4, 0, 7, 0, 0, 0],
            ),
            (|a| a.call(Helper::Loop), [0x85, 0, 0, 0, 181, 0, 0, 0]),
            (|a| a.exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (write, want) in table {
            let mut asm = Assembler::default();
            write(&mut asm);
            assert_eq!(bytes(&asm.finish()[0]), want);
        }
    }

    #[test]
    fn labels_are_found_in_both_directions() {
        let mut asm = Assembler::default();
        let (back, on, function) = (asm.label(), asm.label(), asm.label());
        asm.place(back);
        asm.jump_if(R1, If::Equal, b':', on);
        asm.function(R2, function);
        asm.jump(back);
        asm.place(on);
        asm.place(function);
        asm.exit();
        let program = asm.finish();
        assert_eq!(bytes(&program[0]), [0x15, 0x01, 3, 0, b':', 0, 0, 0]);
        assert_eq!(bytes(&program[1]), [0x18, 0x42, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes(&program[3]), [0x05, 0, 0xfc, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn a_wide_value_takes_two() {
        let mut asm = Assembler::default();
        asm.wide(R3, 0x1122_3344_5566_7788);
        let program = asm.finish();
        assert_eq!(bytes(&program[0])[4..], [0x88, 0x77, 0x66, 0x55]);
        assert_eq!(bytes(&program[1])[4..], [0x44, 0x33, 0x22, 0x11]);
    }

    /// The bytes on a machine of the usual byte order.
    fn bytes(instruction: &Instruction) -> [u8; 8] {
        let mut bytes = [instruction.code, instruction.registers, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&instruction.offset.to_le_bytes());
        bytes[4..].copy_from_slice(&instruction.value.to_le_bytes());
        bytes
    }
}

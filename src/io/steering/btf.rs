//! The type information without which the kernel takes no program that gives it a function to
//! call: there are two functions, and neither is known to take or return more than an integer.
//!
//! The format is that of the kernel's `btf.rst`: a header, the types, and the strings they name.

const MAGIC: u16 = 0xeb9f;
const HEADER_SIZE: u32 = 24;

const KIND_INT: u32 = 1;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

/// A function that only its own program calls: the kind that may be given to the kernel.
const LINKAGE_STATIC: u32 = 0;

const INT: u32 = 1;
const PROTOTYPE: u32 = 2;

/// The type of the main function.
pub(super) const MAIN: u32 = 3;
/// The type of the function that the main function repeats.
pub(super) const STEP: u32 = 4;

const STRINGS: &[u8] = b"\0int\0main\0step\0";
const NAME_INT: u32 = 1;
const NAME_MAIN: u32 = 5;
const NAME_STEP: u32 = 10;

/// The types above, as the kernel reads them.
pub(super) fn write() -> Vec<u8> {
    let int_is_signed_32 = 1 << 24 | 32;
    let function = |name| [name, KIND_FUNC << 24 | LINKAGE_STATIC, PROTOTYPE];
    let types: Vec<u32> = [NAME_INT, KIND_INT << 24, 4, int_is_signed_32]
        .into_iter()
        .chain([0, KIND_FUNC_PROTO << 24, INT])
        .chain(function(NAME_MAIN))
        .chain(function(NAME_STEP))
        .collect();
    let types_size = 4 * types.len() as u32;
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    // Version 1, no flags.
    bytes.extend([1, 0]);
    let sections = [HEADER_SIZE, 0, types_size, types_size, STRINGS.len() as u32];
    bytes.extend(sections.iter().chain(&types).flat_map(|n| n.to_ne_bytes()));
    bytes.extend(STRINGS);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_where_the_types_say() {
        let table = [(NAME_INT, "int"), (NAME_MAIN, "main"), (NAME_STEP, "step")];
        for (at, want) in table {
            let rest = &STRINGS[at as usize..];
            assert!(rest.starts_with(want.as_bytes()) && rest[want.len()] == 0);
            assert_eq!(STRINGS[at as usize - 1], 0);
        }
        assert_eq!(write().len(), 24 + 4 * (4 + 3 + 3 + 3) + STRINGS.len());
    }
}

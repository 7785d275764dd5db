//! The `bpf` system call, each command behind a safe function.
//!
//! As in [`super::super::sys`], each block says why its pointers are good. The attributes are the
//! kernel's `union bpf_attr`, as far as a command uses it: what is not given counts as 0.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::assembler::Instruction;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const BTF_LOAD: libc::c_int = 18;

const MAP_TYPE_REUSEPORT_SOCKARRAY: u32 = 20;
const PROG_TYPE_SK_REUSEPORT: u32 = 21;

/// Bytes of the verifier's words that are kept.
const WORDS_SIZE: usize = 16 << 10;

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    log: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
    _pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    btf: u32,
    function_info_size: u32,
    function_info: u64,
    function_info_count: u32,
    line_info_size: u32,
}

/// `struct bpf_func_info`: where a function begins, and its type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct FunctionInfo {
    pub(super) instruction: u32,
    pub(super) type_id: u32,
}

/// A map from small numbers to the sockets of a group.
pub(super) fn create_socket_map(size: u16) -> io::Result<OwnedFd> {
    let attributes = MapCreate {
        map_type: MAP_TYPE_REUSEPORT_SOCKARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: size.into(),
    };
    // SAFETY: the attributes hold no pointer.
    unsafe { descriptor(MAP_CREATE, &attributes) }
}

/// Puts a socket into such a map; it leaves by itself when it is closed.
pub(super) fn put_socket(map: &OwnedFd, index: u16, socket: &impl AsRawFd) -> io::Result<()> {
    let (key, value) = (u32::from(index), socket.as_raw_fd());
    let attributes = MapUpdate {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: &raw const key as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    // SAFETY: key and value are the four bytes each that the map was made for, and live through
    // the call, which reads them.
    unsafe { command(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// Loads type information.
pub(super) fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    let attributes = BtfLoad {
        btf: btf.as_ptr() as u64,
        btf_size: btf.len() as u32,
        ..BtfLoad::default()
    };
    // SAFETY: the kernel reads `btf_size` bytes at `btf`, which live through the call.
    unsafe { descriptor(BTF_LOAD, &attributes) }
}

/// Loads a program; with the error comes what the verifier said, when it said anything.
pub(super) fn load_program(
    instructions: &[Instruction],
    btf: &OwnedFd,
    functions: &[FunctionInfo],
) -> Result<OwnedFd, (io::Error, String)> {
    const LICENSE: &CStr = c"MIT";
    let mut attributes = ProgLoad {
        prog_type: PROG_TYPE_SK_REUSEPORT,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        name: *b"dialcore_steer\0\0",
        btf: btf.as_raw_fd() as u32,
        function_info_size: mem::size_of::<FunctionInfo>() as u32,
        function_info: functions.as_ptr() as u64,
        function_info_count: functions.len() as u32,
        ..ProgLoad::default()
    };
    // SAFETY: the kernel reads as many instructions and function records as it is told, and a
    // text that ends with a zero byte; all of them live through the call.
    let error = match unsafe { descriptor(PROG_LOAD, &attributes) } {
        Ok(program) => return Ok(program),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => return Err((e, String::new())),
        Err(e) => e,
    };
    // The verifier, which may have been the one to refuse, says why when it is asked to.
    let mut words = vec![0u8; WORDS_SIZE];
    attributes.log = words.as_mut_ptr() as u64;
    attributes.log_size = words.len() as u32;
    attributes.log_level = 1;
    // SAFETY: as above, and the kernel writes at most `log_size` bytes to `log`.
    match unsafe { descriptor(PROG_LOAD, &attributes) } {
        Ok(program) => Ok(program),
        Err(_) => {
            let end = words.iter().position(|b| *b == 0).unwrap_or(words.len());
            Err((error, String::from_utf8_lossy(&words[..end]).into_owned()))
        }
    }
}

/// Lets a program choose among the sockets of the group that this one belongs to.
pub(super) fn attach(socket: &impl AsRawFd, program: &OwnedFd) -> io::Result<()> {
    let program: RawFd = program.as_raw_fd();
    // SAFETY: the kernel reads one integer from a pointer to one.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_EBPF,
            (&raw const program).cast(),
            mem::size_of::<RawFd>() as u32,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// As [`command`]; the command must be one that returns a new descriptor.
unsafe fn descriptor<T>(what: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that is returned belongs to nobody else.
    unsafe { command(what, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// # Safety
/// The attributes must be those of the command, and every pointer in them must be good for what
/// the command does with it.
unsafe fn command<T>(what: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads as many bytes as the attributes have.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            what,
            std::ptr::from_ref(attributes),
            mem::size_of::<T>(),
        )
    };
    match result {
        fd @ 0.. => Ok(fd as RawFd),
        _ => Err(io::Error::last_os_error()),
    }
}

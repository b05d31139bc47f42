//! The two calls of bpf(2) that the generator needs: load a program, and run it on frames that the
//! kernel makes for it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};

/// Commands of bpf(2).
#[derive(Clone, Copy)]
enum Command {
    ProgramLoad = 5,
    ProgramTestRun = 10,
}

/// Room for the arguments of either; the kernel takes what is behind them for zeros.
#[repr(C, align(8))]
struct Arguments([u8; 128]);

impl Arguments {
    /// Arguments with these bytes at these places.
    fn of(fields: &[(usize, &[u8])]) -> Arguments {
        let mut arguments = Arguments([0; 128]);
        for (at, bytes) in fields {
            arguments.0[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        arguments
    }
}

/// # Safety
/// Every pointer among the arguments is valid for what the command does with it.
unsafe fn bpf(command: Command, arguments: &Arguments) -> io::Result<c_long> {
    let at: *const Arguments = arguments;
    // SAFETY: the kernel reads as many bytes as stated; the caller vouches for pointers within.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as c_int, at, size_of::<Arguments>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Loads an XDP program.
///
/// # Errors
/// Without the right to, or when the kernel does not accept it.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    const TYPE_XDP: u32 = 6;
    let license = c"Apache-2.0";
    let count = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    let arguments = Arguments::of(&[
        (0, &TYPE_XDP.to_ne_bytes()),
        (4, &count.to_ne_bytes()),
        (8, &(instructions.as_ptr() as u64).to_ne_bytes()),
        (16, &(license.as_ptr() as u64).to_ne_bytes()),
    ]);
    // SAFETY: the instructions are as many as stated, the license ends with a zero byte, and both
    // live through the call.
    let program = unsafe { bpf(Command::ProgramLoad, &arguments) }?;
    let program = c_int::try_from(program).map_err(io::Error::other)?;
    // SAFETY: the command returned a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

/// Runs a program `count` times, each time on a frame of its own that begins as `frame`, and does
/// with the frames what the program says: they are *live*. The program finds a frame as an earlier
/// owner left it, if one did.
///
/// # Errors
/// On kernels before 5.18, which know no live frames.
pub(super) fn run_live(program: BorrowedFd<'_>, frame: &[u8], count: u32) -> io::Result<()> {
    const LIVE_FRAMES: u32 = 1 << 1;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let arguments = Arguments::of(&[
        (0, &program.as_raw_fd().to_ne_bytes()),
        (8, &length.to_ne_bytes()),
        (16, &(frame.as_ptr() as u64).to_ne_bytes()),
        (32, &count.to_ne_bytes()),
        (64, &LIVE_FRAMES.to_ne_bytes()),
    ]);
    // SAFETY: the kernel reads the frame, which is as long as stated and lives through the call.
    unsafe { bpf(Command::ProgramTestRun, &arguments) }.map(drop)
}

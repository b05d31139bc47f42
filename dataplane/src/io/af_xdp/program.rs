//! The XDP program of an interface: it gives every frame to the AF_XDP socket of the queue that the
//! frame came in on, or to the host's stack where a queue has no socket.
//!
//! Six instructions, assembled here, so that no compiler is needed. One program serves all workers
//! of a process; the kernel takes it off the interface when the last of them closes the device,
//! however the process ends.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::super::{Fail, sys};
use super::sys::{attach, create_socket_map, load_program, set_socket};
use crate::device::DeviceError;

/// The programs of a process. Clones share them.
#[derive(Clone, Default)]
pub(in super::super) struct Programs {
    entries: Arc<Mutex<Vec<Entry>>>,
}

struct Entry {
    device: DeviceId,
    program: Weak<Attached>,
}

/// Cookie of the namespace, number of the interface.
type DeviceId = (u64, i32);

/// A program on an interface, until the last user drops it.
pub(super) struct Attached {
    map: OwnedFd,
    // Closing it detaches the program.
    _link: OwnedFd,
}

impl Programs {
    /// The program of an interface that has so many queues; attached if it is not yet.
    pub(super) fn attach(
        &self,
        socket: BorrowedFd<'_>,
        interface: i32,
        queues: u32,
    ) -> Result<Arc<Attached>, DeviceError> {
        let namespace: u64 = sys::option(socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
            .fail("read the namespace's cookie")?;
        let device = (namespace, interface);
        // Held through the calls, so that two workers cannot both be the first.
        let mut entries = self.entries.lock();
        entries.retain(|entry| entry.program.strong_count() > 0);
        let known = entries.iter().find(|entry| entry.device == device);
        if let Some(program) = known.and_then(|entry| entry.program.upgrade()) {
            return Ok(program);
        }
        let map = create_socket_map(queues).fail("create a map of XDP sockets")?;
        let program = load_program(&redirect_to(map.as_fd())).fail("load the XDP program")?;
        let link = attach(program.as_fd(), interface).fail("attach the XDP program")?;
        let attached = Arc::new(Attached { map, _link: link });
        entries.push(Entry { device, program: Arc::downgrade(&attached) });
        Ok(attached)
    }
}

impl Attached {
    /// Lets frames of a queue go to a socket from now on.
    pub(super) fn feed(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), DeviceError> {
        set_socket(self.map.as_fd(), queue, socket).fail("put the socket into the program's map")
    }
}

/// `return bpf_redirect_map(map, context->rx_queue_index, XDP_PASS)`.
fn redirect_to(map: BorrowedFd<'_>) -> [u64; 6] {
    const LOAD_WORD: u8 = 0x61;
    const LOAD_WIDE_NUMBER: u8 = 0x18;
    const MOVE_NUMBER: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// Where `struct xdp_md` has the queue.
    const QUEUE: u16 = 16;
    /// A source register that says: the number is the descriptor of a map.
    const MAP: u8 = 1;
    const XDP_PASS: i32 = 2;
    const REDIRECT_MAP: i32 = 51;
    [
        instruction(LOAD_WORD, 2, 1, QUEUE, 0),
        instruction(LOAD_WIDE_NUMBER, 1, MAP, 0, map.as_raw_fd()),
        // The upper half of the wide number.
        instruction(0, 0, 0, 0, 0),
        instruction(MOVE_NUMBER, 3, 0, 0, XDP_PASS),
        instruction(CALL, 0, 0, 0, REDIRECT_MAP),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// `struct bpf_insn`: operation, two registers of four bits, offset, number.
fn instruction(operation: u8, to: u8, from: u8, offset: u16, number: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    u64::from_ne_bytes([operation, registers, a, b, c, d, e, f])
}

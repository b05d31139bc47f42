//! Opening a worker's queues of an interface.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::super::failed;
use super::super::interface::{self, Interface, InterfaceName};
use super::program::{Attached, Programs};
use super::queue::{QueueSocket, chunk_bytes};
use super::sys::receive_queues;
use crate::device::{DeviceError, Link};
use crate::worker::Queue;

/// What is open, and what must live as long.
pub(super) struct Opened {
    pub(super) queues: Vec<QueueSocket>,
    pub(super) program: Arc<Attached>,
    pub(super) bound: Bound,
    pub(super) link: Link,
}

/// The interface as it was when its queues were bound.
pub(super) struct Bound {
    /// Belongs to the interface's namespace, to ask about it through.
    control: OwnedFd,
    name: InterfaceName,
    index: i32,
    queues: u32,
}

impl Bound {
    /// Address and MTU of the interface as they are now.
    ///
    /// # Errors
    /// The name is that of another interface by now or of none, it is down, or it has another
    /// number of queues.
    pub(super) fn link(&self) -> Result<Link, DeviceError> {
        let interface = Interface::of_name(self.control.as_fd(), self.name);
        if interface.index()? != self.index {
            return Err(failed("find the interface under its name")(libc::ENODEV));
        }
        interface.require_up()?;
        if queues_of(&self.control, self.name) != self.queues {
            return Err(failed("find the queues that were bound")(libc::ENXIO));
        }
        interface.link()
    }
}

/// Opens the queues of the interface `name` of the calling thread's namespace that are this
/// worker's: each has one in turn. `None` if there are more workers than queues and it has none.
pub(super) fn open(
    name: &str,
    worker: Queue,
    programs: &Programs,
) -> Result<Option<Opened>, DeviceError> {
    let control = interface::control_socket()?;
    let interface = Interface::new(control.as_fd(), name)?;
    let (name, index, link) = (interface.name(), interface.index()?, interface.link()?);
    interface.require_up()?;
    let total = queues_of(&control, name);
    let mine = (u32::from(worker.worker.0)..total).step_by(usize::from(worker.workers.max(1)));
    let open = |queue| Ok((queue, QueueSocket::open(index, queue, chunk_bytes(link.mtu))?));
    let sockets = mine.map(open).collect::<Result<Vec<_>, DeviceError>>()?;
    let Some((_, first)) = sockets.first() else { return Ok(None) };
    let program = programs.attach(first.descriptor(), index, total)?;
    for (queue, socket) in &sockets {
        program.feed(*queue, socket.descriptor())?;
    }
    let queues = sockets.into_iter().map(|(_, socket)| socket).collect();
    let bound = Bound { control, name, index, queues: total };
    Ok(Some(Opened { queues, program, bound, link }))
}

/// An interface that does not say how many queues it receives on has one.
fn queues_of(control: &OwnedFd, name: InterfaceName) -> u32 {
    receive_queues(control.as_fd(), name).unwrap_or(1)
}

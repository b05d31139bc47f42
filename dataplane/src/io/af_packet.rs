//! An existing interface, read and written through a packet socket with virtio headers.
//!
//! Super-packets and partial checksums arrive as the sender's kernel made them and leave the same
//! way. Frames go from the kernel into a batch and back in one call for up to 64 of them, without
//! allocation. Of several workers each has a socket, and the kernel gives each the frames of its
//! own flows.
//!
//! It is the station that the interface is: adit uses the interface's own address. What the host
//! itself sends through the interface is not seen; what arrives for other stations is, for the
//! engine to judge. The host's own stack sees the arriving frames as well.
//!
//! Bounds: what waits in the kernel is bounded by the socket's buffer, and the kernel drops what
//! does not fit. On an interface without queueing discipline, the default of a veth, a full ring of
//! the other end drops silently and is counted as sent.
//!
//! A frame that the kernel cannot describe in a virtio header (segmentation in a tunnel, SCTP) is
//! handed over empty and with a fault, so that it is counted.

mod fanout;
mod setup;
mod steering;
// Message vectors point to other arrays, as the system calls want them.
#[allow(unsafe_code)]
mod sys;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) use fanout::FanoutGroups;

use self::fanout::Member;
use self::sys::{Arrival, Messages};
use super::sys::option;
use super::vnet_header;
use super::{Refusal, failed};
use crate::device::{Batch, DeviceError, Frame, FrameFault, Link, Transmitted};
use crate::limits::BATCH_FRAMES_MAX;
use crate::worker::Queue;

/// One worker's socket on an interface.
pub(super) struct AfPacket {
    link: Link,
    // Closed before the place in the group is given up: fields are dropped in this order.
    socket: OwnedFd,
    member: Option<Member>,
    bound: setup::Bound,
    messages: Box<Messages>,
    lost: Option<DeviceError>,
}

impl AfPacket {
    /// Opens a worker's queue of an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// There is none of that name, it is down or not Ethernet, or the right is missing.
    pub(super) fn open(
        name: &str,
        queue: Queue,
        groups: &FanoutGroups,
    ) -> Result<AfPacket, DeviceError> {
        let setup::Opened { socket, member, bound, link } = setup::open(name, queue, groups)?;
        let messages = Messages::new();
        Ok(AfPacket { link, socket, member, bound, messages, lost: None })
    }

    /// Opens an interface of the calling thread's namespace to send only: nothing arrives.
    ///
    /// # Errors
    /// As [`AfPacket::open`].
    pub(super) fn open_for_sending(name: &str) -> Result<AfPacket, DeviceError> {
        let setup::Opened { socket, member, bound, link } = setup::open_for_sending(name)?;
        let messages = Messages::new();
        Ok(AfPacket { link, socket, member, bound, messages, lost: None })
    }

    /// The kernel's number of the interface.
    pub(super) fn interface(&self) -> u32 {
        self.bound.number()
    }

    /// Fails if the interface is down, which a socket that only sends is not told.
    pub(super) fn require_up(&self) -> Result<(), DeviceError> {
        self.bound.require_up(self.socket.as_fd())
    }

    /// See [`crate::device::Device::link`].
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// See [`crate::device::Device::refresh`].
    pub(super) fn refresh(&mut self) -> Result<Link, DeviceError> {
        self.link = self.bound.link(self.socket.as_fd())?;
        Ok(self.link)
    }

    /// The error that the next [`AfPacket::receive`] will report.
    pub(super) fn lost(&self) -> Option<DeviceError> {
        self.lost
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// See [`crate::device::Device::receive`].
    pub(super) fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        if let Some(error) = self.lost {
            return Err(error);
        }
        let received = match self.messages.receive(self.socket.as_fd(), batch.room_mut()) {
            Ok(received) => received,
            Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM) => return Ok(()),
            // The kernel has taken a frame off its queue and found no header for it.
            Err(libc::EINVAL) => {
                if let Some(frame) = batch.append() {
                    frame.set_length(0);
                    frame.fault = Some(FrameFault::OffloadInvalid);
                }
                return Ok(());
            }
            Err(errno) => {
                let error = failed("receive from the packet socket")(errno);
                self.lost = Some(error);
                return Err(error);
            }
        };
        for (at, frame) in batch.room_mut()[..received].iter_mut().enumerate() {
            describe(frame, self.messages.arrival(at));
        }
        batch.set_length(received);
        Ok(())
    }

    /// See [`crate::device::Device::steer`].
    pub(super) fn steer(&mut self, nat_ips: &[IpAddr]) {
        if let Some(member) = &self.member {
            member.steer(self.socket.as_fd(), nat_ips);
        }
    }

    /// See [`crate::device::Device::missed`]: what did not fit into the socket's buffer.
    pub(super) fn missed(&mut self) -> u64 {
        // Seen, and dropped of those; reading sets both back to zero (packet(7)).
        let statistics: Result<[u32; 2], _> =
            option(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
        statistics.map_or(0, |[_, dropped]| u64::from(dropped))
    }

    /// See [`crate::device::Device::transmit`].
    pub(super) fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let count = frames.len().min(BATCH_FRAMES_MAX);
        for (at, frame) in frames[..count].iter().enumerate() {
            *self.messages.header_mut(at) = vnet_header::emit(&frame.offload);
        }
        let mut done = Transmitted::default();
        let mut next = 0;
        while next < count && self.lost.is_none() {
            let errno = match self.messages.send(self.socket.as_fd(), &frames[..count], next) {
                // A kernel that accepts none and gives no reason would keep us here for ever.
                Ok(0) => libc::EAGAIN,
                Ok(sent) => {
                    done.sent += sent;
                    next += sent;
                    continue;
                }
                Err(errno) => errno,
            };
            match Refusal::of(errno) {
                // The socket's own buffer is full and stays so for longer than this call.
                Refusal::Full if errno == libc::EAGAIN => {
                    done.full += count - next;
                    next = count;
                }
                Refusal::Full => {
                    done.full += 1;
                    next += 1;
                }
                Refusal::Rejected => {
                    done.rejected += 1;
                    next += 1;
                }
                // Sending took the socket's pending error away; receiving must still report it.
                Refusal::Gone => {
                    self.lost = Some(failed("send through the packet socket")(errno));
                }
            }
        }
        done.gone += count - next;
        // The contract is a batch at most; what is beyond it finds no room.
        done.full += frames.len() - count;
        done
    }
}

/// Makes of a frame whose bytes have arrived what the kernel said about it.
fn describe(frame: &mut Frame, arrival: Arrival<'_>) {
    frame.set_length(arrival.frame_bytes);
    let offload = vnet_header::parse(arrival.header, arrival.frame_bytes);
    frame.offload = offload.unwrap_or_default();
    frame.fault = if arrival.truncated {
        Some(FrameFault::Truncated)
    } else if has_vlan_tag(arrival.control) {
        Some(FrameFault::VlanTagged)
    } else {
        offload.err()
    };
}

/// Whether a control message says that the kernel took a VLAN tag off. Its form: `struct cmsghdr`,
/// then `struct tpacket_auxdata`, which begins with the status.
fn has_vlan_tag(control: &[u8]) -> bool {
    const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
    let number = |at: usize| -> Option<u32> {
        let bytes = control.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let is = |at, value: i32| number(at) == u32::try_from(value).ok();
    is(HEADER_BYTES - 8, libc::SOL_PACKET)
        && is(HEADER_BYTES - 4, libc::PACKET_AUXDATA)
        && number(HEADER_BYTES).is_some_and(|status| status & libc::TP_STATUS_VLAN_VALID != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control message of a 64-bit host.
    fn control(level: u32, kind: u32, status: u32) -> Vec<u8> {
        let mut bytes = 36u64.to_ne_bytes().to_vec();
        for number in [level, kind, status, 60, 60, 0, 0] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_vlan_tag_is_seen_in_the_control_message_only() {
        const VLAN_VALID: u32 = 0x10;
        assert!(has_vlan_tag(&control(263, 8, VLAN_VALID | 1)));
        assert!(!has_vlan_tag(&control(263, 8, 1)));
        assert!(!has_vlan_tag(&control(1, 8, VLAN_VALID)));
        assert!(!has_vlan_tag(&control(263, 9, VLAN_VALID)));
        let whole = control(263, 8, VLAN_VALID);
        for length in 0..20 {
            assert!(!has_vlan_tag(&whole[..length]), "cut to {length} bytes");
        }
    }
}

//! Batches of messages through a packet socket: `recvmmsg`, `sendmmsg` and what they point to.
//!
//! The arrays are allocated once. Pointers are written anew before each call, from slices that
//! outlive it, and mean nothing after it.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, iovec, mmsghdr};

use super::super::sys::{Errno, check, length_of};
use super::super::vnet_header::VNET_HEADER_BYTES;
use crate::device::Frame;
use crate::limits::BATCH_FRAMES_MAX;

/// A virtio header.
type Header = [u8; VNET_HEADER_BYTES];

/// Bytes of one control message: its header and a `tpacket_auxdata` of 20 bytes, rounded up.
const CONTROL_BYTES: usize = size_of::<libc::cmsghdr>() + 24;

/// Room for what the kernel says beside a frame; aligned as it demands.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// The parts of a message: its virtio header and its frame.
type Parts = [iovec; 2];

const NO_PART: iovec = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

// SAFETY: a mmsghdr is numbers and pointers; zero is a value of each.
const NO_MESSAGE: mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };

/// What the calls point to.
pub(super) struct Messages {
    headers: [Header; BATCH_FRAMES_MAX],
    controls: [Control; BATCH_FRAMES_MAX],
    parts: [Parts; BATCH_FRAMES_MAX],
    messages: [mmsghdr; BATCH_FRAMES_MAX],
}

// SAFETY: the pointers inside are written before each call and not read otherwise, so it does not
// matter on which thread the next call is.
unsafe impl Send for Messages {}

/// A message that arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// Its virtio header.
    pub(super) header: &'a Header,
    /// Bytes of the frame that fitted.
    pub(super) frame_bytes: usize,
    /// Whether the frame was longer than its buffer.
    pub(super) truncated: bool,
    /// The control message that came with it.
    pub(super) control: &'a [u8],
}

impl Messages {
    /// Room for [`BATCH_FRAMES_MAX`] messages.
    pub(super) fn new() -> Box<Messages> {
        Box::new(Messages {
            headers: [[0; VNET_HEADER_BYTES]; BATCH_FRAMES_MAX],
            controls: [Control([0; CONTROL_BYTES]); BATCH_FRAMES_MAX],
            parts: [[NO_PART; 2]; BATCH_FRAMES_MAX],
            messages: [NO_MESSAGE; BATCH_FRAMES_MAX],
        })
    }

    /// Receives into the buffers of these frames, without blocking, and says how many arrived.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        frames: &mut [Frame],
    ) -> Result<usize, Errno> {
        let count = frames.len().min(BATCH_FRAMES_MAX);
        for (at, frame) in frames[..count].iter_mut().enumerate() {
            let buffer = frame.buffer_mut();
            self.parts[at] = parts(&mut self.headers[at], buffer.as_mut_ptr(), buffer.len());
            let message = &mut self.messages[at];
            message.msg_hdr.msg_iov = self.parts[at].as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message.msg_hdr.msg_control = self.controls[at].0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL_BYTES;
            message.msg_hdr.msg_flags = 0;
        }
        let (descriptor, room) = (socket.as_raw_fd(), message_count(count));
        let messages = self.messages.as_mut_ptr();
        let (flags, no_timeout) = (libc::MSG_DONTWAIT, std::ptr::null_mut());
        // SAFETY: the first `room` messages point to headers and controls of `self` and to the
        // buffers of `frames`; all are borrowed mutably here, are as long as stated, and live
        // through the call. They have no name to be written to.
        let received = unsafe { libc::recvmmsg(descriptor, messages, room, flags, no_timeout) };
        Ok(usize::try_from(check(received)?).unwrap_or(0).min(count))
    }

    /// The message at `at` of those that the last [`Messages::receive`] received.
    pub(super) fn arrival(&self, at: usize) -> Arrival<'_> {
        let message = &self.messages[at];
        let control_bytes = message.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        Arrival {
            header: &self.headers[at],
            frame_bytes: (message.msg_len as usize).saturating_sub(VNET_HEADER_BYTES),
            truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            control: &self.controls[at].0[..control_bytes],
        }
    }

    /// The header to send before the frame at `at`.
    pub(super) fn header_mut(&mut self, at: usize) -> &mut Header {
        &mut self.headers[at]
    }

    /// Sends the frames from `first` on, each behind its header, without blocking. Says how many
    /// were accepted; the error is that of the first frame that was sent to no avail.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        frames: &[&Frame],
        first: usize,
    ) -> Result<usize, Errno> {
        let count = frames.len().min(BATCH_FRAMES_MAX);
        for (at, frame) in frames.iter().enumerate().take(count).skip(first) {
            let bytes = frame.bytes();
            // The kernel does not write through the parts of a message that is sent.
            let buffer = bytes.as_ptr().cast_mut();
            self.parts[at] = parts(&mut self.headers[at], buffer, bytes.len());
            let message = &mut self.messages[at];
            message.msg_hdr.msg_iov = self.parts[at].as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message.msg_hdr.msg_control = std::ptr::null_mut();
            message.msg_hdr.msg_controllen = 0;
        }
        let room = message_count(count.saturating_sub(first));
        if room == 0 {
            return Ok(0);
        }
        let (descriptor, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        let messages = self.messages[first..count].as_mut_ptr();
        // SAFETY: the `room` messages from `first` on point to headers of `self` and to the bytes
        // of `frames`; all are borrowed here, are as long as stated, and live through the call,
        // which writes to the messages' lengths only.
        let sent = unsafe { libc::sendmmsg(descriptor, messages, room, flags) };
        Ok(usize::try_from(check(sent)?).unwrap_or(0))
    }
}

fn parts(header: &mut Header, buffer: *mut u8, length: usize) -> Parts {
    [
        iovec { iov_base: header.as_mut_ptr().cast(), iov_len: VNET_HEADER_BYTES },
        iovec { iov_base: buffer.cast(), iov_len: length },
    ]
}

fn message_count(count: usize) -> libc::c_uint {
    const _: () = assert!(BATCH_FRAMES_MAX <= 1024); // the kernel's own limit, UIO_MAXIOV
    libc::c_uint::try_from(count).unwrap_or(0)
}

/// Binds a packet socket to a protocol, in network byte order, of one interface.
pub(super) fn bind(socket: BorrowedFd<'_>, protocol: u16, interface: c_int) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "the number is 17")]
    let family = libc::AF_PACKET as u16;
    let address = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: protocol,
        sll_ifindex: interface,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = length_of(&address);
    let at = (&raw const address).cast();
    // SAFETY: `at` points to an address of `length` bytes that lives through the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), at, length) }).map(drop)
}

/// Lets nothing arrive at a socket, by a filter of one instruction: accept 0 bytes.
pub(super) fn close_filter(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "0x06")]
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = libc::sock_filter { code, jt: 0, jf: 0, k: 0 };
    set_program(socket, (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), &[instruction])
}

/// Sets a socket option, of that level and name, that is a filter program.
pub(super) fn set_program(
    socket: BorrowedFd<'_>,
    (level, name): (c_int, c_int),
    instructions: &[libc::sock_filter],
) -> Result<(), Errno> {
    let length = u16::try_from(instructions.len()).map_err(|_| libc::E2BIG)?;
    // The kernel does not write through the pointer.
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    let (at, length) = ((&raw const program).cast(), length_of(&program));
    // SAFETY: `at` points to a program of as many instructions as stated; the kernel copies both in
    // the call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, length) }).map(drop)
}

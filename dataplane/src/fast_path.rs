//! What a fast path is: something beside the engine that carries the usual packets of flows which
//! the engine has opened, and does nothing by itself.
//!
//! The engine decides and owns every [`Shortcut`]: it installs one for each direction of a flow
//! when both sides have spoken, and takes them back before the flow's lease can become another's
//! (I2). Whatever is not the usual packet of a shortcut still comes to the engine. Shortcuts count
//! only in the epoch in which they were installed; [`FastPath::renew`] begins another one, which
//! makes them all void at once (I11). Plain data and one trait; implemented by `io` for Linux and
//! by tests in memory.

use core::net::SocketAddrV4;

use crate::types::{AccountIndex, Direction, Instant, MacAddress, Protocol, ScopeId};

/// Bytes of the header in front of a packet (IEEE 802.3).
const ETHERNET_BYTES: u64 = 14;

/// An interface that shortcuts may begin and end at, by the system's number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceNumber(pub u32);

/// Source and destination of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Course {
    /// Where they come from.
    pub source: SocketAddrV4,
    /// Where they go.
    pub destination: SocketAddrV4,
}

/// Which packets a shortcut is for. No two flows have the same: the scope is part of it (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShortcutKey {
    /// The virtual network that they arrive from.
    pub scope: ScopeId,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// With what they arrive.
    pub arrives: Course,
}

/// What becomes of the usual packets of a flow in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Which packets.
    pub key: ShortcutKey,
    /// The interface and the station that they must come from; `None`: whichever of the scope.
    pub from: Option<(InterfaceNumber, MacAddress)>,
    /// With what they leave.
    pub leaves: Course,
    /// By which interface.
    pub by: InterfaceNumber,
    /// The station that they go to.
    pub to: MacAddress,
    /// Bytes of IPv4 that the interface takes; larger packets are the engine's.
    pub mtu: u32,
    /// Where what it carries is counted.
    pub account: AccountIndex,
    /// As which direction.
    pub way: Direction,
    /// Whether what it carries shall be counted by itself, to be told when it is taken back.
    pub counts: bool,
}

/// What was carried, by all shortcuts since it was last asked or by one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Packets.
    pub packets: u64,
    /// Their bytes, Ethernet headers included.
    pub bytes: u64,
}

impl Carried {
    /// The bytes of its IPv4 packets.
    #[must_use]
    pub fn packet_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.packets * ETHERNET_BYTES)
    }
}

/// One worker's handle of the fast path that all workers share.
pub trait FastPath: Send {
    /// Begins another epoch: every shortcut of anybody is void when this returns.
    fn renew(&mut self);

    /// The epoch to install shortcuts in, never 0. To be read before the state that the shortcut
    /// follows from: if that changes meanwhile, the shortcut is void.
    fn epoch(&self) -> u32;

    /// Installs a shortcut in an epoch, in place of one with the same key. `false` if there is no
    /// room or the system does not want it.
    fn install(&mut self, shortcut: &Shortcut, epoch: u32) -> bool;

    /// Takes a shortcut back: it carries no packet when this returns. Gives what it has carried, of
    /// which packets that are under way at this moment may be missing.
    fn remove(&mut self, key: &ShortcutKey) -> Carried;

    /// When the shortcut last carried a packet, whichever epoch it is of.
    fn last_used(&self, key: &ShortcutKey) -> Option<Instant>;

    /// What all shortcuts have carried since any worker last asked.
    fn take_carried(&mut self) -> Carried;
}

//! What is told of flows as they begin and end: fixed-size plain values, and nothing else.
//!
//! The engine appends them to an output that the worker drains; who reads them, and whether anybody
//! does, is none of its business. Every flow that began ends exactly once, when packets of it pass
//! no more: not when adit has told both sides, nor when its port may be leased again. A flow that
//! is lost with its worker has no end.

use core::ops::AddAssign;

use crate::packet::FlowKey;
use crate::types::{Address, LinkId, Tick};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Nothing.
    #[default]
    Nothing,
    /// When flows begin and end.
    Flows,
    /// The same, and what they carried.
    Traffic,
}

/// Packets and their bytes: IP headers included, Ethernet headers not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets; a super-packet is one.
    pub packets: u64,
    /// Their bytes, as they arrived.
    pub bytes: u64,
}

/// What a flow carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client.
    pub forward: Count,
    /// From the backend.
    pub back: Count,
}

impl Count {
    /// What was counted since it was `earlier`, when it was no more.
    #[must_use]
    pub fn since(self, earlier: Count) -> Count {
        Count {
            packets: self.packets.wrapping_sub(earlier.packets),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

impl Traffic {
    /// What was carried since it was `earlier`, when it was no more.
    #[must_use]
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            forward: self.forward.since(earlier.forward),
            back: self.back.since(earlier.back),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.forward += other.forward;
        self.back += other.back;
    }
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowEvent {
    /// Its first packet came.
    Began,
    /// It is over.
    Ended(EndReason),
}

macro_rules! end_reasons {
    ($($(#[$doc:meta])* $variant:ident, $name:literal;)+) => {
        /// Why a flow ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EndReason {
            $($(#[$doc])* $variant,)+
        }

        impl EndReason {
            /// All of them.
            pub const ALL: &'static [EndReason] = &[$(EndReason::$variant,)+];

            /// Name for people and programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(EndReason::$variant => $name,)+
                }
            }
        }
    };
}

end_reasons! {
    /// It was silent for too long.
    Idle, "idle";
    /// Nobody finished its handshake.
    HandshakeTimeout, "handshake_timeout";
    /// Both sides have said FIN, or one has refused the handshake.
    Closed, "closed";
    /// One side has reset it.
    Reset, "reset";
    /// Somebody ended it by command.
    Killed, "killed";
    /// Its connection is no longer approved.
    Rejected, "rejected";
    /// Its endpoint, or the rule that it came by, is gone.
    EndpointRemoved, "endpoint_removed";
    /// Its client's address is none of its virtual network any more.
    ClientRemoved, "client_removed";
    /// Its client's virtual network is no longer peered with the endpoint's.
    PeeringRemoved, "peering_removed";
    /// Its backend is gone.
    BackendRemoved, "backend_removed";
    /// Its NAT IP is gone.
    NatIpRemoved, "nat_ip_removed";
    /// Its NAT IP was taken away or its backend taken down, and the time to drain is over.
    Drained, "drained";
    /// It is of UDP and would have another backend now.
    Moved, "moved";
    /// Nobody had answered it, and a newer flow needed the room.
    Displaced, "displaced";
    /// A bug of adit.
    Internal, "internal";
}

/// What is told of a flow when it begins, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// What happened.
    pub event: FlowEvent,
    /// When.
    pub at: Tick,
    /// When the flow began.
    pub began: Tick,
    /// When its last packet came.
    pub last_seen: Tick,
    /// Scope and 5-tuple on the client's side.
    pub key: FlowKey,
    /// The connection that it belongs to.
    pub link: LinkId,
    /// The NAT IP and the leased port.
    pub nat: (Address, u16),
    /// The backend's own address.
    pub backend: Address,
    /// What its packets are addressed to, which is the same unless a frontend floats; and the port.
    pub target: (Address, u16),
    /// What it carried, as far as that is recorded.
    pub traffic: Traffic,
}

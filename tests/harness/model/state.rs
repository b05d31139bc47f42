//! What a flow's packets have said so far (RFC 7857 section 2), as facts instead of a table of
//! transitions.

use dataplane::types::{Direction, Timeouts};

use super::form::Packet;
use crate::encode::{UDP, flags};

/// Facts about a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct State {
    udp: bool,
    /// UDP: a packet came after the first.
    heard: bool,
    answered: bool,
    established: bool,
    client_fin: bool,
    backend_fin: bool,
    /// Reset before it was established: for good.
    refused: bool,
    /// Reset afterwards: until the next packet.
    reset: bool,
    /// Ended by adit.
    resetting: bool,
}

impl State {
    pub(super) fn opened(protocol: u8) -> State {
        State { udp: protocol == UDP, ..State::default() }
    }

    pub(super) fn is_closed(self) -> bool {
        self.refused || self.client_fin && self.backend_fin
    }

    /// Whether it may have come from anybody: nobody's answer was acknowledged.
    pub(super) fn is_unanswered(self) -> bool {
        if self.udp { !self.heard } else { !self.established && !self.refused }
    }

    /// Whether TCP's handshake has come no further than its first segment.
    pub(super) fn is_opening(self) -> bool {
        !self.udp && !self.answered && !self.refused
    }

    /// Whether a SYN of the client begins anew.
    pub(super) fn is_over(self) -> bool {
        self.is_closed() || self.reset || self.resetting
    }

    /// Whether both sides believe in a TCP connection.
    pub(super) fn is_connected(self) -> bool {
        self.established && !self.is_over()
    }

    pub(super) fn resetting(self) -> State {
        State { resetting: true, ..self }
    }

    /// Whether a reset was the last that was heard of it.
    pub(super) fn is_reset(self) -> bool {
        self.reset && !self.is_closed()
    }

    pub(super) fn is_resetting(self) -> bool {
        self.resetting
    }

    /// The state after a further packet.
    pub(super) fn after(mut self, direction: Direction, packet: &Packet) -> State {
        if self.udp {
            return State { heard: true, ..self };
        }
        if self.is_closed() {
            return self;
        }
        if packet.has(flags::RST) {
            return match self.established {
                true => State { reset: true, client_fin: false, backend_fin: false, ..self },
                false => State { refused: true, ..self },
            };
        }
        self.reset = false;
        match direction {
            Direction::Return => self.answered |= packet.has(flags::SYN),
            Direction::Forward => self.established |= self.answered && !packet.has(flags::SYN),
        }
        if self.established && packet.has(flags::FIN) {
            match direction {
                Direction::Forward => self.client_fin = true,
                Direction::Return => self.backend_fin = true,
            }
        }
        self
    }

    /// How many ticks it may be silent.
    pub(super) fn timeout(self, timeouts: &Timeouts) -> u64 {
        let ticks = match self {
            _ if self.udp => timeouts.udp_ticks,
            _ if self.is_over() => timeouts.closing_ticks,
            _ if self.established => timeouts.established_ticks,
            _ => timeouts.opening_ticks,
        };
        u64::from(ticks)
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            _ if self.udp && self.heard => "udp",
            _ if self.udp => "unanswered",
            _ if self.resetting => "resetting",
            _ if self.is_closed() => "closed",
            _ if self.reset => "reset",
            _ if self.client_fin => "client_closed",
            _ if self.backend_fin => "backend_closed",
            _ if self.established => "established",
            _ if self.answered => "answered",
            _ => "opening",
        }
    }
}

//! What a flow is doing, just deep enough to choose how long it may be silent.
//!
//! TCP follows the state machine of RFC 6146 3.5.2 as RFC 7857 section 2 asks: a flow is
//! established when the handshake is done, closing when both sides have said FIN, and after a reset
//! only short-lived instead of gone, because resets can be forged: a further packet revives it. No
//! sequence numbers are checked; the endpoints of the connection do that.

use crate::packet::{TcpFlags, has_sense};
use crate::types::{Direction, Protocol, Timeouts};

/// What a flow is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// UDP: only its first packet came.
    Unanswered,
    /// UDP: every packet is like the last.
    Udp,
    /// TCP: the client has sent its SYN.
    Opening,
    /// TCP: the backend has answered it.
    Answered,
    /// TCP: the client has acknowledged that; data may flow.
    Established,
    /// TCP: the client has said FIN, the backend may still send.
    ClientClosed,
    /// TCP: the backend has said FIN, the client may still send.
    BackendClosed,
    /// TCP: both have said FIN, or one side has refused the handshake.
    Closed,
    /// TCP: one side has reset the established connection.
    Reset,
    /// TCP: adit has ended it; whoever still speaks is answered with a reset.
    Resetting,
    /// It is over and forgotten under its forward key; only its port is not leased again yet.
    Resting,
}

impl State {
    /// Every state, in the order of their numbers.
    const ALL: [State; 11] = [
        State::Unanswered,
        State::Udp,
        State::Opening,
        State::Answered,
        State::Established,
        State::ClientClosed,
        State::BackendClosed,
        State::Closed,
        State::Reset,
        State::Resetting,
        State::Resting,
    ];

    /// The state in which the first packet of a flow leaves it.
    #[must_use]
    pub fn opened(protocol: Protocol) -> State {
        match protocol {
            Protocol::Tcp => State::Opening,
            Protocol::Udp => State::Unanswered,
        }
    }

    /// The state after a further packet.
    #[inline]
    #[must_use]
    pub const fn after(self, direction: Direction, flags: TcpFlags) -> State {
        use Direction::{Forward, Return};
        use State::{
            Answered, BackendClosed, ClientClosed, Closed, Established, Opening, Reset, Resetting,
            Resting, Udp, Unanswered,
        };
        match (self, direction) {
            (Unanswered | Udp, _) => Udp,
            // Nothing but time ends a connection that is over.
            (Closed | Resetting | Resting, _) => self,
            // A handshake that failed is over: no packet revives what never was established.
            (Opening | Answered, _) if flags.any(TcpFlags::RST) => Closed,
            _ if flags.any(TcpFlags::RST) => Reset,
            (Opening, Return) if flags.any(TcpFlags::SYN) => Answered,
            (Answered, Forward) if !flags.any(TcpFlags::SYN) => {
                Established.after_fin(direction, flags)
            }
            (Reset, _) => Established.after_fin(direction, flags),
            (Established | ClientClosed | BackendClosed, _) => self.after_fin(direction, flags),
            (Opening | Answered, _) => self,
        }
    }

    const fn after_fin(self, direction: Direction, flags: TcpFlags) -> State {
        use Direction::{Forward, Return};
        match (self, direction) {
            _ if !flags.any(TcpFlags::FIN) => self,
            (State::Established, Forward) => State::ClientClosed,
            (State::Established, Return) => State::BackendClosed,
            (State::ClientClosed, Return) | (State::BackendClosed, Forward) => State::Closed,
            _ => self,
        }
    }

    /// What [`State::is_steady`] looks up.
    const fn keeps(self, direction: Direction, flags: TcpFlags) -> bool {
        if let State::Udp = self {
            return flags.0 == 0;
        }
        // Whether it is an answer at all is not told by flags.
        if let (State::Opening, Direction::Return) = (self, direction) {
            return false;
        }
        let is_usual = has_sense(flags) && !flags.any(TcpFlags::RST) && !flags.any(TcpFlags::SYN);
        is_usual && self.after(direction, flags) as u8 == self as u8
    }

    /// Whether a packet with these flags is the usual thing in this state: it is no reset and no
    /// SYN (which may open a connection anew, or be repeated because nobody answers), its flags
    /// make sense, and it changes nothing.
    #[inline(always)]
    #[must_use]
    pub fn is_steady(self, direction: Direction, flags: TcpFlags) -> bool {
        let steady = STEADY[self as usize][direction as usize];
        steady >> (flags.0 & 31) & 1 == 1
    }

    /// How many ticks a flow in this state may be silent. Half-closed connections count as
    /// established (RFC 6146 3.5.2.2): one side may go on sending for long.
    #[inline]
    #[must_use]
    pub fn timeout_ticks(self, timeouts: &Timeouts) -> u32 {
        match self {
            State::Unanswered | State::Udp => timeouts.udp_ticks,
            State::Opening | State::Answered => timeouts.opening_ticks,
            State::Established | State::ClientClosed | State::BackendClosed => {
                timeouts.established_ticks
            }
            State::Closed | State::Reset | State::Resetting | State::Resting => {
                timeouts.closing_ticks
            }
        }
    }

    /// Whether a SYN of the client opens a new connection in place of this one: the old one is
    /// over, the client uses its port again.
    #[inline]
    #[must_use]
    pub const fn yields_to_syn(self) -> bool {
        matches!(self, State::Closed | State::Reset | State::Resetting)
    }

    /// Whether both sides believe in a TCP connection.
    #[must_use]
    pub fn is_established(self) -> bool {
        matches!(self, State::Established | State::ClientClosed | State::BackendClosed)
    }

    /// Whether it may have come from anybody: TCP whose handshake is not done, UDP of one packet.
    #[must_use]
    pub fn is_embryonic(self) -> bool {
        matches!(self, State::Opening | State::Answered | State::Unanswered)
    }

    /// Whether adit has ended the flow: no packet of it passes any more.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, State::Resetting | State::Resting)
    }

    /// Name for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Unanswered => "unanswered",
            State::Udp => "udp",
            State::Opening => "opening",
            State::Answered => "answered",
            State::Established => "established",
            State::ClientClosed => "client_closed",
            State::BackendClosed => "backend_closed",
            State::Closed => "closed",
            State::Reset => "reset",
            State::Resetting => "resetting",
            State::Resting => "resting",
        }
    }
}

/// For each state and direction a bit for each value of the lower five flags: FIN, SYN, RST, PSH,
/// ACK.
const STEADY: [[u32; 2]; State::ALL.len()] = {
    let mut table = [[0; 2]; State::ALL.len()];
    let mut at = 0;
    while at < State::ALL.len() {
        let mut flags = 0;
        while flags < 32 {
            let forward = State::ALL[at].keeps(Direction::Forward, TcpFlags(flags));
            let back = State::ALL[at].keeps(Direction::Return, TcpFlags(flags));
            table[at][Direction::Forward as usize] |= (forward as u32) << flags;
            table[at][Direction::Return as usize] |= (back as u32) << flags;
            flags += 1;
        }
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Forward, Return};

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const RST: TcpFlags = TcpFlags::RST;
    const SYN_ACK: TcpFlags = TcpFlags(0x12);
    const FIN_ACK: TcpFlags = TcpFlags(0x11);

    fn walk(packets: &[(Direction, TcpFlags)]) -> State {
        let open = State::opened(Protocol::Tcp);
        packets.iter().fold(open, |state, &(direction, flags)| state.after(direction, flags))
    }

    #[test]
    fn a_connection_opens_and_closes() {
        let open = [(Return, SYN_ACK), (Forward, ACK)];
        assert_eq!(walk(&open[..1]), State::Answered);
        assert_eq!(walk(&open), State::Established);
        let close = [(Forward, FIN_ACK), (Return, ACK), (Return, FIN_ACK), (Forward, ACK)];
        assert_eq!(walk(&[&open[..], &close[..2]].concat()), State::ClientClosed);
        assert_eq!(walk(&[&open[..], &close[..]].concat()), State::Closed);
        let other = [(Return, FIN_ACK), (Forward, ACK), (Forward, FIN_ACK)];
        assert_eq!(walk(&[&open[..], &other[..]].concat()), State::Closed);
    }

    #[test]
    fn only_the_handshake_establishes() {
        assert_eq!(walk(&[(Forward, SYN), (Forward, ACK)]), State::Opening);
        assert_eq!(walk(&[(Return, ACK)]), State::Opening);
        assert_eq!(walk(&[(Return, SYN_ACK), (Forward, SYN)]), State::Answered);
        assert_eq!(walk(&[(Return, SYN), (Forward, SYN_ACK)]), State::Answered);
    }

    #[test]
    fn rfc7857_2_2_a_reset_shortens_and_a_packet_revives() {
        let reset = [(Return, SYN_ACK), (Forward, ACK), (Return, RST)];
        assert_eq!(walk(&reset), State::Reset);
        assert_eq!(walk(&[&reset[..], &[(Forward, ACK)]].concat()), State::Established);
    }

    #[test]
    fn steady_packets_change_nothing_and_reset_nothing() {
        for state in State::ALL {
            for flags in (0..=0xff).map(TcpFlags) {
                for direction in [Forward, Return] {
                    let steady = state.is_steady(direction, flags);
                    if steady {
                        assert_eq!(state.after(direction, flags), state, "{flags:?}");
                        assert!(!flags.any(RST) && (state == State::Udp || has_sense(flags)));
                        assert!(!flags.any(SYN));
                    }
                    let data = flags.0 & 0x17 == ACK.0;
                    let open = matches!(state, State::Established | State::Closed);
                    assert!(steady || !(data && open), "{state:?} {flags:?}");
                }
            }
        }
        assert!(State::Udp.is_steady(Forward, TcpFlags::default()));
    }

    #[test]
    fn nothing_but_the_handshake_establishes_after_a_refusal() {
        assert_eq!(walk(&[(Return, RST)]), State::Closed);
        assert_eq!(walk(&[(Return, SYN_ACK), (Forward, RST)]), State::Closed);
        assert_eq!(walk(&[(Forward, RST), (Forward, ACK)]), State::Closed);
    }
}

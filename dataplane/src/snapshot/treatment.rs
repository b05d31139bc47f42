//! What a service does with what is not plain traffic that fits: large segments, packets that are
//! refused, ICMP; and whether it tells backends who asks.
//!
//! Every default is what Private Link does, except that TCP's segment size is clamped, because a
//! path on which large segments vanish without a word serves nobody.

use crate::types::ProxyDialect;

/// The policies of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// The largest segment that TCP connections may agree on.
    pub mss_clamp: MssClamp,
    /// Which refusals the sender hears of.
    pub icmp_answers: IcmpAnswers,
    /// What becomes of ICMP errors about packets of flows.
    pub icmp_errors: IcmpErrors,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// The PROXY header that backends of TCP rules get in front of what a client sends; `None`:
    /// none.
    pub proxy_protocol: Option<ProxyDialect>,
}

/// What the MSS option of a SYN is lowered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssClamp {
    /// What fits the MTU of both devices.
    #[default]
    Auto,
    /// It stays as it is.
    Off,
    /// So many bytes.
    Bytes(u16),
}

/// Refusals that are answered with an ICMP error (RFC 5508 REQ-9: each can be switched off).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IcmpAnswers {
    /// Too large for the outgoing device: "fragmentation needed" (RFC 4787 REQ-13).
    pub too_big: bool,
    /// The time to live ran out: "time exceeded" (RFC 1812 5.3.1).
    pub time_exceeded: bool,
    /// A datagram that may not pass: "administratively prohibited" (RFC 5508 REQ-8).
    pub prohibited: bool,
}

/// What becomes of ICMP errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IcmpErrors {
    /// They are dropped, as Private Link carries TCP and UDP only.
    #[default]
    Drop,
    /// Those about a packet of a live flow are translated like it (RFC 5508 REQ-4 and 5).
    Translate,
}

/// What becomes of fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragments {
    /// They are dropped: their ports cannot be known.
    #[default]
    Drop,
    /// They go the way of the first one of their datagram, in whatever order they come (RFC 4787
    /// REQ-14).
    Reassemble,
}

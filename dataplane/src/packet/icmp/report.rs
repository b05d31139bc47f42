//! What ICMP errors say: in the words of either family (RFC 792, RFC 4443), and said in the other's
//! (RFC 7915 4.2, 5.2).

use crate::packet::mtu_across;
use crate::types::Family;
use crate::wire::icmp::Icmp;
use crate::wire::ipv6;

/// Types and codes of errors of IPv4.
mod v4 {
    pub(super) const UNREACHABLE: u8 = 3;
    pub(super) const TIME_EXCEEDED: u8 = 11;
    pub(super) const PARAMETER_PROBLEM: u8 = 12;

    pub(super) const HOST: u8 = 1;
    pub(super) const PROTOCOL: u8 = 2;
    pub(super) const PORT: u8 = 3;
    pub(super) const FRAGMENTATION_NEEDED: u8 = 4;
    pub(super) const HOST_PROHIBITED: u8 = 10;
    pub(super) const PROHIBITED: u8 = 13;
}

/// Types and codes of errors of IPv6.
mod v6 {
    pub(super) const UNREACHABLE: u8 = 1;
    pub(super) const TOO_BIG: u8 = 2;
    pub(super) const TIME_EXCEEDED: u8 = 3;
    pub(super) const PARAMETER_PROBLEM: u8 = 4;

    pub(super) const NO_ROUTE: u8 = 0;
    pub(super) const PROHIBITED: u8 = 1;
    pub(super) const PORT: u8 = 4;
    pub(super) const UNKNOWN_NEXT_HEADER: u8 = 1;
}

/// Path MTUs that are likely where a router tells none (RFC 1191 7), as far as IPv6 has such.
const PLATEAUS: [u32; 7] = [65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492];

/// What an error of adit's own says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Larger than the next hop's MTU, which is told (RFC 1191 4, RFC 4443 3.2).
    TooBig(u32),
    /// The time to live ran out in transit.
    TimeExceeded,
    /// Communication is administratively prohibited.
    Prohibited,
}

/// The devices that an error comes in by and leaves by: MTUs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// That of the device it comes in by.
    pub ingress: u32,
    /// That of the other.
    pub egress: u32,
}

/// What an error says, in the words of a family. Fields that mean nothing are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    family: Family,
    kind: u8,
    code: u8,
    subject: Subject,
}

/// The number that an error has, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    None,
    /// An MTU; 0 from routers that tell none (RFC 1191 5).
    Mtu(u32),
    /// A byte of the quoted packet.
    Pointer(u32),
}

impl Report {
    /// What a message of a family says, if it is an error.
    #[must_use]
    pub fn read(family: Family, icmp: Icmp<'_>) -> Option<Report> {
        let (kind, code) = (icmp.kind(), icmp.code());
        let [first, .., third, fourth] = icmp.rest();
        let subject = match (family, kind, code) {
            (Family::V4, v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => {
                Subject::Mtu(u16::from_be_bytes([third, fourth]).into())
            }
            (Family::V4, v4::PARAMETER_PROBLEM, _) => Subject::Pointer(first.into()),
            (Family::V4, v4::UNREACHABLE | v4::TIME_EXCEEDED, _)
            | (Family::V6, v6::UNREACHABLE | v6::TIME_EXCEEDED, _) => Subject::None,
            (Family::V6, v6::TOO_BIG, _) => Subject::Mtu(u32::from_be_bytes(icmp.rest())),
            (Family::V6, v6::PARAMETER_PROBLEM, _) => {
                Subject::Pointer(u32::from_be_bytes(icmp.rest()))
            }
            _ => return None,
        };
        Some(Report { family, kind, code, subject })
    }

    /// What adit says of a packet of a family.
    #[must_use]
    pub fn of(problem: Problem, family: Family) -> Report {
        let (kind, code, subject) = match (problem, family) {
            (Problem::TooBig(mtu), Family::V4) => {
                (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, Subject::Mtu(mtu))
            }
            (Problem::TooBig(mtu), Family::V6) => (v6::TOO_BIG, 0, Subject::Mtu(mtu)),
            (Problem::TimeExceeded, Family::V4) => (v4::TIME_EXCEEDED, 0, Subject::None),
            (Problem::TimeExceeded, Family::V6) => (v6::TIME_EXCEEDED, 0, Subject::None),
            (Problem::Prohibited, Family::V4) => (v4::UNREACHABLE, v4::PROHIBITED, Subject::None),
            (Problem::Prohibited, Family::V6) => (v6::UNREACHABLE, v6::PROHIBITED, Subject::None),
        };
        Report { family, kind, code, subject }
    }

    /// Whether it tells an MTU that its family does not know; such an error is to be discarded (RFC
    /// 8201 4).
    #[must_use]
    pub fn is_senseless(&self) -> bool {
        let is_small = matches!(self.subject, Subject::Mtu(mtu) if mtu < ipv6::MTU_MIN);
        self.family == Family::V6 && is_small
    }

    /// Bytes of the quoted packet before extensions begin, if the message says so (RFC 4884 4.1,
    /// 4.2).
    #[must_use]
    pub fn quoted_bytes(&self, icmp: Icmp<'_>) -> Option<usize> {
        let [first, second, ..] = icmp.rest();
        let bytes = match (self.family, self.kind) {
            (Family::V4, _) => usize::from(second) * 4,
            (Family::V6, v6::UNREACHABLE | v6::TIME_EXCEEDED) => usize::from(first) * 8,
            (Family::V6, _) => 0,
        };
        (bytes > 0).then_some(bytes)
    }

    /// The same about a quoted packet whose extension headers were left out: they lay between its
    /// fixed header and byte `end`. `None` if it is about one of them.
    #[must_use]
    pub fn without_extensions(self, end: usize) -> Option<Report> {
        let Subject::Pointer(pointer) = self.subject else { return Some(self) };
        let (begin, at) = (ipv6::HEADER_BYTES, usize::try_from(pointer).ok()?);
        let moved = match at {
            _ if self.family == Family::V4 || at < begin => at,
            _ if at < end => return None,
            _ => at - (end - begin),
        };
        Some(Report { subject: Subject::Pointer(u32::try_from(moved).ok()?), ..self })
    }

    /// The same in the words of another family, about a quoted packet of so many bytes; an MTU is
    /// no larger than what the path has. `None` if there are none for it.
    #[must_use]
    pub fn translate(self, family: Family, path: Path, quoted_bytes: u32) -> Option<Report> {
        let families = (self.family, family);
        let (kind, code, pointed) = match families {
            (Family::V4, Family::V6) => self.in_ipv6()?,
            (Family::V6, Family::V4) => self.in_ipv4()?,
            (Family::V4, Family::V4) | (Family::V6, Family::V6) => {
                (self.kind, self.code, self.subject)
            }
        };
        let subject = match pointed {
            // Routers of IPv4 that tell none leave it to the sender of IPv4 to guess.
            Subject::Mtu(0) if family == Family::V4 => Subject::Mtu(0),
            Subject::Mtu(mtu) => {
                let mtu = if mtu == 0 { likely_mtu(quoted_bytes) } else { mtu };
                let mtu = mtu_across(mtu.min(path.ingress), families).min(path.egress);
                Subject::Mtu(if family == Family::V6 { mtu.max(ipv6::MTU_MIN) } else { mtu })
            }
            subject => subject,
        };
        Some(Report { family, kind, code, subject })
    }

    /// RFC 7915 4.2.
    fn in_ipv6(self) -> Option<(u8, u8, Subject)> {
        let (kind, code) = match (self.kind, self.code) {
            (v4::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => (v6::UNREACHABLE, v6::NO_ROUTE),
            (v4::UNREACHABLE, 9 | 10 | 13 | 15) => (v6::UNREACHABLE, v6::PROHIBITED),
            (v4::UNREACHABLE, v4::PORT) => (v6::UNREACHABLE, v6::PORT),
            (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => (v6::TOO_BIG, 0),
            (v4::UNREACHABLE, v4::PROTOCOL) => {
                // The byte that names the protocol.
                let next_header = Subject::Pointer(6);
                return Some((v6::PARAMETER_PROBLEM, v6::UNKNOWN_NEXT_HEADER, next_header));
            }
            (v4::TIME_EXCEEDED, code) => (v6::TIME_EXCEEDED, code),
            // A wrong field, or a wrong length.
            (v4::PARAMETER_PROBLEM, 0 | 2) => (v6::PARAMETER_PROBLEM, 0),
            _ => return None,
        };
        // RFC 7915, figure 3.
        let place = |pointer| match pointer {
            0 | 1 => Some(pointer),
            2 | 3 => Some(4),
            8 => Some(7),
            9 => Some(6),
            12..=15 => Some(8),
            16..=19 => Some(24),
            _ => None,
        };
        Some((kind, code, self.subject.at(place)?))
    }

    /// RFC 7915 5.2.
    fn in_ipv4(self) -> Option<(u8, u8, Subject)> {
        let (kind, code) = match (self.kind, self.code) {
            (v6::UNREACHABLE, 0 | 2 | 3) => (v4::UNREACHABLE, v4::HOST),
            (v6::UNREACHABLE, v6::PROHIBITED) => (v4::UNREACHABLE, v4::HOST_PROHIBITED),
            (v6::UNREACHABLE, v6::PORT) => (v4::UNREACHABLE, v4::PORT),
            (v6::TOO_BIG, _) => (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED),
            (v6::TIME_EXCEEDED, code) => (v4::TIME_EXCEEDED, code),
            (v6::PARAMETER_PROBLEM, 0) => (v4::PARAMETER_PROBLEM, 0),
            (v6::PARAMETER_PROBLEM, v6::UNKNOWN_NEXT_HEADER) => {
                return Some((v4::UNREACHABLE, v4::PROTOCOL, Subject::None));
            }
            _ => return None,
        };
        // RFC 7915, figure 6.
        let place = |pointer| match pointer {
            0 | 1 => Some(pointer),
            4 | 5 => Some(2),
            6 => Some(9),
            7 => Some(8),
            8..=23 => Some(12),
            24..=39 => Some(16),
            _ => None,
        };
        Some((kind, code, self.subject.at(place)?))
    }

    /// Type, code, a checksum of zero, and the rest of the header.
    pub(super) fn bytes(&self) -> [u8; 8] {
        let [first, second, third, fourth] = match (self.subject, self.family) {
            (Subject::None, _) => [0; 4],
            (Subject::Mtu(mtu), Family::V4) => {
                let [a, b] = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
                [0, 0, a, b]
            }
            (Subject::Pointer(at), Family::V4) => [u8::try_from(at).unwrap_or(u8::MAX), 0, 0, 0],
            (Subject::Mtu(number) | Subject::Pointer(number), Family::V6) => number.to_be_bytes(),
        };
        [self.kind, self.code, 0, 0, first, second, third, fourth]
    }
}

impl Subject {
    /// With the byte that it points to elsewhere.
    fn at(self, place: impl Fn(u32) -> Option<u32>) -> Option<Subject> {
        match self {
            Subject::Pointer(pointer) => place(pointer).map(Subject::Pointer),
            other => Some(other),
        }
    }
}

/// The path MTU that a packet of IPv4 of so many bytes has most likely not fitted (RFC 7915 4.2).
fn likely_mtu(bytes: u32) -> u32 {
    let smaller = PLATEAUS.into_iter().find(|plateau| *plateau < bytes);
    smaller.unwrap_or(ipv6::MTU_MIN)
}

//! ICMP messages: built and read with pnet's packet types, summed from scratch.

use std::net::IpAddr;

use pnet_packet::Packet;
use pnet_packet::icmp::{IcmpCode, IcmpPacket, IcmpType, MutableIcmpPacket};

use crate::encode::{ICMP, Shape};
use crate::ndp::ICMPV6;
use crate::sum::{add, pseudo_header, sum};

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;

/// Everything about an ICMP message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IcmpShape {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The second word of its header.
    pub word: [u8; 4],
    /// What follows the header.
    pub body: Vec<u8>,
    /// Added to the right checksum.
    pub error: u16,
}

impl IcmpShape {
    /// An echo request or reply.
    #[must_use]
    pub fn echo(kind: u8, id: u16, sequence: u16, body: &[u8]) -> IcmpShape {
        let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
        IcmpShape { kind, word: [a, b, c, d], body: body.to_vec(), ..IcmpShape::default() }
    }

    /// An error about a packet, of which at most so many bytes are quoted.
    #[must_use]
    pub fn about(kind: u8, code: u8, packet: &[u8], quoted_bytes: usize) -> IcmpShape {
        let body = packet[..packet.len().min(quoted_bytes)].to_vec();
        IcmpShape { kind, code, body, ..IcmpShape::default() }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes[4..8].copy_from_slice(&self.word);
        bytes.extend(&self.body);
        let mut message = MutableIcmpPacket::new(&mut bytes).unwrap();
        message.set_icmp_type(IcmpType::new(self.kind));
        message.set_icmp_code(IcmpCode::new(self.code));
        let checksum = add(!sum(&bytes), self.error);
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The packet around it; of ICMPv6 if the addresses are IPv6.
    #[must_use]
    pub fn between(&self, from: IpAddr, to: IpAddr) -> Shape {
        if from.is_ipv4() {
            return Shape::new(ICMP, (from, 0), (to, 0)).with_payload(&self.encode());
        }
        let mut message = self.encode();
        message[2..4].fill(0);
        let length = u16::try_from(message.len()).unwrap();
        let pseudo = pseudo_header(from, to, ICMPV6, length);
        let checksum = add(!add(pseudo, sum(&message)), self.error);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        Shape::new(ICMPV6, (from, 0), (to, 0)).with_payload(&message)
    }
}

/// An ICMP message in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpSeen {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The second word of its header.
    pub word: u32,
    /// What follows its header.
    pub body: Vec<u8>,
    /// Whether its checksum is right.
    pub holds: bool,
}

/// The message between two addresses; of ICMPv6 if they are IPv6.
#[must_use]
pub fn read(message: &[u8], (from, to): (IpAddr, IpAddr)) -> Option<IcmpSeen> {
    let packet = IcmpPacket::new(message)?;
    let pseudo = match from {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => pseudo_header(from, to, ICMPV6, u16::try_from(message.len()).ok()?),
    };
    Some(IcmpSeen {
        kind: packet.get_icmp_type().0,
        code: packet.get_icmp_code().0,
        word: u32::from_be_bytes(packet.payload().get(..4)?.try_into().ok()?),
        body: packet.payload().get(4..)?.to_vec(),
        holds: add(pseudo, sum(message)) == u16::MAX,
    })
}

/// Types and codes of IPv4 errors, and what they are in IPv6, as RFC 7915 4.2 lists them; what is
/// not here is dropped. Type 11 keeps its code.
const IN_IPV6: [((u8, u8), (u8, u8)); 18] = [
    ((3, 0), (1, 0)),
    ((3, 1), (1, 0)),
    ((3, 2), (4, 1)),
    ((3, 3), (1, 4)),
    ((3, 4), (2, 0)),
    ((3, 5), (1, 0)),
    ((3, 6), (1, 0)),
    ((3, 7), (1, 0)),
    ((3, 8), (1, 0)),
    ((3, 9), (1, 1)),
    ((3, 10), (1, 1)),
    ((3, 11), (1, 0)),
    ((3, 12), (1, 0)),
    ((3, 13), (1, 1)),
    ((3, 15), (1, 1)),
    ((11, 0), (3, 0)),
    ((12, 0), (4, 0)),
    ((12, 2), (4, 0)),
];

/// The same of IPv6 errors, as RFC 7915 5.2 lists them. Type 3 keeps its code.
const IN_IPV4: [((u8, u8), (u8, u8)); 9] = [
    ((1, 0), (3, 1)),
    ((1, 1), (3, 10)),
    ((1, 2), (3, 1)),
    ((1, 3), (3, 1)),
    ((1, 4), (3, 3)),
    ((2, 0), (3, 4)),
    ((3, 0), (11, 0)),
    ((4, 0), (12, 0)),
    ((4, 1), (3, 2)),
];

/// Bytes of an IPv4 header that "parameter problem" may point to, and what stands for them in IPv6
/// (RFC 7915, figure 3).
const PLACES_IN_IPV6: [(u32, u32); 14] = [
    (0, 0),
    (1, 1),
    (2, 4),
    (3, 4),
    (8, 7),
    (9, 6),
    (12, 8),
    (13, 8),
    (14, 8),
    (15, 8),
    (16, 24),
    (17, 24),
    (18, 24),
    (19, 24),
];

/// The same of IPv6 (RFC 7915, figure 6): from, to, and what stands for all of them in IPv4.
const PLACES_IN_IPV4: [(u32, u32, u32); 7] =
    [(0, 0, 0), (1, 1, 1), (4, 5, 2), (6, 6, 9), (7, 7, 8), (8, 23, 12), (24, 39, 16)];

/// An error on its way from one family to another, or to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Whether it comes in over IPv6.
    pub from_ipv6: bool,
    /// Whether it leaves over IPv6.
    pub to_ipv6: bool,
    /// The MTUs of the devices that it comes in by and leaves by.
    pub mtus: (u32, u32),
    /// Bytes that the quoted packet says it has.
    pub quoted_bytes: u32,
}

impl Carried {
    /// Type, code and second word with which it leaves; `None` if nothing stands for it there.
    #[must_use]
    pub fn said(&self, (kind, code, word): (u8, u8, u32)) -> Option<(u8, u8, u32)> {
        let (mtu_kind, pointer_kind, time_kind) =
            if self.from_ipv6 { ((2, code), 4, 3) } else { ((3, 4), 12, 11) };
        let row = match kind {
            _ if self.from_ipv6 == self.to_ipv6 => (kind, code),
            _ if kind == time_kind => (if self.to_ipv6 { 3 } else { 11 }, code),
            _ if self.from_ipv6 => {
                let asked = if kind == 2 { (2, 0) } else { (kind, code) };
                IN_IPV4.iter().find(|row| row.0 == asked)?.1
            }
            _ => IN_IPV6.iter().find(|row| row.0 == (kind, code))?.1,
        };
        let word = match (kind, code) {
            said if said == mtu_kind => self.mtu(word),
            // What it is about is named by a pointer in IPv6 alone.
            (3, 2) if !self.from_ipv6 && self.to_ipv6 => 6,
            (4, 1) if self.from_ipv6 && !self.to_ipv6 => 0,
            _ if kind == pointer_kind => self.pointer(word)?,
            _ => 0,
        };
        Some((row.0, row.1, word))
    }

    /// Whether it leaves in another family than it came in.
    #[must_use]
    pub fn crosses(&self) -> bool {
        self.from_ipv6 != self.to_ipv6
    }

    fn mtu(&self, word: u32) -> u32 {
        let told = if self.from_ipv6 { word } else { word & 0xffff };
        let likely = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492];
        let told = match told {
            0 if !self.to_ipv6 => return 0,
            0 => likely.into_iter().find(|mtu| *mtu < self.quoted_bytes).unwrap_or(1_280),
            told => told,
        };
        let header = |is_ipv6| if is_ipv6 { 40 } else { 20 };
        let seen = |mtu: u32| mtu + header(self.to_ipv6) - header(self.from_ipv6).min(mtu);
        let mtu = seen(told).min(seen(self.mtus.0)).min(self.mtus.1);
        if self.to_ipv6 { mtu.max(1_280) } else { mtu }
    }

    fn pointer(&self, word: u32) -> Option<u32> {
        let pointer = if self.from_ipv6 { word } else { word >> 24 };
        let pointer = match (self.from_ipv6, self.to_ipv6) {
            (false, true) => PLACES_IN_IPV6.iter().find(|row| row.0 == pointer)?.1,
            (true, false) => {
                let holds = |row: &&(u32, u32, u32)| (row.0..=row.1).contains(&pointer);
                PLACES_IN_IPV4.iter().find(holds)?.2
            }
            _ => pointer,
        };
        Some(if self.to_ipv6 { pointer } else { pointer << 24 })
    }
}

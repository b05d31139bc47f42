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
    /// What follows its header.
    pub body: Vec<u8>,
    /// Whether its checksum is right.
    pub holds: bool,
}

/// The message at the start of an IPv4 packet's payload.
#[must_use]
pub fn read(message: &[u8]) -> Option<IcmpSeen> {
    let packet = IcmpPacket::new(message)?;
    Some(IcmpSeen {
        kind: packet.get_icmp_type().0,
        code: packet.get_icmp_code().0,
        body: packet.payload().get(4..)?.to_vec(),
        holds: sum(message) == u16::MAX,
    })
}

//! From bytes to a [`Packet`] or the reason why not.
//!
//! Everything that the form of a packet can get wrong is judged here, once, so that later stages
//! index without asking: lengths that contradict each other or the frame, a wrong header checksum,
//! addresses that can be nobody's, fragments, unsupported protocols, senseless TCP flags, and
//! offload requests that do not match the packet. Transport checksums are not verified: they are
//! updated by difference, so what was wrong stays wrong (I6). Bounds: one pass over at most 60
//! bytes of IPv4 header, or as many extension headers of IPv6 as [`ipv6::EXTENSIONS_MAX`] says.

use super::ndp;
use super::rewrite::Tuple;
use crate::device::{Checksum, Frame, FrameFault, Offload, SegmentationKind};
use crate::drop_reason::DropReason;
use crate::types::{Address, Family, MacAddress, Protocol};
use crate::wire::checksum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, ChainFault, Ipv6, Upper};
use crate::wire::ports;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::udp::{self, Udp};

/// Whether a packet is a fragment, or may become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// Neither, so that its identification means nothing (RFC 6864 4).
    Atomic,
    /// It may become one on its way.
    Allowed,
    /// It is the first fragment of a datagram.
    First,
}

/// A well-formed TCP or UDP packet, by what the engine needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// The protocol.
    pub protocol: Protocol,
    /// TCP's control bits; none for UDP.
    pub flags: TcpFlags,
    /// Whether the transport checksum is partial.
    pub partial_checksum: bool,
    /// Whether it is a fragment, or may become one.
    pub fragmentation: Fragmentation,
    /// Byte in the frame where the transport header begins.
    pub transport_offset: u16,
    /// Bytes of the IP packet; of a super-packet, those of its largest segment.
    pub wire_bytes: u32,
    /// The station that sent it.
    pub station: MacAddress,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// TCP or UDP.
    Packet(Packet),
    /// ARP or Neighbor Discovery, not looked into yet.
    Resolution,
}

/// Whom a frame arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The station.
    pub mac: MacAddress,
    /// Whether adit has an IPv6 address in that network; else nothing of IPv6 is looked into.
    pub speaks_ipv6: bool,
}

/// Judges the form of a frame.
///
/// # Errors
/// Why it must be dropped.
#[inline(always)]
pub fn parse(frame: &Frame, receiver: Receiver) -> Result<Parsed, DropReason> {
    if let Some(fault) = frame.fault {
        return Err(fault_reason(fault));
    }
    let bytes = frame.bytes();
    let header = Ethernet::of(bytes).ok_or(DropReason::EthernetTruncated)?;
    if !header.source().is_unicast() {
        return Err(DropReason::EthernetSourceInvalid);
    }
    let for_us = header.destination() == receiver.mac;
    let for_group = header.destination().is_group();
    match header.ethertype() {
        ethernet::IPV4 if for_us => {
            parse_ipv4(bytes, header.source(), frame.offload).map(Parsed::Packet)
        }
        ethernet::ARP if for_us || for_group => Ok(Parsed::Resolution),
        ethernet::IPV6 if !receiver.speaks_ipv6 => Err(DropReason::Ipv6Unsupported),
        ethernet::IPV6 if for_us || for_group => parse_ipv6(bytes, header, frame.offload),
        ethernet::VLAN | ethernet::SERVICE_VLAN => Err(DropReason::VlanTagged),
        ethernet::IPV4 if for_group => Err(DropReason::MartianDestination),
        _ if for_us || for_group => Err(DropReason::EthertypeUnsupported),
        _ => Err(DropReason::EthernetNotForUs),
    }
}

fn fault_reason(fault: FrameFault) -> DropReason {
    match fault {
        FrameFault::OffloadInvalid => DropReason::OffloadInvalid,
        FrameFault::Truncated => DropReason::FrameTruncated,
        FrameFault::VlanTagged => DropReason::VlanTagged,
    }
}

#[inline(always)]
fn parse_ipv4(frame: &[u8], station: MacAddress, offload: Offload) -> Result<Packet, DropReason> {
    let bytes = &frame[ethernet::HEADER_BYTES..];
    let header = Ipv4::of(bytes).ok_or(DropReason::Ipv4Truncated)?;
    let header_bytes = header.header_bytes();
    if header.version() != 4 || header_bytes < ipv4::HEADER_BYTES_MIN {
        return Err(DropReason::Ipv4HeaderInvalid);
    }
    let total = usize::from(header.total_length());
    // What lies behind the total length is padding and stays as it is (I5).
    let bytes = bytes.get(..total).ok_or(DropReason::Ipv4TotalLength)?;
    let (header_part, transport) =
        bytes.split_at_checked(header_bytes).ok_or(DropReason::Ipv4TotalLength)?;
    let sum = match header_bytes {
        ipv4::HEADER_BYTES_MIN => header.sum(),
        _ => checksum::sum(header_part),
    };
    if sum != u16::MAX {
        return Err(DropReason::Ipv4Checksum);
    }
    let addresses = (header.source().into(), header.destination().into());
    judge_addresses(addresses.0, addresses.1)?;
    if header.is_fragment() {
        return Err(DropReason::Ipv4Fragment);
    }
    let protocol = match header.protocol_number() {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        ipv4::ICMP => return Err(DropReason::IcmpUnsupported),
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let inside = Inside { protocol, addresses, offset: header_bytes, hops: header.ttl() };
    let fragmentation = match header.dont_fragment() {
        true => Fragmentation::Atomic,
        false => Fragmentation::Allowed,
    };
    parse_transport(&inside, transport, offload, station)
        .map(|packet| Packet { fragmentation, ..packet })
}

/// RFC 8200: the fixed header and what follows it. What is for a group can only be Neighbor
/// Discovery.
#[cold]
fn parse_ipv6(
    frame: &[u8],
    ethernet: Ethernet<'_>,
    offload: Offload,
) -> Result<Parsed, DropReason> {
    let bytes = &frame[ethernet::HEADER_BYTES..];
    let header = Ipv6::of(bytes).ok_or(DropReason::Ipv6Truncated)?;
    if header.version() != 6 {
        return Err(DropReason::Ipv6HeaderInvalid);
    }
    let total = ipv6::HEADER_BYTES + usize::from(header.payload_length());
    let bytes = bytes.get(..total).ok_or(DropReason::Ipv6PayloadLength)?;
    let Upper { protocol, offset, piece, .. } = upper(bytes)?;
    let body = bytes.get(offset..).ok_or(DropReason::Ipv6ExtensionHeaders)?;
    // Behind extension headers it would be no Neighbor Discovery to anybody else either.
    let is_direct = offset == ipv6::HEADER_BYTES;
    if protocol == ipv6::ICMP && is_direct && ndp::is_resolution(body) {
        return Ok(Parsed::Resolution);
    }
    if ethernet.destination().is_group() {
        return Err(DropReason::MartianDestination);
    }
    let addresses = addresses_of(header)?;
    judge_addresses(addresses.0, addresses.1)?;
    if piece.is_some() {
        return Err(DropReason::Ipv6Fragment);
    }
    let protocol = match protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        ipv6::ICMP => return Err(DropReason::IcmpUnsupported),
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let inside = Inside { protocol, addresses, offset, hops: header.hop_limit() };
    parse_transport(&inside, body, offload, ethernet.source()).map(Parsed::Packet)
}

/// What follows the extension headers of a packet, or why they lead nowhere.
pub(super) fn upper(packet: &[u8]) -> Result<Upper, DropReason> {
    ipv6::upper(packet).map_err(|fault| match fault {
        ChainFault::Malformed => DropReason::Ipv6ExtensionHeaders,
        ChainFault::Routing => DropReason::Ipv6RoutingHeader,
    })
}

/// The addresses of an IPv6 packet, neither of which may look like one of IPv4: no packet may have
/// such (RFC 4291 2.5.5.2).
fn addresses_of(header: Ipv6<'_>) -> Result<(Address, Address), DropReason> {
    let (source, destination) = (header.source().into(), header.destination().into());
    match [source, destination].map(Address::family) {
        [Family::V6, Family::V6] => Ok((source, destination)),
        [Family::V4, _] => Err(DropReason::MartianSource),
        [_, Family::V4] => Err(DropReason::MartianDestination),
    }
}

/// What the headers in front of a transport header say.
struct Inside {
    protocol: Protocol,
    addresses: (Address, Address),
    /// Byte of the packet where the transport header begins.
    offset: usize,
    hops: u8,
}

/// TCP or UDP of either family, and the offload that came with it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "headers have at most 14 + 296 + 60 bytes")]
fn parse_transport(
    inside: &Inside,
    transport: &[u8],
    offload: Offload,
    station: MacAddress,
) -> Result<Packet, DropReason> {
    let Inside { protocol, addresses: (source, destination), offset, hops } = *inside;
    let family = destination.family();
    let (flags, transport_header_bytes) = match protocol {
        Protocol::Tcp => judge_tcp(transport)?,
        Protocol::Udp => (judge_udp(transport)?, udp::HEADER_BYTES),
    };
    let (source_port, destination_port) = ports(transport).ok_or(DropReason::Internal)?;
    if source_port == 0 || destination_port == 0 {
        return Err(DropReason::PortZero);
    }
    if hops <= 1 {
        return Err(match family {
            Family::V4 => DropReason::Ipv4TtlExpired,
            Family::V6 => DropReason::Ipv6HopLimit,
        });
    }
    let partial_checksum = offload.checksum != Checksum::Complete;
    // RFC 8200 8.1: a checksum may be absent in tunnels only.
    let is_absent = protocol == Protocol::Udp && !partial_checksum && transport[6..8] == [0, 0];
    if family == Family::V6 && is_absent {
        return Err(DropReason::UdpChecksumMissing);
    }
    let tuple = Tuple { source, destination, source_port, destination_port };
    let transport_offset = (ethernet::HEADER_BYTES + offset) as u16;
    judge_offload(offload, (protocol, family), transport_offset)?;
    let total = (offset + transport.len()) as u32;
    Ok(Packet {
        tuple,
        protocol,
        flags,
        partial_checksum,
        fragmentation: Fragmentation::Atomic,
        transport_offset,
        wire_bytes: match offload.segmentation {
            None => total,
            // One with less data than a segment holds is its own largest.
            Some(cut) => {
                let headers = (offset + transport_header_bytes) as u32;
                total.min(headers + u32::from(cut.segment_bytes))
            }
        },
        station,
    })
}

/// Addresses that nobody can have or that stand for many ([`Address::is_nobodys`]).
///
/// # Errors
/// They are such addresses.
#[inline(always)]
pub fn judge_addresses(source: Address, destination: Address) -> Result<(), DropReason> {
    if source.is_nobodys() {
        Err(DropReason::MartianSource)
    } else if destination.is_nobodys() {
        Err(DropReason::MartianDestination)
    } else if source == destination {
        Err(DropReason::Land)
    } else {
        Ok(())
    }
}

/// The control bits and the bytes of the header, if it is right.
#[inline(always)]
fn judge_tcp(segment: &[u8]) -> Result<(TcpFlags, usize), DropReason> {
    let header = Tcp::of(segment).ok_or(DropReason::TcpHeaderInvalid)?;
    if !(tcp::HEADER_BYTES_MIN..=segment.len()).contains(&header.header_bytes()) {
        return Err(DropReason::TcpHeaderInvalid);
    }
    let flags = header.flags();
    if !has_sense(flags) {
        return Err(DropReason::TcpFlagsInvalid);
    }
    Ok((flags, header.header_bytes()))
}

/// Whether a segment may have these control bits: not SYN with FIN or RST, and one of SYN, RST and
/// ACK (RFC 9293 3.10).
#[must_use]
pub const fn has_sense(flags: TcpFlags) -> bool {
    let opens = flags.any(TcpFlags::SYN);
    let ends = flags.any(TcpFlags::FIN) || flags.any(TcpFlags::RST);
    !(opens && ends) && (opens || flags.any(TcpFlags::RST) || flags.any(TcpFlags::ACK))
}

/// No control bits, if the header is right.
#[inline(always)]
fn judge_udp(datagram: &[u8]) -> Result<TcpFlags, DropReason> {
    let header = Udp::of(datagram).ok_or(DropReason::UdpHeaderInvalid)?;
    if !(udp::HEADER_BYTES..=datagram.len()).contains(&usize::from(header.length())) {
        return Err(DropReason::UdpHeaderInvalid);
    }
    Ok(TcpFlags::default())
}

/// What the kernel is asked to finish must be what the packet is; it would else compute a checksum
/// or cut segments in the wrong place.
#[inline(always)]
fn judge_offload(
    offload: Offload,
    (protocol, family): (Protocol, Family),
    transport_offset: u16,
) -> Result<(), DropReason> {
    let (checksum_at, kind) = match (protocol, family) {
        (Protocol::Tcp, Family::V4) => (tcp::CHECKSUM_OFFSET, SegmentationKind::TcpIpv4),
        (Protocol::Tcp, Family::V6) => (tcp::CHECKSUM_OFFSET, SegmentationKind::TcpIpv6),
        (Protocol::Udp, _) => (udp::CHECKSUM_OFFSET, SegmentationKind::Udp),
    };
    let checksum_fits = match offload.checksum {
        Checksum::Complete => true,
        Checksum::Partial { start, offset } => {
            start == transport_offset && usize::from(offset) == checksum_at
        }
    };
    let segmentation_fits = offload.segmentation.is_none_or(|cut| cut.kind == kind);
    if checksum_fits && segmentation_fits { Ok(()) } else { Err(DropReason::OffloadInvalid) }
}

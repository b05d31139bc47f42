//! From bytes to a [`Packet`] or the reason why not.
//!
//! Everything that the form of a packet can get wrong is judged here, once, so that later stages
//! index without asking: lengths that contradict each other or the frame, a wrong header checksum,
//! addresses that can be nobody's, fragments, unsupported protocols, senseless TCP flags, and
//! offload requests that do not match the packet. Transport checksums are not verified: they are
//! updated by difference, so what was wrong stays wrong (I6). Bounds: one pass over at most 60
//! bytes of IPv4 header.

use core::net::Ipv4Addr;

use super::rewrite::Tuple;
use crate::device::{Checksum, Frame, FrameFault, Offload, SegmentationKind};
use crate::drop_reason::DropReason;
use crate::types::{MacAddress, Protocol};
use crate::wire::checksum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ports;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::udp::{self, Udp};

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
    /// Whether it is no fragment and cannot become one, so that its identification means nothing
    /// (RFC 6864 4).
    pub is_atomic: bool,
    /// Byte in the frame where the transport header begins.
    pub transport_offset: u16,
    /// Bytes of the IPv4 packet; of a super-packet, those of its largest segment.
    pub wire_bytes: u32,
    /// The station that sent it.
    pub station: MacAddress,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// TCP or UDP over IPv4.
    Packet(Packet),
    /// ARP, not looked into yet.
    Arp,
}

/// Judges the form of a frame that arrived at the station `mac`.
///
/// # Errors
/// Why it must be dropped.
#[inline(always)]
pub fn parse(frame: &Frame, mac: MacAddress) -> Result<Parsed, DropReason> {
    if let Some(fault) = frame.fault {
        return Err(fault_reason(fault));
    }
    let bytes = frame.bytes();
    let header = Ethernet::of(bytes).ok_or(DropReason::EthernetTruncated)?;
    if !header.source().is_unicast() {
        return Err(DropReason::EthernetSourceInvalid);
    }
    let for_us = header.destination() == mac;
    match header.ethertype() {
        ethernet::IPV4 if for_us => {
            parse_ipv4(bytes, header.source(), frame.offload).map(Parsed::Packet)
        }
        ethernet::ARP if for_us || header.destination().is_group() => Ok(Parsed::Arp),
        ethernet::IPV6 => Err(DropReason::Ipv6Unsupported),
        ethernet::VLAN | ethernet::SERVICE_VLAN => Err(DropReason::VlanTagged),
        ethernet::IPV4 if header.destination().is_group() => Err(DropReason::MartianDestination),
        _ if for_us || header.destination().is_group() => Err(DropReason::EthertypeUnsupported),
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
#[expect(clippy::cast_possible_truncation, reason = "headers have at most 14 + 60 + 60 bytes")]
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
    judge_addresses(header.source(), header.destination())?;
    if header.is_fragment() {
        return Err(DropReason::Ipv4Fragment);
    }
    let (protocol, (flags, transport_header_bytes)) = match header.protocol_number() {
        ipv4::TCP => (Protocol::Tcp, judge_tcp(transport)?),
        ipv4::UDP => (Protocol::Udp, (judge_udp(transport)?, udp::HEADER_BYTES)),
        ipv4::ICMP => return Err(DropReason::IcmpUnsupported),
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let (source_port, destination_port) = ports(transport).ok_or(DropReason::Internal)?;
    if source_port == 0 || destination_port == 0 {
        return Err(DropReason::PortZero);
    }
    if header.ttl() <= 1 {
        return Err(DropReason::Ipv4TtlExpired);
    }
    let tuple = Tuple {
        source: header.source(),
        destination: header.destination(),
        source_port,
        destination_port,
    };
    let transport_offset = (ethernet::HEADER_BYTES + header_bytes) as u16;
    judge_offload(offload, protocol, transport_offset)?;
    Ok(Packet {
        tuple,
        protocol,
        flags,
        partial_checksum: offload.checksum != Checksum::Complete,
        is_atomic: header.dont_fragment(),
        transport_offset,
        wire_bytes: match offload.segmentation {
            None => u32::from(header.total_length()),
            // One with less data than a segment holds is its own largest.
            Some(cut) => {
                let headers = (header_bytes + transport_header_bytes) as u32;
                u32::from(header.total_length()).min(headers + u32::from(cut.segment_bytes))
            }
        },
        station,
    })
}

/// RFC 1812 5.3.7: addresses that nobody can have or that stand for many.
///
/// # Errors
/// They are such addresses.
#[inline(always)]
pub fn judge_addresses(source: Ipv4Addr, destination: Ipv4Addr) -> Result<(), DropReason> {
    let nobody = |address: Ipv4Addr| {
        let first = address.octets()[0];
        // 224/4 is multicast, 240/4 reserved and 255.255.255.255 in it.
        first == 0 || first == 127 || first >= 224
    };
    if nobody(source) {
        Err(DropReason::MartianSource)
    } else if nobody(destination) {
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
    protocol: Protocol,
    transport_offset: u16,
) -> Result<(), DropReason> {
    let (checksum_at, kind) = match protocol {
        Protocol::Tcp => (tcp::CHECKSUM_OFFSET, SegmentationKind::TcpIpv4),
        Protocol::Udp => (udp::CHECKSUM_OFFSET, SegmentationKind::Udp),
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

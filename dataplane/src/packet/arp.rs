//! ARP for IPv4 over Ethernet (RFC 826): judged, and written as answers and requests.
//!
//! Off the hot path, so the bytes are etherparse's business.

use core::net::Ipv4Addr;

use etherparse::{ArpEthIpv4Packet, ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType};

use crate::drop_reason::DropReason;
use crate::types::MacAddress;
use crate::wire::ethernet;

/// Bytes of an ARP frame without padding.
pub const FRAME_BYTES: usize = ethernet::HEADER_BYTES + ArpEthIpv4Packet::LEN;

/// A well-formed ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks; else it answers.
    pub is_request: bool,
    /// Station of the sender; never a group's.
    pub sender_mac: MacAddress,
    /// Address of the sender; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Station of the target; meaningless in a request.
    pub target_mac: MacAddress,
    /// Address of the target.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Judges an ARP frame.
    ///
    /// # Errors
    /// [`DropReason::ArpInvalid`]: cut off, not for IPv4 over Ethernet, neither request nor answer,
    /// or sent in the name of a group.
    pub fn parse(frame: &[u8]) -> Result<Arp, DropReason> {
        let body = frame.get(ethernet::HEADER_BYTES..).ok_or(DropReason::ArpInvalid)?;
        let slice = ArpPacketSlice::from_slice(body).map_err(|_| DropReason::ArpInvalid)?;
        let packet = slice.to_packet();
        let ipv4_over_ethernet = slice.hw_addr_type() == ArpHardwareId::ETHERNET
            && slice.proto_addr_type() == EtherType::IPV4;
        let eth_ipv4 = packet.try_eth_ipv4().map_err(|_| DropReason::ArpInvalid)?;
        let known = [ArpOperation::REQUEST, ArpOperation::REPLY].contains(&eth_ipv4.operation);
        let sender_mac = MacAddress(eth_ipv4.sender_mac);
        if !ipv4_over_ethernet || !known || !sender_mac.is_unicast() {
            return Err(DropReason::ArpInvalid);
        }
        Ok(Arp {
            is_request: eth_ipv4.operation == ArpOperation::REQUEST,
            sender_mac,
            sender: eth_ipv4.sender_ipv4_addr(),
            target_mac: MacAddress(eth_ipv4.target_mac),
            target: eth_ipv4.target_ipv4_addr(),
        })
    }

    /// The answer that the target is at `mac`.
    #[must_use]
    pub fn answer(&self, mac: MacAddress) -> Arp {
        Arp {
            is_request: false,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// The question where `target` is, asked by `sender` at `mac`.
    #[must_use]
    pub fn request(mac: MacAddress, sender: Ipv4Addr, target: Ipv4Addr) -> Arp {
        Arp { is_request: true, sender_mac: mac, sender, target_mac: MacAddress::ZERO, target }
    }

    /// The frame: a request goes to all, an answer to its target.
    #[must_use]
    pub fn emit(&self) -> [u8; FRAME_BYTES] {
        let mut frame = [0; FRAME_BYTES];
        let (to, operation) = if self.is_request {
            (MacAddress::BROADCAST, ArpOperation::REQUEST)
        } else {
            (self.target_mac, ArpOperation::REPLY)
        };
        ethernet::set_stations(&mut frame, to, self.sender_mac);
        let body = ArpEthIpv4Packet {
            operation,
            sender_mac: self.sender_mac.0,
            sender_ipv4: self.sender.octets(),
            target_mac: self.target_mac.0,
            target_ipv4: self.target.octets(),
        };
        frame[12..14].copy_from_slice(&ethernet::ARP.to_be_bytes());
        frame[ethernet::HEADER_BYTES..].copy_from_slice(&body.to_bytes());
        frame
    }
}

//! Why a packet died: the one table of reasons, from which counters, commands and documents come.
//!
//! A row gives the variant, the name of its metric, the sentence for the operator, what the
//! operator can do, and where the rule is written down. A packet is counted under exactly one
//! reason, where its verdict is consumed (I9).

macro_rules! drop_reasons {
    ($($variant:ident, $metric:literal, $sentence:literal, $cure:literal, $source:literal;)+) => {
        /// Why a packet was dropped. One byte, so that it costs nothing to carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $sentence] $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the table, which is that of [`DropReason::slot`].
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];

            /// Name of the counter.
            #[must_use]
            pub const fn metric(self) -> &'static str {
                match self { $(DropReason::$variant => $metric,)+ }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(DropReason::$variant => $sentence,)+ }
            }

            /// What the operator can do about it.
            #[must_use]
            pub const fn cure(self) -> &'static str {
                match self { $(DropReason::$variant => $cure,)+ }
            }

            /// The document that asks for it.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(DropReason::$variant => $source,)+ }
            }
        }
    };
}

drop_reasons! {
    // What a device handed over.
    OffloadInvalid, "offload_invalid",
        "The virtio header that came with the frame contradicts the frame.",
        "The sender's driver is faulty or hostile; look at what is attached to that device.",
        "virtio 1.2, 5.1.6";
    FrameTruncated, "frame_truncated",
        "The frame is larger than the largest that adit accepts.",
        "Lower the MTU or switch segmentation offload off at the sender.", "-";
    VlanTagged, "vlan_tagged",
        "The frame carries a VLAN tag, and devices are untagged.",
        "Send untagged, or attach the kernel's interface for the VLAN.", "IEEE 802.1Q";
    EthernetTruncated, "ethernet_truncated",
        "The frame is shorter than an Ethernet header.",
        "The sender is faulty.", "IEEE 802.3";
    EthernetSourceInvalid, "ethernet_source_invalid",
        "The frame's source station is a group or zero.",
        "The sender is faulty or hostile.", "IEEE 802.3";
    EthernetNotForUs, "ethernet_not_for_us",
        "The frame is addressed to another station.",
        "Usually harmless flooding; else flush the sender's ARP cache.", "IEEE 802.3";
    EthertypeUnsupported, "ethertype_unsupported",
        "The frame is neither IPv4, IPv6 nor ARP.",
        "Nothing to do: private endpoints carry nothing else.", "-";
    Ipv6Unsupported, "ipv6_unsupported",
        "The packet is IPv6, and adit has no IPv6 address in this virtual network.",
        "Use the endpoint's IPv4 address, or give an endpoint or a service an IPv6 one.", "-";

    // The form of the packet.
    Ipv6Truncated, "ipv6_truncated",
        "The frame ends before its IPv6 header does.",
        "The sender is faulty.", "RFC 8200 3";
    Ipv6HeaderInvalid, "ipv6_header_invalid",
        "The frame says that it carries IPv6, and its version is not 6.",
        "The sender is faulty.", "RFC 8200 3";
    Ipv6PayloadLength, "ipv6_payload_length",
        "The IPv6 payload length does not fit the frame.",
        "The sender is faulty.", "RFC 8200 3";
    Ipv6ExtensionHeaders, "ipv6_extension_headers",
        "The IPv6 extension headers are cut off, misplaced, too many, or in pieces towards IPv4.",
        "Send without them: adit follows 8 of 256 bytes together.",
        "RFC 8200 4, RFC 8504 5.3, RFC 7915 5.1.1";
    Ipv6RoutingHeader, "ipv6_routing_header",
        "The IPv6 packet wants to be sent on by nodes that it names itself.",
        "The sender is hostile, or means another network.", "RFC 5095, RFC 8200 4.4";
    Ipv6Fragment, "ipv6_fragment",
        "The packet is a fragment of IPv6; its ports cannot be known.",
        "Send datagrams that fit the path's MTU, or set `fragments` of the service.",
        "RFC 4787 REQ-14";
    Ipv6HopLimit, "ipv6_hop_limit",
        "The packet's hop limit ran out here.",
        "Look for a routing loop, or send with a larger hop limit.", "RFC 8200 3";
    UdpChecksumMissing, "udp_checksum_missing",
        "The UDP datagram over IPv6 has no checksum, or one in fragments over IPv4 towards IPv6.",
        "Let the sender compute it: IPv6 has no other.", "RFC 8200 8.1, RFC 7915 4.5";
    NdpInvalid, "ndp_invalid",
        "The Neighbor Discovery message is cut off, comes from elsewhere, or contradicts itself.",
        "The sender is faulty or hostile.", "RFC 4861 7.1";
    NdpNotForUs, "ndp_not_for_us",
        "The Neighbor Discovery message concerns an address that adit neither holds nor looks for.",
        "Usually harmless: neighbors looking for each other.", "RFC 4861 7.2";
    Ipv4Truncated, "ipv4_truncated",
        "The frame ends before its IPv4 header does.",
        "The sender is faulty.", "RFC 791 3.1";
    Ipv4HeaderInvalid, "ipv4_header_invalid",
        "The IPv4 version is not 4 or the header length is below 20 bytes.",
        "The sender is faulty.", "RFC 1812 5.2.2";
    Ipv4TotalLength, "ipv4_total_length",
        "The IPv4 total length does not fit the frame or is less than the headers need.",
        "The sender is faulty.", "RFC 1812 5.2.2";
    Ipv4Checksum, "ipv4_checksum",
        "The IPv4 header checksum is wrong.",
        "Something corrupts packets between the sender and this device.", "RFC 1812 5.2.2";
    Ipv4Fragment, "ipv4_fragment",
        "The packet is a fragment; its ports cannot be known.",
        "Send datagrams that fit the path's MTU, or set `fragments` of the service.",
        "RFC 4787 REQ-14";
    FragmentTiny, "fragment_tiny",
        "The first fragment does not hold the transport header, or one has a senseless length.",
        "The sender is hostile: no path has so small an MTU.", "RFC 1858 3, RFC 3128";
    FragmentOverlap, "fragment_overlap",
        "The fragment overlaps another of its datagram, or one that did was dropped before it.",
        "The sender is hostile, or the network doubles packets.", "RFC 1858 4, RFC 5722 4";
    Ipv4TtlExpired, "ipv4_ttl_expired",
        "The packet's time to live ran out here.",
        "Look for a routing loop, or send with a larger TTL.", "RFC 1812 5.3.1";
    MartianSource, "martian_source",
        "The source address can be nobody's: multicast, broadcast, loopback, or out of range.",
        "The sender is faulty or hostile.", "RFC 1812 5.3.7";
    MartianDestination, "martian_destination",
        "The destination address is not a unicast address.",
        "Nothing to do: endpoints do not take part in multicast.", "RFC 1812 5.3.7";
    Land, "land",
        "Source and destination address are the same.",
        "The sender is hostile: this is the LAND attack.", "RFC 3704";
    IcmpUnsupported, "icmp_unsupported",
        "The packet is ICMP; private endpoints carry TCP and UDP only.",
        "Test with TCP, or set the endpoint's `icmp_echo`.",
        "Private Link FAQ";
    IcmpInvalid, "icmp_invalid",
        "The ICMP message is cut off, a checksum is wrong, or it tells an MTU that IPv6 has not.",
        "The sender is faulty or hostile.", "RFC 5508 REQ-3, RFC 8201 4";
    IcmpUntranslatable, "icmp_untranslatable",
        "The ICMP error says something for which the flow's other side has no words.",
        "Nothing to do: it is not about what the packet's sender has sent.",
        "RFC 7915 4.2, 5.2";
    ProtocolUnsupported, "protocol_unsupported",
        "The packet is neither TCP nor UDP.",
        "Private endpoints carry TCP and UDP only.", "Private Link FAQ";
    TcpHeaderInvalid, "tcp_header_invalid",
        "The TCP header is cut off, or its length is below 20 bytes or beyond the packet.",
        "The sender is faulty.", "RFC 9293 3.1";
    TcpFlagsInvalid, "tcp_flags_invalid",
        "The TCP flags make no sense: SYN with FIN or RST, or none of SYN, RST and ACK.",
        "The sender is scanning or faulty.", "RFC 9293 3.10";
    UdpHeaderInvalid, "udp_header_invalid",
        "The UDP header is cut off, or its length is below 8 bytes or beyond the packet.",
        "The sender is faulty.", "RFC 768";
    PortZero, "port_zero",
        "A source or destination port is 0.",
        "The sender is faulty or hostile.", "RFC 6335 6";
    ArpInvalid, "arp_invalid",
        "The ARP packet is cut off, not for IPv4 over Ethernet, or sent in the name of a group.",
        "The sender is faulty or hostile.", "RFC 826";
    ArpNotForUs, "arp_not_for_us",
        "The ARP packet concerns an address that adit neither holds nor looks for.",
        "Usually harmless: neighbors looking for each other.", "RFC 826";

    // Who may talk to whom.
    SourceSpoofed, "source_spoofed",
        "The source address is outside the virtual network's address space, or is adit's own.",
        "Add the prefix to the virtual network's address_space if it is legitimate.", "RFC 2827";
    NoEndpoint, "no_endpoint",
        "No private endpoint and no NAT IP has the destination address in this virtual network.",
        "Compare the address with `adit endpoints`.", "I1";
    PeeringNotConnected, "peering_not_connected",
        "The endpoint is in a virtual network whose peering with this one is not on both sides.",
        "Name each network in the other's peered_with, or create the missing peering.", "I1";
    PeeringNotTransitive, "peering_not_transitive",
        "The client came by a router of a virtual network that is peered with the endpoint's.",
        "Peer its own network with the endpoint's: peerings lead no further.", "I1";
    ConnectionPending, "connection_pending",
        "The endpoint's connection waits for approval.",
        "Approve it: `adit approve ENDPOINT`.", "I11";
    ConnectionRejected, "connection_rejected",
        "The endpoint's connection was rejected.",
        "Ask the provider to approve it: `adit approve ENDPOINT`.", "I11";
    ConnectionDisconnected, "connection_disconnected",
        "The provider removed the endpoint's connection.",
        "Delete the endpoint and create it anew.", "I11";
    SecurityRuleDenied, "security_rule_denied",
        "The network security group of the endpoint's subnet does not let the client in.",
        "Ask `adit explain` which rule decides, and allow the client before it.", "-";
    NoRule, "no_rule",
        "The service has no load-balancing rule for this protocol and port.",
        "Compare the port with `adit services`.", "-";
    NoBackend, "no_backend",
        "The rule's backend pool is empty.",
        "Add a backend to the rule's pool.", "-";
    NoHealthyBackend, "no_healthy_backend",
        "No backend of the rule's pool takes new flows: each is down or drains.",
        "Look why: `adit services` shows each backend's state.", "-";
    TcpNotSyn, "tcp_not_syn",
        "The TCP packet belongs to no flow and does not open one.",
        "The connection idled out or adit restarted: the client must connect anew.",
        "RFC 5382 REQ-5";
    TcpUnanswered, "tcp_unanswered",
        "The backend sends data of a connection that it has not accepted yet.",
        "Nothing to do: it is late data of an earlier connection from the same NAT port.", "I1";
    UnsolicitedFromProvider, "unsolicited_from_provider",
        "The provider's packet belongs to no flow; only consumers open connections.",
        "Look why the backend answers so late: the flow idled out, or a reload ended it.",
        "RFC 5382 REQ-4";
    BackendMismatch, "backend_mismatch",
        "The packet comes back from a port of the backend that the flow does not use.",
        "The backend must answer from the address and port that it was asked on.",
        "RFC 4787 REQ-8";
    IcmpUnmatched, "icmp_unmatched",
        "The ICMP error is about no packet that a live flow has sent that way.",
        "Usually harmless: it came late; else the sender is hostile.", "RFC 5508 REQ-4, REQ-5";
    EndpointRemoved, "endpoint_removed",
        "The flow's endpoint or rule is gone from the configuration.",
        "The client must connect anew.", "I11";
    BackendRemoved, "backend_removed",
        "The flow's backend is gone from the rule's pool.",
        "The client must connect anew; another backend will serve it.", "-";
    FlowMoved, "flow_moved",
        "The answer comes from a backend that the flow was moved away from: the pool changed.",
        "Nothing to do, or set the rule's `enable_connection_tracking`: UDP flows stay then.",
        "-";
    NatIpRemoved, "nat_ip_removed",
        "The flow's NAT IP is gone from the service, or its lease went while it was.",
        "The client must connect anew; another NAT IP will serve it.", "-";
    NatIpDrained, "nat_ip_drained",
        "The flow's NAT IP was taken away from the service and its time to drain is over.",
        "The client must connect anew; another NAT IP will serve it.",
        "0017";

    BackendDrained, "backend_drained",
        "The flow's backend was taken down by its administrator and its time to drain is over.",
        "The client must connect anew; another backend will serve it.",
        "-";

    ConnectionReset, "connection_reset",
        "adit has ended the packet's connection, and told the sender so with a reset.",
        "Nothing to do: the client must connect anew.", "RFC 9293 3.10.7.1";

    // What would come to lie before a PROXY header.
    ProxyHeaderEarly, "proxy_header_early",
        "The client sent before its handshake was done, and the PROXY header was not sent yet.",
        "Usually harmless: it comes again; else the client is hostile.", "proxy-protocol 2";
    ProxyHeaderOverlap, "proxy_header_overlap",
        "The client's data would have taken the place of the PROXY header in front of it.",
        "The client is hostile: it forges who it is.", "proxy-protocol 2";

    TcpChecksum, "tcp_checksum",
        "The TCP checksum is wrong, of a segment whose numbers a PROXY header depends on.",
        "Something corrupts packets between the sender and this device.", "RFC 9293 3.1";

    // What ran out.
    NatPortsExhausted, "nat_ports_exhausted",
        "Every port of every NAT IP towards the chosen backend is leased.",
        "Add a NAT IP or a backend to the service: each pair adds 64,512 ports a protocol.",
        "RFC 6888 REQ-11";
    EndpointFlowsMax, "endpoint_flows_max",
        "The endpoint has as many flows as it may have.",
        "Raise `flows_max` of the endpoint, or look who opens so many.", "RFC 6888 REQ-4";
    RoomReserved, "room_reserved",
        "What ports or records are left are kept for endpoints with less, or reserved for others.",
        "Add a NAT IP or a backend, raise `flows_max` of adit, or lower `flows_reserved`; `adit \
         endpoints` says who has how many.",
        "0042";
    IcmpRate, "icmp_rate",
        "More echo requests came from the virtual network than are answered in this time.",
        "Ping less often.", "RFC 1812 4.3.2.8";
    FragmentLimit, "fragment_limit",
        "More fragments came from the virtual network than are followed at a time.",
        "Send datagrams that fit the path's MTU.", "RFC 4787 REQ-14";
    FragmentTimeout, "fragment_timeout",
        "The first fragment of the datagram did not come in time, or its flow ended meanwhile.",
        "Look where fragments are lost on the way.", "RFC 4787 REQ-14";
    FlowTableFull, "flow_table_full",
        "The worker's flow table is full; live flows are never evicted.",
        "Raise `flows_max`.", "I8";
    ProxyHeadersFull, "proxy_headers_full",
        "Too many PROXY headers wait for the acknowledgement of their backend.",
        "Look why backends do not answer, or raise `flows_max`.", "I8";
    NeighborPending, "neighbor_pending",
        "The next hop is not resolved yet and too many packets wait already.",
        "Harmless at the start of a conversation; else see `neighbor_unreachable`.",
        "RFC 1122 2.3.2.2";
    NeighborUnreachable, "neighbor_unreachable",
        "The next hop did not answer in time, or a reload overtook the waiting packet.",
        "Check that the backend is up and on the device's segment.", "RFC 1122 2.3.2.1";
    ClientUnknown, "client_unknown",
        "The client's device is gone and it has not sent since.",
        "Nothing to do: the client's next packet tells where it is now.", "I1";
    TooBig, "too_big",
        "The packet is larger than the outgoing device's MTU.",
        "Raise that MTU or lower the sender's.", "RFC 4787 REQ-13";
    DeviceDown, "device_down",
        "The outgoing device is down or gone.",
        "Bring it up; adit picks it up by itself.", "-";
    TransmitFull, "transmit_full",
        "The outgoing device's queue is full.",
        "Attach a qdisc for back-pressure, or offer less load.", "-";
    TransmitRejected, "transmit_rejected",
        "The kernel refused the frame.",
        "Compare the MTU of both sides.", "-";
    HandoverFull, "handover_full",
        "The ring to the worker that owns the flow is full.",
        "Offer less load, or use fewer workers.", "I8";
    Internal, "internal",
        "A bug of adit: a table contradicted itself.",
        "Please report it with the counters of `adit drops`.", "-";
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Position of this reason's counter.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize
    }
}

const _: () = assert!(DropReason::COUNT < 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_slot_and_metric() {
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.slot(), position);
            let metric = reason.metric();
            assert!(
                metric.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            let same = DropReason::ALL.iter().filter(|other| other.metric() == metric).count();
            assert_eq!(same, 1, "{metric}");
            assert!(reason.sentence().ends_with('.') && reason.cure().ends_with('.'), "{metric}");
        }
    }
}

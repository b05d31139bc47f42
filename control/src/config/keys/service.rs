//! Keys of private link services.

use super::Absent::{self, Refused, Same};
use super::Form::{NumberOrText, Text, Texts};
use super::Range::{self, Durations, Words};
use super::{
    ADDRESS, FLAG, FLOWS, FLOWS_MAX, Keys, NAME, TIMEOUT, key, reference_to, tables, words,
};

pub(super) static SERVICE: Keys = Keys {
    title: "[[private_link_service]]",
    about: "A private link service, at most 8 for each load balancer.",
    list: &[
        key("name", NAME, Refused, "\"web\"", "Its name."),
        key("load_balancer", reference_to("a load balancer"), Refused, "\"lb\"", "What serves it."),
        key(
            "nat_ip_configurations",
            tables(&NAT_IP),
            Refused,
            "[{ name = \"nat1\", private_ip_address = \"10.1.0.4\" }]",
            "1 to 8 addresses of the provider's virtual network, which backends see instead of the \
             clients'. Each gives 64,512 ports towards each backend for each protocol.",
        ),
        key(
            "nat_ip_drain_timeout",
            (Text, Durations("0s", "24h")),
            Same("\"5m\""),
            "\"1h\"",
            "How long a NAT IP that a reload takes away keeps its flows. It gets no new ones.",
        ),
        key(
            "endpoint_flows_reserved",
            FLOWS,
            Same("0"),
            "1000",
            "How many flows each endpoint shall get whatever the others have.",
        ),
        key(
            "endpoint_flows_max",
            FLOWS_MAX,
            Absent::Said("no limit"),
            "100000",
            "How many flows each endpoint may have.",
        ),
        key(
            "auto_approve",
            FLAG,
            Same("false"),
            "true",
            "Whether connections are approved without `adit approve`.",
        ),
        key(
            "profile",
            words(&["azure", "aws", "gcp"]),
            Same("\"azure\""),
            "\"aws\"",
            "Whose behaviour the service has where it does not say otherwise.",
        ),
        key(
            "tcp_established_timeout",
            TIMEOUT,
            Absent::Said("azure: 300s, aws: 350s, gcp: 1200s"),
            "\"7440s\"",
            "How long a TCP flow lives without a packet. RFC 5382 asks for 7440s.",
        ),
        key(
            "tcp_half_open_timeout",
            TIMEOUT,
            Same("\"30s\""),
            "\"240s\"",
            "The same before its handshake is done. RFC 5382 asks for 240s.",
        ),
        key(
            "tcp_closing_timeout",
            TIMEOUT,
            Same("\"30s\""),
            "\"240s\"",
            "The same after both FINs or a reset.",
        ),
        key(
            "udp_timeout",
            TIMEOUT,
            Absent::Said("azure: 240s, aws: 120s, gcp: 30s"),
            "\"300s\"",
            "How long a UDP flow lives without a packet.",
        ),
        key(
            "port_hold_down",
            (Text, Durations("0s", "10m")),
            Absent::Said("azure and aws: 0s, gcp: 120s"),
            "\"120s\"",
            "How long a port rests after its flow before it is leased again. RFC 6888 asks for \
             120s; with 0s a port comes back only after all others.",
        ),
        key(
            "tcp_refusals",
            words(&["silent", "reset"]),
            Absent::Said("azure and gcp: `silent`, aws: `reset`"),
            "\"reset\"",
            "What clients are told whose TCP segments are refused: nothing, so that they time out, \
             or a reset, so that they fail at once.",
        ),
        key(
            "mss_clamp",
            (NumberOrText, Range::Said("`\"auto\"`, `\"off\"`, or 536 to 65495")),
            Same("\"auto\""),
            "1400",
            "The largest segment that TCP connections agree on: what fits the MTU of both devices, \
             what they want, or so many bytes.",
        ),
        key(
            "icmp_answers",
            (Texts, Words(&["too_big", "time_exceeded", "prohibited"])),
            Same("[]"),
            "[\"too_big\"]",
            "Of which refusals the sender is told by ICMP: packets too big (path MTU discovery), \
             whose time to live ran out, that may not pass.",
        ),
        key(
            "icmp_errors",
            words(&["drop", "translate"]),
            Same("\"drop\""),
            "\"translate\"",
            "What becomes of ICMP errors about packets of a flow.",
        ),
        key(
            "fragments",
            words(&["drop", "reassemble"]),
            Same("\"drop\""),
            "\"reassemble\"",
            "What becomes of fragments; `reassemble` lets them go the way of their datagram's \
             first one.",
        ),
        key(
            "proxy_protocol",
            words(&["none", "profile", "azure", "aws", "gcp"]),
            Same("\"none\""),
            "\"azure\"",
            "Whether backends of TCP rules are told who asks, by a PROXY protocol v2 header in \
             front of what the client sends. Backends must expect it.",
        ),
    ],
};

static NAT_IP: Keys = Keys {
    title: "private_link_service.nat_ip_configurations",
    about: "A NAT IP.",
    list: &[
        key("name", NAME, Refused, "\"nat1\"", "Its name."),
        key("private_ip_address", ADDRESS, Refused, "\"10.1.0.4\"", "Its address."),
    ],
};

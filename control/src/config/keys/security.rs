//! Subnets and network security groups.

use super::Absent::{self, Refused, Same};
use super::Form::{Number, TextOrTexts, Texts};
use super::Range::{self, Numbers};
use super::{Form, Keys, NAME, key, reference_to, tables, words};

const PREFIXES: (Form, Range) = (
    Texts,
    Range::Said("prefixes, addresses, `VirtualNetwork`, `Internet`, `AzureLoadBalancer` or `*`"),
);

pub(super) static SUBNET: Keys = Keys {
    title: "virtual_network.subnet",
    about: "A part of a virtual network with policies of its own. Networks need none.",
    list: &[
        key("name", NAME, Refused, "\"endpoints\"", "Its name."),
        key(
            "address_prefix",
            (
                TextOrTexts,
                Range::Said(
                    "a prefix within the address space, apart from other subnets, or one of each \
                     family",
                ),
            ),
            Refused,
            "\"10.0.0.0/24\"",
            "Its addresses.",
        ),
        key(
            "network_security_group",
            reference_to("a network security group of the file"),
            Absent::Said("none"),
            "\"web-only\"",
            "The group that judges who opens a connection to the private endpoints in it, if the \
             policies say so.",
        ),
        key(
            "private_endpoint_network_policies",
            words(&["Disabled", "NetworkSecurityGroupEnabled", "RouteTableEnabled", "Enabled"]),
            Same("\"Disabled\""),
            "\"NetworkSecurityGroupEnabled\"",
            "Which of its policies are in force for private endpoints. Route tables have no \
             effect: hosts choose their ways to adit themselves.",
        ),
    ],
};

pub(super) static SECURITY_GROUP: Keys = Keys {
    title: "[[network_security_group]]",
    about: "Who may open connections to the private endpoints of the subnets that name it. Behind \
            its rules hosts of the virtual network are let in, and nobody else. Connections that \
            are open stay when a rule changes.",
    list: &[
        key("name", NAME, Refused, "\"web-only\"", "Its name."),
        key(
            "security_rule",
            tables(&SECURITY_RULE),
            Absent::Said("none"),
            "[{ name = \"web\", priority = 100, access = \"Allow\" }]",
            "Its rules, at most 1,000.",
        ),
    ],
};

static SECURITY_RULE: Keys = Keys {
    title: "network_security_group.security_rule",
    about: "Rules are asked in ascending order of priority; the first that matches decides.",
    list: &[
        key("name", NAME, Refused, "\"web\"", "Its name."),
        key(
            "priority",
            (Number, Numbers(100, 4_096)),
            Refused,
            "100",
            "Its place in the order, unique in the group.",
        ),
        key(
            "direction",
            words(&["Inbound"]),
            Same("\"Inbound\""),
            "\"Inbound\"",
            "Endpoints open no connections: there is nothing for outbound rules to say.",
        ),
        key("access", words(&["Allow", "Deny"]), Refused, "\"Allow\"", "What it does."),
        key(
            "protocol",
            words(&["Tcp", "Udp", "*"]),
            Same("\"*\""),
            "\"Tcp\"",
            "The protocol that it is about.",
        ),
        key(
            "source_address_prefixes",
            PREFIXES,
            Same("[\"*\"]"),
            "[\"10.0.1.0/24\"]",
            "Where clients may be, for it to match. Source ports are not looked at, as in Azure.",
        ),
        key(
            "destination_address_prefixes",
            PREFIXES,
            Same("[\"*\"]"),
            "[\"10.0.0.5\"]",
            "Where the endpoint may be.",
        ),
        key(
            "destination_port_ranges",
            (Texts, Range::Said("ports, ranges of ports, or `*`")),
            Same("[\"*\"]"),
            "[\"443\", \"8000-8100\"]",
            "Which port of the endpoint may be dialled.",
        ),
    ],
};

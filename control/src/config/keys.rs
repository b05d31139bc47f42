//! The keys of the configuration file: the one list from which the parser reads, errors quote and
//! the reference is written.
//!
//! A key that is not here cannot be read, and one that is here but not read is reported as unknown
//! by the tests, which also try every default, every end of a range and every word.

mod balancer;
mod recording;
mod security;
mod service;

use dataplane::limits::{FLOWS_PER_WORKER_MAX, WORKERS_MAX};

/// A table of the file.
#[derive(Debug)]
pub(super) struct Keys {
    /// As it stands in a file.
    pub(super) title: &'static str,
    /// What it is, in a sentence or two.
    pub(super) about: &'static str,
    pub(super) list: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) range: Range,
    pub(super) absent: Absent,
    /// A value, as the file has it.
    pub(super) example: &'static str,
    pub(super) about: &'static str,
}

/// The type of a value.
#[derive(Debug)]
pub(super) enum Form {
    Text,
    Number,
    Flag,
    NumberOrText,
    Texts,
    /// One text, or a list of them.
    TextOrTexts,
    /// Texts, or tables that say more.
    TextsOr(&'static Keys),
    Table(&'static Keys),
    Tables(&'static Keys),
}

/// Which values are possible.
#[derive(Debug)]
pub(super) enum Range {
    /// From and to.
    Numbers(i64, i64),
    /// One of these, whatever its case.
    Words(&'static [&'static str]),
    /// From and to, as text.
    Durations(&'static str, &'static str),
    /// In words.
    Said(&'static str),
}

/// What it means that a key is missing.
#[derive(Debug)]
pub(super) enum Absent {
    /// It must be there.
    Refused,
    /// The same as this value.
    Same(&'static str),
    /// This, in words.
    Said(&'static str),
}

use Absent::{Refused, Same};
use Form::{Flag, Number, Table, Tables, Text, TextOrTexts, Texts};
use Range::{Durations, Numbers, Words};
use balancer::LOAD_BALANCER;
use recording::{AUDIT_LOG, FLOW_LOG, OPEN_TELEMETRY, WHOIS};
use security::{SECURITY_GROUP, SUBNET};
use service::SERVICE;

const fn key(
    name: &'static str,
    (form, range): (Form, Range),
    absent: Absent,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { name, form, range, absent, example, about }
}

const NAME: (Form, Range) = (Text, Range::Said("a name: 1 to 80 letters, digits, `_`, `.`, `-`"));
const ADDRESS: (Form, Range) = (Text, Range::Said("an address of the virtual network"));
const FLAG: (Form, Range) = (Flag, Words(&["true", "false"]));
const FLOWS: (Form, Range) = (Number, Numbers(0, u32::MAX as i64 - 1));
const FLOWS_MAX: (Form, Range) = (Number, Numbers(1, u32::MAX as i64 - 1));

const TIMEOUT: (Form, Range) = (Text, Durations("100ms", "24h"));

/// The name of something that the file defines.
const fn reference_to(what: &'static str) -> (Form, Range) {
    (Text, Range::Said(what))
}

const fn words(words: &'static [&'static str]) -> (Form, Range) {
    (Text, Words(words))
}

const fn tables(keys: &'static Keys) -> (Form, Range) {
    (Tables(keys), Range::Said("a list of tables"))
}

/// The file.
pub(super) static FILE: Keys = Keys {
    title: "",
    about: "",
    list: &[
        key("adit", (Table(&ADIT), Range::Said("a table")), Absent::Said("its defaults"), "", ""),
        key("whois", (Table(&WHOIS), Range::Said("a table")), Absent::Said("its defaults"), "", ""),
        key("flow_log", (Table(&FLOW_LOG), Range::Said("a table")), Absent::Said("none"), "", ""),
        key("audit_log", (Table(&AUDIT_LOG), Range::Said("a table")), Absent::Said("none"), "", ""),
        key(
            "open_telemetry",
            (Table(&OPEN_TELEMETRY), Range::Said("a table")),
            Absent::Said("none"),
            "",
            "",
        ),
        key("virtual_network", tables(&VIRTUAL_NETWORK), Absent::Said("none"), "", ""),
        key("device", tables(&DEVICE), Absent::Said("none"), "", ""),
        key("load_balancer", tables(&LOAD_BALANCER), Absent::Said("none"), "", ""),
        key("private_link_service", tables(&SERVICE), Absent::Said("none"), "", ""),
        key("private_endpoint", tables(&ENDPOINT), Absent::Said("none"), "", ""),
        key("network_security_group", tables(&SECURITY_GROUP), Absent::Said("none"), "", ""),
    ],
};

static ADIT: Keys = Keys {
    title: "[adit]",
    about: "The process. All of it is optional, and fixed until adit is restarted.",
    list: &[
        key(
            "control_socket",
            (Text, Range::Said("an absolute path of at most 107 bytes")),
            Same("\"/run/adit/adit.sock\""),
            "\"/run/adit/adit.sock\"",
            "Where `adit status` and its like reach the daemon; only the user who runs it can.",
        ),
        key(
            "http",
            (Text, Range::Said("an address and a port")),
            Absent::Said("off"),
            "\"127.0.0.1:9464\"",
            "Serves metrics for Prometheus (`/metrics`) and a page with the topology. The page is \
             for this machine alone, whatever the address; metrics are for all who can reach it.",
        ),
        key(
            "workers",
            (Number, Numbers(1, WORKERS_MAX as i64)),
            Same("1"),
            "2",
            "Threads that move packets, each on a CPU of its own.",
        ),
        key(
            "flows_max",
            (Number, Numbers(1, FLOWS_PER_WORKER_MAX as i64)),
            Same("262144"),
            "1000000",
            "Flows that each worker has room for. Memory for them is taken at the start; live \
             flows are never evicted.",
        ),
        key(
            "fair_share_percent",
            (Number, Numbers(0, 50)),
            Same("0"),
            "5",
            "When no more than so much is left of the ports towards a backend or of a worker's \
             flows, endpoints with more flows than the average get none of it. A lone approved \
             endpoint of a service gets all; 0 keeps nothing.",
        ),
        key(
            "fast_path",
            words(&["auto", "off"]),
            Same("\"auto\""),
            "\"off\"",
            "Whether the kernel carries the usual packets of established flows by itself: `auto` \
             where it can (Linux 6.6, root; af_packet devices of adit's own namespace).",
        ),
        key(
            "privileges",
            words(&["drop", "keep"]),
            Same("\"drop\""),
            "\"keep\"",
            "What becomes of privileges that this file does not need: `drop` gives them up before \
             the first packet, and a reload that would need them again is refused.",
        ),
    ],
};

static VIRTUAL_NETWORK: Keys = Keys {
    title: "[[virtual_network]]",
    about: "A virtual network. Address spaces of different ones may overlap.",
    list: &[
        key("name", NAME, Refused, "\"consumer-a\"", "Its name."),
        key(
            "address_space",
            (Texts, Range::Said("prefixes, IPv4 or IPv6, no two of which overlap")),
            Refused,
            "[\"10.0.0.0/16\"]",
            "Its addresses. Packets from any other are dropped as spoofed.",
        ),
        key(
            "remote_address_space",
            (Texts, Range::Said("prefixes outside of address_space, no two of which overlap")),
            Absent::Said("none"),
            "[\"10.9.0.0/16\", \"192.168.0.0/16\"]",
            "Addresses behind a router of the network that may dial its endpoints as its own may: \
             other networks, sites on premises. Answers go to the router that asked.",
        ),
        key(
            "peered_with",
            (Texts, Range::Said("names of other virtual networks that do not overlap with it")),
            Absent::Said("none"),
            "[\"spoke\"]",
            "Virtual networks whose own hosts may dial its endpoints from devices of their own. \
             A peering is connected when each names the other, and leads no further.",
        ),
        key(
            "routes",
            tables(&ROUTE),
            Absent::Said("none"),
            "[{ address_prefix = \"10.1.9.0/24\", next_hop_ip_address = \"10.1.0.1\" }]",
            "Ways to backends that are not on the segment but behind a router.",
        ),
        key(
            "subnet",
            tables(&SUBNET),
            Absent::Said("none"),
            "[{ name = \"endpoints\", address_prefix = \"10.0.0.0/24\" }]",
            "Parts of it that have policies of their own.",
        ),
    ],
};

static ROUTE: Keys = Keys {
    title: "virtual_network.routes",
    about: "A way to backends behind a router. The longest prefix decides.",
    list: &[
        key(
            "address_prefix",
            (Text, Range::Said("a prefix within the address space")),
            Refused,
            "\"10.1.9.0/24\"",
            "Where to.",
        ),
        key("next_hop_ip_address", ADDRESS, Refused, "\"10.1.0.1\"", "The router."),
    ],
};

static DEVICE: Keys = Keys {
    title: "[[device]]",
    about: "An interface through which packets of a virtual network come and go. One that is \
            missing or down does not stop adit; it is picked up later.",
    list: &[
        key(
            "name",
            (Text, Range::Said("an interface name, at most 15 bytes")),
            Refused,
            "\"veth-a\"",
            "The kernel's name for it.",
        ),
        key(
            "kind",
            words(&["af_packet", "af_xdp", "tap"]),
            Refused,
            "\"af_packet\"",
            "`af_packet` attaches to an interface that exists, usually one end of a veth pair; \
             `af_xdp` does so past the kernel's stack: faster for small packets, slower for bulk \
             TCP, and only for root; `tap` creates a TAP device, or joins it if it exists.",
        ),
        key(
            "virtual_network",
            reference_to("a virtual network of the file, or `group/name` of the API"),
            Refused,
            "\"consumer-a\"",
            "Whose packets they are.",
        ),
        key(
            "network_namespace",
            (Text, Range::Said("an absolute path")),
            Absent::Said("adit's own"),
            "\"/run/netns/consumer-a\"",
            "The network namespace that the interface lives in.",
        ),
    ],
};

static ENDPOINT: Keys = Keys {
    title: "[[private_endpoint]]",
    about: "A private endpoint: the address that clients of a virtual network dial.",
    list: &[
        key("name", NAME, Refused, "\"pe-a\"", "Its name."),
        key(
            "virtual_network",
            reference_to("a virtual network"),
            Refused,
            "\"consumer-a\"",
            "The consumer's virtual network.",
        ),
        key(
            "private_ip_address",
            (TextOrTexts, Range::Said("an address of the virtual network, or one of each family")),
            Refused,
            "\"10.0.0.5\"",
            "Its address there, used for nothing else. With one of each family, \
             `[\"10.0.0.5\", \"fd00::5\"]`, it is still one endpoint with one connection.",
        ),
        key(
            "private_link_service",
            reference_to("a private link service"),
            Refused,
            "\"web\"",
            "Where it leads.",
        ),
        key(
            "request_message",
            (Text, Range::Said("at most 140 characters, on one line")),
            Absent::Said("nothing"),
            "\"the billing team\"",
            "What the provider reads before deciding.",
        ),
        key(
            "connection_state",
            words(&["Approved", "Pending", "Rejected"]),
            Absent::Said("`Approved` if the service approves by itself, else `Pending`"),
            "\"Pending\"",
            "In which state the connection begins. What `adit approve` and `adit reject` decide \
             later holds across reloads, unless this line changes.",
        ),
        key(
            "icmp_echo",
            FLAG,
            Same("false"),
            "true",
            "Whether the endpoint answers ping while its connection is approved. Azure's never \
             does.",
        ),
        key(
            "flows_reserved",
            FLOWS,
            Absent::Said("as the service says"),
            "2000",
            "How many flows it shall get whatever the others have.",
        ),
        key(
            "flows_max",
            FLOWS_MAX,
            Absent::Said("as the service says"),
            "50000",
            "How many flows it may have.",
        ),
    ],
};

impl Keys {
    /// A key of the table.
    pub(super) fn find(&self, name: &str) -> Option<&'static Key>
    where
        Self: 'static,
    {
        self.list.iter().find(|key| key.name == name)
    }
}

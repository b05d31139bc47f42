//! Keys of load balancers.

use super::Absent::{self, Refused, Same};
use super::Form::{Number, Text, TextOrTexts, TextsOr};
use super::Range::{self, Numbers};
use super::{ADDRESS, FLAG, Form, Key, Keys, NAME, TIMEOUT, key, reference_to, tables, words};

const PORT: (Form, Range) = (Number, Numbers(1, u16::MAX as i64));
const RULE_PORT: (Form, Range) =
    (Number, Range::Said("1 to 65535; 0, for all ports, if the protocol is `All`"));

pub(super) static LOAD_BALANCER: Keys = Keys {
    title: "[[load_balancer]]",
    about: "A Standard load balancer in front of backends.",
    list: &[
        key("name", NAME, Refused, "\"lb\"", "Its name."),
        key(
            "virtual_network",
            reference_to("a virtual network"),
            Refused,
            "\"provider\"",
            "The provider's virtual network.",
        ),
        key("sku", words(&["Standard"]), Same("\"Standard\""), "\"Standard\"", "As in Azure."),
        key(
            "frontend_ip_address",
            (Text, Range::Said("an address of the virtual network that is used for nothing else")),
            Absent::Said("none"),
            "\"10.1.0.100\"",
            "The frontend's address, which rules with `enable_floating_ip` need: backends have it \
             on a loopback interface, and answer nobody's ARP for it.",
        ),
        key(
            "backend_address_pool",
            tables(&POOL),
            Absent::Said("none"),
            "[{ name = \"web-servers\", backend_addresses = [\"10.1.0.10\"] }]",
            "Its pools of backends.",
        ),
        key(
            "load_balancing_rule",
            tables(&RULE),
            Absent::Said("none"),
            "[{ name = \"http\", protocol = \"Tcp\", frontend_port = 80, backend_port = 8080, \
             backend_address_pool = \"web-servers\" }]",
            "What it spreads over pools.",
        ),
        key(
            "inbound_nat_rule",
            tables(&INBOUND_NAT_RULE),
            Absent::Said("none"),
            "[{ name = \"ssh\", protocol = \"Tcp\", frontend_port = 2201, backend_ip_address = \
             \"10.1.0.10\", backend_port = 22 }]",
            "Ports that lead to one backend.",
        ),
        key(
            "probe",
            tables(&PROBE),
            Absent::Said("none"),
            "[{ name = \"healthz\", protocol = \"Http\", port = 8080, \
             request_path = \"/healthz\" }]",
            "What asks backends how they are.",
        ),
        key(
            "probe_source_ip_address",
            (
                TextOrTexts,
                Range::Said("an address that is used for nothing else, or one of each family"),
            ),
            Absent::Said("the first NAT IP of the backend's family, of the first service"),
            "\"10.1.0.6\"",
            "Where probes come from, to backends of its family. They must have a way back to it.",
        ),
    ],
};

static POOL: Keys = Keys {
    title: "load_balancer.backend_address_pool",
    about: "A pool of backends.",
    list: &[
        key("name", NAME, Refused, "\"web-servers\"", "Its name."),
        key(
            "backend_addresses",
            (TextsOr(&BACKEND), Range::Said("addresses, or tables that say more")),
            Refused,
            "[\"10.1.0.10\", { ip_address = \"10.1.0.11\", weight = 2 }]",
            "Its backends.",
        ),
        key(
            "drain_period_in_seconds",
            (Number, Numbers(0, 86_400)),
            Absent::Said("until they end"),
            "60",
            "How long flows go on of a backend whose `admin_state` becomes `Down`; then they are \
             closed.",
        ),
    ],
};

static BACKEND: Keys = Keys {
    title: "load_balancer.backend_address_pool.backend_addresses",
    about: "A backend, where more is to be said of it than its address.",
    list: &[
        key("ip_address", ADDRESS, Refused, "\"10.1.0.10\"", "Its address."),
        key(
            "weight",
            (Number, Numbers(1, crate::config::balance::WEIGHT_MAX as i64)),
            Same("1"),
            "2",
            "Its share of new flows, compared with the others'.",
        ),
        key(
            "admin_state",
            words(&["None", "Up", "Down"]),
            Same("\"None\""),
            "\"Down\"",
            "What its administrator says. `Down`: no new flows; TCP flows that it has go on.",
        ),
    ],
};

const IDLE_TIMEOUT: Key = key(
    "idle_timeout_minutes",
    (Number, Numbers(4, 30)),
    Absent::Said("the service's `tcp_established_timeout`"),
    "5",
    "How long an established TCP flow may idle.",
);

const FLOATING_IP: Key = key(
    "enable_floating_ip",
    FLAG,
    Same("false"),
    "true",
    "Whether packets to backends are addressed to the frontend and the port that was dialled, as \
     with Azure's floating IP. `backend_port` is the `frontend_port` then, and no backend is \
     behind a router.",
);

const TCP_RESET: Key = key(
    "enable_tcp_reset",
    FLAG,
    Absent::Said("as the service's profile"),
    "true",
    "Whether adit resets both sides of an established flow that it ends: idle for too long, \
     rejected, its backend taken away.",
);

static RULE: Keys = Keys {
    title: "load_balancer.load_balancing_rule",
    about: "One rule for each protocol and port that consumers dial.",
    list: &[
        key("name", NAME, Refused, "\"http\"", "Its name."),
        key(
            "protocol",
            words(&["Tcp", "Udp", "All"]),
            Refused,
            "\"Tcp\"",
            "`All`, with both ports 0 (HA ports), takes every port that no other rule has.",
        ),
        key("frontend_port", RULE_PORT, Refused, "80", "The port that consumers dial."),
        key("backend_port", RULE_PORT, Refused, "8080", "The port that backends listen on."),
        key(
            "backend_address_pool",
            reference_to("a pool of the load balancer"),
            Refused,
            "\"web-servers\"",
            "Who serves.",
        ),
        key(
            "load_distribution",
            words(&["Default", "SourceIP", "SourceIPProtocol"]),
            Same("\"Default\""),
            "\"SourceIP\"",
            "What decides which backend serves a flow, beside the connection that it came by: each \
             flow by itself, the client's address, or that and the protocol.",
        ),
        key(
            "enable_connection_tracking",
            FLAG,
            Same("false"),
            "true",
            "Whether UDP flows stay with their backend when the pool changes, as TCP flows do.",
        ),
        key(
            "probe",
            reference_to("a probe of the load balancer"),
            Absent::Said("all backends take new flows"),
            "\"healthz\"",
            "Which probe decides which backends take its new flows.",
        ),
        FLOATING_IP,
        IDLE_TIMEOUT,
        TCP_RESET,
    ],
};

static INBOUND_NAT_RULE: Keys = Keys {
    title: "load_balancer.inbound_nat_rule",
    about: "A port that leads to one port of one backend, whatever the pools say.",
    list: &[
        key("name", NAME, Refused, "\"ssh\"", "Its name."),
        key("protocol", words(&["Tcp", "Udp"]), Refused, "\"Tcp\"", "Its protocol."),
        key("frontend_port", PORT, Refused, "2201", "The port that consumers dial."),
        key("backend_ip_address", ADDRESS, Refused, "\"10.1.0.10\"", "The backend."),
        key("backend_port", PORT, Refused, "22", "The port that it listens on."),
        FLOATING_IP,
        IDLE_TIMEOUT,
        TCP_RESET,
    ],
};

static PROBE: Keys = Keys {
    title: "load_balancer.probe",
    about: "What asks backends how they are; rules name it. A backend that does not answer gets no \
            new flows: its TCP connections stay, its UDP flows move to others.",
    list: &[
        key("name", NAME, Refused, "\"healthz\"", "Its name."),
        key(
            "protocol",
            words(&["Tcp", "Http", "Https"]),
            Refused,
            "\"Http\"",
            "`Tcp`: a connection opens; `Http`: the answer is 200; `Https`: the same, whatever the \
             certificate.",
        ),
        key("port", PORT, Refused, "8080", "The port that is asked."),
        key(
            "request_path",
            (Text, Range::Said("a path, as in a URL")),
            Absent::Said("refused, but for `Tcp`, which has none"),
            "\"/healthz\"",
            "What HTTP asks for.",
        ),
        key(
            "interval_in_seconds",
            (Number, Numbers(5, 86_400)),
            Same("15"),
            "5",
            "Time between two attempts at a backend. An attempt may take as long, but at most \
             30 s.",
        ),
        key(
            "interval",
            TIMEOUT,
            Absent::Said("`interval_in_seconds`"),
            "\"500ms\"",
            "The same; adit alone takes a shorter one.",
        ),
        key(
            "number_of_probes",
            (Number, Range::Said("any")),
            Absent::Said("nothing"),
            "2",
            "Has no effect, as in Azure.",
        ),
        key(
            "probe_threshold",
            (Number, Numbers(1, 100)),
            Same("1"),
            "2",
            "So many attempts in a row take a backend out, and bring it back.",
        ),
        key(
            "no_healthy_backends_behavior",
            words(&["AllProbedDown", "AllProbedUp"]),
            Same("\"AllProbedDown\""),
            "\"AllProbedUp\"",
            "What becomes of new flows when no backend is healthy: refused, or spread over all.",
        ),
        key(
            "send_proxy_protocol",
            FLAG,
            Absent::Said("if a service of the load balancer sends them"),
            "true",
            "Whether attempts begin with a PROXY header (LOCAL).",
        ),
    ],
};

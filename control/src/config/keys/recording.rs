//! The keys of what is written down.

use super::Absent::{self, Refused, Same};
use super::Form::{Number, Text};
use super::Range::{self, Durations, Numbers};
use super::{Form, Key, Keys, key};

const FILE: (Form, Range) = (Text, Range::Said("an absolute path"));

pub(super) static WHOIS: Keys = Keys {
    title: "[whois]",
    about: "Flows that are remembered after their end, for `adit whois`. Fixed until adit is \
            restarted.",
    list: &[
        key(
            "flows_max",
            (Number, Numbers(0, 10_000_000)),
            Same("65536"),
            "1000000",
            "How many are remembered at most, about 300 bytes each; 0: none.",
        ),
        key(
            "age",
            (Text, Durations("100ms", "24h")),
            Same("\"10m\""),
            "\"1h\"",
            "For how long each is.",
        ),
    ],
};

pub(super) static FLOW_LOG: Keys = Keys {
    title: "[flow_log]",
    about: "Where flows are written down as they begin and end, see [recording.md](recording.md). \
            `file`, `ipfix` or both. Fixed until adit is restarted.",
    list: &FLOW_LOG_KEYS,
};

const FLOW_LOG_KEYS: [Key; 5] = [
    key("file", FILE, Absent::Said("none"), "\"/var/log/adit/flows.jsonl\"", "Lines of JSON."),
    key(
        "file_bytes_max",
        (Number, Numbers(65_536, 1 << 40)),
        Same("104857600"),
        "1048576",
        "Bytes from which on a file is put aside, as `.1`, and another one is begun.",
    ),
    key(
        "files_max",
        (Number, Numbers(0, 100)),
        Same("5"),
        "10",
        "How many files that were put aside are kept.",
    ),
    key(
        "ipfix",
        (Text, Range::Said("`udp://ADDRESS:PORT`, `tcp://ADDRESS:PORT` or an absolute path")),
        Absent::Said("none"),
        "\"udp://192.0.2.7:4739\"",
        "IPFIX messages with the NAT events of RFC 8158, to a collector or into a file.",
    ),
    key(
        "ipfix_domain",
        (Number, Numbers(1, u32::MAX as i64)),
        Same("1"),
        "7",
        "The observation domain that they name.",
    ),
];

pub(super) static OPEN_TELEMETRY: Keys = Keys {
    title: "[open_telemetry]",
    about: "Sends the metrics of `/metrics` to an OpenTelemetry receiver, by OTLP over HTTP in \
            JSON, see [recording.md](recording.md). Fixed until adit is restarted.",
    list: &[
        key(
            "url",
            (Text, Range::Said("`http://HOST:PORT` or `http://HOST:PORT/PATH`")),
            Refused,
            "\"http://127.0.0.1:4318\"",
            "The receiver. Without a path it is `/v1/metrics`. No TLS: name a collector of this \
             machine or of a network that you trust.",
        ),
        key(
            "interval",
            (Text, Durations("100ms", "24h")),
            Same("\"30s\""),
            "\"10s\"",
            "Time from one sending to the next.",
        ),
    ],
};

pub(super) static AUDIT_LOG: Keys = Keys {
    title: "[audit_log]",
    about: "Where it is written down who approved, rejected, reloaded, killed or changed what, \
            before the answer is given. Without this table it stands in the daemon's log. Fixed \
            until adit is restarted.",
    list: &[key("file", FILE, Refused, "\"/var/log/adit/audit.jsonl\"", "Lines of JSON.")],
};

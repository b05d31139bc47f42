//! What is written down, where, and for how long.

use super::*;

fn with(sections: &str) -> String {
    format!("{GOOD}\n{sections}")
}

fn settings(sections: &str) -> Settings {
    let checked = check(&with(sections)).unwrap_or_else(|errors| panic!("{errors}"));
    checked.config.settings().clone()
}

#[test]
fn ended_flows_are_remembered_unless_the_file_says_no_and_nothing_is_written() {
    let default = settings("");
    assert_eq!(default.whois.value, Memory::default());
    assert!(!default.flow_log.value.is_on() && default.audit_log.value.is_none());
    let memory = settings("[whois]\nflows_max = 0\nage = \"90s\"").whois.value;
    assert_eq!((memory.flows_max, memory.age_max), (0, Duration::from_secs(90)));
    assert_eq!(settings("[whois]\nage = \"1h\"").whois.value.flows_max, 65_536);
}

#[test]
fn flows_are_written_to_a_file_and_to_a_collector() {
    let log = settings("[flow_log]\nfile = \"/var/log/f\"").flow_log.value;
    let file = LogFile { path: "/var/log/f".into(), bytes_max: 100 << 20, files_max: 5 };
    assert_eq!((log.file, log.ipfix), (Some(file.clone()), None));
    let keys = "file_bytes_max = 65536\nfiles_max = 0\nipfix = \"/var/log/i\"\nipfix_domain = 9";
    let log = settings(&format!("[flow_log]\n{keys}")).flow_log.value;
    let file = LogFile { path: "/var/log/i".into(), bytes_max: 65_536, files_max: 0 };
    assert_eq!((log.file, log.ipfix), (None, Some((Collector::File(file), 9))));
    for (text, shown) in [("udp://10.0.0.1:4739", true), ("tcp://[::1]:4739", true)] {
        let log = settings(&format!("[flow_log]\nipfix = \"{text}\"")).flow_log.value;
        assert_eq!(log.ipfix.map(|(to, _)| to.to_string() == text), Some(shown));
    }
    let audit = settings("[audit_log]\nfile = \"/var/log/a\"").audit_log.value;
    assert_eq!(audit, Some("/var/log/a".into()));
}

#[test]
fn metrics_go_to_a_receiver_by_name_or_address() {
    assert_eq!(settings("").metrics_push.value, None);
    let push =
        |keys: &str| settings(&format!("[open_telemetry]\n{keys}")).metrics_push.value.unwrap();
    let seconds = Duration::from_secs;
    for (url, host, port, path, shown) in [
        (
            "http://127.0.0.1:4318",
            "127.0.0.1",
            4318,
            "/v1/metrics",
            "http://127.0.0.1:4318/v1/metrics",
        ),
        (
            "http://otel-collector.local:80/",
            "otel-collector.local",
            80,
            "/v1/metrics",
            "http://otel-collector.local:80/v1/metrics",
        ),
        (
            "http://[fd00::1]:9/otlp/%20x",
            "fd00::1",
            9,
            "/otlp/%20x",
            "http://[fd00::1]:9/otlp/%20x",
        ),
    ] {
        let push = push(&format!("url = \"{url}\""));
        let Receiver { host: own, port: own_port, path: own_path } = &push.to;
        assert_eq!((own.as_str(), *own_port, own_path.as_str()), (host, port, path));
        assert_eq!((push.to.to_string().as_str(), push.interval), (shown, seconds(30)));
    }
    assert_eq!(push("url = \"http://a:1\"\ninterval = \"5s\"").interval, seconds(5));
}

#[test]
fn every_rule_of_where_metrics_go() {
    let faults: [(&str, &str, usize, &[&str]); 9] = [
        ("", "open_telemetry.url", 1, &["missing"]),
        ("url = \"https://a:4318\"", "open_telemetry.url", 2, &["TLS", "collector"]),
        ("url = \"127.0.0.1:4318\"", "open_telemetry.url", 2, &["no address of HTTP", "4318"]),
        ("url = \"http://collector\"", "open_telemetry.url", 2, &["no port"]),
        ("url = \"http://collector:0\"", "open_telemetry.url", 2, &["no port"]),
        ("url = \"http://fd00::1:1\"", "open_telemetry.url", 2, &["names no host"]),
        ("url = \"http://u:p@a:1\"", "open_telemetry.url", 2, &["names no host"]),
        ("url = \"http://a:1/x y?z\"", "open_telemetry.url", 2, &["no plain path"]),
        ("url = \"http://a:1\"\ninterval = \"1ms\"", "open_telemetry.interval", 3, &["100ms"]),
    ];
    let before = GOOD.lines().count() + 1;
    for (keys, path, line, words) in faults {
        assert_fault(&with(&format!("[open_telemetry]\n{keys}")), path, before + line, words);
    }
}

#[test]
fn every_rule_of_what_is_written_down() {
    let faults: [(&str, &str, usize, &[&str]); 11] = [
        ("[whois]\nflows_max = -1", "whois.flows_max", 2, &["from 0 to"]),
        ("[whois]\nage = \"25h\"", "whois.age", 2, &["24h"]),
        ("[whois]\nages = \"1h\"", "whois.ages", 2, &["did you mean \"age\"?"]),
        ("[flow_log]", "flow_log", 1, &["goes nowhere", "flows.jsonl"]),
        ("[flow_log]\nfile = \"flows\"", "flow_log.file", 2, &["absolute path"]),
        ("[flow_log]\nfile = \"/f\"\nipfix = \"/f\"", "flow_log.ipfix", 3, &["of its own"]),
        ("[flow_log]\nipfix = \"udp://collector:4739\"", "flow_log.ipfix", 2, &["in numbers"]),
        ("[flow_log]\nipfix = \"udp://10.0.0.1\"", "flow_log.ipfix", 2, &["address and port"]),
        ("[flow_log]\nipfix = \"sctp://10.0.0.1:1\"", "flow_log.ipfix", 2, &["udp://"]),
        ("[flow_log]\nfile = \"/f\"\nfile_bytes_max = 1", "flow_log.file_bytes_max", 3, &["65536"]),
        ("[audit_log]", "audit_log.file", 1, &["missing"]),
    ];
    let before = GOOD.lines().count() + 1;
    for (sections, path, line, words) in faults {
        assert_fault(&with(sections), path, before + line, words);
    }
}

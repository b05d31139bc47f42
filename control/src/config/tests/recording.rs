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

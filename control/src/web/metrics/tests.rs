//! The text as a scraper reads it, and that what is made for its readers names nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;

/// What a small daemon says, as its clients would read it.
pub(super) struct Said {
    status: Status,
    pub(super) endpoints: Vec<Endpoint>,
    services: Vec<Service>,
    drops: Vec<Drop>,
}

impl Said {
    pub(super) fn facts(&self) -> Facts<'_> {
        let Said { status, endpoints, services, drops } = self;
        Facts { status, endpoints, services, drops }
    }
}

pub(super) fn said() -> Said {
    let read = |value| serde_json::from_value(value);
    let status = json!({
        "adit": "0.1.0", "uptime_seconds": 60, "configuration": "/etc/adit.toml", "generation": 3,
        "workers": [{ "worker": 0, "generation": 3, "flows": 5, "flows_max": 100, "forwarded": 40,
            "dropped": 2 }],
        "devices": [{ "name": "veth-a", "kind": "af_packet", "network_namespace": null,
            "virtual_network": "a", "state": "up", "detail": null, "received": 50, "sent": 40,
            "missed": 1 }],
        "next_hops": [], "flows": 5, "flows_unanswered": 1, "flows_opened": 9,
        "flows_displaced": 0, "flows_revoked": 0, "flows_moved": 0,
        "fast_path": { "state": "off", "detail": null }, "shortcut": 0,
        "privileges": { "user": 0, "capabilities": [], "can_gain": false },
        "flows_reset": 2, "ports_resting": 0,
        "metrics_push": { "to": "http://127.0.0.1:4318/v1/metrics", "sent": 3, "lost": 1,
            "rejected_samples": 0, "trouble": null },
        "proxy_headers_sent": 0, "proxy_headers_repeated": 0, "proxy_headers_waiting": 0,
        "backends_probed": 1, "backends_healthy": 0,
        "nat_ports_leased": 5, "received": 50, "received_bytes": 5000, "forwarded": 40,
        "forwarded_bytes": 4000, "consumed": 8, "held": 0, "dropped": 2,
    });
    let endpoint = json!({
        "name": "pe-\"a\"", "virtual_network": "a", "private_ip_addresses": ["10.0.0.5"],
        "private_link_service": "web", "connection_state": "Approved", "description": "",
        "request_message": null, "link_id": 7,
        "flows": 5, "flows_reserved": 0, "flows_max": null,
        "refused": { "endpoint_flows_max": 4, "nat_ports_exhausted": 0, "flow_table_full": 0,
            "room_reserved": 0 },
        "traffic": { "packets_in": 7, "bytes_in": 700, "packets_out": 9, "bytes_out": 9000 },
        "accounts": [{ "backend": "10.1.0.10", "protocol": "udp", "packets_in": 5,
            "bytes_in": 500, "packets_out": 8, "bytes_out": 8000 },
            { "backend": null, "protocol": null, "packets_in": 2, "bytes_in": 200,
            "packets_out": 1, "bytes_out": 1000 }],
    });
    let pool = |nat_ip: &str, leased: u32| {
        json!({ "nat_ip": nat_ip, "backend": "10.1.0.10", "protocol": "tcp", "leased": leased,
            "ports": 64512, "refused": 0 })
    };
    let service = json!({
        "name": "web", "load_balancer": "lb", "virtual_network": "p",
        "nat_ips": ["10.1.0.4", "10.1.0.6"], "leaving_nat_ips": [], "private_endpoints": ["pe-a"],
        "mss_clamp": "auto", "icmp_answers": [], "icmp_errors": "drop", "fragments": "drop",
        "proxy_protocol": "none",
        "rules": [{ "name": "http", "kind": "load_balancing", "load_distribution": "Default",
            "enable_connection_tracking": false, "protocol": "tcp",
            "frontend_port": 80, "backend_port": 8080,
            "backends": [{ "address": "10.1.0.10", "resolved": true, "weight": 1,
                "admin_state": "none", "takes_flows": false,
                "probe": { "state": "down", "seconds": 3.5, "missing": 2, "successes": 7,
                    "failures": 4, "changes": 1, "last_error": "status 500, not 200",
                    "last_error_seconds_ago": 0.5 } }],
            "probe": { "name": "health", "protocol": "Http", "port": 8080, "request_path": "/",
                "interval_seconds": 5.0, "probe_threshold": 2,
                "no_healthy_backends_behavior": "AllProbedDown" },
            "idle_timeout_seconds": 240.0 }],
        "nat_ports": [pool("10.1.0.4", 32256), pool("10.1.0.6", 0)],
        "traffic": { "packets_in": 7, "bytes_in": 700, "packets_out": 9, "bytes_out": 9001 },
    });
    let drop = json!({ "metric": "no_rule", "count": 2, "sentence": "", "cure": "", "source": "" });
    Said {
        status: read(status).unwrap(),
        endpoints: vec![serde_json::from_value(endpoint).unwrap()],
        services: vec![serde_json::from_value(service).unwrap()],
        drops: vec![serde_json::from_value(drop).unwrap()],
    }
}

fn text() -> String {
    prometheus::render(&said().facts())
}

#[test]
fn every_sample_belongs_to_the_family_above_it() {
    let text = text();
    let (mut family, mut seen) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(seen.insert(family.clone()), "{family} comes twice");
            assert!(help.ends_with(['.', ')']) && help.len() > family.len() + 5, "{help}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let is_total = family.ends_with("_total");
            assert_eq!(kind, format!("{family} {}", if is_total { "counter" } else { "gauge" }));
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next(), Some(family.as_str()));
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn ports_are_there_by_backend_and_protocol_too() {
    let text = text();
    for line in [
        r#"adit_pls_nat_ports_usage_percent{service="web",nat_ip="10.1.0.4"} 50"#,
        r#"adit_pls_nat_ports_usage_percent{service="web",nat_ip="10.1.0.6"} 0"#,
        r#"adit_pe_approved{endpoint="pe-\"a\"",virtual_network="a",service="web",link_id="7"} 1"#,
        concat!(
            r#"adit_pe_refused_total{endpoint="pe-\"a\"",virtual_network="a",service="web","#,
            r#"reason="endpoint_flows_max"} 4"#
        ),
        r#"adit_drops_total{reason="no_rule"} 2"#,
        r#"adit_backend_probe_up{service="web",probe="health",backend="10.1.0.10"} 0"#,
        r#"adit_backend_probe_failures_total{service="web",probe="health",backend="10.1.0.10"} 4"#,
        "adit_backends_healthy 0",
        "adit_flows 5",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is missing from:\n{text}");
    }
    assert!(text.contains("(PLSNatPortsUsage)"));
}

#[test]
fn traffic_has_azures_names_and_the_dimensions_that_azure_lacks() {
    let text = text();
    let endpoint = r#"{endpoint="pe-\"a\"",virtual_network="a",service="web",link_id="7"}"#;
    let account = |backend, protocol| {
        let of = r#"endpoint="pe-\"a\"",service="web""#;
        format!(r#"{{{of},backend="{backend}",protocol="{protocol}"}}"#)
    };
    for line in [
        format!("adit_pe_bytes_in_total{endpoint} 700"),
        format!("adit_pe_bytes_out_total{endpoint} 9000"),
        r#"adit_pls_bytes_in_total{service="web"} 700"#.to_owned(),
        r#"adit_pls_bytes_out_total{service="web"} 9001"#.to_owned(),
        format!("adit_packets_in_total{} 5", account("10.1.0.10", "udp")),
        format!("adit_bytes_out_total{} 8000", account("10.1.0.10", "udp")),
        format!("adit_packets_out_total{} 1", account("", "")),
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is missing from:\n{text}");
    }
    for name in ["PEBytesIn", "PEBytesOut", "PLSBytesIn", "PLSBytesOut"] {
        assert!(text.contains(&format!("({name}).")), "{name}");
    }
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("adit_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist() {
    let dashboard = include_str!("../../../../docs/observability/grafana.json");
    let alerts = include_str!("../../../../docs/observability/alerts.yml");
    let there = text();
    let there: BTreeMap<&str, ()> = there
        .lines()
        .filter_map(|line| Some((line.strip_prefix("# TYPE ")?.split(' ').next()?, ())))
        .collect();
    for (file, text) in [("grafana.json", dashboard), ("alerts.yml", alerts)] {
        let used = names(text);
        assert!(used.len() >= 5, "{file} uses metrics: {used:?}");
        let unknown: Vec<_> =
            used.iter().filter(|name| !there.contains_key(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}");
    }
    let board: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
    }
    for alert in alerts.split("- alert:").skip(1) {
        for key in ["expr:", "for:", "severity:", "summary:", "description:"] {
            assert!(alert.contains(key), "{key} is missing from {alert}");
        }
    }
}

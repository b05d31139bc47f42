//! The outcome for people and for programs: a table, a line of JSON for each contender, plots.

use std::fmt::Write;

use control::plot::{Curve, Plot, Scale};
use serde_json::{Map, Value, json};

use super::{Effort, Kind, Outcome, PERCENTILES, Score, median};

/// A line of JSON with the contender's median figures, and with the least and the greatest of each.
/// What a contender cannot do is null.
#[must_use]
pub fn line(outcome: &Outcome, effort: &Effort) -> Value {
    let (kind, result) = outcome;
    let mut object = Map::new();
    object.insert("contender".into(), json!(kind.name()));
    object.insert("available".into(), json!(result.is_ok()));
    let score = match result {
        Ok(score) => score,
        Err(reason) => {
            object.insert("reason".into(), json!(reason));
            return Value::Object(object);
        }
    };
    object.insert("rounds".into(), json!(effort.rounds));
    object.insert("seconds".into(), json!(effort.duration.as_secs_f64()));
    for (name, figures) in figures(score, effort) {
        object.insert(name.into(), figures);
    }
    Value::Object(object)
}

/// Median, least and greatest of one figure, in this unit.
fn figure(values: &[f64], unit: f64) -> Value {
    let Some(middle) = median(values) else { return Value::Null };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let rounded = |value: f64| (value / unit * 1000.0).round() / 1000.0;
    json!({ "median": rounded(middle), "min": rounded(least), "max": rounded(most) })
}

fn figures(score: &Score, effort: &Effort) -> [(&'static str, Value); 5] {
    let by_flows = |lists: &[Vec<f64>], unit| {
        let entries = effort.flows.iter().zip(lists);
        entries.map(|(flows, list)| (flows.to_string(), figure(list, unit))).collect::<Value>()
    };
    let names = PERCENTILES.iter().map(|(name, _)| (*name).to_owned());
    let latencies = names.zip(&score.latencies).map(|(name, list)| (name, figure(list, 1e-6)));
    [
        ("tcp_gbps", figure(&score.tcp_bits, 1e9)),
        ("mpps", by_flows(&score.packets, 1e6)),
        ("cpu_seconds_per_mpackets", by_flows(&score.costs, 1.0)),
        ("connections_per_second", figure(&score.connections, 1.0)),
        ("latency_us", latencies.collect()),
    ]
}

/// Medians, with the least and the greatest in parentheses.
#[must_use]
pub fn table(outcomes: &[Outcome], effort: &Effort) -> String {
    let mut text = format!("{:<15} {:>20}", "", "TCP Gb/s");
    for flows in &effort.flows {
        let _ = write!(text, " {:>20}", format!("Mpps, {flows} flows"));
    }
    let _ = writeln!(text, " {:>24} {:>20} {:>20}", "connections/s", "ping p50 us", "ping p99 us");
    for (kind, result) in outcomes {
        let _ = write!(text, "{:<15}", kind.name());
        let score = match result {
            Ok(score) => score,
            Err(reason) => {
                let _ = writeln!(text, " NOT RUN: {reason}");
                continue;
            }
        };
        let _ = write!(text, " {:>20}", spread(&score.tcp_bits, 1e9, 2));
        for packets in &score.packets {
            let _ = write!(text, " {:>20}", spread(packets, 1e6, 3));
        }
        let _ = write!(text, " {:>24}", spread(&score.connections, 1.0, 0));
        for latencies in [&score.latencies[1], &score.latencies[3]] {
            let _ = write!(text, " {:>20}", spread(latencies, 1e-6, 1));
        }
        text.push('\n');
    }
    text
}

fn spread(values: &[f64], unit: f64, digits: usize) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min) / unit;
    let most = values.iter().copied().fold(0.0, f64::max) / unit;
    format!("{:.digits$} ({least:.digits$}-{most:.digits$})", middle / unit)
}

/// The files of a results folder: name and content.
#[must_use]
pub fn files(outcomes: &[Outcome], effort: &Effort) -> Vec<(&'static str, String)> {
    let lines = outcomes.iter().map(|outcome| format!("{}\n", line(outcome, effort)));
    let scores =
        || outcomes.iter().filter_map(|(kind, result)| Some((*kind, result.as_ref().ok()?)));
    let by_flows = |lists: fn(&Score) -> &Vec<Vec<f64>>, unit: f64| {
        let curve = |(kind, score): (Kind, &Score)| {
            let points = effort.flows.iter().zip(lists(score));
            let points =
                points.filter_map(|(&flows, list)| Some((f64::from(flows), median(list)? / unit)));
            Curve { name: kind.name().to_owned(), points: points.collect() }
        };
        scores().map(curve).collect::<Vec<_>>()
    };
    let latencies = scores().map(|(kind, score)| {
        let points = PERCENTILES.iter().enumerate().zip(&score.latencies);
        // Evenly spaced: each percentile has its own place.
        let points = points.filter_map(|((at, _), list)| Some((at as f64, median(list)? * 1e6)));
        Curve { name: kind.name().to_owned(), points: points.collect() }
    });
    let flows = effort.flows.iter().map(|&flows| (f64::from(flows), flows.to_string()));
    let flows: Vec<(f64, String)> = flows.collect();
    let percentiles = PERCENTILES.iter().enumerate();
    let percentiles = percentiles.map(|(at, (name, _))| (at as f64, (*name).to_owned())).collect();
    let by_flows_scale = || Scale::new("flows", true).marked(flows.clone());
    let packets = Plot {
        title: "Small packets (64 bytes on the wire), median".to_owned(),
        x: by_flows_scale(),
        y: Scale::new("million packets a second", false),
        curves: by_flows(|score| &score.packets, 1e6),
    };
    let costs = Plot {
        title: "Processor time, generator included, median".to_owned(),
        x: by_flows_scale(),
        y: Scale::new("seconds for a million packets", false),
        curves: by_flows(|score| &score.costs, 1.0),
    };
    let latency = Plot {
        title: "Ping-pong of 64 bytes over TCP, median of rounds".to_owned(),
        x: Scale::new("percentile", false).marked(percentiles),
        y: Scale::new("microseconds", true),
        curves: latencies.collect(),
    };
    vec![
        ("compare.txt", table(outcomes, effort)),
        ("compare.json", lines.collect()),
        ("packets.svg", packets.draw()),
        ("costs.svg", costs.draw()),
        ("latency.svg", latency.draw()),
    ]
}

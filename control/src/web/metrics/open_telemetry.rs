//! Metrics as OpenTelemetry has them: requests of OTLP 1 (`ExportMetricsServiceRequest`) in the
//! JSON encoding, and what a receiver says to them.
//!
//! Names are those of Prometheus, labels are attributes. There are no units, because a receiver
//! that offers metrics to Prometheus would put them into the names. Counters are cumulative, from
//! the start of the process on. Bounds: a request has [`BODY_BYTES_MAX`] bytes, those between its
//! samples and one sample at most, for receivers take only so much at once.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::json;

use super::{Facts, Family, Kind, Labels, Page, Value};

/// Bytes from which on another request is begun. OpenTelemetry's own collector takes 20 MiB.
const BODY_BYTES_MAX: usize = 4 << 20;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`; enumerations are numbers in this encoding.
const CUMULATIVE: u8 = 2;

/// Who sends, and when.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The machine's name.
    pub(crate) host: String,
    /// What tells it from another adit, also on the same machine.
    pub(crate) instance: String,
    /// When it was started, in nanoseconds since 1970.
    pub(crate) started_ns: u64,
    /// What time it is.
    pub(crate) now_ns: u64,
}

/// All metrics, as the bodies of as many requests as it takes.
pub(crate) fn render(facts: &Facts<'_>, sender: &Sender) -> Vec<String> {
    let mut bodies = Bodies { sender, families: BTreeMap::new(), bytes: 0, done: Vec::new() };
    super::write(facts, &mut bodies);
    bodies.close();
    bodies.done
}

struct Bodies<'s> {
    sender: &'s Sender,
    /// What is open of each metric, up to its last sample.
    families: BTreeMap<&'static str, Points>,
    bytes: usize,
    done: Vec<String>,
}

struct Points {
    kind: Kind,
    text: String,
}

impl Page for Bodies<'_> {
    fn sample(&mut self, family: Family<'_>, labels: Labels<'_>, value: Value) {
        let point = self.point(family.kind, labels, value);
        let points = self
            .families
            .entry(family.name)
            .or_insert_with(|| Points { kind: family.kind, text: begun(family) });
        if !points.text.ends_with('[') {
            points.text.push(',');
        }
        points.text.push_str(&point);
        self.bytes += point.len();
        if self.bytes >= BODY_BYTES_MAX {
            self.close();
        }
    }
}

/// A metric up to its first sample.
fn begun(Family { name, kind, help }: Family<'_>) -> String {
    let kind = match kind {
        Kind::Counter => "sum",
        Kind::Gauge => "gauge",
    };
    let (name, help) = (json!(name), json!(help));
    format!("{{\"name\":{name},\"description\":{help},\"{kind}\":{{\"dataPoints\":[")
}

impl Bodies<'_> {
    /// A sample. Numbers of 64 bits are text in this encoding.
    fn point(&self, kind: Kind, labels: Labels<'_>, value: Value) -> String {
        let Sender { started_ns, now_ns, .. } = self.sender;
        let mut text = format!("{{\"timeUnixNano\":\"{now_ns}\"");
        // Writing to a string cannot fail.
        let _ = match value {
            Value::Whole(value) => {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                write!(text, ",\"asInt\":\"{value}\"")
            }
            Value::Real(value) => write!(text, ",\"asDouble\":{}", json!(value)),
        };
        if kind == Kind::Counter {
            let _ = write!(text, ",\"startTimeUnixNano\":\"{started_ns}\"");
        }
        if !labels.is_empty() {
            let _ = write!(text, ",\"attributes\":{}", attributes(labels));
        }
        text.push('}');
        text
    }

    /// Ends the request that is open.
    fn close(&mut self) {
        let metrics: Vec<String> = std::mem::take(&mut self.families)
            .into_values()
            .map(|Points { kind, text }| match kind {
                Kind::Counter => format!(
                    "{text}],\"aggregationTemporality\":{CUMULATIVE},\"isMonotonic\":true}}}}"
                ),
                Kind::Gauge => format!("{text}]}}}}"),
            })
            .collect();
        self.bytes = 0;
        if metrics.is_empty() {
            return;
        }
        let version = env!("CARGO_PKG_VERSION");
        let Sender { host, instance, .. } = self.sender;
        let resource = attributes(&[
            ("service.name", "adit"),
            ("service.version", version),
            ("service.instance.id", instance),
            ("host.name", host),
        ]);
        let scope = json!({ "name": "adit", "version": version });
        self.done.push(format!(
            "{{\"resourceMetrics\":[{{\"resource\":{{\"attributes\":{resource}}},\
             \"scopeMetrics\":[{{\"scope\":{scope},\"metrics\":[{}]}}]}}]}}",
            metrics.join(",")
        ));
    }
}

fn attributes(labels: Labels<'_>) -> String {
    let all = labels
        .iter()
        .map(|(key, text)| json!({ "key": key, "value": { "stringValue": text } }).to_string());
    format!("[{}]", all.collect::<Vec<_>>().join(","))
}

/// What a receiver says to a request that it has taken, `{}` as a rule: how many samples it has
/// left out nevertheless, and why.
pub(crate) fn rejected(body: &[u8]) -> Option<(u64, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        partial_success: Option<Partial>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Partial {
        /// A number, or text: receivers differ.
        rejected_data_points: serde_json::Value,
        error_message: String,
    }
    let Partial { rejected_data_points: count, error_message } =
        serde_json::from_slice::<Answer>(body).ok()?.partial_success?;
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0);
    (count > 0).then_some((count, error_message))
}

#[cfg(test)]
mod tests;

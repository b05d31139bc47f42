//! Metrics in the text format of Prometheus (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Facts, Family, Kind, Labels, Page, Value};

/// The content type of the text.
pub(crate) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub(crate) fn render(facts: &Facts<'_>) -> String {
    let mut text = Text::default();
    super::write(facts, &mut text);
    let Text { order, families } = &text;
    order.iter().filter_map(|name| families.get(name).map(String::as_str)).collect()
}

/// Families in the order of their first sample, each with its samples together.
#[derive(Default)]
struct Text {
    order: Vec<&'static str>,
    families: BTreeMap<&'static str, String>,
}

impl Page for Text {
    fn sample(&mut self, family: Family<'_>, labels: Labels<'_>, value: Value) {
        let Family { name, kind, help } = family;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let text = self.families.entry(name).or_insert_with(|| {
            self.order.push(name);
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
        });
        let labels: Vec<String> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = labels.join(",");
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        // Writing to a string cannot fail.
        let _ = match value {
            Value::Whole(value) => writeln!(text, "{name}{open}{labels}{close} {value}"),
            Value::Real(value) => writeln!(text, "{name}{open}{labels}{close} {value}"),
        };
    }
}

/// As the format wants label values.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

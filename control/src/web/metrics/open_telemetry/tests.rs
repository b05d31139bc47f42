//! Requests read as JSON, and compared with what Prometheus is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::super::prometheus;
use super::super::tests::said;
use super::*;

fn sender() -> Sender {
    let (host, instance) = ("host-1".to_owned(), "host-1:/run/adit/\"adit\".sock".to_owned());
    Sender { host, instance, started_ns: 1_000, now_ns: u64::MAX }
}

fn requests() -> Vec<Json> {
    let said = said();
    let bodies = render(&said.facts(), &sender());
    bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

fn metrics(request: &Json) -> &Vec<Json> {
    let [resource] = request["resourceMetrics"].as_array().unwrap().as_slice() else { panic!() };
    let [scope] = resource["scopeMetrics"].as_array().unwrap().as_slice() else { panic!() };
    scope["metrics"].as_array().unwrap()
}

fn attributes_of(value: &Json) -> BTreeMap<String, String> {
    let all = value.as_array().into_iter().flatten();
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    all.map(|one| (text(&one["key"]), text(&one["value"]["stringValue"]))).collect()
}

/// Each sample as a line of Prometheus, with its labels in order.
fn lines(request: &Json) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for metric in metrics(request) {
        let name = metric["name"].as_str().unwrap();
        let points = metric["sum"].as_object().or(metric["gauge"].as_object()).unwrap();
        for point in points["dataPoints"].as_array().unwrap() {
            let labels: Vec<String> = attributes_of(&point["attributes"])
                .iter()
                .map(|(key, text)| format!("{key}={text:?}"))
                .collect();
            let value = match (&point["asInt"], &point["asDouble"]) {
                (Json::String(whole), Json::Null) => whole.parse::<i64>().unwrap() as f64,
                (Json::Null, Json::Number(real)) => real.as_f64().unwrap(),
                other => panic!("{other:?}"),
            };
            lines.insert(format!("{name} {} {value}", labels.join(",")));
        }
    }
    lines
}

#[test]
fn every_sample_of_prometheus_is_sent_once_and_no_other() {
    let [request] = requests().try_into().unwrap();
    let said = said();
    let text = prometheus::render(&said.facts());
    let expected = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.strip_suffix("\"}").map(|labels| labels.split("\","));
        let mut labels: Vec<String> =
            labels.into_iter().flatten().map(|label| format!("{label}\"")).collect();
        labels.sort_unstable();
        format!("{name} {} {}", labels.join(","), value.parse::<f64>().unwrap())
    });
    let expected: BTreeSet<String> = expected.collect();
    assert!(expected.len() > 50, "{expected:?}");
    assert_eq!(lines(&request), expected);
}

#[test]
fn counters_are_cumulative_from_the_start_and_gauges_have_none() {
    let [request] = requests().try_into().unwrap();
    for metric in metrics(&request) {
        let name = metric["name"].as_str().unwrap();
        assert!(metric["description"].as_str().is_some_and(|help| help.ends_with(['.', ')'])));
        let is_counter = name.ends_with("_total");
        assert_eq!(metric["sum"].is_object(), is_counter, "{name}");
        let points = if is_counter { &metric["sum"] } else { &metric["gauge"] };
        if is_counter {
            assert_eq!(
                (&points["aggregationTemporality"], &points["isMonotonic"]),
                (&Json::from(2), &Json::from(true)),
                "{name}"
            );
        }
        for point in points["dataPoints"].as_array().unwrap() {
            assert_eq!(point["timeUnixNano"], u64::MAX.to_string());
            let start = point.get("startTimeUnixNano").and_then(Json::as_str);
            assert_eq!(start, is_counter.then_some("1000"), "{name}");
        }
    }
    let resource = attributes_of(&request["resourceMetrics"][0]["resource"]["attributes"]);
    assert_eq!(resource["service.name"], "adit");
    assert_eq!(resource["service.instance.id"], sender().instance);
    assert_eq!(resource["host.name"], "host-1");
}

#[test]
fn what_is_too_much_for_a_request_is_sent_in_several() {
    let mut said = said();
    let one = said.endpoints.remove(0);
    for number in 0..10_000 {
        let mut endpoint = one.clone();
        endpoint.name = format!("pe-{number}");
        said.endpoints.push(endpoint);
    }
    let bodies = render(&said.facts(), &sender());
    assert!(bodies.len() > 2, "{} requests", bodies.len());
    let longest = bodies.iter().map(String::len).max().unwrap();
    assert!(longest < BODY_BYTES_MAX + (64 << 10), "{longest} bytes");
    let mut all = BTreeSet::new();
    for body in &bodies {
        let lines = lines(&serde_json::from_str(body).unwrap());
        let count = all.len() + lines.len();
        all.extend(lines);
        assert_eq!(all.len(), count, "no sample comes twice");
    }
    let text = prometheus::render(&said.facts());
    assert_eq!(all.len(), text.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn a_receiver_may_leave_samples_out() {
    let said = |answer: &str| rejected(answer.as_bytes());
    let why = |count| Some((count, "too old".to_owned()));
    let answer = |count: &str| {
        format!(
            "{{\"partialSuccess\":{{\"rejectedDataPoints\":{count},\"errorMessage\":\"too old\"}}}}"
        )
    };
    assert_eq!(said(&answer("\"3\"")), why(3));
    assert_eq!(said(&answer("3")), why(3));
    for fine in ["{}", "", "no JSON", "{\"partialSuccess\":{}}", "{\"partialSuccess\":null}"] {
        assert_eq!(said(fine), None, "{fine}");
    }
    assert_eq!(said(&answer("0")), None);
}

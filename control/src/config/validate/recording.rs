//! `[whois]`, `[flow_log]`, `[audit_log]` and `[open_telemetry]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::raw::{RawConfig, RawFlowLog, RawOpenTelemetry, Text};
use super::super::recording::{Collector, FlowLog, LogFile, Memory, MetricsPush, Receiver};
use super::super::valid::Setting;
use super::Context;
use super::value::{absolute_path, number, timeout};

/// Flows that are remembered after their end, at most: about 200 bytes each.
const REMEMBERED_MAX: i64 = 10_000_000;

/// Size of a log file unless the file says otherwise, and its bounds.
const BYTES_DEFAULT: u64 = 100 << 20;
const BYTES_MIN: i64 = 64 << 10;
const BYTES_MAX: i64 = 1 << 40;

/// Files that are kept unless the file says otherwise.
const FILES_DEFAULT: u8 = 5;

/// Where collectors listen (RFC 7011 10.3.4).
const PORT_EXAMPLE: &str = "\"udp://127.0.0.1:4739\", \"tcp://127.0.0.1:4739\" or \"/path/file\"";

/// Time from one sending of metrics to the next, unless the file says otherwise.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// What is fixed while the process runs.
pub(super) struct Recording {
    pub(super) whois: Setting<Memory>,
    pub(super) flow_log: Setting<FlowLog>,
    pub(super) audit_log: Setting<Option<PathBuf>>,
    pub(super) metrics_push: Setting<Option<MetricsPush>>,
}

pub(super) fn recording(context: &mut Context, raw: &RawConfig) -> Option<Recording> {
    let whois = match &raw.whois {
        None => Some(Setting::default(Memory::default())),
        Some(whois) => {
            let flows = whois.flows_max.as_ref();
            let flows = flows.map(|flows| number::<usize>(context, flows, 0, REMEMBERED_MAX));
            let age = whois.age.as_ref().map(|age| timeout(context, age));
            let default = Memory::default();
            let memory = || {
                let flows_max = flows.unwrap_or(Some(default.flows_max))?;
                Some(Memory { flows_max, age_max: age.unwrap_or(Some(default.age_max))? })
            };
            memory().map(|memory| Setting { value: memory, line: Some(whois.place.line) })
        }
    };
    let flow_log = match &raw.flow_log {
        None => Some(Setting::default(FlowLog::default())),
        Some(raw) => {
            flow_log(context, raw).map(|log| Setting { value: log, line: Some(raw.place.line) })
        }
    };
    let audit_log = match raw.audit_log.as_ref().map(|raw| &raw.file) {
        None => Some(Setting::default(None)),
        Some(None) => None,
        Some(Some(text)) => {
            absolute_path(context, text).map(|path| Setting::of(text, Some(PathBuf::from(path))))
        }
    };
    let metrics_push = match &raw.open_telemetry {
        None => Some(Setting::default(None)),
        Some(raw) => metrics_push(context, raw),
    };
    Some(Recording {
        whois: whois?,
        flow_log: flow_log?,
        audit_log: audit_log?,
        metrics_push: metrics_push?,
    })
}

fn flow_log(context: &mut Context, raw: &RawFlowLog) -> Option<FlowLog> {
    let bytes = raw.file_bytes_max.as_ref();
    let bytes = bytes.map(|bytes| number::<u64>(context, bytes, BYTES_MIN, BYTES_MAX));
    let bytes_max = bytes.unwrap_or(Some(BYTES_DEFAULT));
    let files = raw.files_max.as_ref().map(|files| number::<u8>(context, files, 0, 100));
    let files_max = files.unwrap_or(Some(FILES_DEFAULT));
    let domain = raw.ipfix_domain.as_ref();
    let domain = domain.map(|id| number::<u32>(context, id, 1, i64::from(u32::MAX)));
    let domain = domain.unwrap_or(Some(1));
    let log_file = |path: String| {
        let path = PathBuf::from(path);
        Some(LogFile { path, bytes_max: bytes_max?, files_max: files_max? })
    };
    let file = raw.file.as_ref().map(|text| absolute_path(context, text).and_then(&log_file));
    let ipfix = raw.ipfix.as_ref().map(|text| collector(context, text, &log_file));
    if raw.file.is_none() && raw.ipfix.is_none() {
        let cure = format!("add file = \"/var/log/adit/flows.jsonl\" or ipfix = {PORT_EXAMPLE}");
        context.error(&raw.place, "the flow log goes nowhere", cure);
        return None;
    }
    if let (Some(file), Some(ipfix)) = (&raw.file, &raw.ipfix)
        && file.value == ipfix.value
    {
        let problem = format!("{:?} is already the file of lines of JSON", file.value);
        context.error(&ipfix.place, problem, "give each a file of its own");
        return None;
    }
    let file = file.map_or(Some(None), |file| file.map(Some))?;
    let ipfix = ipfix.map_or(Some(None), |ipfix| ipfix.map(Some))?;
    let domain = domain?;
    Some(FlowLog { file, ipfix: ipfix.map(|collector| (collector, domain)) })
}

fn collector(
    context: &mut Context,
    text: &Text,
    log_file: &impl Fn(String) -> Option<LogFile>,
) -> Option<Collector> {
    let udp = text.value.strip_prefix("udp://");
    if let Some(address) = udp.or_else(|| text.value.strip_prefix("tcp://")) {
        let address = address.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        if address.is_none() {
            let problem = format!("{:?} has no address and port", text.value);
            let cure = format!("write both in numbers, names are not looked up: {PORT_EXAMPLE}");
            context.error(&text.place, problem, cure);
        }
        let of = if udp.is_some() { Collector::Udp } else { Collector::Tcp };
        return address.map(of);
    }
    if !text.value.starts_with('/') {
        let problem = format!("{:?} is no place for IPFIX", text.value);
        context.error(&text.place, problem, format!("write {PORT_EXAMPLE}"));
        return None;
    }
    absolute_path(context, text).and_then(log_file).map(Collector::File)
}

fn metrics_push(
    context: &mut Context,
    raw: &RawOpenTelemetry,
) -> Option<Setting<Option<MetricsPush>>> {
    let interval = raw.interval.as_ref().map(|text| timeout(context, text));
    let url = raw.url.as_ref()?;
    let to = match receiver(&url.value) {
        Ok(to) => to,
        Err((problem, cure)) => {
            context.error(&url.place, format!("{:?} {problem}", url.value), cure);
            return None;
        }
    };
    let interval = interval.unwrap_or(Some(INTERVAL_DEFAULT))?;
    Some(Setting::of(url, Some(MetricsPush { to, interval })))
}

/// A receiver as text names it; otherwise what is wrong with it, and the cure.
fn receiver(url: &str) -> Result<Receiver, (&'static str, &'static str)> {
    let example = "write, for example, \"http://127.0.0.1:4318\"";
    if url.starts_with("https://") {
        let cure = "adit sends metrics without TLS: name a collector of this machine or of a \
                    network that you trust, as http://, and let that one go on with TLS";
        return Err(("wants TLS", cure));
    }
    let rest = url.strip_prefix("http://").ok_or(("is no address of HTTP", example))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.rsplit_once(':').ok_or(("has no port", example))?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(("has no port", example))?;
    let is_address = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = |host: &str| {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !host.is_empty() && host.bytes().all(may_be)
    };
    let host = match inner {
        Some(inner) if is_address(inner) => inner,
        None if is_name(host) => host,
        _ => return Err(("names no host", example)),
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if !path.bytes().all(is_plain) {
        let cure = "write the path with letters, digits and %-escapes, without a question mark";
        return Err(("has no plain path", cure));
    }
    let path = if matches!(path, "" | "/") { Receiver::PATH } else { path };
    Ok(Receiver { host: host.to_owned(), port, path: path.to_owned() })
}

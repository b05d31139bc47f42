//! `[whois]`, `[flow_log]` and `[audit_log]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::raw::{RawConfig, RawFlowLog, Text};
use super::super::recording::{Collector, FlowLog, LogFile, Memory};
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

/// What is fixed while the process runs.
pub(super) struct Recording {
    pub(super) whois: Setting<Memory>,
    pub(super) flow_log: Setting<FlowLog>,
    pub(super) audit_log: Setting<Option<PathBuf>>,
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
    Some(Recording { whois: whois?, flow_log: flow_log?, audit_log: audit_log? })
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

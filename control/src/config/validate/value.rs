//! Single values: numbers within limits, durations, words without case, paths.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dataplane::limits::{FLOWS_PER_WORKER_MAX, WORKERS_MAX};

use super::super::CONTROL_SOCKET;
use super::super::raw::{RawConfig, Text};
use super::super::reader::Located;
use super::super::suggest;
use super::super::valid::{FastPathUse, PrivilegeUse, Setting, Settings};
use super::Context;
use super::recording::{Recording, recording};

/// Flows per worker unless the file says otherwise.
const FLOWS_MAX_DEFAULT: usize = 262_144;

const FAST_PATHS: &[(&str, FastPathUse)] =
    &[("auto", FastPathUse::Auto), ("off", FastPathUse::Off)];

const PRIVILEGES: &[(&str, PrivilegeUse)] =
    &[("drop", PrivilegeUse::Drop), ("keep", PrivilegeUse::Keep)];

/// The longest path that a socket address holds.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The shortest and longest timeout that makes sense.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much may be kept for endpoints below their fair share: nothing, unless the file says so.
pub(crate) const FAIR_SHARE_PERCENT_MAX: u8 = 50;

/// The longest rest of a port that makes sense: five times what RFC 6888 REQ-8 asks for.
const HOLD_DOWN_MAX: Duration = Duration::from_secs(600);

pub(super) fn settings(context: &mut Context, file: &RawConfig) -> Option<Settings> {
    let raw = &file.settings;
    let control_socket = match &raw.control_socket {
        None => Some(Setting::default(PathBuf::from(CONTROL_SOCKET))),
        Some(text) => socket_path(context, text).map(|path| Setting::of(text, path)),
    };
    let http = match &raw.http {
        None => Some(Setting::default(None)),
        Some(text) => socket_address(context, text).map(|address| Setting::of(text, Some(address))),
    };
    let workers = match &raw.workers {
        None => Some(Setting::default(1)),
        Some(workers) => {
            let max = i64::try_from(WORKERS_MAX).unwrap_or(i64::MAX);
            let value = number::<u8>(context, workers, 1, max);
            value.map(|value| Setting::of(workers, value))
        }
    };
    let flows_max = match &raw.flows_max {
        None => Some(Setting::default(FLOWS_MAX_DEFAULT)),
        Some(flows) => {
            let max = i64::try_from(FLOWS_PER_WORKER_MAX).unwrap_or(i64::MAX);
            let value = number::<usize>(context, flows, 1, max);
            value.map(|value| Setting::of(flows, value))
        }
    };
    let fair_share_percent = match &raw.fair_share_percent {
        None => Some(0),
        Some(percent) => number::<u8>(context, percent, 0, i64::from(FAIR_SHARE_PERCENT_MAX)),
    };
    let fast_path = match &raw.fast_path {
        None => Some(Setting::default(FastPathUse::default())),
        Some(text) => word(context, text, FAST_PATHS).map(|value| Setting::of(text, value)),
    };
    let privileges = match &raw.privileges {
        None => Some(Setting::default(PrivilegeUse::default())),
        Some(text) => word(context, text, PRIVILEGES).map(|value| Setting::of(text, value)),
    };
    let recording = recording(context, file);
    let Recording { whois, flow_log, audit_log, metrics_push } = recording?;
    Some(Settings {
        control_socket: control_socket?,
        http: http?,
        workers: workers?,
        flows_max: flows_max?,
        fair_share_percent: fair_share_percent?,
        fast_path: fast_path?,
        privileges: privileges?,
        whois,
        flow_log,
        audit_log,
        metrics_push,
    })
}

/// An address of this machine and a port.
fn socket_address(context: &mut Context, text: &Text) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let problem = format!("{:?} is not an address and a port", text.value);
        context.error(&text.place, problem, "write both, for example \"127.0.0.1:9464\"");
    }
    address
}

fn socket_path(context: &mut Context, text: &Text) -> Option<PathBuf> {
    let path = absolute_path(context, text)?;
    if path.len() > SOCKET_PATH_BYTES_MAX {
        let problem = format!("the path has {} bytes", path.len());
        let cure = format!("a socket's path has at most {SOCKET_PATH_BYTES_MAX}: shorten it");
        context.error(&text.place, problem, cure);
        return None;
    }
    Some(PathBuf::from(path))
}

/// A path from the root, without the byte that ends strings in system calls.
pub(super) fn absolute_path(context: &mut Context, text: &Text) -> Option<String> {
    if !text.value.starts_with('/') || text.value.contains('\0') || text.value.ends_with('/') {
        let problem = format!("{:?} is not the absolute path of a file", text.value);
        context.error(&text.place, problem, "begin with / and end with the file's name");
        return None;
    }
    Some(text.value.clone())
}

/// A number from `min` to `max`.
pub(super) fn number<T: TryFrom<i64>>(
    context: &mut Context,
    raw: &Located<i64>,
    min: i64,
    max: i64,
) -> Option<T> {
    if (min..=max).contains(&raw.value) {
        return T::try_from(raw.value).ok();
    }
    let cure = format!("write a number from {min} to {max}");
    context.error(&raw.place, format!("{} is out of range", raw.value), cure);
    None
}

/// A port.
pub(super) fn port(context: &mut Context, raw: Option<&Located<i64>>) -> Option<u16> {
    number(context, raw?, 1, i64::from(u16::MAX))
}

/// One of several words, whatever its case.
pub(super) fn word<T: Copy>(
    context: &mut Context,
    text: &Text,
    words: &[(&'static str, T)],
) -> Option<T> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text.value));
    if found.is_none() {
        let problem = format!("{:?} is not possible here", text.value);
        let names = words.iter().map(|&(word, _)| word);
        context.error(&text.place, problem, suggest::cure(&text.value, names));
    }
    found.map(|&(_, value)| value)
}

/// A timeout such as "30s".
pub(super) fn timeout(context: &mut Context, text: &Text) -> Option<Duration> {
    let duration = any_duration(context, text)?;
    if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&duration) {
        let problem = format!("{:?} is out of range", text.value);
        context.error(&text.place, problem, "a timeout lies between \"100ms\" and \"24h\"");
        return None;
    }
    Some(duration)
}

/// How long a port rests: "0s" for not at all, else up to [`HOLD_DOWN_MAX`].
pub(super) fn hold_down(context: &mut Context, text: &Text) -> Option<Duration> {
    let duration = any_duration(context, text)?;
    if duration > HOLD_DOWN_MAX {
        let problem = format!("{:?} is out of range", text.value);
        let cure = "a hold-down lies between \"0s\" and \"10m\": ports that rest serve nobody";
        context.error(&text.place, problem, cure);
        return None;
    }
    Some(duration)
}

/// How long a NAT IP drains: "0s" for not at all, else up to [`TIMEOUT_MAX`].
pub(super) fn drain(context: &mut Context, text: &Text) -> Option<Duration> {
    let duration = any_duration(context, text)?;
    if duration > TIMEOUT_MAX {
        let problem = format!("{:?} is out of range", text.value);
        let cure = "a drain timeout lies between \"0s\" (flows end at once) and \"24h\"";
        context.error(&text.place, problem, cure);
        return None;
    }
    Some(duration)
}

fn any_duration(context: &mut Context, text: &Text) -> Option<Duration> {
    let duration = duration(&text.value);
    if duration.is_none() {
        let problem = format!("{:?} is not a duration", text.value);
        let cure = "write a number and a unit: \"250ms\", \"30s\", \"4m\" or \"2h\"";
        context.error(&text.place, problem, cure);
    }
    duration
}

/// A whole number and one of `ms`, `s`, `m`, `h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("4 m"), Some(Duration::from_secs(240)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for bad in ["", "30", "s", "-1s", "1.5s", "1d", "30sec", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration(&format!("{}h", u64::MAX)), None);
    }
}

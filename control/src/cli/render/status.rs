//! How the daemon is, as people read it: the account, workers, devices and next hops.

use super::{put, span};
use crate::api::{
    AuditLog, Device, DeviceState, FastPathState, FlowLog, MetricsPush, NextHop, Privileges,
    Recording, Status, Worker,
};
use crate::cli::rates::Pace;
use crate::cli::table::{Table, printable};

pub(super) fn status(status: &Status) -> String {
    let mut text = String::new();
    put(&mut text, format_args!("adit {}, up {}", status.adit, span(status.uptime_seconds)));
    put(&mut text, format_args!("configuration  {}", printable(&status.configuration)));
    put(&mut text, format_args!("generation     {}", status.generation));
    let Status { flows, flows_unanswered, flows_opened, .. } = status;
    put(
        &mut text,
        format_args!(
            "flows          {flows} ({flows_unanswered} unanswered), {flows_opened} ever opened"
        ),
    );
    let ended = [
        ("revoked", status.flows_revoked),
        ("reset", status.flows_reset),
        ("moved", status.flows_moved),
        ("displaced", status.flows_displaced),
    ];
    let ended = ended.map(|(how, count)| format!("{count} {how}")).join(", ");
    put(&mut text, format_args!("ended by adit  {ended}"));
    let Status { nat_ports_leased, ports_resting, .. } = status;
    put(
        &mut text,
        format_args!("NAT ports      {nat_ports_leased} leased, {ports_resting} of them resting"),
    );
    let bytes = |packets: u64, bytes: u64| format!("{packets} packets, {bytes} bytes");
    let received = bytes(status.received, status.received_bytes);
    let forwarded = bytes(status.forwarded, status.forwarded_bytes);
    put(&mut text, format_args!("received       {received}"));
    put(&mut text, format_args!("forwarded      {forwarded}"));
    put(&mut text, format_args!("fair shares    {}% are kept", status.fair_share_percent));
    put(&mut text, format_args!("fast path      {}", fast_path(status)));
    put(&mut text, format_args!("privileges     {}", privileges(&status.privileges)));
    recording(&mut text, &status.recording);
    status.metrics_push.iter().for_each(|push| metrics_push(&mut text, push));
    put(&mut text, format_args!("consumed       {} (ARP, answers to probes)", status.consumed));
    if status.backends_probed > 0 {
        let Status { backends_healthy, backends_probed, .. } = status;
        let hint = if backends_healthy < backends_probed { " (see `adit services`)" } else { "" };
        let healthy = format_args!(
            "probes         {backends_healthy} of {backends_probed} backends are healthy{hint}"
        );
        put(&mut text, healthy);
    }
    let Status { proxy_headers_sent: sent, proxy_headers_repeated: repeated, .. } = status;
    if *sent > 0 {
        let waiting = status.proxy_headers_waiting;
        put(
            &mut text,
            format_args!(
                "PROXY headers  {sent} sent, {waiting} of them waiting, {repeated} repeats"
            ),
        );
    }
    put(&mut text, format_args!("waiting        {}", status.held));
    let hint = if status.dropped > 0 { " (see `adit drops`)" } else { "" };
    put(&mut text, format_args!("dropped        {}{hint}", status.dropped));
    text.push('\n');
    text.push_str(&workers(&status.workers));
    text.push('\n');
    text.push_str(&devices(&status.devices));
    text.push('\n');
    text + &next_hops(&status.next_hops)
}

fn privileges(privileges: &Privileges) -> String {
    const ALL: usize = 30;
    let Privileges { user, capabilities, can_gain } = privileges;
    let held = match capabilities.len() {
        0 => "none".to_owned(),
        // All of root's would fill the screen and say no more.
        count if count > ALL => format!("all {count} of root's"),
        _ => capabilities.join(", "),
    };
    let more = if *can_gain { "" } else { "; no more can be gained" };
    format!("{held}, as user {user}{more}")
}

fn fast_path(status: &Status) -> String {
    match (status.fast_path.state, &status.fast_path.detail) {
        (FastPathState::On, detail) => {
            let but = detail.as_ref().map(|detail| format!("; {}", printable(detail)));
            let carried = format!("{} of these packets carried by the kernel", status.shortcut);
            format!("{carried} alone{}", but.unwrap_or_default())
        }
        (FastPathState::Off, _) => "off".to_owned(),
        (FastPathState::Unavailable, None) => "not available".to_owned(),
        (FastPathState::Unavailable, Some(why)) => format!("not available: {}", printable(why)),
    }
}

/// What is written down of flows: only what there is.
fn recording(text: &mut String, recording: &Recording) {
    let Recording { records, records_lost, remembered, .. } = recording;
    if recording.remembered_max > 0 || !recording.flow_logs.is_empty() {
        put(
            text,
            format_args!(
                "records        {records} of flows, {records_lost} lost; {remembered} ended flows \
                 are remembered"
            ),
        );
    }
    let AuditLog { file, written, lost } = &recording.audit_log;
    if let Some(file) = file {
        let file = printable(file);
        put(text, format_args!("audit log      {file}: {written} written, {lost} lost"));
    }
    for log in &recording.flow_logs {
        let (form, to) = (printable(&log.form), printable(&log.to));
        let FlowLog { written, lost, .. } = log;
        let trouble = trouble(log.trouble.as_deref());
        put(
            text,
            format_args!("flow log       {form} to {to}: {written} written, {lost} lost{trouble}"),
        );
    }
}

/// Where metrics go.
fn metrics_push(text: &mut String, push: &MetricsPush) {
    let MetricsPush { to, sent, lost, rejected_samples: left, trouble: why } = push;
    let (to, why) = (printable(to), trouble(why.as_deref()));
    let count = format!("{sent} sent, {lost} lost, {left} samples not taken");
    put(text, format_args!("metrics        to {to}: {count}{why}"));
}

fn trouble(why: Option<&str>) -> String {
    why.map(|why| format!("; trouble: {}", printable(why))).unwrap_or_default()
}

/// The status with what it grew by in a second, and a line between it and the next.
pub(in crate::cli) fn watched(status: &Status, pace: &Pace) -> String {
    let rate = |value: Option<f64>| value.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let line = |packets, bytes: Option<f64>| {
        let bits = bytes.map(|bytes| bytes * 8.0);
        format!("{} packets/s, {} bit/s", rate(packets), rate(bits))
    };
    let mut text = self::status(status);
    text.push('\n');
    let received = line(pace.received, pace.received_bytes);
    let forwarded = line(pace.forwarded, pace.forwarded_bytes);
    put(&mut text, format_args!("received       {received}"));
    put(&mut text, format_args!("forwarded      {forwarded}"));
    put(&mut text, format_args!("new flows      {}/s", rate(pace.opened)));
    put(&mut text, format_args!("dropped        {}/s", rate(pace.dropped)));
    text.push_str("---\n");
    text
}

fn workers(workers: &[Worker]) -> String {
    let header = ["WORKER#", "GENERATION#", "FLOWS#", "FLOWS MAX#", "FORWARDED#", "DROPPED#"];
    let mut table = Table::new(&header);
    for worker in workers {
        table.row([
            worker.worker.to_string(),
            worker.generation.to_string(),
            worker.flows.to_string(),
            worker.flows_max.to_string(),
            worker.forwarded.to_string(),
            worker.dropped.to_string(),
        ]);
    }
    table.render("There is no worker.")
}

fn devices(devices: &[Device]) -> String {
    let header = ["DEVICE", "KIND", "NAMESPACE", "VNET", "RECEIVED#", "SENT#", "MISSED#", "STATE"];
    let mut table = Table::new(&header);
    for device in devices {
        let state = match (device.state, &device.detail) {
            (DeviceState::Up, _) => "up".to_owned(),
            (DeviceState::Unopened, _) => "not opened yet".to_owned(),
            (DeviceState::Down, Some(detail)) => format!("down: {detail}"),
            (DeviceState::Down, None) => "down".to_owned(),
        };
        table.row([
            device.name.clone(),
            device.kind.clone(),
            device.network_namespace.clone().unwrap_or_else(|| "-".to_owned()),
            device.virtual_network.clone(),
            device.received.to_string(),
            device.sent.to_string(),
            device.missed.to_string(),
            state,
        ]);
    }
    table.render("There is no device.")
}

fn next_hops(next_hops: &[NextHop]) -> String {
    let mut table = Table::new(&["NEXT HOP", "VNET", "STATION", "DEVICE"]);
    for next_hop in next_hops {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mac = next_hop.mac.clone().unwrap_or_else(|| "not resolved".to_owned());
        let network = next_hop.virtual_network.clone();
        table.row([next_hop.address.to_string(), network, mac, or_dash(&next_hop.device)]);
    }
    table.render("There is no next hop: no rule has a backend.")
}

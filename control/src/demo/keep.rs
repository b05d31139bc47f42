//! `--keep`: the network stays up after the tour, with the commands by which a person walks around
//! in it, until Ctrl-C.

use std::path::PathBuf;
use std::time::Duration;

use super::daemon::Daemon;
use super::report::Report;
use super::topology::Topology;
use super::trouble::Trouble;
use crate::stop::Stop;

/// Time between two looks at the flag and the child.
const STEP: Duration = Duration::from_millis(100);

/// Prints the commands and waits for the end.
///
/// # Errors
/// adit is gone.
pub(super) fn wait(
    report: &mut Report,
    topology: &Topology,
    daemon: &mut Daemon,
    stop: &Stop,
) -> Result<(), Trouble> {
    explain(report, topology, daemon);
    while !stop.is_requested() {
        daemon.check_alive()?;
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn explain(report: &mut Report, topology: &Topology, daemon: &Daemon) {
    report.heading("The network stays up. From another terminal of the same user:");
    let enter = |name: &str, command: String| format!("{name:<11} {command}");
    for consumer in &topology.consumers {
        report.line(&enter(consumer.name, consumer.host.namespace().enter_command()));
    }
    for backend in &topology.backends {
        report.line(&enter(&backend.name, backend.host.namespace().enter_command()));
    }
    report.line(&enter("adit", topology.adit.enter_command()));
    let [a, b] = &topology.consumers;
    let (in_a, in_b) = (a.host.namespace().enter_command(), b.host.namespace().enter_command());
    report.heading("Things to try there:");
    report.line(&format!("{in_a} curl -s http://10.0.0.5/"));
    report.line(&format!("{in_b} curl -s http://10.0.0.5/"));
    report.line("");
    report.line(&format!("alias adit={}", own_path().display()));
    report.line(&format!("export ADIT_SOCKET={}", daemon.socket().display()));
    for command in ["status", "sessions", "services", "endpoints", "approve pe-new", "drops"] {
        report.line(&format!("adit {command}"));
    }
    report.heading("Ctrl-C here takes everything down.");
}

/// The file that this program is.
pub(super) fn own_path() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("adit"))
}

//! What adit may do as a process: only what its configuration needs, from before the first packet.
//!
//! Devices that vanish are opened again, so what opening takes is kept; everything else that root
//! has goes for good before any thread is started, and nothing that adit might start can gain it.
//! A reload that would need what went is refused.

use dataplane::snapshot::DeviceKind;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, no_new_privs, set_capabilities, set_no_new_privs,
};

use super::{DaemonError, log};
use crate::api;
use crate::config::{Config, FastPathUse, PrivilegeUse};

/// Capabilities that adit ever needs, by name.
const NAMES: [(&str, CapabilitySet); 6] = [
    ("net_raw", CapabilitySet::NET_RAW),
    ("net_admin", CapabilitySet::NET_ADMIN),
    ("sys_admin", CapabilitySet::SYS_ADMIN),
    ("sys_ptrace", CapabilitySet::SYS_PTRACE),
    ("bpf", CapabilitySet::BPF),
    ("ipc_lock", CapabilitySet::IPC_LOCK),
];

/// What a configuration needs, to open its devices again and again.
pub(super) fn needed(config: &Config) -> CapabilitySet {
    // Packet sockets; TAP devices, addresses of interfaces, and buffers that hold a burst.
    let mut needed = CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN;
    let devices = config.devices().iter().map(|one| (one.kind, one.network_namespace.as_ref()));
    let bindings = config.bindings().iter();
    let bindings = bindings.map(|one| (one.kind, one.network_namespace.as_ref()));
    for (kind, namespace) in devices.chain(bindings) {
        if kind == DeviceKind::AfXdp {
            // Its program and its map; frames that stay where the kernel can reach them.
            needed |= CapabilitySet::BPF | CapabilitySet::IPC_LOCK;
        }
        if let Some(path) = namespace {
            // To enter it.
            needed |= CapabilitySet::SYS_ADMIN;
            if path.starts_with("/proc/") {
                // To follow a link of another process, which may have more than adit.
                needed |= CapabilitySet::SYS_PTRACE;
            }
        }
    }
    if config.settings().fast_path.value == FastPathUse::Auto {
        needed |= CapabilitySet::BPF;
    }
    needed
}

/// Gives up what `config` does not need, unless it says otherwise; what went. Must be called before
/// any thread is started: each has its own.
pub(super) fn drop_needless(config: &Config) -> Result<CapabilitySet, DaemonError> {
    if config.settings().privileges.value == PrivilegeUse::Keep {
        return Ok(CapabilitySet::empty());
    }
    let failed = |error| {
        let problem = format!("privileges cannot be dropped: {error}");
        DaemonError::new(problem, "set privileges = \"keep\" in [adit], and please report it")
    };
    let before = capabilities(None).map_err(failed)?;
    let kept = before.permitted & needed(config);
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    set_capabilities(None, sets).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)?;
    Ok(before.permitted & !kept)
}

/// What the process has now.
pub(super) fn held() -> api::Privileges {
    let now = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let all = now.iter_names().map(|(name, _)| name.to_lowercase());
    api::Privileges {
        user: rustix::process::geteuid().as_raw(),
        capabilities: all.collect(),
        can_gain: !no_new_privs().unwrap_or(false),
    }
}

/// What a changed configuration needs of what went, by name.
pub(super) fn missing(config: &Config, gone: CapabilitySet) -> Vec<&'static str> {
    let missing = needed(config) & gone;
    let names = NAMES.iter().filter(|(_, one)| missing.contains(*one));
    names.map(|(name, _)| *name).collect()
}

/// Says if the configuration can be read no more, which would be found out only at a reload.
pub(super) fn warn_of_unreadable(path: &std::path::Path) {
    if let Err(error) = std::fs::File::open(path) {
        log(format_args!(
            "warning: {} could be read only with privileges that are dropped now ({error}), so a \
             reload will fail; give it to adit's user, or set privileges = \"keep\"",
            path.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    fn names(set: CapabilitySet) -> Vec<&'static str> {
        NAMES.iter().filter(|(_, one)| set.contains(*one)).map(|(name, _)| *name).collect()
    }

    fn config(changes: &[(&str, &str)]) -> Config {
        let mut text = include_str!("../../adit.example.toml").to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        check(&text).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    #[test]
    fn every_feature_keeps_what_it_needs_and_no_more() {
        let fast = ("fast_path = \"auto\"", "fast_path = \"off\"");
        let namespace = "# network_namespace = \"/run/netns/consumer-a\"";
        let inside = |path: &str| format!("network_namespace = \"{path}\"");
        let (named, of_process) = (inside("/run/netns/a"), inside("/proc/7/ns/net"));
        let xdp =
            ("name = \"veth-b\"\nkind = \"af_packet\"", "name = \"veth-b\"\nkind = \"af_xdp\"");
        for (changes, expected) in [
            (vec![fast], vec!["net_raw", "net_admin"]),
            (vec![], vec!["net_raw", "net_admin", "bpf"]),
            (vec![fast, xdp], vec!["net_raw", "net_admin", "bpf", "ipc_lock"]),
            (vec![fast, (namespace, &named)], vec!["net_raw", "net_admin", "sys_admin"]),
            (
                vec![fast, (namespace, &of_process)],
                vec!["net_raw", "net_admin", "sys_admin", "sys_ptrace"],
            ),
        ] {
            let needed = needed(&config(&changes));
            assert_eq!(names(needed), expected);
            assert_eq!(needed.bits().count_ones() as usize, expected.len(), "all have names");
        }
    }

    #[test]
    fn what_went_is_missed_by_name() {
        let gone = CapabilitySet::SYS_ADMIN | CapabilitySet::CHOWN;
        let namespace = "# network_namespace = \"/run/netns/consumer-a\"";
        let inside = "network_namespace = \"/run/netns/consumer-a\"";
        assert_eq!(missing(&config(&[(namespace, inside)]), gone), ["sys_admin"]);
        assert!(missing(&config(&[]), gone).is_empty());
    }
}

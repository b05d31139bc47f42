//! What the process keeps of root's privileges: what its configuration needs, and with that,
//! devices that vanish are opened again, whoever's namespace they live in.

use std::fs;

use super::outage::replace_consumer;
use super::{FAST, PACKET, TAP, XDP};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{Kind, World, list, text};

pub(super) const CASES: &[Case] = &[
    Case::new("privileges::packet", PACKET, privileges),
    Case::new("privileges::fast_path", FAST, privileges),
    Case::new("privileges::xdp", XDP, privileges),
    Case::new("privileges::tap_in_other_namespaces", TAP, privileges),
    Case::new("privileges::packet_reload", PACKET, reload),
];

/// Numbers of capabilities, as the kernel has them.
const NUMBERS: [(&str, u32); 6] = [
    ("net_admin", 12),
    ("net_raw", 13),
    ("ipc_lock", 14),
    ("sys_ptrace", 19),
    ("sys_admin", 21),
    ("bpf", 39),
];

fn privileges(world: &mut World) -> Outcome {
    let expected: &[&str] = match (world.config.kind, world.config.fast_path) {
        (Kind::Packet, false) => &["net_admin", "net_raw"],
        (Kind::Packet, true) => &["net_admin", "net_raw", "bpf"],
        (Kind::Xdp, _) => &["net_admin", "net_raw", "ipc_lock", "bpf"],
        (Kind::Tap, _) => &["net_admin", "net_raw", "sys_ptrace", "sys_admin"],
    };
    let status = world.adit.ask(&["status"])?;
    let held = &status["privileges"];
    let mut names: Vec<&str> =
        list(held, "capabilities")?.iter().filter_map(|one| one.as_str()).collect();
    let by_number = |name: &&str| NUMBERS.iter().position(|(known, _)| known == name);
    names.sort_by_key(by_number);
    ensure!(names == expected && held["can_gain"] == false, "it says that it has {held}");
    for thread in fs::read_dir(format!("/proc/{}/task", world.adit.id()?))? {
        check_thread(&fs::read_to_string(thread?.path().join("status"))?, expected)?;
    }
    replace_consumer(world)?;
    world.wait_for_balance()
}

/// Every thread has exactly these, and can have no other.
fn check_thread(status: &str, expected: &[&str]) -> Outcome {
    let field = |name: &str| -> Result<u64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.ok_or_else(|| format!("no {name} in {status}"))?.trim();
        Ok(u64::from_str_radix(word, 16)?)
    };
    let bit = |(name, number): &(&str, u32)| u64::from(expected.contains(name)) << number;
    let wanted: u64 = NUMBERS.iter().map(bit).sum();
    for name in ["CapEff:", "CapPrm:"] {
        let found = field(name)?;
        ensure!(found == wanted, "{name} {found:x} instead of {wanted:x} in {status}");
    }
    ensure!(field("CapInh:")? == 0 && field("CapAmb:")? == 0, "inherited: {status}");
    ensure!(field("NoNewPrivs:")? == 1, "new privileges: {status}");
    Ok(())
}

/// A file that would need what was dropped is refused, and says so; `keep` keeps all.
fn reload(world: &mut World) -> Outcome {
    let before = world.adit.status("generation")?;
    let text_before = world.config.text();
    let moved = text_before.replacen(
        "kind = \"af_packet\"",
        "kind = \"af_packet\"\nnetwork_namespace = \"/run/netns/adit-no-such\"",
        1,
    );
    ensure!(moved != text_before, "the configuration has no packet device");
    world.adit.configure(&moved)?;
    let refused = world.adit.command(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("sys_admin"), "refused: {said}");
    ensure!(said.contains("privileges = \"keep\""), "the cure: {said}");
    ensure!(world.adit.status("generation")? == before, "nothing was changed");
    world.adit.signal(rustix::process::Signal::TERM)?;
    world.adit.wait(crate::case::PATIENCE)?;
    let kept = text_before.replacen("[adit]\n", "[adit]\nprivileges = \"keep\"\n", 1);
    world.adit.configure(&kept)?;
    world.restart()?;
    let status = world.adit.ask(&["status"])?;
    let held = list(&status["privileges"], "capabilities")?.len();
    ensure!(held > NUMBERS.len(), "all are kept: {}", status["privileges"]);
    let shown = world.adit.command(&["status"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("privileges "), "{shown}");
    wait_until("it serves", || Ok(text(&world.adit.ask(&["status"])?, "adit").is_ok()))
}

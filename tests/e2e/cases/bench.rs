//! `adit bench` through adit: what it counts is what adit and the backends count, and what goes
//! wrong is said with a cure.

use std::fs;

use lab::backend::trouble::ResetAt;
use serde_json::Value;

use super::{PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::role;
use crate::world::{ENDPOINT, World, number, port, rule};

pub(super) const CASES: &[Case] = &[
    Case::new("bench::counts_agree_packet_2_workers", PACKET_2, counts_agree),
    Case::new("bench::requests_and_held_packet_1_worker", PACKET, requests_and_held),
    Case::new("bench::faults_packet_1_worker", PACKET, faults),
];

/// What a bench from a said, its exit code, and its words on standard error.
fn bench(world: &World, words: &str) -> Result<(Value, Option<i32>, String), Failure> {
    let mut command = role::adit_in(world.a().namespace())?;
    command.arg("bench").args(words.split_whitespace()).args(["--json", "--quiet"]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok((value, output.status.code(), said))
}

/// A bench that must be good; its one step.
fn good(world: &World, words: &str) -> Result<Value, Failure> {
    let (report, code, said) = bench(world, words)?;
    ensure!(code == Some(0), "adit bench {words}: {code:?}: {said}{report}");
    let step = report["steps"][0].clone();
    ensure!(step["completed"] == step["started"] && step["lost"] == 0, "{words}: {step}");
    Ok(step)
}

fn counts_agree(world: &mut World) -> Outcome {
    let flows = || world.adit.status("flows_opened");
    let connections =
        || world.backends.iter().map(|backend| backend.echo.connections()).collect::<Vec<u64>>();
    let (flows_before, before) = (flows()?, connections());
    let target = format!("{ENDPOINT}:{}", port::ECHO.0);
    let page = world.adit.directory().join("bench.html");
    let words = format!("tcp {target} --count 300 --flows 8 --report {}", page.display());
    let step = good(world, &words)?;
    // One connection only asked whether anything is there.
    ensure!(number(&step, "connections_opened")? == 300, "{step}");
    let after = connections();
    let mut named = 0;
    for (at, (after, before)) in after.iter().zip(&before).enumerate() {
        let name = world.backends[at].station.name();
        let count = step["backends"][name].as_u64().unwrap_or_default();
        let served = after - before;
        ensure!(served == count || served == count + 1, "{name}: {served} and {count}: {step}");
        named += count;
    }
    ensure!(named == 300, "{named} answers gave a name: {step}");
    wait_until("adit counts the same flows", || Ok(flows()? == flows_before + 301))?;
    let html = fs::read_to_string(&page)?;
    ensure!(html.contains("backend-1") && html.contains("Latency by percentile"), "{html}");
    // Datagrams of eight flows, and of the three that only asked.
    let (flows_before, datagrams) = (flows()?, datagrams(world));
    let step = good(world, &format!("udp {target} --count 400 --flows 8 --rate 400"))?;
    ensure!(number(&step, "completed")? == 400, "{step}");
    ensure!(self::datagrams(world) == datagrams + 403, "{}", self::datagrams(world) - datagrams);
    wait_until("adit counts nine flows", || Ok(flows()? == flows_before + 9))?;
    world.wait_for_balance()
}

fn datagrams(world: &World) -> u64 {
    world.backends.iter().map(|backend| backend.udp.datagrams()).sum()
}

fn requests_and_held(world: &mut World) -> Outcome {
    let target = format!("{ENDPOINT}:{}", port::HTTP.0);
    let words = format!("tcp {target} --mode request --speak http --flows 4 --count 200");
    let step = good(world, &words)?;
    ensure!(step["warm_up"]["connections_opened"] == 4, "{step}");
    let words = format!("tcp {target} --mode hold --speak http --flows 40 --seconds 0.2");
    let step = good(world, &words)?;
    ensure!(number(&step, "flows_open_max")? == 40, "{step}");
    let words = "--rate 100 --seconds 1 --warm-up 0.2 --close reset";
    let step = good(world, &format!("tcp {target} --speak http {words}"))?;
    ensure!(number(&step, "started")? == 100, "{step}");
    world.wait_for_balance()
}

fn faults(world: &mut World) -> Outcome {
    const TROUBLE: (u16, u16) = (9_200, 9_201);
    world.config.more_rules = rule("trouble", "Tcp", TROUBLE, "first");
    world.config.service_settings = "tcp_refusals = \"reset\"\n".to_owned();
    world.reload()?;
    let target = format!("{ENDPOINT}:{}", TROUBLE.0);
    let (_, code, said) = bench(world, &format!("tcp {target} --count 5"))?;
    ensure!(code == Some(1) && said.contains("nothing listens there"), "{code:?}: {said}");
    let at = std::net::SocketAddrV4::new(world.backends[0].station.address(), TROUBLE.1);
    let _server = ResetAt::start(world.backends[0].station.namespace(), at, "reset", 64)?;
    let (report, code, said) = bench(world, &format!("tcp {target} --count 20"))?;
    let step = &report["steps"][0];
    ensure!(code == Some(1) && said.contains("no step was good"), "{code:?}: {said}");
    ensure!(step["errors"]["reset"] == 20 && step["completed"] == 0, "{report}");
    let (_, code, said) = bench(world, &format!("udp {target} --timeout 0.3"))?;
    ensure!(code == Some(1) && said.contains("nothing comes back"), "{code:?}: {said}");
    world.wait_for_balance()
}

//! NAT IPs come and go under connections: one that is added serves at once, one that is taken away
//! keeps its connections until they end or its time is over, and the last one stays.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use lab::client::{Session, SessionState};
use serde_json::Value;

use super::{PACKET, TAP_2};
use crate::case::{Case, Failure, Outcome, PATIENCE, wait_until};
use crate::world::{NAT_IPS, World, dial, list, port, text};

/// Enough that both NAT IPs have some: each takes the emptier of two.
const SESSIONS: usize = 12;

pub(super) const CASES: &[Case] = &[
    Case::new("nat_ips::packet_1_worker", PACKET, nat_ips),
    Case::new("nat_ips::tap_2_workers", TAP_2, nat_ips),
];

/// Sessions by the NAT IP that stands for them.
type ByNatIp = HashMap<Ipv4Addr, Vec<Session>>;

fn nat_ips(world: &mut World) -> Outcome {
    let [going, staying] = NAT_IPS;
    let mut sessions = open(world)?;
    ensure!(sessions.len() == 2, "only {:?} are used", sessions.keys());
    reload(world, &[staying], "60s")?;
    let state = leaving(world)?.first().map(|leaving| leaving["state"].clone());
    ensure!(state == Some("draining".into()), "{going} is {state:?}");
    let mut later = open(world)?;
    ensure!(later.keys().eq([&staying]), "new sessions use {:?}", later.keys());
    exchange(sessions.values_mut().flatten())?;
    // Its last connection ends, and it goes.
    drop(sessions.remove(&going));
    wait_until("the drained NAT IP is gone", || Ok(leaving(world)?.is_empty()))?;
    let said = world.adit.log();
    ensure!(said.contains(&format!("NAT IP {going} is gone")), "{said}");
    // It comes back, and serves beside the other.
    reload(world, &[staying, going], "500ms")?;
    let mut again = open(world)?;
    ensure!(again.contains_key(&going), "{going} does not serve again: {:?}", again.keys());
    // It goes again, and its connections do not end by themselves.
    reload(world, &[staying], "500ms")?;
    for session in again.get_mut(&going).into_iter().flatten() {
        let end = session.wait_for_end(PATIENCE)?;
        ensure!(
            end == SessionState::Reset,
            "a connection of a NAT IP whose time is over is {end:?}"
        );
    }
    wait_until("the closed NAT IP is gone", || Ok(leaving(world)?.is_empty()))?;
    let rest = [&mut sessions, &mut later, &mut again];
    exchange(rest.into_iter().filter_map(|some| some.get_mut(&staying)).flatten())?;
    last_one_stays(world)?;
    world.wait_for_balance()
}

fn open(world: &World) -> Result<ByNatIp, Failure> {
    let mut sessions = world.a().namespace().run(|| {
        (0..SESSIONS)
            .map(|_| Ok(Session::open(&dial(port::ECHO))?))
            .collect::<Result<Vec<Session>, Failure>>()
    })??;
    exchange(sessions.iter_mut())?;
    let flows = world.adit.sessions()?;
    let mut by_nat_ip = ByNatIp::new();
    for session in sessions {
        let local = session.local();
        let is_its = |flow: &&Value| {
            flow["virtual_network"] == "a"
                && flow["client"] == local.ip().to_string()
                && flow["client_port"] == local.port()
        };
        let flow = flows.iter().find(is_its).ok_or("a session has no flow")?;
        by_nat_ip.entry(text(flow, "nat_ip")?.parse()?).or_default().push(session);
    }
    Ok(by_nat_ip)
}

fn exchange<'s>(sessions: impl Iterator<Item = &'s mut Session>) -> Outcome {
    for session in sessions {
        session.exchange("still here")?;
    }
    Ok(())
}

/// The configuration with these NAT IPs.
fn configuration(world: &World, nat_ips: &[Ipv4Addr]) -> Result<String, Failure> {
    let text = world.config.text();
    let begin = text.find("nat_ip_configurations = [").ok_or("no NAT IPs in the file")?;
    let end = begin + text[begin..].find('\n').ok_or("no end of the line")?;
    let entries: Vec<String> = nat_ips
        .iter()
        .map(|nat_ip| format!("{{ name = \"nat-{nat_ip}\", private_ip_address = \"{nat_ip}\" }}"))
        .collect();
    let line = format!("nat_ip_configurations = [{}]", entries.join(", "));
    Ok([&text[..begin], &line, &text[end..]].concat())
}

fn reload(world: &mut World, nat_ips: &[Ipv4Addr], drain: &str) -> Outcome {
    world.config.service_settings = format!("nat_ip_drain_timeout = {drain:?}\n");
    world.adit.configure(&configuration(world, nat_ips)?)?;
    world.adit.ask(&["reload"]).map(|_| ())
}

fn leaving(world: &World) -> Result<Vec<Value>, Failure> {
    let answer = world.adit.ask(&["services"])?;
    let service = list(&answer, "services")?.iter().find(|service| service["name"] == "web");
    Ok(list(service.ok_or("there is no service web")?, "leaving_nat_ips")?.clone())
}

fn last_one_stays(world: &World) -> Outcome {
    world.adit.configure(&configuration(world, &[])?)?;
    let output = world.adit.command(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
    ensure!(said.contains("the last one cannot be taken away"), "{said}");
    world.adit.configure(&configuration(world, &NAT_IPS)?)?;
    world.adit.ask(&["reload"]).map(|_| ())
}

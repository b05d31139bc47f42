//! Both families by Azure's client: dual-stack subnets, a frontend and NAT IPs of IPv6, backends of
//! both families under one probe, endpoints of IPv6 and of both families. curl and nginx say what
//! it comes to.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};

use lab::Process;
use rustix::process::Signal;
use serde_json::json;

use super::super::web::{Site, curl_at, start_nginx_at};
use super::sdk::Sdk;
use super::{SILENCE, restart};
use crate::case::{Failure, Outcome, PATIENCE, wait_until};
use crate::world::{BACKENDS, World, port};

const CLIENT_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10);
const BACKEND_6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x10);
/// Calls that none of two backends gets none of by chance.
const CALLS: usize = 24;

pub(super) fn all(world: &mut World, python: &str) -> Outcome {
    for (station, address) in [(world.a(), CLIENT_6), (&world.backends[0].station, BACKEND_6)] {
        station.namespace().enable_ipv6()?;
        station.near()?.add_address(address, 64)?;
    }
    let mut servers = Vec::new();
    for (backend, address) in backends().into_iter().enumerate() {
        let at = SocketAddr::new(address, port::NGINX.1);
        let files = world.adit.directory();
        servers.push(start_nginx_at(files, &world.backends[backend], at, Site::Plain)?);
    }
    restart(world)?;
    let mut sdk = Sdk::start(world, python)?;
    provide(&mut sdk)?;
    let endpoint = consume(&mut sdk)?;
    for address in both() {
        serves(world, address)?;
    }
    serves(world, endpoint)?;
    crash(world, &mut sdk, python, endpoint)?;
    probed(world, servers, endpoint)?;
    world.wait_for_balance()
}

fn backends() -> [IpAddr; 2] {
    [BACKEND_6.into(), BACKENDS[1].into()]
}

fn provide(sdk: &mut Sdk) -> Outcome {
    let made = sdk.ok("dual_networks")?;
    ensure!(made == json!(["10.0.0.0/24", "fd00::/64"]), "the subnet has {made}");
    sdk.refused("dual_subnet fd00:0:0:1::/80", "NetcfgInvalidSubnet")?;
    let [six, four] = backends();
    let front = sdk.ok(&format!("dual_balancer {} {six} {four}", port::NGINX.1))?;
    ensure!(front == json!(["fd01:0:0:1::4", "IPv6"]), "the frontend is {front}");
    sdk.refused("dual_service IPv4", "ResourceConflict")?;
    let made = sdk.ok("dual_service IPv4 IPv6")?;
    ensure!(made == json!([["10.1.0.4", "IPv4"], ["fd01::4", "IPv6"]]), "the NAT IPs are {made}");
    Ok(())
}

/// An endpoint of IPv6, approved; where it is.
fn consume(sdk: &mut Sdk) -> Result<IpAddr, Failure> {
    sdk.refused("dual_endpoint pe-6 IPv6 10.0.0.5", "InvalidIPAddressVersion")?;
    sdk.refused("dual_endpoint pe-6 IPv6 fd00::2", "PrivateIPAddressInReservedRange")?;
    let made = sdk.ok("dual_endpoint pe-6 IPv6")?;
    ensure!(made == json!(["IPv6", [["fd00::4", "IPv6"]]]), "the endpoint is {made}");
    let both = sdk.ok("dual_endpoint pe-both DualStack 10.0.0.9")?;
    let wanted = json!(["DualStack", [["10.0.0.9", "IPv4"], ["fd00::5", "IPv6"]]]);
    ensure!(both == wanted, "the endpoint of both families is {both}");
    sdk.ok("decide pe-both Approved")?;
    sdk.refused("dual_endpoint pe-7 IPv6 fd00::4", "PrivateIPAddressInUse")?;
    sdk.ok("decide pe-6 Approved")?;
    Ok(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4).into())
}

/// Both backends answer calls to an endpoint, each from the NAT IP of its family.
fn serves(world: &World, endpoint: IpAddr) -> Outcome {
    wait_for_healthy(world, 2)?;
    let to = SocketAddr::new(endpoint, 80);
    let nat_ips = ["fd01::4", "10.1.0.4"];
    let mut seen = [0; 2];
    for _ in 0..CALLS {
        let body = curl_at(world.a(), to, "hello")?;
        let words = String::from_utf8_lossy(&body).trim().to_owned();
        let answers = [0, 1]
            .map(|at: usize| format!("{} saw {}", world.backends[at].station.name(), nat_ips[at]));
        let at = answers.iter().position(|answer| *answer == words);
        seen[at.ok_or_else(|| format!("nginx answered {words:?}, not {answers:?}"))?] += 1;
    }
    ensure!(seen.iter().all(|count| *count > 0), "{endpoint}: the backends served {seen:?}");
    Ok(())
}

fn crash(world: &mut World, sdk: &mut Sdk, python: &str, endpoint: IpAddr) -> Outcome {
    world.adit.signal(Signal::KILL)?;
    world.adit.wait(PATIENCE)?;
    world.adit.start_with(&["--arm", "127.0.0.1:0"])?;
    *sdk = Sdk::start(world, python)?;
    let made = sdk.ok("dual_service IPv4 IPv6")?;
    ensure!(made[1] == json!(["fd01::4", "IPv6"]), "a replaced service has {made}");
    wait_for_healthy(world, 2)?;
    for address in both() {
        serves(world, address)?;
    }
    // One decision is about both of its addresses.
    sdk.ok("decide pe-both Rejected")?;
    for address in both() {
        let to = SocketAddr::new(address, 80);
        let call = || TcpStream::connect_timeout(&to, SILENCE).is_err();
        ensure!(world.a().namespace().run(call)?, "{to} answers after the rejection");
    }
    serves(world, endpoint)
}

/// Where the endpoint of both families is.
fn both() -> [IpAddr; 2] {
    [[10, 0, 0, 9].into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5).into()]
}

/// The server of IPv6 ends, and the other serves alone.
fn probed(world: &World, mut servers: Vec<Process>, endpoint: IpAddr) -> Outcome {
    drop(servers.remove(0));
    wait_for_healthy(world, 1)?;
    for _ in 0..CALLS {
        let body = curl_at(world.a(), SocketAddr::new(endpoint, 80), "hello")?;
        let words = String::from_utf8_lossy(&body).into_owned();
        ensure!(words.starts_with(world.backends[1].station.name()), "{words:?} answered");
    }
    Ok(())
}

fn wait_for_healthy(world: &World, count: u64) -> Outcome {
    wait_until(&format!("{count} backends are healthy"), || {
        Ok(world.adit.status("backends_healthy")? == count)
    })
}

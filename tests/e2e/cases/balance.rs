//! Which backend serves whom: session persistence, ports that lead everywhere or to one backend,
//! and backends that take no new connections.

use std::net::SocketAddrV4;

use lab::client::{Session, SessionState, http_get, udp_exchange};

use super::{FAST, PACKET, PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, PATIENCE, wait_until};
use crate::world::{BACKENDS, CLIENT, World, dial, port, rule};

/// Connections of a client: that all of them meet one of three backends is no chance.
const CONNECTIONS: u16 = 30;

pub(super) const CASES: &[Case] = &[
    Case::new("balance::persistence_packet_2_workers", PACKET_2, persistence),
    Case::new("balance::persistence_tap_1_worker", TAP, persistence),
    Case::new("balance::all_ports_packet_1_worker", PACKET, all_ports),
    Case::new("balance::all_ports_tap_1_worker", TAP, all_ports),
    Case::new("balance::admin_state_packet_2_workers", PACKET_2, admin_state),
    Case::new("balance::drain_packet_2_workers", PACKET_2, drain),
    Case::new("balance::drain_fast_path_1_worker", FAST, drain),
];

/// Connections that each backend's web server has had.
fn served(world: &World) -> [u64; 3] {
    let mut served = [0; 3];
    for (count, backend) in served.iter_mut().zip(&world.backends) {
        *count = backend.http.connections();
    }
    served
}

/// Makes connections from a, and says how many each backend served.
fn connect(world: &World, to: (u16, u16), count: u16) -> Result<[u64; 3], Failure> {
    let before = served(world);
    world.a().namespace().run(|| -> Outcome {
        for at in 0..count {
            let source = SocketAddrV4::new(CLIENT, 31_000 + at);
            let status = http_get(&dial(to).from(source), "/")?.status;
            ensure!(status == 200, "connection {at} was answered {status}");
        }
        Ok(())
    })??;
    let mut after = served(world);
    after.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    Ok(after)
}

/// All connections of a client, whatever their ports, meet one backend; without persistence three.
fn persistence(world: &mut World) -> Outcome {
    let sticky = rule("sticky", "Tcp", (90, port::HTTP.1), "all");
    world.config.more_rules = sticky.replace(" },", ", load_distribution = \"SourceIP\" },");
    world.reload()?;
    let spread = connect(world, port::HTTP, CONNECTIONS)?;
    ensure!(spread.iter().all(|count| *count > 0), "without persistence: {spread:?}");
    let stuck = connect(world, (90, port::HTTP.1), CONNECTIONS)?;
    ensure!(stuck.contains(&CONNECTIONS.into()), "with persistence: {stuck:?}");
    world.wait_for_balance()
}

/// A rule for all ports leads to the port that was dialled, an inbound NAT rule to one backend, and
/// a rule for a port goes before.
fn all_ports(world: &mut World) -> Outcome {
    world.config.more_rules = rule("ha", "All", (0, 0), "first");
    world.config.more_of_balancer = format!(
        "inbound_nat_rule = [{{ name = \"third\", protocol = \"Tcp\", frontend_port = 9003, \
         backend_ip_address = \"{}\", backend_port = {} }}]\n",
        BACKENDS[2],
        port::HTTP.1
    );
    world.reload()?;
    let (web, echo) = (port::HTTP.1, port::ECHO.1);
    let [first, second, third] = connect(world, (web, web), 6)?;
    ensure!((first, second, third) == (6, 0, 0), "all ports: {:?}", (first, second, third));
    let datagrams = world.backends[0].udp.datagrams();
    world.a().namespace().run(|| udp_exchange(&dial((echo, echo)), "any port"))??;
    ensure!(world.backends[0].udp.datagrams() == datagrams + 1, "the first did not answer it");
    let translated = connect(world, (9003, web), 6)?;
    ensure!(translated == [0, 0, 6], "inbound NAT: {translated:?}");
    let exact = connect(world, port::HTTP, CONNECTIONS)?;
    ensure!(exact.iter().all(|count| *count > 0), "the rule for the port: {exact:?}");
    world.wait_for_balance()
}

/// A backend whose administrator says Down keeps its connections and gets no new ones.
fn admin_state(world: &mut World) -> Outcome {
    let lone = rule("lone", "Tcp", (90, port::HTTP.1), "lone");
    let pool = |state: &str| {
        format!(
            "  {{ name = \"lone\", backend_addresses = [{{ ip_address = \"{}\", admin_state = \
             \"{state}\" }}, {{ ip_address = \"{}\", admin_state = \"Down\" }}] }},\n",
            BACKENDS[0], BACKENDS[1]
        )
    };
    (world.config.more_rules, world.config.more_pools) = (lone, pool("Up"));
    world.reload()?;
    let to = (90, port::HTTP.1);
    let mut kept = world.a().namespace().run(|| Session::open(&dial(to)))??;
    ensure!(kept.http_get("/")?.status == 200, "the session does not begin");
    ensure!(connect(world, to, 5)? == [5, 0, 0], "a backend that is down was asked");
    world.config.more_pools = pool("Down");
    world.reload()?;
    ensure!(kept.http_get("/")?.status == 200, "the session ended with its backend's state");
    let before = world.adit.drops("no_healthy_backend")?;
    let refused = world
        .a()
        .namespace()
        .run(|| http_get(&dial(to).within(std::time::Duration::from_millis(300)), "/").is_err())?;
    ensure!(refused, "a connection was made to a pool that is down");
    world.adit.wait_for_drops("no_healthy_backend", before + 1)?;
    ensure!(kept.http_get("/")?.status == 200, "the session ended");
    world.wait_for_balance()
}

/// A backend that is taken down keeps its connections until its time to drain is over; then both
/// sides are reset. One that comes up before keeps them for good.
fn drain(world: &mut World) -> Outcome {
    let pool = |state: &str, seconds: u32| {
        format!(
            "  {{ name = \"lone\", drain_period_in_seconds = {seconds}, backend_addresses = [{{ \
             ip_address = \"{}\", admin_state = \"{state}\" }}, \"{}\"] }},\n",
            BACKENDS[0], BACKENDS[1]
        )
    };
    let put = |world: &mut World, state: &str, seconds: u32| {
        world.config.more_pools = pool(state, seconds);
        world.reload().map(drop)
    };
    world.config.more_rules = rule("lone", "Tcp", (90, port::ECHO.1), "lone");
    put(world, "Up", 1)?;
    let mut sessions: [Vec<Session>; 2] = Default::default();
    let (first, second) = ("backend-1", "backend-2");
    while sessions.iter().any(Vec::is_empty) {
        let dial = dial((90, port::ECHO.1));
        let mut session = world.a().namespace().run(|| Session::open(&dial))??;
        let backend = session.exchange("hello")?.backend;
        sessions[usize::from(backend == second)].push(session);
    }
    put(world, "Down", 3600)?;
    let said = world.adit.command(&["services"])?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains("(Down, drains for 3600 s, takes no new flows)"), "{said}");
    for session in &mut sessions[0] {
        ensure!(session.exchange("while it drains")?.backend == first, "another answered");
    }
    put(world, "None", 3600)?;
    put(world, "Down", 1)?;
    for session in &mut sessions[0] {
        let end = session.wait_for_end(PATIENCE)?;
        ensure!(end == SessionState::Reset, "a connection whose backend has drained is {end:?}");
    }
    let line = format!("backend {} of lb had its time to drain", BACKENDS[0]);
    wait_until("the log says so", || Ok(world.adit.log().contains(&line)))?;
    for session in &mut sessions[1] {
        ensure!(session.exchange("the other goes on")?.backend == second, "another answered");
    }
    world.wait_for_balance()
}

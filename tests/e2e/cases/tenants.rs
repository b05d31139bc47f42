//! Two tenants with the same addresses at once: HTTP from both, and live connections whose
//! addresses and ports are byte for byte the same.

use std::net::SocketAddrV4;

use lab::client::{Session, http_get};

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP, TAP_2};
use crate::case::{Case, Failure, Outcome};
use crate::world::{CLIENT, ENDPOINT, NAT_IPS, World, dial, number, port, text};

const REQUESTS: usize = 40;
/// Below those that a kernel hands out.
const TWINS: [u16; 4] = [20_001, 20_002, 20_003, 20_004];

pub(super) const CASES: &[Case] = &[
    Case::new("tenants::packet_1_worker", PACKET, tenants),
    Case::new("tenants::packet_2_workers", PACKET_2, tenants),
    Case::new("tenants::fast_path_1_worker", FAST, tenants),
    Case::new("tenants::fast_path_2_workers", FAST_2, tenants),
    Case::new("tenants::tap_1_worker", TAP, tenants),
    Case::new("tenants::tap_2_workers", TAP_2, tenants),
];

fn tenants(world: &mut World) -> Outcome {
    http_from_both(world)?;
    twins(world)?;
    for peer in world.peers() {
        ensure!(NAT_IPS.contains(peer.ip()), "a backend saw {peer}");
    }
    world.wait_for_balance()
}

fn http_from_both(world: &World) -> Outcome {
    world.both(|_| -> Result<(), Failure> {
        for _ in 0..REQUESTS {
            let answer = http_get(&dial(port::HTTP), "/")?.answer()?;
            ensure!(NAT_IPS.contains(answer.peer.ip()), "the backend saw {}", answer.peer);
        }
        Ok(())
    })?;
    let served: u64 = world.backends.iter().map(|backend| backend.http.connections()).sum();
    ensure!(served == 2 * REQUESTS as u64, "{served} connections were served");
    Ok(())
}

/// The same source address and port, destination and port, in both networks at the same time.
fn twins(world: &World) -> Outcome {
    let mut sessions = world.both(|_| {
        let open = |port: &u16| {
            Ok(Session::open(&dial(port::ECHO).from(SocketAddrV4::new(CLIENT, *port)))?)
        };
        TWINS.iter().map(open).collect::<Result<Vec<Session>, Failure>>()
    })?;
    for round in 0..20 {
        for (name, sessions) in ["a", "b"].into_iter().zip(&mut sessions) {
            for session in sessions {
                let words = format!("{name} {} {round}", session.local().port());
                let answer = session.exchange(&words)?;
                ensure!(answer.payload == words, "{words:?} was answered {:?}", answer.payload);
            }
        }
    }
    check_sessions(world)
}

/// adit knows both of each pair, and has translated them differently.
fn check_sessions(world: &World) -> Outcome {
    let sessions = world.adit.sessions()?;
    for twin in TWINS {
        let mut seen = Vec::new();
        for session in &sessions {
            // Another conversation may have met the same client port.
            let is_echo = number(session, "endpoint_port")? == u64::from(port::ECHO.0);
            let is_tcp = text(session, "protocol")? == "tcp";
            if !(is_echo && is_tcp && number(session, "client_port")? == u64::from(twin)) {
                continue;
            }
            ensure!(text(session, "client")? == CLIENT.to_string(), "client in {session}");
            ensure!(text(session, "endpoint_address")? == ENDPOINT.to_string(), "in {session}");
            let lease = (text(session, "nat_ip")?, number(session, "nat_port")?);
            let network = text(session, "virtual_network")?;
            seen.push((network, lease, text(session, "backend")?));
        }
        seen.sort_unstable();
        let [first, second] = seen.as_slice() else {
            return Err(format!("port {twin} has not two sessions: {seen:?}").into());
        };
        ensure!((first.0, second.0) == ("a", "b"), "the networks of {seen:?}");
        ensure!((first.1, first.2) != (second.1, second.2), "one tuple for two flows: {seen:?}");
    }
    Ok(())
}

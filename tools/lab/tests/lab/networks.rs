//! Tests of namespaces and links, each on networks that it makes itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::thread;

use lab::backend::{HttpServer, TcpEcho, UdpEcho, UdpSink};
use lab::client::{
    ConnectOutcome, Dial, PingOutcome, Session, download, http_get, ping, tcp_connect,
};
use lab::{Host, HostPlan, Link, LinkEnd, LinkState, MacAddr, Namespace, Process, sandbox};

use crate::world::{BRIEFLY, CLIENT, HTTP, SERVER, SOON, World, devices, eventually};
use crate::{Outcome, Test};

pub(crate) const CASES: &[Test] = &[
    ("sandbox::shows_only_loopback", sandbox_shows_only_loopback),
    ("sandbox::checking_changes_nothing", checking_changes_nothing),
    ("namespace::children_run_inside_and_end_with_their_handle", children_run_inside),
    ("namespace::settings_are_its_own", settings_are_its_own),
    ("namespace::the_same_address_twice_at_once", same_address_twice),
    ("namespace::nothing_is_left_behind", nothing_is_left_behind),
    ("link::state_is_read_and_changed", state_is_read_and_changed),
    ("link::errors_name_the_device", errors_name_the_device),
    ("link::deleting_one_end_deletes_the_other", deleting_one_end),
    ("link::down_stops_and_up_restores", down_and_up),
    ("link::a_moved_link_works_there", moved_link),
    ("link::a_bridge_joins_three_hosts", bridge_joins_hosts),
    ("link::routes_and_neighbours_lead_through_a_router", routed),
    ("link::a_new_host_answers_at_once", new_host_answers_at_once),
    ("link::new_links_are_silent", new_links_are_silent),
];

fn sandbox_shows_only_loopback() -> Outcome {
    assert_eq!(devices()?, ["lo"]);
    assert_eq!(Namespace::create("empty")?.run(devices)??, ["lo"]);
    let loopback = Link::find(&Namespace::current()?, "lo")?;
    assert!(loopback.state()?.up);
    Ok(())
}

fn checking_changes_nothing() -> Outcome {
    let before = std::fs::read_link("/proc/self/ns/net")?;
    // Inside, everybody is root.
    assert_eq!(sandbox::check()?, sandbox::Privilege::Root);
    assert!(sandbox::entered().is_some());
    let inside = sandbox::enter().map_err(|error| error.to_string());
    assert!(inside.is_err_and(|text| text.contains("first thing in main")));
    assert_eq!(std::fs::read_link("/proc/self/ns/net")?, before);
    Ok(())
}

fn children_run_inside() -> Outcome {
    let world = World::create()?;
    let program = std::env::current_exe()?;
    let output = world.client.namespace().command(&program)?.arg("--child-devices").output()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "lo eth0\n");

    let mut command = world.server.command(&program)?;
    command.arg("--child-wait").stdin(Stdio::piped());
    let mut child = Process::start(command)?;
    let pid = child.child().id();
    let own = format!("/proc/{pid}/ns/net");
    let late = child.wait(BRIEFLY).map(|status| status.to_string());
    assert_eq!(late.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    // Both lead to the same inode of the namespace file system.
    assert_eq!(std::fs::read_link(own)?, std::fs::read_link(world.server.path())?);
    drop(child);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());

    let mut command = world.server.command(&program)?;
    command.arg("--child-wait").stdin(Stdio::null());
    assert!(Process::start(command)?.wait(SOON)?.success());
    let absent = Process::start(world.server.command("/no/such/program")?);
    assert_eq!(absent.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    Ok(())
}

fn settings_are_its_own() -> Outcome {
    let (first, second) = (Namespace::create("first")?, Namespace::create("second")?);
    let setting = "ipv4/ip_default_ttl";
    let before = second.sysctl(setting)?;
    if let Err(error) = first.set_sysctl(setting, "17") {
        // A container may mount /proc/sys read-only; then there is nothing to try.
        assert!(error.to_string().contains(setting), "{error}");
        return Ok(());
    }
    assert_eq!(first.sysctl(setting)?, "17");
    assert_eq!(second.sysctl(setting)?, before);
    let ipv6 = "ipv6/conf/default/disable_ipv6";
    if let Ok(off) = first.sysctl(ipv6) {
        assert_eq!(off, "1");
    }
    Ok(())
}

fn same_address_twice() -> Outcome {
    let (red, blue) = (World::create()?, World::create()?);
    let _red_server = HttpServer::start(&red.server, HTTP, "red")?;
    let _blue_server = HttpServer::start(&blue.server, HTTP, "blue")?;
    let source = SocketAddrV4::new(CLIENT, 40_000);
    for (world, name) in [(&red, "red"), (&blue, "blue")] {
        let dial = Dial::to(HTTP).from(source);
        let answer = world.client.run(|| http_get(&dial, "/"))??.answer()?;
        assert_eq!((answer.backend.as_str(), answer.peer), (name, source));
    }
    Ok(())
}

fn nothing_is_left_behind() -> Outcome {
    let count = |path| std::fs::read_dir(path).map(Iterator::count);
    // The first namespaces and sockets may leave what the process needs only once.
    drop(World::create()?);
    let before = (count("/proc/self/fd")?, count("/proc/self/task")?);
    let outside = Namespace::create("outside")?;
    for round in 0..10 {
        let address = Ipv4Addr::new(10, 0, 1, 1);
        let host = Host::create(&HostPlan::new("host", address, 24), &outside, "peer")?;
        let at = |port| SocketAddrV4::new(address, port);
        let http = HttpServer::start(host.namespace(), at(80), "http")?;
        let echo = TcpEcho::start(host.namespace(), at(7), "tcp")?;
        let udp = UdpEcho::start(host.namespace(), at(7), "udp")?;
        let sink = UdpSink::start(host.namespace(), at(9), "sink")?;
        let session = host.run(|| Session::open(&Dial::to(echo.address())))??;
        assert_eq!(host.run(|| http_get(&Dial::to(http.address()), "/"))??.status, 200);
        drop(http);
        // With its session still open.
        drop(echo);
        drop(session);
        // A server's socket keeps its namespace as a handle does.
        drop((udp, sink, host));
        eventually("the peer is gone", || Link::find(&outside, "peer").is_err())
            .map_err(|error| format!("round {round}: {error}"))?;
    }
    drop(outside);
    eventually("descriptors and threads are as before", || {
        count("/proc/self/fd").is_ok_and(|fds| fds == before.0)
            && count("/proc/self/task").is_ok_and(|tasks| tasks == before.1)
    })?;
    Ok(())
}

fn state_is_read_and_changed() -> Outcome {
    let (left, right) = (Namespace::create("left")?, Namespace::create("right")?);
    let mac: MacAddr = "02:00:00:00:00:01".parse()?;
    let (a, b) = Link::veth(
        &LinkEnd::new(&left, "a").mac(mac).mtu(9000),
        &LinkEnd::new(&right, "b").queues(4),
    )?;
    let LinkState { up, running, mtu, mac: seen, .. } = a.state()?;
    assert_eq!((up, running, mtu, seen), (false, false, 9000, mac));
    assert_eq!(b.state()?.mtu, 1500);
    a.up()?;
    assert!(a.state()?.up && !a.state()?.running, "the peer is still down");
    b.up()?;
    assert!(a.state()?.running && b.state()?.running);
    b.set_mtu(4000)?;
    let other: MacAddr = "02:00:00:00:00:02".parse()?;
    b.set_mac(other)?;
    assert_eq!((b.state()?.mtu, b.mac()?), (4000, other));
    assert_ne!(a.index(), 0);
    assert_eq!(Link::find(&left, "a")?.index(), a.index());
    Ok(())
}

fn errors_name_the_device() -> Outcome {
    let world = World::create()?;
    let eth0 = world.client.device();
    let kind = |result: Result<(), lab::LabError>| result.map_err(|error| error.kind());
    assert_eq!(kind(eth0.add_address(CLIENT, 24)), Err(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(eth0.set_mtu(1)), Err(io::ErrorKind::InvalidInput));
    let Err(error) = eth0.add_default_route(Ipv4Addr::new(192, 0, 2, 1)) else {
        return Err("a gateway out of reach was taken".into());
    };
    let text = error.to_string();
    assert!(text.starts_with("add route to eth0 in client (0.0.0.0/0): "), "{text}");
    // The kernel's own words, where it has them.
    assert!(text.contains("gateway") || text.contains("unreachable"), "{text}");
    let twice =
        Link::veth(&LinkEnd::new(&world.server, "lan"), &LinkEnd::new(&world.server, "other"));
    assert_eq!(kind(twice.map(drop)), Err(io::ErrorKind::AlreadyExists));
    assert!(Link::find(&world.server, "other").is_err(), "half a pair was made");
    let long = Link::veth(
        &LinkEnd::new(&world.server, "sixteen-letters-"),
        &LinkEnd::new(&world.server, "other"),
    );
    assert!(long.is_err());
    assert!(Link::find(&world.server, "absent").is_err());
    Ok(())
}

fn new_host_answers_at_once() -> Outcome {
    for round in 0..20 {
        let world = World::create()?;
        // A first packet that is dropped would cost the second that ARP waits.
        let outcome = world.server.run(|| ping(CLIENT, BRIEFLY))??;
        assert!(outcome.answered(), "round {round}");
    }
    Ok(())
}

fn deleting_one_end() -> Outcome {
    let world = World::create()?;
    assert_eq!(world.server.run(devices)??, ["lo", "lan"]);
    world.client.device().clone().delete()?;
    assert_eq!(world.server.run(devices)??, ["lo"]);
    assert_eq!(world.client.run(devices)??, ["lo"]);
    assert!(world.client.device().state().is_err());
    assert!(world.client.peer().clone().delete().is_err());
    Ok(())
}

fn down_and_up() -> Outcome {
    let world = World::create()?;
    let echo = TcpEcho::start(&world.server, SocketAddrV4::new(SERVER, 7), "echo")?;
    let dial = Dial::to(echo.address());
    let mut session = world.client.run(|| Session::open(&dial.within(SOON)))??;
    assert_eq!(session.exchange("before")?.payload, "before");
    world.client.peer().down()?;
    assert!(!world.client.device().state()?.running);
    let connect = world.client.run(|| tcp_connect(&dial.within(BRIEFLY)))??;
    assert_eq!(connect, ConnectOutcome::TimedOut);
    world.client.peer().up()?;
    assert_eq!(world.client.run(|| tcp_connect(&dial))??, ConnectOutcome::Connected);
    assert_eq!(session.exchange("after")?.payload, "after");
    Ok(())
}

fn moved_link() -> Outcome {
    let (left, right) = (Namespace::create("left")?, Namespace::create("right")?);
    let (a, b) = Link::veth(&LinkEnd::new(&left, "a"), &LinkEnd::new(&left, "b"))?;
    let b = b.move_to(&right)?;
    assert_eq!(left.run(devices)??, ["lo", "a"]);
    a.add_address(CLIENT, 24)?;
    b.add_address(SERVER, 24)?;
    a.up()?;
    b.up()?;
    a.wait_until_running(SOON)?;
    assert!(left.run(|| ping(SERVER, SOON))??.answered());
    b.remove_address(SERVER, 24)?;
    assert!(!left.run(|| ping(SERVER, BRIEFLY))??.answered());
    Ok(())
}

fn bridge_joins_hosts() -> Outcome {
    let switch = Namespace::create("switch")?;
    let bridge = Link::bridge(&switch, "br0")?;
    let address = |n| Ipv4Addr::new(10, 0, 0, n);
    let mut hosts = Vec::new();
    for n in 1..=3 {
        let plan = HostPlan::new(&format!("host{n}"), address(n), 24);
        let host = Host::create(&plan, &switch, &format!("p{n}"))?;
        host.peer().join_bridge(&bridge)?;
        hosts.push(host);
    }
    for host in &hosts {
        for n in 1..=3 {
            assert!(host.run(|| ping(address(n), SOON))??.answered(), "{host:?} to {n}");
        }
    }
    Ok(())
}

fn routed() -> Outcome {
    let router = Namespace::create("router")?;
    let gateways = [Ipv4Addr::new(10, 1, 0, 254), Ipv4Addr::new(10, 2, 0, 254)];
    let plan = HostPlan::new("east", Ipv4Addr::new(10, 1, 0, 1), 24).gateway(gateways[0]);
    let east = Host::create(&plan, &router, "east")?;
    let west = Host::create(
        &HostPlan::new("west", Ipv4Addr::new(10, 2, 0, 1), 24).mtu(1400),
        &router,
        "west",
    )?;
    for (host, gateway) in [(&east, gateways[0]), (&west, gateways[1])] {
        host.peer().add_address(gateway, 24)?;
        // Nobody asks by ARP any more.
        host.device().add_neighbour(gateway, host.peer().mac()?)?;
        host.peer().add_neighbour(host.address(), host.device().mac()?)?;
    }
    west.device().add_route(Ipv4Addr::new(10, 1, 0, 0), 16, Some(gateways[1]))?;
    if router.set_sysctl("ipv4/ip_forward", "1").is_err() {
        println!("(not forwarded: /proc/sys is read-only) ");
        return Ok(());
    }
    assert!(east.run(|| ping(west.address(), SOON))??.answered());
    let at = SocketAddrV4::new(west.address(), 80);
    let _server = HttpServer::start(west.namespace(), at, "west")?;
    let answer = east.run(|| http_get(&Dial::to(at), "/"))??.answer()?;
    assert_eq!(*answer.peer.ip(), east.address());
    assert_eq!(east.run(|| download(&Dial::to(at), 100_000))??.bytes, 100_000);
    // The router says so itself.
    let nowhere = east.run(|| ping(Ipv4Addr::new(10, 3, 0, 1), SOON))??;
    assert_eq!(nowhere, PingOutcome::Unreachable);
    Ok(())
}

fn new_links_are_silent() -> Outcome {
    let world = World::create()?;
    // Duplicate address detection and listener reports would come within a second.
    thread::sleep(BRIEFLY * 8);
    for link in [world.client.device(), world.client.peer()] {
        assert_eq!(link.counters()?.tx_packets, 0, "{link}");
    }
    Ok(())
}

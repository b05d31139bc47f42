//! The two-host network that most tests use, and what their child processes do.

use std::fs;
use std::io;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use lab::{Host, HostPlan, LabError, Namespace};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const HTTP: SocketAddrV4 = SocketAddrV4::new(SERVER, 80);
/// Long enough for a slow machine to answer, never waited for when it does.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Waited for in full where no answer is expected.
pub(crate) const BRIEFLY: Duration = Duration::from_millis(150);

/// A client host on a veth pair whose other end is the server's `lan`.
pub(crate) struct World {
    pub(crate) client: Host,
    pub(crate) server: Namespace,
}

impl World {
    pub(crate) fn create() -> Result<Self, LabError> {
        let server = Namespace::create("server")?;
        let client = Host::create(&HostPlan::new("client", CLIENT, 24), &server, "lan")?;
        client.peer().add_address(SERVER, 24)?;
        Ok(Self { client, server })
    }
}

/// The devices of the calling thread's namespace.
pub(crate) fn devices() -> io::Result<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = table.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_string()).collect())
}

/// Waits for something that the kernel does a little later.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) -> Result<(), String> {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..SOON.as_millis() / STEP.as_millis() {
        if happened() {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
    Err(format!("did not happen in {SOON:?}: {what}"))
}

/// This program as its own child, so that the tests need no other program.
pub(crate) fn play_child(role: &str) -> ExitCode {
    match role {
        "devices" => devices().map(|names| println!("{}", names.join(" "))),
        // Until standard input ends, that is until the parent lets go or kills.
        "wait" => io::stdin().read_to_end(&mut Vec::new()).map(drop),
        "check" => {
            let allowed = lab::sandbox::check();
            println!("{}", allowed.map_or_else(|e| e.to_string(), |how| format!("{how:?}")));
            Ok(())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
    .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

//! Who is measured: adit as its users run it, and others with the same task.

mod adit;
mod forward;
mod haproxy;
mod nftables;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::snapshot::DeviceKind;
use lab::client::{ConnectOutcome, Dial, tcp_connect};
use lab::sandbox::{self, Privilege};
use lab::{LabError, Process};

use super::topology::{ANSWER_PORT, ENDPOINT, Ties, Topology};
pub use adit::NAME as ADIT;
use forward::Forwarder;
pub(super) use forward::open_device;

/// A contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// adit, one worker, without the kernel's fast path.
    Adit(DeviceKind),
    /// adit over packet sockets, one worker, with the kernel's fast path.
    FastPath,
    /// nftables, destination and source NAT.
    Nftables,
    /// HAProxy as a TCP proxy, one thread. Knows no UDP.
    Haproxy,
    /// Frames copied from one interface to the other with the crate pnet, nothing translated. Its
    /// hosts' offloads are off, since it knows none.
    Pnet,
    /// The same with adit's own devices.
    Null(DeviceKind),
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Adit(DeviceKind::AfPacket),
        Kind::Adit(DeviceKind::AfXdp),
        Kind::Adit(DeviceKind::Tap),
        Kind::FastPath,
        Kind::Nftables,
        Kind::Haproxy,
        Kind::Pnet,
        Kind::Null(DeviceKind::AfPacket),
        Kind::Null(DeviceKind::AfXdp),
        Kind::Null(DeviceKind::Tap),
    ];

    /// Its name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Adit(DeviceKind::AfPacket) => "adit-af_packet",
            Kind::Adit(DeviceKind::AfXdp) => "adit-af_xdp",
            Kind::Adit(DeviceKind::Tap) => "adit-tap",
            Kind::FastPath => "adit-fast_path",
            Kind::Nftables => "nftables",
            Kind::Haproxy => "haproxy",
            Kind::Pnet => "pnet",
            Kind::Null(DeviceKind::AfPacket) => "null-af_packet",
            Kind::Null(DeviceKind::AfXdp) => "null-af_xdp",
            Kind::Null(DeviceKind::Tap) => "null-tap",
        }
    }

    /// How its client and server are tied to it.
    fn ties(self) -> Ties {
        match self {
            Kind::Adit(DeviceKind::Tap) | Kind::Null(DeviceKind::Tap) => Ties::Taps,
            _ => Ties::Cables,
        }
    }

    /// Whether it forwards datagrams.
    #[must_use]
    pub fn knows_udp(self) -> bool {
        self != Kind::Haproxy
    }
}

/// A contender at work.
pub(super) struct Contender {
    topology: Topology,
    /// What does the work outside of the kernel and of this process.
    process: Option<Process>,
    // End with the contender.
    _forwarder: Option<Forwarder>,
    _directory: Option<Directory>,
}

impl Contender {
    pub(super) fn start(kind: Kind) -> Result<Contender, LabError> {
        let needs_root = matches!(
            kind,
            Kind::Adit(DeviceKind::AfXdp) | Kind::Null(DeviceKind::AfXdp) | Kind::FastPath
        );
        if needs_root && sandbox::entered() != Some(Privilege::Root) {
            let source = io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it needs root outside of any sandbox",
            );
            return Err(LabError::new("start", kind.name(), source));
        }
        let topology = Topology::build(kind.name(), kind.ties())?;
        let contender = match kind {
            Kind::Adit(device) => adit::start(topology, device, false)?,
            Kind::FastPath => adit::start(topology, DeviceKind::AfPacket, true)?,
            Kind::Nftables => nftables::start(topology)?,
            Kind::Haproxy => haproxy::start(topology)?,
            Kind::Pnet => forward::start_pnet(topology)?,
            Kind::Null(device) => forward::start_null(topology, device)?,
        };
        wait_until_it_works(kind, &contender.topology)?;
        Ok(contender)
    }

    fn of(topology: Topology) -> Contender {
        Contender { topology, process: None, _forwarder: None, _directory: None }
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Processor time that its process has used so far.
    pub(super) fn processor_time(&mut self) -> Duration {
        let Some(process) = &mut self.process else { return Duration::ZERO };
        ticks(process.child().id()).unwrap_or_default()
    }
}

/// User and system time of a process: fields 14 and 15 of proc_pid_stat(5), in hundredths.
fn ticks(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis((field(11)? + field(12)?) * 10))
}

fn feed(mut command: Command, input: &str) -> io::Result<()> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn wait_until_it_works(kind: Kind, topology: &Topology) -> Result<(), LabError> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let dial = Dial::to(std::net::SocketAddrV4::new(ENDPOINT, ANSWER_PORT));
    let dial = dial.within(Duration::from_millis(500));
    while Instant::now() < deadline {
        match topology.client.run(|| tcp_connect(&dial))? {
            Ok(ConnectOutcome::Connected) => return Ok(()),
            // It may not listen yet.
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let source = io::Error::new(io::ErrorKind::TimedOut, "no connection in 15 s");
    Err(LabError::new("connect through", kind.name(), source))
}

/// A temporary directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn create(name: &str) -> Result<Directory, LabError> {
        let name = format!("adit-compare-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let error = |source| LabError::new("create", path.display().to_string(), source);
        fs::create_dir_all(&path).map_err(error)?;
        Ok(Directory(path))
    }

    /// Writes a file into it.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        let file = self.0.join(name);
        let error = |source| LabError::new("write", file.display().to_string(), source);
        fs::write(&file, text).map_err(error)?;
        Ok(file)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left in the temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

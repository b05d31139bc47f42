//! Forwarders that translate nothing: what arrives at one interface leaves by the other, so that
//! the server has the endpoint's address itself. What they cost is what moving frames costs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::device::{Batch, Device, Frame};
use dataplane::io::{LinuxDevice, LinuxPlatform};
use dataplane::snapshot::{DeviceKind, DevicePlan};
use dataplane::types::{ScopeId, WorkerId};
use dataplane::worker::{Platform, Queue};
use lab::LabError;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};

use super::super::topology::{CLIENT_SIDE, ENDPOINT, SERVER_SIDE, Site, Topology};
use super::Contender;

/// How soon the end is noticed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Threads that forward until dropped.
pub(super) struct Forwarder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// Over adit's own devices, both in one thread, as one of its workers is.
pub(super) fn start_null(mut topology: Topology, kind: DeviceKind) -> Result<Contender, LabError> {
    let error = |source| LabError::new("open devices of", "the null forwarder", source);
    let open = || -> io::Result<(LinuxPlatform, [LinuxDevice; 2])> {
        let failed = |error| io::Error::other(format!("{error}"));
        let mut platform = LinuxPlatform::for_workers(1).map_err(failed)?.remove(0);
        let mut open = |name, site: &Site| {
            let inside =
                (kind == DeviceKind::Tap).then(|| site.namespace.path().display().to_string());
            open_device(&mut platform, name, kind, inside).map_err(failed)
        };
        let devices = [open(CLIENT_SIDE, &topology.client)?, open(SERVER_SIDE, &topology.server)?];
        Ok((platform, devices))
    };
    let (platform, devices) = topology.middle.run(open)?.map_err(error)?;
    if kind == DeviceKind::Tap {
        topology.find_taps()?;
    }
    topology.server.device()?.add_address(ENDPOINT, 16)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || exchange(platform, devices, &stopped));
    let forwarder = Some(Forwarder { stop, threads: vec![thread] });
    Ok(Contender { _forwarder: forwarder, ..Contender::of(topology) })
}

pub(in super::super) fn open_device(
    platform: &mut LinuxPlatform,
    name: &str,
    kind: DeviceKind,
    namespace: Option<String>,
) -> Result<LinuxDevice, dataplane::device::DeviceError> {
    let plan = DevicePlan { name: name.to_owned(), kind, namespace, scope: ScopeId(0) };
    platform.open(&plan, Queue { worker: WorkerId(0), workers: 1 })
}

fn exchange(mut platform: LinuxPlatform, mut devices: [LinuxDevice; 2], stop: &AtomicBool) {
    let mut batch = Batch::new();
    let mut idle = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut moved = 0;
        for (from, to) in [(0, 1), (1, 0)] {
            if devices[from].receive(&mut batch).is_err() {
                return;
            }
            if !batch.is_empty() {
                let frames: Vec<&Frame> = batch.frames().iter().collect();
                devices[to].transmit(&frames);
                moved += frames.len();
            }
        }
        idle = if moved > 0 { 0 } else { idle + 1 };
        // As adit's workers: it polls for a while, and then sleeps.
        if idle > 100 {
            platform.wait(&mut devices.iter(), WAIT_MAX);
        }
    }
}

/// Over pnet's channels, a thread for each direction.
pub(super) fn start_pnet(topology: Topology) -> Result<Contender, LabError> {
    topology.server.device()?.add_address(ENDPOINT, 16)?;
    // It hands checksums and super-packets on as they are, which no receiver would take.
    topology.client.device()?.set_all_offloads(false)?;
    topology.server.device()?.set_all_offloads(false)?;
    let error = |source| LabError::new("open channels of", "pnet", source);
    let open = || -> io::Result<[Ends; 2]> {
        let interfaces = pnet_datalink::interfaces();
        let open = |name: &str| channel(interfaces.iter().find(|found| found.name == name));
        Ok([open(CLIENT_SIDE)?, open(SERVER_SIDE)?])
    };
    let [(to_client, from_client), (to_server, from_server)] =
        topology.middle.run(open)?.map_err(error)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [(from_client, to_server), (from_server, to_client)];
    let threads = threads.map(|(from, to)| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || copy(from, to, &stop))
    });
    let forwarder = Some(Forwarder { stop, threads: threads.into() });
    Ok(Contender { _forwarder: forwarder, ..Contender::of(topology) })
}

type Ends = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);

fn channel(interface: Option<&NetworkInterface>) -> io::Result<Ends> {
    let interface = interface.ok_or(io::ErrorKind::NotFound)?;
    let config = Config { read_timeout: Some(WAIT_MAX), ..Config::default() };
    match pnet_datalink::channel(interface, config)? {
        Channel::Ethernet(sender, receiver) => Ok((sender, receiver)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn copy(mut from: Box<dyn DataLinkReceiver>, mut to: Box<dyn DataLinkSender>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // A read that times out is tried again.
        if let Ok(frame) = from.next() {
            let _ = to.send_to(frame, None);
        }
    }
}

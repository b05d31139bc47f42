//! From the command line to what will be done; what can be checked is, before it begins.

use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::answer::{Speak, Talk};
use super::args::{Close, Common, Tcp, Udp};
use super::capacity::{Capacity, Fit};
use super::datagram::STAMP_BYTES;
use super::ladder::{Ladder, Profile, Rung};
use super::places::ALL_PORTS;
use super::schedule::Pace;
use super::sockets::{is_own_address, usual_source};
use super::work::{Mode, Work};
use super::{BenchError, machine};

const LINE_BYTES: u32 = 64;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) transport: Transport,
    /// As the user wrote it.
    pub(super) target_name: String,
    pub(super) target: SocketAddr,
    pub(super) mode: Mode,
    pub(super) talk: Talk,
    pub(super) size: u32,
    pub(super) close_by_reset: bool,
    pub(super) sources: Vec<IpAddr>,
    /// The kernel's choice of ports, used while it suffices.
    pub(super) ports: RangeInclusive<u16>,
    pub(super) threads: usize,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
    pub(super) count: Option<u64>,
    pub(super) timeout: Duration,
    pub(super) ladder: Ladder,
    /// Whether the steps differ by their flows.
    pub(super) is_by_flows: bool,
    /// Failures of a good step, in parts of one.
    pub(super) max_loss: f64,
    /// File descriptors that this process may have.
    pub(super) descriptors: u64,
}

impl Plan {
    pub(super) fn tcp(options: &Tcp) -> Result<Plan, BenchError> {
        let mut mode = options.mode;
        let mut single = Rung { flows: flows(options.flows), rate: options.rate };
        if options.common.profile == Some(Profile::Csit) {
            mode = Mode::Hold;
        }
        if mode == Mode::Hold && options.common.count.is_some() {
            return Err(BenchError::new("--count says nothing in mode hold", "give --flows"));
        }
        single.flows = single.flows.max(1);
        let size = options.size.unwrap_or(LINE_BYTES);
        let mut talk = match options.speak {
            Speak::Line => Talk::line(flows(size)),
            Speak::Nothing => Talk::nothing(),
            Speak::Http => {
                let is_last = mode == Mode::Open;
                Talk::http(&options.path, &options.target, options.size.map(flows), is_last)
            }
        };
        if options.speak == Speak::Nothing && mode == Mode::Request {
            let cure = "give another --speak, or --mode open";
            return Err(BenchError::new("a request needs words", cure));
        }
        let header = options.backend_header.as_deref();
        talk.header = header.map(|name| name.to_ascii_lowercase().into());
        let plan = Plan::common(&options.common, Transport::Tcp, &options.target, single)?;
        let close_by_reset = options.close == Close::Reset;
        let size = u32::try_from(talk.request.len()).unwrap_or(u32::MAX);
        Ok(Plan { mode, talk, size, close_by_reset, timeout: options.timeout, ..plan })
    }

    pub(super) fn udp(options: &Udp) -> Result<Plan, BenchError> {
        let single = Rung { flows: flows(options.flows), rate: Some(options.rate) };
        let plan = Plan::common(&options.common, Transport::Udp, &options.target, single)?;
        let size = options.size.max(u32::try_from(STAMP_BYTES).unwrap_or(0));
        Ok(Plan { size, timeout: options.timeout, ..plan })
    }

    fn common(
        options: &Common,
        transport: Transport,
        target_name: &str,
        single: Rung,
    ) -> Result<Plan, BenchError> {
        let target = resolve(target_name)?;
        let ladder = match options.profile {
            Some(profile) => Ladder::profile(profile, single),
            None if options.step.is_empty() => Ladder::one(single),
            None => Ladder::rates(&options.step, single.flows),
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // One is left for whatever else the machine does.
        let usual = processors.saturating_sub(1).max(1);
        let wanted = options.threads.map_or(usual, usize::from);
        let counted = options.count.is_some();
        Ok(Plan {
            transport,
            target_name: target_name.to_owned(),
            target,
            mode: Mode::Open,
            talk: Talk::nothing(),
            size: LINE_BYTES,
            close_by_reset: false,
            sources: sources(options, target)?,
            ports: kernel_ports(),
            threads: wanted.clamp(1, processors),
            warm_up: if counted { Duration::ZERO } else { options.warm_up },
            time: options.seconds,
            count: options.count,
            timeout: Duration::from_secs(1),
            ladder,
            is_by_flows: options.profile == Some(Profile::Csit),
            max_loss: options.max_loss / 100.0,
            descriptors: raise_descriptors(),
        })
    }

    /// The ports for so many flows: the kernel's own choice if it suffices.
    pub(super) fn ports_for(&self, flows: usize) -> RangeInclusive<u16> {
        let most = self.ports.len() * self.sources.len();
        if flows <= most { self.ports.clone() } else { ALL_PORTS }
    }

    /// What this machine allows of the flows that are wanted.
    pub(super) fn fit(&self, flows: usize) -> Fit {
        let capacity = Capacity {
            descriptors: self.descriptors,
            memory: machine::free_memory(),
            sources: self.sources.len() as u64,
            ports: ALL_PORTS.len() as u64,
        };
        capacity.fit(flows)
    }

    /// Workers for so many flows.
    pub(super) fn workers(&self, rung: Rung) -> usize {
        let most = self.count.map_or(usize::MAX, flows_of);
        self.threads.min(rung.flows).min(most).max(1)
    }

    /// How long is measured: in a ladder of flows long enough that each datagram flow has its turn.
    pub(super) fn time_for(&self, rung: Rung) -> Duration {
        match rung.rate {
            Some(rate) if self.transport == Transport::Udp && self.is_by_flows => {
                self.time.max(Duration::from_secs_f64(rung.flows as f64 / rate))
            }
            _ => self.time,
        }
    }

    /// One worker's share.
    pub(super) fn share(&self, rung: Rung, worker: usize, workers: usize) -> Work {
        let part = |whole: u64| {
            let (worker, workers) = (worker as u64, workers as u64);
            whole / workers + u64::from(worker < whole % workers)
        };
        let pace = rung.rate.map(|per_second| Pace {
            per_second,
            worker: worker as u64,
            workers: workers as u64,
        });
        Work {
            mode: self.mode,
            flows: flows_of(part(rung.flows as u64)),
            pace,
            warm_up: self.warm_up,
            time: self.time_for(rung),
            count: self.count.map(part),
            timeout: self.timeout,
            speaks: self.talk.speak != Speak::Nothing,
        }
    }

    /// The same target, asked but once: whether anything is there at all.
    pub(super) fn probe(&self) -> (Plan, Rung) {
        let is_udp = self.transport == Transport::Udp;
        let rung = Rung { flows: 1, rate: is_udp.then_some(20.0) };
        let plan = Plan {
            mode: Mode::Open,
            warm_up: Duration::ZERO,
            // A single datagram may be lost.
            count: Some(if is_udp { 3 } else { 1 }),
            threads: 1,
            ..self.clone()
        };
        (plan, rung)
    }
}

fn flows(number: u32) -> usize {
    flows_of(number.into())
}

fn flows_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn resolve(name: &str) -> Result<SocketAddr, BenchError> {
    const FORM: &str = "write ADDRESS:PORT or NAME:PORT, for example 10.0.0.5:80";
    let mut found = name
        .to_socket_addrs()
        .map_err(|error| BenchError::new(format!("{name:?} is no target: {error}"), FORM))?;
    let target = found.next().filter(|target| target.port() != 0);
    target.ok_or_else(|| BenchError::new(format!("{name:?} is no target"), FORM))
}

fn sources(options: &Common, target: SocketAddr) -> Result<Vec<IpAddr>, BenchError> {
    if options.source.is_empty() {
        let source = usual_source(target).map_err(|error| {
            let problem = format!("there is no way to {target}: {error}");
            BenchError::new(problem, format!("look at: ip route get {}", target.ip()))
        })?;
        return Ok(vec![source]);
    }
    let mut sources: Vec<IpAddr> =
        options.source.iter().flat_map(|source| source.addresses()).collect();
    sources.sort();
    sources.dedup();
    if let Some(other) = sources.iter().find(|source| source.is_ipv4() != target.is_ipv4()) {
        let problem = format!("--source {other} and the target are of two kinds of IP");
        return Err(BenchError::new(problem, "give sources of the target's kind"));
    }
    for source in [sources.first(), sources.last()].into_iter().flatten() {
        is_own_address(*source).map_err(|error| {
            let problem = format!("--source {source}: {error}");
            let cure = format!(
                "give this machine the address first, for example: ip address add {source} dev lo"
            );
            BenchError::new(problem, cure)
        })?;
    }
    Ok(sources)
}

/// The ports that the kernel takes by itself.
fn kernel_ports() -> RangeInclusive<u16> {
    let range = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut numbers = text.split_whitespace().map(str::parse::<u16>);
        let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (low <= high).then_some(low..=high)
    };
    range().unwrap_or(32_768..=60_999)
}

/// Takes all descriptors that there are for the asking; how many. Root may have as many as any
/// process may.
pub(super) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let any = fs::read_to_string("/proc/sys/fs/nr_open").ok();
    if let Some(any) = any.and_then(|text| text.trim().parse::<u64>().ok()) {
        let raised = Rlimit { current: Some(any), maximum: Some(any) };
        if limit.maximum.is_some_and(|most| most < any)
            && setrlimit(Resource::Nofile, raised).is_ok()
        {
            return any;
        }
    }
    let Some(most) = limit.maximum else { return u64::MAX };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    if raised.is_ok() { most } else { limit.current.unwrap_or(most) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        bench: super::super::Bench,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let plan = match &line.bench {
            super::super::Bench::Tcp(options) => Plan::tcp(options),
            super::super::Bench::Udp(options) => Plan::udp(options),
            super::super::Bench::Serve(_) => panic!("no plan"),
        };
        plan.map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_modest() {
        let mut tcp = plan("tcp 127.0.0.1:80").unwrap();
        let rung = tcp.ladder.next(true);
        assert_eq!((tcp.mode, rung), (Mode::Open, Some(Rung { flows: 16, rate: None })));
        assert_eq!(tcp.sources, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(tcp.talk.request.len(), 64);
        let mut counted = plan("udp 127.0.0.1:7 --count 5").unwrap();
        assert_eq!((counted.warm_up, counted.count), (Duration::ZERO, Some(5)));
        assert_eq!(counted.ladder.next(true).and_then(|rung| rung.rate), Some(1000.0));
    }

    #[test]
    fn shares_make_the_whole() {
        let plan = plan("tcp 127.0.0.1:80 --flows 7 --rate 10 --count 8 --source 127.0.0.0/24");
        let mut plan = Plan { threads: 3, ..plan.unwrap() };
        let rung = plan.ladder.next(true).unwrap();
        assert_eq!(plan.workers(rung), 3);
        let shares: Vec<Work> = (0..3).map(|at| plan.share(rung, at, 3)).collect();
        assert_eq!(shares.iter().map(|share| share.flows).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(shares.iter().filter_map(|share| share.count).sum::<u64>(), 8);
        assert_eq!(shares[2].pace.map(|pace| (pace.worker, pace.workers)), Some((2, 3)));
        assert_eq!(plan.workers(Rung { flows: 1, rate: None }), 1);
    }

    #[test]
    fn every_flow_of_a_ladder_has_its_turn() {
        let udp = plan("udp 127.0.0.1:7 --profile csit --rate 1000 --seconds 5").unwrap();
        let rung = |flows| Rung { flows, rate: Some(1000.0) };
        assert_eq!(udp.time_for(rung(64_512)), Duration::from_millis(64_512));
        assert_eq!(udp.time_for(rung(100)), Duration::from_secs(5));
        let single = plan("udp 127.0.0.1:7 --flows 64512 --seconds 5").unwrap();
        assert_eq!(single.time_for(rung(64_512)), Duration::from_secs(5));
    }

    #[test]
    fn ports_beyond_the_kernels_choice_are_taken_only_when_needed() {
        let plan = Plan { ports: 40_000..=40_009, ..plan("tcp 127.0.0.1:80").unwrap() };
        assert_eq!(plan.ports_for(10), 40_000..=40_009);
        assert_eq!(plan.ports_for(11), ALL_PORTS);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_cure() {
        for (line, said) in [
            ("tcp nowhere", "ADDRESS:PORT"),
            ("tcp 127.0.0.1:0", "ADDRESS:PORT"),
            ("tcp 127.0.0.1:80 --source 192.0.2.1", "ip address add 192.0.2.1"),
            ("tcp 127.0.0.1:80 --source ::1", "two kinds"),
            ("tcp 127.0.0.1:80 --mode request --speak nothing", "--speak"),
            ("tcp 127.0.0.1:80 --mode hold --count 5", "--flows"),
            ("tcp 127.0.0.1:80 --count 5 --seconds 3", "--seconds"),
            ("tcp 127.0.0.1:80 --step 1,2 --rate 5", "--rate"),
            ("udp 127.0.0.1:80 --size 10", "63"),
        ] {
            let error = plan(line).err().unwrap_or_default();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}

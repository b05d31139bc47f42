//! The operations of a model world, and how they are written: one line each, so that a failure is a
//! file that people read and `cargo xtask model --replay FILE` runs.
//!
//! The first line is `world workers=N flows-max=N seed=N start-ms=N`. Then, in any order:
//!
//! * `in@WORKER[+] DEVICE PACKET`: a frame arrives; with `+` the next one is in the same batch;
//! * `answer@WORKER[+] DEVICE NETWORK PACKET`: the answer to the flow of a client of that network,
//!   whose packets are described as the client sends them; nothing if there was no such flow;
//! * `set KNOB OF VALUE`: a change of configuration (see [`super::setup`]), adopted by all workers;
//!   `set-late`: by the first only; `adopt`: by the others;
//! * `time MS`, `unnoticed MS`: time passes, and workers advance or do not;
//! * `up DEVICE MTU [STATION]`, `down DEVICE`: STATION is the number of adit's station there;
//! * `refuse DEVICE REASON`: what is sent there is refused from now on; `accept`;
//! * `rings free|slow|full`: whether frames can be handed over, and arrive at once;
//!   `deliver`: those that were slow arrive;
//! * `squat SERVICE NAT-IP BACKEND PROTOCOL LEFT`: somebody else leases a pool but for LEFT ports.
//!
//! Packets are described in [`crate::script::packet`].

use std::fmt;
use std::str::FromStr;

use dataplane::drop_reason::DropReason;
use dataplane::types::{DeviceIndex, Protocol};

use super::setup::{DEVICES, KNOBS, Knob, link};
use crate::script::describe::describe;
use crate::script::packet::{Described, Side, parse_packet};

/// Sizes and secret of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorldShape {
    pub(super) workers: u8,
    pub(super) flows_max: usize,
    pub(super) seed: u64,
    pub(super) start_ms: u64,
}

/// How frames are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rings {
    /// They arrive at once.
    Free,
    /// They arrive when they are delivered.
    Slow,
    /// There is no room for them.
    Full,
}

impl Rings {
    const NAMES: [(Rings, &str); 3] =
        [(Rings::Free, "free"), (Rings::Slow, "slow"), (Rings::Full, "full")];
}

/// A frame that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrive {
    pub(super) worker: u8,
    pub(super) device: DeviceIndex,
    /// Whether the next frame is in the same batch.
    pub(super) more: bool,
    /// The client's network, if it is the answer to a flow.
    pub(super) answers: Option<u16>,
    pub(super) packet: Described,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Arrive(Box<Arrive>),
    Set { knob: Knob, of: u32, value: u32, late: bool },
    Adopt,
    Time { ms: u64, noticed: bool },
    Link { device: DeviceIndex, mtu: Option<u32>, station: u8 },
    Refuse(Option<(DeviceIndex, DropReason)>),
    Rings(Rings),
    Deliver,
    Squat { service: u32, nat_ip: u32, backend: u32, protocol: Protocol, left: usize },
}

fn letter(device: DeviceIndex) -> char {
    DEVICES[device.slot()]
}

/// What a line of text leaves out of a frame that arrives at a device.
fn side(device: DeviceIndex) -> Side {
    Side::arriving(link(device, 0).mac.0.into())
}

impl fmt::Display for WorldShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorldShape { workers, flows_max, seed, start_ms } = self;
        write!(f, "world workers={workers} flows-max={flows_max} seed={seed} start-ms={start_ms}")
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Arrive(arrive) => {
                let verb = if arrive.answers.is_some() { "answer" } else { "in" };
                let more = if arrive.more { "+" } else { "" };
                write!(f, "{verb}@{}{more} {} ", arrive.worker, letter(arrive.device))?;
                if let Some(scope) = arrive.answers {
                    write!(f, "{scope} ")?;
                }
                f.write_str(&describe(&arrive.packet, &side(arrive.device)))
            }
            Op::Set { knob, of, value, late } => {
                let name = KNOBS.iter().find(|row| row.0 == *knob).map_or("", |row| row.1);
                write!(f, "set{} {name} {of} {value}", if *late { "-late" } else { "" })
            }
            Op::Adopt => f.write_str("adopt"),
            Op::Time { ms, noticed: true } => write!(f, "time {ms}"),
            Op::Time { ms, noticed: false } => write!(f, "unnoticed {ms}"),
            Op::Link { device, mtu: Some(mtu), station } => {
                write!(f, "up {} {mtu} {station}", letter(*device))
            }
            Op::Link { device, mtu: None, .. } => write!(f, "down {}", letter(*device)),
            Op::Refuse(None) => f.write_str("accept"),
            Op::Refuse(Some((device, reason))) => {
                write!(f, "refuse {} {}", letter(*device), reason.metric())
            }
            Op::Rings(rings) => {
                let name = Rings::NAMES.iter().find(|row| row.0 == *rings).map_or("", |row| row.1);
                write!(f, "rings {name}")
            }
            Op::Deliver => f.write_str("deliver"),
            Op::Squat { service, nat_ip, backend, protocol, left } => {
                write!(f, "squat {service} {nat_ip} {backend} {} {left}", protocol.name())
            }
        }
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("cannot read `{word}`"))
}

fn device(word: &str) -> Result<DeviceIndex, String> {
    let at = DEVICES.iter().position(|letter| word.strip_prefix(*letter) == Some(""));
    let at = at.and_then(|at| u16::try_from(at).ok());
    at.map(DeviceIndex).ok_or_else(|| format!("there is no device `{word}`"))
}

impl FromStr for WorldShape {
    type Err = String;

    fn from_str(line: &str) -> Result<WorldShape, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |at: usize, name: &str| {
            let word: &str = words.get(at).copied().unwrap_or_default();
            word.strip_prefix(name).ok_or_else(|| format!("expected `{name}…`"))
        };
        value(0, "world")?;
        Ok(WorldShape {
            workers: number(value(1, "workers=")?)?,
            flows_max: number(value(2, "flows-max=")?)?,
            seed: number(value(3, "seed=")?)?,
            start_ms: number(value(4, "start-ms=")?)?,
        })
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Op, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, rest) = words.split_first().ok_or("an empty line")?;
        match (*verb, rest) {
            ("set" | "set-late", [name, of, value]) => set(name, of, value, *verb == "set-late"),
            ("adopt", []) => Ok(Op::Adopt),
            ("time" | "unnoticed", [ms]) => {
                Ok(Op::Time { ms: number(ms)?, noticed: *verb == "time" })
            }
            ("up", [at, mtu, rest @ ..]) => Ok(Op::Link {
                device: device(at)?,
                mtu: Some(number(mtu)?),
                station: rest.first().map_or(Ok(0), |station| number(station))?,
            }),
            ("down", [at]) => Ok(Op::Link { device: device(at)?, mtu: None, station: 0 }),
            ("accept", []) => Ok(Op::Refuse(None)),
            ("refuse", [at, reason]) => {
                let mut reasons = DropReason::ALL.iter();
                let reason = reasons.find(|known| known.metric() == *reason);
                Ok(Op::Refuse(Some((device(at)?, *reason.ok_or("there is no such reason")?))))
            }
            ("rings", [how]) => {
                let row = Rings::NAMES.iter().find(|row| row.1 == *how);
                Ok(Op::Rings(row.ok_or("there are no such rings")?.0))
            }
            ("deliver", []) => Ok(Op::Deliver),
            ("squat", [service, nat_ip, backend, protocol, left]) => Ok(Op::Squat {
                service: number(service)?,
                nat_ip: number(nat_ip)?,
                backend: number(backend)?,
                protocol: if *protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp },
                left: number(left)?,
            }),
            _ => arrive(verb, rest).map(|arrive| Op::Arrive(Box::new(arrive))),
        }
    }
}

fn set(name: &str, of: &str, value: &str, late: bool) -> Result<Op, String> {
    let row = KNOBS.iter().find(|row| row.1 == name).ok_or("there is no such knob")?;
    let (of, value) = (number(of)?, number(value)?);
    if of >= row.2 || value >= row.3 {
        return Err("the knob has no such position".to_owned());
    }
    Ok(Op::Set { knob: row.0, of, value, late })
}

fn arrive(verb: &str, rest: &[&str]) -> Result<Arrive, String> {
    let (verb, worker) = verb.split_once('@').ok_or("there is no such operation")?;
    let (at, mut rest) = rest.split_first().ok_or("a device is missing")?;
    let mut answers = None;
    if verb == "answer" {
        let (scope, packet) = rest.split_first().ok_or("a network is missing")?;
        (answers, rest) = (Some(number(scope)?), packet);
    }
    let device = device(at)?;
    Ok(Arrive {
        worker: number(worker.trim_end_matches('+'))?,
        device,
        more: worker.ends_with('+'),
        answers,
        packet: parse_packet(rest, &side(device))?,
    })
}

/// The text of a world.
pub(super) fn write(shape: &WorldShape, ops: &[Op]) -> String {
    let lines = ops.iter().map(|op| format!("{op}\n"));
    lines.fold(format!("{shape}\n"), |text, line| text + &line)
}

/// The world of a text.
pub(super) fn read(text: &str) -> Result<(WorldShape, Vec<Op>), String> {
    let code = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let lines = (1..).zip(text.lines().map(code)).filter(|(_, line)| !line.is_empty());
    let mut lines = lines.map(|(number, line)| (move |why| format!("line {number}: {why}"), line));
    let (place, first) = lines.next().ok_or("there is no line")?;
    let shape = first.parse().map_err(place)?;
    let ops = lines.map(|(place, line)| line.parse().map_err(place));
    Ok((shape, ops.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::draw::Draw;
    use super::super::rules::Model;
    use super::super::setup::Setup;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for seed in 0..20 {
            let (shape, mut draw) = Draw::new(seed);
            let model = Model::new(1, shape.flows_max, 0, Setup::default().plan());
            let ops: Vec<Op> = (0..500).map(|_| draw.next(&model)).collect();
            assert_eq!(read(&write(&shape, &ops)), Ok((shape, ops)), "seed {seed}");
        }
    }
}

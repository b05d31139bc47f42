//! What counters grew by in a second, from two looks at them. Pure.
//!
//! There is no rate where the two cannot be compared: no time passed between them, the counter
//! fell, or the daemon was restarted in between, even if its counters have overtaken the old ones.

use std::collections::HashMap;
use std::time::Duration;

use crate::api::{Device, Drop, Endpoint, Service, Status, Traffic};

/// How far apart two clocks that count whole seconds may be.
const SLACK: Duration = Duration::from_secs(2);

/// The least time between two looks that says anything.
const MOMENT: Duration = Duration::from_millis(1);

/// Everything that the daemon said at one time.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// When, on a clock that never goes back.
    pub(super) at: Duration,
    pub(super) status: Status,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) services: Vec<Service>,
    pub(super) drops: Vec<Drop>,
}

/// Rates of the whole daemon, each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    pub(super) received: Option<f64>,
    pub(super) received_bytes: Option<f64>,
    pub(super) forwarded: Option<f64>,
    pub(super) forwarded_bytes: Option<f64>,
    pub(super) shortcut: Option<f64>,
    pub(super) opened: Option<f64>,
    pub(super) dropped: Option<f64>,
}

/// Rates of a device, each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DevicePace {
    pub(super) received: Option<f64>,
    pub(super) sent: Option<f64>,
    pub(super) missed: Option<f64>,
}

/// Bytes from and to clients, each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct BytePace {
    pub(super) bytes_in: Option<f64>,
    pub(super) bytes_out: Option<f64>,
}

/// All rates between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) pace: Pace,
    /// By name and namespace.
    pub(super) devices: HashMap<(String, Option<String>), DevicePace>,
    /// Newcomers refused for want of room, by endpoint.
    pub(super) refused: HashMap<String, f64>,
    /// Bytes from and to clients, by endpoint, and by service.
    pub(super) endpoints: HashMap<String, BytePace>,
    pub(super) services: HashMap<String, BytePace>,
    /// By reason.
    pub(super) drops: HashMap<String, f64>,
    /// Whether another run of the daemon answered the second time.
    pub(super) is_restarted: bool,
}

impl Pace {
    /// Between two answers, `elapsed` apart.
    pub(super) fn between(before: &Status, now: &Status, elapsed: Duration) -> Pace {
        if is_restarted(before, now, elapsed) {
            return Pace::default();
        }
        let rate = |of: fn(&Status) -> u64| rate(of(before), of(now), elapsed);
        Pace {
            received: rate(|status| status.received),
            received_bytes: rate(|status| status.received_bytes),
            forwarded: rate(|status| status.forwarded),
            forwarded_bytes: rate(|status| status.forwarded_bytes),
            shortcut: rate(|status| status.shortcut),
            opened: rate(|status| status.flows_opened),
            dropped: rate(|status| status.dropped),
        }
    }
}

impl Rates {
    /// Between two samples, the older one first.
    pub(super) fn between(before: &Sample, now: &Sample) -> Rates {
        let elapsed = now.at.saturating_sub(before.at);
        if is_restarted(&before.status, &now.status, elapsed) {
            return Rates { is_restarted: true, ..Rates::default() };
        }
        let refused = |endpoint: &Endpoint| endpoint.refused.total();
        let endpoint_name = |endpoint: &Endpoint| endpoint.name.clone();
        Rates {
            pace: Pace::between(&before.status, &now.status, elapsed),
            devices: devices(&before.status, &now.status, elapsed),
            refused: grown(&before.endpoints, &now.endpoints, elapsed, endpoint_name, refused),
            endpoints: carried(&before.endpoints, &now.endpoints, elapsed, |endpoint| {
                (endpoint.name.clone(), endpoint.traffic)
            }),
            services: carried(&before.services, &now.services, elapsed, |service| {
                (service.name.clone(), service.traffic)
            }),
            drops: grown(
                &before.drops,
                &now.drops,
                elapsed,
                |drop| drop.metric.clone(),
                |drop| drop.count,
            ),
            is_restarted: false,
        }
    }
}

/// What a counter grew by in a second.
fn rate(before: u64, now: u64, elapsed: Duration) -> Option<f64> {
    let grown = now.checked_sub(before).filter(|_| elapsed >= MOMENT)?;
    Some(grown as f64 / elapsed.as_secs_f64())
}

/// Whether the daemon has been up for less time than has passed since it was up before.
fn is_restarted(before: &Status, now: &Status, elapsed: Duration) -> bool {
    let expected = Duration::from_secs(before.uptime_seconds) + elapsed;
    Duration::from_secs(now.uptime_seconds) + SLACK < expected
        || now.uptime_seconds < before.uptime_seconds
}

/// Rates of what both lists have; what is new has none yet.
fn grown<T>(
    before: &[T],
    now: &[T],
    elapsed: Duration,
    name: impl Fn(&T) -> String,
    count: impl Fn(&T) -> u64,
) -> HashMap<String, f64> {
    let old: HashMap<String, u64> = before.iter().map(|one| (name(one), count(one))).collect();
    let rates = now.iter().filter_map(|one| {
        let before = *old.get(&name(one))?;
        Some((name(one), rate(before, count(one), elapsed)?))
    });
    rates.collect()
}

/// Bytes of what both lists have.
fn carried<T>(
    before: &[T],
    now: &[T],
    elapsed: Duration,
    of: impl Fn(&T) -> (String, Traffic),
) -> HashMap<String, BytePace> {
    let old: HashMap<String, Traffic> = before.iter().map(&of).collect();
    let paces = now.iter().map(of).filter_map(|(name, now)| {
        let before = old.get(&name)?;
        let bytes_in = rate(before.bytes_in, now.bytes_in, elapsed);
        let bytes_out = rate(before.bytes_out, now.bytes_out, elapsed);
        Some((name, BytePace { bytes_in, bytes_out }))
    });
    paces.collect()
}

fn devices(
    before: &Status,
    now: &Status,
    elapsed: Duration,
) -> HashMap<(String, Option<String>), DevicePace> {
    let key = |device: &Device| (device.name.clone(), device.network_namespace.clone());
    let old: HashMap<_, &Device> = before.devices.iter().map(|one| (key(one), one)).collect();
    let paces = now.devices.iter().filter_map(|one| {
        let before = old.get(&key(one))?;
        let pace = DevicePace {
            received: rate(before.received, one.received, elapsed),
            sent: rate(before.sent, one.sent, elapsed),
            missed: rate(before.missed, one.missed, elapsed),
        };
        Some((key(one), pace))
    });
    paces.collect()
}

/// A sum of services' leases: of all, or of one NAT IP, or of one backend.
pub(super) fn leased(service: &Service, of: impl Fn(&crate::api::NatPorts) -> bool) -> u64 {
    let pools = service.nat_ports.iter().filter(|pool| of(pool));
    pools.map(|pool| u64::from(pool.leased)).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A daemon as it was looked at after so many seconds.
    pub(in crate::cli) fn sample(second: u64) -> Sample {
        #[derive(serde::Deserialize)]
        struct File {
            status: Status,
            endpoints: Vec<Endpoint>,
            services: Vec<Service>,
            drops: Vec<Drop>,
        }
        let text = include_str!("top/sample.json");
        let File { mut status, endpoints, services, drops } = serde_json::from_str(text).unwrap();
        status.uptime_seconds += second;
        Sample { at: Duration::from_secs(second), status, endpoints, services, drops }
    }

    /// An answer of a daemon that has been up for so long and counted so much.
    fn status(uptime_seconds: u64, count: u64) -> Status {
        Status { uptime_seconds, received: count, flows_opened: count / 10, ..sample(0).status }
    }

    #[test]
    fn counters_become_rates() {
        let pace = Pace::between(&status(10, 1_000), &status(12, 3_000), 2 * SECOND);
        assert_eq!((pace.received, pace.opened), (Some(1_000.0), Some(100.0)));
        assert_eq!(pace.dropped, Some(0.0));
        let quarter = Pace::between(&status(10, 0), &status(10, 25), SECOND / 4);
        assert_eq!(quarter.received, Some(100.0));
    }

    #[test]
    fn names_that_are_new_have_no_rate_yet() {
        let (before, mut now) = (sample(0), sample(2));
        now.endpoints[0].refused.room_reserved += 8;
        now.endpoints[1].name = "pe-other".to_owned();
        now.endpoints[0].traffic.bytes_in += 3_000;
        now.services[0].traffic.bytes_out += 500;
        now.drops[0].count += 1;
        now.status.devices[0].received += 10;
        let rates = Rates::between(&before, &now);
        assert_eq!(rates.refused.get("pe-a"), Some(&4.0));
        assert_eq!(rates.refused.get("pe-other"), None);
        let pace = |bytes_in, bytes_out| {
            Some(BytePace { bytes_in: Some(bytes_in), bytes_out: Some(bytes_out) })
        };
        assert_eq!(rates.endpoints.get("pe-a").copied(), pace(1_500.0, 0.0));
        assert_eq!(rates.endpoints.get("pe-other"), None);
        assert_eq!(rates.services.get(&now.services[0].name).copied(), pace(0.0, 250.0));
        assert_eq!(rates.drops.get(&now.drops[0].metric), Some(&0.5));
        let device = rates.devices[&(now.status.devices[0].name.clone(), None)];
        assert_eq!((device.received, device.sent), (Some(5.0), Some(0.0)));
        now.status.uptime_seconds = 0;
        let rates = Rates::between(&before, &now);
        assert_eq!(rates, Rates { is_restarted: true, ..Rates::default() });
    }

    #[test]
    fn what_cannot_be_compared_has_no_rate() {
        let old = status(100, 5_000);
        assert_eq!(Pace::between(&old, &status(100, 6_000), Duration::ZERO).received, None);
        assert_eq!(Pace::between(&old, &status(101, 4_999), SECOND).received, None, "it fell");
        let other = Pace::between(&old, &status(101, 4_999), SECOND);
        assert_eq!(other.dropped, Some(0.0), "the others did not");
        let restarted = Pace::between(&old, &status(1, 900_000), 3 * SECOND);
        assert_eq!(restarted, Pace::default(), "another run, whatever it counted");
        let long_ago = Pace::between(&status(5, 10), &status(60, 20), 100 * SECOND);
        assert_eq!(long_ago, Pace::default(), "up for 60 s, though 105 s would have passed");
        let late = Pace::between(&old, &status(101, 6_000), 2_900 * (SECOND / 1_000));
        assert!(late.received.is_some(), "answers may be late by a moment");
    }
}

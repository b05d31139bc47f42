//! The local addresses and ports that flows are sent from, one after the other.
//!
//! Flows to one target differ by these alone, so there are at most as many as addresses times
//! ports. Ports go round, so that one is used again as late as can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Addresses that `--source` may come to.
const SOURCES_MAX: u128 = 65_536;
/// The ports that are nobody's by convention: as many as a NAT IP has.
pub(super) const ALL_PORTS: RangeInclusive<u16> = 1024..=65_535;

/// What `--source` says: an address, or all hosts of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    address: IpAddr,
    length: u8,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        const FORM: &str = "write ADDRESS or ADDRESS/PREFIX: 10.0.0.10 or 10.0.8.0/24";
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        let bits = bits(address);
        let length = if length.is_empty() { bits } else { length.parse().map_err(|_| FORM)? };
        if length > bits {
            return Err(FORM.to_owned());
        }
        if 1_u128 << (bits - length).min(127) > SOURCES_MAX {
            return Err(format!("it has more than {SOURCES_MAX} addresses; name a longer prefix"));
        }
        Ok(Source { address, length })
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Source {
    /// Its addresses; of a prefix of IPv4 not the network's own and not the broadcast address.
    pub(super) fn addresses(self) -> Vec<IpAddr> {
        let host_bits = u32::from(bits(self.address) - self.length);
        let count = 1_u128 << host_bits;
        let edges = u128::from(self.address.is_ipv4() && host_bits > 1);
        (edges..count - edges).map(|at| self.at(count, at)).collect()
    }

    fn at(self, count: u128, at: u128) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::try_from(count - 1).unwrap_or(u32::MAX);
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                Ipv4Addr::from_bits(address.to_bits() & !mask | at).into()
            }
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & !(count - 1) | at).into()
            }
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Places {
    sources: Vec<IpAddr>,
    ports: RangeInclusive<u16>,
    next: u64,
    stride: u64,
}

impl Places {
    /// Every `workers`-th place, from this worker's on; where the round begins is up to `seed`.
    pub(super) fn new(
        sources: &[IpAddr],
        ports: RangeInclusive<u16>,
        worker: u64,
        workers: u64,
        seed: u64,
    ) -> Places {
        let stride = workers.max(1);
        let mut places = Places { sources: sources.to_vec(), ports, next: 0, stride };
        // A multiple of the stride, so that no two workers meet in the first round.
        let first = seed % places.count().max(1) / stride * stride;
        places.next = first + worker;
        places
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.sources.len() as u64 * self.ports.len() as u64
    }

    /// The next one; `None` if there is none at all.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let sources = self.sources.len() as u64;
        let at = self.next.checked_rem(self.count())?;
        self.next += self.stride;
        let source = self.sources.get(usize::try_from(at % sources).ok()?)?;
        let port = self.ports.start() + u16::try_from(at / sources).ok()?;
        Some(SocketAddr::new(*source, port))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        let source: Source = text.parse().unwrap();
        source.addresses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn sources_are_addresses_or_prefixes() {
        assert_eq!(addresses("10.0.0.10"), ["10.0.0.10"]);
        assert_eq!(addresses("10.0.0.10/30"), ["10.0.0.9", "10.0.0.10"]);
        assert_eq!(addresses("10.0.0.8/31"), ["10.0.0.8", "10.0.0.9"]);
        assert_eq!(addresses("10.0.0.0/24").len(), 254);
        assert_eq!(addresses("fd00::8/126").len(), 4);
        for wrong in ["", "10.0.0", "10.0.0.1/33", "10.0.0.0/8", "fd00::/64", "::/0", "10.0.0.1/x"]
        {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn workers_share_all_places_and_each_is_used_once_a_round() {
        let sources: Vec<IpAddr> = "10.0.0.8/31".parse::<Source>().unwrap().addresses();
        for (workers, seed) in [(1, 0), (2, 7), (3, 12_345), (2, u64::MAX)] {
            let mut seen = BTreeSet::new();
            for worker in 0..workers {
                let mut places = Places::new(&sources, 5000..=5002, worker, workers, seed);
                assert_eq!(places.count(), 6);
                for _ in 0..6 / workers {
                    assert!(seen.insert(places.next().unwrap()), "{workers} workers, {seed}");
                }
            }
            assert_eq!(seen.len(), 6);
        }
        assert!(Places::new(&[], ALL_PORTS, 0, 1, 0).next().is_none());
        assert_eq!(ALL_PORTS.len(), 64_512);
    }
}

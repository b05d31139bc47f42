//! How many flows endpoints shall get and may have: each by itself, and all together.

use dataplane::limits::PORTS_PER_POOL;
use dataplane::snapshot::Quota;

use super::super::error::ConfigError;
use super::super::raw::{RawConfig, RawEndpoint, RawService};
use super::super::reader::{Located, Place};
use super::super::valid::{Config, PrivateEndpoint};
use super::{Context, value};

/// A number of flows, if the file has it.
#[expect(clippy::option_option, reason = "the outer one says whether it is valid")]
pub(super) fn flows(
    context: &mut Context,
    raw: Option<&Located<i64>>,
    least: i64,
) -> Option<Option<u32>> {
    let Some(raw) = raw else { return Some(None) };
    value::number(context, raw, least, i64::from(u32::MAX) - 1).map(Some)
}

pub(super) fn of_service(context: &mut Context, raw: &RawService) -> Option<Quota> {
    let reserved = flows(context, raw.endpoint_flows_reserved.as_ref(), 0);
    let most = flows(context, raw.endpoint_flows_max.as_ref(), 1);
    let default = Quota::default();
    Some(Quota {
        reserved: reserved?.unwrap_or(default.reserved),
        most: most?.unwrap_or(default.most),
    })
}

/// What is wrong with all quotas together: nobody can be promised more than he may have, nor all
/// together more than there is.
pub(super) fn sums(config: &Config, raw: &RawConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (endpoint, raw_endpoint) in config.endpoints.iter().zip(&raw.endpoints) {
        let Quota { reserved, most } = config.quota(endpoint);
        if reserved > most {
            let problem = format!("{reserved} flows are reserved, and {most} are the most");
            let place = place(raw, endpoint, raw_endpoint);
            errors.push(place.error(problem, "reserve no more flows than flows_max says"));
        }
    }
    let all: u64 = config.endpoints.iter().map(|one| reserved(config, one)).sum();
    let flows_max = config.settings.flows_max.value as u64;
    if all > flows_max {
        let place = first_reserving(config, raw, |_| true);
        let problem = format!("{all} flows are reserved, and each worker has room for {flows_max}");
        errors.push(place.error(problem, "raise flows_max in [adit], or reserve less"));
    }
    for (at, service) in config.services.iter().enumerate() {
        let lead_here = config.endpoints.iter().filter(|endpoint| endpoint.service == at);
        let sum: u64 = lead_here.map(|one| reserved(config, one)).sum();
        let ports = (service.nat_ips.len() * PORTS_PER_POOL) as u64;
        if sum > ports {
            let place = first_reserving(config, raw, |endpoint| endpoint.service == at);
            let problem = format!(
                "{sum} flows are reserved, and the NAT IPs of \"{}\" have {ports} ports",
                service.name
            );
            errors.push(place.error(problem, "add a NAT IP, or reserve less"));
        }
    }
    errors
}

fn reserved(config: &Config, endpoint: &PrivateEndpoint) -> u64 {
    u64::from(config.quota(endpoint).reserved)
}

/// Where the file says what is reserved for an endpoint.
fn place(raw: &RawConfig, endpoint: &PrivateEndpoint, own: &RawEndpoint) -> Place {
    let of_service = raw.services.get(endpoint.service);
    let of_service = of_service.and_then(|service| service.endpoint_flows_reserved.as_ref());
    let own = own.flows_reserved.as_ref().or(own.flows_max.as_ref());
    own.or(of_service).map_or_else(Place::default, |located| located.place.clone())
}

fn first_reserving(
    config: &Config,
    raw: &RawConfig,
    is_meant: impl Fn(&PrivateEndpoint) -> bool,
) -> Place {
    let mut endpoints = config.endpoints.iter().zip(&raw.endpoints);
    let found = endpoints.find(|(one, _)| is_meant(one) && reserved(config, one) > 0);
    found.map_or_else(Place::default, |(endpoint, own)| place(raw, endpoint, own))
}

#[cfg(test)]
mod tests {
    use crate::config::check;
    use dataplane::snapshot::Quota;

    fn example(from: &str, to: &str) -> String {
        let example = include_str!("../../../adit.example.toml");
        assert!(example.contains(from), "{from}");
        example.replace(from, to)
    }

    #[test]
    fn an_endpoint_has_its_own_quota_or_its_services() {
        let config = check(&example("flows_max = 50000\n", "")).unwrap().config;
        let quotas: Vec<Quota> = config.endpoints.iter().map(|one| config.quota(one)).collect();
        let of = |reserved, most| Quota { reserved, most };
        assert_eq!(quotas, [of(1_000, 100_000), of(2_000, 100_000)]);
    }

    #[test]
    fn nobody_is_promised_more_than_there_is() {
        for (from, to, problem, cure) in [
            (
                "flows_reserved = 2000",
                "flows_reserved = 50001",
                "50001 flows are reserved, and 50000",
                "no more",
            ),
            (
                "flows_max = 262144",
                "flows_max = 2999",
                "3000 flows are reserved, and each",
                "raise flows_max",
            ),
            (
                "endpoint_flows_reserved = 1000",
                "endpoint_flows_reserved = 128000",
                "130000 flows are",
                "NAT IP",
            ),
            ("flows_max = 50000", "flows_max = 0", "0 is out of range", "from 1"),
        ] {
            let text = example(from, to)
                .replace("endpoint_flows_max = 100000", "endpoint_flows_max = 200000");
            let errors = check(&text).unwrap_err().to_string();
            assert!(errors.contains(problem) && errors.contains(cure), "{errors}");
        }
    }
}

//! Statements about how the rules of the service spread flows.

use std::net::IpAddr;

use dataplane::snapshot::{Persistence, RulePlan, UdpTracking};
use dataplane::types::Protocol;

/// What the statements begin with.
pub(super) const VERBS: [&str; 6] =
    ["weights", "drained", "untracked-udp", "persistence", "ha-ports", "floating"];

/// Carries a statement out on all rules.
pub(super) fn change(
    rules: &mut Vec<RulePlan>,
    verb: &str,
    words: &[&str],
) -> Result<(), &'static str> {
    match (verb, words) {
        ("weights", words) => {
            let weights = words.iter().map(|word| word.parse().map_err(|_| "a weight is a number"));
            let weights: Vec<u16> = weights.collect::<Result<_, _>>()?;
            rules.iter_mut().for_each(|rule| rule.balance.weights.clone_from(&weights));
        }
        ("drained", words) => {
            let address = |word: &&str| word.parse().map_err(|_| "a backend is an address");
            let drained: Vec<IpAddr> = words.iter().map(address).collect::<Result<_, _>>()?;
            rules.iter_mut().for_each(|rule| rule.balance.drained.clone_from(&drained));
        }
        ("untracked-udp", []) => {
            rules.iter_mut().for_each(|rule| rule.balance.udp_tracking = UdpTracking::Off);
        }
        ("persistence", [how]) => {
            let persistence = match *how {
                "source-ip" => Persistence::SourceIp,
                "source-ip-protocol" => Persistence::SourceIpProtocol,
                _ => return Err("persistence is source-ip or source-ip-protocol"),
            };
            rules.iter_mut().for_each(|rule| rule.balance.persistence = persistence);
        }
        ("floating", [address]) => {
            let frontend: Option<IpAddr> = match *address {
                "none" => None,
                address => Some(address.parse().map_err(|_| "a frontend is an address, or none")?),
            };
            rules.iter_mut().for_each(|rule| rule.floating = frontend);
        }
        ("ha-ports", []) => {
            let like = rules.first().ok_or("there is no rule")?.clone();
            let rule = |protocol| RulePlan { protocol, port: 0, backend_port: 0, ..like.clone() };
            rules.extend(Protocol::ALL.map(rule));
        }
        _ => return Err("no such statement about balance"),
    }
    Ok(())
}

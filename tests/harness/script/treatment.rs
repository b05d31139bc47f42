//! The lines of scripts that change what the service does with what is not plain traffic that fits.

use dataplane::snapshot::{Fragments, IcmpAnswers, IcmpErrors, MssClamp, Treatment};
use dataplane::types::ProxyDialect;

/// The treatment after a line.
///
/// # Errors
/// The line says none; why.
pub(super) fn change(
    treatment: Treatment,
    verb: &str,
    words: &[&str],
) -> Result<Treatment, &'static str> {
    match (verb, words) {
        ("mss", [word]) => {
            let mss_clamp = match (*word, word.parse()) {
                ("auto", _) => MssClamp::Auto,
                ("off", _) => MssClamp::Off,
                (_, Ok(bytes)) => MssClamp::Bytes(bytes),
                _ => return Err("mss is auto, off or a number"),
            };
            Ok(Treatment { mss_clamp, ..treatment })
        }
        ("icmp-errors", [word]) => {
            let icmp_errors = match *word {
                "drop" => IcmpErrors::Drop,
                "translate" => IcmpErrors::Translate,
                _ => return Err("icmp-errors is drop or translate"),
            };
            Ok(Treatment { icmp_errors, ..treatment })
        }
        ("fragments", [word]) => {
            let fragments = match *word {
                "drop" => Fragments::Drop,
                "reassemble" => Fragments::Reassemble,
                _ => return Err("fragments is drop or reassemble"),
            };
            Ok(Treatment { fragments, ..treatment })
        }
        ("proxy-protocol", [word]) => {
            let proxy_protocol = match *word {
                "none" => None,
                "azure" => Some(ProxyDialect::Azure),
                "aws" => Some(ProxyDialect::Aws),
                "gcp" => Some(ProxyDialect::Gcp),
                _ => return Err("proxy-protocol is none, azure, aws or gcp"),
            };
            Ok(Treatment { proxy_protocol, ..treatment })
        }
        ("icmp-answers", words) => {
            let mut icmp_answers = IcmpAnswers::default();
            for word in words {
                match *word {
                    "too_big" => icmp_answers.too_big = true,
                    "time_exceeded" => icmp_answers.time_exceeded = true,
                    "prohibited" => icmp_answers.prohibited = true,
                    _ => return Err("no such answer"),
                }
            }
            Ok(Treatment { icmp_answers, ..treatment })
        }
        _ => Err("no such treatment"),
    }
}

//! What a service does with what is not plain traffic that fits: the MSS, refusals, ICMP,
//! fragments; and whether it tells backends who asks.

use dataplane::snapshot::{Fragments, IcmpAnswers, IcmpErrors, MssClamp, Treatment};
use dataplane::types::ProxyDialect;

use super::super::profile::Profile;
use super::super::raw::{RawService, Text};
use super::super::reader::{Located, NumberOrWord};
use super::{Context, value};

/// The segment that every host takes (RFC 9293 3.7.1), and the largest that an IPv4 packet holds.
const MSS_MIN: u16 = 536;
const MSS_MAX: u16 = 65_495;

/// The refusals that `icmp_answers` may name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    TooBig,
    TimeExceeded,
    Prohibited,
}

const ANSWERS: &[(&str, Answer)] = &[
    ("too_big", Answer::TooBig),
    ("time_exceeded", Answer::TimeExceeded),
    ("prohibited", Answer::Prohibited),
];

pub(super) fn treatment(context: &mut Context, raw: &RawService) -> Option<Treatment> {
    let mss_clamp = match &raw.mss_clamp {
        None => Some(MssClamp::default()),
        Some(clamp) => mss_clamp(context, clamp),
    };
    let icmp_answers = match &raw.icmp_answers {
        None => Some(IcmpAnswers::default()),
        Some(words) => icmp_answers(context, words),
    };
    let words = [("drop", IcmpErrors::Drop), ("translate", IcmpErrors::Translate)];
    let icmp_errors = match &raw.icmp_errors {
        None => Some(IcmpErrors::default()),
        Some(text) => value::word(context, text, &words),
    };
    let words = [("drop", Fragments::Drop), ("reassemble", Fragments::Reassemble)];
    let fragments = match &raw.fragments {
        None => Some(Fragments::default()),
        Some(text) => value::word(context, text, &words),
    };
    let proxy_protocol = match &raw.proxy_protocol {
        None => Some(None),
        Some(text) => proxy_protocol(context, text, raw.profile.as_ref()),
    };
    Some(Treatment {
        mss_clamp: mss_clamp?,
        icmp_answers: icmp_answers?,
        icmp_errors: icmp_errors?,
        fragments: fragments?,
        proxy_protocol: proxy_protocol?,
    })
}

/// Whose PROXY header backends get, if any.
fn proxy_protocol(
    context: &mut Context,
    text: &Text,
    profile: Option<&Text>,
) -> Option<Option<ProxyDialect>> {
    // A profile that does not exist is reported where flows are judged.
    let is = |word: &str| profile.is_some_and(|profile| profile.value.eq_ignore_ascii_case(word));
    let profile = Profile::WORDS.iter().find(|(word, _)| is(word)).map(|(_, profile)| *profile);
    let words = [
        ("none", None),
        ("profile", Some(profile.unwrap_or_default().dialect())),
        ("azure", Some(Profile::Azure.dialect())),
        ("aws", Some(Profile::Aws.dialect())),
        ("gcp", Some(Profile::Gcp.dialect())),
    ];
    value::word(context, text, &words)
}

fn mss_clamp(context: &mut Context, raw: &Located<NumberOrWord>) -> Option<MssClamp> {
    let problem = match &raw.value {
        NumberOrWord::Word(word) if word.eq_ignore_ascii_case("auto") => {
            return Some(MssClamp::Auto);
        }
        NumberOrWord::Word(word) if word.eq_ignore_ascii_case("off") => return Some(MssClamp::Off),
        NumberOrWord::Word(word) => format!("{word:?} is not possible here"),
        NumberOrWord::Number(number) => {
            let bytes = u16::try_from(*number).ok();
            if let Some(bytes) = bytes.filter(|bytes| (MSS_MIN..=MSS_MAX).contains(bytes)) {
                return Some(MssClamp::Bytes(bytes));
            }
            format!("{number} is out of range")
        }
    };
    let cure = format!("write \"auto\", \"off\" or a number from {MSS_MIN} to {MSS_MAX}");
    context.error(&raw.place, problem, cure);
    None
}

fn icmp_answers(context: &mut Context, words: &[Text]) -> Option<IcmpAnswers> {
    let mut named: Vec<Answer> = Vec::new();
    let mut faultless = true;
    for text in words {
        match value::word(context, text, ANSWERS) {
            None => faultless = false,
            Some(answer) if named.contains(&answer) => {
                let problem = format!("{:?} is in the list twice", text.value);
                context.error(&text.place, problem, "remove one of the two");
                faultless = false;
            }
            Some(answer) => named.push(answer),
        }
    }
    faultless.then_some(IcmpAnswers {
        too_big: named.contains(&Answer::TooBig),
        time_exceeded: named.contains(&Answer::TimeExceeded),
        prohibited: named.contains(&Answer::Prohibited),
    })
}

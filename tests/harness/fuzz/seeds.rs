//! What fuzzing starts from: every frame that arrives in a packet script, the example
//! configurations, and requests and answers of every kind.
//!
//! Made from what is in the tree, so that a new script or example is a seed without a copy of it.
//! What fuzzing itself found is in `tests/fuzz/corpus`.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use control::api::{
    Answer, ErrorCode, Failure, Protocol, Request, Response, Session, SessionFilter,
};
use dataplane::io::vnet_header::emit;

use crate::encode::Image;
use crate::random::Random;
use crate::script;

/// Longer frames are left to the scripts: fuzzing works by many short inputs.
const FRAME_BYTES_MAX: usize = 600;

/// The seeds of a target, with a name for each.
///
/// # Panics
/// A script or an example cannot be read, or there is no such target.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "config" => configurations(),
        "frame" => frames(|image| image.bytes.clone()),
        "operations" => operations(),
        "protocol" => messages(),
        "virtio" => frames(|image| [&emit(&image.offload), image.bytes.as_slice()].concat()),
        _ => panic!("there is no target {target}"),
    }
}

/// What arrives in the scripts, behind the first byte of the targets `frame` and `virtio`.
fn frames(encode: impl Fn(&Image) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let (mut seeds, mut seen) = (Vec::new(), BTreeSet::new());
    for path in script::all() {
        let text = fs::read_to_string(&path).expect("a script can be read");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let shown = script::run(&name, &text);
        for (number, (device, image)) in (1..).zip(&shown.arrived) {
            let mut seed = vec![device.0.to_le_bytes()[0]];
            seed.extend(encode(image));
            if image.bytes.len() <= FRAME_BYTES_MAX && seen.insert(seed.clone()) {
                seeds.push((format!("{name}-{number}"), seed));
            }
        }
    }
    seeds
}

fn configurations() -> Vec<(String, Vec<u8>)> {
    let examples = ["control/adit.example.toml", "control/src/demo/adit.toml"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read(root.join(path)).expect("an example is there");
    examples.map(|path| (path.replace('/', "-"), read(path))).to_vec()
}

fn operations() -> Vec<(String, Vec<u8>)> {
    let list = |seed| {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..400).map(|_| random.draw().to_le_bytes()[0]).collect();
        (format!("random-{seed}"), bytes)
    };
    (1..=8).map(list).collect()
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let endpoint = || "pe-a".to_owned();
    let filter = SessionFilter {
        endpoint: Some(endpoint()),
        client: Some(IpAddr::from([10, 0, 1, 1])),
        backend: Some(IpAddr::from([10, 1, 0, 10])),
        nat_ip: Some(IpAddr::from([10, 1, 0, 4])),
        protocol: Some(Protocol::Tcp),
        limit: 5,
        ..SessionFilter::default()
    };
    let requests = [
        Request::Status {},
        Request::Endpoints {},
        Request::Services {},
        Request::Sessions(filter),
        Request::Drops { all: true },
        Request::Approve { endpoint: endpoint(), message: Some("ok".to_owned()) },
        Request::Reject { endpoint: endpoint(), message: None },
        Request::Reload {},
    ];
    let refused = Failure::new(ErrorCode::NotFound, "there is no endpoint", "look again");
    let answers = [
        Err(refused),
        Ok(Response::Sessions { sessions: Vec::<Session>::new(), last: true, more: 7 }),
        Ok(Response::Drops { drops: Vec::new(), total: 3 }),
        Ok(Response::Reloaded { generation: 2, warnings: Vec::new() }),
    ];
    let answers = answers.map(|answer| {
        let line = serde_json::to_string(&Answer::new(answer)).expect("an answer can be written");
        line + "\n"
    });
    let lines: Vec<String> = requests.iter().map(Request::line).chain(answers).collect();
    let mut seeds: Vec<(String, Vec<u8>)> = (1..)
        .zip(&lines)
        .map(|(number, line)| (format!("line-{number}"), [b"\x01", line.as_bytes()].concat()))
        .collect();
    seeds.push(("all".to_owned(), [b"\x03", lines.concat().as_bytes()].concat()));
    seeds
}

//! The command line as a definition, and what it makes of arguments.

use clap::error::ErrorKind;

use super::*;
use crate::api::{Protocol, SESSIONS_LIMIT};

fn parse(line: &str) -> Result<Command, ErrorKind> {
    let parsed = Cli::try_parse_from(line.split_whitespace());
    parsed.map(|cli| cli.command).map_err(|error| error.kind())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn commands_become_requests() {
    let line = "adit sessions --nat-ip 10.1.0.4:4000 --backend 10.1.0.10";
    let Ok(Command::Sessions { filter, .. }) = parse(line) else { panic!("{line}") };
    let filter = crate::api::SessionFilter::from(filter);
    assert_eq!((filter.nat_port, filter.backend_port), (Some(4_000), None));
    let line = "adit explain UDP a 10.0.0.9:1 10.0.0.5:53";
    let Ok(Command::Explain { packet, .. }) = parse(line) else { panic!("{line}") };
    let packet = crate::api::Packet::from(packet);
    assert_eq!((packet.protocol, packet.destination.port()), (Protocol::Udp, 53));
    let line = "adit sessions --endpoint pe-a --client 10.0.0.9 --protocol TCP --socket /tmp/x";
    let Ok(Command::Sessions { filter, connection }) = parse(line) else { panic!("{line}") };
    let filter = crate::api::SessionFilter::from(filter);
    assert_eq!(filter.endpoint.as_deref(), Some("pe-a"));
    assert_eq!(filter.protocol, Some(Protocol::Tcp));
    assert_eq!((filter.limit, filter.backend), (SESSIONS_LIMIT, None));
    assert_eq!(connection.place.socket, Path::new("/tmp/x"));
    let Ok(Command::Approve { endpoint, message, .. }) = parse("adit approve pe-a -m ok") else {
        panic!("approve")
    };
    assert_eq!((endpoint.as_str(), message.as_deref()), ("pe-a", Some("ok")));
    let Ok(Command::Run { config, .. }) = parse("adit run") else { panic!("run") };
    assert_eq!(config, Path::new("/etc/adit/adit.toml"));
}

#[test]
fn wrong_usage_is_refused() {
    for line in [
        "adit",
        "adit approve",
        "adit statsu",
        "adit sessions --client nobody",
        "adit explain tcp a 10.0.0.9 10.0.0.5:53",
        "adit kill 7",
        "adit sessions --limit 100001",
        "adit check",
        "adit completions tcsh",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    assert_eq!(parse("adit --version").err(), Some(ErrorKind::DisplayVersion));
}

#[test]
fn pages_and_completions_name_every_command() {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).unwrap();
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "adit", &mut script);
    let (page, script) = (String::from_utf8(page).unwrap(), String::from_utf8(script).unwrap());
    for command in Cli::command().get_subcommands().map(clap::Command::get_name) {
        assert!(page.contains(command) && script.contains(command), "{command}");
    }
    assert!(page.contains("Exit codes"));
}

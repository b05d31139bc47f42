//! Commands that need no daemon, or find none: what they print and how they end.

use crate::support::{Daemon, Home, endpoint, run};

#[test]
fn check_says_what_a_good_file_has() {
    let home = Home::new();
    let config = home.configure("", &endpoint("pe-a", "10.0.0.5", ""));
    let config = config.to_str().unwrap();
    let words = ["is valid", "2 virtual networks", "1 private endpoint", "pe-a", "Pending"];
    run(&["check", config]).expect(0, &words);
    assert_eq!(run(&["check", config, "--json"]).expect(0, &[]).json()["valid"], true);
}

#[test]
fn check_says_all_that_is_wrong_with_a_bad_file() {
    let home = Home::new();
    let bad = endpoint("pe-a", "10.9.0.5", "") + &endpoint("pe-b", "10.0.0.6", "colour = 1");
    let config = home.configure("workers = 1000", &bad.replace("\"web\"\n\n", "\"wbe\"\n\n"));
    let config = config.to_str().unwrap();
    let words = [
        "has faults",
        "line 3: adit.workers: 1000 is out of range",
        "private_endpoint[0].private_ip_address: 10.9.0.5 is outside",
        "did you mean \"web\"?",
        "private_endpoint[1].colour: unknown key",
    ];
    run(&["check", config]).expect(1, &words);
    let answer = run(&["check", config, "--json"]).expect(1, &[]).json();
    assert_eq!(answer["valid"], false);
    assert_eq!(answer["faults"].as_array().map(Vec::len), Some(4));
    run(&["check", "/no/such/file"]).expect(1, &["/no/such/file", "existing file"]);
    let binary = home.path("binary");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    run(&["check", binary.to_str().unwrap()]).expect(1, &["UTF-8"]);
}

#[test]
fn without_a_daemon_there_is_a_cure_and_a_code_of_its_own() {
    let home = Home::new();
    let socket = home.socket();
    let socket = socket.to_str().unwrap();
    for command in ["status", "endpoints", "services", "sessions", "drops", "reload"] {
        let words = ["no daemon answers", socket, "adit run", "--socket"];
        run(&[command, "--socket", socket]).expect(3, &words);
    }
    run(&["approve", "pe-a", "--socket", socket]).expect(3, &["no daemon answers"]);
}

#[test]
fn wrong_usage_has_a_code_of_its_own_and_help_has_none() {
    run(&["statsu"]).expect(2, &["status"]);
    run(&["approve"]).expect(2, &["ENDPOINT"]);
    run(&[]).expect(2, &["Usage"]);
    run(&["--help"]).expect(0, &["Exit codes", "sessions"]);
    run(&["--version"]).expect(0, &["adit "]);
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        run(&["completions", shell]).expect(0, &["adit", "approve"]);
    }
    run(&["man"]).expect(0, &[".TH adit"]);
    let home = Home::new();
    let directory = home.path("");
    run(&["man", directory.to_str().unwrap()]).expect(0, &[]);
    assert!(home.path("adit.1").exists() && home.path("adit-approve.1").exists());
}

#[test]
fn a_daemon_with_a_bad_file_or_without_one_does_not_start() {
    let home = Home::new();
    let config = home.configure("workers = 0", "");
    let (status, log) = Daemon::spawn(&home, &config).wait();
    assert_eq!(status.code(), Some(1), "{log:?}");
    assert!(log.iter().any(|line| line.contains("adit.workers")), "{log:?}");
    let (status, log) = Daemon::spawn(&home, &home.path("none.toml")).wait();
    assert_eq!(status.code(), Some(1), "{log:?}");
    assert!(log.iter().any(|line| line.contains("--config")), "{log:?}");
    assert!(!home.socket().exists());
}

//! Runs the real binary, without privileges: commands that end, and daemons that are ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command with these arguments.
pub(crate) fn adit(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command.args(arguments).env_remove("ADIT_SOCKET").stdin(Stdio::null());
    command
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    fn of(output: &Output) -> Done {
        Done {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless the command ended with `code` and said these words, on either stream.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Done {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing from: {said}");
        }
        self
    }

    /// The JSON on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    Done::of(&adit(arguments).output().expect("adit runs"))
}

/// A directory with a configuration in it.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { directory: tempfile::tempdir().expect("a directory for the test") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("adit.sock")
    }

    /// Writes the configuration: devices that do not exist, a service, and these endpoints.
    pub(crate) fn configure(&self, settings: &str, endpoints: &str) -> PathBuf {
        let text = format!(
            "[adit]\ncontrol_socket = {:?}\n{settings}\n{RESOURCES}{endpoints}",
            self.socket()
        );
        self.write("adit.toml", &text)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file is written");
        path
    }
}

/// Everything but the process and the endpoints.
const RESOURCES: &str = r#"
[[virtual_network]]
name = "a"
address_space = ["10.0.0.0/16"]
[[virtual_network]]
name = "p"
address_space = ["10.1.0.0/16"]
[[device]]
name = "adit-no-such-a"
kind = "af_packet"
virtual_network = "a"
[[device]]
name = "adit-no-such-p"
kind = "af_packet"
virtual_network = "p"
[[load_balancer]]
name = "lb"
virtual_network = "p"
backend_address_pool = [{ name = "pool", backend_addresses = ["10.1.0.10", "10.1.0.11"] }]
[[load_balancer.load_balancing_rule]]
name = "http"
protocol = "Tcp"
frontend_port = 80
backend_port = 8080
backend_address_pool = "pool"
[[private_link_service]]
name = "web"
load_balancer = "lb"
nat_ip_configurations = [{ name = "nat1", private_ip_address = "10.1.0.4" }]
"#;

/// An endpoint of the virtual network `a`.
pub(crate) fn endpoint(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[private_endpoint]]\nname = \"{name}\"\nvirtual_network = \"a\"\n\
        private_ip_address = \"{address}\"\nprivate_link_service = \"web\"\n{more}\n"
    )
}

/// A daemon that runs; killed if the test fails before it ends.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    socket: PathBuf,
    pub(crate) log: Vec<String>,
}

impl Daemon {
    /// Starts one and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(home: &Home, config: &Path) -> Daemon {
        let mut daemon = Daemon::spawn(home, config);
        daemon.wait_for("ready");
        daemon
    }

    /// The same, with more words on its command line.
    #[track_caller]
    pub(crate) fn start_with(home: &Home, config: &Path, more: &[&str]) -> Daemon {
        let mut command = Daemon::command(config);
        command.args(more);
        let mut daemon = Daemon::of(home, command);
        daemon.wait_for("ready");
        daemon
    }

    /// Starts one.
    pub(crate) fn spawn(home: &Home, config: &Path) -> Daemon {
        Daemon::spawn_with(home, config, &[])
    }

    /// Starts one with more in its environment.
    pub(crate) fn spawn_with(home: &Home, config: &Path, environment: &[(&str, &str)]) -> Daemon {
        let mut command = Daemon::command(config);
        command.envs(environment.iter().copied());
        Daemon::of(home, command)
    }

    fn command(config: &Path) -> Command {
        adit(&["run", "--config", config.to_str().expect("a path in UTF-8")])
    }

    fn of(home: &Home, mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("adit starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Daemon { child, lines, socket: home.socket(), log: Vec::new() }
    }

    /// Waits until it says a line with `word`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(error) => panic!("{error}: no {word:?} in {:#?}", self.log),
            }
        }
    }

    /// Runs a command against it.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Done {
        Done::of(&adit(arguments).env("ADIT_SOCKET", &self.socket).output().expect("adit runs"))
    }

    /// Its answer in JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.ask(&arguments).expect(0, &[]).json()
    }

    /// A connection to its socket.
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the daemon lives");
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.log.push(line),
                // Its end closes the pipe.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.log),
            }
        }
        let status = self.child.wait().expect("it has ended");
        (status, std::mem::take(&mut self.log))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

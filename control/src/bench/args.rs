//! What may stand on the command line after `adit bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::answer::Speak;
use super::ladder::Profile;
use super::places::Source;
use super::work::Mode;

/// What `adit bench --help` says below the commands.
const HELP: &str = "\
It sends from sockets of this machine's kernel, needs no root, and measures whatever answers: \
adit, another load balancer, or a backend. docs/bench.md has a worked example.

Exit codes: 0 the bounds held, 1 they did not or it could not begin, 2 wrong usage.";

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP)]
pub enum Bench {
    /// Connections: new ones a second, requests over held ones, or as many as go at once
    Tcp(Tcp),
    /// Datagrams to an echo and back: loss, order and round-trip times
    Udp(Udp),
    /// Be a backend to measure: answers lines, HTTP and datagrams, and says its name
    Serve(Serve),
}

/// Options of `adit bench tcp`.
#[derive(Clone, Debug, Args)]
pub struct Tcp {
    /// Where to
    #[arg(value_name = "TARGET:PORT")]
    pub(super) target: String,
    /// What is done
    #[arg(long, value_enum, default_value_t = Mode::Open)]
    pub(super) mode: Mode,
    /// What backends understand
    #[arg(long, value_enum, default_value_t = Speak::Line)]
    pub(super) speak: Speak,
    /// Path of HTTP requests
    #[arg(long, default_value = "/")]
    pub(super) path: String,
    /// HTTP header of answers that names the backend; without it, `backend=NAME` in the body
    #[arg(long, value_name = "NAME")]
    pub(super) backend_header: Option<String>,
    /// Bytes of a line (64), or of an HTTP body, which makes it a POST
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(super) size: Option<u32>,
    /// How connections end: `reset` leaves no TIME_WAIT on this machine
    #[arg(long, value_enum, default_value_t = Close::Fin)]
    pub(super) close: Close,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    pub(super) flows: u32,
    /// Begun in a second, whatever becomes of them; without it, each as soon as a flow is free
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// How long a connection or an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) common: Common,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Close {
    /// As usual
    Fin,
    /// By a reset
    Reset,
}

/// Options of `adit bench udp`.
#[derive(Clone, Debug, Args)]
pub struct Udp {
    /// Where to; an echo must answer there
    #[arg(value_name = "TARGET:PORT")]
    pub(super) target: String,
    /// Bytes of a datagram, at least 63
    #[arg(long, value_name = "BYTES", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(63..=65_000))]
    pub(super) size: u32,
    /// Sockets that take turns, each with a port of its own
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    pub(super) flows: u32,
    /// Datagrams in a second
    #[arg(long, value_name = "N", default_value = "1000", value_parser = rate)]
    pub(super) rate: f64,
    /// How long the last answers are waited for; what comes later is lost
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Options that both have.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// How long it is measured, or connections are held
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// How long it runs before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warm_up: Duration,
    /// So many connections, requests or datagrams, instead of for a time
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "warm_up", "profile", "step"],
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Address to send from, or all of a prefix; may be given again. Each makes room for as many
    /// flows as it has ports
    #[arg(long, value_name = "ADDRESS[/PREFIX]")]
    pub(super) source: Vec<Source>,
    /// Threads, at most one for each processor; usually one less
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Rates, one step for each, until one is bad
    #[arg(long, value_name = "RATE", value_delimiter = ',', value_parser = rate,
        conflicts_with_all = ["rate", "profile"])]
    pub(super) step: Vec<f64>,
    /// A ready-made ladder of steps
    #[arg(long, value_enum)]
    pub(super) profile: Option<Profile>,
    /// How many of a hundred may fail in a good step
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) max_loss: f64,
    /// Print the result in JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Write the result as a page with plots
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// Options of `adit bench serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address and port, for TCP and UDP
    #[arg(short, long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7007")]
    pub(super) listen: SocketAddr,
    /// Name that answers give
    #[arg(short, long, default_value = "bench")]
    pub(super) name: String,
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 1e8).filter(|rate| *rate > 0.0).ok_or_else(|| "a number of at most 1e8".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 100.0).ok_or_else(|| "a number from 0 to 100".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = number(text, 86_400.0).ok_or("seconds, at most a day: 10 or 0.5")?;
    Ok(Duration::from_secs_f64(seconds))
}

fn number(text: &str, most: f64) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| (0.0..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(rate("1e3"), Ok(1000.0));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(percent("0"), Ok(0.0));
        for wrong in ["", "-1", "nan", "inf", "1e9", "x"] {
            assert!(rate(wrong).is_err() && percent(wrong).is_err(), "{wrong}");
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(rate("0").is_err());
    }
}

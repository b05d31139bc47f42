//! What may stand on the command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::api::{
    Packet, Protocol, SESSIONS_LIMIT, SESSIONS_LIMIT_MAX, SNAP_BYTES, SessionFilter, SessionId,
    Suspect, TraceFilter,
};
use crate::config::CONTROL_SOCKET;
use crate::daemon::ArmOptions;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed or refused; standard error says why and what to do
  2  wrong usage of the command line
  3  the daemon cannot be reached";

/// Private Link that moves real packets.
#[derive(Debug, Parser)]
#[command(name = "adit", version, about, after_help = EXIT_CODES, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the data path in the foreground until SIGTERM or SIGINT; SIGHUP reloads
    Run {
        /// Configuration file
        #[arg(short, long, value_name = "FILE", default_value = "/etc/adit/adit.toml")]
        config: PathBuf,
        /// How the API is served
        #[command(flatten)]
        arm: Arm,
    },
    /// Work with Azure's management API, which `run --arm` serves
    #[command(subcommand)]
    Arm(ArmCommand),
    /// Check a configuration file and summarise it, without running anything
    Check {
        /// Configuration file
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the daemon read its configuration file again, whole or not at all
    Reload {
        /// Only say what that would do
        #[arg(long)]
        plan: bool,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Say what a configuration file would change, and what would become of the flows that live
    /// now; change nothing
    Plan {
        /// Configuration file; the daemon's own, unless it is named
        file: Option<PathBuf>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Show how the daemon, its workers, devices and next hops are
    Status {
        /// Show it again and again, every so many seconds, until interrupted
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
            value_parser = seconds)]
        watch: Option<Duration>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Watch it all live: rates, endpoints, services, backends, NAT ports and drops
    Top {
        /// Seconds between two looks
        #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        interval: Duration,
        /// How to reach the daemon
        #[command(flatten)]
        place: Place,
    },
    /// Show private endpoints and the state of their connections
    Endpoints(Connection),
    /// Show private link services: rules, backends and how many NAT ports are leased
    Services(Connection),
    /// Show flows that live now
    Sessions {
        /// Which flows
        #[command(flatten)]
        filter: Filter,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Say what would become of a packet that came now: each decision, or the first refusal and its
    /// cure
    Explain {
        /// The packet
        #[command(flatten)]
        packet: PacketArgs,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// End a flow that lives now, with resets to both sides if its rule has them
    Kill {
        /// Its id, as `adit sessions` has it
        session: SessionId,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Say whose an address and port on the provider's side is, or was until some minutes ago
    Whois {
        /// What was seen
        #[command(flatten)]
        suspect: SuspectArgs,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Show packets while they pass: what each was, what became of it, and what it leaves as
    ///
    /// Flows that match do not go by the kernel's fast path meanwhile.
    Trace {
        /// Which packets
        #[command(flatten)]
        filter: TraceArgs,
        /// Write them, as they arrived and as they left, to this file for Wireshark (pcapng); - is
        /// standard output
        #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
        write: Option<PathBuf>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Show why packets were dropped, how often, and what to do about it
    Drops {
        /// Show also what never happened
        #[arg(long)]
        all: bool,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Let the traffic of a private endpoint pass
    Approve {
        /// Name of the private endpoint
        endpoint: String,
        /// Words for whoever looks at it later
        #[arg(short, long)]
        message: Option<String>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Stop the traffic of a private endpoint
    Reject {
        /// Name of the private endpoint
        endpoint: String,
        /// Words for whoever looks at it later
        #[arg(short, long)]
        message: Option<String>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Print the reference of the configuration file, in Markdown
    Reference,
    /// Put a load on a backend or load balancer, and measure what comes back
    #[command(subcommand)]
    Bench(crate::bench::Bench),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// Directory to write all pages to
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Set up a small Private Link on this machine, show it at work, and check what is shown
    Demo(crate::demo::Options),
}

/// How the API is served, and where state is kept.
#[derive(Clone, Debug, Args)]
pub struct Arm {
    /// Serve Azure's management API for Private Link over TLS here
    #[arg(long, value_name = "ADDRESS:PORT")]
    arm: Option<SocketAddr>,
    /// File of subscriptions, identities and their roles
    #[arg(long, value_name = "FILE", requires = "arm")]
    arm_roles: Option<PathBuf>,
    /// Refuse also what Azure refuses and adit could do
    #[arg(long, requires = "arm")]
    arm_strict: bool,
    /// Folder in which state is kept; with --arm by default /var/lib/adit, or beside another
    /// control socket than the usual one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl From<Arm> for ArmOptions {
    fn from(arm: Arm) -> ArmOptions {
        ArmOptions {
            listen: arm.arm,
            roles: arm.arm_roles,
            is_strict: arm.arm_strict,
            state: arm.state,
        }
    }
}

/// Commands about the API.
#[derive(Debug, Subcommand)]
pub enum ArmCommand {
    /// Print what programs need to reach the API, as exports for a shell
    Env {
        /// A token for this identity of the file of roles, instead of the operator
        #[arg(long, value_name = "NAME")]
        identity: Option<String>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
}

/// How to reach the daemon.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", env = "ADIT_SOCKET", default_value = CONTROL_SOCKET)]
    pub socket: PathBuf,
}

/// How to reach the daemon, and how to show what it says.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// Where it is
    #[command(flatten)]
    pub place: Place,
    /// Show the daemon's answer as it is, in JSON: one object a line, of which `sessions` may have
    /// several
    #[arg(long)]
    pub json: bool,
}

/// A packet, as its sender sends it: a client to an endpoint, or a backend to a NAT IP.
#[derive(Clone, Debug, Args)]
pub struct PacketArgs {
    /// Its protocol
    #[arg(ignore_case = true)]
    protocol: ProtocolName,
    /// The virtual network that it comes from
    #[arg(value_name = "VNET")]
    virtual_network: String,
    /// Where it comes from
    #[arg(value_name = "SOURCE:PORT")]
    source: SocketAddr,
    /// Where it goes
    #[arg(value_name = "DESTINATION:PORT")]
    destination: SocketAddr,
}

impl From<PacketArgs> for Packet {
    fn from(packet: PacketArgs) -> Packet {
        Packet {
            protocol: packet.protocol.into(),
            virtual_network: packet.virtual_network,
            source: packet.source,
            destination: packet.destination,
        }
    }
}

/// An address, or one of its ports.
#[derive(Clone, Copy, Debug)]
struct Socket {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Socket {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Socket, Self::Err> {
        let whole = text.parse().map(|address| Socket { address, port: None }).ok();
        let with_port = || {
            let socket: SocketAddr = text.parse().ok()?;
            Some(Socket { address: socket.ip(), port: Some(socket.port()) })
        };
        whole
            .or_else(with_port)
            .ok_or("neither an IP address nor ADDRESS:PORT ([ADDRESS]:PORT for IPv6)")
    }
}

/// What a backend sees of a flow.
#[derive(Clone, Debug, Args)]
pub struct SuspectArgs {
    /// Where packets come from
    #[arg(value_name = "NAT-IP:PORT")]
    nat: SocketAddr,
    /// Where they go
    #[arg(value_name = "BACKEND[:PORT]")]
    backend: Socket,
    /// Their protocol
    #[arg(ignore_case = true)]
    protocol: Option<ProtocolName>,
    /// When, if not now: 2026-11-29T15:04:05Z, 15:04:05 (today, in UTC), or 5m ago
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl From<SuspectArgs> for Suspect {
    fn from(suspect: SuspectArgs) -> Suspect {
        Suspect {
            nat: suspect.nat,
            backend: suspect.backend.address,
            backend_port: suspect.backend.port,
            protocol: suspect.protocol.map(Protocol::from),
            at: suspect.at,
        }
    }
}

/// Which flows to show; all conditions must hold.
#[derive(Clone, Debug, Args)]
pub struct Filter {
    /// Of this private endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// From this client
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    client: Option<Socket>,
    /// To this port of the endpoint
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Served by this backend
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    backend: Option<Socket>,
    /// Through this NAT IP
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    nat_ip: Option<Socket>,
    /// Of this protocol
    #[arg(long, ignore_case = true)]
    protocol: Option<ProtocolName>,
    /// Show at most so many, and count the rest
    #[arg(long, value_name = "COUNT", default_value_t = SESSIONS_LIMIT,
        value_parser = limit)]
    limit: usize,
}

/// Which packets to show; all conditions must hold, on either side of adit.
#[derive(Clone, Debug, Args)]
pub struct TraceArgs {
    /// Of this protocol
    #[arg(long, ignore_case = true)]
    protocol: Option<ProtocolName>,
    /// In this virtual network
    #[arg(long, value_name = "VNET")]
    vnet: Option<String>,
    /// Through this private endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// From or to this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Through this NAT IP
    #[arg(long, value_name = "ADDRESS")]
    nat_ip: Option<IpAddr>,
    /// To or from this backend
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<IpAddr>,
    /// From or to this port, of whomever
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Only what is dropped
    #[arg(long)]
    dropped: bool,
    /// Only what is dropped for this reason, by its name in `adit drops`
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// End after so many packets
    #[arg(short = 'c', long, value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Bytes of each packet that are kept: 64 to 9216
    #[arg(long, value_name = "BYTES", default_value_t = SNAP_BYTES)]
    snap: usize,
}

impl From<TraceArgs> for TraceFilter {
    fn from(args: TraceArgs) -> TraceFilter {
        TraceFilter {
            protocol: args.protocol.map(Protocol::from),
            virtual_network: args.vnet,
            endpoint: args.endpoint,
            client: args.client,
            nat_ip: args.nat_ip,
            backend: args.backend,
            port: args.port,
            dropped: args.dropped,
            reason: args.reason,
            snap: Some(args.snap),
            count: args.count,
            seconds: args.seconds,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolName {
    Tcp,
    Udp,
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Protocol {
        match name {
            ProtocolName::Tcp => Protocol::Tcp,
            ProtocolName::Udp => Protocol::Udp,
        }
    }
}

/// Seconds between two looks: a tenth to an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let range = 0.1..=3600.0;
    let is_possible = range.contains(&seconds);
    is_possible.then(|| Duration::from_secs_f64(seconds)).ok_or("0.1 to 3600".to_owned())
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().map_err(|_| "not a number".to_owned())?;
    let range = 0..=SESSIONS_LIMIT_MAX;
    range.contains(&limit).then_some(limit).ok_or(format!("at most {SESSIONS_LIMIT_MAX}"))
}

impl From<Filter> for SessionFilter {
    fn from(filter: Filter) -> SessionFilter {
        SessionFilter {
            endpoint: filter.endpoint,
            client: filter.client.map(|socket| socket.address),
            client_port: filter.client.and_then(|socket| socket.port),
            endpoint_port: filter.port,
            backend: filter.backend.map(|socket| socket.address),
            backend_port: filter.backend.and_then(|socket| socket.port),
            nat_ip: filter.nat_ip.map(|socket| socket.address),
            nat_port: filter.nat_ip.and_then(|socket| socket.port),
            protocol: filter.protocol.map(Protocol::from),
            limit: filter.limit,
        }
    }
}

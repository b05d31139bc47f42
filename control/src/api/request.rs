//! Requests, and how a line becomes one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::VERSION;
use super::response::{ErrorCode, Failure};
use super::session_id::SessionId;
use super::trace::TraceFilter;
use crate::config::{plain, suggest};

/// Sessions in an answer unless the request says otherwise.
pub const SESSIONS_LIMIT: usize = 1_000;

/// Sessions in an answer at most.
pub const SESSIONS_LIMIT_MAX: usize = 100_000;

/// Names of all requests, as they stand in the field `request`.
const NAMES: [&str; 14] = [
    "status",
    "endpoints",
    "services",
    "sessions",
    "explain",
    "kill",
    "whois",
    "drops",
    "approve",
    "reject",
    "reload",
    "plan",
    "access",
    "trace",
];

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is.
    Status {},
    /// All private endpoints.
    Endpoints {},
    /// All private link services.
    Services {},
    /// Flows that live now.
    Sessions(SessionFilter),
    /// What would become of a packet that came now.
    Explain(Packet),
    /// Ends a flow that lives now.
    Kill {
        /// Its id, as `sessions` has it.
        session: SessionId,
    },
    /// Whose an address and port on the provider's side is, or was.
    Whois(Suspect),
    /// Why packets were dropped.
    Drops {
        /// Also the reasons that never happened.
        #[serde(default)]
        all: bool,
    },
    /// Lets an endpoint's traffic pass.
    Approve {
        /// Its name.
        endpoint: String,
        /// Words for whoever looks at it later.
        #[serde(default)]
        message: Option<String>,
    },
    /// Stops an endpoint's traffic.
    Reject {
        /// Its name.
        endpoint: String,
        /// Words for whoever looks at it later.
        #[serde(default)]
        message: Option<String>,
    },
    /// Reads the configuration file again.
    Reload {},
    /// Says what a configuration file would do, and does nothing.
    Plan {
        /// Its absolute path; the daemon's own, if it is not said.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    /// What programs need to reach the API.
    Access {
        /// As whom; the operator, if it is not said.
        #[serde(default)]
        identity: Option<String>,
    },
    /// Shows packets while they pass.
    Trace(TraceFilter),
}

/// A transport protocol, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl From<dataplane::types::Protocol> for Protocol {
    fn from(protocol: dataplane::types::Protocol) -> Protocol {
        match protocol {
            dataplane::types::Protocol::Tcp => Protocol::Tcp,
            dataplane::types::Protocol::Udp => Protocol::Udp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Protocol> for dataplane::types::Protocol {
    fn from(protocol: Protocol) -> dataplane::types::Protocol {
        match protocol {
            Protocol::Tcp => dataplane::types::Protocol::Tcp,
            Protocol::Udp => dataplane::types::Protocol::Udp,
        }
    }
}

/// A packet that somebody asks about: a TCP segment that opens a connection, or a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// Its protocol.
    pub protocol: Protocol,
    /// The virtual network that it comes from.
    pub virtual_network: String,
    /// Its source address and port.
    pub source: SocketAddr,
    /// Its destination address and port.
    pub destination: SocketAddr,
}

/// What somebody saw on the provider's side, and asks whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspect {
    /// The NAT IP and its port.
    pub nat: SocketAddr,
    /// The backend.
    pub backend: IpAddr,
    /// Its port, if it is known.
    #[serde(default)]
    pub backend_port: Option<u16>,
    /// The protocol, if it is known.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// When it was seen, if not now: RFC 3339, a time of today in UTC, or how long ago.
    #[serde(default)]
    pub at: Option<String>,
}

/// Which sessions a client wants; all conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFilter {
    /// Of this private endpoint.
    pub endpoint: Option<String>,
    /// From this client.
    pub client: Option<IpAddr>,
    /// From this port of the client.
    pub client_port: Option<u16>,
    /// To this port of the endpoint.
    pub endpoint_port: Option<u16>,
    /// Served by this backend.
    pub backend: Option<IpAddr>,
    /// By this port of the backend.
    pub backend_port: Option<u16>,
    /// Through this NAT IP.
    pub nat_ip: Option<IpAddr>,
    /// By this port of the NAT IP.
    pub nat_port: Option<u16>,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// How many at most; the rest is only counted.
    pub limit: usize,
}

impl Default for SessionFilter {
    fn default() -> Self {
        SessionFilter {
            endpoint: None,
            client: None,
            client_port: None,
            endpoint_port: None,
            backend: None,
            backend_port: None,
            nat_ip: None,
            nat_port: None,
            protocol: None,
            limit: SESSIONS_LIMIT,
        }
    }
}

impl Request {
    /// The request on a line.
    ///
    /// # Errors
    /// The line is none; the failure says how it should look.
    pub fn parse(line: &[u8]) -> Result<Request, Failure> {
        const FORM: &str = "send one line: {\"version\":1,\"request\":\"status\"}";
        // Names of unknown fields are quoted as they came.
        let bad = |message: String, cure: &str| {
            Failure::new(ErrorCode::BadRequest, plain(&message), cure)
        };
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| bad(format!("the request is not JSON: {error}"), FORM))?;
        let Value::Object(mut fields) = value else {
            return Err(bad("the request is not a JSON object".to_owned(), FORM));
        };
        check_version(&mut fields)?;
        let name = match fields.get("request") {
            Some(Value::String(name)) => name.clone(),
            _ => return Err(bad("the field \"request\" is not a string".to_owned(), FORM)),
        };
        if !NAMES.contains(&name.as_str()) {
            let message = format!("there is no request {name:?}");
            let cure = suggest::cure(&name, NAMES.into_iter());
            return Err(Failure::new(ErrorCode::UnknownRequest, message, cure));
        }
        let request: Request = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            bad(format!("the request {name:?} has wrong fields: {error}"), "see `adit help`")
        })?;
        request.within_bounds()
    }

    /// The line that carries this request, its end included.
    #[must_use]
    pub fn line(&self) -> String {
        let mut fields = Map::new();
        fields.insert("version".to_owned(), VERSION.into());
        if let Ok(Value::Object(own)) = serde_json::to_value(self) {
            fields.extend(own);
        }
        format!("{}\n", Value::Object(fields))
    }

    fn within_bounds(self) -> Result<Request, Failure> {
        match &self {
            Request::Sessions(filter) if filter.limit > SESSIONS_LIMIT_MAX => {
                let message = format!("the limit {} is too large", filter.limit);
                let cure = format!("ask for at most {SESSIONS_LIMIT_MAX}, or narrow the filter");
                Err(Failure::new(ErrorCode::BadRequest, message, cure))
            }
            Request::Approve { message: Some(text), .. }
            | Request::Reject { message: Some(text), .. }
                if text.chars().count() > 140 || text.chars().any(char::is_control) =>
            {
                let message = "the message is too long or has control characters";
                let cure = "write at most 140 plain characters";
                Err(Failure::new(ErrorCode::BadRequest, message, cure))
            }
            _ => Ok(self),
        }
    }
}

fn check_version(fields: &mut Map<String, Value>) -> Result<(), Failure> {
    match fields.remove("version") {
        Some(Value::Number(version)) if version.as_u64() == Some(u64::from(VERSION)) => Ok(()),
        Some(version) => {
            let message = format!("protocol version {version} is not spoken here");
            let cure = format!("send \"version\":{VERSION}, or use the `adit` of the daemon");
            Err(Failure::new(ErrorCode::UnsupportedVersion, plain(&message), cure))
        }
        None => {
            let cure = format!("add \"version\":{VERSION}");
            Err(Failure::new(ErrorCode::BadRequest, "the field \"version\" is missing", cure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Failure {
        Request::parse(line.as_bytes()).expect_err(line)
    }

    #[test]
    fn requests_travel_as_lines() {
        let requests = [
            Request::Status {},
            Request::Endpoints {},
            Request::Services {},
            Request::Sessions(SessionFilter {
                nat_ip: Some(IpAddr::from([10, 1, 0, 4])),
                protocol: Some(Protocol::Udp),
                ..SessionFilter::default()
            }),
            Request::Explain(Packet {
                protocol: Protocol::Tcp,
                virtual_network: "a".to_owned(),
                source: "10.0.0.9:40000".parse().unwrap(),
                destination: "10.0.0.5:443".parse().unwrap(),
            }),
            Request::Kill { session: "0-1f-9f3a21c4".parse().unwrap() },
            Request::Whois(Suspect {
                nat: "10.1.0.4:1024".parse().unwrap(),
                backend: IpAddr::from([10, 1, 0, 10]),
                backend_port: Some(8443),
                protocol: Some(Protocol::Tcp),
                at: Some("5m".to_owned()),
            }),
            Request::Drops { all: true },
            Request::Approve { endpoint: "pe-a".to_owned(), message: Some("ok".to_owned()) },
            Request::Reject { endpoint: "pe-a".to_owned(), message: None },
            Request::Reload {},
            Request::Plan { file: Some("/etc/adit/new.toml".into()) },
            Request::Access { identity: Some("ci".to_owned()) },
            Request::Trace(TraceFilter {
                backend: Some(IpAddr::from([10, 1, 0, 10])),
                dropped: true,
                count: Some(10),
                ..TraceFilter::default()
            }),
        ];
        assert_eq!(requests.len(), NAMES.len());
        for request in requests {
            let line = request.line();
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            assert_eq!(Request::parse(line.as_bytes()).unwrap(), request, "{line}");
        }
        let short = "{\"version\":1,\"request\":\"sessions\"}";
        let all = Request::Sessions(SessionFilter::default());
        assert_eq!(Request::parse(short.as_bytes()).unwrap(), all);
        let drops = "{\"request\":\"drops\",\"version\":1}";
        assert_eq!(Request::parse(drops.as_bytes()).unwrap(), Request::Drops { all: false });
    }

    #[test]
    fn malformed_lines_are_refused_with_a_cure() {
        use ErrorCode::{BadRequest, UnknownRequest, UnsupportedVersion};
        let long = format!(
            "{{\"version\":1,\"request\":\"approve\",\"endpoint\":\"a\",\"message\":\"{}\"}}",
            "x".repeat(141)
        );
        let deep = "[".repeat(60_000);
        let table = [
            ("", BadRequest, "not JSON"),
            ("{", BadRequest, "not JSON"),
            ("hello", BadRequest, "not JSON"),
            ("[]", BadRequest, "not a JSON object"),
            ("null", BadRequest, "not a JSON object"),
            (deep.as_str(), BadRequest, "not JSON"),
            ("{}", BadRequest, "version"),
            ("{\"version\":1}", BadRequest, "request"),
            ("{\"version\":1,\"request\":7}", BadRequest, "request"),
            ("{\"version\":2,\"request\":\"status\"}", UnsupportedVersion, "version 2"),
            ("{\"version\":\"1\",\"request\":\"status\"}", UnsupportedVersion, "version"),
            ("{\"version\":1,\"request\":\"statsu\"}", UnknownRequest, "statsu"),
            ("{\"version\":1,\"request\":\"status\",\"x\":1}", BadRequest, "unknown field"),
            ("{\"version\":1,\"request\":\"approve\"}", BadRequest, "endpoint"),
            ("{\"version\":1,\"request\":\"approve\",\"endpoint\":5}", BadRequest, "string"),
            ("{\"version\":1,\"request\":\"sessions\",\"clinet\":\"a\"}", BadRequest, "clinet"),
            ("{\"version\":1,\"request\":\"kill\",\"session\":\"7\"}", BadRequest, "session"),
            ("{\"version\":1,\"request\":\"sessions\",\"limit\":100001}", BadRequest, "100001"),
            (long.as_str(), BadRequest, "message"),
        ];
        for (line, code, word) in table {
            let failure = refused(line);
            assert_eq!(failure.code, code, "{line}");
            assert!(failure.message.contains(word), "{line}: {}", failure.message);
            assert!(!failure.cure.is_empty());
        }
        assert!(Request::parse(&[0xff, 0xfe]).is_err());
        let forged = refused("{\"version\":1,\"request\":\"status\",\"x\\nadit: ok\\u007f\":1}");
        assert!(!forged.message.chars().any(char::is_control), "{}", forged.message);
        let near = refused("{\"version\":1,\"request\":\"statsu\"}");
        assert_eq!(near.cure, "did you mean \"status\"?");
    }
}

//! Answers: plain data for programs, from which the command line also makes its tables.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Drop, Endpoint, Explanation, Owner, Packet, Plan, Service, Session, Status, TracePacket,
    VERSION,
};
use crate::arm::Access;
use crate::config::{ConfigError, ConfigErrors};
use crate::state::ConnectionState;

/// One line of answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Version of the protocol.
    pub version: u32,
    /// What became of the request.
    #[serde(flatten)]
    pub result: AnswerResult,
}

/// Either side of an [`Answer`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerResult {
    /// It was done.
    Ok(Response),
    /// It was not.
    Error(Failure),
}

impl Answer {
    /// An answer in this version of the protocol.
    #[must_use]
    pub fn new(result: Result<Response, Failure>) -> Answer {
        let result = match result {
            Ok(response) => AnswerResult::Ok(response),
            Err(failure) => AnswerResult::Error(failure),
        };
        Answer { version: VERSION, result }
    }

    /// What became of the request.
    ///
    /// # Errors
    /// What the daemon refused.
    pub fn into_result(self) -> Result<Response, Failure> {
        match self.result {
            AnswerResult::Ok(response) => Ok(response),
            AnswerResult::Error(failure) => Err(failure),
        }
    }
}

/// Why a request failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed.
    BadRequest,
    /// The request is of another version of the protocol.
    UnsupportedVersion,
    /// There is no such request.
    UnknownRequest,
    /// What the request names does not exist.
    NotFound,
    /// What the request asks is not possible in the present state.
    Refused,
    /// The configuration file is faulty or unreadable; nothing changed.
    InvalidConfiguration,
    /// The configuration changes what only a restart can; nothing changed.
    RestartNeeded,
    /// Workers did not answer in time.
    Timeout,
    /// It was done, but it could not be written down who did it.
    NotRecorded,
    /// Too many clients.
    Busy,
    /// A bug of adit.
    Internal,
}

/// Why a request failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub cure: String,
    /// Of a faulty configuration: every fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ConfigError>,
}

impl Failure {
    /// A failure without faults of a file.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, cure: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), cure: cure.into(), faults: Vec::new() }
    }

    /// The failure to take a configuration.
    #[must_use]
    pub fn of_configuration(errors: &ConfigErrors) -> Failure {
        let faults = errors.list().to_vec();
        let message = match faults.len() {
            1 => "the configuration has a fault; nothing was changed".to_owned(),
            count => format!("the configuration has {count} faults; nothing was changed"),
        };
        let cure = "mend the file, look at it with `adit check`, and reload again".to_owned();
        Failure { code: ErrorCode::InvalidConfiguration, message, cure, faults }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for fault in &self.faults {
            write!(f, "\n{fault}")?;
        }
        write!(f, "\n  {}", self.cure)
    }
}

impl std::error::Error for Failure {}

/// What a request was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// To `status`.
    Status(Box<Status>),
    /// To `endpoints`.
    Endpoints {
        /// In the order of the configuration.
        endpoints: Vec<Endpoint>,
    },
    /// To `services`.
    Services {
        /// In the order of the configuration.
        services: Vec<Service>,
    },
    /// To `sessions`; one line of several.
    Sessions {
        /// A part of the sessions.
        sessions: Vec<Session>,
        /// Whether this is the last line.
        last: bool,
        /// On the last line: how many more matched than the limit let through.
        more: u64,
    },
    /// To `explain`.
    Explained {
        /// The packet.
        packet: Packet,
        /// What would become of it.
        explanation: Box<Explanation>,
    },
    /// To `kill`.
    Killed {
        /// The flow as it was.
        session: Box<Session>,
        /// Whether both sides are told so with resets, as its rule wants.
        is_reset: bool,
    },
    /// To `whois`.
    Owners {
        /// Whose it is or was, the latest first: live flows, then those that have ended.
        owners: Vec<Owner>,
    },
    /// To `drops`.
    Drops {
        /// By reason, in the order of the table of reasons.
        drops: Vec<Drop>,
        /// All reasons together.
        total: u64,
    },
    /// To `approve` and `reject`.
    Decided {
        /// The endpoint.
        endpoint: String,
        /// Its state now.
        state: ConnectionState,
        /// Whether it was in another state before.
        changed: bool,
        /// The generation that every worker works with now.
        generation: u32,
    },
    /// To `access`.
    Access(Access),
    /// To `trace`; one line of several.
    Traced {
        /// Packets that were seen since the last line.
        packets: Vec<TracePacket>,
        /// Packets that passed unseen since the beginning, because they came too fast.
        lost: u64,
        /// Whether every packet that is asked for is seen now: at first the kernel may still carry
        /// some.
        is_ready: bool,
        /// Whether this is the last line.
        last: bool,
    },
    /// To `plan`.
    Planned(Box<Plan>),
    /// To `reload`.
    Reloaded {
        /// The generation that every worker works with now.
        generation: u32,
        /// What is legal in the file but hardly meant.
        warnings: Vec<ConfigError>,
    },
}

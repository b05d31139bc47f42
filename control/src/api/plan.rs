//! What a change would do: an answer of plain data.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::difference::Difference;

/// What a file would do if it were put in force now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The file.
    pub file: String,
    /// The generation that is in force, with which it was compared.
    pub generation: u32,
    /// What changes, by kind and name.
    pub differences: Vec<Difference>,
    /// What becomes of all flows.
    pub flows: FlowsPlan,
    /// The same for each endpoint whose flows do not all stay.
    pub endpoints: Vec<EndpointFlows>,
    /// What is legal in the file but hardly meant.
    pub warnings: Vec<ConfigError>,
}

/// How many flows there are of each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsPlan {
    /// They go on.
    pub stay: u64,
    /// They go on, through a NAT IP that is taken away.
    pub drain: u64,
    /// They end, and their clients' next datagrams go to another backend.
    pub moved: u64,
    /// They end, and both sides are told with resets.
    pub reset: u64,
    /// They end in silence.
    pub ended: u64,
}

impl FlowsPlan {
    /// Those that do not stay as they are.
    #[must_use]
    pub fn concerned(&self) -> u64 {
        let FlowsPlan { stay: _, drain, moved, reset, ended } = self;
        drain + moved + reset + ended
    }

    /// Adds others.
    pub fn add(&mut self, other: &FlowsPlan) {
        let FlowsPlan { stay, drain, moved, reset, ended } = other;
        self.stay += stay;
        self.drain += drain;
        self.moved += moved;
        self.reset += reset;
        self.ended += ended;
    }
}

/// What becomes of the flows of an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointFlows {
    /// Its name; `None` if it is gone already.
    pub endpoint: Option<String>,
    /// Id of its connection.
    pub link_id: u32,
    /// How many of each fate.
    pub flows: FlowsPlan,
    /// Why those end that end.
    pub reasons: Vec<Reason>,
}

/// Why flows end, as drops are counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Name of the reason.
    pub metric: String,
    /// How many flows end for it.
    pub flows: u64,
}

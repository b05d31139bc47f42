//! What a file would do if it were put in force now: what changes, and what becomes of the flows
//! that live. Nothing changes.
//!
//! The file is read, checked and compiled by what a reload does that with, into a generation that
//! nobody publishes; workers say of each of their flows what they would do with it under that one,
//! by the code that decides so after a reload. Flows that open, end or are decided about meanwhile
//! may be missed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dataplane::engine::{Fate, Session};
use dataplane::generation::Generation;
use dataplane::types::{GenerationNumber, LinkId};

use super::controller::Controller;
use super::server::Daemon;
use super::sessions::Names;
use crate::api::{EndpointFlows, ErrorCode, Failure, FlowsPlan, Plan, Reason, Response};
use crate::config::ConfigError;
use crate::difference::{Difference, differences};

/// A generation that is not in force, and what was found on the way to it.
pub(super) struct Candidate {
    generation: Arc<Generation>,
    differences: Vec<Difference>,
    warnings: Vec<ConfigError>,
    names: Names,
    base: GenerationNumber,
    file: String,
}

impl Controller {
    /// What `file`, or the daemon's own, would be.
    pub(super) fn candidate(&self, file: Option<&Path>) -> Result<Candidate, Failure> {
        let path = file.unwrap_or_else(|| self.path());
        let draft = self.draft(path)?;
        let old = (self.config(), self.registry());
        Ok(Candidate {
            differences: differences(old, (&draft.config, &draft.registry)),
            generation: Arc::new(self.next_generation(draft.snapshot)),
            warnings: draft.warnings,
            // Flows are of endpoints that are there now.
            names: Names::of(self.registry()),
            base: self.number(),
            file: path.display().to_string(),
        })
    }
}

impl Daemon {
    /// Answers `plan`. The lock is free while workers are asked.
    pub(super) fn plan(&self, file: Option<&Path>) -> Result<Response, Failure> {
        let candidate = self.controller.lock().candidate(file)?;
        let mut count = Count::default();
        self.walker.judge(&candidate.generation, &mut |session| count.add(session))?;
        let now = self.controller.lock().number();
        if now != candidate.base {
            let message = format!("generation {} came into force meanwhile", now.0);
            return Err(Failure::new(ErrorCode::Refused, message, "ask again"));
        }
        let Candidate { differences, warnings, names, base, file, .. } = candidate;
        let (flows, endpoints) = count.finish(&names);
        let generation = base.0;
        let plan = Plan { file, generation, differences, flows, endpoints, warnings };
        Ok(Response::Planned(Box::new(plan)))
    }
}

/// Fates by connection.
#[derive(Default)]
struct Count(BTreeMap<LinkId, (FlowsPlan, BTreeMap<&'static str, u64>)>);

impl Count {
    fn add(&mut self, session: &Session) {
        // Who has none has ended already.
        let Some(fate) = session.fate else { return };
        let (flows, reasons) = self.0.entry(session.link).or_default();
        match fate {
            Fate::Stays => flows.stay += 1,
            Fate::Drains => flows.drain += 1,
            Fate::Moves => flows.moved += 1,
            Fate::Ends { reason, is_reset } => {
                *(if is_reset { &mut flows.reset } else { &mut flows.ended }) += 1;
                *reasons.entry(reason.metric()).or_default() += 1;
            }
        }
    }

    /// All together, and those of endpoints whose flows do not all stay.
    fn finish(self, names: &Names) -> (FlowsPlan, Vec<EndpointFlows>) {
        let mut all = FlowsPlan::default();
        let mut endpoints = Vec::new();
        for (link, (flows, reasons)) in self.0 {
            all.add(&flows);
            if flows.concerned() == 0 {
                continue;
            }
            let reason = |(metric, count): (&'static str, u64)| Reason {
                metric: metric.to_owned(),
                flows: count,
            };
            endpoints.push(EndpointFlows {
                endpoint: names.endpoint(link),
                link_id: link.0,
                flows,
                reasons: reasons.into_iter().map(reason).collect(),
            });
        }
        (all, endpoints)
    }
}

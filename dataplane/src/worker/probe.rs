//! Frames of health probes between whoever probes and the workers: two bounded rings for the whole
//! crew. Any worker sends what waits, any worker takes answers up; a full ring loses frames, as
//! networks do, and TCP sends them again.

use crate::device::Frame;
use crate::limits::{PROBE_FRAME_BYTES_MAX, PROBE_FRAMES_MAX};
use crate::sync::ArrayQueue;
use crate::types::{ScopeId, ScopedAddress};

/// A frame of a probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeFrame {
    scope: ScopeId,
    length: u16,
    bytes: [u8; PROBE_FRAME_BYTES_MAX],
}

impl ProbeFrame {
    /// A frame in a virtual network, with an Ethernet header whose stations are still to be
    /// written; `None` if it is too long.
    #[must_use]
    pub fn new(scope: ScopeId, frame: &[u8]) -> Option<ProbeFrame> {
        let mut bytes = [0; PROBE_FRAME_BYTES_MAX];
        bytes.get_mut(..frame.len())?.copy_from_slice(frame);
        Some(ProbeFrame { scope, length: u16::try_from(frame.len()).ok()?, bytes })
    }

    /// The virtual network.
    #[must_use]
    pub fn scope(&self) -> ScopeId {
        self.scope
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// See the module's documentation.
pub struct ProbeRings {
    questions: ArrayQueue<(ScopedAddress, ProbeFrame)>,
    answers: ArrayQueue<ProbeFrame>,
}

impl ProbeRings {
    pub(super) fn new() -> ProbeRings {
        let (questions, answers) =
            (ArrayQueue::new(PROBE_FRAMES_MAX), ArrayQueue::new(PROBE_FRAMES_MAX));
        ProbeRings { questions, answers }
    }

    /// Gives the workers a frame to send to a backend; wake them afterwards. `false` if the ring is
    /// full.
    pub fn ask(&self, backend: ScopedAddress, frame: ProbeFrame) -> bool {
        self.questions.push((backend, frame)).is_ok()
    }

    /// The next frame that a backend sent.
    #[must_use]
    pub fn take(&self) -> Option<ProbeFrame> {
        self.answers.pop()
    }

    /// For workers: the next frame to be sent, written into `frame`, and to whom.
    pub(super) fn next(&self, frame: &mut Frame) -> Option<ScopedAddress> {
        let (backend, question) = self.questions.pop()?;
        frame.fill(question.bytes());
        Some(backend)
    }

    /// For workers: takes a backend's frame up.
    pub(super) fn take_up(&self, scope: ScopeId, frame: &Frame) {
        if let Some(answer) = ProbeFrame::new(scope, frame.bytes()) {
            // Whoever probes may have ended; what is lost is sent again.
            let _ = self.answers.push(answer);
        }
    }
}

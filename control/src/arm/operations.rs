//! Long-running operations: every change is done when it is answered, and clients that ask after it
//! learn so.
//!
//! Bounds: so many of the newest are remembered; one that is not is as good as unknown.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Operations that are remembered.
const OPERATIONS_MAX: usize = 4096;

/// The newest operations.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// Guid and the path that it was about.
    done: Mutex<VecDeque<(String, String)>>,
}

impl Operations {
    /// Notes one that is done.
    pub(super) fn note(&self, guid: &str, path: &str) {
        let mut done = self.done.lock();
        if done.len() >= OPERATIONS_MAX {
            done.pop_front();
        }
        done.push_back((guid.to_owned(), path.to_owned()));
    }

    /// What one was about.
    pub(super) fn find(&self, guid: &str) -> Option<String> {
        let done = self.done.lock();
        let found = done.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(guid));
        found.map(|(_, path)| path.clone())
    }
}

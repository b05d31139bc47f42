//! Whether the demo or a bench should end early: on Ctrl-C, a request to terminate, a closed
//! terminal, or output that nobody reads.
//!
//! A flag that is looked at between steps and in every wait, so that everything that was built is
//! taken down on the one way out. Starts no thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A handle on the flag. Clones are handles on the same one.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    requested: Arc<AtomicBool>,
}

impl Stop {
    /// A flag that the signals by which a person or a system ends programs raise.
    pub(crate) fn on_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.requested))?;
        }
        Ok(stop)
    }

    /// Raises the flag.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether it was raised.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

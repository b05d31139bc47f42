//! Whether the demo left anything: descriptors (and with them sockets and namespaces), threads, and
//! files. Counted before the first is made and after the last is gone.

use std::fs;
use std::io;

use super::report::Report;
use super::scratch;

/// What this process holds at one moment.
pub(super) struct Holdings {
    descriptors: usize,
    threads: usize,
}

impl Holdings {
    /// Counts them.
    pub(super) fn count() -> io::Result<Holdings> {
        let count = |path| fs::read_dir(path).map(Iterator::count);
        Ok(Holdings { descriptors: count("/proc/self/fd")?, threads: count("/proc/self/task")? })
    }

    /// Claims that what is held now is what was held when this was counted.
    pub(super) fn compare(&self, report: &mut Report) -> io::Result<()> {
        let now = Holdings::count()?;
        let claim = "All sockets and namespaces are closed: as many descriptors as at the start";
        report.equal(claim, self.descriptors, now.descriptors);
        report.equal("All servers have ended: as many threads", self.threads, now.threads);
        let files = scratch::left()?.len();
        report.equal("The demo's files are removed", 0, files);
        Ok(())
    }
}

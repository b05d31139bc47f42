//! What the kernel says of a process: what leaks show in.

use std::fs;
use std::time::Duration;

use crate::case::Failure;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Open file descriptors.
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Memory of its own in use, in KiB. Pages of its program come and go as the kernel likes.
    pub(crate) resident_kib: usize,
}

/// How long a process has run on processors, as the kernel counts it: in hundredths of a second.
pub(crate) fn processor_time(process: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Its name, in parentheses, may have anything in it.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let hundredths = words.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(10 * hundredths))
}

impl Vitals {
    pub(crate) fn of(process: u32) -> Result<Vitals, Failure> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let number = |name: &str| -> Result<usize, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            Ok(word.ok_or_else(|| format!("no {name} of process {process}"))?.parse()?)
        };
        Ok(Vitals {
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: number("Threads:")?,
            resident_kib: number("RssAnon:")? + number("RssShmem:")?,
        })
    }
}

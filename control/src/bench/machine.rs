//! What is said of the machine that measures: what it is, and how busy it was.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine, in words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// Name of its processor.
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) kernel: String,
    /// What the kernel counts time by.
    pub(super) clock: String,
}

impl Machine {
    pub(super) fn look() -> Machine {
        let words = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
        let models = words("/proc/cpuinfo");
        let model = models.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
        Machine {
            processor: model.unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: words("/proc/sys/kernel/osrelease"),
            clock: words("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        }
    }
}

/// Bytes that programs may take.
pub(super) fn free_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available(&text).unwrap_or(u64::MAX)
}

fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// What all processors have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    busy: u64,
    stolen: u64,
    all: u64,
}

impl Ticks {
    pub(super) fn now() -> Ticks {
        Ticks::read(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    /// The first line of proc_stat(5): user nice system idle iowait irq softirq steal.
    fn read(text: &str) -> Option<Ticks> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> =
            line.split_whitespace().map_while(|word| word.parse().ok()).take(8).collect();
        let all = fields.iter().sum();
        let idle = fields.get(3)? + fields.get(4)?;
        Some(Ticks { busy: all - idle, stolen: *fields.get(7)?, all })
    }

    /// The shares of time in which processors were busy, and were somebody else's.
    pub(super) fn shares_since(self, before: Ticks) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)? as f64;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / all;
        Some((share(self.busy, before.busy), share(self.stolen, before.stolen)))
    }
}

/// Now, as RFC 3339 writes it.
pub(super) fn date() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    written(since.as_secs())
}

/// Seconds since 1970 as a date. The calendar is that of Howard Hinnant's `civil_from_days`: years
/// begin in March, so that a leap day is a year's last.
fn written(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(written(seconds), text);
        }
    }

    #[test]
    fn shares_are_of_the_time_between() {
        let before = Ticks::read("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1\n").unwrap();
        let after = Ticks::read("cpu  150 0 110 720 100 0 0 20 0 0\n").unwrap();
        assert_eq!(after.shares_since(before), Some((0.8, 0.2)));
        assert_eq!(before.shares_since(after), None);
        assert_eq!(Ticks::read("nonsense"), None);
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:  5 kB\n"), Some(5 * 1024));
    }
}

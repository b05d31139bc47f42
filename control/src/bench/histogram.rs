//! Times, counted in buckets, of which quantiles are read.
//!
//! A bucket is at most 1/128 of its values wide, so a quantile is at most 0.8 % too high and never
//! too low. Bounds: 40 KB whatever was counted; times from 2^40 ns (18 minutes) on are one bucket.

use std::time::Duration;

/// Buckets for each power of two: 2^7.
const BITS: u32 = 7;
const SUB: u64 = 1 << BITS;
const NANOS_MAX: u64 = (1 << 40) - 1;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// As long as the longest time needs.
    counts: Vec<u64>,
    total: u64,
    sum_nanos: u128,
    longest: Duration,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(nanos.min(NANOS_MAX));
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum_nanos += u128::from(nanos);
        self.longest = self.longest.max(time);
    }

    /// Counts all that another one has.
    pub fn merge(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.sum_nanos += other.sum_nanos;
        self.longest = self.longest.max(other.longest);
    }

    /// How many times were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest time, exactly.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The mean, exactly.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum_nanos.checked_div(u128::from(self.total))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The shortest time that a share of all, from 0 to 1, does not exceed; `None` without times.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share * self.total as f64).ceil().max(1.0);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen as f64 >= wanted
        })?;
        Some(Duration::from_nanos(end_of(bucket)).min(self.longest))
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    let bucket = u64::from(shift) * SUB + (nanos >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The longest time of a bucket, in nanoseconds.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / SUB).saturating_sub(1);
    let first = bucket - shift * SUB;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        nanos.into_iter().for_each(|nanos| histogram.add(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn every_time_is_in_a_bucket_that_is_narrow_and_follows_the_one_before() {
        for power in 0..40 {
            for nanos in [(1_u64 << power) - 1, 1 << power, (1 << power) + (1 << power) / 3] {
                let (bucket, end) = (bucket(nanos), end_of(bucket(nanos)));
                assert!(end >= nanos && end - nanos <= nanos / 128, "{nanos} in ..={end}");
                assert_eq!(super::bucket(end), bucket, "{end}");
                assert_eq!(super::bucket(end + 1), bucket + 1, "{end}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times = of(1..=1000);
        let at = |share| times.quantile(share).unwrap().as_nanos();
        assert_eq!(at(0.0), 1);
        assert!((500..=503).contains(&at(0.5)) && (990..=997).contains(&at(0.99)));
        assert_eq!((at(1.0), times.longest().as_nanos()), (1000, 1000));
        assert_eq!((times.total(), times.mean().unwrap().as_nanos()), (1000, 500));
        assert!(of([]).quantile(0.5).is_none() && of([]).mean().is_none());
    }

    #[test]
    fn merged_is_the_same_as_counted_together() {
        let mut merged = of([5, 70_000]);
        merged.merge(&of([1_000_000_000, 6]));
        let together = of([5, 70_000, 1_000_000_000, 6]);
        assert_eq!(merged.counts, together.counts);
        assert_eq!((merged.mean(), merged.longest()), (together.mean(), together.longest()));
    }

    #[test]
    fn an_absurd_time_takes_no_more_room() {
        let times = of([u64::MAX]);
        assert!(times.counts.len() < 5_000);
        assert_eq!(times.longest(), Duration::from_nanos(u64::MAX));
    }
}

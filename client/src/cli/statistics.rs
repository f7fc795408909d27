//! Durations in order of size, and percentiles of them. Knows nothing of what was measured.

use std::time::Duration;

use serde::Serialize;

/// Median and 99th percentile in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Collected durations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    pub(crate) fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Nearest-rank percentiles; `None` if nothing was measured.
    pub(crate) fn percentiles(&mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let at = |percent: usize| -> Option<f64> {
            let rank = (self.0.len() * percent).div_ceil(100).max(1);
            self.0.get(rank - 1).map(|d| millis(*d))
        };
        Some(Percentiles { p50: at(50)?, p99: at(99)? })
    }
}

/// Milliseconds with microseconds behind the point.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut durations = Durations::default();
        for ms in (1..=200).rev() {
            durations.push(Duration::from_millis(ms));
        }
        assert_eq!(durations.percentiles(), Some(Percentiles { p50: 100.0, p99: 198.0 }));
    }

    #[test]
    fn nothing_measured_has_no_percentiles_and_one_value_is_all_of_them() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentiles(), None);
        durations.push(Duration::from_micros(1_500));
        assert_eq!(durations.percentiles(), Some(Percentiles { p50: 1.5, p99: 1.5 }));
    }
}

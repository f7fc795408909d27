//! How fast something happens, against how fast it may. Knows no clock and not what it counts.
//!
//! The generic cell rate algorithm (ITU-T I.371): one time is kept, at which all that happened so far
//! would have come at the allowed rate.

use std::time::Duration;

use crate::clock::Timestamp;

/// One rate.
///
/// ```
/// use std::time::Duration;
/// use syncline_engine::clock::Timestamp;
/// use syncline_engine::rate::Rate;
///
/// let (mut rate, now) = (Rate::default(), Timestamp(1_000));
/// rate.take(now, 25, 10);
/// assert_eq!(rate.ahead(now, Duration::from_secs(2)), Duration::from_millis(500));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Nanoseconds since the Unix epoch.
    due: u64,
}

impl Rate {
    /// Notes that so much of something happened, of which `per_s` is allowed in a second; a zero
    /// stands for any.
    pub fn take(&mut self, now: Timestamp, amount: u64, per_s: u32) {
        if per_s > 0 {
            let cost = amount.saturating_mul(1_000_000_000 / u64::from(per_s));
            self.due = self.due.max(nanos(now)).saturating_add(cost);
        }
    }

    /// How long to wait until no more than a burst has come before its time: what was not used in
    /// that much time may be used at once.
    #[must_use]
    pub fn ahead(self, now: Timestamp, burst: Duration) -> Duration {
        let burst = u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.due.saturating_sub(nanos(now).saturating_add(burst)))
    }

    /// Whether all that happened counts no more.
    #[must_use]
    pub fn is_at_rest(self, now: Timestamp) -> bool {
        self.due <= nanos(now)
    }
}

const fn nanos(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_what_comes_at_the_pace() {
        let (mut rate, burst) = (Rate::default(), Duration::from_secs(2));
        let start = Timestamp(1_000_000);
        rate.take(start, 20, 10);
        assert_eq!(rate.ahead(start, burst), Duration::ZERO, "two seconds' worth");
        rate.take(start, 5, 10);
        assert_eq!(rate.ahead(start, burst), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(rate.ahead(later, burst), Duration::ZERO);
        let rested = start + Duration::from_secs(60);
        assert!(rate.is_at_rest(rested) && !rate.is_at_rest(later));
        rate.take(rested, 20, 10);
        assert_eq!(rate.ahead(rested, burst), Duration::ZERO, "what was not used makes a burst");
        rate.take(rested, 1, 10);
        assert!(rate.ahead(rested, burst) > Duration::ZERO, "and no more than that");
    }

    #[test]
    fn no_number_is_too_large_to_count() {
        let mut rate = Rate::default();
        rate.take(Timestamp(u64::MAX), u64::MAX, 1);
        rate.take(Timestamp(0), u64::MAX, u32::MAX);
        assert_eq!(rate.ahead(Timestamp(0), Duration::MAX), Duration::ZERO);
        let mut free = Rate::default();
        free.take(Timestamp(5), u64::MAX, 0);
        assert_eq!(free.ahead(Timestamp(5), Duration::ZERO), Duration::ZERO);
    }
}

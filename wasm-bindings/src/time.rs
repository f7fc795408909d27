//! Time as it comes from JavaScript, where any number may: made into time that a machine can rely on.
//! Knows no clock.

use syncline_engine::clock::Timestamp;

/// Behind this, an id can't name a time.
const LATEST_MS: f64 = ((1_u64 << 48) - 1) as f64;

/// Time that never goes back and never stands still: when the clock is set back it goes on from where
/// it was until the clock has caught up, so that no timer stalls. What is no time counts as none
/// having passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Time {
    /// What was told last.
    told: u64,
    now: Timestamp,
}

impl Time {
    /// What time it is, if the clock says `millis`.
    pub fn at(&mut self, millis: f64) -> Timestamp {
        if (0.0..=LATEST_MS).contains(&millis) {
            let told = whole(millis);
            let passed = told.saturating_sub(self.told);
            self.now = match Timestamp(told) {
                behind if behind < self.now => Timestamp(self.now.0.saturating_add(passed)),
                ahead => ahead,
            };
            self.told = told;
        }
        self.now
    }

    /// When it is `at` by the clock that tells the time.
    #[must_use]
    pub const fn told_at(&self, at: Timestamp) -> u64 {
        at.0.saturating_sub(self.now.0.saturating_sub(self.told))
    }
}

/// A count or a moment from a number of JavaScript's: 0 for what is below or none at all, the largest
/// for what is above.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub const fn whole(number: f64) -> u64 {
    number as u64
}

/// The number of something that was numbered here. What is no whole number names nothing.
#[must_use]
pub fn number_of(number: f64) -> u64 {
    if number >= 0.0 && number.fract() == 0.0 { whole(number) } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_clock_and_goes_on_when_that_is_set_back() {
        let mut time = Time::default();
        assert_eq!(time.at(10_000.9), Timestamp(10_000));
        assert_eq!(time.at(10_500.0), Timestamp(10_500));
        assert_eq!(time.at(2_000.0), Timestamp(10_500));
        assert_eq!(time.at(2_700.0), Timestamp(11_200), "it goes on");
        assert_eq!(time.told_at(Timestamp(11_300)), 2_800, "in a tenth of a second");
        assert_eq!(time.at(50_000.0), Timestamp(50_000), "until the clock has caught up");
        assert_eq!(time.told_at(Timestamp(50_100)), 50_100);
    }

    #[test]
    fn what_is_no_time_changes_nothing() {
        let mut time = Time::default();
        time.at(10_000.0);
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            assert_eq!(time.at(wrong), Timestamp(10_000), "{wrong}");
        }
        assert_eq!(time.at(10_001.0), Timestamp(10_001));
    }

    #[test]
    fn what_is_no_number_names_nothing() {
        assert_eq!(number_of(7.0), 7);
        for wrong in [f64::NAN, -1.0, 0.5, f64::INFINITY] {
            assert_eq!(number_of(wrong), u64::MAX, "{wrong}");
        }
        assert_eq!((whole(f64::NAN), whole(-1.0), whole(1e300)), (0, 0, u64::MAX));
    }
}

//! How long to wait after a failure: exponential with jitter, or as long as the receiver asks. Knows
//! no clock of its own.

use std::time::{Duration, SystemTime};

/// The longest that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3_600);

/// The wait after so many failures in a row (at least one): twice as long each time, between half and
/// all of that by `random`.
pub(super) fn wait(failures: u32, min: Duration, max: Duration, random: u64) -> Duration {
    let doubled =
        min.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(max);
    let half = whole / 2;
    let spread = u64::try_from((whole - half).as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(random % spread.saturating_add(1))
}

/// What a `Retry-After` asks for, in seconds or as a date.
pub(super) fn asked(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let text = retry_after.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lie_between_half_and_all() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(300));
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            let whole = Duration::from_secs(whole);
            for random in [0, 1, 12_345, u64::MAX] {
                let waited = wait(failures, min, max, random);
                assert!(waited >= whole / 2 && waited <= whole, "{failures} {random} {waited:?}");
            }
        }
        assert_eq!(wait(3, Duration::ZERO, Duration::ZERO, 9), Duration::ZERO);
    }

    #[test]
    fn a_receiver_asks_in_seconds_or_by_a_date_and_not_for_ever() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        assert_eq!(asked("120", now), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(90)));
        let later = now + Duration::from_secs(1_000);
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT", later), Some(Duration::ZERO));
        assert_eq!(asked("999999999999", now), Some(ASKED_MAX));
        assert_eq!((asked("soon", now), asked("-1", now)), (None, None));
    }
}

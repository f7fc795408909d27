//! The clock that the hub is told: wall time that never goes backwards and never stands still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syncline_engine::clock::Timestamp;

/// Follows the wall clock forwards at once. When the wall clock is set back, it goes on at nine
/// tenths of its pace until the wall clock has caught up, so that a deadline is late by a tenth at
/// most and no deadline waits for an hour that is lived twice.
#[derive(Debug)]
pub(crate) struct Clock {
    time: Duration,
    read_at: Instant,
}

impl Clock {
    /// Reads the wall clock for the first time.
    pub(crate) fn start() -> Self {
        Self { time: wall(), read_at: Instant::now() }
    }

    /// The time.
    pub(crate) fn now(&mut self) -> Timestamp {
        let instant = Instant::now();
        let elapsed = instant.saturating_duration_since(self.read_at);
        self.read_at = instant;
        self.time = advance(self.time, elapsed, wall());
        Timestamp(u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX))
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn advance(time: Duration, elapsed: Duration, wall: Duration) -> Duration {
    let ahead = time + elapsed > wall;
    let pace = if ahead { elapsed - elapsed / 10 } else { elapsed };
    (time + pace).max(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wall_clock_that_jumps_ahead_is_followed_at_once() {
        assert_eq!(advance(secs(100), secs(1), secs(4_000)), secs(4_000));
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_caught_up_with_without_standing_still() {
        let (mut time, mut wall) = (secs(1_000), secs(940));
        let mut steps = 0;
        while time > wall {
            let before = time;
            wall += secs(10);
            time = advance(time, secs(10), wall);
            assert!(time >= before + secs(9));
            steps += 1;
        }
        assert!(steps <= 61, "{steps}");
    }
}

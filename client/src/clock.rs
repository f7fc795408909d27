//! The time that the session is told. Must never know what it is for.

use std::time::{Duration, Instant, SystemTime};

use syncline_engine::clock::Timestamp;

/// A wall clock that is this much ahead of the elapsed time was set, or the machine slept.
const JUMP: Duration = Duration::from_secs(1);

/// Wall-clock time that never goes back, so that no timer stalls when somebody corrects the clock.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Duration,
    since: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { base: wall(), since: Instant::now() }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        self.at(wall(), Instant::now())
    }

    fn at(&mut self, wall: Duration, now: Instant) -> Timestamp {
        let elapsed = self.base + now.saturating_duration_since(self.since);
        let time = if wall > elapsed + JUMP {
            *self = Self { base: wall, since: now };
            wall
        } else {
            elapsed
        };
        Timestamp(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_jumps_forward_and_ignores_those_back() {
        let start = Instant::now();
        let mut clock = Clock { base: Duration::from_secs(100), since: start };
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(clock.at(Duration::from_secs(105), after(5)), Timestamp(105_000));
        assert_eq!(clock.at(Duration::from_secs(20), after(6)), Timestamp(106_000));
        assert_eq!(clock.at(Duration::from_secs(9_000), after(7)), Timestamp(9_000_000));
        assert_eq!(clock.at(Duration::from_secs(9_001), after(8)), Timestamp(9_001_000));
    }
}

//! The time that the session is told, and the ids that are drawn by it. Must never know what they
//! are for.

use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::Ulid;

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

/// Draws ids that only increase.
pub(crate) struct Ids {
    secret: [u8; 32],
    drawn: u64,
    last: Option<Ulid>,
}

impl Ids {
    pub(crate) const fn new(secret: [u8; 32]) -> Self {
        Self { secret, drawn: 0, last: None }
    }

    /// An id for now, larger than any drawn before and than `largest`.
    pub(crate) fn after(&mut self, largest: Option<Ulid>, now: Timestamp) -> Ulid {
        self.drawn += 1;
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update(self.drawn.to_be_bytes())
            .finalize();
        let mut random = [0; 16];
        random.copy_from_slice(&digest[..16]);
        let id = Ulid::after(self.last.max(largest), now, u128::from_be_bytes(random));
        // Only what was drawn counts: an id from elsewhere may lie far in the future.
        self.last = Some(match largest {
            Some(largest) if largest.timestamp() > now => self.last.unwrap_or(Ulid::new(now, 0)),
            _ => id,
        });
        id
    }
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

    #[test]
    fn ids_increase_within_a_millisecond_and_past_what_was_seen() {
        let mut ids = Ids::new([7; 32]);
        let first = ids.after(None, Timestamp(1_000));
        let second = ids.after(None, Timestamp(1_000));
        assert!(second > first);
        let seen = Ulid::new(Timestamp(5_000_000), 1);
        assert!(ids.after(Some(seen), Timestamp(1_000)) > seen);
        let own = ids.after(None, Timestamp(1_001));
        assert!(own > second && own < seen, "an id from a fast clock is not followed for ever");
    }
}

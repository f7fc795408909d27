//! New ids, drawn from a secret and a count. Knows no clock.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Ulid;
use crate::clock::Timestamp;

/// Draws ids that only increase.
#[derive(Clone)]
pub struct Ids {
    secret: [u8; 32],
    drawn: u64,
    last: Option<Ulid>,
}

impl Ids {
    /// From 32 random bytes that nobody else has.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret, drawn: 0, last: None }
    }

    /// An id for now, larger than any drawn before and than `largest`.
    pub fn after(&mut self, largest: Option<Ulid>, now: Timestamp) -> Ulid {
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

impl fmt::Debug for Ids {
    /// Says nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

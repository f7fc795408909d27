//! Deterministic randomness from a seed that the driver draws: jitter, ids, provisional actors.
//! Nothing here is secret.

/// A stream of random numbers: BLAKE3 of the seed and a counter.
#[derive(Debug, Clone)]
pub(super) struct Random {
    seed: [u8; 32],
    drawn: u64,
}

impl Random {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn bytes(&mut self) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.seed, &self.drawn.to_le_bytes());
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        bytes
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&self.bytes()[..8]);
        u64::from_le_bytes(eight)
    }

    /// A number from 0 to `max`, both included.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        match max.checked_add(1) {
            Some(choices) => self.number() % choices,
            None => self.number(),
        }
    }
}

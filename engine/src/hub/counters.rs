//! What a hub counts of what it has done and how far those who follow are behind. Decides nothing.

use super::Stats;
use super::document::{Live, Progress};

/// What a hub has done since it was made; numbers that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Changes that were accepted.
    pub accepted_entries: u64,
    /// Their bytes.
    pub accepted_bytes: u64,
    /// Their operations.
    pub accepted_ops: u64,
    /// Documents that left memory because nobody used them.
    pub evictions: u64,
}

impl Live {
    /// Adds how far its followers are behind.
    pub(super) fn count_lag(&self, stats: &mut Stats) {
        for follower in self.followers.values() {
            match follower.progress {
                Progress::Log { sent } => {
                    let lag = self.durable.seq.saturating_sub(sent);
                    stats.behind += usize::from(lag > 0);
                    stats.lag_entries += lag;
                    stats.lag_entries_max = stats.lag_entries_max.max(lag);
                }
                Progress::Snapshot { .. } => stats.behind += 1,
                // It has all that there is of its epoch, and knows where to go on.
                Progress::Ended => {}
            }
        }
    }
}

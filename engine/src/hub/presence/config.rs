//! What an operator may tune about presence. No rule lives here.

use std::time::Duration;

/// The tunable limits and times of spaces and of who is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceConfig {
    /// How often at most what is new goes out to those who are in a space. Where more are there than
    /// `full_max` it is as many times longer, so that no space sends more than `full_max` frames in
    /// each such time.
    pub interval: Duration,
    /// How long a session is still shown after its connection broke, so that one that comes back at
    /// once does not flicker. Never longer than [`Config::grace`](crate::hub::Config::grace).
    pub grace: Duration,
    /// Sessions in a space up to which everybody is told of everybody. Above there are counts, and
    /// a few of those who did something last.
    pub full_max: usize,
    /// How many those few are.
    pub sample: usize,
    /// Spaces that one connection may be in.
    pub spaces_max: u32,
    /// Sessions that may be in one space.
    pub members_max: usize,
    /// Spaces that are kept in memory for those who are in them, or were until a while ago. Empty ones
    /// make room for others.
    pub live_max: usize,
    /// How long a space is kept in memory after everybody has left, for when users were seen last.
    pub idle: Duration,
    /// How often in the long run a connection may announce something or enter a space.
    pub announce_interval: Duration,
    /// How often it may at once.
    pub announce_burst: u32,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            grace: Duration::from_secs(5),
            full_max: 100,
            sample: 20,
            spaces_max: 50,
            members_max: 10_000,
            live_max: 10_000,
            idle: Duration::from_secs(30 * 60),
            announce_interval: Duration::from_millis(50),
            announce_burst: 60,
        }
    }
}

//! The session's defaults, each in one place.

use std::time::Duration;

use automerge::TextEncoding;

/// What an app may tune.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long opening a socket and saying hello may take together.
    pub connect_timeout: Duration,
    /// The wait before the first attempt to reconnect is drawn from zero to this; each further
    /// attempt doubles it.
    pub backoff_min: Duration,
    /// The wait is never drawn from more than this.
    pub backoff_max: Duration,
    /// A connection that lasted this long makes the next attempt a first one again.
    pub stable_after: Duration,
    /// Changes in one push.
    pub push_changes_max: usize,
    /// Commands of one document that are pushed and not yet acknowledged.
    pub in_flight_max: u64,
    /// Stored tail entries of a document after which its base is written anew.
    pub compact_after: usize,
    /// The largest snapshot that is accepted from a server, in bytes.
    pub snapshot_bytes_max: u64,
    /// How positions in text are counted: code points in Rust, UTF-16 code units in a browser.
    pub text_encoding: TextEncoding,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
            push_changes_max: 50,
            in_flight_max: 1_024,
            compact_after: 256,
            snapshot_bytes_max: 256 << 20,
            text_encoding: TextEncoding::UnicodeCodePoint,
        }
    }
}

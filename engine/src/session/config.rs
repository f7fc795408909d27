//! The session's defaults, each in one place.

use std::time::Duration;

use automerge::TextEncoding;

use crate::replica::UNDO_MAX;

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
    /// How many attempts in a row may fail before the session gives up; `None` for no limit.
    pub attempts_max: Option<u32>,
    /// An app that is out of sight waits so many times longer between attempts.
    pub hidden_factor: u32,
    /// An app that is out of sight for so long closes its connection.
    pub pause_after: Duration,
    /// Changes in one push.
    pub push_changes_max: usize,
    /// While an answer to a push is awaited, what comes is gathered for at most this long, or until
    /// it fills a push. The first is never held back.
    pub push_interval: Duration,
    /// What is typed after an edit is gathered for so long; zero makes a change of each edit.
    pub typing_window: Duration,
    /// How many commands can be undone in each open document.
    pub undo_max: usize,
    /// After how long without an answer the server is asked again.
    pub answer_timeout: Duration,
    /// How often a document whose log went on is compared with the server's.
    pub reconcile_interval: Duration,
    /// Bytes of unsent work that are kept on this device, over all documents. What is above is
    /// refused to the app.
    pub outbox_bytes_max: u64,
    /// Confirmed commands whose end the app has not taken; of more, the oldest are forgotten.
    pub endings_max: usize,
    /// Commands that were rolled back and that the app has not dismissed; of more, the oldest are
    /// dropped ([`Notice::Dropped`](super::Notice::Dropped)).
    pub refused_max: usize,
    /// The same in bytes, over all documents. The newest is kept however large it is.
    pub refused_bytes_max: u64,
    /// Names of commands that have ended, or became part of another, by which one that is handed in
    /// again is known ([`Session::known`](super::Session::known)); of more, the oldest are forgotten.
    pub known_max: usize,
    /// Commands of one document that are pushed and not yet acknowledged.
    pub in_flight_max: u64,
    /// How often at most something is announced in a space, unless the server asks for less.
    pub announce_interval: Duration,
    /// After how long without doing anything the user is shown as idle in spaces.
    pub idle_after: Duration,
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
            attempts_max: None,
            hidden_factor: 4,
            pause_after: Duration::from_secs(300),
            push_changes_max: 50,
            push_interval: Duration::from_millis(200),
            typing_window: Duration::from_millis(250),
            undo_max: UNDO_MAX,
            answer_timeout: Duration::from_secs(30),
            reconcile_interval: Duration::from_secs(30),
            outbox_bytes_max: 256 << 20,
            endings_max: 1_024,
            refused_max: 256,
            refused_bytes_max: 4 << 20,
            known_max: 4_096,
            in_flight_max: 1_024,
            announce_interval: Duration::from_millis(100),
            idle_after: Duration::from_secs(5 * 60),
            compact_after: 256,
            snapshot_bytes_max: 256 << 20,
            text_encoding: TextEncoding::UnicodeCodePoint,
        }
    }
}

//! The bodies of the frames about who is in a space and what they announce there.

use bincode::{Decode, Encode};

/// Something that a session says of itself in a space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireSaying {
    /// Under which name ([`crate::presence::check_key`]).
    pub key: String,
    /// The session's own number for it, from 1; a lower one never replaces a higher one of the key.
    pub seq: u64,
    /// What; `None` takes back what was said.
    pub value: Option<String>,
    /// After how many milliseconds it lapses by itself.
    pub ttl_ms: Option<u32>,
}

/// Enters a space. What is announced there is from here on exactly `sayings`, whatever the session
/// announced on an earlier connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enter {
    /// Which.
    pub space: String,
    /// Whether others are to see the session; otherwise it only looks, and `sayings` is empty.
    pub visible: bool,
    /// What it announces.
    pub sayings: Vec<WireSaying>,
}

/// Leaves a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// Which.
    pub handle: u32,
}

/// Announces something in a space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Announce {
    /// In which.
    pub handle: u32,
    /// What.
    pub sayings: Vec<WireSaying>,
}

/// Sends all sessions of a user out of a space, and keeps them out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kick {
    /// Out of which.
    pub handle: u32,
    /// Whom.
    pub user: String,
    /// For how many milliseconds.
    pub for_ms: u32,
}

/// Answers `Enter`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entered {
    /// Which space, as asked.
    pub space: String,
    /// Its short name from here on, the same for all connections at that time.
    pub handle: u32,
    /// The session's number among those who are seen in the space; `None` if it only looks.
    pub device: Option<u64>,
    /// The user's role.
    pub role: String,
    /// What the user may do ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
    /// How often at most the client should announce something, in milliseconds.
    pub interval_ms: u32,
}

/// Something about one who is in a space, or was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum News {
    /// A session is there, or its role is another.
    Came {
        /// Its number.
        device: u64,
        /// Whose it is.
        user: String,
        /// The user's role.
        role: String,
        /// Since when it is there, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// A session is gone, and all that it announced.
    Left {
        /// Its number.
        device: u64,
    },
    /// A session announces something.
    Said {
        /// Its number.
        device: u64,
        /// Under which name.
        key: String,
        /// What.
        value: String,
        /// When it was announced, in milliseconds since the Unix epoch.
        at_ms: u64,
        /// When it lapses, by the same clock.
        until_ms: Option<u64>,
    },
    /// It does not announce it any more.
    Unsaid {
        /// Its number.
        device: u64,
        /// Under which name.
        key: String,
    },
    /// A user of whom no session is there was there until then.
    Seen {
        /// Who.
        user: String,
        /// When the last session left, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// It is not kept any more when a user was there.
    Forgotten {
        /// Who.
        user: String,
    },
}

/// What is new in a space, in the order in which it is to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Presence {
    /// In which.
    pub handle: u32,
    /// Up to where the space's history is known with it. Never lower than before.
    pub version: u64,
    /// Whether a whole picture begins here: nothing that was said before counts any more once it is
    /// complete.
    pub whole: bool,
    /// Whether more of the same picture follows.
    pub more: bool,
    /// The server's clock, which `until_ms` is to be compared with.
    pub now_ms: u64,
    /// What.
    pub news: Vec<News>,
}

/// How many are in a space, and some of them. Replaces what was said of the space before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Crowd {
    /// In which.
    pub handle: u32,
    /// Up to where the space's history is known with it.
    pub version: u64,
    /// The server's clock, which `until_ms` is to be compared with.
    pub now_ms: u64,
    /// Sessions.
    pub devices: u32,
    /// Users.
    pub users: u32,
    /// Sessions that announce `idle`.
    pub idle: u32,
    /// Sessions that announce `typing`.
    pub typing: u32,
    /// Those who did something last, and what they announce.
    pub sample: Vec<News>,
}

/// The user's role in a space has changed, or what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// In which.
    pub handle: u32,
    /// The role.
    pub role: String,
    /// What the user may do ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
}

/// The client is not in a space, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SentAway {
    /// Which.
    pub space: String,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// After how many milliseconds it may try again, where that may help.
    pub retry_after_ms: Option<u32>,
}

/// Nothing of an announcement counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NotAnnounced {
    /// In which space.
    pub handle: u32,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// After how many milliseconds it may be announced again, where that may help.
    pub retry_after_ms: Option<u32>,
}

/// Says what became of a `Kick`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kicked {
    /// Out of which space.
    pub handle: u32,
    /// Whom.
    pub user: String,
    /// How many of the user's sessions were there.
    pub devices: u32,
    /// Why nobody was sent out: a [`crate::codes::Code`].
    pub refused: Option<u16>,
}

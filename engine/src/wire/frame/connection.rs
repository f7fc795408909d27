//! The bodies of the frames about the connection itself: its beginning, signs of life, its end.

use bincode::{Decode, Encode};

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The session, drawn at random when the client's store was made.
    pub session: [u8; 16],
    /// Rises with every connection of the session; an older one is closed.
    pub generation: u64,
    /// The user's name.
    pub user: String,
    /// A proof of it, where the server asks for one.
    pub token: Option<String>,
    /// Name and version of the client, for logs.
    pub agent: String,
}

/// Gives a new token for the connection's user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    /// The token.
    pub token: String,
}

/// Asks for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

/// Leaves for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Bye {}

/// Answers `Hello`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The server's ownership term; leases of an earlier one are gone.
    pub term: u64,
    /// How often the client should be heard of, in milliseconds.
    pub heartbeat_ms: u32,
    /// The server's clock, for display only.
    pub now_ms: u64,
    /// How many documents this connection may hold open.
    pub documents_max: u32,
}

/// Says how long the connection's token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TokenExpires {
    /// From now on, in milliseconds.
    pub in_ms: u64,
}

/// Answers `Ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Pong {
    /// From the question.
    pub nonce: u64,
}

/// Something was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Error {
    /// A [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// Which document it concerns, if one.
    pub address: Option<String>,
    /// Whether trying again with the same would end the same way.
    pub fatal: bool,
    /// When to try again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}

/// The server closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Goodbye {
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// When to come back.
    pub retry_after_ms: Option<u32>,
}

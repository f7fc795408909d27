//! The bodies of the frames about streams.

use bincode::{Decode, Encode};

/// Opens a stream to write it. Saying it again is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WriteStream {
    /// `space/id/stream`.
    pub address: String,
    /// Whether it is made if nobody has made it.
    pub create: bool,
    /// Who asked for it, and may interrupt it, if it is made.
    pub asked_by: Option<String>,
    /// The offset from which on a digest of its text is wanted.
    pub since: u64,
}

/// Opens a stream to read it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadStream {
    /// `space/id/stream`.
    pub address: String,
    /// The offset from which on text is wanted.
    pub from: u64,
    /// The offset from which on a digest of the text before that is wanted.
    pub since: u64,
}

/// Hands in text.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AppendStream {
    /// Of which stream.
    pub stream: u32,
    /// Where it goes, in bytes of UTF-8.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// Ends a stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EndStream {
    /// Which stream.
    pub stream: u32,
    /// How long its text is, in bytes.
    pub end: u64,
    /// How it ended.
    pub outcome: StreamOutcome,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StreamOutcome {
    /// All is said.
    Finished {
        /// The comment that the result was committed as.
        result: Option<StreamResult>,
    },
    /// It can't go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was stopped on demand.
    Interrupted,
    /// Whoever wrote it did not come back.
    Abandoned,
}

/// The comment that a stream's result was committed as.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamResult {
    /// The address of the comments.
    pub address: String,
    /// The comment's id.
    pub comment: [u8; 16],
}

/// Asks whoever writes a stream to stop.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InterruptStream {
    /// `space/id/stream`.
    pub address: String,
}

/// Reads or writes a stream no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LeaveStream {
    /// Which stream.
    pub stream: u32,
    /// Whether it is the writing that ends, or the reading.
    pub writes: bool,
}

/// A stream is open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamOpened {
    /// Which, as asked.
    pub address: String,
    /// Its short name from here on, the same for all connections at that time.
    pub stream: u32,
    /// Whether this answers `WriteStream`.
    pub writes: bool,
    /// To a reader: where the text begins that follows. To the writer: the end of what is durable.
    pub at: u64,
    /// Where the text begins that the digest is of: where it was asked for, but never after `at` nor
    /// more than a window before it.
    pub since: u64,
    /// [`crate::stream::digest`] of the text from `since` to `at`.
    pub digest: [u8; 16],
    /// Who writes it.
    pub producer: String,
    /// Who asked for it.
    pub asked_by: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many bytes may be sent ahead of their acknowledgement.
    pub window_bytes: u32,
}

/// What follows in a stream. One encoded frame serves every reader.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamText {
    /// Of which stream.
    pub stream: u32,
    /// Where it belongs, in bytes of UTF-8.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// A stream's text is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StreamAck {
    /// Of which stream.
    pub stream: u32,
    /// Up to where.
    pub end: u64,
}

/// How a stream is. To a reader it comes after all text up to `end`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamStatus {
    /// Which stream.
    pub stream: u32,
    /// How long its text is.
    pub end: u64,
    /// Who asked that it stop.
    pub interrupted_by: Option<String>,
    /// Since when nobody is there who writes it, in milliseconds since the Unix epoch.
    pub stalled_since_ms: Option<u64>,
    /// How it ended; nothing follows then.
    pub outcome: Option<StreamOutcome>,
}

/// An interrupt is stored, or came after the end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamInterrupted {
    /// Of which stream.
    pub address: String,
}

/// What may be asked of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum StreamAsk {
    /// To read it.
    Read,
    /// To write it.
    Write,
    /// To interrupt it.
    Interrupt,
}

/// What was asked can't be, or can't any more: the stream is not open for it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamRefused {
    /// Which stream, as asked.
    pub address: String,
    /// What was asked.
    pub asked: StreamAsk,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// When to try again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}

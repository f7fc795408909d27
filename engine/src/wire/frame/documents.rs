//! The bodies of the frames by which a document is opened and its log followed.

use bincode::{Decode, Encode};

use super::{Blob, WireCursor, WireLease};

/// Opens a document.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscribe {
    /// `space/id/facet`.
    pub address: String,
    /// What is known already; `None` for nothing.
    pub cursor: Option<WireCursor>,
    /// The queue whose commands will be pushed.
    pub outbox: [u8; 16],
    /// Whether a lease is wanted.
    pub write: bool,
}

/// Closes a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Unsubscribe {
    /// Which.
    pub handle: u32,
}

/// Tells the heads of what is accepted at a position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Compare {
    /// Of which document.
    pub handle: u32,
    /// At which position.
    pub seq: u64,
    /// [`crate::ids::heads_digest`] of the heads.
    pub heads: [u8; 16],
}

/// How a document will be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Resume {
    /// By the changes after the client's cursor.
    Cursor,
    /// From the beginning (genesis), by changes. Everything the client has but does not receive is
    /// unknown to the server.
    Beginning,
    /// By a snapshot of so many bytes that stands for a position, then changes. The same holds.
    Snapshot {
        /// The position.
        cursor: WireCursor,
        /// The snapshot's length in bytes.
        bytes: u64,
    },
}

/// Answers `Subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscribed {
    /// Which document, as asked.
    pub address: String,
    /// Its short name from here on, the same for all connections at that time.
    pub handle: u32,
    /// The log's incarnation.
    pub epoch: [u8; 16],
    /// How the client will be brought up to date.
    pub resume: Resume,
    /// Where the log ends at the moment: the document is live once this seq is reached.
    pub end_seq: u64,
    /// The proof that the document has the heads that it has at `end_seq`.
    pub seal: Option<[u8; 16]>,
    /// What the client may do in it ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
    /// The highest number of the outbox that is settled in this document; 0 for none.
    pub settled: u64,
    /// The session's lease, kept or granted anew.
    pub lease: Option<WireLease>,
    /// Whether the lease is one that the session held already: unsettled changes under it may be
    /// sent again as they are.
    pub lease_kept: bool,
    /// Where the log goes on, if the cursor is of an epoch that has ended: `epoch`, `resume` and
    /// `end_seq` lead to that one's end. The client makes the next one's beginning of it, and
    /// subscribes again from there.
    pub next: Option<NextEpoch>,
}

/// The beginning of the epoch after the one that a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NextEpoch {
    /// Where its log begins.
    pub start: WireCursor,
    /// The only head at its beginning, to compare.
    pub head: [u8; 32],
    /// When it began, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Says as what the highest settled number of an outbox is settled, so that a client knows whether it
/// was its own command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SettledAs {
    /// In which document.
    pub address: String,
    /// The number.
    pub number: u64,
    /// The first bytes of the hash of the change that settled it.
    pub digest: [u8; 8],
}

/// Part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotPart {
    /// Of which document.
    pub handle: u32,
    /// Where in the snapshot.
    pub offset: u64,
    /// The bytes.
    pub bytes: Blob,
}

/// One change in the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireEntry {
    /// Index into the frame's `authors`.
    pub author: u16,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The change.
    pub change: Blob,
}

/// What follows in a log. One encoded frame serves every follower.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Changes {
    /// Of which document.
    pub handle: u32,
    /// The seq of the first entry.
    pub first_seq: u64,
    /// The digest after the last entry.
    pub tip: [u8; 16],
    /// The proof that the document has the heads that it has after the last entry, where the server
    /// knows them.
    pub seal: Option<[u8; 16]>,
    /// Who wrote the entries.
    pub authors: Vec<String>,
    /// The entries.
    pub entries: Vec<WireEntry>,
}

/// A `Changes` body, deflated (zlib-less RFC 1951).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackedChanges {
    /// The length of the inflated body; at most a frame.
    pub bytes: u32,
    /// The deflated body of a `Changes` frame.
    pub deflated: Blob,
}

/// Says whether the heads are those of the server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Compared {
    /// Of which document.
    pub handle: u32,
    /// At which position.
    pub seq: u64,
    /// `None` if the log does not end there.
    pub same: Option<bool>,
}

/// The rules of the space have changed, or the client's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct May {
    /// In which document.
    pub handle: u32,
    /// What the client may do from now on ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
}

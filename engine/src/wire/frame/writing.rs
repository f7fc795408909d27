//! The bodies of the frames by which documents are written: leases, pushes, what is handed back.

use bincode::{Decode, Encode};

use super::{Blob, WireLease};

/// Asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RequestLease {
    /// On which document.
    pub handle: u32,
}

/// Says that nothing that this session wrote under a lease on the document is without an answer, so
/// that the actor may go to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// Of which document.
    pub handle: u32,
}

/// Hands in commands `first`, `first + 1`, … as one change each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Push {
    /// To which document.
    pub handle: u32,
    /// The number of the first command.
    pub first: u64,
    /// The changes.
    pub changes: Vec<Blob>,
}

/// Hands back lost changes, deps first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restore {
    /// To which document.
    pub handle: u32,
    /// In the first frame: what proves that the server once had the changes.
    pub proof: Option<Proof>,
    /// The changes, each before those that it builds on.
    pub changes: Vec<Blob>,
    /// Whether no more follow.
    pub last: bool,
}

/// Proves that a document had certain heads, and with them everything that they build on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// The heads, in the order of their hashes.
    pub heads: Vec<[u8; 32]>,
    /// What the server gave for them.
    pub seal: [u8; 16],
}

/// Commands up to a number are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ack {
    /// In which document.
    pub handle: u32,
    /// The highest number settled.
    pub number: u64,
}

/// A command was refused. What was pushed after it under the same lease was dropped with it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reject {
    /// In which document.
    pub handle: u32,
    /// Which command.
    pub number: u64,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
}

/// Grants a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Leased {
    /// On which document.
    pub handle: u32,
    /// The lease.
    pub lease: WireLease,
}

/// Ends a lease. What is unsettled under it has to be authored again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LeaseEnded {
    /// On which document.
    pub handle: u32,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
}

/// Answers the last `Restore` once everything that was handed back is durable (or was there already).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restored {
    /// In which document.
    pub handle: u32,
    /// How many were new to the server.
    pub accepted: u32,
    /// The first refusal, if any: a [`crate::codes::Code`]. The rest was taken back where that was
    /// possible.
    pub refused: Option<u16>,
}

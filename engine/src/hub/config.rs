//! What an operator may tune, and what a hub must be told about itself. No rule lives here.

use std::time::Duration;

use super::presence::PresenceConfig;
use super::quota::Quotas;
use crate::storage::record::DigestKey;

/// The tunable limits and times of a hub. The defaults suit one server process with a local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a connection may stay without saying `Hello`.
    pub greeting: Duration,
    /// How often a client should be heard of; one not heard of for twice as long is closed.
    pub heartbeat: Duration,
    /// How long the leases of a session outlive a connection that broke.
    pub grace: Duration,
    /// After how long without a push a lease ends.
    pub lease_idle: Duration,
    /// After how long without a reader, writer or work a document leaves memory.
    pub document_idle: Duration,
    /// Documents that one connection may hold open.
    pub documents_max: u32,
    /// Spaces whose feeds one connection may follow.
    pub feeds_max: u32,
    /// How often at most a feed tells what has changed.
    pub feed_interval: Duration,
    /// Bytes of changes that one document may have.
    pub document_bytes_max: u64,
    /// Bytes of changes that the rules of one space may have. They are read anew with each change,
    /// so this bounds what one costs; spaces with more members than fit name roles in tokens.
    pub rules_bytes_max: u64,
    /// Documents in memory, above which only those are served that are there.
    pub live_documents_max: usize,
    /// Actors that one document may have.
    pub actors_max: usize,
    /// Actors that write no more, after which a document begins a new epoch with the same content and
    /// none of them. It must have grown by a quarter for that.
    pub rollover_actors: usize,
    /// Bytes of changes above which a document begins a new epoch, unless there are not four times
    /// as many as the epoch began with, or it comes near to how many it may have.
    pub rollover_bytes: u64,
    /// For how long at least the end of an epoch is kept after the next began, and what is settled
    /// of an outbox after its last command, for clients that were offline meanwhile. What is older is
    /// forgotten when the next epoch begins.
    pub offline_window: Duration,
    /// Bytes under way to one connection above which it gets no more changes until it has drained.
    pub outstanding_bytes_max: usize,
    /// Bytes under way to one connection, answers included, above which it is closed: it asks and
    /// asks, and does not read.
    pub unread_bytes_max: usize,
    /// Bytes of encoded frames that a live document keeps for followers that are a little behind.
    pub ring_bytes_max: usize,
    /// Bytes of accepted changes of one connection that are not durable yet, above which it is
    /// sent away to come back later.
    pub connection_pending_bytes_max: usize,
    /// The same for all connections together.
    pub pending_bytes_max: usize,
    /// Bytes of changes of one document in one commit; what is above waits for the next.
    pub record_bytes_max: usize,
    /// Bytes of changes above a document's snapshot that call for a new one, unless there are more
    /// than twice as many below it.
    pub compact_bytes: u64,
    /// Entries above a document's snapshot that call for a new one, unless there are more than
    /// twice as many below it.
    pub compact_entries: u64,
    /// Streams that one connection may have open.
    pub streams_max: u32,
    /// Bytes of text that one stream may have. All of it is in memory while anybody uses it.
    pub stream_bytes_max: u64,
    /// Pieces in which the log may have a stream's text: each takes room beside its text. What is
    /// appended between two commits is one.
    pub stream_pieces_max: u64,
    /// Bytes of text that whoever writes a stream may send ahead of their acknowledgement.
    pub stream_window_bytes: usize,
    /// Bytes of the text of all streams in memory, above which only those are served that are there.
    pub live_stream_bytes_max: usize,
    /// How long an interrupted stream may go on before the server closes it.
    pub stream_interrupt_grace: Duration,
    /// After how long without anybody who writes it a stream is closed as abandoned.
    pub stream_abandon_after: Duration,
    /// Entries that stay readable below a snapshot, for clients that are a little behind.
    pub compact_keep: u64,
    /// How much one user, and one space, may ask for.
    pub quotas: Quotas,
    /// Connections that come back in a second after all were sent away, on average: the more there
    /// were, the longer the time over which they are spread.
    pub returns_per_second: u32,
    /// Spaces, and who is in them.
    pub presence: PresenceConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(20),
            heartbeat: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            lease_idle: Duration::from_secs(60),
            document_idle: Duration::from_secs(60),
            documents_max: 1_000,
            feeds_max: 16,
            feed_interval: Duration::from_secs(1),
            document_bytes_max: 64 << 20,
            rules_bytes_max: 256 << 10,
            live_documents_max: 50_000,
            actors_max: 10_000,
            rollover_actors: 1_000,
            rollover_bytes: 16 << 20,
            offline_window: Duration::from_secs(30 * 24 * 60 * 60),
            outstanding_bytes_max: 256 << 10,
            unread_bytes_max: 4 << 20,
            ring_bytes_max: 1 << 20,
            connection_pending_bytes_max: 8 << 20,
            pending_bytes_max: 64 << 20,
            record_bytes_max: 1 << 20,
            compact_bytes: 512 << 10,
            compact_entries: 2_000,
            compact_keep: 500,
            quotas: Quotas::default(),
            returns_per_second: 500,
            presence: PresenceConfig::default(),
            streams_max: 100,
            stream_bytes_max: 4 << 20,
            stream_pieces_max: 1 << 16,
            stream_window_bytes: 256 << 10,
            live_stream_bytes_max: 256 << 20,
            stream_interrupt_grace: Duration::from_secs(30),
            stream_abandon_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Who this hub is among all that ever served the same store.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The ownership term: higher than that of every hub that served these documents before, at
    /// least 1. Part of every actor id that this hub leases.
    pub term: u64,
    /// The key of the digests that run through the logs; the same for the life of the store.
    pub digest_key: DigestKey,
}

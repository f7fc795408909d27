//! The server machine: connections, live documents, leases, sequencing, fan-out.
//!
//! The hub decides; a driver carries out. The way of a change through it: [`Input::Received`] (a
//! push) is read, checked and given its seq in one synchronous call; [`Effect::Commit`] asks the
//! store to make it durable together with everything else that arrived since the last commit;
//! [`Input::Committed`] says that it is, and only then is it acknowledged and relayed.
//!
//! The hub must never know sockets, files, threads or clocks, and never hold a queue per
//! connection: a connection holds a cursor per document, and what it has not taken yet is read
//! again from the log.

use bytes::Bytes;

use crate::ids::{Address, Cursor, Epoch};
use crate::storage::{Append, LogHead, Record, StoreError};
use crate::wire::CloseCode;

/// A connection's number; the driver counts them up and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A number that ties an answer to its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Everything that the world can say to the hub.
#[derive(Debug)]
pub enum Input {
    /// A socket was accepted and upgraded.
    Opened {
        /// Its number.
        connection: ConnectionId,
    },
    /// A binary message arrived.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The whole message.
        message: Bytes,
    },
    /// Everything that was sent on the connection has been taken by its socket.
    Drained {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The connection is gone, whoever ended it.
    Closed {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Answers [`Effect::Load`].
    Loaded {
        /// Which document.
        address: Address,
        /// A random epoch, used if the document has no log yet.
        fresh_epoch: Epoch,
        /// The outline of its log and all records of its tail; `None` if it has no log yet.
        log: Result<Option<(LogHead, Vec<Record>)>, StoreError>,
    },
    /// Answers [`Effect::Commit`].
    Committed {
        /// Whether everything in it is durable. An error ends the hub: it says goodbye to everyone
        /// and then asks for [`Effect::Stop`].
        result: Result<(), StoreError>,
    },
    /// Answers [`Effect::Read`].
    RecordsRead {
        /// Which question.
        request: RequestId,
        /// The records.
        result: Result<Vec<Record>, StoreError>,
    },
    /// Answers [`Effect::ReadSnapshot`].
    SnapshotRead {
        /// Which question.
        request: RequestId,
        /// The bytes; `None` if that snapshot was replaced meanwhile.
        result: Result<Option<Bytes>, StoreError>,
    },
    /// Answers [`Effect::Compact`].
    Compacted {
        /// Which document.
        address: Address,
        /// The outline of the log after it; an error leaves the log as it was.
        result: Result<LogHead, StoreError>,
    },
    /// Time passed ([`crate::machine::Machine::poll_timeout`] said when).
    Tick,
    /// The process is to end: say goodbye to all, finish what is being committed, then
    /// [`Effect::Stop`].
    Shutdown,
}

/// Everything that the hub can ask of the world.
#[derive(Debug)]
pub enum Effect {
    /// Put a message on a connection's socket.
    Send {
        /// Which connection.
        connection: ConnectionId,
        /// The whole message; the same bytes may go to many connections.
        message: Bytes,
    },
    /// Close a connection after everything sent on it so far.
    Close {
        /// Which connection.
        connection: ConnectionId,
        /// With which code.
        code: CloseCode,
    },
    /// Read a document's log head and tail.
    Load {
        /// Which document.
        address: Address,
    },
    /// Make appends durable, all in one group commit. At most one is under way.
    Commit {
        /// What to append.
        appends: Vec<Append>,
    },
    /// Read records from `from_seq` on.
    Read {
        /// Ties the answer to this.
        request: RequestId,
        /// Which document.
        address: Address,
        /// From where.
        from_seq: u64,
        /// About how many bytes of changes.
        bytes_max: usize,
    },
    /// Read part of a snapshot.
    ReadSnapshot {
        /// Ties the answer to this.
        request: RequestId,
        /// Which document.
        address: Address,
        /// Of which snapshot.
        cursor: Cursor,
        /// From where.
        offset: u64,
        /// How much at most.
        bytes_max: usize,
    },
    /// Make a snapshot of the log up to `cursor` in the background ([`compact`]) and drop records
    /// that lie wholly before `keep_from`.
    Compact {
        /// Which document.
        address: Address,
        /// Up to where; a record boundary.
        cursor: Cursor,
        /// What to keep below it for clients that are a little behind.
        keep_from: u64,
    },
    /// Everything is said and durable: the driver may end.
    Stop,
}

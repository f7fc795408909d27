//! What an app may want to show about the state of its client, and what goes wrong. Values only.

use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::ids::Address;
use syncline_engine::session::{ConnectionStatus, DocumentStatus};

/// The state of a client as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncStatus {
    /// Where the connection is.
    pub connection: ConnectionStatus,
    /// Documents that the app has open.
    pub open_documents: usize,
    /// Those of them that are caught up with the server.
    pub live_documents: usize,
    /// Commands that are not resolved, also in documents that are not open.
    pub pending: usize,
    /// What keeps an open document from being in sync, if anything does; the first of several.
    pub problem: Option<Problem>,
    /// When the server last said that a command of this client is on its disk.
    pub last_durable: Option<Timestamp>,
    /// When the oldest command that is not resolved was made.
    pub oldest_pending: Option<Timestamp>,
    /// When the next attempt to connect will be made, while there is no connection.
    pub next_attempt: Option<Timestamp>,
    /// Commands that were rolled back and not dismissed; see [`Client::refused`](crate::Client::refused).
    pub refused: usize,
    /// Bytes on this device of work that waits to be sent.
    pub outbox_bytes: u64,
    /// Bytes of messages sent, over all connections.
    pub bytes_sent: u64,
    /// Bytes of messages received, over all connections.
    pub bytes_received: u64,
    /// Messages sent, over all connections.
    pub frames_sent: u64,
    /// Messages received, over all connections.
    pub frames_received: u64,
}

impl SyncStatus {
    /// Whether the client is in contact, everything is sent and confirmed, and every open document
    /// is caught up.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.connection == ConnectionStatus::Connected
            && self.pending == 0
            && self.live_documents == self.open_documents
    }
}

impl Default for SyncStatus {
    fn default() -> Self {
        Self {
            connection: ConnectionStatus::Idle,
            open_documents: 0,
            live_documents: 0,
            pending: 0,
            problem: None,
            last_durable: None,
            oldest_pending: None,
            next_attempt: None,
            refused: 0,
            outbox_bytes: 0,
            bytes_sent: 0,
            bytes_received: 0,
            frames_sent: 0,
            frames_received: 0,
        }
    }
}

/// Something that keeps a document or the whole client from being in sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Which document, if it concerns one.
    pub address: Option<Address>,
    /// The stable code.
    pub code: Code,
    /// A sentence that helps.
    pub message: String,
}

impl Problem {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn closed(address: Option<Address>) -> Self {
        Self { address, code: Code::ShuttingDown, message: ClientClosed.to_string() }
    }
}

/// The client was closed, or its store failed. What was stored is sent when it is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client is closed")]
pub struct ClientClosed;

/// A document's state as its handles see it.
#[derive(Debug, Clone)]
pub(crate) struct DocumentState {
    pub(crate) status: DocumentStatus,
    pub(crate) problem: Option<Problem>,
}

impl Default for DocumentState {
    fn default() -> Self {
        let status = DocumentStatus { ready: false, live: false, pending: 0, seq: 0 };
        Self { status, problem: None }
    }
}

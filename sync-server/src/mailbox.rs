//! What connections say to the hub's loop, bounded in number and bytes. A connection that cannot
//! hand in waits, does not read its socket meanwhile, and so slows its peer down.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use syncline_engine::hub::{ConnectionId, Input};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::listener::Peer;
use crate::metrics::Depth;
use crate::outgoing::Outgoing;

/// Messages that wait for the hub.
pub(crate) const MAIL_MAX: usize = 1_024;
/// Bytes of messages that wait for the hub.
pub(crate) const MAIL_BYTES_MAX: usize = 32 << 20;

/// One thing that a connection has to say, in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Mail {
    /// It is there.
    Opened {
        /// Its number.
        connection: ConnectionId,
        /// Who is at the other end.
        peer: Peer,
        /// Where its answers go.
        outgoing: Arc<Outgoing>,
    },
    /// A binary message came.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The message.
        message: Bytes,
        /// When it was read off its socket.
        at: Instant,
        /// Its share of the mailbox, given back when this is dropped.
        room: OwnedSemaphorePermit,
    },
    /// It is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
}

/// The connections' side of the mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    mail: mpsc::Sender<Mail>,
    room: Arc<Semaphore>,
    facts: mpsc::UnboundedSender<Input>,
}

/// The loop's side of the mailbox.
#[derive(Debug)]
pub(crate) struct Letters {
    /// What connections say.
    pub(crate) mail: mpsc::Receiver<Mail>,
    /// Answers to what the hub asked: at most as many as it asked, so they need no bound here and
    /// never wait behind what connections say.
    pub(crate) facts: mpsc::UnboundedReceiver<Input>,
    room: Arc<Semaphore>,
}

impl Letters {
    /// How much waits.
    pub(crate) fn depth(&self) -> Depth {
        let bytes = MAIL_BYTES_MAX.saturating_sub(self.room.available_permits());
        Depth { messages: self.mail.len(), bytes, answers: self.facts.len() }
    }
}

impl Mailbox {
    /// A mailbox, both sides.
    pub(crate) fn new() -> (Self, Letters) {
        let (mail_in, mail) = mpsc::channel(MAIL_MAX);
        let (facts_in, facts) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAIL_BYTES_MAX));
        let letters = Letters { mail, facts, room: Arc::clone(&room) };
        (Self { mail: mail_in, room, facts: facts_in }, letters)
    }

    /// Announces a connection.
    pub(crate) async fn opened(
        &self,
        connection: ConnectionId,
        peer: Peer,
        outgoing: Arc<Outgoing>,
    ) {
        self.post(Mail::Opened { connection, peer, outgoing }).await;
    }

    /// Hands a message in, when there is room for it.
    pub(crate) async fn received(&self, connection: ConnectionId, message: Bytes) {
        let at = Instant::now();
        // A message is at most a frame, far below the bound, so this cannot wait for ever.
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        // Fails only when the semaphore is closed, which nobody does.
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes).await {
            self.post(Mail::Received { connection, message, at, room }).await;
        }
    }

    /// Says that a connection is gone.
    pub(crate) async fn closed(&self, connection: ConnectionId) {
        self.post(Mail::Closed { connection }).await;
    }

    /// Answers the hub, or tells it what only happens because it asked.
    pub(crate) fn fact(&self, fact: Input) {
        // Without a hub there is nobody who needs to know.
        let _ = self.facts.send(fact);
    }

    /// Resolves when the hub's loop has ended, however it did.
    pub(crate) async fn gone(&self) {
        self.mail.closed().await;
    }

    async fn post(&self, mail: Mail) {
        // Without a hub there is nobody who needs to know.
        let _ = self.mail.send(mail).await;
    }
}

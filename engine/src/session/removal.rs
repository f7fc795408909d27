//! What a session does when its store was copied: two of them must not number their commands in one
//! outbox, or be one session. It takes a new name and a new outbox, and moves each document's
//! commands there once the log says which of them the other copy has brought there. Must never guess
//! what became of a command.

use super::open::{Body, OpenDocument};
use super::{Session, layout};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, ChangeHash, OutboxId, SessionId};
use crate::wire::frame::SettledAs;

/// A document's commands are on their way into another outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// The outbox that they are still numbered in.
    pub(super) outbox: OutboxId,
    /// The heads of accepted before the log was read on: what came after may be of the other copy.
    pub(super) heads: Vec<ChangeHash>,
}

impl OpenDocument {
    /// Whether the server has settled a number that this document's outbox did not make, or made
    /// otherwise.
    pub(super) fn was_settled_elsewhere(&self, settled: u64, last: Option<&SettledAs>) -> bool {
        let Some(replica) = self.replica() else { return false };
        let number = last.map_or(settled, |last| last.number.max(settled));
        if number <= replica.settled() {
            return false;
        }
        let own = replica.pending_from(number).next().filter(|own| own.number == number);
        let digest = last.filter(|last| last.number == number).map(|last| last.digest);
        match (own, digest) {
            (Some(own), Some(digest)) => own.change.hash().0[..8] != digest,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Notes that its commands are to leave the outbox that they are numbered in. Answers what is to
    /// be stored; without commands there is nothing to it.
    fn begin_move(&mut self, to: OutboxId) -> Option<Move> {
        let replica = self.replica()?;
        if replica.pending().len() == 0 {
            self.outbox = to;
            self.begun = None;
            return None;
        }
        let heads = replica.accepted_heads().collect();
        let outbox = self.outbox;
        Some(self.begun.get_or_insert(Move { outbox, heads }).clone())
    }
}

impl Session {
    /// Takes another name and another outbox, and comes back under these.
    pub(super) fn become_another(&mut self, now: Timestamp) {
        let why = "this device's store was copied and both copies were used; this one goes on as \
                   another device";
        self.problem(None, Code::OutboxReused, why.to_owned());
        self.hang_up(now);
        self.session = SessionId(self.random.bytes());
        self.outbox = OutboxId(self.random.bytes());
        let opened = (self.generation >> 32) + 1;
        self.identity_stored = self.write_token();
        self.writes.push(layout::put_meta(self.session, self.outbox, opened));
        for (address, document) in &mut self.documents {
            if let Some(begun) = document.begin_move(self.outbox) {
                self.writes.push(layout::put_move(address, &begun));
            }
        }
    }

    /// A document was read from the store, where it may have been on its way already.
    pub(super) fn resume_move(&mut self, address: &Address, stored: Option<Move>) {
        let Some(document) = self.documents.get_mut(address) else { return };
        let was_stored = stored.is_some();
        if let Some(begun) = stored {
            document.outbox = begun.outbox;
            document.begun = Some(begun);
        }
        if document.outbox == self.outbox {
            return;
        }
        match document.begin_move(self.outbox) {
            Some(begun) if !was_stored => self.writes.push(layout::put_move(address, &begun)),
            Some(_) => {}
            None => self.writes.push(layout::delete_move(address)),
        }
    }

    /// Moves a document's commands into the session's outbox, if they are to and the log is read to
    /// its end, and opens it anew there. Answers whether it did.
    pub(super) fn finish_move(&mut self, now: Timestamp, address: &Address) -> bool {
        let Some(document) = self.documents.get_mut(address) else { return false };
        if !document.sync.is_live() {
            return false;
        }
        let Some(begun) = document.begun.take() else { return false };
        let Body::Ready(replica) = &mut document.body else { return false };
        match replica.renumber(&begun.heads) {
            Ok(outcome) => {
                document.outbox = self.outbox;
                self.writes.push(layout::delete_move(address));
                self.absorb(address, outcome, false);
                self.ask_again(now, address);
            }
            Err(error) => self.broken(address, &error),
        }
        true
    }
}

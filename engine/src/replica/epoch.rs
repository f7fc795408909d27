//! A copy whose document begins a new epoch: it makes the same beginning as the server of what both have
//! at the end of the old one, and writes what is pending down again on that. Where the log went on
//! without this copy for too long to relate the two, what is pending is handed back.

use std::collections::BTreeSet;

use automerge::{Automerge, Change};

use super::{Onto, Outcome, Pending, Replica, ReplicaError, Resolution, Writer, heads_of};
use crate::codes::Code;
use crate::document::{begin_epoch, genesis, same_places};
use crate::ids::{ActorId, ChangeHash, Cursor, EpochStart};

impl Replica {
    /// Goes on in the next epoch, once the log has been read to the end of this one. Answers `None`,
    /// and does nothing, if what is here does not lead to the beginning that the server made: the
    /// document has to be read anew then ([`Replica::leave_epoch`]).
    ///
    /// # Errors
    /// What automerge refused.
    pub fn roll_over(&mut self, start: EpochStart) -> Result<Option<Outcome>, ReplicaError> {
        let EpochStart { cursor, head, at } = start;
        let old = self.accepted_exactly()?;
        let document = begin_epoch(&self.address, &old, cursor.epoch, at)?;
        if document.get_heads() != [automerge::ChangeHash(head.0)] {
            return Ok(None);
        }
        let places = same_places(&old, &document);
        // What is settled is in the log that was read to its end.
        self.pending.retain(|pending| pending.number > self.settled);
        self.writer = Writer::Provisional;
        self.apart = Some(old);
        let heads = heads_of(&document);
        let mut outcome = self.rewrite(None, Some(Onto { document, places }))?;
        outcome.rewritten = true;
        self.accepted_heads = heads;
        self.cursor = Some(cursor);
        self.received = None;
        self.proof = None;
        Ok(Some(outcome))
    }

    /// Notes that there is no way from here to the epoch that the log is in.
    pub fn leave_epoch(&mut self) {
        self.distrust();
        self.cursor = None;
    }

    /// What the log makes up to the cursor, and nothing else.
    fn accepted_exactly(&self) -> Result<Automerge, ReplicaError> {
        if self.pending.is_empty() {
            return Ok(self.doc.clone());
        }
        if let Some(apart) = &self.apart
            && heads_of(apart) == self.accepted_heads
        {
            return Ok(apart.clone());
        }
        let heads: Vec<_> =
            self.accepted_heads.iter().map(|head| automerge::ChangeHash(head.0)).collect();
        Ok(self.doc.fork_at(&heads)?)
    }

    /// Takes another document in the place of this one, to which it can't be related: pending work is
    /// handed back.
    pub(super) fn begin_elsewhere(
        &mut self,
        document: Automerge,
        cursor: Cursor,
        received: BTreeSet<ChangeHash>,
    ) -> Outcome {
        let message = "the document went on for too long without what this device had of it";
        self.begin_with(document, Some(cursor), Some(received), (Code::TooOld, message))
    }

    /// Lets go of all that is here, because it is gone at the server: pending work is handed back.
    pub fn lose(&mut self, code: Code, message: &str) -> Outcome {
        let blank = genesis::document(&self.address, self.doc.text_encoding());
        Outcome { left_behind: false, ..self.begin_with(blank, None, None, (code, message)) }
    }

    fn begin_with(
        &mut self,
        document: Automerge,
        cursor: Option<Cursor>,
        received: Option<BTreeSet<ChangeHash>>,
        (code, message): (Code, &str),
    ) -> Outcome {
        let refusal = Resolution::Refused { code, message: message.to_owned() };
        let mut outcome = Outcome { rewritten: true, left_behind: true, ..Outcome::default() };
        let pending: Vec<Pending> = self.pending.drain(..).collect();
        // What was said to be confirmed was in the log that is not known any more.
        let open = |pending: &Pending| pending.number > self.settled && !pending.announced;
        for pending in pending.into_iter().filter(open) {
            outcome.ended.push((pending, refusal.clone()));
        }
        self.writer = Writer::Provisional;
        self.accepted_heads = heads_of(&document);
        self.doc = document;
        self.doc.set_actor(super::automerge_actor(self.provisional));
        self.apart = None;
        self.cursor = cursor;
        self.received = received;
        self.proof = None;
        outcome.events = self.look_again();
        for (pending, _) in &outcome.ended {
            self.history.rolled_back(pending.id, &self.view);
        }
        outcome
    }

    /// Looks at the first changes of a log that is read from its beginning: where they are not of the
    /// epoch that this copy knows, it has nothing to do with them.
    pub(super) fn look_at_first(&mut self, changes: &[Change]) -> Option<Outcome> {
        let received = self.received.as_ref().filter(|received| received.len() == 1)?;
        let cursor = self.cursor?;
        let theirs = changes.first().map(|change| actor_of(change.actor_id()))?;
        let theirs = Some(theirs).filter(|actor| actor.is_rollover());
        let knows_more = self.accepted_heads.iter().any(|head| !received.contains(head));
        if !knows_more || theirs == began_by(&self.doc) {
            return None;
        }
        let received = received.clone();
        let document = genesis::document(&self.address, self.doc.text_encoding());
        Some(self.begin_elsewhere(document, cursor, received))
    }
}

/// Whether a change is one of those that an epoch begins with.
pub(super) fn begins_epoch(meta: &automerge::ChangeMetadata<'_>) -> bool {
    actor_of(&meta.actor).is_rollover()
}

/// Who began the epoch that a document is of; `None` for the first.
pub(super) fn began_by(document: &Automerge) -> Option<ActorId> {
    let metas = document.get_changes_meta(&[]);
    metas.iter().map(|meta| actor_of(&meta.actor)).find(|actor| actor.is_rollover())
}

pub(super) fn actor_of(actor: &automerge::ActorId) -> ActorId {
    actor.to_bytes().try_into().map_or(ActorId::GENESIS, ActorId)
}

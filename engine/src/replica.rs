//! One copy of a document: what the server has accepted, what this user did on top of it, and the
//! view that shows both at once. Knows documents and automerge; knows no frames, sockets or stores.
//!
//! Words: *accepted* changes are in the server's log up to the cursor; *pending* commands are not
//! resolved. The view is accepted plus pending, always. A replica writes under a *provisional*
//! actor until it holds a lease on a document that it has caught up with; then it writes what is
//! pending down again under the leased actor ([`Replica::adopt`]), and from there on local changes
//! are final when they are made. When the lease is gone, what the server did not settle goes back
//! under the provisional actor ([`Replica::fall_back`]). Both are the one mechanism in `rebase`.
//! Only when the server began a new term meanwhile, and so may have lost what it had accepted and
//! shown to others, is what is unsettled handed in again as it is ([`Replica::lapse`]).

mod anew;
mod carets;
mod edits;
mod epoch;
mod rebase;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use automerge::{
    Automerge, AutomergeError, Change, LoadOptions, ObjId, PatchLogMismatch, ReadDoc, TextEncoding,
};

use self::epoch::{actor_of, begins_epoch};
use self::rebase::{Fate, reauthor};
use self::undo::History;
pub use self::undo::{UNDO_MAX, UndoError};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{Command, Event, View, genesis, take_in};
use crate::ids::{ActorId, Address, ChangeHash, Cursor, Lease, Ulid};
use crate::wire::frame::Proof;

/// Work that is not known to be settled, or settled but not yet seen in the log.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The command's name. A long command is several changes with one name.
    pub id: Ulid,
    /// Its place in this document's outbox.
    pub number: u64,
    /// What the user meant.
    pub command: Command,
    /// What was written down for it.
    pub change: Change,
    /// Whether the app was told that it is durable. It stays here until the log brings it.
    pub announced: bool,
}

impl Pending {
    fn hash(&self) -> ChangeHash {
        ChangeHash(self.change.hash().0)
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is in the server's log.
    Confirmed,
    /// It does nothing to what others made of the document meanwhile.
    NoEffect,
    /// The value that it would overwrite was replaced meanwhile.
    Superseded,
    /// It was refused, or builds on something that was.
    Refused {
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
}

/// What a step did, for whoever shows or stores it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What changed in the view.
    pub events: Vec<Event>,
    /// The commands that ended. One that is announced was said to be confirmed before, and then
    /// lost by the server.
    pub ended: Vec<(Pending, Resolution)>,
    /// Whether pending changes were written down anew, so that stored copies of them are stale.
    pub rewritten: bool,
    /// Whether the document has gone on without what was here, in a way to which that can't be related.
    pub left_behind: bool,
}

impl Outcome {
    /// Adds what the next step did.
    pub fn join(&mut self, more: Self) {
        self.events.extend(more.events);
        self.ended.extend(more.ended);
        self.rewritten |= more.rewritten;
        self.left_behind |= more.left_behind;
    }
}

/// A replica can't go on with what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// automerge refused the changes.
    #[error("the changes do not fit the document")]
    Document(#[from] AutomergeError),
    /// A log of patches and its document do not belong together: a defect of this crate.
    #[error("the view lost track of the document")]
    Patches(#[from] PatchLogMismatch),
    /// Something that the changes build on did not come before them.
    #[error("the log has a gap")]
    Gap,
    /// The lease's actor is not where the lease says.
    #[error("the lease does not fit the log")]
    Lease,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Provisional,
    Leased(Lease),
    /// A lease of an earlier term: final are the commands up to a number.
    Lapsed {
        actor: ActorId,
        until: u64,
    },
}

/// One copy of one document.
#[derive(Debug)]
pub struct Replica {
    address: Address,
    /// Accepted and pending together: what the view shows.
    doc: Automerge,
    /// Accepted alone (with what is acked), kept only while it can't be had from `doc` cheaply.
    apart: Option<Automerge>,
    /// The heads of accepted.
    accepted_heads: BTreeSet<ChangeHash>,
    writer: Writer,
    provisional: ActorId,
    pending: VecDeque<Pending>,
    settled: u64,
    /// What of that the server told when the document was opened: the log up to the end that it
    /// announced with it brings no more.
    reconciled: u64,
    cursor: Option<Cursor>,
    view: View,
    /// While the log is read anew from its beginning: what of it has arrived.
    received: Option<BTreeSet<ChangeHash>>,
    /// What proves to a server that has lost something that it once had it.
    proof: Option<Proof>,
    /// The commands that a store had: another copy of that store has them too.
    inherited: BTreeSet<Ulid>,
    history: History,
}

/// What a store keeps of a replica.
#[derive(Debug, Default)]
pub struct Stored {
    /// Accepted in automerge's saved form; `None` for genesis.
    pub base: Option<Vec<u8>>,
    /// Accepted changes after it, in log order.
    pub tail: Vec<Change>,
    /// The position that base and tail stand for.
    pub cursor: Option<Cursor>,
    /// The highest number known to be settled.
    pub settled: u64,
    /// What the server last gave as a proof of what is accepted.
    pub proof: Option<Proof>,
    /// Pending commands in order: id, number, command, change.
    pub outbox: Vec<Pending>,
}

impl Replica {
    /// A replica of a document of which nothing is known. `provisional` must be an actor that no
    /// other replica uses.
    #[must_use]
    pub fn new(address: Address, encoding: TextEncoding, provisional: ActorId) -> Self {
        let mut doc = genesis::document(&address, encoding);
        doc.set_actor(automerge_actor(provisional));
        Self {
            view: View::of_genesis(&address, encoding),
            accepted_heads: heads_of(&doc),
            address,
            doc,
            apart: None,
            writer: Writer::Provisional,
            provisional,
            pending: VecDeque::new(),
            settled: 0,
            reconciled: 0,
            cursor: None,
            received: None,
            proof: None,
            inherited: BTreeSet::new(),
            history: History::default(),
        }
    }

    /// A replica from what a store kept of it.
    ///
    /// # Errors
    /// [`ReplicaError::Document`] if the stored bytes do not make a document.
    pub fn load(
        address: Address,
        encoding: TextEncoding,
        provisional: ActorId,
        stored: Stored,
    ) -> Result<Self, ReplicaError> {
        let accepted = match &stored.base {
            Some(bytes) => {
                let mut doc = load_document(bytes, encoding)?;
                doc.apply_changes(stored.tail)?;
                doc
            }
            // All at once costs hardly more than genesis alone.
            None => genesis::document_with(&address, stored.tail, encoding)?,
        };
        let accepted_heads = heads_of(&accepted);
        let (mut doc, apart) = if stored.outbox.is_empty() {
            (accepted, None)
        } else {
            let mut doc = accepted.clone();
            doc.apply_changes(stored.outbox.iter().map(|p| p.change.clone()))?;
            (doc, Some(accepted))
        };
        let author = stored.outbox.iter().rev().find(|p| p.number > stored.settled).map(author_of);
        let (writer, provisional) = match author {
            Some(author) if author.is_provisional() => (Writer::Provisional, author),
            // The lease may be alive; the server says so when the session is back.
            Some(actor) => (Writer::Leased(Lease { actor, next_seq: 0, after: 0 }), provisional),
            None => (Writer::Provisional, provisional),
        };
        doc.set_actor(automerge_actor(author.unwrap_or(provisional)));
        let mut replica = Self {
            view: View::read(address.facet(), &doc),
            accepted_heads,
            address,
            doc,
            apart,
            writer,
            provisional,
            inherited: stored.outbox.iter().map(|pending| pending.id).collect(),
            history: History::default(),
            pending: stored.outbox.into(),
            settled: stored.settled,
            reconciled: stored.settled,
            cursor: stored.cursor,
            received: None,
            proof: stored.proof,
        };
        replica.merge_acked_into_accepted()?;
        replica.drop_apart_if_same();
        Ok(replica)
    }

    /// Which document this is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What the user sees.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// The document under the view: accepted plus pending.
    #[must_use]
    pub const fn document(&self) -> &Automerge {
        &self.doc
    }

    /// The newest changes of [`document`](Self::document), sorted. Where they are equal the documents are, byte for byte.
    #[must_use]
    pub fn heads(&self) -> BTreeSet<ChangeHash> {
        heads_of(&self.doc)
    }

    /// How far the server's log is known.
    #[must_use]
    pub const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The highest number known to be settled.
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.settled
    }

    /// Commands without an end, and those that are acked but have not come back in the log.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = &Pending> + ExactSizeIterator {
        self.pending.iter()
    }

    /// The same from a number on.
    pub fn pending_from(&self, number: u64) -> impl Iterator<Item = &Pending> {
        self.pending.range(self.pending.partition_point(|p| p.number < number)..)
    }

    /// Commands that have no end yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.pending.len() - self.pending.partition_point(|p| p.number <= self.settled)
    }

    /// When the oldest command without an end was made.
    #[must_use]
    pub fn oldest_unsettled(&self) -> Option<Timestamp> {
        let oldest = self.pending_from(self.settled + 1).next()?;
        u64::try_from(oldest.change.timestamp()).ok().map(Timestamp)
    }

    /// The lease under which local changes are made, if they are final when made.
    #[must_use]
    pub const fn lease(&self) -> Option<Lease> {
        match self.writer {
            Writer::Leased(lease) => Some(lease),
            Writer::Provisional | Writer::Lapsed { .. } => None,
        }
    }

    /// The highest number of a command whose change will not be made anew.
    #[must_use]
    pub const fn final_until(&self) -> u64 {
        match self.writer {
            Writer::Provisional => 0,
            Writer::Leased(_) => u64::MAX,
            Writer::Lapsed { until, .. } => until,
        }
    }

    /// Whether commands are unsettled that were made under a lease of an earlier term.
    #[must_use]
    pub const fn is_lapsed(&self) -> bool {
        match self.writer {
            Writer::Lapsed { until, .. } => self.settled < until,
            Writer::Provisional | Writer::Leased(_) => false,
        }
    }

    /// The author of what is unsettled, if that is a leased actor.
    #[must_use]
    pub fn leased_author(&self) -> Option<ActorId> {
        let first = self.pending_from(self.settled + 1).next()?;
        Some(author_of(first)).filter(|actor| !actor.is_provisional())
    }

    /// Whether `lease` is the one held: what is unsettled goes on exactly where the server has the
    /// actor. The actor alone does not tell, because slots are given out again.
    #[must_use]
    pub fn continues(&self, lease: Lease) -> bool {
        let first = self.pending_from(self.settled + 1).next();
        self.lease().is_some_and(|held| {
            let next_seq = first.map_or(held.next_seq, |first| first.change.seq());
            held.actor == lease.actor && next_seq == lease.next_seq
        })
    }

    /// Notes that the leased actor wrote a change.
    fn advance_lease(&mut self, change: &Change) {
        if let Writer::Leased(lease) = &mut self.writer {
            lease.next_seq = change.seq() + 1;
        }
    }

    /// Takes in what follows in the server's log, up to `cursor`.
    ///
    /// # Errors
    /// The changes do not fit; the replica must be read anew from the beginning.
    pub fn accept(
        &mut self,
        changes: Vec<Change>,
        cursor: Cursor,
    ) -> Result<Outcome, ReplicaError> {
        let mut outcome = self.look_at_first(&changes).unwrap_or_default();
        // A change is costly to copy; mostly its name and deps are all that is needed afterwards.
        let names: Vec<_> =
            changes.iter().map(|change| (change.hash(), change.deps().to_vec())).collect();
        let may_clash = self.received.is_some() || self.unsettled() > 0;
        let copies = (may_clash || self.apart.is_some()).then(|| changes.clone());
        let patches = match take_in(&mut self.doc, changes) {
            Ok(patches) => patches,
            Err(error) => {
                let Some(changes) = copies.clone() else {
                    return Err(error.into());
                };
                outcome.join(self.make_room()?);
                take_in(&mut self.doc, changes)?
            }
        };
        if !self.doc.get_missing_deps(&[]).is_empty() {
            return Err(ReplicaError::Gap);
        }
        let events = self.view.patch(&self.doc, &patches);
        self.history.others(&events, self.doc.text_encoding());
        outcome.events.extend(events);
        for (hash, deps) in names {
            let hash = ChangeHash(hash.0);
            for dep in deps {
                self.accepted_heads.remove(&ChangeHash(dep.0));
            }
            self.accepted_heads.insert(hash);
            if let Some(received) = &mut self.received {
                received.insert(hash);
            }
            self.arrived(hash, &mut outcome);
        }
        if let Some((apart, changes)) = self.apart.as_mut().zip(copies) {
            apart.apply_changes(changes)?;
        }
        self.cursor = Some(cursor);
        self.drop_apart_if_same();
        Ok(outcome)
    }

    /// Takes away what the log can't stand beside: changes of its actors in places that it has given
    /// to others.
    fn make_room(&mut self) -> Result<Outcome, ReplicaError> {
        let Some(received) = self.received.take() else {
            // Another copy of this store has written something else under the same actor.
            self.writer = Writer::Provisional;
            return self.rewrite(None, None);
        };
        // What was accepted here once was lost by the server, and its place taken.
        let outcome = self.keep_only(&received, None);
        self.received = Some(received);
        outcome
    }

    fn arrived(&mut self, hash: ChangeHash, outcome: &mut Outcome) {
        let Some(place) = self.pending.iter().position(|p| p.hash() == hash) else {
            return;
        };
        // Pushes are accepted as a prefix, so everything before it is settled too.
        for done in self.pending.drain(..=place) {
            self.settled = self.settled.max(done.number);
            if !done.announced {
                outcome.ended.push((done, Resolution::Confirmed));
            }
        }
    }

    /// Notes that commands up to `number` are durable. Their changes stay pending until the log
    /// brings them: an acknowledgement marks, it does not move.
    pub fn acknowledge(&mut self, number: u64) -> Outcome {
        let mut outcome = Outcome::default();
        self.settled = self.settled.max(number);
        let settled = self.pending.iter_mut().take_while(|p| p.number <= number);
        for pending in settled.filter(|p| !p.announced) {
            outcome.ended.push((pending.clone(), Resolution::Confirmed));
            pending.announced = true;
        }
        // An acked change is accepted: keep it with the copy of accepted.
        if self.merge_acked_into_accepted().is_err() {
            self.apart = None;
        }
        self.drop_apart_if_same();
        outcome
    }

    /// Takes the server's word, given when the document is opened, for what it has settled of this
    /// outbox. That may be less than was acknowledged before: a server that was restored from an
    /// older copy has forgotten some. What it forgot and the log has not brought is pending again.
    pub fn reconcile(&mut self, settled: u64) -> Outcome {
        self.reconciled = settled;
        if settled >= self.settled {
            return self.acknowledge(settled);
        }
        self.settled = settled;
        self.apart = None;
        // Also with nothing pending: numbers go on from here, and what is stored must say so.
        let outcome = Outcome { rewritten: true, ..Outcome::default() };
        let first_unsettled = self.pending.iter().position(|p| p.number > settled);
        for (offset, pending) in
            self.pending.iter_mut().skip(first_unsettled.unwrap_or(usize::MAX)).enumerate()
        {
            pending.number = settled + 1 + offset as u64;
        }
        outcome
    }

    /// Writes what is pending down under a lease. The log must have been read up to
    /// `lease.after`, so that everything that the leased actor ever wrote is here.
    ///
    /// # Errors
    /// [`ReplicaError::Lease`] if the actor's next change would not be the lease's.
    pub fn adopt(&mut self, lease: Lease) -> Result<Outcome, ReplicaError> {
        if let Writer::Leased(held) = self.writer
            && held.actor == lease.actor
        {
            self.writer = Writer::Leased(lease);
            return Ok(Outcome::default());
        }
        self.writer = Writer::Leased(lease);
        let outcome = self.rewrite(None, None)?;
        match self.pending.iter().find(|p| p.number > self.settled) {
            Some(first) if first.change.seq() != lease.next_seq => Err(ReplicaError::Lease),
            _ => Ok(outcome),
        }
    }

    /// Keeps what is unsettled as it is although its lease is of an earlier term: others may have
    /// seen it, and may bring it back themselves, so it must not be made a second time. The actor
    /// is still nobody else's. Commands that are executed from here on are not final.
    pub fn lapse(&mut self) {
        if let (Some(actor), Some(last)) = (self.leased_author(), self.pending.back()) {
            self.writer = Writer::Lapsed { actor, until: last.number };
        }
    }

    /// Goes back to the provisional actor: the lease is gone, and nothing but what is
    /// acknowledged of its work was accepted.
    ///
    /// # Errors
    /// What automerge refused.
    pub fn fall_back(&mut self) -> Result<Outcome, ReplicaError> {
        if self.writer == Writer::Provisional {
            return Ok(Outcome::default());
        }
        self.writer = Writer::Provisional;
        self.rewrite(None, None)
    }

    /// Rolls a command back that the server refused; the lease is gone with it. What was pending
    /// after it is kept, except what builds on it.
    ///
    /// # Errors
    /// What automerge refused.
    pub fn refuse(
        &mut self,
        number: u64,
        code: Code,
        message: &str,
    ) -> Result<Outcome, ReplicaError> {
        let mut outcome = self.acknowledge(number.saturating_sub(1));
        self.writer = Writer::Provisional;
        let refusal = self.pending.iter().find(|p| p.number == number).map(|p| LeftOut::Refused {
            id: p.id,
            code,
            message: message.to_owned(),
        });
        outcome.join(self.rewrite(refusal.as_ref(), None)?);
        Ok(outcome)
    }

    /// The heads of accepted.
    pub fn accepted_heads(&self) -> impl Iterator<Item = ChangeHash> {
        self.accepted_heads.iter().copied()
    }

    /// Numbers everything that is pending from 1 on, for an outbox in which nothing is settled. What
    /// the log has brought since `heads` in another copy of this replica's name is confirmed.
    ///
    /// A command is known again by the time of its change, to the millisecond, and by what it does:
    /// of that, the other copy may have written down less, where somebody was before it, but nothing
    /// else. What was executed here since [`Replica::load`] is in no other copy.
    ///
    /// # Errors
    /// What automerge refused.
    pub fn renumber(&mut self, heads: &[ChangeHash]) -> Result<Outcome, ReplicaError> {
        self.writer = Writer::Provisional;
        self.apart = None;
        (self.settled, self.reconciled) = (0, 0);
        for (number, pending) in (1..).zip(&mut self.pending) {
            pending.number = number;
        }
        if self.pending.is_empty() {
            // What is stored must say that nothing is settled, or it would say so of the next commands.
            let outcome = self.rewrite(None, None)?;
            return Ok(Outcome { rewritten: true, ..outcome });
        }
        let accepted = self.take_accepted()?;
        let since: Vec<_> = heads.iter().map(|head| automerge::ChangeHash(head.0)).collect();
        let times: BTreeSet<i64> = self.pending.iter().map(|p| p.change.timestamp()).collect();
        let metas = accepted.get_changes_meta(&since);
        if let (Some(cursor), true) = (self.cursor, metas.iter().any(|meta| begins_epoch(meta))) {
            // What the other copy has brought may be in an epoch that this one never saw.
            drop(metas);
            let outcome = self.begin_elsewhere(accepted, cursor, BTreeSet::new());
            self.received = None;
            return Ok(outcome);
        }
        let metas = metas.iter().filter(|meta| times.contains(&meta.timestamp));
        let mut there: Vec<Change> =
            metas.filter_map(|meta| accepted.get_change_by_hash(&meta.hash)).collect();
        let mut found = BTreeSet::new();
        for pending in self.pending.iter().filter(|p| self.inherited.contains(&p.id)) {
            let place = there.iter().position(|change| is_of_same_command(change, &pending.change));
            if let Some(place) = place {
                there.remove(place);
                found.insert(pending.number);
            }
        }
        self.apart = Some(accepted);
        self.rewrite(Some(&LeftOut::Found(found)), None)
    }

    /// Writes everything unsettled down again, under the current writer: on accepted, or on another
    /// document that takes its place.
    fn rewrite(
        &mut self,
        left_out: Option<&LeftOut>,
        onto: Option<Onto>,
    ) -> Result<Outcome, ReplicaError> {
        let actor = match self.writer {
            Writer::Leased(lease) => lease.actor,
            Writer::Lapsed { actor, .. } => actor,
            Writer::Provisional => self.provisional,
        };
        let mut exact = onto.is_none();
        if self.unsettled() == 0 {
            let mut outcome = Outcome::default();
            if let Some(onto) = onto {
                self.doc = onto.document;
                outcome.events = self.look_again();
            }
            self.apart = None;
            self.doc.set_actor(automerge_actor(actor));
            return Ok(outcome);
        }
        let base = self.take_accepted()?;
        let rest: Vec<Pending> =
            self.pending.iter().filter(|p| p.number > self.settled).cloned().collect();
        let changes: Vec<Change> = rest.iter().map(|p| p.change.clone()).collect();
        let leave_out: BTreeSet<usize> = left_out.map_or_else(BTreeSet::new, |left_out| {
            (0..rest.len()).filter(|i| left_out.names(&rest[*i])).collect()
        });
        let Onto { document: onto, places } = onto.unwrap_or_else(|| base.clone().into());
        let mut target = onto.clone();
        target.set_actor(automerge_actor(actor));
        let fates = reauthor(base, &mut target, places, &changes, &leave_out)?;

        let mut outcome = Outcome { rewritten: true, ..Outcome::default() };
        // What is inserted at the border of a mark may come to lie on its other side.
        exact &= !self.view.has_marks();
        self.pending.retain(|p| p.number <= self.settled);
        let mut number = self.settled;
        for (pending, fate) in rest.into_iter().zip(fates) {
            let ending = match fate {
                Fate::Reauthored { change, whole } => {
                    exact &= whole;
                    number += 1;
                    self.advance_lease(&change);
                    self.pending.push_back(Pending { number, change: *change, ..pending });
                    continue;
                }
                Fate::Superseded => Resolution::Superseded,
                Fate::LeftOut => left_out.map_or(Resolution::NoEffect, LeftOut::ending),
                Fate::NoEffect => match left_out {
                    Some(LeftOut::Refused { .. }) => {
                        left_out.map_or(Resolution::NoEffect, LeftOut::ending)
                    }
                    Some(LeftOut::Found(_)) | None => Resolution::NoEffect,
                },
            };
            exact = false;
            outcome.ended.push((pending, ending));
        }
        self.doc = target;
        // Under a lease accepted and pending share one document again.
        self.apart = match self.writer {
            Writer::Leased(_) => None,
            Writer::Provisional | Writer::Lapsed { .. } => Some(onto),
        };
        if !exact {
            outcome.events = self.look_again();
        }
        for (pending, ending) in &outcome.ended {
            if *ending != Resolution::Confirmed {
                self.history.rolled_back(pending.id, &self.view);
            }
        }
        self.drop_apart_if_same();
        Ok(outcome)
    }

    /// Makes the view anew; answers what changed in it.
    fn look_again(&mut self) -> Vec<Event> {
        let view = View::read(self.address.facet(), &self.doc);
        let events = self.view.diff(&view);
        self.view = view;
        self.history.others(&events, self.doc.text_encoding());
        events
    }

    /// Accepted alone, with what is acked.
    fn take_accepted(&mut self) -> Result<Automerge, ReplicaError> {
        if let Some(accepted) = self.apart.take() {
            return Ok(accepted);
        }
        if self.unsettled() == 0 {
            return Ok(self.doc.clone());
        }
        let heads: Vec<automerge::ChangeHash> = self
            .accepted_heads
            .iter()
            .copied()
            .chain(self.pending.iter().filter(|p| p.number <= self.settled).map(Pending::hash))
            .map(|hash| automerge::ChangeHash(hash.0))
            .collect();
        Ok(self.doc.fork_at(&heads)?)
    }

    fn merge_acked_into_accepted(&mut self) -> Result<(), AutomergeError> {
        let Some(apart) = &mut self.apart else {
            return Ok(());
        };
        let acked: Vec<Change> = self
            .pending
            .iter()
            .filter(|p| p.number <= self.settled)
            .map(|p| p.change.clone())
            .collect();
        apart.apply_changes(acked)
    }

    fn drop_apart_if_same(&mut self) {
        if self.unsettled() == 0 {
            self.apart = None;
        }
    }

    /// Accepted in automerge's saved form, with the position that it stands for; `None` while it
    /// can't be had cheaply (pending work shares its document) or the log is being read anew.
    #[must_use]
    pub fn save_accepted(&self) -> Option<(Vec<u8>, Cursor)> {
        let cursor = self.cursor?;
        if self.received.is_some() {
            return None;
        }
        match &self.apart {
            Some(apart) => Some((apart.save(), cursor)),
            None if self.pending.is_empty() => Some((self.doc.save(), cursor)),
            None => None,
        }
    }
}

/// On what pending work is written down again.
#[derive(Debug)]
struct Onto {
    document: Automerge,
    /// For objects of the document that it was on, those in their places here, where the names differ.
    places: BTreeMap<ObjId, ObjId>,
}

impl From<Automerge> for Onto {
    fn from(document: Automerge) -> Self {
        Self { document, places: BTreeMap::new() }
    }
}

/// What is left out of what is written down again.
#[derive(Debug)]
enum LeftOut {
    /// A command that the server refused.
    Refused { id: Ulid, code: Code, message: String },
    /// Numbers that are in the log already, under other hands.
    Found(BTreeSet<u64>),
}

impl LeftOut {
    fn names(&self, pending: &Pending) -> bool {
        match self {
            Self::Refused { id, .. } => pending.id == *id,
            Self::Found(numbers) => numbers.contains(&pending.number),
        }
    }

    fn ending(&self) -> Resolution {
        match self {
            Self::Refused { code, message, .. } => {
                Resolution::Refused { code: *code, message: message.clone() }
            }
            Self::Found(_) => Resolution::Confirmed,
        }
    }
}

/// Whether one change was made of the same command as another, perhaps on another base, where less
/// of it was left to do.
fn is_of_same_command(found: &Change, own: &Change) -> bool {
    if found.timestamp() != own.timestamp() {
        return false;
    }
    let mut rest: Vec<_> = own.decode().operations.into_iter().map(|op| op.action).collect();
    let found = found.decode().operations;
    !found.is_empty()
        && found.iter().all(|op| {
            let place = rest.iter().position(|action| *action == op.action);
            place.map(|place| rest.swap_remove(place)).is_some()
        })
}

fn author_of(pending: &Pending) -> ActorId {
    actor_of(pending.change.actor_id())
}

fn automerge_actor(actor: ActorId) -> automerge::ActorId {
    automerge::ActorId::from(actor.0)
}

fn heads_of(doc: &Automerge) -> BTreeSet<ChangeHash> {
    doc.get_heads().into_iter().map(|hash| ChangeHash(hash.0)).collect()
}

fn load_document(bytes: &[u8], encoding: TextEncoding) -> Result<Automerge, AutomergeError> {
    Automerge::load_with_options(bytes, LoadOptions::new().text_encoding(encoding))
}

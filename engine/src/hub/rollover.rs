//! The end of an epoch: a document with too many actors or too long a history goes on with what it
//! shows and without them. Must never change what anybody sees.
//!
//! From the moment that it is decided, nothing more is taken in; once what was accepted before is
//! durable, a driver makes the next epoch's beginning ([`roll_over`]) and the store switches to it in one
//! step. Then everybody is told to open the document again. Who comes with a cursor of the old epoch is
//! brought to its end first, and told where the log goes on: it makes the same beginning of that itself
//! ([`crate::document::begin_epoch`]).

use automerge::{Automerge, Change};

use super::attribution::Attribution;
use super::compact::{CompactError, compact};
use super::connection::{SessionKey, Slot};
use super::document::{Live, State};
use super::index::Index;
use super::load;
use super::push::SERVER;
use super::space::Rulebook;
use super::timers::Timer;
use super::{Effect, Handle, Hub};
use crate::change::reader;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{View, begin_epoch, genesis};
use crate::ids::{Address, ChangeHash, Cursor, Epoch, EpochStart, Tip, UserId};
use crate::storage::{LogStore, Record, Rollover, Snapshot, StoreError};

/// Handles of past epochs that are remembered for a connection.
const CLOSED_MAX: usize = 32;
/// An epoch does not end before it has this many times the bytes that it began with.
const GROWTH: u64 = 4;

/// What a rollover gives: the rules, where the document holds those of a space.
pub type RolledOver = Option<Box<Rulebook>>;

/// How far a document is with the end of its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It goes on.
    Not,
    /// Nothing is taken in any more; what was accepted is being made durable.
    Draining,
    /// The next epoch is being made.
    Making,
    /// An operator has it written anew; what was accepted is being made durable, or that is done.
    Rewriting,
}

/// Carries out what [`Effect::RollOver`] asks for. `fresh_epoch` must be random.
///
/// # Errors
/// [`StoreError`] if the store fails, or the document is damaged or does not come out as it was. The
/// log is as it was then.
pub fn roll_over(
    store: &(impl LogStore + ?Sized),
    address: &Address,
    end: Cursor,
    fresh_epoch: Epoch,
    at: Timestamp,
    keep_since: Timestamp,
) -> Result<RolledOver, StoreError> {
    let damaged = |what: String| StoreError::Damaged { address: address.clone(), what };
    let old = load::snapshot(store, address)?;
    let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
    let records = store.read(address, from_seq, usize::MAX)?;
    let made = make(address, end, old.as_ref(), &records, fresh_epoch, at, keep_since);
    let (rollover, rules) = made.map_err(|error| damaged(error.to_string()))?;
    store.roll_over(address, &rollover, keep_since)?;
    Ok(rules)
}

/// Makes the end of one epoch and the beginning of the next.
pub(super) fn make(
    address: &Address,
    end: Cursor,
    old: Option<&Snapshot>,
    records: &[Record],
    epoch: Epoch,
    at: Timestamp,
    settled_since: Timestamp,
) -> Result<(Rollover, RolledOver), CompactError> {
    let last = compact(address, end, old, records)?;
    let body = |error: automerge::AutomergeError| CompactError::Body(error.to_string());
    let old = Automerge::load(&last.body).map_err(body)?;
    let (first, head, rules) = begin(address, &old, &last, epoch, at, settled_since)?;
    let cursor = first.cursor;
    Ok((Rollover { last, first, start: EpochStart { cursor, head, at } }, rules))
}

/// Makes the first snapshot of the epoch that begins with what `old` shows, and says its head. `last` is the
/// ending epoch's last snapshot.
pub(super) fn begin(
    address: &Address,
    old: &Automerge,
    last: &Snapshot,
    epoch: Epoch,
    at: Timestamp,
    settled_since: Timestamp,
) -> Result<(Snapshot, ChangeHash, RolledOver), CompactError> {
    let body = |error: automerge::AutomergeError| CompactError::Body(error.to_string());
    let new = begin_epoch(address, old, epoch, at).map_err(body)?;
    let facet = address.facet();
    if View::read(facet, &new) != View::read(facet, old) {
        return Err(CompactError::Verify("it does not show the same".to_owned()));
    }

    let changes = new.get_changes(&[]);
    let mut gate = crate::gate::Index::new(address);
    gate.replay(changes.iter().map(Change::raw_bytes))
        .map_err(|refusal| CompactError::Verify(refusal.to_string()))?;
    let first = genesis::change(address);
    let mut index = Index::new(ChangeHash(first.hash().0), first.max_op());
    let mut attribution = Attribution::default();
    let server = UserId::new(SERVER).map_err(|error| CompactError::Apply(error.to_string()))?;
    for (seq, change) in (1..).zip(&changes[1..]) {
        let bytes = change.raw_bytes();
        let header = reader::read(bytes).map_err(|error| CompactError::Change { seq, error })?;
        attribution.note(header.actor, header.seq, &server, at);
        index.apply(&header, bytes.len(), None, at);
    }
    // Who comes back from the old epoch knows its commands in that by their hashes.
    index.begin(&Index::decode(&last.index)?);
    index.forget_settled_before(settled_since);
    let head = index.heads().next().unwrap_or(ChangeHash(first.hash().0));

    let mut tip = Tip::EMPTY;
    tip.0.copy_from_slice(&head.0[..16]);
    // The seq goes on, so that it never goes back.
    let cursor = Cursor { epoch, seq: last.cursor.seq, tip };
    let rules = if address.is_rules() {
        let rules = Rulebook::read(new.clone());
        Some(Box::new(rules.map_err(|error| CompactError::Verify(error.to_string()))?))
    } else {
        None
    };
    let (index, attribution) = (index.encode(), attribution.encode());
    let first = Snapshot { cursor, body: new.save().into(), index, attribution };
    let again = Automerge::load(&first.body).map_err(body)?;
    if again.get_heads() != new.get_heads() {
        return Err(CompactError::Verify("other heads".to_owned()));
    }
    Ok((first, head, rules))
}

impl Live {
    /// Whether nothing is taken in, because the epoch ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending != Ending::Not
    }
}

impl Hub {
    /// Whether a document's epoch should end.
    pub(super) fn outgrew_epoch(&self, address: &Address, live: &Live) -> bool {
        let (index, config) = (&live.index, &self.config);
        let (most, full) = if address.is_rules() {
            (config.rollover_bytes.min(config.rules_bytes_max / 2), config.rules_bytes_max)
        } else {
            (config.rollover_bytes, config.document_bytes_max)
        };
        let (bytes, begun_with) = (index.bytes(), index.begun_with());
        // Genesis, what the epoch began with, and who writes at the moment are there in the next too.
        let past = index.actors().saturating_sub(2 + live.leases.len());
        // The end of each epoch is kept for a while, so nobody may bring many about with little.
        let crowded = past >= config.rollover_actors && bytes >= begun_with + begun_with / 4;
        // One that begins large ends before it is full.
        let grown = (GROWTH * begun_with).min(begun_with.midpoint(full));
        let long = bytes >= most.max(grown);
        (crowded || long) && bytes >= live.ending_failed_at.saturating_mul(2)
    }

    /// Takes nothing more into a document, and has the next epoch made once all is durable.
    pub(super) fn begin_ending(&mut self, now: Timestamp, handle: Handle) {
        if let Some(live) = self.documents.live_mut(handle) {
            live.ending = Ending::Draining;
            self.make_next_epoch(now, handle);
        }
    }

    /// Has the next epoch made, if the document is to get one and all is durable.
    pub(super) fn make_next_epoch(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get_mut(handle) else { return };
        let State::Live(live) = &mut document.state else { return };
        if live.ending != Ending::Draining || live.durable != live.assigned {
            return;
        }
        live.ending = Ending::Making;
        let end = Cursor { epoch: live.epoch, seq: live.durable.seq, tip: live.durable.tip };
        let keep_since = now.before(self.config.offline_window);
        let address = document.address.clone();
        self.out.push(Effect::RollOver { address, end, at: now, keep_since });
    }

    /// The next epoch is made, or could not be. Either way everybody opens the document again: what was
    /// pushed meanwhile was not taken in.
    pub(super) fn rolled_over(
        &mut self,
        now: Timestamp,
        address: &Address,
        result: Result<RolledOver, StoreError>,
    ) {
        let Some(handle) = self.documents.handle(address) else { return };
        let Some(live) = self.documents.live_mut(handle) else { return };
        if live.ending != Ending::Making {
            return;
        }
        self.compacting = false;
        self.have_reopened(now, handle, address);
        match result {
            Ok(rules) => {
                self.take_rules(address, rules);
                self.close_epoch(handle);
            }
            Err(_) => {
                if let Some(live) = self.documents.live_mut(handle) {
                    live.ending_failed_at = live.index.bytes();
                }
                self.watch_idle(now, handle);
            }
        }
        self.start_compaction(now);
    }

    /// Tells everyone who follows a document into which nothing was taken, or asked to, to open it again.
    pub(super) fn have_reopened(&mut self, now: Timestamp, handle: Handle, address: &Address) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        live.ending = Ending::Not;
        let slots: Vec<Slot> = live.followers.keys().chain(live.openings.keys()).copied().collect();
        for slot in slots {
            self.forget_follower(now, handle, slot);
            self.close_handle(slot, handle);
            let why = "the document was put in order: open it again";
            self.abandon(slot, handle, address, Code::RolledOver, why);
        }
    }

    /// Passes over what a connection still says on a handle that it hears of being closed.
    pub(super) fn close_handle(&mut self, slot: Slot, handle: Handle) {
        if let Some(open) = self.connections.open_mut(slot) {
            open.closed.push_back(handle);
            if open.closed.len() > CLOSED_MAX {
                open.closed.pop_front();
            }
        }
    }

    /// Goes on by the rules that a document of rules holds in its next epoch.
    pub(super) fn take_rules(&mut self, address: &Address, rules: RolledOver) {
        if let Some(rules) = rules
            && let Some(space) = self.spaces.get_mut(address.space())
        {
            space.rules = Some(rules);
        }
    }

    /// Lets go of a document whose log goes on in another epoch. None of its actors comes again.
    pub(super) fn close_epoch(&mut self, handle: Handle) {
        let Some(live) = self.documents.live(handle) else { return };
        let written = live.index.slots_of_term(self.identity.term);
        self.slots_spent = self.slots_spent.max(live.leases.slots()).max(written);
        for (session, wake) in live.leases.timers() {
            self.timers.disarm(wake, Timer::Lease(handle, session));
        }
        let holders: Vec<SessionKey> =
            live.leases.timers().map(|(session, _)| session).chain(live.leases.owing()).collect();
        for session in holders {
            if let Some(session) = self.sessions.get_mut(session) {
                session.slots.remove(&handle);
            }
        }
        self.wanting_compaction.remove(&handle);
        self.remove_document(handle);
    }
}

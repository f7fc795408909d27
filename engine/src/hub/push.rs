//! Which pushed and restored changes get a place in the log: those of the right actor, under the right
//! number, that the gate ([`crate::gate`]) lets in.

use super::connection::{Peer, SessionKey, Slot};
use super::document::{Follower, Gate, Live, State};
use super::space::Rulebook;
use super::{Handle, Hub, Phase};
use crate::change::{self, Header, Operations, reader};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::gate::{self, Checked, Refusal};
use crate::ids::{ActorId, ChangeHash, OutboxId, UserId};
use crate::limits::{CHANGE_BYTES_MAX, HEADS_MERGE_AT, NUMBER_MAX, PUSH_CHANGES_MAX};
use crate::policy::{Principal, Role};
use crate::storage::{CommandRef, Entry};
use crate::wire::frame::{Ack, Blob, Push, Reject, ServerFrame};

use super::config::{Config, Identity};

/// Who writes the hub's own merges.
pub(super) const SERVER: &str = "server";

/// One frame's worth of changes on its way into a document.
pub(super) struct Intake<'a> {
    config: &'a Config,
    identity: &'a Identity,
    now: Timestamp,
    live: &'a mut Live,
    peer: Peer,
    session: SessionKey,
    principal: Principal,
    /// The role that the connection proved.
    claimed: Option<Role>,
    /// The rules of the space, where the document is the one that holds them.
    rules: Option<&'a mut Rulebook>,
    /// Bytes accepted, of the peer and altogether.
    bytes: usize,
    bytes_all: usize,
    entries: usize,
    ops: u64,
}

/// What became of one change.
enum Outcome {
    Accepted,
    /// It is in the log already.
    Known,
    /// Its number stands for another change.
    Reused,
    Refused(Refusal),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn refuse<T>(code: Code, message: &str) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

impl Intake<'_> {
    fn push(&mut self, outbox: OutboxId, number: Option<u64>, change: &Blob) -> Outcome {
        let Some(number) = number.filter(|number| *number <= NUMBER_MAX) else {
            return Refusal::new(Code::NumberGap, "there is no such number").into();
        };
        let settled = self.live.index.settled(outbox);
        if number < settled.number || number == 0 {
            return Outcome::Known;
        }
        if number == settled.number {
            let same = reader::read(&change.0).is_ok_and(|header| settled.was(header.hash));
            return if same { Outcome::Known } else { Outcome::Reused };
        }
        match self.try_push(CommandRef { outbox, number }, change) {
            Ok(()) => Outcome::Accepted,
            Err(refusal) => refusal.into(),
        }
    }

    fn try_push(&mut self, command: CommandRef, change: &Blob) -> Result<(), Refusal> {
        let (header, ops) = self.read(change)?;
        if self.is_of_earlier_term(header.actor) {
            return self.try_push_again(command, (header, ops), change);
        }
        let Some(held) = self.live.leases.of(self.session) else {
            return refuse(Code::LeaseLost, "ask for a lease before writing");
        };
        // The first command under a lease may leave numbers out: those that were refused.
        let continues = held.next.is_none_or(|next| next == (command.outbox, command.number));
        if !continues {
            return refuse(Code::NumberGap, "the numbers of commands follow each other");
        }
        if header.actor != held.actor {
            return refuse(Code::WrongActor, "the change is not by the leased actor");
        }
        let checked = self.gate()?.check_read(header, ops, Some(&self.principal))?;
        let rules = self.rules_after(change)?;
        let seq = self.live.assigned.seq + 1;
        if let Some(held) = self.live.leases.of_mut(self.session) {
            held.next = Some((command.outbox, command.number.saturating_add(1)));
            held.used = self.now;
            held.written = seq;
        }
        self.accept(&checked, change, Some(command), rules);
        Ok(())
    }

    /// Whether no lease on an actor is held, or will ever be again.
    fn is_of_earlier_term(&self, actor: ActorId) -> bool {
        !actor.is_provisional() && (1..self.identity.term).contains(&actor.term())
    }

    /// Takes in a command whose change was made, and perhaps accepted and seen, in an earlier term
    /// of which this one has lost the end. It stays the change that it was.
    fn try_push_again(
        &mut self,
        command: CommandRef,
        read: (Header, Operations<'_>),
        change: &Blob,
    ) -> Result<(), Refusal> {
        if self.live.index.has(&read.0) {
            return Ok(());
        }
        let checked = self.check_earlier(read, Some(&self.principal))?;
        let rules = self.rules_after(change)?;
        self.accept(&checked, change, Some(command), rules);
        Ok(())
    }

    /// Takes a change back that was in the log once. Answers whether it was missing.
    pub(super) fn take_back(&mut self, change: &Blob) -> Result<bool, Refusal> {
        let (header, ops) = self.read(change)?;
        if self.live.index.has(&header) {
            return Ok(false);
        }
        // What an epoch began with is taken back where nothing else was written.
        let begins = header.actor.is_rollover() && self.live.index.is_only_of(header.actor);
        if !self.is_of_earlier_term(header.actor) && !begins {
            return refuse(Code::WrongActor, "only changes of an earlier term can be restored");
        }
        let checked = self.check_earlier((header, ops), None)?;
        let rules = self.rules_after(change)?;
        self.accept(&checked, change, None, rules);
        Ok(true)
    }

    fn check_earlier<'c>(
        &self,
        (header, ops): (Header, Operations<'c>),
        principal: Option<&Principal>,
    ) -> Result<Checked<'c>, Refusal> {
        let actors = self.live.index.actors();
        if !self.live.index.knows_actor(header.actor) && actors >= self.config.actors_max {
            return refuse(Code::DocumentFull, "the document has as many actors as it may");
        }
        self.gate()?.check_read(header, ops, principal)
    }

    /// The rules with a change, where the document holds them and they still are rules.
    fn rules_after(&self, change: &Blob) -> Result<Option<Rulebook>, Refusal> {
        let Some(rules) = &self.rules else { return Ok(None) };
        if self.live.index.bytes() + change.0.len() as u64 > self.config.rules_bytes_max {
            return refuse(Code::DocumentFull, "the rules are as large as they may be");
        }
        rules.after(&change.0).map(Some)
    }

    fn gate(&self) -> Result<&gate::Index, Refusal> {
        match &self.live.gate {
            Gate::Open(index) => Ok(index),
            Gate::Closed | Gate::Opening(_) => {
                refuse(Code::LeaseLost, "ask for a lease before writing")
            }
        }
    }

    fn read<'c>(&self, change: &'c Blob) -> Result<(Header, Operations<'c>), Refusal> {
        if change.0.len() > CHANGE_BYTES_MAX {
            return refuse(Code::ChangeTooLarge, "split the change");
        }
        if self.live.index.bytes() + change.0.len() as u64 > self.config.document_bytes_max {
            return refuse(Code::DocumentFull, "the document is as large as it may be");
        }
        let (header, ops) = change::operations(&change.0)?;
        if self.live.index.is_behind_the_start(&header) {
            return refuse(Code::Stale, "the change is of an epoch that has ended");
        }
        Ok((header, ops))
    }

    fn accept(
        &mut self,
        checked: &Checked<'_>,
        change: &Blob,
        command: Option<CommandRef>,
        rules: Option<Rulebook>,
    ) {
        let entry = Entry {
            author: self.principal.user.clone(),
            at: self.now,
            command,
            hash: checked.header().hash,
            change: change.0.clone(),
        };
        self.bytes += change.0.len();
        self.append(checked, entry, Some(self.peer), rules);
        if self.live.index.heads().len() > HEADS_MERGE_AT {
            self.merge_heads();
        }
    }

    fn append(
        &mut self,
        checked: &Checked<'_>,
        entry: Entry,
        from: Option<Peer>,
        rules: Option<Rulebook>,
    ) {
        self.bytes_all += entry.change.len();
        self.entries += 1;
        self.ops += u64::from(checked.header().ops);
        if let Some((rules, next)) = self.rules.as_mut().zip(rules) {
            **rules = next;
            // What comes next in the same frame is judged by what they are now.
            self.principal = rules.principal(&self.principal.user, self.claimed.as_ref());
        }
        if let Gate::Open(index) = &mut self.live.gate {
            index.apply(checked);
        }
        self.live.append(&self.identity.digest_key, checked.header(), entry, from);
        self.live.note_cut(self.config.record_bytes_max);
    }

    /// Follows all heads by an empty change of the server's own actor, so that those who write next
    /// need not name them all.
    fn merge_heads(&mut self) {
        let actor = ActorId::server(self.identity.term, self.live.epoch);
        let index = &self.live.index;
        let deps = index.deps_on_heads(actor);
        let bytes = empty_change(actor, index.last_seq(actor) + 1, index.max_op() + 1, &deps);
        let (Some(bytes), Ok(author)) = (bytes, UserId::new(SERVER)) else { return };
        // The gate has the last word here too; without a merge the document goes on.
        let Ok(gate) = self.gate() else { return };
        let Ok(checked) = gate.check_structure(&bytes) else { return };
        let (at, hash) = (self.now, checked.header().hash);
        let entry = Entry { author, at, command: None, hash, change: bytes.clone().into() };
        // Nothing in a merge could be wrong with rules.
        let rules = self.rules.as_ref().and_then(|rules| rules.after(&entry.change).ok());
        self.append(&checked, entry, None, rules);
    }
}

/// A change without operations; its deps must be sorted.
fn empty_change(actor: ActorId, seq: u64, start_op: u64, deps: &[ChangeHash]) -> Option<Vec<u8>> {
    let change = automerge::Change::from(automerge::ExpandedChange {
        operations: vec![],
        actor_id: automerge::ActorId::from(&actor.0[..]),
        author: None,
        hash: None,
        time: 0,
        deps: deps.iter().map(|dep| automerge::ChangeHash(dep.0)).collect(),
        seq,
        start_op: std::num::NonZeroU64::new(start_op)?,
        extra_bytes: vec![],
        message: None,
    });
    Some(change.raw_bytes().to_vec())
}

impl Hub {
    /// Hands changes into a document on behalf of a follower.
    pub(super) fn with_intake<T>(
        &mut self,
        now: Timestamp,
        slot: Slot,
        handle: Handle,
        run: impl FnOnce(&mut Intake<'_>) -> T,
    ) -> Option<T> {
        let peer = self.connections.peer(slot)?;
        let open = self.connections.open(slot)?;
        let address = &self.documents.get(handle)?.address;
        let principal = self.principal(slot, address.space())?;
        let claimed = open.credentials.role_in(address.space()).cloned();
        let rules_of = address.is_rules().then(|| address.space().to_owned());
        let space = rules_of.as_deref().and_then(|space| self.spaces.get_mut(space));
        let rules = space.and_then(|space| space.rules.as_deref_mut());
        let rules_before = rules.as_ref().map(|rules| rules.rules().clone());
        let document = self.documents.get_mut(handle)?;
        let State::Live(live) = &mut document.state else { return None };
        let mut intake = Intake {
            config: &self.config,
            identity: &self.identity,
            now,
            live,
            peer,
            session: open.session,
            principal,
            claimed,
            rules,
            bytes: 0,
            bytes_all: 0,
            entries: 0,
            ops: 0,
        };
        let result = run(&mut intake);
        let Intake { bytes, bytes_all, entries, ops, .. } = intake;
        if entries > 0 {
            self.dirty.insert(handle);
            self.pending_bytes += bytes_all;
            self.pending_entries += entries;
            self.counters.accepted_entries += entries as u64;
            self.counters.accepted_bytes += bytes_all as u64;
            self.counters.accepted_ops += ops;
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.pending += bytes;
            }
            if let Some(space) = rules_of
                && self.rules_of(&space) != rules_before.as_ref()
            {
                self.rules_changed(now, &space);
            }
        }
        Some(result)
    }

    pub(super) fn follower(&self, slot: Slot, handle: Handle) -> Option<&Follower> {
        self.documents.live(handle)?.followers.get(&slot)
    }

    pub(super) fn push(&mut self, now: Timestamp, slot: Slot, frame: Push) {
        let Push { handle, first, changes } = frame;
        let Some(follower) = self.follower(slot, handle) else {
            return self.unknown_handle(slot, handle);
        };
        let (outbox, dropping) = (follower.outbox, follower.dropping);
        let ending = self.documents.live(handle).is_some_and(Live::is_ending);
        if dropping || ending || !matches!(self.phase, Phase::Running) {
            return;
        }
        if changes.len() > PUSH_CHANGES_MAX {
            let refusal = Refusal::new(Code::TooManyChanges, "push fewer changes at once");
            return self.reject(handle, slot, first, refusal);
        }
        let stopped_at = self.with_intake(now, slot, handle, |intake| {
            let mut known = false;
            for (place, change) in (0_u64..).zip(&changes) {
                let number = first.checked_add(place);
                match intake.push(outbox, number, change) {
                    Outcome::Accepted => {}
                    Outcome::Known => known = true,
                    ended @ (Outcome::Reused | Outcome::Refused(_)) => {
                        return (known, Some((number.unwrap_or(u64::MAX), ended)));
                    }
                }
            }
            (known, None)
        });
        let Some((known, stopped_at)) = stopped_at else { return };
        let number = self.documents.live(handle).map_or(0, |live| live.settled(outbox));
        if known && number > 0 {
            self.send(slot, Ack { handle, number });
        }
        match stopped_at {
            Some((number, Outcome::Refused(refusal))) => {
                self.reject(handle, slot, number, refusal);
            }
            Some((number, Outcome::Reused)) => self.reused(handle, slot, number),
            Some((_, Outcome::Accepted | Outcome::Known)) | None => {}
        }
        self.check_pending(now, slot);
    }

    /// Refuses a command. The lease ends with it, and what comes under it is passed over.
    fn reject(&mut self, handle: Handle, slot: Slot, number: u64, refusal: Refusal) {
        let Refusal { code, message } = refusal;
        let frame = Reject { handle, number, code: code.number(), message };
        self.stop_listening(handle, slot);
        self.notify(handle, slot, frame.into());
    }

    /// A number was used for two different changes: somebody copied the client's store.
    fn reused(&mut self, handle: Handle, slot: Slot, number: u64) {
        self.stop_listening(handle, slot);
        let address = self.documents.get(handle).map(|document| document.address.to_string());
        let message = format!("command {number} was settled with other content: take a new outbox");
        self.complain(slot, Code::OutboxReused, &message, address);
    }

    fn stop_listening(&mut self, handle: Handle, slot: Slot) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let Some(follower) = live.followers.get_mut(&slot) else { return };
        follower.dropping = true;
        let session = follower.session;
        self.end_lease(handle, session);
    }

    /// Sends an answer once everything that was accepted before it is durable, so that it is heard
    /// after the acknowledgements.
    pub(super) fn notify(&mut self, handle: Handle, slot: Slot, frame: ServerFrame) {
        let Some(peer) = self.connections.peer(slot) else { return };
        match self.documents.live_mut(handle) {
            Some(live) if live.assigned.seq > live.durable.seq => {
                live.notices.push_back((live.assigned.seq, peer, frame));
            }
            Some(_) | None => self.send(slot, frame),
        }
    }

    /// Sends away who hands in more than the disk takes. Its lease is kept for the grace time and
    /// it will send the same again: that is how the pressure reaches it.
    pub(super) fn check_pending(&mut self, now: Timestamp, slot: Slot) {
        let Some(connection) = self.connections.get(slot) else { return };
        if connection.pending > self.config.connection_pending_bytes_max
            || (connection.pending > 0 && self.pending_bytes > self.config.pending_bytes_max)
        {
            self.dismiss(now, slot, Code::Overloaded);
        }
    }
}

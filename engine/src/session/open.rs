//! One open document of a session: its replica, where it stands with the server on this
//! connection, and what of it is stored.

use std::collections::{BTreeMap, VecDeque};

use super::epochs::start_from;
use super::frames::lease_from;
use super::removal::Move;
use super::{Config, StoreToken};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Cursor, EpochStart, Lease, OutboxId, Tip};
use crate::limits::{PUSH_BYTES_MAX, PUSH_CHANGES_MAX};
use crate::policy::Capabilities;
use crate::replica::{Outcome, Pending, Replica, ReplicaError};
use crate::wire::frame::{
    Blob, Push, Restore, Resume, SettledAs, Subscribe, Subscribed, WireCursor,
};

/// Whether the document has been read from the store.
#[derive(Debug)]
pub(super) enum Body {
    /// It is being read.
    Loading,
    /// It can be looked at and edited.
    Ready(Box<Replica>),
    /// It can't be read or synced; what is stored stays as it is.
    Broken(Code),
}

/// Where the document stands with the server, on the connection that is up.
#[derive(Debug)]
pub(super) enum Sync {
    /// Not subscribed.
    Apart,
    /// Subscribe is sent.
    Asked,
    /// A snapshot is being received.
    Snapshot { handle: u32, cursor: Cursor, bytes: u64, buffer: Vec<u8>, end_seq: u64 },
    /// Changes are awaited up to `end_seq`.
    CatchingUp { handle: u32, end_seq: u64 },
    /// Changes that the server lacked are being handed back, in so many frames.
    Restoring { handle: u32 },
    /// Caught up.
    Live { handle: u32 },
}

impl Sync {
    pub(super) const fn handle(&self) -> Option<u32> {
        match self {
            Self::Apart | Self::Asked => None,
            Self::Snapshot { handle, .. }
            | Self::CatchingUp { handle, .. }
            | Self::Restoring { handle, .. }
            | Self::Live { handle } => Some(*handle),
        }
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

#[derive(Debug)]
pub(super) struct OpenDocument {
    pub(super) body: Body,
    pub(super) sync: Sync,
    /// Whether the app has it open; if not, it stays only until nothing is pending.
    pub(super) wanted: bool,
    /// Whether a lease should be asked for along with the subscription.
    pub(super) write: bool,
    /// The outbox that its commands are numbered in.
    pub(super) outbox: OutboxId,
    /// Its commands are to move from that outbox into the session's.
    pub(super) begun: Option<Move>,
    /// As what the server has settled the outbox's highest number, said ahead of `Subscribed`.
    pub(super) settled_as: Option<SettledAs>,
    /// A lease that can't be used before the document is caught up.
    pub(super) granted: Option<Lease>,
    /// Whether a lease is asked for and not answered.
    pub(super) lease_asked: bool,
    /// Whether a lease ended and its actor was not given back.
    pub(super) owes: bool,
    /// From this write on the store holds nothing that was made under an ended lease and that the
    /// server did not answer. No actor is given back before.
    pub(super) release_after: StoreToken,
    /// The highest number pushed under the present lease on this connection.
    pub(super) pushed: u64,
    /// Numbers whose last write may not be on the device's disk yet, in their order.
    pub(super) unstored: VecDeque<(u64, StoreToken)>,
    /// Numbers that have a stored command, and about how many bytes each takes.
    pub(super) stored_numbers: BTreeMap<u64, u64>,
    /// When the server last said something about it, or was first asked after that.
    pub(super) heard: Timestamp,
    /// When the last push went out.
    pub(super) pushed_at: Timestamp,
    /// Where the log goes on, if the epoch that is being read has ended.
    pub(super) next: Option<EpochStart>,
    /// What the user may do in it, as the server said last.
    pub(super) may: Option<Capabilities>,
    /// What proves what the log makes at a seq.
    pub(super) seal: Option<(u64, [u8; 16])>,
    /// When the heads were compared, and at which seq of the log.
    pub(super) compared: Option<(Timestamp, u64)>,
    /// Whether the last comparison failed.
    pub(super) diverged: bool,
    /// The seqs under which parts of the tail are stored.
    pub(super) tails: Vec<u64>,
    /// When the oldest command without an end was made.
    pub(super) waiting_since: Option<Timestamp>,
    /// What the app was last told.
    pub(super) told: Option<super::DocumentStatus>,
}

impl OpenDocument {
    pub(super) const fn new(outbox: OutboxId) -> Self {
        Self {
            body: Body::Loading,
            sync: Sync::Apart,
            wanted: false,
            write: false,
            outbox,
            begun: None,
            settled_as: None,
            granted: None,
            lease_asked: false,
            owes: false,
            release_after: StoreToken(0),
            pushed: 0,
            unstored: VecDeque::new(),
            stored_numbers: BTreeMap::new(),
            heard: Timestamp(0),
            pushed_at: Timestamp(0),
            next: None,
            may: None,
            seal: None,
            compared: None,
            diverged: false,
            tails: Vec::new(),
            waiting_since: None,
            told: None,
        }
    }

    pub(super) fn replica(&self) -> Option<&Replica> {
        match &self.body {
            Body::Ready(replica) => Some(replica),
            Body::Loading | Body::Broken(_) => None,
        }
    }

    pub(super) fn replica_mut(&mut self) -> Option<&mut Replica> {
        match &mut self.body {
            Body::Ready(replica) => Some(replica),
            Body::Loading | Body::Broken(_) => None,
        }
    }

    /// Forgets what belonged to a connection.
    pub(super) fn disconnected(&mut self) {
        self.sync = Sync::Apart;
        self.granted = None;
        self.lease_asked = false;
        self.owes = false;
        self.settled_as = None;
        self.next = None;
    }

    /// Takes the server's word for what is settled, and decides what becomes of what is not and of the
    /// lease. `None` if the document is not read yet.
    pub(super) fn take_up(
        &mut self,
        subscribed: &Subscribed,
        elsewhere: bool,
        term: u64,
    ) -> Option<(Outcome, Result<(), ReplicaError>)> {
        let moves = self.begun.is_some();
        let Body::Ready(replica) = &mut self.body else { return None };
        let kept = subscribed.lease_kept && subscribed.resume == Resume::Cursor;
        let lease = subscribed.lease.map(lease_from);
        let mut outcome =
            if elsewhere { Outcome::default() } else { replica.reconcile(subscribed.settled) };
        let keeps = !moves && kept && lease.is_some_and(|lease| replica.continues(lease));
        let mut step = Ok(());
        self.next = subscribed.next.map(start_from);
        if self.next.is_some() {
            // All of it is written down again in the next epoch. Until then it stays as it is, so that
            // what the log brings of it is known again.
        } else if !moves && replica.leased_author().is_some_and(|actor| actor.term() < term) {
            replica.lapse();
        } else if !keeps {
            step = replica.fall_back().map(|more| outcome.join(more));
        }
        self.granted = lease.filter(|_| !keeps && !moves && self.next.is_none());
        self.pushed = replica.settled();
        Some((outcome, step))
    }

    /// Whether the actor of a lease, held or ended, can be given back now that the store is durable
    /// up to a token.
    pub(super) fn can_release(&self, durable: StoreToken) -> bool {
        let Some(replica) = self.replica() else { return false };
        replica.unsettled() == 0 && self.release_after <= durable && self.holds_actor()
    }

    /// Whether the server keeps an actor for it.
    pub(super) fn holds_actor(&self) -> bool {
        let leased = self.replica().is_some_and(|replica| replica.lease().is_some());
        self.owes || self.granted.is_some() || leased
    }

    /// Whether the server owes an answer.
    pub(super) fn awaits_answer(&self) -> bool {
        match self.sync {
            Sync::Apart => false,
            Sync::Asked
            | Sync::Snapshot { .. }
            | Sync::CatchingUp { .. }
            | Sync::Restoring { .. } => true,
            Sync::Live { .. } => {
                self.lease_asked || self.replica().is_some_and(|r| self.pushed > r.settled())
            }
        }
    }

    /// Until when what could be pushed is held back to be joined by more.
    pub(super) fn gathers_until(&self, now: Timestamp, config: &Config) -> Option<Timestamp> {
        let replica = self.replica()?;
        let until = self.pushed_at + config.push_interval;
        if now >= until || self.pushed <= replica.settled() {
            return None;
        }
        let last = match self.unstored.front() {
            Some((first, _)) => first - 1,
            None => replica.pending().next_back()?.number,
        };
        (last.saturating_sub(self.pushed) < config.push_changes_max as u64).then_some(until)
    }

    pub(super) fn status(&self) -> super::DocumentStatus {
        let replica = self.replica();
        super::DocumentStatus {
            ready: replica.is_some(),
            live: self.sync.is_live(),
            pending: replica.map_or(0, Replica::unsettled),
            seq: replica.and_then(Replica::cursor).map_or(0, |cursor| cursor.seq),
        }
    }

    pub(super) fn subscribe(&self) -> Option<Subscribe> {
        let replica = self.replica()?;
        // A log that is being read anew is not a position to resume from, but it is of some epoch.
        let cursor = replica.cursor().map(|cursor| match replica.is_starting_over() {
            true => Cursor { epoch: cursor.epoch, seq: 0, tip: Tip::NOWHERE },
            false => cursor,
        });
        Some(Subscribe {
            address: replica.address().to_string(),
            cursor: cursor.map(|cursor| WireCursor {
                epoch: cursor.epoch.0,
                seq: cursor.seq,
                tip: cursor.tip.0,
            }),
            outbox: self.outbox.0,
            write: self.write || replica.unsettled() > 0,
        })
    }

    /// Notes that everything asked to be stored up to `token` is on disk.
    pub(super) fn stored(&mut self, token: StoreToken) {
        while self.unstored.front().is_some_and(|(_, asked)| *asked <= token) {
            self.unstored.pop_front();
        }
    }

    /// The next push, if there is something that is stored, final and not pushed.
    pub(super) fn next_push(&mut self, changes_max: usize, in_flight_max: u64) -> Option<Push> {
        let handle = match self.sync {
            Sync::Live { handle } | Sync::CatchingUp { handle, .. } => handle,
            Sync::Apart | Sync::Asked | Sync::Snapshot { .. } | Sync::Restoring { .. } => {
                return None;
            }
        };
        let stored_below = self.unstored.front().map(|(number, _)| *number);
        let replica = self.replica()?;
        if replica.is_starting_over() || self.begun.is_some() || self.next.is_some() {
            return None;
        }
        // What was made under a lease of an earlier term goes out as it is, but only to a server that
        // has granted another: before, it does not look at changes at all.
        if replica.is_lapsed() && self.granted.is_none() {
            return None;
        }
        let settled = replica.settled();
        let final_until = replica.final_until();
        let from = self.pushed.max(settled) + 1;
        let mut changes = Vec::new();
        let mut bytes = 0;
        for pending in replica.pending_from(from) {
            let raw = pending.change.raw_bytes();
            bytes += raw.len();
            let full = changes.len() >= changes_max.min(PUSH_CHANGES_MAX)
                || (bytes > PUSH_BYTES_MAX && !changes.is_empty())
                || pending.number > final_until
                || pending.number > settled + in_flight_max;
            if full || stored_below.is_some_and(|below| pending.number >= below) {
                break;
            }
            changes.push(Blob(raw.to_vec().into()));
        }
        if changes.is_empty() {
            return None;
        }
        self.pushed = from + changes.len() as u64 - 1;
        Some(Push { handle, first: from, changes })
    }

    /// The accepted changes that the server lacks, in frames, each before those that it builds on.
    pub(super) fn restore_frames(&self, handle: u32) -> Vec<Restore> {
        let Some(replica) = self.replica() else {
            return Vec::new();
        };
        let mut frames: Vec<Restore> = Vec::new();
        let mut bytes = 0;
        for change in replica.missing_at_server().iter().rev() {
            let raw = change.raw_bytes();
            bytes += raw.len();
            match frames.last_mut() {
                Some(frame)
                    if bytes <= PUSH_BYTES_MAX && frame.changes.len() < PUSH_CHANGES_MAX =>
                {
                    frame.changes.push(Blob(raw.to_vec().into()));
                }
                _ => {
                    bytes = raw.len();
                    let changes = vec![Blob(raw.to_vec().into())];
                    frames.push(Restore { handle, proof: None, changes, last: false });
                }
            }
        }
        if let Some(first) = frames.first_mut() {
            first.proof = replica.proof().cloned();
        }
        if let Some(last) = frames.last_mut() {
            last.last = true;
        }
        frames
    }

    /// Notes a proof of what the log makes at a seq, now or when the log has been read that far.
    pub(super) fn note_seal(&mut self, seal: Option<(u64, [u8; 16])>) {
        self.seal = seal.or(self.seal);
        let Some((seq, seal)) = self.seal else { return };
        if let Some(replica) = self.replica_mut()
            && replica.cursor().is_some_and(|cursor| cursor.seq == seq)
        {
            replica.sealed(seal);
        }
    }

    /// Whether a later part of the same command is still to come to its end.
    pub(super) fn continues(&self, ended: &Pending, rewritten: bool) -> bool {
        if rewritten {
            let mut pending = self.replica().into_iter().flat_map(Replica::pending);
            return pending.any(|other| other.id == ended.id && !other.announced);
        }
        // The parts of a command are numbered one after the other.
        let next = self.replica().and_then(|replica| replica.pending_from(ended.number + 1).next());
        next.is_some_and(|next| next.id == ended.id && !next.announced)
    }
}

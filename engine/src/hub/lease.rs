//! Who may write one document under which actor. Knows neither connections nor changes.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::SessionKey;
use crate::clock::Timestamp;
use crate::ids::{ActorId, OutboxId};

/// A lease that a session holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    slot: u32,
    pub(super) actor: ActorId,
    /// The log seq at the grant.
    pub(super) after: u64,
    /// When something was last pushed under it.
    pub(super) used: Timestamp,
    /// For when its timer is armed.
    pub(super) wake: Timestamp,
    /// The log seq of the last change that was accepted under it.
    pub(super) written: u64,
    /// The outbox and number that the next command must have; `None` before the first.
    pub(super) next: Option<(OutboxId, u64)>,
}

/// The leases of one document.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<SessionKey, Held>,
    /// The slots from 1 to here are in use, cooling, or in `free`.
    slots: u32,
    free: BTreeSet<u32>,
    /// Slots whose last change is not durable yet, with its log seq.
    cooling: Vec<(u32, u64)>,
}

impl Leases {
    /// Grants a lease on the lowest free slot. The session must not hold one.
    pub(super) fn grant(
        &mut self,
        session: SessionKey,
        term: u64,
        after: u64,
        now: Timestamp,
        wake: Timestamp,
    ) -> &mut Held {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots += 1;
            self.slots
        });
        let actor = ActorId::leased(term, slot);
        let held = Held { slot, actor, after, used: now, wake, written: 0, next: None };
        self.held.entry(session).insert_entry(held).into_mut()
    }

    pub(super) fn of(&self, session: SessionKey) -> Option<&Held> {
        self.held.get(&session)
    }

    pub(super) fn of_mut(&mut self, session: SessionKey) -> Option<&mut Held> {
        self.held.get_mut(&session)
    }

    /// Ends a lease. Its slot becomes free once the log is durable up to what was written under it.
    pub(super) fn end(&mut self, session: SessionKey, durable: u64) -> Option<Held> {
        let held = self.held.remove(&session)?;
        if held.written > durable {
            self.cooling.push((held.slot, held.written));
        } else {
            self.free.insert(held.slot);
        }
        Some(held)
    }

    /// The log is durable up to here.
    pub(super) fn advance(&mut self, durable: u64) {
        let free = &mut self.free;
        self.cooling.retain(|(slot, written)| {
            let hot = *written > durable;
            if !hot {
                free.insert(*slot);
            }
            hot
        });
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nobody holds a lease and no slot is cooling.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.cooling.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_slot_comes_back_only_when_its_writes_are_durable() {
        let mut leases = Leases::default();
        let grant = |leases: &mut Leases, session| {
            leases.grant(SessionKey(session), 7, 0, Timestamp(0), Timestamp(0)).actor.slot()
        };
        assert_eq!((grant(&mut leases, 1), grant(&mut leases, 2)), (1, 2));
        leases.of_mut(SessionKey(1)).unwrap().written = 5;
        leases.end(SessionKey(1), 4);
        assert_eq!(grant(&mut leases, 3), 3);
        leases.advance(5);
        assert_eq!(grant(&mut leases, 4), 1);
    }
}

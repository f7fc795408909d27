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

/// A slot that is a session's without a lease.
#[derive(Debug, Clone, Copy)]
struct Owed {
    slot: u32,
    /// The log seq of the last change that was accepted under it.
    written: u64,
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
    /// Slots whose lease has ended, but whose holder may have changes under it that were never
    /// answered. They are its alone until it says otherwise, and nobody's after it is gone: such a
    /// change may be handed back to a later term that has lost what this one made of it.
    owed: BTreeMap<SessionKey, Owed>,
    /// Whether a slot was given up because its holder went without a word.
    spent: bool,
}

impl Leases {
    /// Leases that begin with a slot above `slots`.
    pub(super) fn above(slots: u32) -> Self {
        Self { slots, ..Self::default() }
    }

    /// The highest slot that was ever given out.
    pub(super) const fn slots(&self) -> u32 {
        self.slots
    }

    /// The slots that may never be granted again in this term, unless this is kept: all up to here.
    pub(super) fn spent(&self) -> Option<u32> {
        (self.spent || !self.owed.is_empty()).then_some(self.slots)
    }

    /// Grants a lease on the session's own slot or the lowest free one. The session must not hold
    /// one.
    pub(super) fn grant(
        &mut self,
        session: SessionKey,
        term: u64,
        after: u64,
        now: Timestamp,
        wake: Timestamp,
    ) -> &mut Held {
        let own = self.owed.remove(&session);
        let slot = own.map(|owed| owed.slot).or_else(|| self.free.pop_first());
        let slot = slot.unwrap_or_else(|| {
            self.slots += 1;
            self.slots
        });
        let actor = ActorId::leased(term, slot);
        let written = own.map_or(0, |owed| owed.written);
        let held = Held { slot, actor, after, used: now, wake, written, next: None };
        self.held.entry(session).insert_entry(held).into_mut()
    }

    pub(super) fn of(&self, session: SessionKey) -> Option<&Held> {
        self.held.get(&session)
    }

    pub(super) fn of_mut(&mut self, session: SessionKey) -> Option<&mut Held> {
        self.held.get_mut(&session)
    }

    /// Ends a lease. Its slot stays with the session.
    pub(super) fn end(&mut self, session: SessionKey) -> Option<Held> {
        let held = self.held.remove(&session)?;
        self.owed.insert(session, Owed { slot: held.slot, written: held.written });
        Some(held)
    }

    /// The session, which holds no lease, has nothing open under its slot. It becomes free once the
    /// log is durable up to what was written under it.
    pub(super) fn release(&mut self, session: SessionKey, durable: u64) {
        let Some(Owed { slot, written }) = self.owed.remove(&session) else { return };
        if written > durable {
            self.cooling.push((slot, written));
        } else {
            self.free.insert(slot);
        }
    }

    /// The sessions that hold a lease, with the times for which their timers are armed.
    pub(super) fn timers(&self) -> impl Iterator<Item = (SessionKey, Timestamp)> {
        self.held.iter().map(|(session, held)| (*session, held.wake))
    }

    /// The sessions that keep a slot without a lease.
    pub(super) fn owing(&self) -> impl Iterator<Item = SessionKey> {
        self.owed.keys().copied()
    }

    /// The session is gone and will not say what became of its slot.
    pub(super) fn forfeit(&mut self, session: SessionKey) {
        self.spent |= self.owed.remove(&session).is_some();
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
    pub(super) fn is_idle(&self) -> bool {
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
        leases.end(SessionKey(1));
        leases.release(SessionKey(1), 4);
        assert_eq!(grant(&mut leases, 3), 3);
        leases.advance(5);
        assert_eq!(grant(&mut leases, 4), 1);
    }

    #[test]
    fn a_slot_is_its_holders_until_it_is_released_and_nobodys_after_it_was_forfeited() {
        let mut leases = Leases::default();
        let grant = |leases: &mut Leases, session| {
            leases.grant(SessionKey(session), 7, 0, Timestamp(0), Timestamp(0)).actor.slot()
        };
        assert_eq!(grant(&mut leases, 1), 1);
        leases.end(SessionKey(1));
        assert_eq!(grant(&mut leases, 2), 2);
        assert_eq!(grant(&mut leases, 1), 1, "its own");
        leases.end(SessionKey(1));
        leases.forfeit(SessionKey(1));
        assert_eq!(grant(&mut leases, 3), 3);
        assert_eq!(leases.spent(), Some(3));
        let mut reloaded = Leases::above(3);
        assert_eq!(grant(&mut reloaded, 4), 4);
    }
}

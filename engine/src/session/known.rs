//! By which names commands are known, so that one that is handed in twice is carried out once: an app
//! whose command went through somebody else (the tab that holds the session) hands it in again when it
//! does not hear of it. Must never know what a command is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{CommandId, Session};
use crate::replica::Pending;

/// What [`Session::execute`], [`Session::undo`] and [`Session::redo`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// The command was carried out.
    Done,
    /// A command of this name is known already ([`Session::known`]): nothing was done, and nothing is
    /// told again.
    Known,
}

/// The names of commands, beside those of the endings that are kept.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Without an end. As many as the outboxes hold.
    open: BTreeSet<CommandId>,
    /// Of what has ended, or was joined to another: of which command it is part.
    past: BTreeMap<CommandId, CommandId>,
    /// The same in the order in which they came.
    order: VecDeque<CommandId>,
}

impl Known {
    /// Commands were read from the store.
    pub(super) fn read<'a>(&mut self, pending: impl Iterator<Item = &'a Pending>, max: usize) {
        for pending in pending {
            if pending.announced {
                self.ended(pending.id, max);
            } else {
                self.begun(pending.id);
            }
        }
    }

    /// A command has begun.
    pub(super) fn begun(&mut self, id: CommandId) {
        self.open.insert(id);
    }

    /// It has ended. Of more than `max`, the oldest is not remembered.
    pub(super) fn ended(&mut self, id: CommandId, max: usize) {
        self.open.remove(&id);
        self.joined(id, id, max);
    }

    /// It is part of another.
    pub(super) fn joined(&mut self, id: CommandId, whole: CommandId, max: usize) {
        if self.past.insert(id, whole).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > max {
            self.order.pop_front().map(|oldest| self.past.remove(&oldest));
        }
    }

    fn find(&self, id: CommandId) -> Option<CommandId> {
        if self.open.contains(&id) { Some(id) } else { self.past.get(&id).copied() }
    }
}

impl Session {
    /// The command that is known by a name: that of the same name, or of which it became a part
    /// ([`Session::execute_typed`]).
    ///
    /// Known are all commands without an end, also from before a restart once their document is
    /// read; those whose end the store keeps ([`Session::endings`], [`Session::refused`]); and
    /// of what ended in this session the last [`Config::known_max`](super::Config::known_max).
    #[must_use]
    pub fn known(&self, id: CommandId) -> Option<CommandId> {
        self.known.find(id).or_else(|| self.endings.has(id).then_some(id))
    }

    pub(super) fn note_ended(&mut self, id: CommandId) {
        self.known.ended(id, self.config.known_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn id(number: u128) -> CommandId {
        CommandId::new(Timestamp(1), number)
    }

    #[test]
    fn what_is_open_is_never_forgotten_and_of_what_ended_the_newest_are_remembered() {
        let mut known = Known::default();
        known.begun(id(0));
        for number in 1..=10 {
            known.begun(id(number));
            known.ended(id(number), 3);
            known.ended(id(number), 3);
        }
        let found: Vec<u128> = (0..=10).filter(|n| known.find(id(*n)).is_some()).collect();
        assert_eq!(found, [0, 8, 9, 10]);
        assert_eq!((known.past.len(), known.order.len()), (3, 3));
    }

    #[test]
    fn a_part_leads_to_the_whole() {
        let mut known = Known::default();
        known.begun(id(1));
        known.joined(id(2), id(1), 8);
        assert_eq!((known.find(id(2)), known.find(id(3))), (Some(id(1)), None));
    }
}

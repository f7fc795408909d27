//! How commands ended: kept on the device's store from the write that takes a command out of its
//! outbox until the app has taken the news, and what was rolled back until the app has no more use
//! for its content. Must never know why a command ended as it did.

use std::collections::{BTreeMap, VecDeque};

use super::{CommandId, Notice, Resolution, Session, StoreToken, layout};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::Command;
use crate::ids::Address;
use crate::replica::Pending;

/// How a command ended, and what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Which.
    pub id: CommandId,
    /// Where.
    pub address: Address,
    /// What the command was. Of a long one that was cut into several changes, what was rolled back.
    pub command: Command,
    /// How it ended.
    pub resolution: Resolution,
    /// When.
    pub at: Timestamp,
    /// Whether the app has taken the news.
    pub taken: bool,
}

impl Ending {
    /// Whether the command was rolled back, so that its content is only here.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.resolution != Resolution::Confirmed
    }
}

/// The endings that are in the store, by their place in the order of endings.
#[derive(Debug, Default)]
pub(super) struct Endings {
    kept: BTreeMap<u64, Ending>,
    places: BTreeMap<CommandId, u64>,
    /// Rollbacks that are told once the store holds them.
    untold: VecDeque<(StoreToken, CommandId)>,
    next: u64,
    /// Rolled back commands, and about how many bytes they take.
    rolled_back: usize,
    bytes: u64,
}

/// About how many bytes an ending takes.
fn size(ending: &Ending) -> u64 {
    serde_json::to_string(&ending.command).map_or(0, |json| json.len() as u64) + 128
}

impl Endings {
    pub(super) fn new(stored: Vec<(u64, Ending)>) -> Self {
        let mut endings = Self::default();
        for (place, ending) in stored {
            endings.insert(place, ending);
        }
        endings
    }

    /// How many rolled back commands are kept.
    pub(super) const fn rolled_back(&self) -> usize {
        self.rolled_back
    }

    pub(super) fn has(&self, id: CommandId) -> bool {
        self.places.contains_key(&id)
    }

    fn insert(&mut self, place: u64, ending: Ending) {
        if ending.is_rolled_back() {
            self.rolled_back += 1;
            self.bytes += size(&ending);
        }
        self.next = self.next.max(place + 1);
        self.places.insert(ending.id, place);
        self.kept.insert(place, ending);
    }

    fn remove(&mut self, place: u64) -> Option<Ending> {
        let ending = self.kept.remove(&place)?;
        if ending.is_rolled_back() {
            self.rolled_back -= 1;
            self.bytes -= size(&ending);
        }
        // A later ending of the same name may stand for it.
        if self.places.get(&ending.id) == Some(&place) {
            self.places.remove(&ending.id);
        }
        Some(ending)
    }

    /// The oldest of more than may be kept: what the app was told before what it was not.
    fn excess(&self, confirmed_max: usize, rolled_back_max: usize, bytes_max: u64) -> Option<u64> {
        let oldest = |rolled_back: bool| {
            let mut those =
                self.kept.iter().filter(|(_, e)| e.is_rolled_back() == rolled_back).peekable();
            let first = those.peek().map(|(place, _)| **place);
            those.find(|(_, ending)| ending.taken).map(|(place, _)| *place).or(first)
        };
        if self.kept.len() - self.rolled_back > confirmed_max {
            return oldest(false);
        }
        // The newest stays however large it is.
        let too_many =
            self.rolled_back > rolled_back_max || (self.bytes > bytes_max && self.rolled_back > 1);
        if too_many { oldest(true) } else { None }
    }
}

impl Session {
    /// How commands ended of which the app has not taken the news, oldest first. They stay, also
    /// across restarts, until [`Input::Taken`](super::Input::Taken).
    pub fn endings(&self) -> impl Iterator<Item = &Ending> {
        self.endings.kept.values().filter(|ending| !ending.taken)
    }

    /// What was rolled back and not dismissed, oldest first; of one document or of all.
    pub fn refused<'a>(&'a self, address: Option<&'a Address>) -> impl Iterator<Item = &'a Ending> {
        self.endings.kept.values().filter(move |ending| {
            ending.is_rolled_back() && address.is_none_or(|address| *address == ending.address)
        })
    }

    /// Tells and stores how commands ended.
    pub(super) fn record_all(
        &mut self,
        address: &Address,
        ended: Vec<(Pending, Resolution)>,
        rewritten: bool,
    ) {
        let mut last: Option<Ending> = None;
        for (pending, resolution) in ended {
            let rolled_back = resolution != Resolution::Confirmed;
            if !rolled_back
                && self.documents.get(address).is_some_and(|d| d.continues(&pending, rewritten))
            {
                continue;
            }
            if let Some(last) = last.as_mut().filter(|last| last.id == pending.id) {
                // A part of the same command, of which the end is told already.
                if rolled_back && last.is_rolled_back() {
                    last.command.join(&pending.command, self.config.text_encoding);
                }
                continue;
            }
            let ending = Ending {
                id: pending.id,
                address: address.clone(),
                command: pending.command,
                resolution,
                at: self.now,
                // Told once that it was confirmed, the app is not told anything else.
                taken: pending.announced,
            };
            if let Some(before) = last.replace(ending) {
                self.record(before);
            }
        }
        if let Some(last) = last {
            self.record(last);
        }
    }

    pub(super) fn record(&mut self, ending: Ending) {
        self.note_ended(ending.id);
        let place = self.endings.next;
        self.writes.push(layout::put_ending(place, &ending));
        self.endings.insert(place, ending.clone());
        if ending.taken {
            let message = "the server lost a confirmed command and does not take it again";
            self.problem(Some(ending.address), Code::DocumentUnavailable, message.to_owned());
        } else if ending.is_rolled_back() {
            // Told before it is on disk, it could end otherwise after a crash.
            let token = self.write_token();
            self.endings.untold.push_back((token, ending.id));
        } else {
            self.tell_ending(&ending);
        }
        let Self { config, endings, .. } = self;
        while let Some(place) =
            endings.excess(config.endings_max, config.refused_max, config.refused_bytes_max)
        {
            self.writes.push(layout::delete_ending(place));
            let Some(dropped) = endings.remove(place) else { break };
            if dropped.is_rolled_back() {
                let Ending { id, address, command, .. } = dropped;
                let notice = Notice::Dropped { id, address, command };
                self.effects.push_back(super::Effect::Notify(notice));
            }
        }
    }

    fn tell_ending(&mut self, ending: &Ending) {
        self.notify(Notice::Resolved {
            id: ending.id,
            address: ending.address.clone(),
            command: ending.command.clone(),
            resolution: ending.resolution.clone(),
        });
    }

    /// Tells the rollbacks that the store holds.
    pub(super) fn tell_stored_endings(&mut self) {
        while let Some((token, id)) = self.endings.untold.front().copied() {
            if token > self.durable {
                break;
            }
            self.endings.untold.pop_front();
            let place = self.endings.places.get(&id);
            if let Some(ending) = place.and_then(|place| self.endings.kept.get(place)).cloned() {
                self.tell_ending(&ending);
            }
        }
    }

    /// The app has taken the news of how a command ended.
    pub(super) fn taken(&mut self, id: CommandId) {
        let Some(place) = self.endings.places.get(&id).copied() else { return };
        let Some(ending) = self.endings.kept.get_mut(&place) else { return };
        if ending.taken {
            return;
        }
        ending.taken = true;
        if ending.is_rolled_back() {
            let write = layout::put_ending(place, ending);
            self.writes.push(write);
        } else {
            self.endings.remove(place);
            self.writes.push(layout::delete_ending(place));
        }
    }

    /// The app has no more use for what was rolled back.
    pub(super) fn dismissed(&mut self, id: CommandId) {
        let Some(place) = self.endings.places.get(&id).copied() else { return };
        if self.endings.kept.get(&place).is_some_and(Ending::is_rolled_back) {
            self.endings.remove(place);
            self.writes.push(layout::delete_ending(place));
        }
    }
}

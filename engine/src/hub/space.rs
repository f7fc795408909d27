//! The spaces whose documents are in memory: their rules, which are a document as well, and what
//! those let each connection do. Knows nothing of what an operation does: that is the gate's.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, TextEncoding};

use super::connection::Slot;
use super::document::State;
use super::quota::Pace;
use super::stream::StreamHandle;
use super::{Effect, Handle, Hub};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{View, genesis};
use crate::gate::Refusal;
use crate::ids::{Address, Facet, UserId};
use crate::policy::{Capabilities, Principal, Role, Rules};
use crate::storage::{Deletion, StoreError};
use crate::wire::frame::May;

/// The rules of a space with the document that they are the content of.
#[derive(Debug, Clone)]
pub struct Rulebook {
    document: Automerge,
    rules: Rules,
    /// Whether the space was deleted when they were read.
    deletion: Option<Deletion>,
}

impl Rulebook {
    /// The rules where nobody has written any.
    #[must_use]
    pub fn blank(address: &Address) -> Self {
        let document = genesis::document(address, TextEncoding::UnicodeCodePoint);
        Self { document, rules: Rules::default(), deletion: None }
    }

    /// The same, of a space that was deleted, or was not.
    pub(super) fn of(self, deletion: Option<Deletion>) -> Self {
        Self { deletion, ..self }
    }

    /// The rules in a document.
    ///
    /// # Errors
    /// What in it is not as rules are.
    pub(super) fn read(document: Automerge) -> Result<Self, serde_json::Error> {
        let View::Json(view) = View::read(Facet::Json, &document) else {
            return Ok(Self { document, rules: Rules::default(), deletion: None });
        };
        let rules = serde_json::from_value(view.value())?;
        Ok(Self { document, rules, deletion: None })
    }

    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who a user is by these rules.
    pub(super) fn principal(&self, user: &UserId, claimed: Option<&Role>) -> Principal {
        self.rules.principal(user, claimed)
    }

    /// The rules after a change that the gate lets in.
    pub(super) fn after(&self, change: &[u8]) -> Result<Self, Refusal> {
        let not = |why: String| Refusal::new(Code::NotInSchema, why);
        let change = Change::try_from(change).map_err(|error| not(error.to_string()))?;
        let mut document = self.document.clone();
        document.apply_changes([change]).map_err(|error| not(error.to_string()))?;
        Self::read(document).map_err(|error| not(format!("these would not be rules: {error}")))
    }
}

/// A space that something in memory belongs to.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Documents in memory.
    documents: usize,
    /// Streams in memory, feeds and lists.
    holders: usize,
    /// Whether somebody is in it, or was until a while ago.
    pub(super) gathering: bool,
    /// Documents that wait for the rules before they are loaded.
    waiting: BTreeSet<Handle>,
    /// Streams that wait for the rules before they are loaded.
    streams_waiting: BTreeSet<StreamHandle>,
    /// How fast it is written in.
    pub(super) pace: Pace,
    /// `None` until they are read.
    pub(super) rules: Option<Box<Rulebook>>,
    /// Whether they are being read.
    reading: bool,
    /// Whether it was deleted: nobody may do anything in it then.
    pub(super) deleted: bool,
    /// Whether it was seen to that all of its documents are summarised.
    pub(super) summarised: bool,
}

/// All of them by name.
pub(super) type Spaces = BTreeMap<String, Space>;

impl Hub {
    /// The handle of a document, which is loaded if it is not in memory, after the rules of its
    /// space.
    pub(super) fn handle_of(&mut self, address: &Address) -> Handle {
        if let Some(handle) = self.documents.handle(address) {
            return handle;
        }
        let handle = self.documents.insert(address);
        let space = self.spaces.entry(address.space().to_owned()).or_default();
        space.documents += 1;
        if space.rules.is_some() {
            self.out.push(Effect::Load { address: address.clone() });
        } else {
            space.waiting.insert(handle);
            self.want_rules(address.space());
        }
        handle
    }

    /// Keeps a document that is not in memory from being loaded.
    pub(super) fn hold_document(&mut self, address: &Address) {
        self.documents.insert(address);
        self.spaces.entry(address.space().to_owned()).or_default().documents += 1;
    }

    /// Has a document loaded that was kept from it.
    pub(super) fn load_held(&mut self, handle: Handle, address: &Address) {
        let Some(space) = self.spaces.get_mut(address.space()) else { return };
        if space.rules.is_some() {
            self.load_for_readers(handle, address.space());
        } else {
            space.waiting.insert(handle);
            self.want_rules(address.space());
        }
    }

    /// Lets go of a document, and of its space with the last one in it.
    pub(super) fn remove_document(&mut self, handle: Handle) {
        let Some(document) = self.documents.remove(handle) else { return };
        let name = document.address.space();
        if let Some(space) = self.spaces.get_mut(name) {
            space.documents -= 1;
            space.waiting.remove(&handle);
        }
        self.forget_space(name);
    }

    /// Keeps a space in memory for a feed or a list.
    pub(super) fn hold_space(&mut self, name: &str) {
        self.spaces.entry(name.to_owned()).or_default().holders += 1;
        self.want_rules(name);
    }

    /// Takes back one [`Self::hold_space`].
    pub(super) fn release_space(&mut self, name: &str) {
        if let Some(space) = self.spaces.get_mut(name) {
            space.holders = space.holders.saturating_sub(1);
        }
        self.forget_space(name);
    }

    /// Keeps a space in memory for a stream. Answers whether its rules are known; if not, the stream
    /// waits for them.
    pub(super) fn hold_space_for(&mut self, stream: StreamHandle, name: &str) -> bool {
        self.hold_space(name);
        match self.spaces.get_mut(name) {
            Some(space) if space.rules.is_none() => {
                space.streams_waiting.insert(stream);
                false
            }
            Some(_) | None => true,
        }
    }

    /// Takes back a [`Self::hold_space_for`].
    pub(super) fn release_space_for(&mut self, stream: StreamHandle, name: &str) {
        if let Some(space) = self.spaces.get_mut(name) {
            space.streams_waiting.remove(&stream);
        }
        self.release_space(name);
    }

    /// Has the rules of a space read, unless they are known or being read.
    pub(super) fn want_rules(&mut self, name: &str) {
        if let Some(space) = self.spaces.get_mut(name)
            && space.rules.is_none()
            && !std::mem::replace(&mut space.reading, true)
        {
            self.out.push(Effect::ReadRules { space: name.to_owned() });
        }
    }

    /// Lets go of a space that nothing in memory belongs to.
    pub(super) fn forget_space(&mut self, name: &str) {
        let used = |space: &Space| space.documents + space.holders > 0 || space.gathering;
        if self.spaces.get(name).is_some_and(|space| !used(space)) {
            self.spaces.remove(name);
        }
    }

    pub(super) fn rules_read(
        &mut self,
        now: Timestamp,
        name: &str,
        rules: Result<Box<Rulebook>, StoreError>,
    ) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if !std::mem::take(&mut space.reading) {
            return;
        }
        let waiting = std::mem::take(&mut space.waiting);
        let read = rules.as_ref().map(|_| ()).map_err(ToString::to_string);
        let streams = std::mem::take(&mut space.streams_waiting);
        match rules {
            Ok(rules) => {
                let window = self.config.offline_window;
                space.deleted |= rules.deletion.is_some_and(|d| d.stands(now, window));
                space.rules = Some(rules);
                for stream in streams {
                    self.load_stream_for_readers(stream);
                }
                for handle in waiting {
                    self.load_for_readers(handle, name);
                }
                self.feed_rules_read(name, None);
            }
            // Without its rules nobody may do anything in a space.
            Err(error) => {
                for stream in streams {
                    self.give_up_stream(stream);
                }
                for handle in waiting {
                    self.give_up_loading(handle, &error.to_string());
                }
                self.feed_rules_read(name, Some(&error.to_string()));
            }
        }
        self.admit_waiting(now, name, &read);
    }

    /// Has a document loaded if anybody who asked for it may read it.
    fn load_for_readers(&mut self, handle: Handle, space: &str) {
        let Some(document) = self.documents.get(handle) else { return };
        let address = document.address.clone();
        let State::Loading(openings) = &document.state else { return };
        let slots: Vec<Slot> = openings.keys().copied().collect();
        let (readers, others): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|slot| self.may_read(*slot, space) == Some(true));
        for slot in others {
            if let Some(document) = self.documents.get_mut(handle)
                && let State::Loading(openings) = &mut document.state
            {
                openings.remove(&slot);
            }
            let (code, why) = self.no_entry(space, "you may not read here");
            self.abandon(slot, handle, &address, code, why);
        }
        if readers.is_empty() {
            self.remove_document(handle);
        } else {
            self.out.push(Effect::Load { address });
        }
    }

    /// A document can't be loaded: tells everyone who wanted it.
    pub(super) fn give_up_loading(&mut self, handle: Handle, why: &str) {
        let Some(document) = self.documents.get_mut(handle) else { return };
        let address = document.address.clone();
        let State::Loading(openings) = &mut document.state else { return };
        let openings = std::mem::take(openings);
        self.remove_document(handle);
        for slot in openings.into_keys() {
            self.abandon(slot, handle, &address, Code::DocumentUnavailable, why);
        }
    }

    /// Who a connection is in a space whose rules are known.
    pub(super) fn principal(&self, slot: Slot, space: &str) -> Option<Principal> {
        let credentials = &self.connections.open(slot)?.credentials;
        let role = credentials.role_in(space);
        let space = self.spaces.get(space)?;
        let mut principal = space.rules.as_ref()?.principal(&credentials.user, role);
        if space.deleted {
            principal.may = Capabilities::NONE;
        }
        Some(principal)
    }

    /// Why somebody may not read in a space, where the rules are why if it is not deleted.
    pub(super) fn no_entry(&self, space: &str, by_rules: &'static str) -> (Code, &'static str) {
        if self.spaces.get(space).is_some_and(|space| space.deleted) {
            (Code::SpaceDeleted, "this space was deleted")
        } else {
            (Code::Forbidden, by_rules)
        }
    }

    /// The rules of a space, if they are read.
    pub(super) fn rules_of(&self, space: &str) -> Option<&Rules> {
        Some(self.spaces.get(space)?.rules.as_ref()?.rules())
    }

    /// Whether a connection may read in a space; `None` if its rules are not known yet.
    pub(super) fn may_read(&self, slot: Slot, space: &str) -> Option<bool> {
        Some(self.principal(slot, space)?.may.has(Capabilities::READ))
    }

    /// Has changed rules take effect on everyone who is there.
    pub(super) fn rules_changed(&mut self, now: Timestamp, space: &str) {
        let in_space =
            |(handle, address): (Handle, &Address)| (address.space() == space).then_some(handle);
        let handles: Vec<Handle> = self.documents.addresses().filter_map(in_space).collect();
        for handle in handles {
            let live = self.documents.live(handle);
            let slots: Vec<Slot> =
                live.into_iter().flat_map(|live| live.followers.keys().copied()).collect();
            for slot in slots {
                self.judge_follower(now, handle, slot);
            }
        }
        self.judge_gathering(now, space);
        self.judge_streams(now, space);
        self.judge_feed_of(space);
    }

    /// A connection has proved something else about itself.
    pub(super) fn role_changed(&mut self, now: Timestamp, slot: Slot) {
        let handles = self.connections.open(slot).map(|open| open.documents.clone());
        for handle in handles.unwrap_or_default() {
            self.judge_follower(now, handle, slot);
        }
        self.judge_in_gatherings(now, slot);
        let streams = self.connections.open(slot).map(|open| open.streams.handles());
        for stream in streams.unwrap_or_default() {
            self.judge_stream_follower(now, stream, slot);
        }
        self.judge_feeds_of(slot);
    }

    /// Tells a follower what it may do, if that is something else than before, and sends it away if
    /// it may not even read.
    fn judge_follower(&mut self, now: Timestamp, handle: Handle, slot: Slot) {
        let Some(document) = self.documents.get(handle) else { return };
        let address = document.address.clone();
        let Some(may) = self.principal(slot, address.space()).map(|principal| principal.may) else {
            return;
        };
        let live = self.documents.live_mut(handle);
        let Some(follower) = live.and_then(|live| live.followers.get_mut(&slot)) else { return };
        if !may.has(Capabilities::READ) {
            let session = follower.session;
            self.end_lease(handle, session);
            self.forget_follower(now, handle, slot);
            self.close_handle(slot, handle);
            let (code, why) = self.no_entry(address.space(), "you may not read here any more");
            self.abandon(slot, handle, &address, code, why);
        } else if follower.may != may {
            follower.may = may;
            self.send(slot, May { handle, may: may.bits() });
        }
    }
}

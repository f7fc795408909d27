//! What an operator has done with the data of a running hub: a space is deleted, a user is forgotten. The
//! hub ends what is open of it, waits until nothing of it is on its way to the store or from it, and only
//! then asks for the work. What is to be done is on disk before the hub hears of it, so that it is finished
//! after a crash, and nobody is told of something that is undone by one. Must not know how the
//! work is done.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::Slot;
use super::document::State;
use super::rollover::{Ending, RolledOver};
use super::space::Rulebook;
use super::stream::StreamHandle;
use super::{Effect, Handle, Hub};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, StreamAddress, UserId};
use crate::storage::StoreError;

/// A deleted space of which something is still in memory, or that is being emptied.
#[derive(Debug)]
struct Emptying {
    documents: BTreeSet<Handle>,
    streams: BTreeSet<StreamHandle>,
    asked: bool,
}

/// A user who is being forgotten.
#[derive(Debug)]
struct Forgetting {
    user: UserId,
    /// What was accepted and not durable when it began, and up to which seq.
    documents: BTreeMap<Handle, u64>,
    /// Streams that were being made.
    streams: BTreeSet<StreamHandle>,
    asked: bool,
}

/// All that an operator has under way.
#[derive(Debug, Default)]
pub(super) struct Orders {
    emptying: BTreeMap<String, Emptying>,
    forgetting: Option<Forgetting>,
    /// Documents and streams to be written anew, and whether that was asked for.
    rewriting: BTreeMap<Address, bool>,
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.emptying.is_empty() && self.forgetting.is_none() && self.rewriting.is_empty()
    }

    /// Whether a user is being forgotten.
    pub(super) const fn is_forgetting(&self) -> bool {
        self.forgetting.is_some()
    }

    /// Whether this user is.
    pub(super) fn forgets(&self, user: &UserId) -> bool {
        self.forgetting.as_ref().is_some_and(|forgetting| forgetting.user == *user)
    }

    /// Whether a document or stream is being written anew.
    pub(super) fn rewrites(&self, address: &Address) -> bool {
        self.rewriting.contains_key(address)
    }
}

impl Hub {
    /// Ends all that anybody does in a space that was deleted.
    pub(super) fn space_deleted(&mut self, now: Timestamp, name: &str) {
        if self.orders.emptying.contains_key(name) {
            return;
        }
        self.hold_space(name);
        if let Some(space) = self.spaces.get_mut(name) {
            space.deleted = true;
        }
        if self.rules_of(name).is_none()
            && let Ok(rules) = Address::rules_of(name)
        {
            // Whoever waits for them has an answer now.
            self.rules_read(now, name, Ok(Box::new(Rulebook::blank(&rules))));
        }
        self.rules_changed(now, name);
        // Who waits for an answer does not wait for something that is deleted.
        let inside = |(handle, at): (Handle, &Address)| (at.space() == name).then_some(handle);
        let documents: BTreeSet<Handle> = self.documents.addresses().filter_map(inside).collect();
        for handle in &documents {
            self.refuse_openings(now, *handle);
        }
        let streams = self.streams.in_space(name).into_iter().collect();
        let emptying = Emptying { documents, streams, asked: false };
        self.orders.emptying.insert(name.to_owned(), emptying);
    }

    fn refuse_openings(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get(handle) else { return };
        let address = document.address.clone();
        let openings = match &document.state {
            State::Loading(openings) => openings,
            State::Live(live) => &live.openings,
        };
        let slots: Vec<Slot> = openings.keys().copied().collect();
        for slot in slots {
            let (code, why) = self.no_entry(address.space(), "you may not read here");
            self.forget_follower(now, handle, slot);
            self.abandon(slot, handle, &address, code, why);
        }
    }

    /// What was in a deleted space is gone, or could not be removed. It stays deleted, as is noted in the
    /// store.
    pub(super) fn emptied(&mut self, name: &str) {
        if self.orders.emptying.remove(name).is_some() {
            self.forget_gathering_of(name);
            self.release_space(name);
        }
    }

    /// Sends a user away who is to be forgotten, and keeps it out until [`Self::user_forgotten`].
    pub(super) fn user_leaves(&mut self, now: Timestamp, user: UserId) {
        let slots: Vec<Slot> = self.users.connections(&user).collect();
        for slot in slots {
            self.fail(now, slot, Code::Unauthenticated, "this user is being forgotten");
        }
        let pending = |document: &super::document::Document| match &document.state {
            State::Live(live) if live.durable != live.assigned => Some(live.assigned.seq),
            State::Live(_) | State::Loading(_) => None,
        };
        let documents = self.documents.addresses().filter_map(|(handle, _)| {
            self.documents.get(handle).and_then(pending).map(|seq| (handle, seq))
        });
        let documents = documents.collect();
        let streams = self.streams.being_made();
        self.orders.forgetting = Some(Forgetting { user, documents, streams, asked: false });
    }

    /// A user is forgotten, or it could not be done to its end.
    pub(super) fn user_forgotten(&mut self) {
        self.orders.forgetting = None;
        for space in self.feeds.followed() {
            self.want_summaries(&space);
        }
    }

    /// Takes nothing more into a document or stream, and has it written anew.
    pub(super) fn rewrite(&mut self, address: Address) {
        if self.orders.rewrites(&address) {
            return;
        }
        if StreamAddress::of(&address).is_none() && self.documents.handle(&address).is_none() {
            // Who asks for it meanwhile waits with it.
            self.hold_document(&address);
            self.orders.rewriting.insert(address.clone(), true);
            return self.out.push(Effect::Rewrite { address });
        }
        self.orders.rewriting.insert(address, false);
    }

    /// A document or stream was written anew, or could not be.
    pub(super) fn rewritten(
        &mut self,
        now: Timestamp,
        address: &Address,
        result: Result<RolledOver, StoreError>,
    ) {
        if self.orders.rewriting.remove(address).is_none() {
            return;
        }
        // The post's summary is made anew.
        if let Some(space) = self.spaces.get_mut(address.space()) {
            space.summarised = false;
        }
        let Some(handle) = self.documents.handle(address) else { return };
        match self.documents.get(handle).map(|document| &document.state) {
            Some(State::Live(_)) => {
                self.have_reopened(now, handle, address);
                if let Ok(rules) = result {
                    self.take_rules(address, rules);
                    self.close_epoch(handle);
                } else {
                    self.watch_idle(now, handle);
                }
            }
            Some(State::Loading(openings)) if openings.is_empty() => self.remove_document(handle),
            Some(State::Loading(_)) => {
                if let Ok(rules) = result {
                    self.take_rules(address, rules);
                }
                self.load_held(handle, address);
            }
            None => {}
        }
    }

    /// Goes on with what an operator has under way, as far as it does not wait for something.
    pub(super) fn settle_orders(&mut self, now: Timestamp) {
        if self.orders.is_empty() {
            return;
        }
        self.settle_emptying(now);
        self.settle_forgetting();
        self.settle_rewriting(now);
    }

    fn settle_emptying(&mut self, now: Timestamp) {
        let names: Vec<String> = self.orders.emptying.keys().cloned().collect();
        for name in names {
            let Some(emptying) = self.orders.emptying.get_mut(&name).filter(|e| !e.asked) else {
                continue;
            };
            let (mut documents, mut streams) =
                (std::mem::take(&mut emptying.documents), std::mem::take(&mut emptying.streams));
            documents.retain(|handle| !self.let_go_if_quiet(*handle));
            let why = self.no_entry(&name, "you may not read here");
            streams.retain(|handle| !self.close_stream_for(now, *handle, why));
            let ready = documents.is_empty()
                && streams.is_empty()
                && !self.feeds.is_summarising(Some(&name));
            let Some(emptying) = self.orders.emptying.get_mut(&name) else { continue };
            emptying.documents = documents;
            emptying.streams = streams;
            if ready {
                emptying.asked = true;
                self.out.push(Effect::EmptySpace { space: name });
            }
        }
    }

    /// Takes a document out of memory if nothing of it is under way. Answers whether it is not there.
    fn let_go_if_quiet(&mut self, handle: Handle) -> bool {
        match self.documents.get(handle).map(|document| &document.state) {
            None => true,
            Some(State::Live(live)) if live.is_quiet() => {
                self.close_epoch(handle);
                true
            }
            Some(State::Live(_) | State::Loading(_)) => false,
        }
    }

    fn settle_forgetting(&mut self) {
        let Some(mut forgetting) = self.orders.forgetting.take() else { return };
        if !forgetting.asked {
            forgetting.documents.retain(|handle, seq| {
                self.documents.live(*handle).is_some_and(|live| live.durable.seq < *seq)
            });
            forgetting.streams.retain(|handle| self.streams.is_being_made(*handle));
            let waits = !forgetting.documents.is_empty() || !forgetting.streams.is_empty();
            if !waits && !self.feeds.is_summarising(None) {
                forgetting.asked = true;
                self.out.push(Effect::ForgetUser { user: forgetting.user.clone() });
            }
        }
        self.orders.forgetting = Some(forgetting);
    }

    fn settle_rewriting(&mut self, now: Timestamp) {
        let waiting: Vec<Address> = self
            .orders
            .rewriting
            .iter()
            .filter(|(_, asked)| !**asked)
            .map(|(address, _)| address.clone())
            .collect();
        for address in waiting {
            let ready = match StreamAddress::of(&address) {
                Some(stream) => {
                    let gone = (Code::NoStream, "this stream was deleted");
                    let handle = self.streams.handle(&stream);
                    handle.is_none_or(|handle| self.close_stream_for(now, handle, gone))
                }
                None => self.is_still(&address),
            };
            if ready {
                self.orders.rewriting.insert(address.clone(), true);
                self.out.push(Effect::Rewrite { address });
            }
        }
    }

    /// Whether a document takes in nothing more, and all of it is durable. Sees to it that it comes to be.
    fn is_still(&mut self, address: &Address) -> bool {
        let Some(handle) = self.documents.handle(address) else {
            self.hold_document(address);
            return true;
        };
        let Some(live) = self.documents.live_mut(handle) else { return false };
        if live.ending == Ending::Not && !live.tail.compacting {
            live.ending = Ending::Rewriting;
            self.wanting_compaction.remove(&handle);
        }
        let live = self.documents.live(handle);
        live.is_some_and(|l| l.ending == Ending::Rewriting && l.durable == l.assigned)
    }
}

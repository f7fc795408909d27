//! The gate: no change enters unread. Bytes, a principal and what is known of the document go in; a
//! verdict comes out, in bounded time and memory, whatever the bytes are. Usable alone, without a hub,
//! a session or a store.
//!
//! In this order: the strict reader ([`crate::change::operations`]); *history*, whether the change
//! continues its actor and stands on changes that are known; *structure*, whether each operation
//! names only what is there, fits, and was seen by its author; *schema*, whether documents of the
//! kind hold such a thing there; *policy*, whether the principal may do it. What passes applies to
//! automerge without a panic, and survives saving, loading and merging in any causal order.
//!
//! Checking changes nothing; [`Index::apply`] takes a checked change in.
//!
//! ```
//! use automerge::TextEncoding;
//! use syncline_engine::clock::Timestamp;
//! use syncline_engine::codes::Code;
//! use syncline_engine::document::{Command, LikesCommand, Target, genesis};
//! use syncline_engine::gate::Index;
//! use syncline_engine::ids::{ActorId, Address, Ulid, UserId};
//! use syncline_engine::policy::Rules;
//!
//! let address: Address = "town/square/likes".parse()?;
//! let (ann, eve) = (UserId::new("ann")?, UserId::new("eve")?);
//! let mut doc = genesis::document(&address, TextEncoding::UnicodeCodePoint);
//! doc.set_actor(ActorId::leased(1, 1).0.into());
//! let mut tx = doc.transaction();
//! let (target, at) = (Target::Post, Ulid::new(Timestamp(1), 1));
//! let like = LikesCommand::Like { target, reaction: "like".into(), user: ann.clone(), at };
//! Command::Likes(like).apply(&mut tx)?;
//! tx.commit();
//! let change = doc.get_last_local_change().map(|change| change.raw_bytes().to_vec());
//! let change = change.unwrap_or_default();
//!
//! let (mut index, rules) = (Index::new(&address), Rules::default());
//! let refusal = index.check(&change, &rules.principal(&eve, None)).err();
//! assert_eq!(refusal.map(|refusal| refusal.code), Some(Code::NotAuthor));
//! let checked = index.check(&change, &rules.principal(&ann, None))?;
//! index.apply(&checked);
//! assert_eq!(index.len(), 2, "genesis and the like");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use self::history::{Continuation, History, Id, Past};
use self::objects::{Name, Objects, Resolved, What};
use self::tally::Tally;
use self::walk::Walk;
use crate::change::{self, Header, Key, Op, Operations, ReadError};
use crate::document::genesis;
use crate::ids::{Address, ChangeHash, Facet, UserId};
use crate::limits::BUCKETS;
use crate::policy::Principal;
use crate::summary::Part;

mod history;
mod objects;
mod schema;
mod sequence;
mod tally;
mod walk;

#[cfg(test)]
mod tests;

pub use crate::policy::Refusal;

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// A change that may enter the index that checked it, as long as no other has entered since.
#[derive(Debug)]
pub struct Checked<'a> {
    header: Header,
    ops: Operations<'a>,
    next: Continuation,
    /// How many changes there were.
    at: u64,
}

impl Checked<'_> {
    /// What the change says about itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
}

/// What the gate knows of one document: which objects, elements and operations there are and what
/// they are for, but not what they say.
///
/// A function of the accepted changes alone. Its memory grows with the document; what was superseded
/// is forgotten once some thousands of changes lie on top of it, and changes that stand on less than
/// that are refused as stale.
#[derive(Debug)]
pub struct Index {
    facet: Facet,
    /// Whether it holds the rules of its space.
    rules: bool,
    buckets: u32,
    genesis: ChangeHash,
    history: History,
    objects: Objects,
    tally: Tally,
}

impl Index {
    /// The index of a document in which nothing was written yet.
    #[must_use]
    pub fn new(address: &Address) -> Self {
        Self::with_buckets(address, BUCKETS)
    }

    /// The same, for an epoch that begins with another number of buckets.
    ///
    /// # Panics
    /// If the reader refuses this crate's own genesis, which its tests rule out.
    #[must_use]
    pub fn with_buckets(address: &Address, buckets: u32) -> Self {
        Self::build(address, buckets, History::new)
    }

    /// The same, with another number of recent changes on which new ones may stand.
    #[cfg(test)]
    fn with_window(address: &Address, window: usize) -> Self {
        Self::build(address, BUCKETS, |genesis| History::with_window(genesis, window))
    }

    #[expect(clippy::expect_used, reason = "genesis is made of constants, and pinned by tests")]
    fn build(address: &Address, buckets: u32, begin: impl FnOnce(&Header) -> History) -> Self {
        let first = genesis::change_with_buckets(address, buckets);
        let (header, ops) = change::operations(first.raw_bytes()).expect("genesis is readable");
        let mut index = Self {
            facet: address.facet(),
            rules: address.is_rules(),
            buckets,
            genesis: header.hash,
            history: begin(&header),
            objects: Objects::new(),
            tally: Tally::default(),
        };
        let next = Continuation { past: Past::default(), writers: vec![0] };
        index.apply_ops(0, &next, &ops);
        index
    }

    /// How many changes were taken in, genesis included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there always is genesis")]
    pub fn len(&self) -> u64 {
        self.history.len()
    }

    /// The heads, in the order of their hashes.
    pub fn heads(&self) -> impl ExactSizeIterator<Item = ChangeHash> {
        self.history.heads()
    }

    /// What the document brings to the summary of its post; `None` if that has not been created, or
    /// the document is not part of one.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        self.tally.part(self.facet, &self.objects, &self.history)
    }

    /// Checks a change that a principal wants to enter.
    ///
    /// # Errors
    /// Why it may not, at the first thing that is wrong.
    pub fn check<'a>(
        &self,
        bytes: &'a [u8],
        principal: &Principal,
    ) -> Result<Checked<'a>, Refusal> {
        let (header, ops) = change::operations(bytes)?;
        self.check_read(header, ops, Some(principal))
    }

    /// Checks a change without asking who wrote it: the server's own merges, a log that is read
    /// again, changes handed back after a restore.
    ///
    /// # Errors
    /// Why it does not fit the document, at the first thing that is wrong.
    pub fn check_structure<'a>(&self, bytes: &'a [u8]) -> Result<Checked<'a>, Refusal> {
        let (header, ops) = change::operations(bytes)?;
        self.check_read(header, ops, None)
    }

    /// Checks a change that the strict reader has read.
    pub(crate) fn check_read<'a>(
        &self,
        header: Header,
        ops: Operations<'a>,
        principal: Option<&Principal>,
    ) -> Result<Checked<'a>, Refusal> {
        let next = self.history.check(&header)?;
        Walk::new(self, &header, &next, principal).run(&ops)?;
        Ok(Checked { header, ops, next, at: self.history.len() })
    }

    /// Takes in a change.
    ///
    /// # Panics
    /// If another change was taken in after this one was checked: it has to be checked again then.
    pub fn apply(&mut self, checked: &Checked<'_>) {
        assert_eq!(checked.at, self.history.len(), "checked against another state");
        let Checked { header, ops, next, at } = checked;
        self.history.append(header, next.past.clone());
        self.apply_ops(*at, next, ops);
        self.objects.tidy(&self.history);
    }

    /// Checks the structure of changes and takes them in, in this order: a log from its beginning,
    /// or what [`automerge::Automerge::get_changes`] gives of a loaded snapshot. Genesis is passed
    /// over.
    ///
    /// # Errors
    /// As [`Self::check_structure`], for the first change that does not fit; those before it are in.
    pub fn replay<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Refusal> {
        for bytes in changes {
            if self.history.len() == 1 && change::read(bytes)?.hash == self.genesis {
                continue;
            }
            let checked = self.check_structure(bytes)?;
            self.apply(&checked);
        }
        Ok(())
    }

    fn apply_ops(&mut self, index: u64, next: &Continuation, ops: &Operations<'_>) {
        let mut preds = Vec::new();
        for op in ops.iter() {
            let op = resolve(&op, next, &mut preds);
            let place = self.objects.object(op.object).map(|object| object.place);
            let makes = What::of(&op.action) == What::Object;
            let child = place.filter(|_| makes).map(|place| place.child(self.facet, op.name));
            let counted = place.filter(|place| tally::is_counted(*place, op.name));
            let stood = counted.is_some() && self.objects.stands(&op);
            self.objects.apply(index, &op, child);
            if let Some(place) = counted {
                let stands = self.objects.stands(&op);
                self.tally.count(place, op.name, stood, stands);
            } else if let Some(place) = place {
                self.tally.note(place, &op);
            }
        }
    }

    /// Whether a user is among the editors of a post, by what the server has.
    fn is_editor(&self, user: &UserId) -> bool {
        let editors = || {
            let root = self.objects.object(Id::NONE)?;
            let seen = root.seen(Name::Key("editors"), &self.history, &Past::default());
            let (editors, _) = *seen.first()?;
            self.objects.object(editors)?.cell(user.as_str())
        };
        editors().is_some_and(objects::Cell::stands)
    }
}

/// An operation with its names as they are in the document.
fn resolve<'a>(op: &Op<'a>, next: &Continuation, preds: &'a mut Vec<Id>) -> Resolved<'a> {
    let writer = |actor: u8| next.writers.get(usize::from(actor)).copied().unwrap_or(u32::MAX);
    let known = |id: change::OpId| Id::new(id.counter, writer(id.actor));
    let id = Id::new(op.id, writer(0));
    preds.clear();
    preds.extend(op.preds.iter().map(|pred| known(*pred)));
    let (name, after) = match op.key {
        Key::Map(key) => (Name::Key(key), None),
        Key::Head => (Name::Element(id), None),
        Key::Element(after) if op.insert => (Name::Element(id), Some(known(after))),
        Key::Element(element) => (Name::Element(known(element)), None),
    };
    let object = op.obj.map_or(Id::NONE, known);
    let Op { insert, action, .. } = *op;
    Resolved { id, object, name, after, insert, action, preds }
}

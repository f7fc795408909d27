//! What came before what in one document: its accepted changes in the order of acceptance, who
//! wrote them, and which of them lie in the causal past of a set of deps. Must never see an
//! operation.
//!
//! A causal past is a *base*, up to which every accepted change belongs to it, and for each writer
//! with changes beyond the base, the last of them that does. A writer's changes form a chain, so
//! that says it all; and writers who keep up with each other have a base just below the end, so
//! that it says it in a few bytes, however many writers the document ever had.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::change::Header;
use crate::codes::Code;
use crate::ids::{ActorId, ChangeHash};
use crate::limits::OP_COUNTER_MAX;
use crate::policy::Refusal;

/// Recent changes whose past is kept. Everything before them is the floor: a change that has not
/// seen all of it is stale.
const WINDOW: usize = 8_192;
/// Writers beyond the base of one past. More are only possible where hundreds write at a time
/// without reading.
const BEYOND_MAX: usize = 256;

/// The name of an operation in one document: its counter, and its writer as a small number.
///
/// The order is that of counters; between equal counters it is arbitrary, so where automerge's
/// order matters [`History::compare`] decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) counter: u32,
    pub(super) writer: u32,
}

impl Id {
    /// The root object, and the place before the first element of a sequence.
    pub(super) const NONE: Self = Self { counter: 0, writer: u32::MAX };

    /// Counters are below 2^31: the reader sees to it.
    pub(super) fn new(counter: u64, writer: u32) -> Self {
        Self { counter: u32::try_from(counter).unwrap_or(u32::MAX), writer }
    }
}

/// Which accepted changes somebody had seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Past {
    base: u64,
    /// By writer, the index of his last change seen, where that is above the base.
    beyond: Vec<(u32, u64)>,
}

impl Past {
    fn add(&mut self, writer: u32, index: u64) {
        match self.beyond.binary_search_by_key(&writer, |(writer, _)| *writer) {
            Ok(place) => self.beyond[place].1 = self.beyond[place].1.max(index),
            Err(place) => self.beyond.insert(place, (writer, index)),
        }
    }

    fn last_of(&self, writer: u32) -> u64 {
        let found = self.beyond.binary_search_by_key(&writer, |(writer, _)| *writer);
        found.map_or(self.base, |place| self.beyond[place].1.max(self.base))
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    index: u64,
    max_op: u64,
    writer: u32,
}

#[derive(Debug)]
struct Entry {
    hash: ChangeHash,
    writer: u32,
    past: Past,
}

#[derive(Debug)]
struct Writer {
    actor: ActorId,
    seq: u64,
    last: ChangeHash,
    /// The last counter of his changes below the window.
    floor_op: u32,
    /// The last counter and the index of each of his changes within it.
    changes: VecDeque<(u32, u64)>,
}

/// A change that continues the history, as [`History::check`] found.
#[derive(Debug)]
pub(super) struct Continuation {
    pub(super) past: Past,
    /// The number of each actor of the change; the author's may be new.
    pub(super) writers: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct History {
    window_max: usize,
    window: VecDeque<Entry>,
    /// The index of the window's first change; genesis is 0.
    first: u64,
    /// The window, the heads, and each writer's last change.
    known: BTreeMap<ChangeHash, Known>,
    heads: BTreeSet<ChangeHash>,
    writers: Vec<Writer>,
    by_actor: BTreeMap<ActorId, u32>,
}

fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

impl History {
    pub(super) fn new(genesis: &Header) -> Self {
        Self::with_window(genesis, WINDOW)
    }

    pub(super) fn with_window(genesis: &Header, window_max: usize) -> Self {
        let mut history = Self {
            window_max,
            window: VecDeque::new(),
            first: 0,
            known: BTreeMap::new(),
            heads: BTreeSet::new(),
            writers: Vec::new(),
            by_actor: BTreeMap::new(),
        };
        history.append(genesis, Past::default());
        history
    }

    /// How many changes there are, genesis included; the index of the next one.
    pub(super) fn len(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    pub(super) fn heads(&self) -> impl ExactSizeIterator<Item = ChangeHash> {
        self.heads.iter().copied()
    }

    /// The index below which everything lies in the past of whatever is accepted.
    pub(super) const fn floor(&self) -> u64 {
        self.first
    }

    /// Whether an operation lies below the floor.
    pub(super) fn is_below_floor(&self, id: Id) -> bool {
        self.writer(id.writer).is_some_and(|writer| id.counter <= writer.floor_op)
    }

    /// Whether an operation, which exists, lies in a past.
    pub(super) fn covers(&self, past: &Past, id: Id) -> bool {
        let Some(writer) = self.writer(id.writer) else { return false };
        if id.counter <= writer.floor_op {
            return true;
        }
        let at = writer.changes.partition_point(|(max_op, _)| *max_op < id.counter);
        writer.changes.get(at).is_some_and(|(_, index)| *index <= past.last_of(id.writer))
    }

    fn writer(&self, number: u32) -> Option<&Writer> {
        self.writers.get(usize::try_from(number).ok()?)
    }

    /// The order in which automerge has two operations. A writer that is not known is `author`.
    pub(super) fn compare(&self, a: Id, b: Id, author: ActorId) -> Ordering {
        let actor = |id: Id| self.writer(id.writer).map_or(author, |writer| writer.actor);
        a.counter.cmp(&b.counter).then_with(|| actor(a).cmp(&actor(b)))
    }

    /// Checks that a change continues its actor and stands on known deps.
    pub(super) fn check(&self, header: &Header) -> Result<Continuation, Refusal> {
        let author = self.by_actor.get(&header.actor).copied();
        let last = author.and_then(|author| self.writer(author));
        let next_seq = last.map_or(0, |writer| writer.seq) + 1;
        if header.seq != next_seq {
            let seq = header.seq;
            return refuse(
                Code::WrongSeq,
                format!("the actor's next seq is {next_seq}, not {seq}"),
            );
        }
        // An actor's changes form a chain. Were one allowed beside its predecessor, it could use
        // the predecessor's operation ids again.
        let chained = last.is_none_or(|writer| header.deps.contains(&writer.last));
        if header.deps.is_empty() || !chained {
            return refuse(
                Code::UnknownDeps,
                "the change must depend on its actor's last change, or on genesis at least",
            );
        }
        let (past, max_op) = self.join(&header.deps)?;
        if header.start_op != max_op + 1 {
            let start_op = header.start_op;
            return refuse(
                Code::WrongStartOp,
                format!("on these deps start_op is {}, not {start_op}", max_op + 1),
            );
        }
        if header.max_op() > OP_COUNTER_MAX {
            return refuse(Code::DocumentFull, "the operation counter is used up");
        }
        let mut writers = Vec::with_capacity(1 + header.others.len());
        writers.push(author.unwrap_or_else(|| self.next_writer()));
        for other in &header.others {
            let Some(number) = self.by_actor.get(other) else {
                return refuse(
                    Code::UnknownDeps,
                    "the change names an actor that never wrote this document",
                );
            };
            writers.push(*number);
        }
        Ok(Continuation { past, writers })
    }

    fn next_writer(&self) -> u32 {
        u32::try_from(self.writers.len()).unwrap_or(u32::MAX)
    }

    /// What those had seen who stand on these deps, and the largest counter in it.
    fn join(&self, deps: &[ChangeHash]) -> Result<(Past, u64), Refusal> {
        let mut past = Past::default();
        let mut max_op = 0;
        for dep in deps {
            let Some(known) = self.known.get(dep) else {
                return if self.first > 0 {
                    refuse(Code::Stale, "a dependency is too old; rebase and send again")
                } else {
                    refuse(Code::UnknownDeps, format!("dependency {dep} is not known"))
                };
            };
            max_op = max_op.max(known.max_op);
            // A change below the floor adds nothing to a past that must contain the floor.
            let Some(entry) = self.entry(known.index) else { continue };
            past.base = past.base.max(entry.past.base);
            for (writer, index) in &entry.past.beyond {
                past.add(*writer, *index);
            }
            past.add(entry.writer, known.index);
        }
        if past.base + 1 < self.first {
            return refuse(Code::Stale, "the change has not seen enough; rebase and send again");
        }
        while let Some(next) = self.entry(past.base + 1)
            && past.last_of(next.writer) > past.base
        {
            past.base += 1;
        }
        let base = past.base;
        past.beyond.retain(|(_, index)| *index > base);
        if past.beyond.len() > BEYOND_MAX {
            return refuse(Code::Stale, "too many write at a time; rebase and send again");
        }
        Ok((past, max_op))
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.window.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Takes in a change that was checked; answers its author's number.
    pub(super) fn append(&mut self, header: &Header, past: Past) -> u32 {
        let index = self.len();
        let max_op = header.max_op();
        let number = self.by_actor.get(&header.actor).copied().unwrap_or_else(|| {
            let number = self.next_writer();
            self.by_actor.insert(header.actor, number);
            self.writers.push(Writer {
                actor: header.actor,
                seq: 0,
                last: header.hash,
                floor_op: 0,
                changes: VecDeque::new(),
            });
            number
        });
        for dep in &header.deps {
            self.heads.remove(dep);
            self.forget(*dep);
        }
        self.heads.insert(header.hash);
        self.known.insert(header.hash, Known { index, max_op, writer: number });
        self.window.push_back(Entry { hash: header.hash, writer: number, past });
        if let Some(writer) = self.writers.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            let before = std::mem::replace(&mut writer.last, header.hash);
            writer.seq = header.seq;
            writer.changes.push_back((u32::try_from(max_op).unwrap_or(u32::MAX), index));
            self.forget(before);
        }
        if self.window.len() > self.window_max {
            self.shift();
        }
        number
    }

    /// Raises the floor by one change.
    fn shift(&mut self) {
        let Some(oldest) = self.window.pop_front() else { return };
        self.first += 1;
        let writer = usize::try_from(oldest.writer).ok().and_then(|at| self.writers.get_mut(at));
        if let Some(writer) = writer
            && let Some((max_op, _)) = writer.changes.pop_front()
        {
            writer.floor_op = max_op;
        }
        self.forget(oldest.hash);
    }

    /// Forgets a change on which nothing new may stand.
    fn forget(&mut self, hash: ChangeHash) {
        let Some(known) = self.known.get(&hash) else { return };
        let is_last = self.writer(known.writer).is_some_and(|writer| writer.last == hash);
        if known.index < self.first && !self.heads.contains(&hash) && !is_last {
            self.known.remove(&hash);
        }
    }
}

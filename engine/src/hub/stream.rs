//! Streams: append-only texts, each written by one user and read by many, in logs of their own beside
//! those of documents and made durable by the same commits. Owns what is in memory of them; a reader
//! is an offset. Must not know what a document is.
//!
//! The way of a piece of text: [`write`] checks that it continues the stream, [`commit`] has it made
//! durable, and only then acknowledges it and brings the readers forward ([`follow`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::connection::{Peer, Slot};
use super::document::End;
use super::{Handle, Hub};
use crate::clock::Timestamp;
use crate::ids::{Epoch, StreamAddress, Tip, UserId};
use crate::stream::{Origin, Outcome, Status};

mod commit;
mod entry;
mod follow;
mod load;
mod open;
mod text;
mod watch;
mod write;

use commit::Committing;
pub use entry::is_stream_entry;
pub use load::{StoredStream, StreamLogError, read_stream};
use text::Text;

/// A stream's short name on the wire, the same for all connections while it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamHandle(Handle);

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Those that it reads, writes, or has asked something of.
    open: BTreeSet<StreamHandle>,
    /// Those of them that have something for it that it has not been sent.
    news: BTreeSet<StreamHandle>,
    /// Where the round over `news` goes on.
    turn: u32,
}

/// All streams in memory.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_handle: BTreeMap<StreamHandle, Stream>,
    by_address: BTreeMap<StreamAddress, StreamHandle>,
    last: u32,
    /// Those with something that no commit has taken up.
    dirty: BTreeSet<StreamHandle>,
    in_commit: Vec<StreamHandle>,
    /// Bytes of text in memory.
    bytes: usize,
}

#[derive(Debug)]
struct Stream {
    address: StreamAddress,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its log is being read; these wait for it with a question.
    Loading(BTreeMap<Slot, Asks>),
    Live(Box<Live>),
}

/// What a connection asked of a stream and has no answer to.
#[derive(Debug, Default)]
struct Asks {
    read: Option<ReadAsk>,
    write: Option<WriteAsk>,
    interrupt: bool,
}

#[derive(Debug, Clone, Copy)]
struct ReadAsk {
    from: u64,
    since: u64,
}

#[derive(Debug)]
struct WriteAsk {
    create: bool,
    asked_by: Option<UserId>,
    since: u64,
}

/// What a log says of a stream.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// `None` as long as nobody has made it.
    origin: Option<Origin>,
    /// How long its text is.
    length: usize,
    interrupted: Option<(UserId, Timestamp)>,
    outcome: Option<Outcome>,
}

impl Facts {
    /// Whether more may come.
    const fn is_open(&self) -> bool {
        self.origin.is_some() && self.outcome.is_none()
    }
}

/// A connection that has a stream open.
#[derive(Debug, Default)]
struct Follower {
    /// Up to where it was sent the text, if it reads.
    reads: Option<usize>,
    writes: bool,
    /// Which status it was told last; 0 for none.
    told: u64,
}

/// What no commit has taken up yet.
#[derive(Debug)]
struct Pending {
    author: UserId,
    at: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Made {
        asked_by: Option<UserId>,
    },
    /// So many bytes of the text.
    Text(usize),
    Interrupted,
    Ended(Outcome),
}

#[derive(Debug)]
struct Live {
    epoch: Epoch,
    text: Text,
    /// With everything that was accepted.
    assigned: Facts,
    /// What is on disk; nobody is told of anything else.
    durable: Facts,
    /// The end of the log on disk.
    end: End,
    /// Entries of text in the log and pending.
    pieces: u64,
    pending: VecDeque<Pending>,
    /// Whose bytes are pending.
    load: BTreeMap<Peer, usize>,
    committing: Option<Committing>,
    asks: BTreeMap<Slot, Asks>,
    followers: BTreeMap<Slot, Follower>,
    stalled_since: Option<Timestamp>,
    /// Counts what followers are to be told of how it stands.
    version: u64,
    idle_since: Option<Timestamp>,
    /// For when its timer is armed.
    armed: Option<Timestamp>,
}

impl Live {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            text: Text::default(),
            assigned: Facts::default(),
            durable: Facts::default(),
            end: End { seq: 0, tip: Tip::EMPTY },
            pieces: 0,
            pending: VecDeque::new(),
            load: BTreeMap::new(),
            committing: None,
            asks: BTreeMap::new(),
            followers: BTreeMap::new(),
            stalled_since: None,
            version: 1,
            idle_since: None,
            armed: None,
        }
    }

    /// How it stands, as far as that is on disk.
    fn status(&self) -> Status {
        Status {
            interrupted_by: self.durable.interrupted.as_ref().map(|(by, _)| by.clone()),
            stalled_since: self.stalled_since.filter(|_| self.durable.outcome.is_none()),
            outcome: self.durable.outcome.clone(),
        }
    }

    fn has_writer(&self) -> bool {
        self.followers.values().any(|follower| follower.writes)
            || self.asks.values().any(|asks| asks.write.is_some())
    }

    fn is_unused(&self) -> bool {
        self.followers.is_empty()
            && self.asks.is_empty()
            && self.pending.is_empty()
            && self.committing.is_none()
    }

    /// Takes something in that is to be made durable.
    fn accept(&mut self, author: UserId, at: Timestamp, what: What) {
        match &what {
            What::Made { asked_by } => {
                let (producer, asked_by) = (author.clone(), asked_by.clone());
                self.assigned.origin = Some(Origin { producer, asked_by, created: at });
            }
            What::Text(_) => self.assigned.length = self.text.len(),
            What::Interrupted => self.assigned.interrupted = Some((author.clone(), at)),
            What::Ended(outcome) => self.assigned.outcome = Some(outcome.clone()),
        }
        if let (What::Text(more), Some(Pending { what: What::Text(bytes), .. })) =
            (&what, self.pending.back_mut())
        {
            *bytes += more;
            return;
        }
        if matches!(what, What::Text(_)) {
            self.pieces += 1;
        }
        self.pending.push_back(Pending { author, at, what });
    }
}

impl Streams {
    fn live_mut(&mut self, handle: StreamHandle) -> Option<&mut Live> {
        match &mut self.by_handle.get_mut(&handle)?.state {
            State::Live(live) => Some(live),
            State::Loading(_) => None,
        }
    }

    fn address(&self, handle: StreamHandle) -> Option<StreamAddress> {
        self.by_handle.get(&handle).map(|stream| stream.address.clone())
    }

    fn insert(&mut self, address: &StreamAddress) -> StreamHandle {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.by_handle.contains_key(&StreamHandle(self.last)) {
                break;
            }
        }
        let handle = StreamHandle(self.last);
        let state = State::Loading(BTreeMap::new());
        self.by_handle.insert(handle, Stream { address: address.clone(), state });
        self.by_address.insert(address.clone(), handle);
        handle
    }

    fn remove(&mut self, handle: StreamHandle) -> Option<Stream> {
        let stream = self.by_handle.remove(&handle)?;
        self.by_address.remove(&stream.address);
        if let State::Live(live) = &stream.state {
            self.bytes -= live.text.len();
        }
        Some(stream)
    }

    /// Whether a commit has something to take up.
    pub(super) fn are_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Streams in memory, connections that have one open (summed), bytes of text.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let followers = |stream: &Stream| match &stream.state {
            State::Live(live) => live.followers.len(),
            State::Loading(_) => 0,
        };
        (self.by_handle.len(), self.by_handle.values().map(followers).sum(), self.bytes)
    }

    /// The one with an address, if it is in memory.
    pub(super) fn handle(&self, address: &StreamAddress) -> Option<StreamHandle> {
        self.by_address.get(address).copied()
    }

    /// Whether a stream was made and that is not durable.
    pub(super) fn is_being_made(&self, handle: StreamHandle) -> bool {
        match self.by_handle.get(&handle).map(|stream| &stream.state) {
            Some(State::Live(live)) => {
                live.assigned.origin.is_some() && live.durable.origin.is_none()
            }
            Some(State::Loading(_)) | None => false,
        }
    }

    /// All of which that is so.
    pub(super) fn being_made(&self) -> BTreeSet<StreamHandle> {
        let handles = self.by_handle.keys().copied();
        handles.filter(|handle| self.is_being_made(*handle)).collect()
    }

    /// The streams of a space.
    pub(super) fn in_space(&self, space: &str) -> Vec<StreamHandle> {
        let inside = |(address, handle): (&StreamAddress, &StreamHandle)| {
            (address.space() == space).then_some(*handle)
        };
        self.by_address.iter().filter_map(inside).collect()
    }
}

impl Joined {
    /// The streams that it has open.
    pub(super) fn handles(&self) -> Vec<StreamHandle> {
        self.open.iter().copied().collect()
    }

    fn next_news(&mut self) -> Option<StreamHandle> {
        let from = StreamHandle(self.turn);
        let next = self.news.range(from..).next().or_else(|| self.news.first()).copied()?;
        self.turn = next.0.wrapping_add(1);
        Some(next)
    }
}

impl Hub {
    fn live_stream_mut(&mut self, handle: StreamHandle) -> Option<&mut Live> {
        self.streams.live_mut(handle)
    }
}

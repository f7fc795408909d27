//! The server machine: connections, live documents, leases, sequencing, fan-out.
//!
//! The hub decides; a driver carries out. The way of a change through it: [`Input::Received`] (a
//! push) is read, checked and given its seq in one synchronous call; [`Effect::Commit`] asks the
//! store to make it durable together with everything else that arrived since the last commit;
//! [`Input::Committed`] says that it is, and only then is it acknowledged and relayed.
//!
//! The hub must never know sockets, files, threads or clocks, and never hold a queue per
//! connection: a connection holds a cursor per document, and what it has not taken yet is read
//! again from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codes::Code;
use crate::gate;
use crate::ids::{Address, Cursor, Epoch, UserId};
use crate::machine::{Machine, Wake};
use crate::storage::{Append, LogHead, PostsWanted, Record, StoreError};
use crate::summary::Summary;
use crate::wire::CloseCode;

mod attribution;
mod authenticate;
mod commit;
mod compact;
mod config;
mod connection;
mod counters;
mod document;
mod examine;
mod feed;
mod follow;
mod forget;
mod index;
mod lease;
mod load;
mod orders;
mod presence;
mod push;
mod quota;
mod relay;
mod restore;
mod rollover;
mod space;
mod stored;
mod stream;
mod subscribe;
#[cfg(test)]
mod tests;
mod timers;

pub use attribution::Attribution;
pub use authenticate::{AuthenticateError, Authenticator, Credentials, TakesNames};
pub use compact::{CompactError, compact};
pub use config::{Config, Identity};
pub use counters::Counters;
pub use examine::{Survey, survey, verify};
pub use feed::{Summarised, summarise};
pub use forget::{emptied, forget};
pub use load::{Loaded, index, load, rules, snapshot};
pub use presence::PresenceConfig;
pub use quota::Quotas;
pub use rollover::{RolledOver, roll_over};
pub use space::Rulebook;
pub use stored::StoredError;
pub use stream::{StoredStream, StreamLogError, is_stream_entry, read_stream};

/// A document's short name on the wire, the same for all connections while it is in memory.
type Handle = u32;

/// A connection's number; the driver counts them up and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A number that ties an answer to its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Everything that the world can say to the hub.
#[derive(Debug)]
pub enum Input {
    /// A socket was accepted and upgraded.
    Opened {
        /// Its number.
        connection: ConnectionId,
    },
    /// A binary message arrived.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The whole message.
        message: Bytes,
    },
    /// Everything that was sent on the connection has been taken by its socket.
    Drained {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The connection is gone, whoever ended it.
    Closed {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Answers [`Effect::ReadRules`].
    RulesRead {
        /// Of which space.
        space: String,
        /// What [`rules`] gave.
        rules: Result<Box<Rulebook>, StoreError>,
    },
    /// Answers [`Effect::Load`].
    Loaded {
        /// Which document.
        address: Address,
        /// A random epoch, used if the document has no log yet.
        fresh_epoch: Epoch,
        /// What [`load`] gave.
        loaded: Result<Loaded, StoreError>,
    },
    /// Answers [`Effect::Index`].
    Indexed {
        /// Which document.
        address: Address,
        /// What [`index`] gave.
        gate: Result<Box<gate::Index>, StoreError>,
    },
    /// Answers [`Effect::Commit`].
    Committed {
        /// Whether everything in it is durable. An error ends the hub: it says goodbye to everyone
        /// and then asks for [`Effect::Stop`].
        result: Result<(), StoreError>,
    },
    /// Answers [`Effect::Read`].
    RecordsRead {
        /// Which question.
        request: RequestId,
        /// The records.
        result: Result<Vec<Record>, StoreError>,
    },
    /// Answers [`Effect::ReadSnapshot`].
    SnapshotRead {
        /// Which question.
        request: RequestId,
        /// The bytes; `None` if that snapshot was replaced meanwhile.
        result: Result<Option<Bytes>, StoreError>,
    },
    /// Answers [`Effect::Compact`].
    Compacted {
        /// Which document.
        address: Address,
        /// The outline of the log after it; an error leaves the log as it was.
        result: Result<LogHead, StoreError>,
    },
    /// Answers [`Effect::RollOver`].
    RolledOver {
        /// Which document.
        address: Address,
        /// What [`roll_over`] gave; an error leaves the log as it was.
        result: Result<RolledOver, StoreError>,
    },
    /// Answers [`Effect::ReadPosts`].
    PostsRead {
        /// Which question.
        request: RequestId,
        /// The summaries.
        result: Result<Vec<Summary>, StoreError>,
    },
    /// Answers [`Effect::Summarise`].
    Summarised {
        /// Of which space.
        space: String,
        /// What [`summarise`] gave.
        result: Result<Summarised, StoreError>,
    },
    /// An operator has deleted a space, and that is noted durably
    /// ([`LogStore::set_deletion`](crate::storage::LogStore::set_deletion)).
    SpaceDeleted {
        /// Which.
        space: String,
    },
    /// Answers [`Effect::EmptySpace`], whether it could be done or not.
    SpaceEmptied {
        /// Which.
        space: String,
    },
    /// An operator wants a user forgotten. It gets no connection until [`Input::UserForgotten`].
    UserLeaves {
        /// Whom. One at a time.
        user: UserId,
    },
    /// What [`Input::UserLeaves`] began is over.
    UserForgotten,
    /// An operator has a document or stream written anew, in another epoch or not at all.
    Rewrite {
        /// Which.
        address: Address,
    },
    /// Answers [`Effect::Rewrite`].
    Rewritten {
        /// Which.
        address: Address,
        /// The rules, where the document holds those of a space; an error leaves the log as it was.
        result: Result<RolledOver, StoreError>,
    },
    /// Time passed ([`crate::machine::Machine::poll_timeout`] said when).
    Tick,
    /// The process is to end: say goodbye to all, finish what is being committed, then
    /// [`Effect::Stop`].
    Shutdown,
}

/// Everything that the hub can ask of the world.
#[derive(Debug)]
pub enum Effect {
    /// Put a message on a connection's socket.
    Send {
        /// Which connection.
        connection: ConnectionId,
        /// The whole message; the same bytes may go to many connections.
        message: Bytes,
    },
    /// Read nothing more from a connection for a while: it goes too fast. What was read already
    /// may still be handed in.
    Hold {
        /// Which connection.
        connection: ConnectionId,
        /// For how long.
        pause: Duration,
    },
    /// Close a connection after everything sent on it so far.
    Close {
        /// Which connection.
        connection: ConnectionId,
        /// With which code.
        code: CloseCode,
    },
    /// Read the rules of a space ([`rules`]).
    ReadRules {
        /// Which.
        space: String,
    },
    /// Read what is known of a document ([`load`]).
    Load {
        /// Which document.
        address: Address,
    },
    /// Make the gate's index of a document that somebody wants to write to ([`index`]).
    Index {
        /// Which document.
        address: Address,
    },
    /// Make appends durable, all in one group commit. At most one is under way.
    Commit {
        /// What to append.
        appends: Vec<Append>,
    },
    /// Read records from `from_seq` on.
    Read {
        /// Ties the answer to this.
        request: RequestId,
        /// Which document.
        address: Address,
        /// From where.
        from_seq: u64,
        /// About how many bytes of changes.
        bytes_max: usize,
    },
    /// Read part of a snapshot.
    ReadSnapshot {
        /// Ties the answer to this.
        request: RequestId,
        /// Which document.
        address: Address,
        /// Of which snapshot.
        cursor: Cursor,
        /// From where.
        offset: u64,
        /// How much at most.
        bytes_max: usize,
    },
    /// Make a snapshot of the log up to `cursor` in the background ([`compact`]) and drop records
    /// that lie wholly before `keep_from`.
    Compact {
        /// Which document.
        address: Address,
        /// Up to where; a record boundary.
        cursor: Cursor,
        /// What to keep below it for clients that are a little behind.
        keep_from: u64,
    },
    /// End a document's epoch and begin the next ([`roll_over`]).
    RollOver {
        /// Which document.
        address: Address,
        /// The end of its log.
        end: Cursor,
        /// When the next epoch begins.
        at: Timestamp,
        /// Since when the ends of earlier epochs are kept, and what is settled of outboxes.
        keep_since: Timestamp,
    },
    /// Read summaries of posts ([`crate::storage::LogStore::posts`]).
    ReadPosts {
        /// Ties the answer to this.
        request: RequestId,
        /// Of which space.
        space: String,
        /// Which.
        wanted: PostsWanted,
    },
    /// Summarise some documents of a space that were written before there were summaries
    /// ([`summarise`]), in the background.
    Summarise {
        /// Which space.
        space: String,
        /// The document before them; from the beginning if `None`.
        after: Option<Address>,
    },
    /// Remove all that is in a deleted space: nothing of it is in memory or under way.
    EmptySpace {
        /// Which.
        space: String,
    },
    /// Look for what a user has said: the user has left, and all that was accepted of it is durable.
    /// Documents that are to change go to [`Input::Rewrite`], one after the other.
    ForgetUser {
        /// Whom.
        user: UserId,
    },
    /// Write a document or stream anew: nothing of it is under way, nor is before the answer.
    Rewrite {
        /// Which.
        address: Address,
    },
    /// Everything is said and durable: the driver may end.
    Stop,
}

/// How much a hub holds, for logs, metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open or greeting.
    pub connections: usize,
    /// Sessions that are connected or within their grace time.
    pub sessions: usize,
    /// Users with a session.
    pub users: usize,
    /// Documents in memory, those that are being loaded included.
    pub documents: usize,
    /// Connections that follow a document, summed over the documents.
    pub followers: usize,
    /// Leases that are held, summed over the documents.
    pub leases: usize,
    /// Followers that have not been sent all that is durable of the log, and those of them that
    /// are being sent a snapshot.
    pub behind: usize,
    /// Changes that followers on the log have not been sent, summed over them.
    pub lag_entries: u64,
    /// The most that one of them has not been sent.
    pub lag_entries_max: u64,
    /// Bytes that connections were sent and have not taken.
    pub outstanding_bytes: usize,
    /// Spaces in memory because somebody is in them, or was until a while ago.
    pub spaces: usize,
    /// Sessions that are seen in a space, summed over the spaces.
    pub present: usize,
    /// Users who are seen in a space, each once however many sessions, summed over the spaces.
    pub present_users: usize,
    /// Streams in memory, those that are being loaded included.
    pub streams: usize,
    /// Connections that read or write a stream, summed over the streams.
    pub stream_followers: usize,
    /// Bytes of the text of streams in memory.
    pub stream_bytes: usize,
    /// Spaces whose feed somebody follows.
    pub feeds: usize,
    /// Connections that follow a feed, summed over the feeds.
    pub feed_followers: usize,
    /// Changes that are accepted and not durable yet.
    pub pending_entries: usize,
    /// Their bytes, and those of text of streams.
    pub pending_bytes: usize,
    /// Changes accepted since the hub was made.
    pub accepted_entries: u64,
    /// Their bytes.
    pub accepted_bytes: u64,
}

/// How far a hub is in its life.
#[derive(Debug)]
enum Phase {
    Running,
    /// Nothing new is taken in; what was accepted is being made durable.
    Stopping,
    /// Everybody was sent away and [`Effect::Stop`] was asked for.
    Stopped,
}

/// The server machine. One of it serves many documents and connections.
///
/// ```
/// use syncline_engine::clock::Timestamp;
/// use syncline_engine::hub::{Config, ConnectionId, Hub, Identity, Input};
/// use syncline_engine::machine::Machine;
/// # fn key() -> syncline_engine::storage::record::DigestKey {
/// #     syncline_engine::storage::record::DigestKey([7; 32])
/// # }
/// let mut hub = Hub::new(Config::default(), Identity { term: 1, digest_key: key() });
/// hub.handle(Timestamp(0), Input::Opened { connection: ConnectionId(1) });
/// assert!(hub.poll_effect().is_none(), "the client speaks first");
/// assert_eq!(hub.poll_timeout().map(|wake| wake.at), Some(Timestamp(20_000)));
/// ```
#[derive(Debug)]
pub struct Hub {
    config: Config,
    identity: Identity,
    authenticator: Arc<dyn Authenticator>,
    phase: Phase,
    out: connection::Outgoing,
    connections: connection::Connections,
    sessions: connection::Sessions,
    users: quota::Users,
    documents: document::Documents,
    spaces: space::Spaces,
    gatherings: presence::Gatherings,
    streams: stream::Streams,
    feeds: feed::Feeds,
    orders: orders::Orders,
    timers: timers::Timers,
    requests: BTreeMap<RequestId, follow::Request>,
    last_request: u64,
    /// Documents with changes that no commit has taken up.
    dirty: BTreeSet<Handle>,
    /// Whether a commit is under way, and for which documents.
    committing: bool,
    in_commit: Vec<Handle>,
    /// Whether a compaction is under way, and which documents want the next.
    compacting: bool,
    wanting_compaction: BTreeSet<Handle>,
    pending_entries: usize,
    pending_bytes: usize,
    counters: Counters,
    /// Slots up to this one may have unanswered changes in documents that were evicted.
    slots_spent: u32,
    /// What the times at which connections are told to come back are drawn from.
    jitter: u64,
}

impl Hub {
    /// A hub without connections or documents.
    #[must_use]
    pub fn new(config: Config, identity: Identity) -> Self {
        Self {
            config,
            identity,
            authenticator: Arc::new(TakesNames),
            phase: Phase::Running,
            out: connection::Outgoing::default(),
            connections: connection::Connections::default(),
            sessions: connection::Sessions::default(),
            users: quota::Users::default(),
            documents: document::Documents::default(),
            spaces: space::Spaces::new(),
            gatherings: presence::Gatherings::default(),
            streams: stream::Streams::default(),
            feeds: feed::Feeds::default(),
            orders: orders::Orders::default(),
            timers: timers::Timers::default(),
            requests: BTreeMap::new(),
            last_request: 0,
            dirty: BTreeSet::new(),
            committing: false,
            in_commit: Vec::new(),
            compacting: false,
            wanting_compaction: BTreeSet::new(),
            pending_entries: 0,
            pending_bytes: 0,
            counters: Counters::default(),
            slots_spent: 0,
            jitter: 0,
        }
    }

    /// The same hub, which decides in this way who a client is. A new hub [takes
    /// names](TakesNames) at their word.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = authenticator;
        self
    }

    /// The same hub, which draws from a random number the times at which those that it sends away
    /// are to come back.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: u64) -> Self {
        self.jitter = jitter;
        self
    }

    /// What it has done since it was made.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// How much it holds. Walks over the documents and their followers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (spaces, present, present_users) = self.gatherings.counts();
        let (streams, stream_followers, stream_bytes) = self.streams.counts();
        let mut stats = Stats {
            spaces,
            present,
            present_users,
            streams,
            stream_followers,
            stream_bytes,
            connections: self.connections.len(),
            sessions: self.sessions.len(),
            users: self.users.len(),
            pending_entries: self.pending_entries,
            pending_bytes: self.pending_bytes,
            outstanding_bytes: self.connections.outstanding(),
            accepted_entries: self.counters.accepted_entries,
            accepted_bytes: self.counters.accepted_bytes,
            ..Stats::default()
        };
        (stats.feeds, stats.feed_followers) = self.feeds.count();
        for document in self.documents.all() {
            stats.documents += 1;
            if let document::State::Live(live) = &document.state {
                stats.followers += live.followers.len();
                stats.leases += live.leases.len();
                live.count_lag(&mut stats);
            }
        }
        stats
    }

    fn tick(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                timers::Timer::Silence(connection) => self.silence(now, connection),
                timers::Timer::Grace(session) => self.grace_over(now, session),
                timers::Timer::Lease(handle, session) => self.lease_idle(now, handle, session),
                timers::Timer::Idle(handle) => self.idle(now, handle),
                timers::Timer::Expiry(connection) => self.expiry(now, connection),
                timers::Timer::Gathering(handle) => self.gathering_due(now, handle),
                timers::Timer::Stream(handle) => self.stream_due(now, handle),
                timers::Timer::Feed(feed) => self.feed_due(now, feed),
            }
        }
    }

    fn shutdown(&mut self) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Stopping;
        }
    }

    /// Sends everybody away and ends.
    fn stop(&mut self, now: Timestamp, code: Code) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        self.phase = Phase::Stopped;
        self.dismiss_all(now, code);
        self.timers.clear();
        self.out.push(Effect::Stop);
    }
}

impl Machine for Hub {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Opened { connection } => self.opened(now, connection),
            Input::Received { connection, message } => self.received(now, connection, &message),
            Input::Drained { connection } => self.drained(now, connection),
            Input::Closed { connection } => self.closed(now, connection),
            Input::Loaded { address, fresh_epoch, loaded } => {
                self.loaded(now, &address, fresh_epoch, loaded);
            }
            Input::RulesRead { space, rules } => self.rules_read(now, &space, rules),
            Input::Indexed { address, gate } => self.indexed(now, &address, gate),
            Input::Committed { result } => self.committed(now, &result),
            Input::RecordsRead { request, result } => self.records_read(now, request, result),
            Input::SnapshotRead { request, result } => self.snapshot_read(now, request, result),
            Input::Compacted { address, result } => self.compacted(now, &address, result),
            Input::RolledOver { address, result } => self.rolled_over(now, &address, result),
            Input::PostsRead { request, result } => self.posts_read(now, request, result),
            Input::Summarised { space, result } => self.summarised(now, space, result),
            Input::SpaceDeleted { space } => self.space_deleted(now, &space),
            Input::SpaceEmptied { space } => self.emptied(&space),
            Input::UserLeaves { user } => self.user_leaves(now, user),
            Input::UserForgotten => self.user_forgotten(),
            Input::Rewrite { address } => self.rewrite(address),
            Input::Rewritten { address, result } => self.rewritten(now, &address, result),
            Input::Tick => self.tick(now),
            Input::Shutdown => self.shutdown(),
        }
        self.dismiss_doomed(now);
        self.settle_orders(now);
        self.flush();
        let clean = self.dirty.is_empty() && !self.streams.are_dirty();
        if matches!(self.phase, Phase::Stopping) && !self.committing && clean {
            self.stop(now, Code::ShuttingDown);
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        self.timers.next()
    }
}

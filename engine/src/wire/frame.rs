//! The frames, by direction. A field is never added to a frame and a type number never reused: a
//! new need gets a new frame.

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::VERSION;
use super::codec::{self, DecodeError, EncodeError};
pub use super::feed::{
    Feed, FeedChanged, FeedEnded, FollowFeed, LeaveFeed, ListPosts, PostSummary, Posts,
    PostsRefused, WirePlace,
};
use crate::limits::FRAME_BYTES_MAX;

macro_rules! frames {
    (
        $(#[doc = $doc:literal])+
        $name:ident { $($(#[doc = $frame_doc:literal])+ $variant:ident($body:ident) = $kind:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $frame_doc])+ $variant($body),)+ }

        impl $name {
            /// Every type number of this direction with its name.
            pub const KINDS: &'static [(u8, &'static str)] =
                &[$(($kind, stringify!($variant)),)+];

            /// The frame's name, for logs.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($variant),)+ }
            }

            /// The message's bytes.
            ///
            /// # Errors
            /// [`EncodeError`] if it would be larger than a frame may be.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                match self { $(Self::$variant(body) => codec::encode(VERSION, $kind, body),)+ }
            }

            /// Reads a message. Whatever lengths it announces, never allocates more than 4
            /// frames, nor more than 128 KiB for a message of up to 4 KiB.
            ///
            /// # Errors
            /// [`DecodeError`] says what is wrong with the bytes.
            pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
                if message.len() > FRAME_BYTES_MAX {
                    return Err(DecodeError::TooLarge(message.len()));
                }
                let [version, kind, body @ ..] = message else {
                    return Err(DecodeError::Short);
                };
                if *version != VERSION {
                    return Err(DecodeError::Version(*version));
                }
                match *kind {
                    $($kind => codec::decode(body).map(Self::$variant),)+
                    other => Err(DecodeError::UnknownType(other)),
                }
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })+
    };
}

frames! {
    /// What a client says.
    ClientFrame {
        /// The first frame of a connection.
        Hello(Hello) = 1,
        /// Opens a document from a position on.
        Subscribe(Subscribe) = 2,
        /// Closes a document; its lease ends with it.
        Unsubscribe(Unsubscribe) = 3,
        /// Asks for a lease on a document that is open.
        RequestLease(RequestLease) = 4,
        /// Hands in commands as changes.
        Push(Push) = 5,
        /// Hands back changes that the server once accepted and lost.
        Restore(Restore) = 6,
        /// Asks for a sign of life.
        Ping(Ping) = 7,
        /// Leaves for good: leases end at once.
        Bye(Bye) = 8,
        /// Gives a lease back with nothing open under it.
        Release(Release) = 9,
        /// Asks whether both sides have made the same document of the same log.
        Compare(Compare) = 10,
        /// Gives a new token before the old one expires.
        Renew(Renew) = 11,
        /// Enters a space, or says anew what the session announces there.
        Enter(Enter) = 12,
        /// Leaves a space.
        Leave(Leave) = 13,
        /// Announces something of oneself in a space.
        Announce(Announce) = 14,
        /// Sends a user out of a space for a while.
        Kick(Kick) = 15,
        /// Opens a stream as the one who writes it, and makes it if it is not there.
        WriteStream(WriteStream) = 20,
        /// Opens a stream as a reader, from an offset on.
        ReadStream(ReadStream) = 21,
        /// Hands in text of a stream.
        AppendStream(AppendStream) = 22,
        /// Ends a stream.
        EndStream(EndStream) = 23,
        /// Asks whoever writes a stream to stop.
        InterruptStream(InterruptStream) = 24,
        /// Reads or writes a stream no more; the stream goes on.
        LeaveStream(LeaveStream) = 25,
        /// Follows the summaries of a space's posts.
        FollowFeed(FollowFeed) = 30,
        /// Follows them no more.
        LeaveFeed(LeaveFeed) = 31,
        /// Asks once for summaries of posts.
        ListPosts(ListPosts) = 32,
    }
}

frames! {
    /// What a server says.
    ServerFrame {
        /// Answers `Hello`.
        Welcome(Welcome) = 64,
        /// Answers `Subscribe`.
        Subscribed(Subscribed) = 65,
        /// Part of a snapshot, in order, after a `Subscribed` that announced one.
        SnapshotPart(SnapshotPart) = 66,
        /// What follows in a document's log.
        Changes(Changes) = 67,
        /// Changes, deflated as a whole.
        PackedChanges(PackedChanges) = 68,
        /// Commands up to a number are durable.
        Ack(Ack) = 69,
        /// A command was refused.
        Reject(Reject) = 70,
        /// Grants a lease on an open document.
        Leased(Leased) = 71,
        /// Ends a lease.
        LeaseEnded(LeaseEnded) = 72,
        /// Answers `Restore`.
        Restored(Restored) = 73,
        /// Answers `Ping`.
        Pong(Pong) = 74,
        /// Something was wrong; says whether the connection goes on.
        Error(Error) = 75,
        /// The server closes the connection in an orderly way.
        Goodbye(Goodbye) = 76,
        /// Answers `Compare`.
        Compared(Compared) = 77,
        /// Says how long the token counts.
        TokenExpires(TokenExpires) = 78,
        /// Says as what a number is settled, before `Subscribed` does.
        SettledAs(SettledAs) = 79,
        /// Says that the client may do something else in a document from now on.
        May(May) = 80,
        /// Answers `Enter`.
        Entered(Entered) = 81,
        /// Says who is in a space and what they announce.
        Presence(Presence) = 82,
        /// Says how many are in a space that has too many to name them all.
        Crowd(Crowd) = 83,
        /// Says that the client is somebody else in a space from now on.
        Standing(Standing) = 84,
        /// Refuses entry to a space, or ends the stay there.
        SentAway(SentAway) = 85,
        /// Refuses an announcement.
        NotAnnounced(NotAnnounced) = 86,
        /// Answers `Kick`.
        Kicked(Kicked) = 87,
        /// Answers `WriteStream` and `ReadStream`.
        StreamOpened(StreamOpened) = 90,
        /// What follows in a stream.
        StreamText(StreamText) = 91,
        /// A stream's text up to an offset is durable.
        StreamAck(StreamAck) = 92,
        /// How a stream is.
        StreamStatus(StreamStatus) = 93,
        /// Answers `InterruptStream`.
        StreamInterrupted(StreamInterrupted) = 94,
        /// What was asked of a stream can't be.
        StreamRefused(StreamRefused) = 95,
        /// Answers `FollowFeed`.
        Feed(Feed) = 100,
        /// Summaries that are new or have changed.
        FeedChanged(FeedChanged) = 101,
        /// Answers `ListPosts`.
        Posts(Posts) = 102,
        /// A feed is not served, or not any more.
        FeedEnded(FeedEnded) = 103,
        /// Answers `ListPosts` where there is no list.
        PostsRefused(PostsRefused) = 104,
    }
}

/// Bytes that this layer does not look into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Encode for Blob {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        encoder: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        self.0.as_ref().encode(encoder)
    }
}

impl<C> Decode<C> for Blob {
    fn decode<D: bincode::de::Decoder<Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self(Vec::<u8>::decode(decoder)?.into()))
    }
}

bincode::impl_borrow_decode!(Blob);

/// A position in a log as it travels; see [`crate::ids::Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WireCursor {
    /// 16 random bytes.
    pub epoch: [u8; 16],
    /// The last seq known.
    pub seq: u64,
    /// 16 bytes that only the server understands.
    pub tip: [u8; 16],
}

/// A lease as it travels; see [`crate::ids::Lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WireLease {
    /// The actor to write under.
    pub actor: [u8; 16],
    /// The actor's next seq.
    pub next_seq: u64,
    /// The log seq to have read before writing.
    pub after: u64,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The session, drawn at random when the client's store was made.
    pub session: [u8; 16],
    /// Rises with every connection of the session; an older one is closed.
    pub generation: u64,
    /// The user's name.
    pub user: String,
    /// A proof of it, where the server asks for one.
    pub token: Option<String>,
    /// Name and version of the client, for logs.
    pub agent: String,
}

/// Opens a document.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscribe {
    /// `space/id/facet`.
    pub address: String,
    /// What is known already; `None` for nothing.
    pub cursor: Option<WireCursor>,
    /// The queue whose commands will be pushed.
    pub outbox: [u8; 16],
    /// Whether a lease is wanted.
    pub write: bool,
}

/// Closes a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Unsubscribe {
    /// Which.
    pub handle: u32,
}

/// Asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RequestLease {
    /// On which document.
    pub handle: u32,
}

/// Says that nothing that this session wrote under a lease on the document is without an answer, so
/// that the actor may go to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// Of which document.
    pub handle: u32,
}

/// Gives a new token for the connection's user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    /// The token.
    pub token: String,
}

/// Says how long the connection's token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TokenExpires {
    /// From now on, in milliseconds.
    pub in_ms: u64,
}

/// Says as what the highest settled number of an outbox is settled, so that a client knows whether it
/// was its own command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SettledAs {
    /// In which document.
    pub address: String,
    /// The number.
    pub number: u64,
    /// The first bytes of the hash of the change that settled it.
    pub digest: [u8; 8],
}

/// Tells the heads of what is accepted at a position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Compare {
    /// Of which document.
    pub handle: u32,
    /// At which position.
    pub seq: u64,
    /// [`crate::ids::heads_digest`] of the heads.
    pub heads: [u8; 16],
}

/// Says whether the heads are those of the server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Compared {
    /// Of which document.
    pub handle: u32,
    /// At which position.
    pub seq: u64,
    /// `None` if the log does not end there.
    pub same: Option<bool>,
}

/// Hands in commands `first`, `first + 1`, … as one change each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Push {
    /// To which document.
    pub handle: u32,
    /// The number of the first command.
    pub first: u64,
    /// The changes.
    pub changes: Vec<Blob>,
}

/// Hands back lost changes, deps first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restore {
    /// To which document.
    pub handle: u32,
    /// In the first frame: what proves that the server once had the changes.
    pub proof: Option<Proof>,
    /// The changes, each before those that it builds on.
    pub changes: Vec<Blob>,
    /// Whether no more follow.
    pub last: bool,
}

/// Proves that a document had certain heads, and with them everything that they build on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// The heads, in the order of their hashes.
    pub heads: Vec<[u8; 32]>,
    /// What the server gave for them.
    pub seal: [u8; 16],
}

/// Asks for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

/// Leaves for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Bye {}

/// Answers `Hello`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The server's ownership term; leases of an earlier one are gone.
    pub term: u64,
    /// How often the client should be heard of, in milliseconds.
    pub heartbeat_ms: u32,
    /// The server's clock, for display only.
    pub now_ms: u64,
    /// How many documents this connection may hold open.
    pub documents_max: u32,
}

/// How a document will be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Resume {
    /// By the changes after the client's cursor.
    Cursor,
    /// From the beginning (genesis), by changes. Everything the client has but does not receive is
    /// unknown to the server.
    Beginning,
    /// By a snapshot of so many bytes that stands for a position, then changes. The same holds.
    Snapshot {
        /// The position.
        cursor: WireCursor,
        /// The snapshot's length in bytes.
        bytes: u64,
    },
}

/// Answers `Subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscribed {
    /// Which document, as asked.
    pub address: String,
    /// Its short name from here on, the same for all connections at that time.
    pub handle: u32,
    /// The log's incarnation.
    pub epoch: [u8; 16],
    /// How the client will be brought up to date.
    pub resume: Resume,
    /// Where the log ends at the moment: the document is live once this seq is reached.
    pub end_seq: u64,
    /// The proof that the document has the heads that it has at `end_seq`.
    pub seal: Option<[u8; 16]>,
    /// What the client may do in it ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
    /// The highest number of the outbox that is settled in this document; 0 for none.
    pub settled: u64,
    /// The session's lease, kept or granted anew.
    pub lease: Option<WireLease>,
    /// Whether the lease is one that the session held already: unsettled changes under it may be
    /// sent again as they are.
    pub lease_kept: bool,
    /// Where the log goes on, if the cursor is of an epoch that has ended: `epoch`, `resume` and
    /// `end_seq` lead to that one's end. The client makes the next one's beginning of it, and
    /// subscribes again from there.
    pub next: Option<NextEpoch>,
}

/// The beginning of the epoch after the one that a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NextEpoch {
    /// Where its log begins.
    pub start: WireCursor,
    /// The only head at its beginning, to compare.
    pub head: [u8; 32],
    /// When it began, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotPart {
    /// Of which document.
    pub handle: u32,
    /// Where in the snapshot.
    pub offset: u64,
    /// The bytes.
    pub bytes: Blob,
}

/// One change in the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireEntry {
    /// Index into the frame's `authors`.
    pub author: u16,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The change.
    pub change: Blob,
}

/// What follows in a log. One encoded frame serves every follower.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Changes {
    /// Of which document.
    pub handle: u32,
    /// The seq of the first entry.
    pub first_seq: u64,
    /// The digest after the last entry.
    pub tip: [u8; 16],
    /// The proof that the document has the heads that it has after the last entry, where the server
    /// knows them.
    pub seal: Option<[u8; 16]>,
    /// Who wrote the entries.
    pub authors: Vec<String>,
    /// The entries.
    pub entries: Vec<WireEntry>,
}

/// A `Changes` body, deflated (zlib-less RFC 1951).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackedChanges {
    /// The length of the inflated body; at most a frame.
    pub bytes: u32,
    /// The deflated body of a `Changes` frame.
    pub deflated: Blob,
}

/// Commands up to a number are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ack {
    /// In which document.
    pub handle: u32,
    /// The highest number settled.
    pub number: u64,
}

/// A command was refused. What was pushed after it under the same lease was dropped with it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reject {
    /// In which document.
    pub handle: u32,
    /// Which command.
    pub number: u64,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
}

/// Grants a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Leased {
    /// On which document.
    pub handle: u32,
    /// The lease.
    pub lease: WireLease,
}

/// Ends a lease. What is unsettled under it has to be authored again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LeaseEnded {
    /// On which document.
    pub handle: u32,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
}

/// Answers the last `Restore` once everything that was handed back is durable (or was there already).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restored {
    /// In which document.
    pub handle: u32,
    /// How many were new to the server.
    pub accepted: u32,
    /// The first refusal, if any: a [`crate::codes::Code`]. The rest was taken back where that was
    /// possible.
    pub refused: Option<u16>,
}

/// The rules of the space have changed, or the client's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct May {
    /// In which document.
    pub handle: u32,
    /// What the client may do from now on ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
}

/// Answers `Ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Pong {
    /// From the question.
    pub nonce: u64,
}

/// Something was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Error {
    /// A [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// Which document it concerns, if one.
    pub address: Option<String>,
    /// Whether trying again with the same would end the same way.
    pub fatal: bool,
    /// When to try again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}

/// The server closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Goodbye {
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// When to come back.
    pub retry_after_ms: Option<u32>,
}

/// Something that a session says of itself in a space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireSaying {
    /// Under which name ([`crate::presence::check_key`]).
    pub key: String,
    /// The session's own number for it, from 1; a lower one never replaces a higher one of the key.
    pub seq: u64,
    /// What; `None` takes back what was said.
    pub value: Option<String>,
    /// After how many milliseconds it lapses by itself.
    pub ttl_ms: Option<u32>,
}

/// Enters a space. What is announced there is from here on exactly `sayings`, whatever the session
/// announced on an earlier connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enter {
    /// Which.
    pub space: String,
    /// Whether others are to see the session; otherwise it only looks, and `sayings` is empty.
    pub visible: bool,
    /// What it announces.
    pub sayings: Vec<WireSaying>,
}

/// Leaves a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// Which.
    pub handle: u32,
}

/// Announces something in a space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Announce {
    /// In which.
    pub handle: u32,
    /// What.
    pub sayings: Vec<WireSaying>,
}

/// Sends all sessions of a user out of a space, and keeps them out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kick {
    /// Out of which.
    pub handle: u32,
    /// Whom.
    pub user: String,
    /// For how many milliseconds.
    pub for_ms: u32,
}

/// Answers `Enter`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entered {
    /// Which space, as asked.
    pub space: String,
    /// Its short name from here on, the same for all connections at that time.
    pub handle: u32,
    /// The session's number among those who are seen in the space; `None` if it only looks.
    pub device: Option<u64>,
    /// The user's role.
    pub role: String,
    /// What the user may do ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
    /// How often at most the client should announce something, in milliseconds.
    pub interval_ms: u32,
}

/// Something about one who is in a space, or was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum News {
    /// A session is there, or its role is another.
    Came {
        /// Its number.
        device: u64,
        /// Whose it is.
        user: String,
        /// The user's role.
        role: String,
        /// Since when it is there, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// A session is gone, and all that it announced.
    Left {
        /// Its number.
        device: u64,
    },
    /// A session announces something.
    Said {
        /// Its number.
        device: u64,
        /// Under which name.
        key: String,
        /// What.
        value: String,
        /// When it was announced, in milliseconds since the Unix epoch.
        at_ms: u64,
        /// When it lapses, by the same clock.
        until_ms: Option<u64>,
    },
    /// It does not announce it any more.
    Unsaid {
        /// Its number.
        device: u64,
        /// Under which name.
        key: String,
    },
    /// A user of whom no session is there was there until then.
    Seen {
        /// Who.
        user: String,
        /// When the last session left, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// It is not kept any more when a user was there.
    Forgotten {
        /// Who.
        user: String,
    },
}

/// What is new in a space, in the order in which it is to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Presence {
    /// In which.
    pub handle: u32,
    /// Up to where the space's history is known with it. Never lower than before.
    pub version: u64,
    /// Whether a whole picture begins here: nothing that was said before counts any more once it is
    /// complete.
    pub whole: bool,
    /// Whether more of the same picture follows.
    pub more: bool,
    /// The server's clock, which `until_ms` is to be compared with.
    pub now_ms: u64,
    /// What.
    pub news: Vec<News>,
}

/// How many are in a space, and some of them. Replaces what was said of the space before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Crowd {
    /// In which.
    pub handle: u32,
    /// Up to where the space's history is known with it.
    pub version: u64,
    /// The server's clock, which `until_ms` is to be compared with.
    pub now_ms: u64,
    /// Sessions.
    pub devices: u32,
    /// Users.
    pub users: u32,
    /// Sessions that announce `idle`.
    pub idle: u32,
    /// Sessions that announce `typing`.
    pub typing: u32,
    /// Those who did something last, and what they announce.
    pub sample: Vec<News>,
}

/// The user's role in a space has changed, or what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Standing {
    /// In which.
    pub handle: u32,
    /// The role.
    pub role: String,
    /// What the user may do ([`crate::policy::Capabilities::bits`]).
    pub may: u16,
}

/// The client is not in a space, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SentAway {
    /// Which.
    pub space: String,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// After how many milliseconds it may try again, where that may help.
    pub retry_after_ms: Option<u32>,
}

/// Nothing of an announcement counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NotAnnounced {
    /// In which space.
    pub handle: u32,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// After how many milliseconds it may be announced again, where that may help.
    pub retry_after_ms: Option<u32>,
}

/// Says what became of a `Kick`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kicked {
    /// Out of which space.
    pub handle: u32,
    /// Whom.
    pub user: String,
    /// How many of the user's sessions were there.
    pub devices: u32,
    /// Why nobody was sent out: a [`crate::codes::Code`].
    pub refused: Option<u16>,
}

/// Opens a stream to write it. Saying it again is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WriteStream {
    /// `space/id/stream`.
    pub address: String,
    /// Whether it is made if nobody has made it.
    pub create: bool,
    /// Who asked for it, and may interrupt it, if it is made.
    pub asked_by: Option<String>,
    /// The offset from which on a digest of its text is wanted.
    pub since: u64,
}

/// Opens a stream to read it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadStream {
    /// `space/id/stream`.
    pub address: String,
    /// The offset from which on text is wanted.
    pub from: u64,
    /// The offset from which on a digest of the text before that is wanted.
    pub since: u64,
}

/// Hands in text.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AppendStream {
    /// Of which stream.
    pub stream: u32,
    /// Where it goes, in bytes of UTF-8.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// Ends a stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EndStream {
    /// Which stream.
    pub stream: u32,
    /// How long its text is, in bytes.
    pub end: u64,
    /// How it ended.
    pub outcome: StreamOutcome,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StreamOutcome {
    /// All is said.
    Finished {
        /// The comment that the result was committed as.
        result: Option<StreamResult>,
    },
    /// It can't go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was stopped on demand.
    Interrupted,
    /// Whoever wrote it did not come back.
    Abandoned,
}

/// The comment that a stream's result was committed as.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamResult {
    /// The address of the comments.
    pub address: String,
    /// The comment's id.
    pub comment: [u8; 16],
}

/// Asks whoever writes a stream to stop.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InterruptStream {
    /// `space/id/stream`.
    pub address: String,
}

/// Reads or writes a stream no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LeaveStream {
    /// Which stream.
    pub stream: u32,
    /// Whether it is the writing that ends, or the reading.
    pub writes: bool,
}

/// A stream is open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamOpened {
    /// Which, as asked.
    pub address: String,
    /// Its short name from here on, the same for all connections at that time.
    pub stream: u32,
    /// Whether this answers `WriteStream`.
    pub writes: bool,
    /// To a reader: where the text begins that follows. To the writer: the end of what is durable.
    pub at: u64,
    /// Where the text begins that the digest is of: where it was asked for, but never after `at` nor
    /// more than a window before it.
    pub since: u64,
    /// [`crate::stream::digest`] of the text from `since` to `at`.
    pub digest: [u8; 16],
    /// Who writes it.
    pub producer: String,
    /// Who asked for it.
    pub asked_by: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many bytes may be sent ahead of their acknowledgement.
    pub window_bytes: u32,
}

/// What follows in a stream. One encoded frame serves every reader.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamText {
    /// Of which stream.
    pub stream: u32,
    /// Where it belongs, in bytes of UTF-8.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// A stream's text is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StreamAck {
    /// Of which stream.
    pub stream: u32,
    /// Up to where.
    pub end: u64,
}

/// How a stream is. To a reader it comes after all text up to `end`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamStatus {
    /// Which stream.
    pub stream: u32,
    /// How long its text is.
    pub end: u64,
    /// Who asked that it stop.
    pub interrupted_by: Option<String>,
    /// Since when nobody is there who writes it, in milliseconds since the Unix epoch.
    pub stalled_since_ms: Option<u64>,
    /// How it ended; nothing follows then.
    pub outcome: Option<StreamOutcome>,
}

/// An interrupt is stored, or came after the end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamInterrupted {
    /// Of which stream.
    pub address: String,
}

/// What may be asked of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum StreamAsk {
    /// To read it.
    Read,
    /// To write it.
    Write,
    /// To interrupt it.
    Interrupt,
}

/// What was asked can't be, or can't any more: the stream is not open for it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StreamRefused {
    /// Which stream, as asked.
    pub address: String,
    /// What was asked.
    pub asked: StreamAsk,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// When to try again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}

//! The frames, by direction; their bodies are told by subject. A field is never added to a frame and
//! a type number never reused: a new need gets a new frame.

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::VERSION;
use super::codec::{self, DecodeError, EncodeError};
use crate::limits::FRAME_BYTES_MAX;

mod connection;
mod documents;
mod feeds;
mod presence;
mod streams;
mod writing;

pub use connection::{Bye, Error, Goodbye, Hello, Ping, Pong, Renew, TokenExpires, Welcome};
pub use documents::{
    Changes, Compare, Compared, May, NextEpoch, PackedChanges, Resume, SettledAs, SnapshotPart,
    Subscribe, Subscribed, Unsubscribe, WireEntry,
};
pub use feeds::{
    Feed, FeedChanged, FeedEnded, FollowFeed, LeaveFeed, ListPosts, PostSummary, Posts,
    PostsRefused, WirePlace,
};
pub use presence::{
    Announce, Crowd, Enter, Entered, Kick, Kicked, Leave, News, NotAnnounced, Presence, SentAway,
    Standing, WireSaying,
};
pub use streams::{
    AppendStream, EndStream, InterruptStream, LeaveStream, ReadStream, StreamAck, StreamAsk,
    StreamInterrupted, StreamOpened, StreamOutcome, StreamRefused, StreamResult, StreamStatus,
    StreamText, WriteStream,
};
pub use writing::{
    Ack, LeaseEnded, Leased, Proof, Push, Reject, Release, RequestLease, Restore, Restored,
};

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

//! The stable codes by which everything that can go wrong is known, in Rust, on the wire, in
//! TypeScript and in the logs. A code never changes its number or meaning; new ones are appended.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $slug:literal;)+) => {
        /// Why something was refused, closed or failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Code {
            /// Every code, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number that travels.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The name that logs and JSON carry.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// The code with this number, if it is known here.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    // 1xx: the connection.
    /// The frame is malformed, truncated, or of no known type.
    BadFrame = 100, "bad_frame";
    /// The message is larger than a frame may be.
    FrameTooLarge = 101, "frame_too_large";
    /// The peer speaks a protocol version that is not supported.
    UnsupportedVersion = 102, "unsupported_version";
    /// A frame that is not allowed in this phase, such as anything before `Hello`.
    OutOfProtocol = 103, "out_of_protocol";
    /// The same session opened another connection.
    Replaced = 104, "replaced";
    /// Nothing was heard for longer than two heartbeats.
    HeartbeatTimeout = 105, "heartbeat_timeout";
    /// The server is going away for a moment; come back.
    ShuttingDown = 106, "shutting_down";
    /// The server is out of a resource; come back later.
    Overloaded = 107, "overloaded";
    /// The reader does not take what it asked for.
    SlowReader = 108, "slow_reader";
    /// As many attempts to connect failed as the client makes.
    Unreachable = 109, "unreachable";
    /// More is asked for than is allowed in such a time; it goes on more slowly, or later.
    RateLimited = 110, "rate_limited";
    /// There are as many connections as there may be, of the user or from the address.
    TooManyConnections = 111, "too_many_connections";
    // 2xx: who and where.
    /// The name or token is missing or not acceptable.
    Unauthenticated = 200, "unauthenticated";
    /// The principal may not do this here.
    Forbidden = 201, "forbidden";
    /// The address does not parse.
    BadAddress = 202, "bad_address";
    /// No document with that handle is open on this connection.
    UnknownHandle = 203, "unknown_handle";
    /// The connection holds as many documents as it may.
    TooManyDocuments = 204, "too_many_documents";
    /// The document can't be loaded at the moment; its data was left as it is.
    DocumentUnavailable = 205, "document_unavailable";
    /// The token has run out; coming back takes a new one.
    TokenExpired = 206, "token_expired";
    /// The document was put in order meanwhile; opening it again goes on.
    RolledOver = 207, "rolled_over";
    /// A key, a value or the number of keys is not as presence may have it.
    BadPresence = 210, "bad_presence";
    /// More was announced in a short time than is allowed; it is to be announced again later.
    TooManyAnnouncements = 211, "too_many_announcements";
    /// A moderator sent the user out of the space for a while.
    Kicked = 212, "kicked";
    /// The connection is in as many spaces as it may be.
    TooManySpaces = 213, "too_many_spaces";
    /// As many are in the space as may be.
    SpaceFull = 214, "space_full";
    /// The rules of the space can't be read at the moment.
    SpaceUnavailable = 215, "space_unavailable";
    /// The space was deleted, and all that was in it.
    SpaceDeleted = 216, "space_deleted";
    // 3xx: changes.
    /// The bytes are not a change.
    BadChange = 300, "bad_change";
    /// The change is larger than a change may be.
    ChangeTooLarge = 301, "change_too_large";
    /// The change is by an actor that this session does not hold.
    WrongActor = 302, "wrong_actor";
    /// The change does not continue its actor's sequence.
    WrongSeq = 303, "wrong_seq";
    /// The change depends on something that this document does not contain.
    UnknownDeps = 304, "unknown_deps";
    /// The change's operation counter does not follow from its deps.
    WrongStartOp = 305, "wrong_start_op";
    /// The change depends on changes below the floor that the server keeps in memory; rebase it.
    Stale = 306, "stale";
    /// The session does not hold (or no longer holds) a lease on the document.
    LeaseLost = 307, "lease_lost";
    /// A number was pushed that does not continue the outbox.
    NumberGap = 308, "number_gap";
    /// A number was settled before with other content: the store was cloned.
    OutboxReused = 309, "outbox_reused";
    /// The document is as large as it may be.
    DocumentFull = 310, "document_full";
    /// An earlier change of the same lease was refused, so this one was not looked at.
    DroppedAfterRefusal = 311, "dropped_after_refusal";
    /// There are too many changes in one frame.
    TooManyChanges = 312, "too_many_changes";
    /// What this client holds of the document is not what the log makes; it is read anew.
    Diverged = 313, "diverged";
    /// The change names something that is not there, does not fit, or that it can't have seen.
    BadStructure = 314, "bad_structure";
    /// The change writes something that a document of its kind does not hold.
    NotInSchema = 315, "not_in_schema";
    /// Nothing proves that the server once had the change that is handed back.
    Unproven = 316, "unproven";
    // 4xx: commands, refused before a change is made or rolled back after.
    /// The command's arguments are not valid for its document.
    BadCommand = 400, "bad_command";
    /// The command names something that does not exist (any more).
    NotFound = 401, "not_found";
    /// Only the author may do this.
    NotAuthor = 402, "not_author";
    /// Somebody replaced the value that the command overwrote; the later value stands.
    Superseded = 403, "superseded";
    /// The command does not change anything (any more).
    NoEffect = 404, "no_effect";
    /// The store on this device is full or failed.
    LocalStore = 405, "local_store";
    /// As much work waits to be sent as may be kept on this device.
    OutboxFull = 406, "outbox_full";
    /// The document has gone on without what this device had of it, too long ago to relate the two.
    TooOld = 407, "too_old";
    // 42x: streams.
    /// There is no such stream.
    NoStream = 420, "no_stream";
    /// The stream is somebody else's: only who made it writes it.
    NotProducer = 421, "not_producer";
    /// The text begins after the end of the stream: something before it is missing.
    StreamGap = 422, "stream_gap";
    /// The stream has other text in that place.
    StreamConflict = 423, "stream_conflict";
    /// The stream is as long as it may be.
    StreamFull = 424, "stream_full";
    /// More text was sent ahead of its acknowledgement than may be.
    StreamWindow = 425, "stream_window";
    /// The stream has ended.
    StreamEnded = 426, "stream_ended";
    /// The connection has as many streams open as it may.
    TooManyStreams = 427, "too_many_streams";
    /// The connection follows as many feeds as it may.
    TooManyFeeds = 430, "too_many_feeds";
    /// The posts of a space can't be listed at the moment; ask again later.
    FeedUnavailable = 431, "feed_unavailable";
    // 5xx: the server's own state.
    /// The store failed; what was not acknowledged has an unknown outcome.
    StoreFailed = 500, "store_failed";
    /// A stored record is damaged and was not served.
    DamagedRecord = 501, "damaged_record";
}

impl Code {
    /// Whether a change was refused for where it stands in the log and not for what it does, so
    /// that the same work can be written down again and handed in.
    #[must_use]
    pub const fn is_about_place(self) -> bool {
        matches!(
            self,
            Self::WrongActor
                | Self::WrongSeq
                | Self::UnknownDeps
                | Self::WrongStartOp
                | Self::Stale
                | Self::LeaseLost
                | Self::DroppedAfterRefusal
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

//! Every size and count that something refuses to exceed, in one place, each with its reason.
//!
//! What a person may want to tune lives in the configuration of the hub and the session; what is
//! here is part of the protocol or protects memory before any configuration is read.

/// One WebSocket message. Larger payloads (snapshots, catch-up) are cut into several frames.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// One automerge change, header included. Long pastes are split by the client into several.
pub const CHANGE_BYTES_MAX: usize = 64 << 10;
/// How far one operation moves a counter beside the likes.
pub const COUNT_MAX: u64 = 1 << 32;
/// How far a counter of a schemaless document may begin from zero, and move at a time: as far as
/// JSON's numbers are exact.
pub const JSON_COUNTER_MAX: u64 = 1 << 53;
/// One value of a schemaless document: its change still has room for the rest of what it needs, also
/// when it is written anew at the beginning of an epoch.
pub const JSON_VALUE_BYTES_MAX: usize = 60 << 10;
/// Operations in one change: bounds what a reader does for one change (MEASURED: a run length can
/// claim 10^15 operations in 110 bytes).
pub const CHANGE_OPS_MAX: usize = 8_192;
/// Dependencies of one change. The hub merges heads long before a document is this wide.
pub const CHANGE_DEPS_MAX: usize = 64;
/// Other actors named in one change.
pub const CHANGE_ACTORS_MAX: usize = 64;
/// Operation counters above this make automerge panic or lose precision.
pub const OP_COUNTER_MAX: u64 = 1 << 31;
/// Changes in one push.
pub const PUSH_CHANGES_MAX: usize = 256;
/// Bytes of changes that a session puts into one push, well below a frame.
pub const PUSH_BYTES_MAX: usize = 256 << 10;
/// Payload of one `Changes` or `SnapshotPart` frame.
pub const PART_BYTES_MAX: usize = 256 << 10;
/// A space, a document id, a user name, each.
pub const NAME_BYTES_MAX: usize = 64;
/// A reaction: long enough for an emoji sequence with modifiers.
pub const REACTION_BYTES_MAX: usize = 32;
/// Text in one text-editing command; longer inserts are split so that a change stays small.
pub const SPLICE_CHARS_MAX: usize = 4_096;
/// The body of one comment, stored as one value.
pub const COMMENT_BYTES_MAX: usize = 32 << 10;
/// Posts in a feed, and in one answer to a request for a list: some 1,000 bytes each at most, so that
/// all of them fit into a frame.
pub const FEED_POSTS_MAX: usize = 500;
/// Lists of posts that one connection may wait for.
pub const LISTINGS_MAX: u32 = 8;
/// Heads at which the hub merges a document's heads in the same commit.
pub const HEADS_MERGE_AT: usize = 16;
/// Buckets of a keyed set to begin with (MEASURED: the cost of one like stays near 20 us to 30,000).
pub const BUCKETS: u32 = 64;
/// Places in a log, commands of an outbox and changes of an actor, as a server names them: more than
/// there will ever be, and sums of them do not overflow.
pub const NUMBER_MAX: u64 = 1 << 60;
/// The name of something that is announced in a space.
pub const PRESENCE_KEY_BYTES_MAX: usize = 32;
/// What is announced under one key: a cursor, a status, some fields; what is larger is a document.
pub const PRESENCE_VALUE_BYTES_MAX: usize = 1 << 10;
/// Keys that one session announces in one space, so that a picture of 100 members stays below 2 MiB.
pub const PRESENCE_KEYS_MAX: usize = 16;
/// How long something that was announced may stand by itself before it lapses.
pub const PRESENCE_TTL_MS_MAX: u32 = 24 * 60 * 60 * 1_000;
/// How long a moderator may keep somebody out of a space without changing its rules.
pub const KICK_MS_MAX: u32 = 24 * 60 * 60 * 1_000;
/// Text in one append to a stream, and about as much in one frame to a reader: small enough that a
/// connection's other frames are not held up, large enough that the frame around it does not matter.
pub const STREAM_PIECE_BYTES_MAX: usize = 64 << 10;
/// Why a stream failed, in a sentence or two.
pub const STREAM_REASON_BYTES_MAX: usize = 1_024;

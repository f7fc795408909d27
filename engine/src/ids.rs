//! The names of things: addresses, ids, actors, cursors. Values only; no rule about what may be
//! done with them.

mod drawn;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

pub use self::drawn::Ids;
use crate::clock::Timestamp;
use crate::limits::{NAME_BYTES_MAX, REACTION_BYTES_MAX};

/// A name is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, too long, or with a character that is not allowed there.
    #[error("{what} must be 1 to {max} bytes of {alphabet}, not {given:?}")]
    Malformed {
        /// What was being named.
        what: &'static str,
        /// The longest that is allowed.
        max: usize,
        /// What is allowed in it.
        alphabet: &'static str,
        /// What was given, cut to a sane length.
        given: String,
    },
    /// Not of the form `space/id/facet`.
    #[error("an address is space/id/facet, such as town/01J8ZQ4W5X6Y7Z8A9B0C1D2E3F/post")]
    NotAnAddress,
    /// Not one of the facets that documents have.
    #[error("a facet is post, likes, comments or json")]
    UnknownFacet,
    /// Not of the form `space/id/stream`.
    #[error(
        "a stream's address is space/id/stream, such as town/01J8ZQ4W5X6Y7Z8A9B0C1D2E3F/stream"
    )]
    NotAStream,
    /// Not 26 characters of Crockford's base 32.
    #[error("an id of 26 characters (ULID) was expected")]
    NotAUlid,
}

const NAME_ALPHABET: &str = "letters, digits and . _ - : @";

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b))
        && name != "."
        && name != "..";
    if fits {
        return Ok(());
    }
    Err(NameError::Malformed {
        what,
        max: NAME_BYTES_MAX,
        alphabet: NAME_ALPHABET,
        given: name.chars().take(80).collect(),
    })
}

/// Which part of a post, or which kind of thing, a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// Title, body, tags, editors, status.
    Post,
    /// Reactions and counters.
    Likes,
    /// The threaded comments.
    Comments,
    /// A schemaless document.
    Json,
    /// No document: an append-only text ([`StreamAddress`]), whose log is kept beside those of
    /// documents.
    Stream,
}

impl Facet {
    /// The facets of documents.
    pub const DOCUMENTS: [Self; 4] = [Self::Post, Self::Likes, Self::Comments, Self::Json];
    /// The facets of everything that has a log.
    pub const ALL: [Self; 5] = [Self::Post, Self::Likes, Self::Comments, Self::Json, Self::Stream];

    /// The word in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Likes => "likes",
            Self::Comments => "comments",
            Self::Json => "json",
            Self::Stream => "stream",
        }
    }
}

impl FromStr for Facet {
    type Err = NameError;

    /// Reads the facet of a document.
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::DOCUMENTS.into_iter().find(|f| f.as_str() == s).ok_or(NameError::UnknownFacet)
    }
}

/// The name of a document: `space/id/facet`. Text is never read as the address of anything else; that
/// of a stream's log is made by [`StreamAddress::log`] only, and read by [`Address::of_log`].
///
/// ```
/// use syncline_engine::ids::{Address, Facet};
/// let address: Address = "town/square/json".parse()?;
/// assert_eq!(address.space(), "town");
/// assert_eq!(address.facet(), Facet::Json);
/// assert!("town/../json".parse::<Address>().is_err());
/// # Ok::<(), syncline_engine::ids::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    space: String,
    id: String,
    facet: Facet,
}

impl Address {
    /// Names a document.
    ///
    /// # Errors
    /// [`NameError::Malformed`] if the space or the id has a character that is not allowed.
    pub fn new(space: &str, id: &str, facet: Facet) -> Result<Self, NameError> {
        check_name("a space", space)?;
        check_name("a document id", id)?;
        Ok(Self { space: space.to_owned(), id: id.to_owned(), facet })
    }

    /// The document that holds the rules of a space ([`crate::policy::Rules`]).
    ///
    /// # Errors
    /// [`NameError::Malformed`] if the space has a character that is not allowed.
    pub fn rules_of(space: &str) -> Result<Self, NameError> {
        Self::new(space, "rules", Facet::Json)
    }

    /// Reads the address of anything that has a log: of a document or a stream.
    ///
    /// # Errors
    /// [`NameError`] if it is neither.
    pub fn of_log(name: &str) -> Result<Self, NameError> {
        name.parse().or_else(|error| name.parse::<StreamAddress>().map(|s| s.0).map_err(|_| error))
    }

    /// Whether it holds the rules of its space.
    #[must_use]
    pub fn is_rules(&self) -> bool {
        self.id == "rules" && self.facet == Facet::Json
    }

    /// The space that the document belongs to.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.space
    }

    /// The document's id within its space; the three facets of a post share it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which part it is.
    #[must_use]
    pub const fn facet(&self) -> Facet {
        self.facet
    }

    /// The address of another part of the same thing.
    #[must_use]
    pub fn with_facet(&self, facet: Facet) -> Self {
        Self { facet, ..self.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.space, self.id, self.facet.as_str())
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let mut parts = s.split('/');
        let (Some(space), Some(id), Some(facet), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NameError::NotAnAddress);
        };
        Self::new(space, id, facet.parse()?)
    }
}

/// The name of a stream: `space/id/stream`.
///
/// ```
/// use syncline_engine::ids::StreamAddress;
/// let address: StreamAddress = "town/answer-7/stream".parse()?;
/// assert_eq!((address.space(), address.id()), ("town", "answer-7"));
/// assert!("town/answer-7/json".parse::<StreamAddress>().is_err());
/// # Ok::<(), syncline_engine::ids::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamAddress(Address);

impl StreamAddress {
    /// Names a stream.
    ///
    /// # Errors
    /// [`NameError::Malformed`] if the space or the id has a character that is not allowed.
    pub fn new(space: &str, id: &str) -> Result<Self, NameError> {
        Address::new(space, id, Facet::Stream).map(Self)
    }

    /// The stream whose log has this address; `None` if it is a document's.
    #[must_use]
    pub fn of(log: &Address) -> Option<Self> {
        (log.facet == Facet::Stream).then(|| Self(log.clone()))
    }

    /// The space that the stream belongs to.
    #[must_use]
    pub fn space(&self) -> &str {
        self.0.space()
    }

    /// The stream's id within its space.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// The address under which its log is stored.
    #[must_use]
    pub const fn log(&self) -> &Address {
        &self.0
    }
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StreamAddress {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        let (rest, facet) = s.rsplit_once('/').ok_or(NameError::NotAStream)?;
        let (space, id) = rest.split_once('/').ok_or(NameError::NotAStream)?;
        if facet != Facet::Stream.as_str() {
            return Err(NameError::NotAStream);
        }
        Self::new(space, id)
    }
}

/// The name of a person or program, as its connection is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// Checks a user name.
    ///
    /// # Errors
    /// [`NameError::Malformed`] if a character is not allowed or the length is not.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_name("a user name", name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a reaction such as `like` or an emoji: any text without `/`, control characters or blanks.
///
/// # Errors
/// [`NameError::Malformed`] otherwise.
pub fn check_reaction(reaction: &str) -> Result<(), NameError> {
    let fits = (1..=REACTION_BYTES_MAX).contains(&reaction.len())
        && reaction.chars().all(|c| c != '/' && !c.is_control() && !c.is_whitespace());
    if fits {
        return Ok(());
    }
    Err(NameError::Malformed {
        what: "a reaction",
        max: REACTION_BYTES_MAX,
        alphabet: "text without blanks and /",
        given: reaction.chars().take(80).collect(),
    })
}

macro_rules! random_id {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(&self.0[..4]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
    };
}

random_id! {
    /// One incarnation of a document's log, drawn at random when the log begins.
    Epoch
}
random_id! {
    /// A running digest of a log up to some seq. Only the server that made it can check it.
    Tip
}
random_id! {
    /// A client's talk with a server across its connections.
    SessionId
}
random_id! {
    /// A client's queue of commands; each of its commands has a number, for ever.
    OutboxId
}

impl Tip {
    /// The digest of an empty log.
    pub const EMPTY: Self = Self([0; 16]);
    /// The digest of no log: a cursor with it names an epoch, and no place in it to go on from.
    pub const NOWHERE: Self = Self([0xff; 16]);
}

/// A position in a document's log: everything up to and including `seq` is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The last seq that is known; 0 is the beginning, before the first change.
    pub seq: u64,
    /// The digest of the log up to `seq`.
    pub tip: Tip,
}

/// Where an epoch begins that another one was rolled over into. What the document showed at the end of
/// that one, and this, determine the new one's first changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The position at which the new epoch's log begins: its first changes are below it.
    pub cursor: Cursor,
    /// The last of them, and the only head.
    pub head: ChangeHash,
    /// When it began.
    pub at: Timestamp,
}

/// SHA-256 of a change, which is automerge's name for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeHash({})", hex::encode(&self.0[..4]))
    }
}

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A digest of a document's heads, by which two replicas see whether they have the same changes: the
/// first 16 bytes of SHA-256 over the hashes, sorted.
#[must_use]
pub fn heads_digest(heads: impl IntoIterator<Item = ChangeHash>) -> [u8; 16] {
    let sorted: BTreeSet<ChangeHash> = heads.into_iter().collect();
    let mut hasher = Sha256::new();
    for hash in sorted {
        hasher.update(hash.0);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize()[..16]);
    digest
}

/// The writer of a strictly sequential run of changes in one document.
///
/// Sixteen bytes in four kinds, told apart by the first eight, which sort in this order:
/// all zero for genesis; zero followed by part of an epoch for the actor that begins that epoch with
/// what the one before it showed; the server's ownership term (big endian) followed by a slot for a leased
/// actor, so that a newer lease sorts after an older one, which automerge handles cheaply; all ones
/// followed by a random part for a provisional actor, which never leaves its client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub [u8; 16]);

impl ActorId {
    /// The writer of every genesis.
    pub const GENESIS: Self = Self([0; 16]);

    /// The actor in `slot` under a server's ownership `term`. Slot 0 is the server itself.
    #[must_use]
    pub fn leased(term: u64, slot: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&term.to_be_bytes());
        bytes[8..12].copy_from_slice(&slot.to_be_bytes());
        Self(bytes)
    }

    /// An actor for work that has no lease.
    #[must_use]
    pub fn provisional(random: u64) -> Self {
        let mut bytes = [0xff; 16];
        bytes[8..].copy_from_slice(&random.to_be_bytes());
        Self(bytes)
    }

    /// The server itself, as the writer of merges in an epoch of a document.
    #[must_use]
    pub fn server(term: u64, epoch: Epoch) -> Self {
        let mut actor = Self::leased(term, 0);
        actor.0[12..].copy_from_slice(&epoch.0[..4]);
        actor
    }

    /// The writer of the first changes of an epoch that another one was rolled over into.
    #[must_use]
    pub fn rollover(epoch: Epoch) -> Self {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&epoch.0[..8]);
        bytes[15] |= 1;
        Self(bytes)
    }

    /// Whether this is the writer of an epoch's first changes.
    #[must_use]
    pub fn is_rollover(self) -> bool {
        self.term() == 0 && self != Self::GENESIS
    }

    /// The term of a leased actor.
    #[must_use]
    pub fn term(self) -> u64 {
        let mut term = [0; 8];
        term.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(term)
    }

    /// The slot of a leased actor.
    #[must_use]
    pub fn slot(self) -> u32 {
        let mut slot = [0; 4];
        slot.copy_from_slice(&self.0[8..12]);
        u32::from_be_bytes(slot)
    }

    /// Whether this is a provisional actor.
    #[must_use]
    pub fn is_provisional(self) -> bool {
        self.0[..8] == [0xff; 8]
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::GENESIS {
            f.write_str("Actor(genesis)")
        } else if self.is_provisional() {
            write!(f, "Actor(provisional {})", hex::encode(&self.0[12..]))
        } else {
            write!(f, "Actor(term {} slot {})", self.term(), self.slot())
        }
    }
}

/// A permission to write a document under an actor, exclusive while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Under which name.
    pub actor: ActorId,
    /// The seq of the first change to make under it (automerge's per-actor seq, not the log's).
    pub next_seq: u64,
    /// The log seq up to which the holder must have read before it writes.
    pub after: u64,
}

/// A 128-bit id that sorts by time: 48 bits of milliseconds, 80 random bits.
///
/// Format: ULID (<https://github.com/ulid/spec>), 26 characters of Crockford's base 32.
///
/// ```
/// use syncline_engine::ids::Ulid;
/// let id: Ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse()?;
/// assert_eq!(id.timestamp().0, 1_469_922_850_259);
/// assert_eq!(id.to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
/// # Ok::<(), syncline_engine::ids::NameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(pub [u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Ulid {
    /// Builds an id from a time and random bits (the low 80 are used).
    #[must_use]
    pub fn new(at: Timestamp, random: u128) -> Self {
        let millis = u128::from(at.0 & 0xffff_ffff_ffff);
        Self(((millis << 80) | (random & ((1 << 80) - 1))).to_be_bytes())
    }

    /// An id for now that also sorts after `largest`, so that a reply sorts after what it answers
    /// whatever the wall clock says.
    #[must_use]
    pub fn after(largest: Option<Self>, now: Timestamp, random: u128) -> Self {
        let fresh = Self::new(now, random);
        match largest {
            Some(largest) if fresh <= largest => {
                // Somebody may have made up the last one that there is.
                let above = u128::from_be_bytes(largest.0).checked_add(1);
                above.map_or(fresh, |above| Self(above.to_be_bytes()))
            }
            _ => fresh,
        }
    }

    /// The time part.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp(u64::try_from(u128::from_be_bytes(self.0) >> 80).unwrap_or(0))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for place in (0..26).rev() {
            let digit = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
            write!(f, "{}", char::from(CROCKFORD[digit]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Ulid {
    type Err = NameError;

    /// Reads the canonical form only: upper case, no look-alike letters. One id has one spelling,
    /// because ids are keys.
    fn from_str(s: &str) -> Result<Self, NameError> {
        if s.len() != 26 || s.as_bytes()[0] > b'7' {
            return Err(NameError::NotAUlid);
        }
        let mut bits = 0_u128;
        for byte in s.bytes() {
            let digit = CROCKFORD.iter().position(|c| *c == byte).ok_or(NameError::NotAUlid)?;
            bits = (bits << 5) | digit as u128;
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leased_actors_sort_by_term_then_slot_and_below_provisional_ones() {
        let order = [
            ActorId::GENESIS,
            ActorId::leased(1, 0),
            ActorId::leased(1, 7),
            ActorId::leased(2, 1),
            ActorId::provisional(0),
        ];
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((order[2].term(), order[2].slot()), (1, 7));
    }

    #[test]
    fn an_id_made_on_a_slow_clock_still_sorts_after_the_largest_seen() {
        let seen = Ulid::new(Timestamp(2_000), 5);
        let reply = Ulid::after(Some(seen), Timestamp(1_000), 9);
        assert!(reply > seen);
        assert_eq!(reply.to_string().parse::<Ulid>(), Ok(reply));
    }

    #[test]
    fn only_the_canonical_spelling_of_an_id_is_read() {
        assert!("01arz3ndektsv4rrffq69g5fav".parse::<Ulid>().is_err());
        assert!("81ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<Ulid>().is_err());
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FA".parse::<Ulid>().is_err());
    }

    #[test]
    fn names_with_separators_controls_or_dots_alone_are_refused() {
        for bad in ["", "a/b", "..", "a b", "\u{7f}", "é", &"x".repeat(65)] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
        }
        assert!(check_reaction("👍🏽").is_ok());
        assert!(check_reaction("a/b").is_err());
    }
}

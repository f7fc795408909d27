//! Where a session keeps what on the device: keys and the bytes of values. The same on every
//! platform. Knows no machine and no store.
//!
//! | key | value |
//! |---|---|
//! | `meta/identity` | session, outbox, how often the store was opened |
//! | `meta/pending/ADDRESS` | nothing: the document has an outbox that is not empty |
//! | `meta/ended/PLACE` | how a command ended, until the app has taken the news; what was rolled back, until it is dismissed |
//! | `doc/ADDRESS/base` | accepted in automerge's saved form, with its cursor |
//! | `doc/ADDRESS/may` | what the user may do in it, as the server said last |
//! | `doc/ADDRESS/settled` | the highest number known to be settled |
//! | `doc/ADDRESS/outbox` | while its commands are numbered in an outbox that is not the identity's: which, and the heads of accepted when the move began |
//! | `doc/ADDRESS/tail/SEQ` | accepted changes after the base up to SEQ, with the cursor there |
//! | `doc/ADDRESS/out/NUMBER` | a pending command and its change |
//!
//! SEQ, NUMBER and PLACE are 16 lower-case hex digits, so that keys sort as numbers do.

use automerge::Change;
use bincode::{Decode, Encode};
use bytes::Bytes;

use super::removal::Move;
use super::{Ending, StoreWrite};
use crate::change::reader;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, ChangeHash, Cursor, Epoch, OutboxId, SessionId, Tip, Ulid};
use crate::policy::Capabilities;
use crate::read_json::read_json;
use crate::replica::{Pending, Resolution, Stored};
use crate::wire::frame::Proof;
use crate::wire::{decode_stored, encode_stored};

/// A stored value does not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored value {0} is damaged")]
pub struct LayoutError(pub String);

/// The prefix that must be read before a session can be made.
pub const META_PREFIX: &[u8] = b"meta/";
/// The prefix of everything that belongs to documents.
pub const DOCUMENTS_PREFIX: &[u8] = b"doc/";
const IDENTITY: &[u8] = b"meta/identity";
const PENDING: &str = "meta/pending/";
const ENDED: &str = "meta/ended/";

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct StoredIdentity {
    session: [u8; 16],
    outbox: [u8; 16],
    opened: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct StoredCursor {
    epoch: [u8; 16],
    seq: u64,
    tip: [u8; 16],
}

#[derive(Debug, Encode, Decode)]
struct StoredMove {
    outbox: [u8; 16],
    heads: Vec<[u8; 32]>,
}

#[derive(Debug, Encode, Decode)]
struct StoredBase {
    cursor: StoredCursor,
    proof: Option<Proof>,
    body: Vec<u8>,
}

/// A [`StoredTail`] that is only written, and needs no copy for that.
#[derive(Debug, Encode)]
struct TailToStore<'a> {
    cursor: StoredCursor,
    proof: Option<&'a Proof>,
    changes: Vec<&'a [u8]>,
}

#[derive(Debug, Encode, Decode)]
struct StoredTail {
    cursor: StoredCursor,
    proof: Option<Proof>,
    changes: Vec<Vec<u8>>,
}

#[derive(Debug, Encode, Decode)]
struct StoredCommand {
    id: [u8; 16],
    /// As JSON, so that a person can rescue it.
    command: String,
    change: Vec<u8>,
    /// Whether the app was told that it is durable.
    announced: bool,
}

/// A [`StoredCommand`] as stores of the first version have it.
#[derive(Debug, Decode)]
struct FirstStoredCommand {
    id: [u8; 16],
    command: String,
    change: Vec<u8>,
}

impl From<FirstStoredCommand> for StoredCommand {
    fn from(first: FirstStoredCommand) -> Self {
        let FirstStoredCommand { id, command, change } = first;
        Self { id, command, change, announced: false }
    }
}

#[derive(Debug, Encode, Decode)]
struct StoredEnding {
    id: [u8; 16],
    address: String,
    command: String,
    resolution: StoredResolution,
    at: u64,
    taken: bool,
}

#[derive(Debug, Encode, Decode)]
enum StoredResolution {
    Confirmed,
    NoEffect,
    Superseded,
    Refused { code: u16, message: String },
}

impl From<&Resolution> for StoredResolution {
    fn from(resolution: &Resolution) -> Self {
        match resolution {
            Resolution::Confirmed => Self::Confirmed,
            Resolution::NoEffect => Self::NoEffect,
            Resolution::Superseded => Self::Superseded,
            Resolution::Refused { code, message } => {
                Self::Refused { code: code.number(), message: message.clone() }
            }
        }
    }
}

impl From<StoredResolution> for Resolution {
    fn from(stored: StoredResolution) -> Self {
        match stored {
            StoredResolution::Confirmed => Self::Confirmed,
            StoredResolution::NoEffect => Self::NoEffect,
            StoredResolution::Superseded => Self::Superseded,
            StoredResolution::Refused { code, message } => {
                // A later version may know more codes.
                let code = Code::from_number(code).unwrap_or(Code::BadCommand);
                Self::Refused { code, message }
            }
        }
    }
}

impl From<Cursor> for StoredCursor {
    fn from(cursor: Cursor) -> Self {
        Self { epoch: cursor.epoch.0, seq: cursor.seq, tip: cursor.tip.0 }
    }
}

impl From<StoredCursor> for Cursor {
    fn from(cursor: StoredCursor) -> Self {
        Self { epoch: Epoch(cursor.epoch), seq: cursor.seq, tip: Tip(cursor.tip) }
    }
}

/// What `meta/` holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meta {
    pub(super) session: SessionId,
    pub(super) outbox: OutboxId,
    /// How often the store was opened before.
    pub(super) opened: u64,
    /// Documents whose outbox is not empty.
    pub(super) pending: Vec<Address>,
    /// How commands ended, by their place in the order of endings.
    pub(super) endings: Vec<(u64, Ending)>,
}

/// Reads `meta/`; `None` for a new store.
pub(super) fn read_meta(entries: &[(Vec<u8>, Bytes)]) -> Result<Option<Meta>, LayoutError> {
    let Some((key, value)) = entries.iter().find(|(key, _)| key == IDENTITY) else {
        return Ok(None);
    };
    let stored: StoredIdentity = decode_stored(value).map_err(|_| damaged(key))?;
    let pending = entries
        .iter()
        .filter_map(|(key, _)| std::str::from_utf8(key).ok()?.strip_prefix(PENDING)?.parse().ok())
        .collect();
    let endings = entries
        .iter()
        .filter(|(key, _)| key.starts_with(ENDED.as_bytes()))
        .map(|(key, value)| read_ending(key, value).ok_or_else(|| damaged(key)))
        .collect::<Result<_, _>>()?;
    Ok(Some(Meta {
        session: SessionId(stored.session),
        outbox: OutboxId(stored.outbox),
        opened: stored.opened,
        pending,
        endings,
    }))
}

fn read_ending(key: &[u8], value: &[u8]) -> Option<(u64, Ending)> {
    let place = std::str::from_utf8(key).ok()?.strip_prefix(ENDED)?;
    let stored: StoredEnding = decode_stored(value).ok()?;
    let ending = Ending {
        id: Ulid(stored.id),
        address: stored.address.parse().ok()?,
        command: read_json(&stored.command).ok()?,
        resolution: stored.resolution.into(),
        at: Timestamp(stored.at),
        taken: stored.taken,
    };
    Some((u64::from_str_radix(place, 16).ok()?, ending))
}

pub(super) fn put_ending(place: u64, ending: &Ending) -> StoreWrite {
    let stored = StoredEnding {
        id: ending.id.0,
        address: ending.address.to_string(),
        command: serde_json::to_string(&ending.command).unwrap_or_default(),
        resolution: (&ending.resolution).into(),
        at: ending.at.0,
        taken: ending.taken,
    };
    put(ending_key(place), encode_stored(&stored))
}

pub(super) fn delete_ending(place: u64) -> StoreWrite {
    StoreWrite::Delete { key: ending_key(place) }
}

fn ending_key(place: u64) -> Vec<u8> {
    format!("{ENDED}{place:016x}").into_bytes()
}

pub(super) fn put_meta(session: SessionId, outbox: OutboxId, opened: u64) -> StoreWrite {
    let stored = StoredIdentity { session: session.0, outbox: outbox.0, opened };
    put(IDENTITY.to_vec(), encode_stored(&stored))
}

pub(super) fn mark_pending(address: &Address, pending: bool) -> StoreWrite {
    let key = format!("{PENDING}{address}").into_bytes();
    if pending { put(key, Vec::new()) } else { StoreWrite::Delete { key } }
}

/// Everything of one document.
pub(super) fn document_prefix(address: &Address) -> Vec<u8> {
    format!("doc/{address}/").into_bytes()
}

/// The document that a key under [`DOCUMENTS_PREFIX`] belongs to.
#[must_use]
pub fn address_of_key(key: &[u8]) -> Option<Address> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix("doc/")?;
    let end = rest.match_indices('/').nth(2)?.0;
    rest[..end].parse().ok()
}

pub(super) fn put_base(
    address: &Address,
    cursor: Cursor,
    proof: Option<&Proof>,
    body: Vec<u8>,
) -> StoreWrite {
    let value = StoredBase { cursor: cursor.into(), proof: proof.cloned(), body };
    put(key(address, "base"), encode_stored(&value))
}

pub(super) fn put_may(address: &Address, may: Capabilities) -> StoreWrite {
    put(key(address, "may"), encode_stored(&may.bits()))
}

pub(super) fn put_settled(address: &Address, settled: u64) -> StoreWrite {
    put(key(address, "settled"), encode_stored(&settled))
}

pub(super) fn put_move(address: &Address, begun: &Move) -> StoreWrite {
    let heads = begun.heads.iter().map(|head| head.0).collect();
    let stored = StoredMove { outbox: begun.outbox.0, heads };
    put(key(address, "outbox"), encode_stored(&stored))
}

pub(super) fn delete_move(address: &Address) -> StoreWrite {
    StoreWrite::Delete { key: key(address, "outbox") }
}

pub(super) fn put_tail<'a>(
    address: &Address,
    cursor: Cursor,
    proof: Option<&Proof>,
    changes: impl IntoIterator<Item = &'a [u8]>,
) -> StoreWrite {
    let changes = changes.into_iter().collect();
    let value = TailToStore { cursor: cursor.into(), proof, changes };
    put(tail_key(address, cursor.seq), encode_stored(&value))
}

pub(super) fn delete_base(address: &Address) -> StoreWrite {
    StoreWrite::Delete { key: key(address, "base") }
}

pub(super) fn delete_tail(address: &Address, seq: u64) -> StoreWrite {
    StoreWrite::Delete { key: tail_key(address, seq) }
}

pub(super) fn put_command(address: &Address, pending: &Pending) -> StoreWrite {
    let value = StoredCommand {
        id: pending.id.0,
        command: serde_json::to_string(&pending.command).unwrap_or_default(),
        change: pending.change.raw_bytes().to_vec(),
        announced: pending.announced,
    };
    put(command_key(address, pending.number), encode_stored(&value))
}

pub(super) fn delete_command(address: &Address, number: u64) -> StoreWrite {
    StoreWrite::Delete { key: command_key(address, number) }
}

/// What the user may do in a document, among what is stored of it.
pub(super) fn read_may(address: &Address, entries: &[(Vec<u8>, Bytes)]) -> Option<Capabilities> {
    let wanted = key(address, "may");
    let (_, value) = entries.iter().find(|(key, _)| *key == wanted)?;
    decode_stored(value).ok().map(Capabilities::from_bits)
}

/// A document as stored.
#[derive(Debug, Default)]
pub(super) struct StoredDocument {
    pub(super) replica: Stored,
    /// The seqs under which parts of its tail are kept.
    pub(super) tails: Vec<u64>,
    /// The outbox that its commands are to leave.
    pub(super) begun: Option<Move>,
}

pub(super) fn read_document(
    address: &Address,
    entries: &[(Vec<u8>, Bytes)],
) -> Result<StoredDocument, LayoutError> {
    let prefix = document_prefix(address);
    let mut stored = Stored::default();
    let mut tails = Vec::new();
    let mut begun = None;
    for (key, value) in entries {
        let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
            continue;
        };
        let rest = std::str::from_utf8(rest).map_err(|_| damaged(key))?;
        if rest == "base" {
            let base: StoredBase = decode_stored(value).map_err(|_| damaged(key))?;
            stored.cursor.get_or_insert(base.cursor.into());
            stored.proof = stored.proof.or(base.proof);
            stored.base = Some(base.body);
        } else if rest == "settled" {
            stored.settled = decode_stored(value).map_err(|_| damaged(key))?;
        } else if rest == "outbox" {
            let found: StoredMove = decode_stored(value).map_err(|_| damaged(key))?;
            let heads = found.heads.into_iter().map(ChangeHash).collect();
            begun = Some(Move { outbox: OutboxId(found.outbox), heads });
        } else if let Some(seq) = rest.strip_prefix("tail/") {
            let tail: StoredTail = decode_stored(value).map_err(|_| damaged(key))?;
            for change in &tail.changes {
                stored.tail.push(parse_change(change).ok_or_else(|| damaged(key))?);
            }
            // Keys are read in order, so the last one has the furthest cursor.
            stored.cursor = Some(tail.cursor.into());
            stored.proof = tail.proof.or(stored.proof);
            tails.push(u64::from_str_radix(seq, 16).map_err(|_| damaged(key))?);
        } else if let Some(number) = rest.strip_prefix("out/") {
            let command: StoredCommand = decode_stored(value)
                .or_else(|_| decode_stored::<FirstStoredCommand>(value).map(Into::into))
                .map_err(|_| damaged(key))?;
            stored.outbox.push(Pending {
                id: Ulid(command.id),
                number: u64::from_str_radix(number, 16).map_err(|_| damaged(key))?,
                command: read_json(&command.command).map_err(|_| damaged(key))?,
                change: parse_change(&command.change).ok_or_else(|| damaged(key))?,
                announced: command.announced,
            });
        }
    }
    for pending in &mut stored.outbox {
        pending.announced |= pending.number <= stored.settled;
    }
    Ok(StoredDocument { replica: stored, tails, begun })
}

/// A change from bytes that nobody vouches for.
pub(super) fn parse_change(bytes: &[u8]) -> Option<Change> {
    reader::read(bytes).ok()?;
    Change::try_from(bytes).ok()
}

fn key(address: &Address, rest: &str) -> Vec<u8> {
    format!("doc/{address}/{rest}").into_bytes()
}

fn tail_key(address: &Address, seq: u64) -> Vec<u8> {
    key(address, &format!("tail/{seq:016x}"))
}

fn command_key(address: &Address, number: u64) -> Vec<u8> {
    key(address, &format!("out/{number:016x}"))
}

fn put(key: Vec<u8>, value: Vec<u8>) -> StoreWrite {
    StoreWrite::Put { key, value: value.into() }
}

fn damaged(key: &[u8]) -> LayoutError {
    LayoutError(String::from_utf8_lossy(key).into_owned())
}

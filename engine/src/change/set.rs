//! Change sets: changes exchanged as one unit, deps first. Each change is read strictly on the way
//! in. Knows nothing of documents, so deps outside of the set are fine.
//!
//! ```text
//! "SLC1" | count (LEB128) | per change: length (LEB128), the bytes of the change
//! ```
//! Changes stand in one order only: those that others in the set depend on first, and of those
//! that could come next the one with the smallest hash. So the same changes are always the same
//! bytes, whatever order they were gathered in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;

use super::input::{Input, write_unsigned};
use super::reader::{Header, ReadError, read};
use crate::codes::Code;
use crate::ids::ChangeHash;

const MAGIC: [u8; 4] = *b"SLC1";
/// An encoded set. Larger histories travel as snapshots.
const SET_BYTES_MAX: usize = 16 << 20;
/// Changes in one set.
const SET_CHANGES_MAX: usize = 1 << 20;

/// Changes can't be made into a set, or bytes are not a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// Not encoded by this format.
    #[error("the bytes do not begin like a change set")]
    Magic,
    /// The encoded set is larger than a set may be.
    #[error("the change set has more than {SET_BYTES_MAX} bytes")]
    TooLarge,
    /// The set has more changes than a set may have.
    #[error("the change set has more than {SET_CHANGES_MAX} changes")]
    TooManyChanges,
    /// The bytes end early, or a length in them is not in its shortest form.
    #[error("the change set is cut off, or one of its lengths is malformed")]
    Malformed,
    /// Bytes are left over after the last change.
    #[error("{0} bytes are left over after the last change")]
    TrailingBytes(usize),
    /// The changes are not in the one order that a set has, or one is repeated.
    #[error("the changes are out of order or repeated")]
    Order,
    /// One of the changes is not acceptable.
    #[error("change {index} of the set: {error}")]
    Change {
        /// Its place in what was given, from 0.
        index: usize,
        /// What is wrong with it.
        error: ReadError,
    },
}

impl SetError {
    /// The stable code by which users know it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Magic | Self::Malformed | Self::TrailingBytes(_) | Self::Order => Code::BadChange,
            Self::TooLarge => Code::ChangeTooLarge,
            Self::TooManyChanges => Code::TooManyChanges,
            Self::Change { error, .. } => error.code(),
        }
    }
}

/// Changes that are exchanged as one unit, each once, deps first.
///
/// ```
/// use syncline_engine::change::ChangeSet;
/// let empty = ChangeSet::from_changes([])?;
/// assert_eq!(ChangeSet::decode(&empty.encode())?, empty);
/// # Ok::<(), syncline_engine::change::SetError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    changes: Vec<(Header, Bytes)>,
}

impl ChangeSet {
    /// Puts changes into the order of a set and drops repetitions.
    ///
    /// # Errors
    /// [`SetError::Change`] if one of them is not acceptable; [`SetError::TooLarge`] or
    /// [`SetError::TooManyChanges`] if together they exceed what a set may hold.
    pub fn from_changes(changes: impl IntoIterator<Item = Bytes>) -> Result<Self, SetError> {
        let mut known: BTreeMap<ChangeHash, (Header, Bytes)> = BTreeMap::new();
        let mut total = MAGIC.len() + number_bytes(SET_CHANGES_MAX);
        for (index, bytes) in changes.into_iter().enumerate() {
            let header = read(&bytes).map_err(|error| SetError::Change { index, error })?;
            if known.contains_key(&header.hash) {
                continue;
            }
            total += number_bytes(bytes.len()) + bytes.len();
            if total > SET_BYTES_MAX {
                return Err(SetError::TooLarge);
            }
            if known.len() == SET_CHANGES_MAX {
                return Err(SetError::TooManyChanges);
            }
            known.insert(header.hash, (header, bytes));
        }
        Ok(Self { changes: in_order(known)? })
    }

    /// Reads an encoded set. It is copied once, whatever lengths it announces.
    ///
    /// # Errors
    /// [`SetError`] if the bytes are not exactly what [`ChangeSet::encode`] makes of some changes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SetError> {
        if bytes.len() > SET_BYTES_MAX {
            return Err(SetError::TooLarge);
        }
        let whole = Bytes::copy_from_slice(bytes);
        let mut input = Input::new(&whole);
        if input.array().map_err(|_| SetError::Magic)? != MAGIC {
            return Err(SetError::Magic);
        }
        let count = input.unsigned().map_err(|_| SetError::Malformed)?;
        if count > SET_CHANGES_MAX as u64 {
            return Err(SetError::TooManyChanges);
        }
        let mut changes = Vec::new();
        for _ in 0..count {
            let length = input.length().map_err(|_| SetError::Malformed)?;
            let change = input.take(length).map_err(|_| SetError::Malformed)?;
            changes.push(whole.slice_ref(change));
        }
        if !input.is_empty() {
            return Err(SetError::TrailingBytes(input.len()));
        }
        let set = Self::from_changes(changes.iter().cloned())?;
        if !set.changes.iter().map(|(_, bytes)| bytes).eq(&changes) {
            return Err(SetError::Order);
        }
        Ok(set)
    }

    /// The bytes of the set.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = MAGIC.to_vec();
        write_unsigned(&mut out, self.changes.len() as u64);
        for (_, change) in &self.changes {
            write_unsigned(&mut out, change.len() as u64);
            out.extend_from_slice(change);
        }
        out.into()
    }

    /// Names the set by its changes: BLAKE3 over their hashes, in the order of the set.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (header, _) in &self.changes {
            hasher.update(&header.hash.0);
        }
        hasher.finalize().into()
    }

    /// Each change, deps first, with what it says about itself.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Header, &Bytes)> {
        self.changes.iter().map(|(header, bytes)| (header, bytes))
    }

    /// How many changes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// How many bytes the length of something takes.
const fn number_bytes(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros();
    if bits == 0 { 1 } else { bits.div_ceil(7) as usize }
}

/// Deps before dependants, and otherwise the smallest hash first.
fn in_order(
    mut known: BTreeMap<ChangeHash, (Header, Bytes)>,
) -> Result<Vec<(Header, Bytes)>, SetError> {
    let mut followers: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
    let mut waits_for: BTreeMap<ChangeHash, usize> = BTreeMap::new();
    let mut ready = BinaryHeap::new();
    for (hash, (header, _)) in &known {
        let inside = header.deps.iter().filter(|dep| known.contains_key(dep));
        let mut count = 0;
        for dep in inside {
            followers.entry(*dep).or_default().push(*hash);
            count += 1;
        }
        if count == 0 {
            ready.push(Reverse(*hash));
        } else {
            waits_for.insert(*hash, count);
        }
    }
    let mut ordered = Vec::with_capacity(known.len());
    while let Some(Reverse(hash)) = ready.pop() {
        ordered.extend(known.remove(&hash));
        for follower in followers.remove(&hash).unwrap_or_default() {
            if let Some(left) = waits_for.get_mut(&follower) {
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(follower));
                }
            }
        }
    }
    // Left over would be changes that depend on each other, which takes a collision of SHA-256.
    if known.is_empty() { Ok(ordered) } else { Err(SetError::Order) }
}

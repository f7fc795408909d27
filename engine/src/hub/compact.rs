//! Makes a snapshot from an older one and the log above it. A pure function that a driver runs in
//! the background, where a panic of automerge or its memory can hurt nobody else; what it makes is
//! loaded again and compared before anybody may rely on it.

use automerge::{Automerge, Change, ReadDoc};
use bytes::Bytes;

use super::attribution::Attribution;
use super::index::Index;
use super::stored::StoredError;
use crate::change::reader::{self, ReadError};
use crate::document::genesis;
use crate::ids::{Address, ChangeHash, Cursor};
use crate::storage::{Record, Snapshot};

/// A snapshot could not be made. The log is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// The older snapshot's index or attribution does not decode.
    #[error("the older snapshot does not decode: {0}")]
    Stored(#[from] StoredError),
    /// The older snapshot's body does not load, or lacks changes.
    #[error("the older snapshot does not load: {0}")]
    Body(String),
    /// The records do not lead from the older snapshot to the position asked for.
    #[error("the records end at {got}, the snapshot should stand for {wanted}")]
    Gap {
        /// The position asked for.
        wanted: u64,
        /// How far the records lead without a gap.
        got: u64,
    },
    /// A stored change does not read.
    #[error("the change with seq {seq} does not read: {error}")]
    Change {
        /// Its place in the log.
        seq: u64,
        /// What is wrong with it.
        error: ReadError,
    },
    /// A stored change is not the one that its entry names.
    #[error("the change with seq {0} is not the one that its entry names")]
    Hash(u64),
    /// Automerge refuses the changes.
    #[error("the changes do not apply: {0}")]
    Apply(String),
    /// What was saved does not load, or has other heads than the log.
    #[error("the new snapshot does not come back as it was: {0}")]
    Verify(String),
}

/// Makes the snapshot that stands for `cursor`, from the snapshot before it (if there is one) and
/// the records above that; records at or below the old snapshot and above `cursor` are passed over.
///
/// # Errors
/// [`CompactError`] says which part is damaged, missing or not accepted by automerge.
pub fn compact(
    address: &Address,
    cursor: Cursor,
    old: Option<&Snapshot>,
    records: &[Record],
) -> Result<Snapshot, CompactError> {
    let mut work = Work::start(address, old)?;
    for record in records {
        if record.last_seq() > work.seq && record.last_seq() <= cursor.seq {
            work.add(record)?;
        }
    }
    let tip = records.iter().find(|r| r.last_seq() == cursor.seq).map(|r| r.tip);
    let reached = if work.seq == cursor.seq { tip.or(old.map(|old| old.cursor.tip)) } else { None };
    if reached != Some(cursor.tip) {
        return Err(CompactError::Gap { wanted: cursor.seq, got: work.seq });
    }
    let (index, attribution) = (work.index.encode(), work.attribution.encode());
    Ok(Snapshot { cursor, body: work.body()?, index, attribution })
}

/// What has been taken in so far.
pub(super) struct Work {
    base: Automerge,
    changes: Vec<Change>,
    index: Index,
    attribution: Attribution,
    seq: u64,
}

impl Work {
    pub(super) fn start(address: &Address, old: Option<&Snapshot>) -> Result<Self, CompactError> {
        let Some(old) = old else {
            let genesis = genesis::change(address);
            let index = Index::new(ChangeHash(genesis.hash().0), genesis.max_op());
            let (base, changes) = (Automerge::new(), vec![genesis]);
            return Ok(Self { base, changes, index, attribution: Attribution::default(), seq: 0 });
        };
        let base = Automerge::load(&old.body).map_err(|e| CompactError::Body(e.to_string()))?;
        let index = Index::decode(&old.index)?;
        if !heads_agree(&base, &index) {
            return Err(CompactError::Body("its heads are not those of its index".to_owned()));
        }
        let attribution = Attribution::decode(&old.attribution)?;
        Ok(Self { base, changes: vec![], index, attribution, seq: old.cursor.seq })
    }

    pub(super) fn add(&mut self, record: &Record) -> Result<(), CompactError> {
        if record.first_seq != self.seq + 1 {
            return Err(CompactError::Gap { wanted: record.last_seq(), got: self.seq });
        }
        for (seq, entry) in (record.first_seq..).zip(&record.entries) {
            // The strict reader goes first, whatever the store says: automerge must not see what
            // it would refuse.
            let header =
                reader::read(&entry.change).map_err(|error| CompactError::Change { seq, error })?;
            if header.hash != entry.hash {
                return Err(CompactError::Hash(seq));
            }
            let change = Change::try_from(&entry.change[..])
                .map_err(|e| CompactError::Apply(e.to_string()))?;
            self.attribution.note(header.actor, header.seq, &entry.author, entry.at);
            self.index.apply(&header, entry.change.len(), entry.command, entry.at);
            self.changes.push(change);
            self.seq = seq;
        }
        Ok(())
    }

    /// The heads of all that was taken in, ascending.
    pub(super) fn heads(&self) -> impl Iterator<Item = ChangeHash> {
        self.index.heads()
    }

    /// The saved form, loaded again and compared.
    pub(super) fn body(mut self) -> Result<Bytes, CompactError> {
        self.base.apply_changes(self.changes).map_err(|e| CompactError::Apply(e.to_string()))?;
        if !heads_agree(&self.base, &self.index) {
            return Err(CompactError::Apply("changes are missing".to_owned()));
        }
        let body = self.base.save();
        let again = Automerge::load(&body).map_err(|e| CompactError::Verify(e.to_string()))?;
        if !heads_agree(&again, &self.index) {
            return Err(CompactError::Verify("other heads".to_owned()));
        }
        Ok(body.into())
    }
}

fn heads_agree(document: &Automerge, index: &Index) -> bool {
    let mut heads: Vec<_> = document.get_heads().iter().map(|head| ChangeHash(head.0)).collect();
    heads.sort_unstable();
    document.get_missing_deps(&[]).is_empty() && index.heads().eq(heads)
}

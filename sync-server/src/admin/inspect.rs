//! What is in a store, without loading any document.

use serde::{Deserialize, Serialize};
use syncline_engine::hub;
use syncline_engine::storage::{Deletion, StoreError};

use super::verify::Problem;
use super::{Listen, TaskError, each_document, hex};
use crate::store::SledStore;

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Bytes on disk of the merged values.
    pub base_bytes: u64,
    /// Bytes on disk of what was written since.
    pub layers_bytes: u64,
    /// Counts the merges of this store.
    pub generation: u64,
    /// The documents, by address.
    pub documents: Vec<DocumentSize>,
    /// Documents that do not read.
    pub damaged: Vec<Problem>,
    /// Spaces of which it is remembered that they were deleted.
    #[serde(default)]
    pub deleted: Vec<DeletedSpace>,
}

/// A space that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeletedSpace {
    /// Its name.
    pub space: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whether all that was in it is gone; a server that starts sees to the rest.
    pub emptied: bool,
}

/// A document in outline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentSize {
    /// Its address.
    pub address: String,
    /// The incarnation of its log.
    pub epoch: String,
    /// The seq of its last change.
    pub seq: u64,
    /// The first seq that can be read as a change.
    pub tail_from: u64,
    /// Bytes of the changes that can be read.
    pub tail_bytes: u64,
    /// For which seq the snapshot stands.
    pub snapshot_seq: Option<u64>,
    /// Bytes of the snapshot.
    pub snapshot_bytes: u64,
    /// Ends of earlier epochs that are kept.
    pub sealed_epochs: usize,
    /// Their bytes.
    pub sealed_bytes: u64,
    /// Actors that have written in this epoch.
    pub actors: usize,
    /// The document's heads at the end of its log.
    pub heads: Vec<String>,
}

pub(super) fn inspect(store: &SledStore, listen: &mut Listen<'_>) -> Result<Inspection, TaskError> {
    let sizes = store.sizes()?;
    let mut found = Inspection {
        base_bytes: sizes.base_bytes,
        layers_bytes: sizes.layers_bytes,
        generation: sizes.generation,
        ..Inspection::default()
    };
    each_document(store, "reading", listen, &mut |address, _| {
        match hub::survey(store, address) {
            Ok(None) => {}
            Ok(Some(survey)) => {
                let head = &survey.head;
                let snapshot = head.snapshot.as_ref();
                found.documents.push(DocumentSize {
                    address: address.to_string(),
                    epoch: head.end.epoch.to_string(),
                    seq: head.end.seq,
                    tail_from: head.tail_from,
                    tail_bytes: head.tail_bytes,
                    snapshot_seq: snapshot.map(|snapshot| snapshot.cursor.seq),
                    snapshot_bytes: snapshot.map_or(0, |snapshot| snapshot.body_bytes),
                    sealed_epochs: head.sealed.len(),
                    sealed_bytes: head.sealed.iter().map(|sealed| sealed.body_bytes).sum(),
                    actors: survey.actors,
                    heads: survey.heads.iter().map(|head| hex(&head.0)).collect(),
                });
            }
            Err(StoreError::Failed(why)) => return Err(StoreError::Failed(why).into()),
            Err(error) => found.damaged.push(Problem::of(address, &error)),
        }
        Ok(())
    })?;
    for (space, Deletion { at, emptied }) in store.deletions()? {
        found.deleted.push(DeletedSpace { space, at_ms: at.0, emptied });
    }
    Ok(found)
}

//! Taking back what the server has lost: changes that it had accepted once, handed in by a client that
//! still has them. Nobody is asked again whether they were allowed, so the client must prove that
//! they were in the log.
//!
//! The proof is a seal over heads ([`crate::storage::record::seal`]), which the server gave with the
//! log. A change names what it builds on by hash, so whoever proves the heads proves everything
//! below them, as long as it comes from the top down; it is taken in from the bottom up, once it is
//! all there.

use std::collections::BTreeSet;

use super::connection::Slot;
use super::document::Live;
use super::index::Index;
use super::{Handle, Hub, Phase};
use crate::change::reader;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, ChangeHash};
use crate::limits::PUSH_CHANGES_MAX;
use crate::storage::record::{DigestKey, Seal, seal};
use crate::wire::frame::{Blob, Proof, Restore, Restored};

/// What a follower has handed back so far.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// Changes that were in the log, and have not come yet (or are still in it).
    vouched: BTreeSet<ChangeHash>,
    /// Those that came, each before those that it builds on.
    changes: Vec<Blob>,
    bytes: u64,
    believed: bool,
    refused: Option<Code>,
}

impl Restoring {
    fn begin(key: &DigestKey, address: &Address, proof: &Proof) -> Self {
        let mut restoring = Self::default();
        let heads: BTreeSet<ChangeHash> = proof.heads.iter().copied().map(ChangeHash).collect();
        if seal(key, address, heads.iter().copied()) == Seal(proof.seal) {
            restoring.vouched = heads;
        }
        restoring
    }

    fn take(&mut self, index: &Index, change: Blob, bytes_max: u64) {
        let header = match reader::read(&change.0) {
            Ok(header) => header,
            Err(error) => return self.refuse(error.code()),
        };
        if !self.vouched.remove(&header.hash) && !self.believed {
            return self.refuse(Code::Unproven);
        }
        // What is in the log is a step on the way to what is not.
        if index.has(&header) {
            self.vouched.extend(header.deps);
            return;
        }
        self.bytes += change.0.len() as u64;
        if self.bytes > bytes_max {
            return self.refuse(Code::DocumentFull);
        }
        self.vouched.extend(header.deps);
        self.changes.push(change);
    }

    fn refuse(&mut self, code: Code) {
        self.refused.get_or_insert(code);
    }
}

impl Hub {
    pub(super) fn restore(&mut self, now: Timestamp, slot: Slot, frame: Restore) {
        let Restore { handle, proof, changes, last } = frame;
        let key = &self.identity.digest_key;
        let believed = self.connections.open(slot).is_some_and(|open| open.credentials.believed);
        let bytes_max = self.config.document_bytes_max;
        let address = self.documents.get(handle).map(|document| document.address.clone());
        let Some(live) = self.documents.live_mut(handle) else {
            return self.unknown_handle(slot, handle);
        };
        let Live { followers, index, .. } = live;
        let (Some(follower), Some(address)) = (followers.get_mut(&slot), address) else {
            return self.unknown_handle(slot, handle);
        };
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        if let Some(proof) = &proof {
            follower.restoring = Some(Restoring::begin(key, &address, proof));
        }
        let restoring = follower.restoring.get_or_insert_default();
        restoring.believed = believed;
        if changes.len() > PUSH_CHANGES_MAX {
            restoring.refuse(Code::TooManyChanges);
        } else {
            for change in changes {
                restoring.take(index, change, bytes_max);
            }
        }
        if !last {
            return;
        }
        let restoring = follower.restoring.take().unwrap_or_default();
        match self.open_gate(handle) {
            Some(asked) => asked.entry(slot).or_default().restore = Some(restoring),
            None => self.take_back(now, slot, handle, restoring),
        }
    }

    /// Takes in what a follower has handed back, the gate being open.
    pub(super) fn take_back(
        &mut self,
        now: Timestamp,
        slot: Slot,
        handle: Handle,
        restoring: Restoring,
    ) {
        let ending = self.documents.live(handle).is_some_and(Live::is_ending);
        if ending || self.follower(slot, handle).is_none() {
            return;
        }
        let Restoring { changes, mut refused, .. } = restoring;
        let mut accepted = 0;
        self.with_intake(now, slot, handle, |intake| {
            for change in changes.iter().rev() {
                match intake.take_back(change) {
                    Ok(was_missing) => accepted += u32::from(was_missing),
                    Err(refusal) => {
                        refused.get_or_insert(refusal.code);
                    }
                }
            }
        });
        let refused = refused.map(Code::number);
        self.notify(handle, slot, Restored { handle, accepted, refused }.into());
        self.check_pending(now, slot);
    }
}

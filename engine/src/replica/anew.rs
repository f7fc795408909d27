//! A log that is read anew, because the server has lost, replaced or compacted what this copy knew of
//! it: what the server lacks is found, and proved to it or let go of.

use std::collections::BTreeSet;

use automerge::{Automerge, AutomergeError, Change, ReadDoc};

use super::epoch::began_by;
use super::{Outcome, Pending, Replica, ReplicaError, Writer, heads_of, load_document};
use crate::document::genesis;
use crate::ids::{ActorId, ChangeHash, Cursor, heads_digest};
use crate::wire::frame::Proof;

impl Replica {
    /// Notes the server's proof of what is accepted at the moment.
    pub fn sealed(&mut self, seal: [u8; 16]) {
        // What the server may have lost is proved by what it gave before.
        if !self.is_starting_over() {
            let heads = self.accepted_heads.iter().map(|head| head.0).collect();
            self.proof = Some(Proof { heads, seal });
        }
    }

    /// The server's last proof, of what is accepted or of an earlier state of it.
    #[must_use]
    pub const fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// Begins to read the server's log anew from its beginning, or from a snapshot: the server
    /// could not serve the cursor. What this replica has accepted before is kept and merged; what
    /// of it the server turns out to lack is told by [`Replica::missing_at_server`].
    ///
    /// # Errors
    /// [`ReplicaError::Document`] if the snapshot does not load or can't be merged with what is
    /// here.
    pub fn start_over(
        &mut self,
        snapshot: Option<&[u8]>,
        cursor: Cursor,
    ) -> Result<Outcome, ReplicaError> {
        if snapshot.is_none() && self.cursor.is_none() && self.received.is_none() {
            // Nothing was ever accepted here, so the server can't lack any of it.
            self.cursor = Some(cursor);
            return Ok(Outcome::default());
        }
        let encoding = self.doc.text_encoding();
        let mut server = match snapshot {
            Some(bytes) => load_document(bytes, encoding)?,
            None => genesis::document(&self.address, encoding),
        };
        let received = server
            .get_changes_meta(&[])
            .iter()
            .map(|meta| ChangeHash(meta.hash.0))
            .collect::<BTreeSet<_>>();
        let mut before = self.take_accepted()?;
        let known = before.get_heads().iter().all(|head| received.contains(&ChangeHash(head.0)));
        // What a log without a snapshot begins with, its first changes tell.
        let elsewhere = snapshot.is_some() && began_by(&before) != began_by(&server);
        // What was pushed on nothing but genesis may be in an epoch that is forgotten.
        let accepted = if elsewhere && (!known || self.leased_author().is_some()) {
            return Ok(self.begin_elsewhere(server, cursor, received));
        } else if known {
            server
        } else {
            let mut accepted = before.clone();
            if accepted.merge(&mut server).is_err() {
                // What this copy has accepted once can't stand beside what the server has by now.
                self.apart = Some(before);
                self.cursor = Some(cursor);
                let outcome = self.keep_only(&BTreeSet::new(), Some(server));
                self.received = Some(received);
                return outcome;
            }
            accepted
        };
        self.accepted_heads = heads_of(&accepted);
        let (arrived, _): (Vec<_>, Vec<_>) =
            self.pending.iter().partition(|pending| received.contains(&pending.hash()));
        before.apply_changes(arrived.iter().map(|pending| pending.change.clone()))?;
        let arrived: Vec<ChangeHash> = arrived.into_iter().map(Pending::hash).collect();
        let mut outcome = Outcome::default();
        for hash in arrived {
            self.arrived(hash, &mut outcome);
        }
        self.cursor = Some(cursor);
        self.received = Some(received);
        let mut doc = accepted.clone().with_actor(self.doc.get_actor().clone());
        if doc.apply_changes(self.pending.iter().map(|p| p.change.clone())).is_ok() {
            self.doc = doc;
            self.apart = (!self.pending.is_empty()).then_some(accepted);
            outcome.events = self.look_again();
            self.drop_apart_if_same();
        } else {
            // Another copy of this store has written something else under the same actor.
            self.writer = Writer::Provisional;
            self.apart = Some(before);
            outcome.join(self.rewrite(None, Some(accepted.into()))?);
        }
        Ok(outcome)
    }

    /// The digest of the heads that were made of the log up to the cursor.
    #[must_use]
    pub fn heads_digest(&self) -> [u8; 16] {
        // What is pending would show in the document's own heads.
        if self.pending.is_empty() {
            heads_digest(heads_of(&self.doc))
        } else {
            heads_digest(self.accepted_heads.iter().copied())
        }
    }

    /// Notes that what is here is not what the log makes: the cursor stands for nothing, and the
    /// log has to be read anew.
    pub fn distrust(&mut self) {
        self.received = Some(BTreeSet::new());
    }

    /// Whether the log is being read anew and it is not known yet what the server lacks.
    #[must_use]
    pub const fn is_starting_over(&self) -> bool {
        self.received.is_some()
    }

    /// After [`Replica::start_over`], once caught up: the accepted changes that the server does not
    /// have, deps first.
    #[must_use]
    pub fn missing_at_server(&self) -> Vec<Change> {
        let Some(received) = &self.received else {
            return Vec::new();
        };
        // What was acknowledged since the document was opened, the log brings after what was read.
        let to_come: BTreeSet<ChangeHash> =
            self.pending.iter().filter(|p| p.number > self.reconciled).map(Pending::hash).collect();
        // Nearly always nothing is missing, and only changes that are have to be built.
        self.doc
            .get_changes_meta(&[])
            .iter()
            .filter(|meta| {
                let hash = ChangeHash(meta.hash.0);
                !received.contains(&hash)
                    && !to_come.contains(&hash)
                    && meta.actor.to_bytes() != ActorId::GENESIS.0
            })
            .filter_map(|meta| self.doc.get_change_by_hash(&meta.hash))
            .collect()
    }

    /// Lets go of the accepted changes that the server does not have and does not take back. What is
    /// unsettled is written down again without them.
    ///
    /// # Errors
    /// What automerge refused.
    pub fn drop_missing(&mut self) -> Result<Outcome, ReplicaError> {
        let Some(received) = self.received.take() else {
            return Ok(Outcome::default());
        };
        self.keep_only(&received, None)
    }

    /// Lets go of what is neither settled nor among these, and goes on from what is left, or from
    /// another document.
    pub(super) fn keep_only(
        &mut self,
        received: &BTreeSet<ChangeHash>,
        instead: Option<Automerge>,
    ) -> Result<Outcome, ReplicaError> {
        // Others may still have what is dropped: its actor's next seqs are taken.
        if matches!(self.writer, Writer::Lapsed { .. }) {
            self.writer = Writer::Provisional;
        }
        let onto = match instead {
            Some(onto) => onto,
            None => self.only(received)?,
        };
        let heads = heads_of(&onto);
        let outcome = self.rewrite(None, Some(onto.into()))?;
        self.accepted_heads = heads;
        self.proof = None;
        Ok(outcome)
    }

    /// A document of what is settled and of these.
    fn only(&self, received: &BTreeSet<ChangeHash>) -> Result<Automerge, AutomergeError> {
        let settled = self.pending.iter().filter(|p| p.number <= self.settled).map(Pending::hash);
        let known: BTreeSet<ChangeHash> = settled.chain(received.iter().copied()).collect();
        let mut changes = self.doc.get_changes(&[]);
        changes.retain(|change| {
            let is_genesis = change.actor_id().to_bytes() == ActorId::GENESIS.0;
            !is_genesis && known.contains(&ChangeHash(change.hash().0))
        });
        genesis::document_with(&self.address, changes, self.doc.text_encoding())
    }

    /// Notes that the server has everything that is accepted here.
    pub fn finish_starting_over(&mut self) {
        self.received = None;
    }
}

//! What must be true of the whole world. Stupid on purpose: a ledger of what was made durable, and
//! one document that merges it all.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, TextEncoding};
use syncline_engine::document::{View, genesis};
use syncline_engine::ids::Address;

/// Everything that any server ever made durable.
#[derive(Debug, Default)]
pub struct Ledger {
    /// (document, actor, seq) names one change in the whole world, for ever.
    names: BTreeMap<(Address, Vec<u8>, u64), [u8; 32]>,
    changes: BTreeMap<Address, Vec<Change>>,
    known: BTreeSet<(Address, [u8; 32])>,
    /// What was wrong, in words.
    pub violations: Vec<String>,
}

impl Ledger {
    /// Notes a change that became durable.
    pub fn durable(&mut self, address: &Address, bytes: &[u8]) {
        let Ok(change) = Change::try_from(bytes) else {
            self.violations.push(format!("{address}: a durable change does not parse"));
            return;
        };
        let hash = change.hash().0;
        let name = (address.clone(), change.actor_id().to_bytes().to_vec(), change.seq());
        if let Some(other) = self.names.insert(name, hash)
            && other != hash
        {
            self.violations.push(format!(
                "{address}: {} seq {} names two changes",
                change.actor_id(),
                change.seq()
            ));
        }
        if self.known.insert((address.clone(), hash)) {
            self.changes.entry(address.clone()).or_default().push(change);
        }
    }

    /// What everyone should see in the end.
    pub fn expected(&mut self, address: &Address) -> (View, Automerge) {
        let mut doc = genesis::document(address, TextEncoding::UnicodeCodePoint);
        let changes = self.changes.get(address).cloned().unwrap_or_default();
        if let Err(error) = doc.apply_changes(changes) {
            self.violations.push(format!("{address}: what is durable does not merge: {error}"));
        }
        (View::read(address.facet(), &doc), doc)
    }
}

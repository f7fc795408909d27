//! The simulated server: a hub and the store under it, which outlives it.

use syncline_engine::gate;
use syncline_engine::hub::{
    Config, Hub, Identity, Loaded, Rulebook, compact, index, load, rules, snapshot,
};
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{Append, LogHead, LogStore, StoreError};
use syncline_server::store::MemoryStore;

pub(super) struct Server {
    pub(super) store: MemoryStore,
    /// Ownership terms that were ever given out, the highest.
    term: u64,
    pub(super) hub: Option<Hub>,
    /// The commit under way: durable or not is not known until it ends.
    pub(super) committing: Option<Vec<Append>>,
    pub(super) config: Config,
    pub(super) life: u64,
}

impl Server {
    pub(super) fn new(config: Config) -> Self {
        Self { store: MemoryStore::new(), term: 0, hub: None, committing: None, config, life: 0 }
    }

    /// Starts a hub on the store. The term is above every earlier one because the clock is.
    pub(super) fn start(&mut self, now_ms: u64) {
        self.term = (self.term + 1).max(now_ms);
        let digest_key = DigestKey([7; 32]);
        self.hub = Some(Hub::new(self.config, Identity { term: self.term, digest_key }));
        self.life += 1;
    }

    /// The process dies. The commit under way reached the disk, or it did not.
    pub(super) fn crash(&mut self, reached: bool) -> Option<Vec<Append>> {
        self.hub = None;
        let appends = self.committing.take()?;
        if reached {
            self.store.append(&appends).ok()?;
            return Some(appends);
        }
        None
    }

    pub(super) fn load(&self, address: &Address) -> Result<Loaded, StoreError> {
        load(&self.store, address)
    }

    pub(super) fn rules(&self, space: &str) -> Result<Box<Rulebook>, StoreError> {
        rules(&self.store, space)
    }

    pub(super) fn index(&self, address: &Address) -> Result<Box<gate::Index>, StoreError> {
        index(&self.store, address)
    }

    pub(super) fn compact(
        &self,
        address: &Address,
        cursor: Cursor,
        keep_from: u64,
    ) -> Result<LogHead, StoreError> {
        let failed = |why: String| StoreError::Failed(why);
        let old = snapshot(&self.store, address)?;
        let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
        let records = self.store.read(address, from_seq, usize::MAX)?;
        let snapshot = compact(address, cursor, old.as_ref(), &records)
            .map_err(|error| failed(error.to_string()))?;
        self.store.put_snapshot(address, &snapshot, keep_from)?;
        self.store.head(address)?.ok_or_else(|| failed("the log is gone".to_owned()))
    }
}

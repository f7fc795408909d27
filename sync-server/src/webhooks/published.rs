//! The log store as the hub's driver uses it when there are receivers: it says what has become durable,
//! and keeps for them what is about to be dropped. Decides nothing else.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::storage::{
    Append, Deletion, LogHead, LogStore, PostsWanted, Record, Rollover, Snapshot, StoreError,
};
use syncline_engine::summary::{Brought, Summary};

use super::Shared;
use super::reader::{open_at, tell_all};

/// Bytes of changes that go into one file of the spool.
const STRETCH_BYTES: usize = 256 << 10;

/// A [`LogStore`] around another.
pub(super) struct Published {
    pub(super) shared: Arc<Shared>,
}

impl Published {
    fn inner(&self) -> &dyn LogStore {
        &*self.shared.source.store
    }

    /// Keeps what lies below a seq for those receivers that have not had it. Whatever goes wrong here
    /// does not stop the log: who lacks something is told that it is gone.
    fn keep(&self, address: &Address, below: u64) {
        let kept = catch_unwind(AssertUnwindSafe(|| self.keep_below(address, below)));
        let what = match kept {
            Ok(Ok(())) => return,
            Ok(Err(what)) => what,
            Err(_) => "telling it panicked".to_owned(),
        };
        tracing::error!(%address, what, "events are dropped that a webhook has not had");
    }

    fn keep_below(&self, address: &Address, below: u64) -> Result<(), String> {
        let Shared { source, ledger, .. } = &*self.shared;
        let told = |error: StoreError| error.to_string();
        let Some(head) = source.store.head(address).map_err(told)? else { return Ok(()) };
        let last = below.saturating_sub(1).min(head.end.seq);
        let mut needing = BTreeMap::new();
        let mut from = last;
        for (index, webhook) in self.shared.tracking(address) {
            let place = ledger.place(&webhook.name, address).map_err(|e| e.to_string())?;
            let seq = place.map_or(0, |place| place.seq);
            if seq < last {
                needing.insert(index, webhook.spool_bytes);
                from = from.min(seq);
            }
        }
        let spooled = source.spool.last_seq(address, head.end.epoch).unwrap_or(0);
        from = from.max(spooled).max(head.tail_from.saturating_sub(1));
        // Nothing of what is dropped may be sent again only because a place was not on disk.
        ledger.sync().map_err(|error| error.to_string())?;
        if needing.is_empty() || from >= last {
            return Ok(());
        }
        let mut chronicle = open_at(source, address, from).map_err(told)?;
        while chronicle.seq() < last && !needing.is_empty() {
            let seq = chronicle.seq();
            let mut records = source.store.read(address, seq + 1, STRETCH_BYTES).map_err(told)?;
            records.retain(|record| record.last_seq() <= last);
            if records.is_empty() {
                break;
            }
            let (stretch, after) =
                tell_all(address, head.end.epoch, chronicle, &records).map_err(told)?;
            chronicle = after;
            let full = source.spool.keep(address, &stretch, &needing);
            for webhook in full.map_err(|error| error.to_string())? {
                tracing::warn!(%address, webhook = self.shared.webhooks[webhook].name,
                    "the spool is full; the webhook will be told that entries are gone");
                needing.remove(&webhook);
            }
        }
        // A receiver may have had some of it meanwhile.
        for (index, webhook) in self.shared.tracking(address) {
            if let Ok(Some(place)) = ledger.place(&webhook.name, address) {
                source.spool.settle(index, address, place.seq);
            }
        }
        Ok(())
    }
}

impl LogStore for Published {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.inner().append(batch)?;
        for append in batch {
            self.shared.durable(&append.address);
        }
        Ok(())
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.inner().head(address)
    }

    fn read(&self, at: &Address, from: u64, bytes_max: usize) -> Result<Vec<Record>, StoreError> {
        self.inner().read(at, from, bytes_max)
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        self.inner().read_snapshot(address, cursor, offset, bytes_max)
    }

    fn read_attribution(&self, at: &Address, to: Cursor) -> Result<Option<Bytes>, StoreError> {
        self.inner().read_attribution(at, to)
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        self.keep(address, keep_from.min(snapshot.cursor.seq.saturating_add(1)));
        self.inner().put_snapshot(address, snapshot, keep_from)
    }

    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        self.keep(address, u64::MAX);
        self.inner().roll_over(address, rollover, keep_since)
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        self.inner().list(after, limit)
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        self.inner().posts(space, wanted)
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.inner().put_summary(address, brought)
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        self.inner().is_summarised(space)
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.inner().set_summarised(space)
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        self.inner().deletion(space)
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.inner().set_deletion(space, deletion)
    }
}

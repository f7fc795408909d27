//! The server's logs: an embedded one on disk, one in memory, and the thread that commits to
//! either. Nothing here knows connections, documents' content or the hub's decisions; what a log
//! must keep is stated in [`syncline_engine::storage`].

pub mod committer;
pub mod memory;
pub mod sled;

pub use committer::{Commit, Committer};
pub use memory::MemoryStore;
pub use sled::{OpenError, SledOptions, SledStore};

use syncline_engine::ids::{Cursor, Epoch};
use syncline_engine::storage::Record;

/// Whether a record goes on exactly where a log ends.
fn continues(end: Cursor, epoch: Epoch, record: &Record) -> bool {
    end.epoch == epoch
        && end.seq.checked_add(1) == Some(record.first_seq)
        && end.tip == record.tip_before
        && !record.entries.is_empty()
}

//! The server's logs: an embedded one on disk, one in memory, and the thread that commits to
//! either. Nothing here knows connections, documents' content or the hub's decisions; what a log
//! must keep is stated in [`syncline_engine::storage`].

pub mod committer;
pub mod memory;
pub mod sled;

pub use committer::{Commit, Committer};
pub use memory::MemoryStore;
pub use sled::{
    CheckedValues, CopyError, Import, Merging, OpenError, RenewError, Renewed, Sizes, SledOptions,
    SledStore,
};

//! A change as bytes: the strict, bounded reader of automerge's change format, and change sets.
//!
//! Nothing here knows what a document means or who may write it: that a change was read says that
//! its bytes are well formed and small, not that it fits a document.

pub mod reader;
pub mod set;

mod columns;
mod input;

pub use reader::{Action, Header, Key, Op, OpId, Operations, ReadError, Value, operations, read};
pub use set::{ChangeSet, SetError};

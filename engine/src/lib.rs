//! The pure core of Syncline: what a document is, how its changes are written down, exchanged and
//! merged, and the two protocol machines (client [`session`], server [`hub`]).
//!
//! Nothing in this crate opens a socket or a file, starts a thread, or reads a clock: time,
//! randomness and ids come in as inputs, so the native client, the browser, the server and the
//! simulator run the very same logic.

pub mod change;
pub mod chronicle;
pub mod clock;
pub mod codes;
pub mod document;
pub mod gate;
pub mod hub;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod policy;
pub mod presence;
pub mod rate;
pub mod read_json;
pub mod reading;
pub mod replica;
pub mod session;
pub mod storage;
pub mod stream;
pub mod summary;
pub mod wire;

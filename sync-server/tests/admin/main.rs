//! What operators do with the data: on closed directories through the library, and through the binary
//! on closed directories and running servers. All documents are real.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it where they stand")]

mod library;
mod process;

mod world;

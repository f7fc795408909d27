//! Feeds `src/merge_convergence.rs`, which says what must hold.
#![no_main]

#[path = "../src/merge_convergence.rs"]
mod merge_convergence;

libfuzzer_sys::fuzz_target!(|data: &[u8]| merge_convergence::run(data));

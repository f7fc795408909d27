//! Feeds `src/replica.rs`, which says what must hold.
#![no_main]

#[path = "../src/replica.rs"]
mod replica;

libfuzzer_sys::fuzz_target!(|data: &[u8]| replica::run(data));

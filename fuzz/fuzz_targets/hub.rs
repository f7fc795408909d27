//! Feeds `src/hub.rs`, which says what must hold.
#![no_main]

#[path = "../src/hub.rs"]
mod hub;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::run(data));

//! Feeds `src/gate.rs`, which says what must hold.
#![no_main]

#[path = "../src/gate.rs"]
mod gate;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gate::run(data));

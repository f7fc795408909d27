//! Feeds `src/decode_frame.rs`, which says what must hold.
#![no_main]

#[path = "../src/decode_frame.rs"]
mod decode_frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decode_frame::run(data));

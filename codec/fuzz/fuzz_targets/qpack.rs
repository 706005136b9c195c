//! See `codec/tests/corpus/mod.rs`: `cargo test` replays the corpus through the same function.

#![no_main]

#[path = "../../tests/corpus/mod.rs"]
mod corpus;

libfuzzer_sys::fuzz_target!(|data: &[u8]| corpus::qpack(data));

//! Any octets as what another process says while one replaces the other.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ringway::handover::fuzz::messages(octets));

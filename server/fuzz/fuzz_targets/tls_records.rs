//! Any octets as an established TLS session's records, and as the records that it seals.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ringway::tls::fuzz::records(octets));

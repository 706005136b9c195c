//! Any octets as the streams of an HTTP/3 client.
#![no_main]

#[path = "../../tests/chosen/mod.rs"]
mod chosen;
#[path = "../../tests/h3/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    drive::any_input(octets);
});

//! Any octets against an HTTP/2 connection with an application behind it.
#![no_main]

#[path = "../../tests/chosen/mod.rs"]
mod chosen;
#[path = "../../tests/h2/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| drive::any_input(octets));

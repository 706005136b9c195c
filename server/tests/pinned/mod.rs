//! A server whose certificate Chromium trusts, by the hash of its key: it takes HTTP/3 then. Not in
//! the harness, which other crates' tests use too, and they have nothing that makes certificates.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::PublicKeyData;

use super::harness::TempDir;
use super::harness::browser::Way;
use super::harness::process::Process;

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    text
}

/// A server with HTTP/3, and how Chromium comes to it by that alone.
pub(crate) fn over_http3(root: &Path, more: &[&str]) -> (Process, Way) {
    let keys = TempDir::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    keys.write("key.pem", made.signing_key.serialize_pem().as_bytes());
    keys.write("cert.pem", made.cert.pem().as_bytes());
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let listen = ["--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log", "combined"];
    let options = [&listen[..], &["--cert", &cert, "--key", &key], more].concat();
    let server = Process::serve(root, &options);
    server.wait_for("h3,metrics");
    let public = digest(&SHA256, &made.signing_key.subject_public_key_info());
    let way = Way::http3(&server, &base64(public.as_ref()));
    (server, way)
}

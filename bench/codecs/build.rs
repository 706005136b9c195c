//! Finds the C peers of the codec benchmarks: the system's libnghttp2, and ls-qpack from
//! fetch-peers.sh. A benchmark reports missing peers.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(nghttp2)");
    println!("cargo::rustc-check-cfg=cfg(lsqpack)");
    println!("cargo::rustc-check-cfg=cfg(picohttpparser)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../peers/lsqpack.c");
    let found = Command::new("pkg-config").args(["--exists", "libnghttp2"]).status();
    if found.is_ok_and(|status| status.success()) {
        println!("cargo::rustc-cfg=nghttp2");
    }
    let source = Path::new("../../target/peers/pylsqpack/vendor/ls-qpack");
    println!("cargo::rerun-if-changed={}", source.display());
    if source.join("lsqpack.c").exists() {
        // DEVEL_MODE makes the Huffman decoder an ordinary function; it changes nothing else there.
        cc::Build::new()
            .files([source.join("lsqpack.c"), source.join("deps/xxhash/xxhash.c")])
            .file("../peers/lsqpack.c")
            .includes([source.to_path_buf(), source.join("deps/xxhash")])
            .define("NDEBUG", None)
            .define("LSQPACK_DEVEL_MODE", "1")
            .flag("-std=gnu99")
            .opt_level(3)
            .warnings(false)
            .compile("lsqpack");
        println!("cargo::rustc-cfg=lsqpack");
    }
    let source = Path::new("../../target/peers/gunicorn_h1c/src/gunicorn_h1c/picohttpparser");
    println!("cargo::rerun-if-changed={}", source.display());
    if source.join("picohttpparser.c").exists() {
        // SSE 4.2 is its fast path; it has no run-time detection.
        cc::Build::new()
            .file(source.join("picohttpparser.c"))
            .flag("-msse4.2")
            .opt_level(3)
            .compile("picohttpparser");
        println!("cargo::rustc-cfg=picohttpparser");
    }
}

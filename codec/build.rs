//! AVX-512 intrinsics are stable from Rust 1.89 on; this crate builds from 1.85 on, without them
//! before that.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(ringway_avx512)");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let text = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    if text.is_ok_and(|text| minor(&text).is_some_and(|minor| minor >= 89)) {
        println!("cargo::rustc-cfg=ringway_avx512");
    }
}

/// 89 of `rustc 1.89.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

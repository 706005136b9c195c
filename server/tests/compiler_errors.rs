//! The compiler's messages when a route gets something that is not a handler.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use harness::{TempDir, missing};

/// The library that this test was linked with: the newest in its folder.
fn library() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let changed = |path: &Path| {
        path.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = std::fs::read_dir(own.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let libraries = paths.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libringway-") && name.ends_with(".rlib")
    });
    libraries.max_by_key(|path| changed(path))
}

/// The compiler's messages for a program that uses the library; empty if it compiles.
fn compile(program: &str) -> Option<String> {
    let Some(library) = library() else {
        missing("the library's rlib");
        return None;
    };
    let dir = TempDir::with(&[("main.rs", program.as_bytes())]);
    let deps = library.parent().unwrap().to_path_buf();
    let done = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--extern"])
        .arg(format!("ringway={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--out-dir")
        .arg(dir.path())
        .arg(dir.path().join("main.rs"))
        .output();
    let Ok(done) = done else {
        missing("rustc");
        return None;
    };
    Some(String::from_utf8_lossy(&done.stderr).into_owned())
}

fn route(handler: &str) -> String {
    format!(
        "#![allow(unused_imports)]\nuse ringway::{{OwnedRequest, Request, Response, Router}};\n\
         pub fn app() -> Router {{ Router::new().get(\"/\", {handler}) }}\n"
    )
}

#[test]
fn p11_a_wrong_handler_is_told_what_is_taken() {
    for wrong in ["42", "\"text\"", "|_: u8| Response::text(\"\")", "Response::text(\"\")"] {
        let Some(said) = compile(&route(wrong)) else { return };
        assert!(said.contains("is not a handler"), "{wrong}: {said}");
        for taken in
            ["|request: &Request|", "async |request: OwnedRequest|", "implements `Handler`"]
        {
            assert!(said.contains(taken), "{wrong}: {said}");
        }
    }
}

#[test]
fn p11_what_a_route_takes_compiles() {
    for handler in [
        "|_: &Request| Response::text(\"\")",
        "|_: &Request| \"text\"",
        "async |_: OwnedRequest| ringway::StatusCode::NO_CONTENT",
        "|request: &Request| -> Result<Response, ringway::Rejection> { \
         Ok(Response::json(&request.json::<Vec<u8>>()?)) }",
    ] {
        let Some(said) = compile(&route(handler)) else { return };
        assert_eq!(said, "", "{handler}");
    }
}

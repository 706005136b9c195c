//! Not a benchmark: prints the results of the others. cargo runs them in order of name, this one
//! last.

#![allow(missing_docs, reason = "a benchmark")]

use std::io;
use std::path::{Path, PathBuf};

use ringway_bench_codecs::{machine, results, targets};

const BEGIN: &str = "<!-- codecs: bench/results/codecs.md -->\n";
const END: &str = "<!-- /codecs -->";

const INTRO: &str = "\
Written by `RINGWAY_WRITE=1 cargo bench`: nanoseconds of the fastest of 20 samples, in brackets each
peer's time over ours, in the order of the peers' columns.
";

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let rows = results::read(&target.join("criterion"));
    if rows.is_empty() {
        return Err(io::Error::other("nothing was measured yet: run the other benchmarks first"));
    }
    let (machine, table) = (machine::line(), targets::table(&rows));
    let all = results::tables(&rows);
    println!("\n{machine}\n{all}\n{table}");
    if std::env::var_os("RINGWAY_WRITE").is_some() {
        let text = format!("# Codecs beside their peers\n\n{INTRO}\n{machine}\n{all}");
        std::fs::write(root.join("bench/results/codecs.md"), text)?;
        write_readme(&root.join("bench/README.md"), &format!("{machine}\n\n{table}"))?;
    }
    Ok(())
}

/// Writes the table between the marks in bench/README.md.
fn write_readme(file: &Path, table: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let found = text.find(BEGIN).and_then(|at| {
        let (head, rest) = text.split_at(at + BEGIN.len());
        Some((head, rest.get(rest.find(END)?..)?))
    });
    let (head, tail) =
        found.ok_or_else(|| io::Error::other("bench/README.md has no marks for it"))?;
    std::fs::write(file, format!("{head}\n{table}\n{tail}"))
}

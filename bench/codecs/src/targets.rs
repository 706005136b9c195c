//! The targets of each codec and the measured results: the table of bench/README.md.

use std::fmt::Write as _;

use crate::results::Rows;

/// Octets that a run of the Huffman benchmarks decodes or encodes: a browser's ten values.
pub const HUFFMAN_OCTETS: u64 = 522;

/// A target.
#[derive(Clone, Copy)]
enum Goal {
    /// This peer's time divided by ours.
    Times(&'static str),
    /// Gigabytes of decoded text a second.
    Rate,
    /// At most this many nanoseconds, with any instruction set.
    Nanos,
}

struct Target {
    /// The benchmark. If the peer was measured in another one, that follows after a `|`.
    row: String,
    goal: Goal,
    /// With AVX-512, and with AVX2.
    least: [f64; 2],
}

fn targets() -> Vec<Target> {
    use Goal::{Nanos, Rate, Times};
    let target = |row: &str, goal, least| Target { row: row.to_string(), goal, least };
    let mut all = vec![
        target("h1-request-47", Times("httparse"), [2.0, 2.0]),
        target("h1-request-382", Times("httparse"), [3.0, 2.0]),
        target("h1-request-703", Times("httparse"), [3.0, 2.0]),
        target("h1-request-2048", Times("httparse"), [3.0, 2.0]),
        target("h1-response", Nanos, [20.0; 2]),
        target("huffman decode", Rate, [0.7; 2]),
        target("huffman decode", Times("ls-qpack"), [1.5; 2]),
        target("huffman decode", Times("octets"), [3.0; 2]),
        target("huffman encode", Rate, [1.8; 2]),
        target("huffman encode", Times("ls-qpack"), [1.5; 2]),
    ];
    for list in ["request", "response"] {
        for way in ["decode", "encode"] {
            for (kind, least) in [("steady", 3.0), ("first", 3.0), ("literal", 2.0)] {
                let row = format!("hpack {list} {way} {kind}");
                all.push(Target { row, goal: Times("nghttp2"), least: [least; 2] });
            }
        }
        for way in ["decode", "encode"] {
            let alone = format!("qpack {list} {way} static");
            let steady = format!("qpack {list} {way} dynamic|{alone}");
            for row in [alone, steady] {
                all.push(Target { row, goal: Times("quiche"), least: [3.0; 2] });
            }
        }
    }
    all
}

/// A line for each target with measurements.
pub fn table(rows: &Rows) -> String {
    let mut text =
        String::from("| work | measure | target | AVX-512 | AVX2 |\n|---|---|---|---|---|\n");
    for target in targets() {
        let cell = |at: usize, simd: &str| {
            let Some(figure) = target.figure(rows, simd) else { return "–".to_string() };
            let is_met = match target.goal {
                Goal::Nanos => figure <= target.least[at],
                _ => figure >= target.least[at],
            };
            format!("{figure:.2}{}", if is_met { "" } else { " (missed)" })
        };
        let cells = [cell(0, "ringway avx512"), cell(1, "ringway avx2")];
        if cells.iter().all(|cell| cell == "–") {
            continue;
        }
        let measure = match target.goal {
            Goal::Times(peer) => format!("time of {peer} ÷ ours"),
            Goal::Rate => "GB/s of text".to_string(),
            Goal::Nanos => "ns".to_string(),
        };
        let [avx512, avx2] = target.least;
        let mut least =
            format!("{} {avx512}", if matches!(target.goal, Goal::Nanos) { "≤" } else { "≥" });
        if avx2 != avx512 {
            let _ = write!(least, ", {avx2}");
        }
        let work = target.row.split('|').next().unwrap_or_default();
        let _ = writeln!(text, "| {work} | {measure} | {least} | {} | {} |", cells[0], cells[1]);
    }
    text
}

impl Target {
    fn figure(&self, rows: &Rows, simd: &str) -> Option<f64> {
        let (row, peer_row) = self.row.split_once('|').unwrap_or((&self.row, &self.row));
        let times = rows.get(row)?;
        Some(match self.goal {
            Goal::Times(peer) => rows.get(peer_row)?.get(peer)? / times.get(simd)?,
            Goal::Rate => HUFFMAN_OCTETS as f64 / times.get(simd)?,
            Goal::Nanos => *times.get("ringway template")?,
        })
    }
}

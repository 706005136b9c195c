//! `ringway version`: the version; with `-v` also build details and the machine.

use std::fmt::Write;

/// One line; with `verbose` one further line per fact.
pub(crate) fn text(verbose: bool) -> String {
    let mut out = format!("ringway {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        let facts = [
            ("built for", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
            ("allocator", "mimalloc".to_owned()),
            ("kernel", release.map_or("unknown".into(), |text| text.trim().to_owned())),
        ];
        for (name, value) in facts {
            let _ = writeln!(out, "  {name:<10} {value}");
        }
    }
    out
}

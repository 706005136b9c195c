//! The `ringway` command. Everything it can do is in `cli`; everything it serves with is in the
//! library.

mod cli;

use std::process::ExitCode;

// AddressSanitizer watches the system's allocator only (`scripts/harden.sh asan-server`).
#[cfg(not(ringway_asan))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os().skip(1)).into()
}

//! The `ringway` command. Everything it can do is in `cli`; everything it serves with is in the
//! library.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os().skip(1)).into()
}

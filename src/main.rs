//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    osproxy_directives::cli::Cli::from_process().run()
}

//! The binary: everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    osproxy_directives::cli::Cli::parse().run()
}

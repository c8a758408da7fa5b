//! The binary: everything is in the library.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    osproxy_directives::cli::Cli::parse().run()
}

//! `osproxy-directives completion`: what a shell needs to complete the command line.

use std::io;

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

/// Print what a shell needs to complete this command line.
///
/// In bash: `source <(osproxy-directives completion bash)`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which shell.
    shell: Known,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for `command` to standard output.
pub(super) fn run(arguments: &Arguments, mut command: Command) {
    let shell = match arguments.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    generate(shell, &mut command, super::NAME, &mut io::stdout().lock());
}

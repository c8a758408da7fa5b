//! `osproxy-directives completion`: what a shell needs to complete the command line.

use std::io::{self, Write as _};

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

use super::exit::{self, Failure};

/// Print what a shell needs to complete this command line.
///
/// In bash: `source <(osproxy-directives completion bash)`.
///
/// As a plugin of kubectl it needs no script of its own: link this program as `kubectl-diag` and as `kubectl_complete-diag` somewhere in PATH,
/// and kubectl's own completion asks it.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
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
///
/// # Errors
/// Where that cannot be written to.
pub(super) fn run(arguments: &Arguments, mut command: Command) -> Result<u8, Failure> {
    let shell = match arguments.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    // Not to standard output itself: there it would panic where nobody reads to the end.
    let mut script = Vec::new();
    generate(shell, &mut command, super::NAME, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(exit::YES)
}

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
pub(super) fn run(arguments: &Arguments, command: &Command) -> Result<u8, Failure> {
    let script = script(arguments.shell, command);
    io::stdout().lock().write_all(&script)?;
    Ok(exit::YES)
}

/// Not written to standard output by `clap_complete`, which panics where nobody reads to the end.
fn script(shell: Known, command: &Command) -> Vec<u8> {
    let shell = match shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut shown(command), super::NAME, &mut script);
    script
}

/// `command` without what its help does not show either: `clap_complete` would offer that too.
fn shown(command: &Command) -> Command {
    let subcommands = command.get_subcommands();
    Command::new(super::NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(command.get_arguments().cloned())
        .subcommands(subcommands.filter(|known| !known.is_hide_set()).cloned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_shown_command_is_completed_and_no_other() {
        let command = Cli::command();
        for (shell, before, behind) in [
            (Known::Bash, "osproxy__directives,", ")\n"),
            (Known::Zsh, "(", ")\n"),
            (
                Known::Fish,
                "__fish_osproxy_directives_needs_command\" -f -a \"",
                "\"",
            ),
        ] {
            let script = String::from_utf8(script(shell, &command)).unwrap();
            for known in command.get_subcommands() {
                let offered = format!("{before}{}{behind}", known.get_name());
                let is_offered = script.contains(&offered);
                assert_eq!(is_offered, !known.is_hide_set(), "{shell:?}: {offered}");
            }
        }
    }
}

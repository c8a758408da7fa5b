//! The command line: one file a command.
//!
//! What speaks to the API server alone takes kubectl's own flags (`kube`); what speaks to etcd takes `--etcd-endpoints` (`etcd`). Data
//! goes to standard output, progress and errors to standard error, and `exit` says how a command ends. What is shown is a function of
//! the objects and the time, in pure files (`standing`, `status/view`); the rest fetches and prints.

mod adopt;
mod check;
mod complete;
mod completion;
mod crd;
mod etcd;
mod etcd_roles;
mod exit;
mod extend;
mod import;
mod kube;
mod metrics;
mod off;
mod on;
mod operator;
mod probe;
mod proxies;
mod standing;
mod status;
mod table;
mod terminal;
mod validate;
mod wait;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use exit::settle;

/// What the program is called, and the binary that kubectl finds as its plugin.
const NAME: &str = "osproxy-directives";
const PLUGIN: &str = "kubectl-diag";
/// What kubectl runs to complete a command line of its plugin, and the command that answers.
const COMPLETER: &str = "kubectl_complete-diag";
const COMPLETE: &str = "__complete";
const AS_A_PLUGIN: &str = "Linked as kubectl-diag somewhere in PATH it is kubectl's plugin `kubectl diag`; linked as kubectl_complete-diag \
     as well, kubectl's own completion completes that.";
/// Who writes, for the API server.
const FIELD_MANAGER: &str = "osproxy-directives-cli";

/// Publishes osproxy's diagnostics directives from Kubernetes to etcd, and shows what is on.
#[derive(Debug, Parser)]
#[command(name = NAME, version, propagate_version = true, after_help = AS_A_PLUGIN)]
pub struct Cli {
    #[command(subcommand)]
    command: Known,
}

#[derive(Debug, Subcommand)]
enum Known {
    Adopt(adopt::Arguments),
    Check(check::Arguments),
    #[command(name = COMPLETE, hide = true)]
    Complete(complete::Arguments),
    Completion(completion::Arguments),
    Crd(crd::Arguments),
    EtcdRoles(etcd_roles::Arguments),
    Extend(extend::Arguments),
    /// Print the page about the operator's metrics, for docs/metrics.md.
    #[command(hide = true)]
    Metrics,
    Import(import::Arguments),
    Off(off::Arguments),
    On(on::Arguments),
    /// Run the operator: publish the DiagnosticsDirective resources of a cluster to etcd.
    Operator(operator::Arguments),
    /// Ask an installed operator whether all is well: what `helm test` runs.
    #[command(hide = true)]
    Probe(probe::Arguments),
    Proxies(proxies::Arguments),
    Status(status::Arguments),
    Validate(validate::Arguments),
    Wait(wait::Arguments),
}

impl Cli {
    /// Reads the arguments of this process. Where it was started as `kubectl-diag`, its help speaks of `kubectl diag`; where as
    /// `kubectl_complete-diag`, they are a command line to complete.
    ///
    /// Ends the process where they cannot be used, or ask for help.
    #[must_use]
    pub fn from_process() -> Self {
        let mut arguments: Vec<OsString> = std::env::args_os().collect();
        if is_named(arguments.first(), COMPLETER) {
            arguments.splice(1..1, [COMPLETE.into(), "--".into()]);
        }
        let matches = command_for(arguments.first()).try_get_matches_from(arguments);
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        read.unwrap_or_else(|error| terminal::explain(&error))
    }

    /// Runs the command and returns its exit status.
    ///
    /// # Errors
    /// What a person has to know about why it failed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Known::Adopt(arguments) => Ok(settle(adopt::run(&arguments))),
            Known::Check(arguments) => Ok(settle(check::run(&arguments))),
            Known::Complete(arguments) => {
                complete::run(&arguments, Self::command());
                Ok(ExitCode::SUCCESS)
            }
            Known::Completion(arguments) => {
                Ok(settle(completion::run(&arguments, &Self::command())))
            }
            Known::Crd(arguments) => Ok(settle(crd::run(&arguments))),
            Known::EtcdRoles(arguments) => Ok(settle(etcd_roles::run(&arguments))),
            Known::Extend(arguments) => Ok(settle(extend::run(&arguments))),
            Known::Metrics => metrics::run().map(done),
            Known::Import(arguments) => Ok(settle(import::run(&arguments))),
            Known::Off(arguments) => Ok(settle(off::run(&arguments))),
            Known::On(arguments) => Ok(settle(on::run(&arguments))),
            Known::Operator(arguments) => operator::run(arguments).map(done),
            Known::Probe(arguments) => probe::run(arguments).map(done),
            Known::Proxies(arguments) => Ok(settle(proxies::run(&arguments))),
            Known::Status(arguments) => Ok(settle(status::run(&arguments))),
            Known::Validate(arguments) => Ok(settle(validate::run(&arguments))),
            Known::Wait(arguments) => Ok(settle(wait::run(&arguments))),
        }
    }
}

/// The command line of a program that was started as `program`.
fn command_for(program: Option<&OsString>) -> Command {
    let command = Cli::command();
    if is_named(program, PLUGIN) {
        command.name(PLUGIN).bin_name("kubectl diag")
    } else {
        command
    }
}

/// Whether a program was started under that name.
fn is_named(program: Option<&OsString>, name: &str) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    stem.is_some_and(|stem| stem == name)
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_every_command_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn as_a_plugin_its_usage_speaks_of_kubectl() {
        let usage = |program: &str| {
            let mut command = command_for(Some(&program.into()));
            let help = command.try_get_matches_from_mut([program, "extend", "--help"]);
            help.unwrap_err().to_string()
        };
        for program in [
            "/usr/local/bin/kubectl-diag",
            "kubectl-diag",
            "kubectl-diag.exe",
        ] {
            let text = usage(program);
            assert!(text.contains("Usage: kubectl diag extend"), "{text}");
        }
        let text = usage("/usr/local/bin/osproxy-directives");
        assert!(text.contains("Usage: osproxy-directives extend"), "{text}");
    }
}

//! The command line: one file a command.

mod crd;
mod operator;

use clap::{Parser, Subcommand};

/// Publishes osproxy's diagnostics directives from Kubernetes to etcd.
#[derive(Debug, Parser)]
#[command(name = "osproxy-directives", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the custom resource definition as YAML.
    Crd,
    /// Run the operator: publish the DiagnosticsDirective resources of a cluster to etcd.
    Operator(operator::Arguments),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What a person has to know about why it failed.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Crd => crd::run(),
            Command::Operator(arguments) => operator::run(arguments),
        }
    }
}

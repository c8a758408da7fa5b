//! The command line: one file a command.

mod adopt;
mod crd;
mod etcd;
mod etcd_roles;
mod import;
mod metrics;
mod operator;
mod probe;
mod validate;

use std::process::ExitCode;

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
    /// Take a key over for a release.
    Adopt(adopt::Arguments),
    /// Print the custom resource definition as YAML.
    Crd,
    /// Print the etcdctl lines that give the operator and the proxies their rights on a key, and no more.
    EtcdRoles(etcd_roles::Arguments),
    /// Print the page about the operator's metrics, for docs/metrics.md.
    #[command(hide = true)]
    Metrics,
    /// Print the document at the key as resources.
    Import(import::Arguments),
    /// Run the operator: publish the DiagnosticsDirective resources of a cluster to etcd.
    Operator(operator::Arguments),
    /// Ask an installed operator whether all is well: what `helm test` runs.
    #[command(hide = true)]
    Probe(probe::Arguments),
    /// Check manifests as the API server and the operator would, without a cluster.
    Validate(validate::Arguments),
}

impl Cli {
    /// Runs the command and returns its exit status.
    ///
    /// # Errors
    /// What a person has to know about why it failed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Adopt(arguments) => adopt::run(arguments).map(done),
            Command::Crd => crd::run().map(done),
            Command::EtcdRoles(arguments) => etcd_roles::run(&arguments).map(done),
            Command::Metrics => metrics::run().map(done),
            Command::Import(arguments) => import::run(arguments).map(done),
            Command::Operator(arguments) => operator::run(arguments).map(done),
            Command::Probe(arguments) => probe::run(arguments).map(done),
            Command::Validate(arguments) => validate::run(&arguments),
        }
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

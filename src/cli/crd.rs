//! `osproxy-directives crd`: prints the custom resources' definitions.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use crate::resource;

/// Print the custom resource definition as YAML.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Of which resource.
    #[arg(value_enum, default_value_t = Which::Directive)]
    which: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// DiagnosticsDirective.
    Directive,
    /// DiagnosticsFleet.
    Fleet,
}

/// Prints the definition as YAML to standard output, for `kubectl apply --server-side -f -`.
///
/// # Errors
/// Where standard output cannot be written to.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let yaml = match arguments.which {
        Which::Directive => resource::crd_yaml()?,
        Which::Fleet => resource::fleet_crd_yaml()?,
    };
    io::stdout().lock().write_all(yaml.as_bytes())?;
    Ok(())
}

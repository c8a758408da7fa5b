//! `osproxy-directives crd`: prints the custom resources' definitions.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::exit::{self, Failure};
use crate::resource;

/// Print the custom resource definition as YAML.
///
/// To apply it: `osproxy-directives crd | kubectl apply --server-side --force-conflicts -f -`.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
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

/// Prints the definition to standard output.
///
/// # Errors
/// Where standard output cannot be written to.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let yaml = match arguments.which {
        Which::Directive => resource::crd_yaml(),
        Which::Fleet => resource::fleet_crd_yaml(),
    };
    let yaml = yaml.map_err(|error| Failure::cannot(format!("cannot print YAML: {error}")))?;
    io::stdout().lock().write_all(yaml.as_bytes())?;
    Ok(exit::YES)
}

//! `osproxy-directives crd`: prints the custom resource's definition.

use std::io::{self, Write};

use crate::resource;

/// Prints the definition as YAML to standard output, for `kubectl apply --server-side -f -`.
///
/// # Errors
/// Where standard output cannot be written to.
pub(super) fn run() -> anyhow::Result<()> {
    let yaml = resource::crd_yaml()?;
    io::stdout().lock().write_all(yaml.as_bytes())?;
    Ok(())
}

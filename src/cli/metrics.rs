//! `osproxy-directives metrics`: prints the page about the operator's metrics.

use std::io::{self, Write};

use crate::operator::metrics;

/// Prints the page as Markdown to standard output.
///
/// # Errors
/// Where standard output cannot be written to.
pub(super) fn run() -> anyhow::Result<()> {
    let page = metrics::page()?;
    io::stdout().lock().write_all(page.as_bytes())?;
    Ok(())
}

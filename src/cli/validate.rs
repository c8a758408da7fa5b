//! `osproxy-directives validate`: the operator's own check of manifests, without a cluster.
//!
//! Says of each `DiagnosticsDirective` what the API server and the operator together would say to its creation, with
//! the admission policy left out, which depends on who applies it and where.

mod check;
mod scalar;
mod text;

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit::{self, Failure};
use super::terminal::{say, tell};
use check::{Checked, Outcome};

/// Check manifests as the API server and the operator would, without a cluster.
///
/// Also finds what is gone before a cluster could see it: of two members of one name kubectl keeps the last and says
/// nothing. The admission policy is left out: it depends on who applies a manifest, and where.
///
/// Ends with 0 where every directive is accepted, 1 where one is refused, and 2 where a file cannot be read.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// A file with manifests, YAML or JSON, several documents if need be; `-` reads standard input. Can be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One line a resource.
    Text,
    /// One object, for machines.
    Json,
}

/// Prints what becomes of each resource to standard output, and what cannot be read to standard error.
///
/// # Errors
/// Where standard output cannot be written to.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut report = Report::default();
    for path in &arguments.files {
        let file = path.display().to_string();
        if let Err(fault) = read(path).and_then(|bytes| report.add(&file, &bytes)) {
            report.unreadable.push(Unreadable { file, ..fault });
        }
    }
    match arguments.output {
        Format::Text if report.resources.is_empty() => {}
        Format::Text => tell(&report.to_string())?,
        Format::Json => {
            let text = serde_json::to_string_pretty(&report);
            let text =
                text.map_err(|error| Failure::cannot(format!("cannot print JSON: {error}")))?;
            writeln!(io::stdout(), "{text}")?;
        }
    }
    for fault in &report.unreadable {
        say(&fault.to_string());
    }
    Ok(report.exit_code())
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let done = if path.as_os_str() == "-" {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    done.map_err(|error| Unreadable::new(None, format!("cannot be read: {error}")))?;
    Ok(bytes)
}

/// What was found, in the order of the files.
#[derive(Debug, Default, Serialize)]
struct Report {
    resources: Vec<Finding>,
    unreadable: Vec<Unreadable>,
}

/// One resource and what becomes of it: a line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    line: usize,
    name: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A file, or the rest of one, that could not be read.
#[derive(Debug, Serialize)]
struct Unreadable {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    message: String,
}

impl Unreadable {
    fn new(line: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            line,
            message: message.into(),
        }
    }
}

impl Report {
    /// Checks the documents of a file, as far as they can be read.
    fn add(&mut self, file: &str, bytes: &[u8]) -> Result<(), Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            Unreadable::new(Some(line), "is not UTF-8: save it as UTF-8")
        })?;
        let (documents, fault) = text::documents(text);
        for document in &documents {
            for checked in check::check(document) {
                self.resources.push(Finding::new(file, checked));
            }
        }
        match fault {
            None => Ok(()),
            Some((line, message)) => Err(Unreadable::new(Some(line), message)),
        }
    }

    fn exit_code(&self) -> u8 {
        if !self.unreadable.is_empty() {
            exit::CANNOT
        } else if self.resources.iter().any(|line| line.verdict == "refused") {
            exit::NO
        } else {
            exit::YES
        }
    }
}

impl Finding {
    fn new(file: &str, checked: Checked) -> Self {
        let Checked {
            name,
            line,
            outcome,
        } = checked;
        let (verdict, reason, message) = match outcome {
            Outcome::Accepted => ("accepted", None, None),
            Outcome::Refused { reason, message } => ("refused", Some(reason), Some(message)),
            Outcome::Skipped => (
                "skipped",
                None,
                Some("no DiagnosticsDirective, so not looked at".to_owned()),
            ),
        };
        Self {
            file: file.to_owned(),
            line,
            name,
            verdict,
            reason,
            message,
        }
    }
}

/// One line a resource, as compilers write theirs, so that editors can jump to the place.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding {
            file,
            line,
            name,
            verdict,
            reason,
            message,
        } in &self.resources
        {
            write!(f, "{file}:{line}: {name}: {verdict}")?;
            if let Some(reason) = reason {
                write!(f, ": {reason}")?;
            }
            if let Some(message) = message {
                write!(f, ": {message}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
#[path = "validate/validate_tests.rs"]
mod tests;

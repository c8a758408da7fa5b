//! How a command ends: its exit status, and what a person reads when it could not do its work.

use std::fmt;
use std::process::ExitCode;

use super::terminal::say;

/// The answer is yes, or it is done.
pub(super) const YES: u8 = 0;
/// The answer is no: refused, not found, or something is broken.
pub(super) const NO: u8 = 1;
/// It could not be asked or done: wrong usage, no server, no right. clap ends with it too.
pub(super) const CANNOT: u8 = 2;
/// The time ran out before there was an answer.
pub(super) const NOT_YET: u8 = 3;

/// The exit statuses, for the help of every command that has them.
pub(super) const HELP: &str = "Exit status: 0 yes or done; 1 no: refused, not found, broken; 2 it could not be asked: wrong usage, no server, \
     no right; 3 the time ran out.";

/// Why a command could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u8,
    /// Whether it is a right that is missing.
    pub(super) is_forbidden: bool,
    /// Whether there is one of that name.
    pub(super) exists: bool,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// The answer is no.
    pub(super) fn no(message: impl Into<String>) -> Self {
        Self::new(NO, message)
    }

    /// It could not be asked or done.
    pub(super) fn cannot(message: impl Into<String>) -> Self {
        Self::new(CANNOT, message)
    }

    /// The time ran out.
    pub(super) fn not_yet(message: impl Into<String>) -> Self {
        Self::new(NOT_YET, message)
    }

    fn new(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            is_forbidden: false,
            exists: false,
            message: message.into(),
            hint: None,
        }
    }

    /// A right is missing.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self {
            is_forbidden: true,
            ..Self::cannot(message)
        }
    }

    /// There is one of that name.
    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self {
            exists: true,
            ..Self::no(message)
        }
    }

    /// What to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::cannot(format!("cannot write to standard output: {error}"))
    }
}

/// Says on standard error why a command failed, and turns its end into an exit status.
pub(super) fn settle(ended: Result<u8, Failure>) -> ExitCode {
    ExitCode::from(ended.unwrap_or_else(|failure| {
        say(&format!("error: {failure}"));
        failure.status
    }))
}

//! One line of `check`, and what it is made of.

use serde_json::{Value, json};

/// What could be found out of one thing.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Found<T> {
    /// It could be read.
    Is(T),
    /// There is no such thing.
    Absent,
    /// Whoever asks may not read it.
    Forbidden,
    /// There was no answer; why.
    Failed(String),
}

impl<T> Found<T> {
    /// The same of what is made of it.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Is(found) => Found::Is(make(found)),
            Self::Absent => Found::Absent,
            Self::Forbidden => Found::Forbidden,
            Self::Failed(why) => Found::Failed(why),
        }
    }
}

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verdict {
    /// It is as it should be.
    Good,
    /// It is worth a look, or could not be found out.
    Doubtful,
    /// It is broken.
    Bad,
}

impl Verdict {
    /// For machines, and for pipes.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warn",
            Self::Bad => "fail",
        }
    }

    /// For terminals.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Doubtful => "‼",
            Self::Bad => "×",
        }
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// What it is about.
    pub(super) room: &'static str,
    /// Its stable name, and its heading in `docs/checks.md`.
    pub(super) id: &'static str,
    pub(super) verdict: Verdict,
    pub(super) text: String,
    /// What to do, where there is something to do.
    pub(super) hint: Option<String>,
}

/// Where the documentation of this build can be read: the URL of a folder, which a release is built with, or the folder in the
/// repository.
const DOCS: &str = match option_env!("OSPROXY_DIRECTIVES_DOCS") {
    Some(url) if !url.is_empty() => url,
    _ => "docs",
};

impl Line {
    pub(super) fn machine(&self) -> Value {
        json!({
            "room": self.room,
            "id": self.id,
            "result": self.verdict.word(),
            "text": self.text,
            "hint": self.hint,
            "see": self.hint.as_ref().map(|_| self.link()),
        })
    }

    /// Where more is said about it.
    pub(super) fn link(&self) -> String {
        format!("{DOCS}/checks.md#{}", self.id)
    }
}

/// A line; a good one needs no hint.
pub(super) fn line(
    room: &'static str,
    id: &'static str,
    verdict: Verdict,
    text: impl Into<String>,
    hint: &str,
) -> Line {
    Line {
        room,
        id,
        verdict,
        text: text.into(),
        hint: (verdict != Verdict::Good && !hint.is_empty()).then(|| hint.to_owned()),
    }
}

/// A thing that could not be looked at.
pub(super) fn unseen<T>(
    room: &'static str,
    id: &'static str,
    what: &str,
    found: &Found<T>,
) -> Line {
    let (text, hint) = match found {
        Found::Failed(why) => (
            format!("{what} could not be looked at: {why}"),
            "try again; --request-timeout waits longer",
        ),
        _ => (
            format!("{what} could not be looked at: you may not"),
            "nothing need be wrong; ask somebody who may",
        ),
    };
    line(room, id, Verdict::Doubtful, text, hint)
}

//! What standard output is, and so how it may be written to: colours and symbols on a terminal only.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use clap::ValueEnum;

/// Who reads what a command prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// How to write to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The columns of the terminal; none in a pipe, where lines are as long as they are.
    pub(super) width: Option<usize>,
    /// Whether colours are wanted.
    pub(super) colour: bool,
    /// Whether it is a terminal, where symbols and a redrawn screen make sense.
    pub(super) terminal: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Good,
    Doubtful,
    Bad,
    Faint,
}

impl Look {
    /// As standard output is at the moment. `NO_COLOR`, set to anything, and `TERM=dumb` take the colours away.
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: terminal.then(columns),
            colour: terminal && !set("NO_COLOR") && !dumb,
            terminal,
        }
    }

    /// A text in a tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn columns() -> usize {
    const USUAL: usize = 80;
    terminal_size::terminal_size().map_or(USUAL, |(width, _)| usize::from(width.0).max(20))
}

/// A text that somebody else wrote, in one line and with nothing in it that a terminal would act on.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// Breaks a text into lines that end at column `width`, at spaces where there are some. It starts at column `indent`, and so
/// does each further line.
pub(super) fn wrap(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let room = width.saturating_sub(indent).max(20);
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > room {
            let _ = write!(out, "\n{:indent$}", "");
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        while word.len() > room {
            let rest = word.split_off(room);
            out.extend(word);
            let _ = write!(out, "\n{:indent$}", "");
            word = rest;
        }
        used += word.len();
        out.extend(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_at_spaces_and_none_of_it_is_lost() {
        let text = "one two three four five six seven eight nine ten";
        let wrapped = wrap(text, 4, Some(24));
        assert!(
            wrapped.lines().all(|line| line.chars().count() <= 24),
            "{wrapped}"
        );
        assert_eq!(
            wrapped.split_whitespace().collect::<Vec<_>>().join(" "),
            text
        );
        assert_eq!(wrap(text, 4, None), text);
    }

    #[test]
    fn a_word_that_fits_no_line_is_cut_into_lines() {
        let wrapped = wrap(&"x".repeat(50), 0, Some(20));
        assert_eq!(
            wrapped.lines().map(str::len).collect::<Vec<_>>(),
            [20, 20, 10]
        );
    }

    #[test]
    fn what_a_terminal_would_act_on_is_shown_as_a_question_mark() {
        assert_eq!(plain("a\u{1b}[31m\nb"), "a?[31m b");
    }
}

//! What standard output and standard error are, and so how they may be written to: colours and symbols on a terminal only, and
//! no line there that runs over its edge.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

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
    /// As standard output is at the moment.
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            width: terminal.then(columns),
            colour: terminal && wants_colour(),
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

/// Says an answer, on standard output.
///
/// # Errors
/// Where it cannot be written to.
pub(super) fn tell(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let width = out.is_terminal().then(columns);
    writeln!(out, "{}", fold(text, width))
}

/// Says how it goes, or why it does not, on standard error. Nobody can be told that it cannot be written to.
pub(super) fn say(text: &str) {
    let mut err = io::stderr();
    let width = err.is_terminal().then(columns);
    let _ = writeln!(err, "{}", fold(text, width));
}

/// Each line of a text broken into lines by itself; what follows a label such as `hint: ` stays to the right of it.
fn fold(text: &str, width: Option<usize>) -> String {
    let lines = text.lines().map(|line| {
        let label = ["error: ", "hint: "]
            .into_iter()
            .find(|label| line.starts_with(label));
        let label = label.unwrap_or_default();
        let rest = line.strip_prefix(label).unwrap_or(line);
        format!("{label}{}", wrap(rest, label.len(), width))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Shows what clap has to say, a help or what is wrong with the arguments, and ends the process as clap would. clap breaks
/// the texts of a help into lines, but neither its usage nor its errors.
pub(super) fn explain(error: &clap::Error) -> ! {
    let is_terminal = if error.use_stderr() {
        io::stderr().is_terminal()
    } else {
        io::stdout().is_terminal()
    };
    let text = error.render();
    let text = if is_terminal && wants_colour() {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    let lines = text.split_inclusive('\n').map(|line| {
        let seen: String = visible(line).collect();
        let label = ["Usage: ", "error: "]
            .into_iter()
            .find(|label| seen.starts_with(label));
        let indent = label.map_or(seen.len() - seen.trim_start().len() + 2, str::len);
        wrap_after(line, indent, is_terminal.then(columns))
    });
    let text: String = lines.collect();
    // Nobody can be told that it cannot be written to.
    let _ = if error.use_stderr() {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
    std::process::exit(error.exit_code())
}

/// Breaks a line, in colours or not, at spaces so that it ends at column `width`. Its further lines start at column `indent`.
fn wrap_after(line: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else {
        return line.to_owned();
    };
    let mut out = String::new();
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        if used > indent && used + visible(word.trim_end()).count() > width {
            out.truncate(out.trim_end_matches(' ').len());
            let _ = write!(out, "\n{:indent$}", "");
            used = indent;
        }
        out.push_str(word);
        used += visible(word).count();
    }
    out
}

/// `NO_COLOR`, set to anything, and `TERM=dumb` take the colours away.
fn wants_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !set("NO_COLOR") && !dumb
}

/// What of a text takes room: all but its colours.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut escaped = false;
    text.chars().filter(move |c| {
        let shown = !escaped && *c != '\u{1b}';
        escaped = *c == '\u{1b}' || escaped && *c != 'm';
        shown
    })
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

/// No text is broken into lines that are shorter than this.
pub(super) const LEAST: usize = 16;

/// Breaks a text into lines that end at column `width`, at spaces where there are some. It starts at column `indent`, and so
/// does each further line.
pub(super) fn wrap(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let room = width.saturating_sub(indent).max(LEAST);
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
    fn what_follows_a_label_stays_to_the_right_of_it() {
        let text = "error: a long story about a key\nhint: read it";
        let expected = "error: a long story about\n       a key\nhint: read it";
        assert_eq!(fold(text, Some(26)), expected);
        assert_eq!(fold(text, None), text);
    }

    #[test]
    fn a_usage_is_broken_whatever_its_colours() {
        let usage = "\u{1b}[1mUsage:\u{1b}[0m on --sample <SHARE> --ttl <TIME>\n";
        let expected = "\u{1b}[1mUsage:\u{1b}[0m on --sample <SHARE>\n       --ttl <TIME>\n";
        assert_eq!(wrap_after(usage, 7, Some(28)), expected);
        assert_eq!(wrap_after(usage, 7, None), usage);
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

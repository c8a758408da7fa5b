//! What a person sees: numbered steps, a line for each thing that happened, its figure at the right.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;

/// Where a figure ends.
const WIDTH: usize = 78;
const INDENT: &str = "    ";

/// Writes the steps of a story to `out`, each line as soon as it is known.
#[derive(Debug)]
pub struct Stage<W> {
    out: W,
    colour: bool,
    step: usize,
    title: String,
}

impl<W: Write> Stage<W> {
    /// A stage with or without bold and dim text; see [`wants_colour`].
    pub fn new(out: W, colour: bool) -> Self {
        Self {
            out,
            colour,
            step: 0,
            title: String::new(),
        }
    }

    /// Begins the next step.
    ///
    /// # Errors
    /// When it cannot be written; so for every other line.
    pub fn step(&mut self, title: &str) -> Result<()> {
        self.step += 1;
        title.clone_into(&mut self.title);
        let number = format!("{:>2}", self.step);
        let (number, title) = (self.styled(BOLD, &number), self.styled(BOLD, title));
        writeln!(self.out, "\n{number}  {title}")?;
        Ok(())
    }

    /// The step that is under way, as a failure names it.
    #[must_use]
    pub fn place(&self) -> String {
        format!("step {}, \"{}\"", self.step, self.title)
    }

    /// Something that was said or done.
    ///
    /// # Errors
    /// As [`Stage::step`].
    pub fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{INDENT}{text}")?;
        Ok(())
    }

    /// Several lines that a tool or a file says, as they are.
    ///
    /// # Errors
    /// As [`Stage::step`].
    pub fn quote(&mut self, text: &str) -> Result<()> {
        for line in text.trim_end().lines() {
            let line = self.styled(DIM, line.trim_end());
            writeln!(self.out, "{INDENT}  {line}")?;
        }
        Ok(())
    }

    /// Something that happened, and when or how long it took.
    ///
    /// # Errors
    /// As [`Stage::step`].
    pub fn figure(&mut self, text: &str, figure: impl Display) -> Result<()> {
        let figure = figure.to_string();
        let used = INDENT.len() + text.chars().count() + figure.chars().count();
        // At least one blank, should the text be too long for the line.
        let gap = WIDTH.saturating_sub(used).max(1);
        let figure = self.styled(BOLD, &figure);
        writeln!(self.out, "{INDENT}{text}{:gap$}{figure}", "")?;
        Ok(())
    }

    /// Something that is there, and how long that took, where it is known.
    ///
    /// # Errors
    /// As [`Stage::step`].
    pub fn part(&mut self, text: &str, took: Option<Duration>) -> Result<()> {
        match took {
            Some(took) => self.figure(text, time(took)),
            None => self.line(text),
        }
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Whether standard output is a terminal whose owner did not ask for plain text by `NO_COLOR`.
#[must_use]
pub fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// A time as people compare it: milliseconds below ten seconds, and tenths of a second above.
#[must_use]
pub fn time(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..10_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(colour: bool) -> String {
        let mut out = Vec::new();
        let mut stage = Stage::new(&mut out, colour);
        stage.step("Start").unwrap();
        stage
            .figure("proxy-1 has it", time(Duration::from_millis(12)))
            .unwrap();
        stage.figure(&"x".repeat(90), "1 ms").unwrap();
        stage.quote("one\n\ntwo\n").unwrap();
        assert_eq!(stage.place(), "step 1, \"Start\"");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn figures_end_in_one_column_and_long_texts_keep_theirs() {
        let text = written(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["", " 1  Start"]);
        assert!(lines[2].starts_with("    proxy-1 has it ") && lines[2].ends_with(" 12 ms"));
        assert_eq!(lines[2].chars().count(), WIDTH);
        assert!(lines[3].ends_with("x 1 ms"));
        assert_eq!(lines[4..], ["      one", "      ", "      two"]);
    }

    #[test]
    fn without_colour_no_escape_is_written() {
        assert!(!written(false).contains('\x1b'));
        assert!(written(true).contains('\x1b'));
    }

    #[test]
    fn times_are_written_as_people_compare_them() {
        assert_eq!(time(Duration::from_micros(900)), "0 ms");
        assert_eq!(time(Duration::from_millis(9_999)), "9999 ms");
        assert_eq!(time(Duration::from_millis(12_340)), "12.3 s");
    }
}

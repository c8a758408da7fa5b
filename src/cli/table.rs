//! A table as kubectl prints one: columns as wide as their widest cell, two spaces between them, nothing cut. On a
//! terminal the last column is broken into lines instead of running over, and where not even its beginning has room, each row is
//! a paragraph of its own.

use std::fmt::Write as _;

use super::terminal::{LEAST, Look, Tone, wrap};

/// Between two columns.
const GAP: usize = 2;
/// What an empty cell shows.
const NOTHING: &str = "-";
/// How far what belongs to a row is indented below it.
const INDENT: usize = 4;

/// Rows under a header.
#[derive(Clone, Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<(Tone, String)>,
    below: Vec<(Tone, String)>,
}

impl Table {
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. An empty cell is shown as `-`, so that columns can be counted.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = (Tone, String)>) {
        let dash = |(tone, text): (Tone, String)| {
            if text.is_empty() {
                (Tone::Plain, NOTHING.to_owned())
            } else {
                (tone, text)
            }
        };
        self.rows.push(Row {
            cells: cells.into_iter().map(dash).collect(),
            below: Vec::new(),
        });
    }

    /// Adds a line below the last row, indented.
    pub(super) fn below(&mut self, tone: Tone, text: String) {
        if let Some(row) = self.rows.last_mut() {
            row.below.push((tone, text));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its line break.
    pub(super) fn print(&self, look: Look) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.len()).collect();
        for row in &self.rows {
            for (width, (_, cell)) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if look.width.is_some_and(|width| !fits(&widths, width)) {
            return self.paragraphs(look);
        }
        let header: Vec<(Tone, String)> = self
            .header
            .iter()
            .map(|name| (Tone::Strong, (*name).to_owned()))
            .collect();
        let mut out = line(&header, &widths, look);
        for row in &self.rows {
            out += &line(&row.cells, &widths, look);
            out += &row.below(look);
        }
        out
    }

    /// For a terminal that is too narrow: the first cell, and below it what the others say, each behind its column's name.
    fn paragraphs(&self, look: Look) -> String {
        // What kind of rows these are stands above them, as over a table.
        let mut out = match self.header.first() {
            Some(name) => look.paint(Tone::Strong, name) + "\n",
            None => String::new(),
        };
        for row in &self.rows {
            let mut cells = self.header.iter().zip(&row.cells);
            if let Some((_, (tone, title))) = cells.next() {
                let title = wrap(title, 0, look.width);
                let _ = writeln!(out, "{}", look.paint(*tone, &title));
            }
            let mut used = 0;
            for (name, (tone, text)) in cells.filter(|(_, (_, text))| text != NOTHING) {
                let name = name.to_lowercase();
                let long = name.len() + 1 + text.chars().count();
                let room = look.width.unwrap_or(usize::MAX).saturating_sub(INDENT);
                if used > 0 && used + GAP + long <= room {
                    out += &" ".repeat(GAP);
                    used += GAP;
                } else {
                    let gap = if used > 0 { "\n" } else { "" };
                    let _ = write!(out, "{gap}{:INDENT$}", "");
                    used = 0;
                }
                let text = wrap(text, INDENT + name.len() + 1, look.width);
                let _ = write!(
                    out,
                    "{} {}",
                    look.paint(Tone::Faint, &name),
                    look.paint(*tone, &text)
                );
                used += long;
            }
            if used > 0 {
                out.push('\n');
            }
            out += &row.below(look);
        }
        out
    }
}

impl Row {
    fn below(&self, look: Look) -> String {
        let mut out = String::new();
        for (tone, text) in &self.below {
            let text = wrap(text, INDENT, look.width);
            let _ = writeln!(out, "{:INDENT$}{}", "", look.paint(*tone, &text));
        }
        out
    }
}

/// Whether all columns have room, and the last one at least some.
fn fits(widths: &[usize], width: usize) -> bool {
    let Some((last, others)) = widths.split_last() else {
        return true;
    };
    let before: usize = others.iter().map(|width| width + GAP).sum();
    before + (*last).min(LEAST) <= width
}

fn line(cells: &[(Tone, String)], widths: &[usize], look: Look) -> String {
    let mut out = String::new();
    let mut at = 0;
    for (index, ((tone, text), width)) in cells.iter().zip(widths).enumerate() {
        if index + 1 == cells.len() {
            let text = wrap(text, at, look.width);
            out += &look.paint(*tone, &text);
        } else {
            out += &look.paint(*tone, text);
            out += &" ".repeat(width + GAP - text.chars().count());
        }
        at += width + GAP;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "WHY"]);
        let plain = |text: &str| (Tone::Plain, text.to_owned());
        table.row([
            plain("default/a"),
            plain("a long reason that goes on and on"),
        ]);
        table.row([plain("b"), plain("")]);
        table.below(Tone::Bad, "below".to_owned());
        table
    }

    #[test]
    fn in_a_pipe_a_line_is_as_long_as_it_is() {
        let look = Look {
            width: None,
            colour: false,
            terminal: false,
        };
        let expected = "NAME       WHY\ndefault/a  a long reason that goes on and on\nb          -\n    below\n";
        assert_eq!(table().print(look), expected);
    }

    #[test]
    fn on_a_terminal_the_last_column_is_broken_into_lines() {
        let look = Look {
            width: Some(31),
            colour: false,
            terminal: true,
        };
        let expected = "NAME       WHY\ndefault/a  a long reason that\n           goes on and on\nb          -\n    below\n";
        assert_eq!(table().print(look), expected);
    }

    #[test]
    fn on_a_terminal_without_room_each_row_is_a_paragraph() {
        let mut table = Table::new(&["NAME", "STATE", "LEFT", "WHY"]);
        let cells = |cells: [&str; 4]| cells.map(|text| (Tone::Plain, text.to_owned()));
        table.row(cells([
            "default/a-long-name",
            "Pending",
            "",
            "a reason that goes on and on",
        ]));
        table.row(cells(["b", "", "", ""]));
        table.below(Tone::Plain, "below".to_owned());
        let look = Look {
            width: Some(30),
            colour: false,
            terminal: true,
        };
        let expected = "\
NAME
default/a-long-name
    state Pending
    why a reason that goes on
        and on
b
    below
";
        assert_eq!(table.print(look), expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let look = Look {
            width: None,
            colour: true,
            terminal: true,
        };
        let lines = table().print(look);
        assert!(
            lines.starts_with("\u{1b}[1mNAME\u{1b}[0m       \u{1b}[1mWHY\u{1b}[0m\n"),
            "{lines:?}"
        );
        assert!(
            lines.contains("    \u{1b}[31mbelow\u{1b}[0m\n"),
            "{lines:?}"
        );
    }
}

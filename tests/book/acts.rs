//! What a page has a person do.
//!
//! A block ```` ```yaml ```` whose first line is `# NAME.yaml` is a file to save. In a block ```` ```console ```` each line behind `$ ` is a
//! command, and has to succeed; in ```` ```console,fails ```` each has to fail. The lines behind a command are what it answers, where the page
//! shows that at all: a line `…` is any lines, and times, durations and revisions may be others. What takes hours, or something that
//! no test has, stands in ```` ```console,looked-up ````: it is not typed, but all that it names has to be there. What `make demo` prints
//! stands in ```` ```console,demo ````. Other blocks are for reading.

use std::path::Path;

/// One thing that a page has a person do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Save {
        name: String,
        text: String,
    },
    Type {
        command: String,
        fails: bool,
        answer: Vec<String>,
    },
    LookUp {
        command: String,
    },
}

/// A fenced block: what stands behind its fence, and its lines without the fence's indent.
pub(crate) struct Block<'a> {
    pub(crate) kind: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let fence = line.split_once("```");
        let Some((indent, kind)) = fence.filter(|(before, _)| before.trim().is_empty()) else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(Block {
            kind,
            lines: inside
                .map(|line| line.strip_prefix(indent).unwrap_or(line))
                .collect(),
        });
    }
    blocks
}

/// What a page has a person do, from the top.
pub(crate) fn acts(page: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    for Block { kind, lines } in blocks(page) {
        match kind {
            "yaml" => {
                let name = lines.first().and_then(|first| first.strip_prefix("# "));
                if let Some(name) = name.filter(|name| is_file(name)) {
                    acts.push(Act::Save {
                        name: name.to_owned(),
                        text: lines.join("\n") + "\n",
                    });
                }
            }
            "console" | "console,fails" => {
                let all = commands(&lines).into_iter();
                acts.extend(all.map(|(command, answer)| Act::Type {
                    command,
                    fails: kind.ends_with("fails"),
                    answer,
                }));
            }
            "console,looked-up" => {
                let all = commands(&lines).into_iter();
                acts.extend(all.map(|(command, _)| Act::LookUp { command }));
            }
            _ => {}
        }
    }
    acts
}

fn is_file(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "yaml")
}

/// Each command, and the lines behind it.
fn commands(block: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut goes_on = false;
    for line in block {
        let open = commands.last_mut().filter(|_| goes_on);
        if let Some((command, _)) = open {
            command.push('\n');
            command.push_str(line);
        } else if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), Vec::new()));
        } else {
            if let Some((_, answer)) = commands.last_mut() {
                answer.push((*line).to_owned());
            }
            continue;
        }
        let command = commands.last().map_or("", |(command, _)| command);
        goes_on = line.ends_with('\\') || is_open(command);
    }
    commands
}

/// Whether a quotation goes on in the next line.
fn is_open(command: &str) -> bool {
    let without_comment = command.split(" # ").next().unwrap_or(command);
    without_comment.matches('\'').count() % 2 == 1
}

#[test]
fn files_and_commands_are_told_from_what_is_only_read() {
    let page = "# A page\n\n```yaml\n# a.yaml\na: 1\n```\n\n```yaml\nb: 2\n```\n\n```console\n$ one \\\n  more\nits answer\n$ two 'and\n  more'\n```\n\n\
                ```console,fails\n$ three\n```\n\n- an item\n\n  ```console,looked-up\n  $ four\n  ```\n\n```text\nfive\n```\n";
    let save = |name: &str, text: &str| Act::Save {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let command = |command: &str, fails, answer: &[&str]| Act::Type {
        command: command.to_owned(),
        fails,
        answer: answer.iter().map(ToString::to_string).collect(),
    };
    let look_up = |command: &str| Act::LookUp {
        command: command.to_owned(),
    };
    assert_eq!(
        acts(page),
        [
            save("a.yaml", "# a.yaml\na: 1\n"),
            command("one \\\n  more", false, &["its answer"]),
            command("two 'and\n  more'", false, &[]),
            command("three", true, &[]),
            look_up("four"),
        ]
    );
}

//! Types what a page has a person type, on a real system.
//!
//! A block ```` ```yaml ```` whose first line is `# NAME.yaml` is a file to save. In a block ```` ```console ```` each line behind `$ ` is a
//! command, and has to succeed; in one that is marked ```` ```console,fails ```` each has to fail. Other blocks are for reading.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use testbed::assets;
use testbed::command;
use testbed::process::Launch;
use testbed::scratch::Scratch;

use crate::support::{Line, binary};

/// One thing that a page has a person do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Save { name: String, text: String },
    Type { command: String, fails: bool },
}

/// What a page has a person do, from the top.
pub(crate) fn acts(page: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "yaml" => {
                let name = block.first().and_then(|first| first.strip_prefix("# "));
                if let Some(name) = name.filter(|name| is_file(name)) {
                    acts.push(Act::Save {
                        name: name.to_owned(),
                        text: block.join("\n") + "\n",
                    });
                }
            }
            "console" | "console,fails" => {
                acts.extend(commands(&block).into_iter().map(|command| Act::Type {
                    command,
                    fails: kind.ends_with("fails"),
                }));
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

fn commands(block: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block {
        if let Some(command) = commands.last_mut().filter(|_| goes_on) {
            command.push('\n');
            command.push_str(line);
        } else if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        } else {
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// Does it all, in a folder of its own.
///
/// # Errors
/// The first command that does not end as the page says, with what it printed.
pub(crate) async fn type_out(name: &str, page: &str, line: &Line) -> Result<usize> {
    let folder = Scratch::new("page")?;
    let programs = folder.directory("bin")?;
    let kubectl = assets::tool(&assets::kubernetes(), "kubectl").await?;
    for (name, program) in [("kubectl", &kubectl), ("osproxy-directives", &binary())] {
        std::os::unix::fs::symlink(program, programs.join(name))?;
    }
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut typed = 0;
    for act in acts(page) {
        match act {
            Act::Save { name, text } => {
                folder.write(&name, &text)?;
            }
            Act::Type { command, fails } => {
                let in_folder = format!("cd '{}' && {command}", folder.path().display());
                let launch = Launch::new("/bin/sh")
                    .args(["-c", &in_folder])
                    .env("PATH", &path)
                    .env("HOME", folder.path())
                    .env("KUBECONFIG", line.plane.kubeconfig());
                let output = command::run(&launch, None).await?;
                ensure!(
                    output.status.success() != fails,
                    "{name}: `{command}` was to {}, and ended with {}:\n{}{}",
                    if fails { "fail" } else { "succeed" },
                    output.status,
                    output.stdout,
                    output.stderr
                );
                typed += 1;
            }
        }
    }
    ensure!(typed > 0, "{name} has nothing to type");
    Ok(typed)
}

/// Reads a page.
pub(crate) fn read(docs: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(docs.join(name)).with_context(|| format!("cannot read docs/{name}"))
}

#[test]
fn files_and_commands_are_told_from_what_is_only_read() {
    let page = "# A page\n\n```yaml\n# a.yaml\na: 1\n```\n\n```yaml\nb: 2\n```\n\n```console\n$ one \\\n  more\nits answer\n$ two\n```\n\n```console,fails\n$ three\n```\n\n```sh\nfour\n```\n";
    let save = |name: &str, text: &str| Act::Save {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let command = |command: &str, fails| Act::Type {
        command: command.to_owned(),
        fails,
    };
    assert_eq!(
        acts(page),
        [
            save("a.yaml", "# a.yaml\na: 1\n"),
            command("one \\\n  more", false),
            command("two", false),
            command("three", true),
        ]
    );
}

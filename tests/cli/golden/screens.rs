//! Runs a command in a pipe and on a terminal, and compares all that it shows with a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use testbed::eventually;

use super::mask::{masked, settled};
use crate::shell::{Said, Shell};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cli");
const UPDATE: &str = "UPDATE_GOLDEN";
/// Until every time that is left has two digits of minutes and of seconds: half a minute is the worst.
const WIDE: Duration = Duration::from_secs(70);
/// What was told a moment ago may be on its way: the operator writes the fleet at a glance every five seconds at most, and then it has
/// settled for some.
const TOLD: Duration = Duration::from_secs(20);
/// How often a command may find that what it waits for a few seconds for was not told in time, on a busy machine.
const TRIES: usize = 5;
const COLUMNS: usize = 80;

/// Where a command is looked at.
#[derive(Clone, Copy)]
pub(super) enum On {
    Pipe,
    Terminal,
}

impl On {
    fn name(self, screen: &str) -> String {
        match self {
            Self::Pipe => format!("{screen}.pipe"),
            Self::Terminal => format!("{screen}.terminal"),
        }
    }

    async fn shows(self, shell: &Shell, args: &[&str], status: i32) -> Result<String> {
        match self {
            Self::Pipe => pipe(shell, args, status).await,
            Self::Terminal => terminal(shell, args, status).await,
        }
    }
}

/// The screens of one shell.
pub(super) struct Screens<'s> {
    shell: &'s Shell,
    shown: BTreeSet<PathBuf>,
    different: Vec<String>,
}

impl<'s> Screens<'s> {
    pub(super) fn new(shell: &'s Shell) -> Self {
        Self {
            shell,
            shown: BTreeSet::new(),
            different: Vec::new(),
        }
    }

    pub(super) fn shell(&self) -> &'s Shell {
        self.shell
    }

    /// The first lines of what is long, in a pipe.
    pub(super) async fn head(&mut self, name: &str, args: &[&str]) -> Result<()> {
        const LINES: usize = 12;
        let text = On::Pipe.shows(self.shell, args, 0).await?;
        let head: String = text.split_inclusive('\n').take(LINES).collect();
        self.compare(&On::Pipe.name(name), &format!("{head}…\n"))
    }

    /// What a command that changes nothing shows, in a pipe and on a terminal.
    pub(super) async fn both(&mut self, name: &str, args: &[&str], status: i32) -> Result<()> {
        for on in [On::Pipe, On::Terminal] {
            let shell = self.shell;
            let show = async || on.shows(shell, args, status).await;
            self.again(&on.name(name), show).await?;
        }
        Ok(())
    }

    /// In a pipe, once.
    pub(super) async fn pipe(&mut self, name: &str, args: &[&str], status: i32) -> Result<()> {
        self.once(On::Pipe, name, args, status).await
    }

    /// On a terminal, once.
    pub(super) async fn terminal(&mut self, name: &str, args: &[&str], status: i32) -> Result<()> {
        self.once(On::Terminal, name, args, status).await
    }

    async fn once(&mut self, on: On, name: &str, args: &[&str], status: i32) -> Result<()> {
        let text = on.shows(self.shell, args, status).await?;
        self.compare(&on.name(name), &text)
    }

    /// Once, and again after `undo` where it is not what the file says: for a command that waits a few seconds for the operator.
    pub(super) async fn or_again(
        &mut self,
        on: On,
        name: &str,
        args: &[&str],
        status: i32,
        undo: &[&str],
    ) -> Result<()> {
        let name = on.name(name);
        let mut text = on.shows(self.shell, args, status).await?;
        for _ in 1..TRIES {
            let expected = fs::read_to_string(path(&name));
            if env::var_os(UPDATE).is_some() || expected.is_ok_and(|expected| expected == text) {
                break;
            }
            self.shell.run(undo).await?.ended(0)?;
            text = on.shows(self.shell, args, status).await?;
        }
        self.compare(&name, &text)
    }

    /// Looks until times are as wide as they are in the file, and a little longer for what is on its way.
    async fn again(&mut self, name: &str, show: impl AsyncFn() -> Result<String>) -> Result<()> {
        let look = async || {
            let text = show().await?;
            ensure!(settled(&text), "{text}");
            Ok(text)
        };
        let mut text = eventually(name, WIDE, look).await?;
        let expected = fs::read_to_string(path(name));
        if env::var_os(UPDATE).is_none()
            && expected.as_ref().is_ok_and(|expected| *expected != text)
        {
            let expected = expected?;
            let same = async || {
                let text = show().await?;
                ensure!(text == expected, "{text}");
                Ok(text)
            };
            text = eventually(name, TOLD, same).await.unwrap_or(text);
        }
        self.compare(name, &text)
    }

    /// Compares a text that is masked already, or writes it.
    pub(super) fn compare(&mut self, name: &str, text: &str) -> Result<()> {
        let path = path(name);
        ensure!(
            self.shown.insert(path.clone()),
            "{name} is shown a second time"
        );
        if env::var_os(UPDATE).is_some() {
            return fs::write(&path, text).with_context(|| path.display().to_string());
        }
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            self.different.push(difference(&path, text));
        }
        Ok(())
    }

    /// Fails where a screen is not what the file says, and where nothing shows what a file holds.
    pub(super) fn finish(self) -> Result<()> {
        let mut different = self.different;
        for entry in fs::read_dir(GOLDEN)? {
            let path = entry?.path();
            if self.shown.contains(&path) {
                continue;
            }
            if env::var_os(UPDATE).is_some() {
                fs::remove_file(&path)?;
            } else {
                different.push(format!("{} is shown by no command", path.display()));
            }
        }
        ensure!(
            different.is_empty(),
            "{}\nIf that is wanted: UPDATE_GOLDEN=1 cargo test --test cli every_command",
            different.join("\n")
        );
        Ok(())
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(GOLDEN).join(format!("{name}.txt"))
}

/// Standard output and standard error apart, and how it ended.
async fn pipe(shell: &Shell, args: &[&str], status: i32) -> Result<String> {
    let said = shell.run(args).await?;
    said.ended(status)?;
    let Said { out, err, .. } = said;
    let err = part("standard error", &masked(&err));
    let out = part("standard output", &masked(&out));
    Ok(format!(
        "{}{err}{out}{}",
        masked(&typed(args)),
        ended(status)
    ))
}

/// Everything as it appears, escapes readable, and how it ended.
async fn terminal(shell: &Shell, args: &[&str], status: i32) -> Result<String> {
    let said = shell.screen("", args, &[]).await?;
    said.ended(status)?;
    fits(args, &said.out)?;
    let text = masked(&said.out);
    Ok(masked(&typed(args)) + &text + &ended(status))
}

/// Nothing but what is for machines runs over the edge.
fn fits(args: &[&str], text: &str) -> Result<()> {
    const MACHINES: &[&str] = &["json", "yaml", "--dry-run", "import", "etcd-roles"];
    let is_for_machines =
        args.iter().any(|arg| MACHINES.contains(arg)) && !args.contains(&"--help");
    let over = text.lines().find(|line| visible(line) > COLUMNS);
    ensure!(
        is_for_machines || over.is_none(),
        "{args:?} runs over the edge: {over:?}"
    );
    Ok(())
}

/// What of a line takes room.
fn visible(line: &str) -> usize {
    let pieces = line.split("\u{1b}[").enumerate().map(|(index, piece)| {
        if index == 0 {
            piece
        } else {
            let end = piece.find(['m', 'H', 'J']).map_or(0, |at| at + 1);
            &piece[end..]
        }
    });
    pieces.map(|piece| piece.chars().count()).sum()
}

pub(super) fn typed(args: &[&str]) -> String {
    let quoted = args.iter().map(|arg| {
        if arg.contains(' ') {
            format!("'{arg}'")
        } else {
            (*arg).to_owned()
        }
    });
    let words: Vec<String> = std::iter::once("$ osproxy-directives".to_owned())
        .chain(quoted)
        .collect();
    words.join(" ") + "\n"
}

fn part(title: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let end = if text.ends_with('\n') {
        ""
    } else {
        "(no line break)\n"
    };
    format!("--- {title}\n{text}{end}")
}

fn ended(status: i32) -> String {
    format!("--- ended with {status}\n")
}

fn difference(path: &Path, text: &str) -> String {
    let name = path.display();
    let Ok(expected) = fs::read_to_string(path) else {
        return format!("{name} is not there");
    };
    let mut lines = expected.lines().zip(text.lines()).enumerate();
    match lines.find(|(_, (old, new))| old != new) {
        Some((index, (old, new))) => format!("{name}:{}:\n  - {old}\n  + {new}", index + 1),
        None => format!("{name} has another length; it is now\n{text}"),
    }
}

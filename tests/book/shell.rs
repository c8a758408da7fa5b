//! Types what a page has a person do, on a real system.
//!
//! What was typed and what it answered is printed: `cargo test --workspace --test book -- --nocapture types` shows it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::assets;
use testbed::command::{self, Output};
use testbed::process::Launch;
use testbed::scratch::Scratch;

use crate::acts::{Act, acts};
use crate::answer::is_as_shown;
use crate::look_up::parts;
use crate::support::{SOON, binary};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(200);

/// The programs that pages have a person type, besides those of any machine.
pub(crate) async fn tools(into: &Path) -> Result<()> {
    for (name, program) in [
        (
            "kubectl",
            assets::tool(&assets::kubernetes(), "kubectl").await?,
        ),
        ("helm", assets::tool(assets::HELM, "helm").await?),
        ("etcdctl", assets::tool(assets::ETCD, "etcdctl").await?),
        ("osproxy-directives", binary()),
    ] {
        symlink(program, into.join(name))?;
    }
    Ok(())
}

/// A person's shell, in a folder with the chart. What is declared on one page is there on the next.
pub(crate) struct Shell {
    files: Scratch,
    launch: Launch,
    declared: String,
    instead: Vec<(String, String)>,
}

impl Shell {
    pub(crate) async fn new(kubeconfig: &Path, etcd: &str) -> Result<Self> {
        let files = Scratch::new("page")?;
        let programs = files.directory("bin")?;
        tools(&programs).await?;
        symlink(Path::new(ROOT).join("charts"), files.join("charts"))?;
        let launch = Launch::new("/bin/sh")
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("HOME", files.path())
            .env("USER", "ana")
            .env("KUBECONFIG", kubeconfig)
            .env("ETCDCTL_ENDPOINTS", etcd);
        Ok(Self {
            files,
            launch,
            declared: String::new(),
            instead: Vec::new(),
        })
    }

    /// Types `that` wherever a page has `this`: an address, or a revision, that is another one here.
    pub(crate) fn instead_of(&mut self, this: &str, that: impl Into<String>) {
        self.instead.retain(|(known, _)| known != this);
        self.instead.push((this.to_owned(), that.into()));
    }

    /// Does all that a page says.
    ///
    /// # Errors
    /// The first command that does not end or answer as the page says, with what it answered.
    pub(crate) async fn types(&mut self, name: &str) -> Result<()> {
        let page = read(name)?;
        let mut typed = 0;
        for act in acts(&page) {
            match act {
                Act::Save { name, text } => {
                    self.files.write(&name, &text)?;
                }
                Act::Type {
                    command,
                    fails,
                    answer,
                } => {
                    self.one(name, &command, fails, &answer).await?;
                    typed += 1;
                }
                Act::LookUp { .. } => {}
            }
        }
        ensure!(typed > 0, "{name} has nothing to type");
        Ok(())
    }

    async fn one(
        &mut self,
        page: &str,
        command: &str,
        fails: bool,
        answer: &[String],
    ) -> Result<()> {
        let mut typed = command.to_owned();
        for (this, that) in &self.instead {
            typed = typed.replace(this, that);
        }
        if let Some(name) = declares(&typed) {
            let value = self.run(&format!("{typed}\nprintf %s \"${name}\"")).await?;
            ensure!(!value.stdout.is_empty(), "{page}: `{typed}` is empty");
            self.declared += &[name, "='", &value.stdout, "'\n"].concat();
            return Ok(());
        }
        let start = Instant::now();
        loop {
            let output = self.run(&format!("exec 2>&1\n{typed}")).await?;
            println!("{page}\n$ {typed}\n{}", output.stdout);
            let Err(error) = ended_as_shown(command, fails, answer, &output) else {
                return Ok(());
            };
            // Whoever only looks may look again: what was just done takes a moment to be seen everywhere.
            if fails || !looks(command) || start.elapsed() > SOON {
                return Err(error.context(format!("{page}: `{typed}`")));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn run(&self, script: &str) -> Result<Output> {
        let script = format!(
            "cd '{}'\n{}{script}",
            self.files.path().display(),
            self.declared
        );
        command::run(&self.launch.clone().args(["-c", &script]), None).await
    }
}

fn ended_as_shown(command: &str, fails: bool, answer: &[String], output: &Output) -> Result<()> {
    let misses = output.status.code() == Some(1) && searches(command);
    ensure!(
        misses || output.status.success() != fails,
        "it was to {}, and ended with {}:\n{}",
        if fails { "fail" } else { "succeed" },
        output.status,
        output.stdout,
    );
    ensure!(
        answer.is_empty() || is_as_shown(answer, &output.stdout),
        "it is shown to answer\n{}\n\nand it answers\n{}",
        answer.join("\n"),
        output.stdout,
    );
    Ok(())
}

/// Whether a command changes nothing.
fn looks(command: &str) -> bool {
    let looking = [
        "kubectl get ",
        "kubectl auth can-i ",
        "osproxy-directives check",
        "osproxy-directives proxies",
        "osproxy-directives status",
    ];
    looking.iter().any(|looking| command.starts_with(looking))
}

/// The variable that a command declares, where it does nothing else.
fn declares(command: &str) -> Option<&str> {
    let (name, value) = command.split_once('=')?;
    let value = value.split(" #").next()?.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_one = !value.contains(' ') || value.starts_with("$(") && value.ends_with(')');
    (is_name && is_one).then_some(name)
}

/// Whether it ends in a search or a comparison, which have a status of their own for nothing, or something, found.
fn searches(command: &str) -> bool {
    let last = parts(command).pop();
    last.is_some_and(|last| last.starts_with("grep ") || last.starts_with("kubectl diff "))
}

/// Reads a page of the repository.
pub(crate) fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(Path::new(ROOT).join(name))
        .with_context(|| format!("cannot read {name}"))
}

#[test]
fn a_command_that_declares_is_told_from_one_that_does_something() {
    assert_eq!(declares("NS=osproxy   # a comment"), Some("NS"));
    assert_eq!(
        declares("POD=$(kubectl get pods -o name | head -1)"),
        Some("POD")
    );
    assert_eq!(declares("ETCDCTL_ENDPOINTS=$MEMBER etcdctl defrag"), None);
    assert_eq!(declares("kubectl get diag --watch=true"), None);
}

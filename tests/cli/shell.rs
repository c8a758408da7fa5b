//! A person's shell: runs the binary, as itself, as kubectl's plugin, and on a terminal.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "it is part of a test"
)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use osproxy_directives::resource::parse_duration_millis;
use serde_json::Value;
use testbed::assets;
use testbed::command;
use testbed::process::Launch;

use crate::support::{Line, binary};

pub(crate) struct Shell {
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: Option<i32>,
}

impl Said {
    pub(crate) fn ended(&self, status: i32) -> Result<()> {
        ensure!(self.status == Some(status), "expected {status}: {self:?}");
        Ok(())
    }
}

impl Shell {
    pub(crate) fn new(kubeconfig: &Path) -> Result<Self> {
        let home = tempfile::tempdir()?;
        for name in ["kubectl-diag", "kubectl_complete-diag"] {
            symlink(binary(), home.path().join(name))?;
        }
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            home,
        })
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Result<Said> {
        said(&self.launch(binary()).args(args)).await
    }

    pub(crate) async fn run_with(&self, command: &str, args: &[&str]) -> Result<Said> {
        said(&self.launch(binary()).arg(command).args(args)).await
    }

    /// kubectl, which finds its plugin on the path.
    pub(crate) async fn plugin(&self, _: &Line, args: &[&str]) -> Result<Said> {
        let kubectl = assets::tool(&assets::kubernetes(), "kubectl").await?;
        said(
            &self
                .launch(kubectl)
                .env("PATH", self.home.path())
                .args(args),
        )
        .await
    }

    /// On a terminal of 80 columns: all that appears there, where it ends well.
    pub(crate) async fn terminal(&self, args: &[&str], env: &[(&str, &str)]) -> Result<String> {
        let said = self.screen("", args, env).await?;
        said.ended(0)?;
        Ok(said.out)
    }

    /// On a terminal of 80 columns and 24 lines: all that appears there. `before` stands before the command, such as a
    /// program that ends it.
    pub(crate) async fn screen(
        &self,
        before: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Said> {
        let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
        let line = format!(
            "stty cols 80 rows 24; exec {before} {} {}",
            binary().display(),
            args.join(" ")
        );
        let mut launch = self
            .launch("/usr/bin/script".into())
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in env {
            launch = launch.env(*name, *value);
        }
        let said = said(&launch).await?;
        Ok(Said {
            out: said.out.replace("\r\n", "\n"),
            ..said
        })
    }

    /// A directive of the default namespace, as kubectl has it.
    pub(crate) async fn object(&self, line: &Line, name: &str) -> Result<Value> {
        let args = ["get", "diag", name, "-o", "json"];
        Ok(serde_json::from_str(
            &line.plane.kubectl(&args).await?.success()?,
        )?)
    }

    pub(crate) fn launch(&self, program: PathBuf) -> Launch {
        Launch::new(program)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
    }
}

/// A word of a shell that means itself.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

async fn said(launch: &Launch) -> Result<Said> {
    let output = command::run(launch, None).await?;
    Ok(Said {
        status: output.status.code(),
        out: output.stdout,
        err: output.stderr,
    })
}

/// Fails where `text` is not `expected`, times apart.
pub(crate) fn told(text: &str, expected: &str) -> Result<()> {
    let normal = normal(text);
    ensure!(
        normal == expected,
        "expected {expected:?}, it says {normal:?}"
    );
    Ok(())
}

/// The text with `<time>` for each time, `<left>` for each duration, and one space for several.
pub(crate) fn normal(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let mut out = String::new();
        let mut before = ' ';
        for word in line.split_inclusive(' ') {
            if word == " " && before == ' ' && !out.is_empty() {
                continue;
            }
            out += &normal_word(word);
            before = word.chars().last().unwrap_or(' ');
        }
        // An indent is one space as well.
        let indent = out.len() - out.trim_start_matches(' ').len();
        if indent > 1 {
            out[indent - 1..].to_owned()
        } else {
            out
        }
    });
    lines.collect()
}

fn normal_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| " \n:,;.()".contains(c));
    let is_time = core.len() == 20 && core.ends_with('Z') && core.as_bytes()[10] == b'T';
    if is_time {
        word.replace(core, "<time>")
    } else if parse_duration_millis(core).is_some() {
        word.replace(core, "<left>")
    } else {
        word.to_owned()
    }
}

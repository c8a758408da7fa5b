//! What a person runs: the demo tells the truth, as README.md shows it, the playground's lines work, and nothing stays.

#[allow(
    dead_code,
    reason = "the pages of the book are read and typed by other tests"
)]
#[path = "../../tests/book/acts.rs"]
mod acts;
#[allow(dead_code, reason = "likewise")]
#[path = "../../tests/book/answer.rs"]
mod answer;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testbed::command;
use testbed::process::Launch;
use testbed::scratch::Scratch;
use testbed::{eventually, http};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// No single line takes longer, and no end.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_demo_tells_its_story_and_leaves_nothing() -> Result<()> {
    let mut demo = Shown::start(env!("CARGO_BIN_EXE_demo"))?;
    demo.read_to_the_end().await?;
    let (status, errors) = demo.end().await?;
    assert!(status.success(), "{status}\n{errors}\n{}", demo.text());
    let text = demo.text();
    for told in [
        "ShapeTiming ShapeTiming ShapeTiming",
        "Off         Off         Off",
        "spec.match[0].value: Required value",
        "Expired",
        "etcd holds nothing at osproxy/directives",
    ] {
        assert!(text.contains(told), "it does not say `{told}`:\n{text}");
    }
    assert_eq!(text.matches("applies it, since then").count(), 6);
    assert_eq!(text.matches("has dropped it, since then").count(), 3);
    assert_eq!(text.matches("stopped applying it, from its end").count(), 3);
    let readme = include_str!("../../README.md");
    let shown = acts::blocks(readme).into_iter();
    let shown: Vec<_> = shown.filter(|block| block.kind == "console,demo").collect();
    assert!(shown.len() >= 5);
    for block in shown {
        let lines: Vec<String> = block.lines.iter().map(ToString::to_string).collect();
        let block = lines.join("\n");
        assert!(
            answer::is_in(&lines, &text),
            "README.md shows\n{block}\n\nand it says\n{text}"
        );
    }
    assert!(!text.contains('\x1b'), "no escapes where nobody sees them");
    demo.nothing_is_left().await
}

#[tokio::test]
async fn a_demo_whose_proxy_dies_fails_and_names_the_step() -> Result<()> {
    let mut demo = Shown::start(env!("CARGO_BIN_EXE_demo"))?;
    demo.read_until(|line| line.starts_with(" 5  ")).await?;
    signal(demo.process("proxy-2")?, Signal::KILL)?;
    demo.read_to_the_end().await?;
    let (status, errors) = demo.end().await?;
    assert_eq!(status.code(), Some(1), "{errors}");
    let last = demo.lines.iter().rev().find_map(|line| {
        let (number, _) = line.trim_start().split_once("  ")?;
        number.parse::<u32>().ok()
    });
    let step = format!("step {}, \"", last.context("no step")?);
    assert!(
        errors.contains(&step) && errors.contains("proxy-2 has ended"),
        "it does not name {step}: {errors}"
    );
    assert!(!demo.text().contains("the whole story took"));
    demo.nothing_is_left().await
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    let mut demo = Shown::start(env!("CARGO_BIN_EXE_demo"))?;
    demo.read_until(|line| line.contains("operator at")).await?;
    signal(demo.id()?, Signal::INT)?;
    demo.read_to_the_end().await?;
    let (status, errors) = demo.end().await?;
    assert_eq!(status.code(), Some(130), "{errors}");
    demo.nothing_is_left().await
}

#[tokio::test]
async fn the_playgrounds_lines_work_and_ctrl_c_leaves_nothing() -> Result<()> {
    let mut playground = Shown::start(env!("CARGO_BIN_EXE_playground"))?;
    playground
        .read_until(|line| line == "kubectl delete diag inc-4711")
        .await?;
    let script = playground
        .lines
        .iter()
        .skip_while(|line| !line.starts_with("export "));
    let script: Vec<String> = script.cloned().collect();
    assert!(script.len() > 20, "{script:?}");
    let (asked, typed): (Vec<String>, Vec<String>) = script
        .into_iter()
        .partition(|line| line.starts_with("curl "));
    let (deletion, before) = typed.split_last().context("there are lines")?;
    type_in(&before.join("\n")).await?;
    // What etcd holds reaches a proxy a moment later.
    eventually("the proxies to have it", PATIENCE, async || {
        let mut answers = Vec::new();
        for line in &asked {
            answers.push(curl(line).await?);
        }
        ensure!(answers[0].contains("ShapeTiming"), "{answers:?}");
        ensure!(answers[1].contains("\"Off\""), "{answers:?}");
        ensure!(answers[2].contains("default/inc-4711"), "{answers:?}");
        Ok(())
    })
    .await?;
    let exports: Vec<&str> = before
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("export "))
        .collect();
    let said = type_in(&format!("{}\n{deletion}", exports.join("\n"))).await?;
    assert!(said.contains("deleted"), "{said}");

    signal(playground.id()?, Signal::INT)?;
    playground.read_to_the_end().await?;
    let (status, errors) = playground.end().await?;
    assert!(status.success(), "{status}\n{errors}");
    playground.nothing_is_left().await
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_named() -> Result<()> {
    let launch = Launch::new(env!("CARGO_BIN_EXE_demo")).args(["--operator", "/nowhere/operator"]);
    let output = command::run(&launch.args(["--proxy", "/nowhere/proxy"]), None).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("/nowhere/operator"),
        "{}",
        output.stderr
    );
    Ok(())
}

/// A program that shows itself to a person, its directories in a place of our own.
struct Shown {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    lines: Vec<String>,
    temporary: Scratch,
}

impl Shown {
    fn start(program: &str) -> Result<Self> {
        let temporary = Scratch::new("shown")?;
        let mut child = Command::new(program)
            .arg("--operator")
            .arg(built("osproxy-directives")?)
            .arg("--proxy")
            .arg(built("examples/proxy")?)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("it has a standard output")?;
        Ok(Self {
            child,
            stdout: BufReader::new(stdout).lines(),
            lines: Vec::new(),
            temporary,
        })
    }

    async fn read_until(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        loop {
            let Some(line) = timeout(PATIENCE, self.stdout.next_line()).await?? else {
                let (status, errors) = self.end().await?;
                bail!("it ended ({status}): {errors}\n{}", self.text());
            };
            self.lines.push(line);
            if self.lines.last().is_some_and(|line| wanted(line)) {
                return Ok(());
            }
        }
    }

    async fn read_to_the_end(&mut self) -> Result<()> {
        while let Some(line) = timeout(PATIENCE, self.stdout.next_line()).await?? {
            self.lines.push(line);
        }
        Ok(())
    }

    /// How it ended, and what it said on standard error.
    async fn end(&mut self) -> Result<(ExitStatus, String)> {
        let status = timeout(PATIENCE, self.child.wait()).await??;
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut errors).await?;
        }
        Ok((status, errors))
    }

    fn text(&self) -> String {
        self.lines.join("\n")
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("it runs")
    }

    /// The number of a process that it printed.
    fn process(&self, name: &str) -> Result<u32> {
        let line = self
            .lines
            .iter()
            .find(|line| line.trim_start().starts_with(name));
        let line = line.with_context(|| format!("no line about {name}"))?;
        let (_, rest) = line.split_once("(process ").context("no process")?;
        let (number, _) = rest.split_once(')').context("no end of the number")?;
        Ok(number.parse()?)
    }

    /// Its directories go when it ends, and every server works in one of them.
    async fn nothing_is_left(&self) -> Result<()> {
        let directory = self.temporary.path();
        eventually("everything to be gone", PATIENCE, async || {
            let left: Vec<_> = std::fs::read_dir(directory)?.flatten().collect();
            ensure!(left.is_empty(), "{left:?} is left");
            let processes = processes_about(directory)?;
            ensure!(processes.is_empty(), "{processes:?} still run");
            for name in ["operator", "proxy-1", "proxy-2", "proxy-3"] {
                if let Ok(id) = self.process(name) {
                    ensure!(!is_running(id), "{name} still runs");
                }
            }
            Ok(())
        })
        .await
    }
}

/// The processes whose command line names a directory.
fn processes_about(directory: &Path) -> Result<Vec<String>> {
    let directory = directory.to_string_lossy();
    let lines = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    Ok(lines.filter(|line| line.contains(&*directory)).collect())
}

/// A zombie that waits for init does not count.
fn is_running(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z")
}

fn signal(id: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process has a number")?;
    kill_process(pid, signal).context("cannot send a signal")
}

/// A binary of the other package, which `cargo test --workspace` builds beside these tests.
fn built(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_demo")).with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing; `cargo build --bin osproxy-directives --example proxy` builds it",
        path.display()
    );
    Ok(path)
}

async fn type_in(script: &str) -> Result<String> {
    // kubectl keeps there what it discovered.
    let home = Scratch::new("home")?;
    let launch = Launch::new("/bin/sh")
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path());
    command::run(&launch.args(["-ec", script]), None)
        .await?
        .success()
}

/// What `curl` would answer: not every machine has it.
async fn curl(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split('\'').collect();
    let (headers, url) = match words.as_slice() {
        ["curl -H ", header, url] => {
            let (name, value) = header.split_once(": ").context("no header")?;
            (vec![(name, value)], url.trim())
        }
        [line] => (Vec::new(), line.trim_start_matches("curl ")),
        _ => bail!("`{line}` is not understood"),
    };
    http::get(url, &headers).await?.success()
}

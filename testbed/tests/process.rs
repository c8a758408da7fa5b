//! What a test started ends with it, however the test ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::eventually;
use testbed::process::{Launch, Process};
use testbed::scratch::Scratch;

const SOON: Duration = Duration::from_secs(30);
/// Set for the inner run of this very file, whose end the outer one provokes.
const INNER: &str = "TESTBED_INNER_RUN";

fn sleeper(scratch: &Scratch) -> Result<Process> {
    let launch = Launch::new("/bin/sh").args(["-c", "echo awake; sleep 300 & wait"]);
    Process::start("sleeper", launch, scratch.join("sleeper.log"))
}

/// Whether no process of the group is left; a zombie that waits for init does not count.
fn group_is_gone(group: u32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    !processes.flatten().any(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // `id (name) state parent group …`, and the name may hold anything.
        let mut fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let state = fields.next();
        state != Some("Z") && fields.nth(1) == Some(&group.to_string())
    })
}

#[tokio::test]
async fn a_dropped_process_takes_its_whole_group_along() -> Result<()> {
    let scratch = Scratch::new("process")?;
    let process = sleeper(&scratch)?;
    let group = process.id().context("it runs")?;
    assert!(!group_is_gone(group));
    drop(process);
    eventually("the group to be gone", SOON, async || {
        ensure!(group_is_gone(group));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_process_starts_again_with_the_same_log() -> Result<()> {
    let scratch = Scratch::new("process")?;
    let process = sleeper(&scratch)?;
    let said = async |times: usize| {
        process
            .ready(SOON, async || {
                ensure!(process.log_text()?.matches("awake").count() == times);
                Ok(())
            })
            .await
    };
    said(1).await?;
    assert!(process.start_again().is_err());
    process.kill()?;
    assert!(!process.is_running());
    assert!(process.pause().is_err());
    process.start_again()?;
    said(2).await
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_not_waited_for() -> Result<()> {
    let scratch = Scratch::new("process")?;
    let launch = Launch::new("/bin/sh").args(["-c", "echo the reason; exit 1"]);
    let process = Process::start("short", launch, scratch.join("short.log"))?;
    let waited = process
        .ready::<(), _>(Duration::from_mins(10), async || bail!("not yet"))
        .await;
    let error = format!("{:#}", waited.unwrap_err());
    assert!(
        error.contains("ended while it was starting") && error.contains("the reason"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server_and_no_directory() -> Result<()> {
    let (mut inner, group, directory) = inner_run("wait").await?;
    inner.kill()?;
    inner.wait()?;
    eventually("the watchdog to clean up", SOON, async || {
        ensure!(group_is_gone(group), "the server still runs");
        ensure!(
            !directory.exists(),
            "{} is still there",
            directory.display()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_panic_keeps_the_logs_and_nothing_else() -> Result<()> {
    let (mut inner, group, directory) = inner_run("panic").await?;
    let status: ExitStatus = inner.wait()?;
    assert!(!status.success());
    let log = directory.join("sleeper.log");
    eventually("the watchdog to clean up", SOON, async || {
        ensure!(group_is_gone(group), "the server still runs");
        ensure!(
            !directory.join(testbed::scratch::DATA).exists(),
            "the data is still there"
        );
        Ok(())
    })
    .await?;
    assert_eq!(std::fs::read_to_string(&log)?, "awake\n");
    let root = directory.parent().context("the root")?;
    std::fs::remove_dir_all(root)?;
    Ok(())
}

/// Runs the test below in a process of its own, until its server runs.
async fn inner_run(end: &str) -> Result<(Child, u32, PathBuf)> {
    let scratch = Scratch::new("inner")?;
    let report = scratch.join("report");
    let inner = Command::new(std::env::current_exe()?)
        .args(["--exact", "the_inner_run"])
        .env(INNER, format!("{end} {}", report.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (group, directory) = eventually("the inner run's server", SOON, async || {
        let text = std::fs::read_to_string(&report)?;
        let (group, directory) = text.trim_end().split_once(' ').context("half a report")?;
        Ok((group.parse()?, PathBuf::from(directory)))
    })
    .await?;
    Ok((inner, group, directory))
}

/// Not a test of its own: does nothing unless [`inner_run`] started it.
#[tokio::test]
async fn the_inner_run() -> Result<()> {
    let Ok(order) = std::env::var(INNER) else {
        return Ok(());
    };
    let (end, report) = order.split_once(' ').context("an order and a path")?;
    let scratch = Scratch::new("inner-server")?;
    std::fs::write(
        scratch.directory(testbed::scratch::DATA)?.join("wal"),
        "much",
    )?;
    let process = sleeper(&scratch)?;
    process
        .ready(SOON, async || {
            ensure!(process.log_text()?.contains("awake"));
            Ok(())
        })
        .await?;
    // Renamed into place, so that nobody reads half of it.
    let unfinished = Path::new(report).with_extension("unfinished");
    let id = process.id().context("it runs")?;
    std::fs::write(&unfinished, format!("{id} {}\n", scratch.path().display()))?;
    std::fs::rename(&unfinished, report)?;
    assert_ne!(end, "panic", "as ordered");
    tokio::time::sleep(Duration::from_mins(2)).await;
    Ok(())
}

//! Tools that run and end: `kubectl`, `helm`, `etcdctl` and their like.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::process::Launch;

/// No tool of a test may take longer; one that does is killed and an error.
const LIMIT: Duration = Duration::from_mins(2);

/// What a tool said.
#[derive(Clone, Debug)]
pub struct Output {
    command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; other bytes than UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// Its standard output, if it ended well.
    ///
    /// # Errors
    /// When it did not: the command, its status and what it said.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!(
            "`{}` failed ({}):\n{}{}",
            self.command,
            self.status,
            self.stdout,
            self.stderr
        )
    }

    /// Its standard error, if it failed: for tests of what is refused.
    ///
    /// # Errors
    /// When it ended well.
    pub fn failure(self) -> Result<String> {
        if !self.status.success() {
            return Ok(self.stderr);
        }
        bail!(
            "`{}` was expected to fail but did not:\n{}",
            self.command,
            self.stdout
        )
    }
}

/// Runs a tool and, when given, writes `input` to its standard input.
///
/// # Errors
/// When it cannot be started or does not end within two minutes. A bad exit status is not one.
pub async fn run(launch: &Launch, input: Option<&str>) -> Result<Output> {
    let command = launch.to_string();
    let mut tool = Command::from(launch.command());
    tool.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    })
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .kill_on_drop(true);
    let mut child = tool
        .spawn()
        .with_context(|| format!("cannot start `{command}`"))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut pipe), Some(input)) = (stdin, input) {
            // A tool that ends without reading all of it says why itself.
            let _ = pipe.write_all(input.as_bytes()).await;
        }
    };
    let work = async { tokio::join!(child.wait_with_output(), feed).0 };
    let output = tokio::time::timeout(LIMIT, work)
        .await
        .with_context(|| format!("`{command}` took longer than {LIMIT:?}"))?
        .with_context(|| format!("cannot run `{command}`"))?;
    Ok(Output {
        command,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn input_goes_in_and_output_comes_back() {
        let output = run(&Launch::new("/bin/cat"), Some("a directive"))
            .await
            .unwrap();
        assert_eq!(output.success().unwrap(), "a directive");
    }

    #[tokio::test]
    async fn a_failure_names_the_command_and_what_it_said() {
        let launch = Launch::new("/bin/sh").args(["-c", "echo no space >&2; exit 3"]);
        let output = run(&launch, None).await.unwrap();
        let error = output.clone().success().unwrap_err().to_string();
        assert!(
            error.contains("sh -c") && error.contains("no space"),
            "{error}"
        );
        assert_eq!(output.failure().unwrap(), "no space\n");
    }

    #[tokio::test]
    async fn nothing_of_our_own_environment_is_inherited() {
        let output = run(&Launch::new("/usr/bin/env").env("ONLY", "this"), None)
            .await
            .unwrap();
        assert_eq!(output.success().unwrap(), "ONLY=this\n");
    }
}

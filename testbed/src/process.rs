//! One server as a child process: its own process group, its own log, signals, and a certain end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::deadline::eventually;
use crate::scratch;

/// How much of a log an error message quotes: why a server ended is in its last lines, or in its
/// first where its usage follows.
const FIRST_LINES: usize = 5;
const LAST_LINES: usize = 15;

/// What to run: a program, its arguments and its whole environment; nothing is inherited, so that
/// a variable of the person's shell can never change what a test shows.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
}

impl Launch {
    /// A program without arguments, in an empty environment.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        command
    }
}

impl fmt::Display for Launch {
    /// The line as a person would type it, without the directory and the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            self.program.file_name().unwrap_or_default().display()
        )?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " {}", arg.display()))
    }
}

/// A server that runs, or could run again: killing it and starting it anew keeps this value,
/// its log and whatever its arguments name. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    launch: Launch,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    ended: Mutex<Option<ExitStatus>>,
}

impl Process {
    /// Starts `launch` with standard output and error appended to `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, launch: Launch, log: PathBuf) -> Result<Self> {
        let process = Self {
            name: name.to_owned(),
            launch,
            log,
            child: Mutex::new(None),
            ended: Mutex::new(None),
        };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it again after it ended; its log goes on in the same file.
    ///
    /// # Errors
    /// When it is still running, or cannot be started.
    pub fn start_again(&self) -> Result<()> {
        self.start_again_with(&[])
    }

    /// As [`Process::start_again`], with more arguments this once.
    ///
    /// # Errors
    /// As there.
    pub fn start_again_with(&self, args: &[&str]) -> Result<()> {
        let mut child = self.reaped()?;
        if child.is_some() {
            bail!("{} is running already", self.name);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut started = self
            .launch
            .command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.launch.program.display()))?;
        if let Err(error) = scratch::guard(started.id()) {
            // Nobody would end it after us, so it must not run.
            let _ = started.kill();
            let _ = started.wait();
            return Err(error);
        }
        *child = Some(started);
        self.note(None);
        Ok(())
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.reaped().ok()?.as_ref().map(Child::id)
    }

    /// Whether it runs; a paused one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.id().is_some()
    }

    /// How it ended, by whatever cause; none while it runs.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        if self.is_running() {
            return None;
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SIGSTOP: it keeps its connections and says nothing more.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, without waiting for the end.
    ///
    /// # Errors
    /// When it is not running.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGKILL to the whole process group; returns when it is gone. One that has ended is left in peace.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&self) -> Result<()> {
        let mut slot = self.reaped()?;
        if let Some(child) = slot.as_mut() {
            send(child, Signal::KILL)?;
            let status = child
                .wait()
                .with_context(|| format!("cannot wait for {}", self.name))?;
            scratch::release(child.id());
            *slot = None;
            self.note(Some(status));
        }
        Ok(())
    }

    /// Waits for its end, at most for `within`.
    ///
    /// # Errors
    /// When it still runs after that, or was not running.
    pub async fn wait(&self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        eventually(&what, within, async || {
            let mut slot = self.child();
            let child = slot.as_mut().context("it is not running")?;
            let status = child.try_wait()?.context("it is still running")?;
            scratch::release(child.id());
            *slot = None;
            self.note(Some(status));
            Ok(status)
        })
        .await
    }

    /// SIGTERM, and the wait for its end.
    ///
    /// # Errors
    /// When it is not running, or still runs after `within`.
    pub async fn stop(&self, within: Duration) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait(within).await
    }

    /// Asks `probe` until it answers `Ok`; gives up at once when the process has ended.
    ///
    /// # Errors
    /// After `within`, or when the process ended: the last answer and the end of the log.
    pub async fn ready<T, P>(&self, within: Duration, mut probe: P) -> Result<T>
    where
        P: AsyncFnMut() -> Result<T>,
    {
        let what = format!("{} to be ready", self.name);
        // The outer result ends the wait, the inner one says how it went.
        let outcome = eventually(&what, within, async || {
            if !self.is_running() {
                return Ok(Err(anyhow!("{} ended while it was starting", self.name)));
            }
            probe().await.map(Ok)
        })
        .await;
        outcome
            .and_then(|inner| inner)
            .with_context(|| format!("{}\n{}", self.log.display(), self.log_excerpt()))
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All that it has logged so far, over all its starts.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log_text(&self) -> Result<String> {
        let bytes =
            fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first and the last lines of its log: why it ended, as a rule.
    #[must_use]
    pub fn log_excerpt(&self) -> String {
        let text = self.log_text().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        match lines.len().checked_sub(FIRST_LINES + LAST_LINES) {
            None | Some(0) => lines.join("\n"),
            Some(left_out) => format!(
                "{}\n[{left_out} lines]\n{}",
                lines[..FIRST_LINES].join("\n"),
                lines[FIRST_LINES + left_out..].join("\n")
            ),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self.reaped()?.as_ref() {
            Some(child) => send(child, signal),
            None => bail!("{} is not running", self.name),
        }
    }

    /// The child, if it still runs. Its number stays its own while the guard is held, for only
    /// the holder can reap it: no signal can reach a stranger.
    fn reaped(&self) -> Result<MutexGuard<'_, Option<Child>>> {
        let mut slot = self.child();
        if let Some(child) = slot.as_mut()
            && let Some(status) = child.try_wait()?
        {
            scratch::release(child.id());
            *slot = None;
            self.note(Some(status));
        }
        Ok(slot)
    }

    fn note(&self, status: Option<ExitStatus>) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to tell anybody: the watchdog tries again when this process ends.
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!(
                "testbed: the log of {} is {}",
                self.name,
                self.log.display()
            );
        }
    }
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    kill_process_group(Pid::from_child(child), signal).context("cannot send a signal")
}

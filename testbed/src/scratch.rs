//! Directories that go away, and the watchdog that sees to it.
//!
//! All directories of one test process lie under one root in the system's temporary directory.
//! When the root is made, a small shell process starts beside it, in a process group of its own
//! and with a pipe as its standard input. The test process tells it on that pipe which server it
//! started and which ended. The pipe closes when the test process ends, by whatever cause: return,
//! panic, Ctrl-C or SIGKILL. Then the watchdog kills the servers that are left and removes
//! the root.
//!
//! A pipe and not `prctl(PR_SET_PDEATHSIG)`: that signal is sent when the *thread* that started
//! the child ends, and every test runs on a thread of its own, so a server shared between tests would
//! die with the first of them. It would need `unsafe` as well.
//!
//! When something panicked the logs are kept and their place is printed; the servers' data is
//! removed even then, for an etcd member preallocates 128 MB.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow};

/// Directories of this name hold data that nobody reads after a failure.
pub const DATA: &str = "data";

/// Once this file is in the root, the watchdog keeps the logs.
const KEEP: &str = "keep-logs";

/// Arguments: the root. Standard input: `+ GROUP` and `- GROUP` lines until the end.
const WATCHDOG: &str = r#"
groups=
while read -r verb group; do
    case $verb in
        +) groups="$groups $group" ;;
        -) left=
           for known in $groups; do [ "$known" = "$group" ] || left="$left $known"; done
           groups=$left ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
if [ -e "$1/keep-logs" ]; then
    find "$1" -type d -name data -prune -exec rm -rf {} +
    [ -z "$(find "$1" -name '*.log' | head -n 1)" ] || { echo "testbed: logs are kept in $1" >&2; exit; }
fi
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
"#;

/// A directory of one server or suite. Dropping it removes it, unless the thread is panicking.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new, empty directory; `name` is for the person who reads a path in a failure.
    ///
    /// # Errors
    /// When the directory or, the first time, the watchdog cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root()?.path.join(format!("{name}-{count}"));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside it, readable by its owner alone, for keys and tokens go there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.join(name);
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A new, empty directory inside it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failed removal is the watchdog's to repeat; a panic's logs are its to keep.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Tells the watchdog that a process group has to end with this process.
pub(crate) fn guard(group: u32) -> Result<()> {
    root()?
        .tell('+', group)
        .context("the testbed's watchdog is gone")
}

/// Tells the watchdog that a process group has ended; its number may be another's from now on.
pub(crate) fn release(group: u32) {
    if let Ok(root) = root() {
        // Without a watchdog there is nobody who could harm the group.
        let _ = root.tell('-', group);
    }
}

/// The one root of this process and the pipe to its watchdog.
struct Root {
    path: PathBuf,
    watchdog: Mutex<ChildStdin>,
}

impl Root {
    fn create() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("osproxy-testbed-")
            .tempdir()
            .context("cannot create a temporary directory")?
            .keep();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "testbed-watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh, the testbed's watchdog")?;
        let watchdog = shell
            .stdin
            .take()
            .context("the watchdog has no standard input")?;
        keep_logs_after_a_panic(path.join(KEEP));
        Ok(Self {
            path,
            watchdog: Mutex::new(watchdog),
        })
    }

    fn tell(&self, verb: char, group: u32) -> io::Result<()> {
        let mut pipe = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipe, "{verb} {group}")
    }
}

fn root() -> Result<&'static Root> {
    static ROOT: OnceLock<Result<Root, String>> = OnceLock::new();
    ROOT.get_or_init(|| Root::create().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Servers that a whole suite shares are never dropped, so a failed test is noticed by its panic.
fn keep_logs_after_a_panic(marker: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = File::create(&marker);
        before(panic);
    }));
}

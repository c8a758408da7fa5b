//! Building a pinned tool, once, whoever asks first.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::pin::Pin;

/// Kubernetes 1.36 built with Go 1.27 serves an unusable `OpenAPI` document, because
/// `encoding/json` changed there (kubernetes/kubernetes#141582); all pins build with 1.26.
const GO: &str = "go1.26.";
/// What another Go is asked to fetch and use in its place.
const GO_TOOLCHAIN: &str = "go1.26.8";
/// How often a long build says that it is alive.
const PROGRESS: Duration = Duration::from_secs(15);

/// Builds `tool` to `target`, unless another process has done so while this one waited for it.
pub(super) fn build(pin: &Pin, tool: &str, target: &Path) -> Result<()> {
    let (package, place) = pin.package(tool)?;
    let directory = target
        .parent()
        .context("the cache has no parent directory")?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    // Until the end of this function, or of this process.
    let _lock = lock(directory, tool)?;
    if target.exists() {
        return Ok(());
    }
    let what = format!(
        "{tool} {} ({place} of {} of {})",
        pin.version(),
        pin.tools().count(),
        pin.name()
    );
    say(&format!(
        "building {what} from source, once; this takes minutes"
    ));
    let start = Instant::now();
    let unfinished = directory.join(format!(".{tool}.unfinished"));
    compile(pin, package, &unfinished, &what, start)?;
    fs::rename(&unfinished, target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    say(&format!(
        "built {what} in {}; kept in {}",
        time(start.elapsed()),
        directory.display()
    ));
    Ok(())
}

/// One build of a folder at a time, over all test processes of this user.
fn lock(directory: &Path, tool: &str) -> Result<File> {
    let path = directory.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        say(&format!(
            "waiting for another process that builds {tool} or its like"
        ));
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn compile(pin: &Pin, package: &str, output: &Path, what: &str, start: Instant) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(pin.folder())
        .args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-tags",
            pin.tags(),
            "-ldflags",
            pin.linker_flags(),
            "-o",
        ])
        .arg(output)
        .arg(package)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if !go_version(pin.folder())?.starts_with(GO) {
        go.env("GOTOOLCHAIN", GO_TOOLCHAIN);
    }
    let mut child = go.spawn().context("cannot start `go`")?;
    let errors = child.stderr.take().context("`go` has no standard error")?;
    // Read beside the wait, for a full pipe would stop the build.
    let reader = std::thread::spawn(move || io::read_to_string(errors));
    let mut next = PROGRESS;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() >= next {
            next += PROGRESS;
            say(&format!("building {what}: {}", time(start.elapsed())));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let errors = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    if !status.success() {
        bail!(
            "`go build {package}` in {} failed ({status}); the Go module proxy has to be within \
             reach the first time (see `go env GOPROXY`):\n{errors}",
            pin.folder().display()
        );
    }
    Ok(())
}

/// The version of the Go that is in `PATH`, as in `go1.26.8`.
fn go_version(folder: &Path) -> Result<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir(folder)
        .output()
        .context(
            "`go` is not in PATH, so the servers of the testbed cannot be built; install Go 1.26 \
         (https://go.dev/dl/), or name a directory with ready servers in KUBEBUILDER_ASSETS",
        )?;
    if !output.status.success() {
        bail!(
            "`go env GOVERSION` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Past the capture of the test harness: whoever waits for minutes has to see why.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "testbed: {line}");
}

fn time(duration: Duration) -> String {
    format!(
        "{} min {:02} s",
        duration.as_secs() / 60,
        duration.as_secs() % 60
    )
}

//! Where the servers and their tools come from.
//!
//! 1. `KUBEBUILDER_ASSETS`, the variable that envtest made usual: a directory with `etcd`,
//!    `kube-apiserver` and `kubectl`; any other tool is taken from it when it is there. It stands for
//!    the default versions alone.
//! 2. The cache of this user: `${XDG_CACHE_HOME:-$HOME/.cache}/osproxy-directives/`, a directory
//!    for each pinned version and way of building it.
//! 3. `go build` from `testbed/servers/<name>-<minor>`, once, into that cache.
//!
//! Another version joins by another folder there and nothing else: which tools it has and which
//! version is read from its `go.mod`.

mod build;
mod pin;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use pin::Pin;

/// The etcd that tests run against unless they say otherwise.
pub const ETCD: &str = "etcd-3.7";
/// The Helm that renders and installs the chart.
pub const HELM: &str = "helm-4";
/// The promtool that checks the chart's alerts.
pub const PROMETHEUS: &str = "prometheus-0.313";
/// Names another folder for [`kubernetes`], so that a whole suite runs on another version.
pub const KUBERNETES_VARIABLE: &str = "TESTBED_KUBERNETES";

const DEFAULT_KUBERNETES: &str = "1.36";
const READY_MADE: &str = "KUBEBUILDER_ASSETS";
/// What envtest promises to be in that directory.
const READY_MADE_TOOLS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// The folder of the Kubernetes that this run is about: `kubernetes-1.36`, or the version that
/// the variable `TESTBED_KUBERNETES` names.
#[must_use]
pub fn kubernetes() -> String {
    let version = env::var(KUBERNETES_VARIABLE).unwrap_or_default();
    let version = if version.is_empty() {
        DEFAULT_KUBERNETES
    } else {
        &version
    };
    format!("kubernetes-{version}")
}

/// The path of a ready `tool` of the pinned `folder`, as in `("etcd-3.7", "etcdctl")`. Built
/// first if need be, which takes minutes and says so on standard error.
///
/// # Errors
/// When there is no such folder or tool, Go is missing, or the build fails.
pub async fn tool(folder: &str, tool: &str) -> Result<PathBuf> {
    let (folder, tool) = (folder.to_owned(), tool.to_owned());
    tokio::task::spawn_blocking(move || find(&folder, &tool)).await?
}

/// Makes every tool of the given folders ready, one after the other.
///
/// # Errors
/// As [`tool`].
pub async fn prepare(folders: &[&str]) -> Result<Vec<PathBuf>> {
    let mut ready = Vec::new();
    for folder in folders {
        for name in Pin::read(folder)?.tools() {
            ready.push(tool(folder, name).await?);
        }
    }
    Ok(ready)
}

/// The version that a folder pins, as in `3.7.3`.
///
/// # Errors
/// When there is no such folder, or its `go.mod` names no version.
pub fn version(folder: &str) -> Result<String> {
    Ok(Pin::read(folder)?.version().to_owned())
}

fn find(folder: &str, tool: &str) -> Result<PathBuf> {
    if let Some(path) = ready_made(folder, tool)? {
        return Ok(path);
    }
    let pin = Pin::read(folder)?;
    let path = cache()?.join(pin.cache_key()).join(tool);
    if !path.exists() {
        build::build(&pin, tool, &path)?;
    }
    Ok(path)
}

/// The tool in `KUBEBUILDER_ASSETS`; none when that is not set or not about this version.
fn ready_made(folder: &str, tool: &str) -> Result<Option<PathBuf>> {
    let Some(directory) = env::var_os(READY_MADE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let kubernetes = format!("kubernetes-{DEFAULT_KUBERNETES}");
    if ![ETCD, HELM, PROMETHEUS, &kubernetes].contains(&folder) {
        return Ok(None);
    }
    let path = Path::new(&directory).join(tool);
    if path.exists() {
        return Ok(Some(path));
    }
    if READY_MADE_TOOLS.contains(&tool) {
        bail!(
            "{READY_MADE} names {}, but there is no `{tool}` in it; \
             put one there, or unset the variable to build the pinned one",
            path.parent().unwrap_or(&path).display()
        );
    }
    Ok(None)
}

fn cache() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set, so there is no place for built servers; set one of them")?;
    Ok(base.join("osproxy-directives"))
}

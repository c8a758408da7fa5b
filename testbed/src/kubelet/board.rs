//! What runs, for those outside of the Pods' own tasks: who asks for a log, who looks, and who stops everything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use crate::process::{Launch, Process};

/// A Pod as it stands on this node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PodView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its own address, on which it listens.
    pub ip: Ipv4Addr,
    /// Whether it is Ready.
    pub ready: bool,
    /// Its containers, those for its start first.
    pub containers: Vec<ContainerView>,
}

/// A container as it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its process, the newest; none where none was started yet. It stays for looks after its end.
    pub process: Option<Arc<Process>>,
    /// The log of each of its runs.
    pub logs: Vec<PathBuf>,
}

/// Shared by all who need it.
#[derive(Debug, Default)]
pub(super) struct Board {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<String, PodView>,
    processes: Vec<Arc<Process>>,
    closed: bool,
}

impl Board {
    /// Starts a process that [`Board::close`] will end; after that none is started.
    pub(super) fn start(&self, name: &str, launch: Launch, log: PathBuf) -> Result<Arc<Process>> {
        let mut inner = self.inner();
        if inner.closed {
            bail!("the node is going down");
        }
        let process = Arc::new(Process::start(name, launch, log)?);
        inner.processes.retain(|process| process.is_running());
        inner.processes.push(Arc::clone(&process));
        Ok(process)
    }

    /// Ends every process. Returns when they are gone.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        for process in inner.processes.drain(..) {
            // The watchdog tries again when this process ends.
            let _ = process.kill();
        }
    }

    pub(super) fn show(&self, uid: &str, view: PodView) {
        self.inner().pods.insert(uid.to_owned(), view);
    }

    pub(super) fn remove(&self, uid: &str) {
        self.inner().pods.remove(uid);
    }

    pub(super) fn pods(&self) -> Vec<PodView> {
        self.inner().pods.values().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

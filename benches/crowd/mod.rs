//! Many readers of one key, in processes of their own: as many as the limit of open files demands.
//!
//! Each reader tells when it has taken which revision, so every figure is of all readers, not of a sample.

#![allow(
    dead_code,
    reason = "shared by measurements that each use a part of it"
)]

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::Etcd;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::machine::busy_seconds;

pub(crate) mod inside;

/// A client of three members holds three sockets, and some more for a moment when it connects anew.
const FILES_A_READER: usize = 4;

/// What a process of readers tells.
enum Told {
    /// How many of its readers have a watch open.
    Connected { process: usize, readers: usize },
    /// One of them has taken this revision, at this moment.
    Has { revision: i64, at_nanos: u64 },
}

/// The processes.
pub(crate) struct Crowd {
    processes: Vec<Child>,
    kind: String,
    many: usize,
    endpoints: String,
    tell: mpsc::UnboundedSender<Vec<Told>>,
    told: mpsc::UnboundedReceiver<Vec<Told>>,
    connected: HashMap<usize, usize>,
    has: HashMap<i64, Vec<u64>>,
}

impl Crowd {
    /// Starts `many` readers of a kind that [`inside::run`] knows.
    pub(crate) async fn start(etcd: &Etcd, kind: &str, many: usize) -> Result<Self> {
        let limit = Command::new("sh")
            .args(["-c", "ulimit -Hn"])
            .output()
            .await?;
        let limit = String::from_utf8(limit.stdout)?;
        // Unlimited is a word.
        let limit: usize = limit.trim().parse().unwrap_or(1_000_000);
        let fit = (limit.saturating_sub(500) / FILES_A_READER).max(1);
        let processes = many.div_ceil(fit).max(4.min(many));
        let (tell, told) = mpsc::unbounded_channel();
        let mut crowd = Self {
            processes: Vec::new(),
            kind: kind.to_owned(),
            many,
            endpoints: etcd.endpoint_list(),
            tell,
            told,
            connected: HashMap::new(),
            has: HashMap::new(),
        };
        for process in 0..processes {
            let child = crowd.spawn(process, processes)?;
            crowd.processes.push(child);
        }
        Ok(crowd)
    }

    /// Kills one of the processes without a word, and starts it again.
    pub(crate) async fn restart(&mut self, process: usize) -> Result<()> {
        self.processes[process].kill().await?;
        // What it had told before is no word of the one that comes now.
        while let Ok(told) = self.told.try_recv() {
            for told in told {
                self.take(&told);
            }
        }
        self.processes[process] = self.spawn(process, self.processes.len())?;
        Ok(())
    }

    fn spawn(&self, process: usize, processes: usize) -> Result<Child> {
        let readers = self.many / processes + usize::from(process < self.many % processes);
        // Also raises the soft limit.
        let mut child = Command::new("sh")
            .args(["-c", r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#])
            .arg(std::env::current_exe()?)
            .args([&self.kind, &readers.to_string(), &self.endpoints])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let tell = self.tell.clone();
        tokio::spawn(async move {
            // What one process tells at a time ends with how many of its readers are connected.
            let mut batch = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                batch.extend(parse(process, &line));
                if matches!(batch.last(), Some(Told::Connected { .. })) {
                    let _ = tell.send(std::mem::take(&mut batch));
                }
            }
        });
        Ok(child)
    }

    /// How many processes they are.
    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Seconds of processor time that they have taken so far.
    pub(crate) fn busy_seconds(&self) -> Result<f64> {
        let ids = self.processes.iter().filter_map(Child::id);
        ids.map(busy_seconds).sum()
    }

    fn take(&mut self, told: &Told) {
        match *told {
            Told::Connected { process, readers } => {
                self.connected.insert(process, readers);
            }
            Told::Has { revision, at_nanos } => {
                self.has.entry(revision).or_default().push(at_nanos);
            }
        }
    }

    /// Waits until `many` have said from now on that they have a watch open.
    pub(crate) async fn all_connected(&mut self, many: usize, within: Duration) -> Result<()> {
        self.connected.clear();
        self.until(within, |crowd| {
            crowd.connected.values().sum::<usize>() >= many
        })
        .await
        .with_context(|| {
            let connected: usize = self.connected.values().sum();
            format!("only {connected} of {many} readers are connected")
        })
    }

    /// When each reader had taken the revision.
    pub(crate) async fn all_have(
        &mut self,
        revision: i64,
        many: usize,
        within: Duration,
    ) -> Result<Vec<u64>> {
        let reached = self.until(within, |crowd| {
            crowd.has.get(&revision).map_or(0, Vec::len) >= many
        });
        let reached = reached.await;
        let seen = self.has.remove(&revision).unwrap_or_default();
        reached.with_context(|| format!("only {} of {many} readers have it", seen.len()))?;
        Ok(seen)
    }

    async fn until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = async {
            while !done(self) {
                let told = self.told.recv().await.context("the readers are gone")?;
                for told in told {
                    self.take(&told);
                }
            }
            Ok(())
        };
        tokio::time::timeout(within, waiting).await?
    }

    pub(crate) async fn stop(mut self) {
        for child in &mut self.processes {
            let _ = child.kill().await;
        }
    }
}

fn parse(process: usize, line: &str) -> Option<Told> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "connected" => Some(Told::Connected {
            process,
            readers: rest.parse().ok()?,
        }),
        "has" => {
            let (revision, at_nanos) = rest.split_once(' ')?;
            Some(Told::Has {
                revision: revision.parse().ok()?,
                at_nanos: at_nanos.parse().ok()?,
            })
        }
        _ => None,
    }
}

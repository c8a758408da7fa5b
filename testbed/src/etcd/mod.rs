//! Real etcd clusters of one or more members.

mod member;
mod peers;
mod replacement;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::assets;
use crate::command::{self, Output};
use crate::fault::{Direction, FaultProxy};
use crate::process::Launch;
use crate::scratch::{self, Scratch};

use peers::Links;

pub use member::Member;

/// How an [`Etcd`] is started: one member of [`assets::ETCD`], without `fsync`, unless said otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EtcdOptions {
    members: usize,
    folder: String,
    flags: Vec<String>,
    fsync: bool,
    peer_links: bool,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            members: 1,
            folder: assets::ETCD.to_owned(),
            flags: Vec::new(),
            fsync: false,
            peer_links: false,
        }
    }
}

impl EtcdOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many members; one or three are usual.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// A minor version, as in `3.5`: there has to be a folder `testbed/servers/etcd-3.5`.
    #[must_use]
    pub fn version(mut self, minor: &str) -> Self {
        self.folder = format!("etcd-{minor}");
        self
    }

    /// Adds one flag for every member, as in `--quota-backend-bytes=2097152`. The last one of a
    /// name holds, so this also replaces what the testbed passes itself.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Waits for the disk on every write, as a production etcd does: for measurements.
    #[must_use]
    pub fn fsync(mut self) -> Self {
        self.fsync = true;
        self
    }

    /// Puts a fault proxy on each link between members, for [`Etcd::isolate`] and
    /// [`Etcd::peer_link`]. On Linux alone.
    #[must_use]
    pub fn peer_links(mut self) -> Self {
        self.peer_links = true;
        self
    }
}

/// A running cluster. Dropping it kills every member and removes their data.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    links: Option<Links>,
    folder: String,
    scratch: Scratch,
}

impl Etcd {
    /// Starts a cluster and waits until every member is healthy: about a second for one member, two
    /// for three.
    ///
    /// # Errors
    /// When the binaries are missing and cannot be built, or a member is not healthy in 30 seconds.
    pub async fn start(options: EtcdOptions) -> Result<Self> {
        let etcd = Self::launch(options).await?;
        etcd.healthy().await?;
        Ok(etcd)
    }

    /// Starts a cluster without waiting for its health: for servers that wait for it themselves.
    pub(crate) async fn launch(options: EtcdOptions) -> Result<Self> {
        let program = assets::tool(&options.folder, "etcd").await?;
        let scratch = Scratch::new("etcd")?;
        let (members, links) = member::start_cluster(&program, &options, &scratch).await?;
        Ok(Self {
            members,
            links,
            folder: options.folder,
            scratch,
        })
    }

    /// The client addresses, `http://127.0.0.1:<port>` each; they outlive kills and restarts.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// The client addresses as flags and files take them: with commas.
    #[must_use]
    pub fn endpoint_list(&self) -> String {
        self.endpoints().join(",")
    }

    /// A member, counted from zero.
    ///
    /// # Panics
    /// When there is no such member.
    #[must_use]
    pub fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Cuts a member off from the others and them from it, by their peer links alone: clients go on
    /// reaching everybody, and no connection is closed. It holds until [`Etcd::rejoin`].
    ///
    /// # Errors
    /// When the cluster was not started with [`EtcdOptions::peer_links`].
    pub fn isolate(&self, member: usize) -> Result<()> {
        let links = self.links()?;
        links
            .of(member)
            .for_each(|link| link.blackhole(Direction::Both));
        Ok(())
    }

    /// Ends every fault on the links of a member.
    ///
    /// # Errors
    /// As [`Etcd::isolate`].
    pub fn rejoin(&self, member: usize) -> Result<()> {
        self.links()?.of(member).for_each(FaultProxy::heal);
        Ok(())
    }

    /// The link by which one member dials another one. Each of the two dials the other, and both
    /// links carry messages both ways.
    ///
    /// # Errors
    /// As [`Etcd::isolate`], or when there are no two such members.
    pub fn peer_link(&self, from: usize, to: usize) -> Result<&FaultProxy> {
        let link = self.links()?.link(from, to);
        link.with_context(|| format!("there is no link from member {from} to member {to}"))
    }

    fn links(&self) -> Result<&Links> {
        let links = self.links.as_ref();
        links.context("this cluster has no links; start it with `EtcdOptions::peer_links`")
    }

    /// Which member leads.
    ///
    /// # Errors
    /// When none does, or no member answers.
    pub async fn leader(&self) -> Result<usize> {
        for (index, member) in self.members.iter().enumerate() {
            let status = self.status_of(&member.endpoint()).await;
            if status
                .is_ok_and(|status| status.pointer("/header/member_id") == status.get("leader"))
            {
                return Ok(index);
            }
        }
        anyhow::bail!(
            "no member of {} answers that it leads",
            self.endpoint_list()
        )
    }

    /// A client of all members, with the library's own defaults.
    ///
    /// # Errors
    /// When none of them accepts.
    pub async fn client(&self) -> Result<etcd_client::Client> {
        etcd_client::Client::connect(self.endpoints(), None)
            .await
            .context("cannot connect to etcd")
    }

    /// Waits until every running member is healthy, which takes a quorum.
    ///
    /// # Errors
    /// When one is not within 30 seconds.
    pub async fn healthy(&self) -> Result<()> {
        for member in self.members.iter().filter(|member| member.is_running()) {
            member.healthy().await?;
        }
        Ok(())
    }

    /// SIGKILL to all members.
    ///
    /// # Errors
    /// When a signal cannot be sent.
    pub fn kill(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::kill)
    }

    /// Starts all members that do not run, on their old ports and data, and waits until they are healthy.
    ///
    /// # Errors
    /// When one cannot be started or is not healthy within 30 seconds.
    pub async fn restart(&self) -> Result<()> {
        for member in self.members.iter().filter(|member| !member.is_running()) {
            member.start_again()?;
        }
        self.healthy().await
    }

    /// Kills all members, forgets everything, and starts as a new cluster on the old addresses.
    ///
    /// # Errors
    /// As [`Etcd::restart`].
    pub async fn wipe(&self) -> Result<()> {
        self.kill()?;
        for member in &self.members {
            member.forget()?;
        }
        self.restart().await
    }

    /// Saves a snapshot of the first member and returns its file, which lives as long as this cluster.
    ///
    /// # Errors
    /// When `etcdctl` fails.
    pub async fn snapshot(&self, name: &str) -> Result<PathBuf> {
        let file = self.scratch.join(name);
        let endpoint = format!("--endpoints={}", self.member(0).endpoint());
        let path = file.to_string_lossy();
        self.etcdctl(&[&endpoint, "snapshot", "save", &path])
            .await?
            .success()?;
        Ok(file)
    }

    /// Kills all members and starts them from a snapshot, as an administrator would: the same
    /// addresses, another cluster id, the snapshot's revision (raised where `flags` say so, as with
    /// `--bump-revision=1000000000 --mark-compacted`).
    ///
    /// # Errors
    /// When `etcdutl` fails, or as [`Etcd::restart`].
    pub async fn restore(&self, snapshot: &Path, flags: &[&str]) -> Result<()> {
        self.kill()?;
        let file = snapshot.to_string_lossy();
        for member in &self.members {
            member.forget()?;
            let restore = member.restore_flags();
            let mut args = vec!["snapshot", "restore", &file];
            args.extend(restore.iter().map(String::as_str));
            args.extend(flags);
            self.etcdutl(&args).await?.success()?;
        }
        self.restart().await
    }

    /// Runs `etcdctl` against all members.
    ///
    /// # Errors
    /// When it cannot be started; a bad exit status is in the output.
    pub async fn etcdctl(&self, args: &[&str]) -> Result<Output> {
        self.etcdctl_with_input(args, None).await
    }

    /// Runs `etcdctl` with a standard input, as `etcdctl put key` and `etcdctl txn` want one.
    ///
    /// # Errors
    /// As [`Etcd::etcdctl`].
    pub async fn etcdctl_with_input(&self, args: &[&str], input: Option<&str>) -> Result<Output> {
        let mut launch = Launch::new(assets::tool(&self.folder, "etcdctl").await?);
        // A flag and the variable together are an error to etcdctl.
        if !args.iter().any(|arg| arg.starts_with("--endpoints")) {
            launch = launch.env("ETCDCTL_ENDPOINTS", self.endpoint_list());
        }
        command::run(&launch.args(args), input).await
    }

    /// Runs `etcdutl`, which works on files.
    ///
    /// # Errors
    /// As [`Etcd::etcdctl`].
    pub async fn etcdutl(&self, args: &[&str]) -> Result<Output> {
        let launch = Launch::new(assets::tool(&self.folder, "etcdutl").await?).args(args);
        command::run(&launch, None).await
    }

    /// What one member says of itself: `etcdctl endpoint status`, its `Status` member.
    async fn status_of(&self, endpoint: &str) -> Result<Value> {
        let flag = format!("--endpoints={endpoint}");
        let args = [
            flag.as_str(),
            "--command-timeout=2s",
            "endpoint",
            "status",
            "--write-out=json",
        ];
        let answer: Value = serde_json::from_str(&self.etcdctl(&args).await?.success()?)?;
        answer
            .pointer("/0/Status")
            .cloned()
            .context("no status in the answer")
    }
}

/// How long a member may take to be healthy: a second as a rule, more on a busy machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
/// How long a member may take to end after SIGTERM: it first hands its leadership over.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// See [`scratch::DATA`].
const DATA: &str = scratch::DATA;

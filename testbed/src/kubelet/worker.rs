//! One Pod of this node, from its start to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::kube::Error;
use ::kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::address::Address;
use super::board::PodView;
use super::events::Events;
use super::launch::{Refused, launch};
use super::objects::{Objects, Tokens};
use super::probe::Prober;
use super::status::{Picture, Since, now};
use super::unit::Unit;
use super::volumes;

/// Between two looks at the processes.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at the objects that are mounted. A kubelet takes up to a minute and a half.
const SYNC: Duration = Duration::from_secs(1);
/// After something that the API server refused.
const PAUSE: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(30);

/// Everything about one Pod. Dropping it leaves its processes to the board.
pub(super) struct Worker {
    shared: Arc<Shared>,
    pod: Pod,
    spec: PodSpec,
    uid: String,
    directory: PathBuf,
    address: Address,
    objects: Objects,
    tokens: Tokens,
    renewals: u64,
    mounted: bool,
    next_sync: Instant,
    inits: Vec<Unit>,
    units: Vec<Unit>,
    events: Events,
    complaints: BTreeMap<String, usize>,
    started: String,
    since: Since,
    sent: Option<Value>,
    next_send: Instant,
    terminating: bool,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, pod: Pod) -> Result<Self> {
        let uid = pod.metadata.uid.clone().context("a Pod without a uid")?;
        let spec = pod.spec.clone().context("a Pod without a spec")?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        let reason = if inits.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let fresh = |list: &[Container]| {
            let list = list.iter().cloned();
            list.map(|container| Unit::new(container, reason)).collect()
        };
        Ok(Self {
            directory: shared.scratch.directory(&format!("pods/{uid}"))?,
            address: Address::claim()?,
            objects: Objects::new(shared.client.clone(), namespace),
            tokens: Tokens::default(),
            renewals: 0,
            mounted: false,
            next_sync: Instant::now(),
            inits: fresh(inits),
            units: fresh(&spec.containers),
            events: Events::default(),
            complaints: BTreeMap::new(),
            started: now(),
            since: Since::new(),
            sent: None,
            next_send: Instant::now(),
            terminating: false,
            shared,
            pod,
            spec,
            uid,
        })
    }

    /// Runs until the Pod is gone from the API server; `news` brings its newest form, and none at its end.
    pub(super) async fn run(mut self, mut news: watch::Receiver<Option<Pod>>) {
        loop {
            let Some(pod) = news.borrow_and_update().clone() else {
                break;
            };
            self.learn(pod);
            if self.step().await && self.say_goodbye().await {
                break;
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(TICK) => {}
            }
        }
        for unit in self.inits.iter_mut().chain(&mut self.units) {
            unit.stop(Duration::ZERO);
            unit.look();
        }
        self.shared.board.remove(&self.uid);
    }

    /// Takes over what the API server says of the Pod, and sees whether somebody else changed its status.
    fn learn(&mut self, pod: Pod) {
        if pod.metadata.resource_version == self.pod.metadata.resource_version {
            return;
        }
        let ready = |status: &Value| -> Option<String> {
            let conditions = status["conditions"].as_array()?.iter();
            let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
            Some(ready.next()?["status"].as_str()?.to_owned())
        };
        let theirs = serde_json::to_value(&pod.status)
            .ok()
            .as_ref()
            .and_then(ready);
        if theirs.is_some() && theirs != self.sent.as_ref().and_then(ready) {
            self.sent = None;
        }
        self.pod = pod;
    }

    /// Does what is due, and says whether this Pod has only its farewell left.
    async fn step(&mut self) -> bool {
        let done = if self.pod.metadata.deletion_timestamp.is_some() {
            self.terminate()
        } else {
            if self.mount().await {
                self.drive().await;
            }
            false
        };
        self.complain();
        self.report().await;
        done
    }

    /// Fills the volumes, now and then; false until all have been filled once.
    async fn mount(&mut self) -> bool {
        let renewals = self.shared.renewals.load(Ordering::Relaxed);
        if self.renewals < renewals {
            self.renewals = renewals;
            self.tokens.forget();
            self.next_sync = Instant::now();
        }
        if Instant::now() < self.next_sync {
            return self.mounted;
        }
        self.next_sync = Instant::now() + SYNC;
        let pod = self.with_address();
        let mut failure = None;
        for volume in self.spec.volumes.iter().flatten() {
            let directory = volume_directory(&self.directory, &volume.name);
            let tokens = &mut self.tokens;
            let filled = volumes::fill(&directory, volume, &pod, &self.objects, tokens).await;
            if let Err(error) = filled {
                let name = &volume.name;
                failure.get_or_insert(format!(
                    "MountVolume.SetUp failed for volume \"{name}\" : {error:#}"
                ));
            }
        }
        match failure {
            Some(message) if !self.mounted => self.tell("Warning", "FailedMount", &message),
            Some(_) => {}
            None => self.mounted = true,
        }
        self.mounted
    }

    /// Starts what is due, one init container after the other and then all containers.
    async fn drive(&mut self) {
        for index in 0..self.inits.len() {
            if !self.inits[index].has_succeeded() {
                self.advance(true, index).await;
                return;
            }
        }
        for index in 0..self.units.len() {
            self.advance(false, index).await;
        }
    }

    async fn advance(&mut self, init: bool, index: usize) {
        let grace = self.grace();
        let policy = self.policy().to_owned();
        let unit = self.unit(init, index);
        unit.look();
        if let Some(why) = unit.verdict().fatal {
            let message = format!("Container {} {why}, will be restarted", unit.spec.name);
            unit.stop(grace);
            self.tell("Normal", "Killing", &message);
            return;
        }
        let unit = self.unit(init, index);
        let again = unit.has_ended()
            && match policy.as_str() {
                "Never" => false,
                "OnFailure" => !unit.has_succeeded(),
                _ => !(init && unit.has_succeeded()),
            };
        if again {
            let first = self.shared.back_off;
            self.unit(init, index).again(first);
            let name = self.unit(init, index).spec.name.clone();
            let message = format!("Back-off restarting failed container {name}");
            self.tell("Warning", "BackOff", &message);
        }
        if self.unit(init, index).is_due() {
            self.start(init, index).await;
        }
    }

    async fn start(&mut self, init: bool, index: usize) {
        let pod = self.with_address();
        let (ip, directory) = (self.address.ip(), self.directory.clone());
        let container = self.unit(init, index).spec.clone();
        let name = container.name.clone();
        let made = launch(&self.shared, &container, &pod, &self.objects, &directory).await;
        let run = self.unit(init, index).logs.len();
        let log = directory.join(format!("{name}-{run}.log"));
        let started = made.and_then(|launch| {
            let title = pod.metadata.name.clone().unwrap_or_default();
            let process = self.shared.board.start(&title, launch, log.clone());
            process.map_err(|error| Refused::new("RunContainerError", &error))
        });
        match started {
            Ok(process) => {
                let prober = Prober::start(&container, ip);
                let unit = self.unit(init, index);
                unit.logs.push(log);
                unit.started(process, prober);
                self.complaints.remove(&name);
            }
            Err(Refused { reason, message }) => {
                self.tell("Warning", "Failed", &message);
                self.unit(init, index).wait(reason, message, SYNC);
            }
        }
    }

    /// SIGTERM to all, SIGKILL after the grace; true once nothing runs.
    fn terminate(&mut self) -> bool {
        let grace = self.pod.metadata.deletion_grace_period_seconds;
        let grace = grace.and_then(|seconds| u64::try_from(seconds).ok());
        let grace = grace.map_or_else(|| self.grace(), Duration::from_secs);
        self.terminating = true;
        for unit in self.inits.iter_mut().chain(&mut self.units) {
            unit.stop(grace);
            unit.look();
        }
        !self.inits.iter().chain(&self.units).any(Unit::is_running)
    }

    /// Takes the Pod out of the API server, as only its kubelet may.
    async fn say_goodbye(&self) -> bool {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        match self.api().delete(name, &params).await {
            Ok(_) => true,
            Err(Error::Api(status)) => [404, 409].contains(&status.code),
            Err(_) => false,
        }
    }

    fn complain(&mut self) {
        let mut all = Vec::new();
        for unit in self.inits.iter().chain(&self.units) {
            let complaints = unit.verdict().complaints;
            let told = self.complaints.entry(unit.spec.name.clone()).or_default();
            all.extend(complaints.iter().skip(*told).cloned());
            *told = complaints.len();
        }
        for message in all {
            self.tell("Warning", "Unhealthy", &message);
        }
    }

    /// Shows the Pod on the board, and writes its status where it differs.
    async fn report(&mut self) {
        let picture = Picture {
            inits: &self.inits,
            units: &self.units,
            ip: self.address.ip().to_string(),
            started: &self.started,
            policy: self.spec.restart_policy.as_deref().unwrap_or("Always"),
            terminating: self.terminating,
        };
        let ready = picture.is_ready();
        let status = picture.status(&mut self.since);
        let meta = &self.pod.metadata;
        let view = PodView {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            ip: self.address.ip(),
            ready,
            containers: self
                .inits
                .iter()
                .chain(&self.units)
                .map(Unit::view)
                .collect(),
        };
        self.shared.board.show(&self.uid, view);
        if self.sent.as_ref() == Some(&status) || Instant::now() < self.next_send {
            return;
        }
        let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
        let name = self.pod.metadata.name.clone().unwrap_or_default();
        let params = PatchParams::default();
        let written = self
            .api()
            .patch_status(&name, &params, &Patch::Strategic(&patch))
            .await;
        match written {
            Ok(_) => self.sent = Some(status),
            Err(_) => self.next_send = Instant::now() + PAUSE,
        }
    }

    fn tell(&mut self, kind: &str, reason: &str, message: &str) {
        self.events
            .tell(&self.shared.client, &self.pod, kind, reason, message);
    }

    fn unit(&mut self, init: bool, index: usize) -> &mut Unit {
        if init {
            &mut self.inits[index]
        } else {
            &mut self.units[index]
        }
    }

    /// The Pod with the address that its status will have.
    fn with_address(&self) -> Pod {
        let mut pod = self.pod.clone();
        let status = pod.status.get_or_insert_with(PodStatus::default);
        status.pod_ip = Some(self.address.ip().to_string());
        status.host_ip = Some("127.0.0.1".to_owned());
        pod
    }

    fn policy(&self) -> &str {
        self.spec.restart_policy.as_deref().unwrap_or("Always")
    }

    fn grace(&self) -> Duration {
        let seconds = self.spec.termination_grace_period_seconds;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(GRACE, Duration::from_secs)
    }

    fn api(&self) -> Api<Pod> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.shared.client.clone(), namespace)
    }
}

/// Where a volume of a Pod lies.
pub(super) fn volume_directory(pod: &Path, volume: &str) -> PathBuf {
    pod.join("volumes").join(volume)
}

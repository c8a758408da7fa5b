//! The operator as the chart would run it: its manifests applied, its binary as a process.
//!
//! Each replica is a process that the test itself starts, pauses and kills; for an installation by Helm, with
//! Pods, see [`crate::kubelet`]. It gets the arguments and the environment of the container that the chart
//! renders, and one thing more: `KUBECONFIG`, whose token is the ServiceAccount's, in place of the files that a
//! Pod finds mounted. So a right that the chart forgot is a Forbidden here too.

mod chart;
mod rights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use ::kube::api::{Api, ObjectMeta, Patch, PatchParams};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::deadline::eventually;
use crate::etcd::Etcd;
use crate::http;
use crate::kube::ControlPlane;
use crate::ports::Port;
use crate::process::Process;
use crate::scratch::Scratch;

pub use rights::Right;

/// How long a replica may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The chart of this repository.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/osproxy-directives");
/// Who applied, for the API server.
const FIELD_MANAGER: &str = "testbed";

/// What an [`Operator`] is started from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperatorOptions {
    binary: PathBuf,
    chart: PathBuf,
    release: String,
    namespace: String,
    directives_key: String,
    etcd_endpoints: Option<Vec<String>>,
    api_server: Option<String>,
    values: Vec<Value>,
    without: Vec<Right>,
}

impl OperatorOptions {
    /// The binary to run, as in `env!("CARGO_BIN_EXE_osproxy-directives")`; everything else has a
    /// default: release and namespace `osproxy-directives`, key `osproxy/directives`, this
    /// repository's chart with its own values.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            chart: PathBuf::from(CHART),
            release: "osproxy-directives".to_owned(),
            namespace: "osproxy-directives".to_owned(),
            directives_key: "osproxy/directives".to_owned(),
            etcd_endpoints: None,
            api_server: None,
            values: Vec::new(),
            without: Vec::new(),
        }
    }

    /// Another release name: together with the namespace, the identity of an owner.
    #[must_use]
    pub fn release(mut self, release: &str) -> Self {
        release.clone_into(&mut self.release);
        self
    }

    /// Another namespace; it is created when it is not there.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Another key.
    #[must_use]
    pub fn directives_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.directives_key);
        self
    }

    /// Other addresses than the cluster's own: those of a [`crate::FaultProxy`].
    #[must_use]
    pub fn etcd_endpoints(mut self, endpoints: Vec<String>) -> Self {
        self.etcd_endpoints = Some(endpoints);
        self
    }

    /// Another way to the API server than its own address: that of a [`crate::Gateway`]. The chart is
    /// still applied by the shortest one.
    #[must_use]
    pub fn api_server(mut self, address: impl Into<String>) -> Self {
        self.api_server = Some(address.into());
        self
    }

    /// Values for the chart, as a `values.yaml` would have them; later ones win over earlier ones.
    #[must_use]
    pub fn values(mut self, values: Value) -> Self {
        self.values.push(values);
        self
    }

    /// Applies the chart without one of the rights that it gives, and expects refusals.
    #[must_use]
    pub fn without(mut self, right: Right) -> Self {
        self.without.push(right);
        self
    }

    /// Another chart directory.
    #[must_use]
    pub fn chart(mut self, chart: impl Into<PathBuf>) -> Self {
        self.chart = chart.into();
        self
    }
}

/// A release and its replicas. Dropping it kills them; what was applied stays in the control plane.
#[derive(Debug)]
pub struct Operator {
    replicas: Vec<Replica>,
    options: OperatorOptions,
    user: String,
    kubeconfig: PathBuf,
    scratch: Scratch,
}

impl Operator {
    /// Applies everything of the chart but its Deployment, the CRDs first, and starts one replica. It does
    /// not wait for it: see [`Operator::wait_ready`].
    ///
    /// # Errors
    /// When the chart does not render, the API server refuses a manifest, or the binary cannot be started.
    pub async fn start(
        plane: &ControlPlane,
        etcd: &Etcd,
        mut options: OperatorOptions,
    ) -> Result<Self> {
        options
            .etcd_endpoints
            .get_or_insert_with(|| etcd.endpoints());
        let scratch = Scratch::new("operator")?;
        let port = Port::claim()?;
        let mut rendered = chart::render(plane, &scratch, &options, &port).await?;
        for right in &options.without {
            right.take_away(&mut rendered.manifests);
        }
        create_namespace(plane, &options.namespace).await?;
        apply(plane, &options.namespace, &rendered.definitions).await?;
        established(plane, &rendered.definitions).await?;
        apply(plane, &options.namespace, &rendered.manifests).await?;
        let user = account(&options.namespace, &rendered.service_account);
        rights::hold(plane, &rendered.manifests, &options.namespace, &user).await?;
        if options.without.is_empty() {
            plane.watch_over(&user);
        }
        let server = options.api_server.get_or_insert_with(|| plane.server());
        let kubeconfig = plane
            .service_account_kubeconfig_for(&options.namespace, &rendered.service_account, server)
            .await?;
        let mut operator = Self {
            replicas: Vec::new(),
            options,
            user,
            kubeconfig,
            scratch,
        };
        operator.launch(plane, &rendered, port).await?;
        Ok(operator)
    }

    /// Starts one more replica, rendered anew with a port of its own, without waiting for it.
    ///
    /// # Errors
    /// When the chart does not render or the binary cannot be started.
    pub async fn start_replica(&mut self, plane: &ControlPlane) -> Result<&Replica> {
        let port = Port::claim()?;
        let rendered = chart::render(plane, &self.scratch, &self.options, &port).await?;
        self.launch(plane, &rendered, port).await
    }

    /// A replica, counted from zero in the order of their starts.
    ///
    /// # Panics
    /// When there is no such replica.
    #[must_use]
    pub fn replica(&self, index: usize) -> &Replica {
        &self.replicas[index]
    }

    /// All replicas.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// Waits until every running replica is ready.
    ///
    /// # Errors
    /// When one is not within 30 seconds.
    pub async fn wait_ready(&self) -> Result<()> {
        for replica in self
            .replicas
            .iter()
            .filter(|replica| replica.process.is_running())
        {
            replica.wait_ready().await?;
        }
        Ok(())
    }

    /// Puts a fresh token where the replicas' kubeconfig points, as a kubelet does.
    ///
    /// # Errors
    /// When the API server grants none.
    pub async fn renew_token(&self, plane: &ControlPlane) -> Result<()> {
        let name = self
            .kubeconfig
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let account = name
            .strip_prefix(&format!("{}-", self.options.namespace))
            .context("the kubeconfig is not named after its ServiceAccount")?;
        let server = self.options.api_server.clone();
        let server = server.unwrap_or_else(|| plane.server());
        plane
            .service_account_kubeconfig_for(&self.options.namespace, account, &server)
            .await
            .map(drop)
    }

    /// Who the replicas are to the API server, as in `system:serviceaccount:osproxy:osproxy-directives`.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The kubeconfig of the chart's ServiceAccount.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    async fn launch(
        &mut self,
        plane: &ControlPlane,
        rendered: &chart::Rendered,
        port: Port,
    ) -> Result<&Replica> {
        let name = format!("{}-{}", self.options.release, self.replicas.len());
        let launch = chart::launch(plane, &self.options, rendered, &name)
            .await?
            .env("KUBECONFIG", &self.kubeconfig);
        let process = Process::start(&name, launch, self.scratch.join(&format!("{name}.log")))?;
        self.replicas.push(Replica { process, port });
        self.replicas.last().context("a replica was just started")
    }
}

/// One replica: a process; its port and log stay its own over kills and restarts.
#[derive(Debug)]
pub struct Replica {
    process: Process,
    port: Port,
}

impl Replica {
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.port.http()
    }

    /// Its process: the log, the id.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not within 30 seconds, or ended: the last answer and the end of its log.
    pub async fn wait_ready(&self) -> Result<()> {
        let url = format!("{}/readyz", self.endpoint());
        self.process
            .ready(READY_WITHIN, async || http::get(&url, &[]).await?.success())
            .await
            .map(drop)
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        http::get(&format!("{}/metrics", self.endpoint()), &[])
            .await?
            .success()
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM, and the wait for its end.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub async fn stop(&self, within: Duration) -> Result<ExitStatus> {
        self.process.stop(within).await
    }

    /// Starts it again after a kill or a stop, without waiting.
    ///
    /// # Errors
    /// When it runs already.
    pub fn restart(&self) -> Result<()> {
        self.process.start_again()
    }
}

/// What the API server calls a ServiceAccount.
fn account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

async fn create_namespace(plane: &ControlPlane, name: &str) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    Api::<Namespace>::all(plane.client())
        .patch(
            name,
            &PatchParams::apply(FIELD_MANAGER),
            &Patch::Apply(&namespace),
        )
        .await
        .with_context(|| format!("cannot create the namespace {name}"))?;
    Ok(())
}

/// Applies manifests, each where it says that it belongs, and else in `namespace`.
async fn apply(plane: &ControlPlane, namespace: &str, manifests: &[Value]) -> Result<()> {
    let home = |manifest: &Value| {
        let own = manifest.pointer("/metadata/namespace");
        own.and_then(Value::as_str).unwrap_or(namespace).to_owned()
    };
    // kubectl takes one namespace at a time.
    let mut places: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for manifest in manifests {
        places.entry(home(manifest)).or_default().push(manifest);
    }
    let manager = format!("--field-manager={FIELD_MANAGER}");
    for (place, items) in &places {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        let args = [
            "apply",
            "--server-side",
            "--force-conflicts",
            &manager,
            "-n",
            place,
            "-f",
            "-",
        ];
        plane.kubectl_with_input(&args, &list).await?.success()?;
    }
    Ok(())
}

async fn established(plane: &ControlPlane, definitions: &[Value]) -> Result<()> {
    for definition in definitions {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
        let Some(name) = text("/metadata/name") else {
            continue;
        };
        let name = format!("customresourcedefinition/{name}");
        plane
            .kubectl(&[
                "wait",
                "--for=condition=Established",
                "--timeout=30s",
                &name,
            ])
            .await?
            .success()?;
        // kubectl asks what there is, which is told by another part of the server a moment later.
        let group = text("/spec/group").unwrap_or_default();
        let version = text("/spec/versions/0/name").unwrap_or_default();
        let plural = format!("{:?}", text("/spec/names/plural").unwrap_or_default());
        let path = format!("/apis/{group}/{version}");
        eventually(&format!("{path} to be served"), READY_WITHIN, async || {
            let told = plane.get(&path).await?;
            ensure!(told.contains(&plural), "there is no {plural} in {told}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

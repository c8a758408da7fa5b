//! A real Kubernetes control plane: etcd, `kube-apiserver` with RBAC, `kube-controller-manager`.
//!
//! There are no nodes, so no Pod ever runs unless a [`crate::Kubelet`] stands in for one; everything else
//! is what a cluster does: admission, CRDs and their CEL rules, RBAC, watches, default
//! ServiceAccounts, the end of a namespace.

mod audit;
pub(crate) mod kubeconfig;
mod pki;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::kube::api::{Api, PostParams};
use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};
use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::jiff::Timestamp;

use crate::assets;
use crate::command::{self, Output};
use crate::deadline::eventually;
use crate::etcd::{Etcd, EtcdOptions};
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;
use kubeconfig::Credentials;
use pki::Pki;

pub use audit::Audited;
use audit::WatchedOver;
pub(crate) use pki::Identity;

/// How long the API server may take: under three seconds as a rule, more on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Longer than any test or playground; the API server grants it to anyone who may ask.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;
/// What a token is for: the API server itself.
const ISSUER: &str = "https://kubernetes.default.svc";

const AUDIT_LOG: &str = "audit.log";

/// How a [`ControlPlane`] is started: as [`assets::kubernetes`] says, with a controller manager.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ControlPlaneOptions {
    folder: String,
    flags: Vec<String>,
    controller_manager: bool,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            folder: assets::kubernetes(),
            flags: Vec::new(),
            controller_manager: true,
        }
    }
}

impl ControlPlaneOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A minor version, as in `1.37`: there has to be a folder `testbed/servers/kubernetes-1.37`.
    #[must_use]
    pub fn version(mut self, minor: &str) -> Self {
        self.folder = format!("kubernetes-{minor}");
        self
    }

    /// Adds a flag of the API server; the last one of a name holds.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Leaves the controller manager out: a second less, but namespaces never end and have no
    /// default ServiceAccount.
    #[must_use]
    pub fn without_controller_manager(mut self) -> Self {
        self.controller_manager = false;
        self
    }
}

/// A running control plane. Dropping it kills it and removes all of it; it fails the test where RBAC refused something to an
/// operator (see [`ControlPlane::watch_over`]).
pub struct ControlPlane {
    // Fields are dropped in this order: clients of a server before the server.
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Etcd,
    client: Client,
    pki: Pki,
    port: Port,
    kubeconfig: PathBuf,
    folder: String,
    audit_log: PathBuf,
    watched_over: Mutex<WatchedOver>,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts one with the defaults; about four seconds once the servers are built.
    ///
    /// # Errors
    /// When a server is missing and cannot be built, or is not ready within a minute.
    pub async fn start() -> Result<Self> {
        Self::start_with(ControlPlaneOptions::new()).await
    }

    /// Starts one as told.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_with(options: ControlPlaneOptions) -> Result<Self> {
        let program = assets::tool(&options.folder, "kube-apiserver").await?;
        let scratch = Scratch::new("kubernetes")?;
        // The API server waits for its etcd itself, so both start at once.
        let etcd = Etcd::launch(EtcdOptions::new()).await?;
        let pki = Pki::create(&scratch)?;
        let port = Port::claim()?;
        let server = format!("https://{}", port.address());
        let admin = Credentials::Certificate(&pki.admin);
        let kubeconfig = kubeconfig::write(
            &scratch,
            "admin",
            &server,
            &pki.authority,
            &admin,
            "default",
        )?;
        let launch = api_server(&program, &options, &etcd, &pki, &port, &scratch)?;
        let api_server =
            Process::start("kube-apiserver", launch, scratch.join("kube-apiserver.log"))?;
        let client = connect(&kubeconfig).await?;
        let mut plane = Self {
            controller_manager: None,
            api_server,
            etcd,
            client,
            pki,
            port,
            kubeconfig,
            folder: options.folder,
            audit_log: scratch.join(AUDIT_LOG),
            watched_over: Mutex::default(),
            scratch,
        };
        plane.ready().await?;
        // It is ready before it has made the namespaces that every cluster has; this is the last of them.
        eventually("the namespace `default`", READY_WITHIN, async || {
            plane.get("/api/v1/namespaces/default").await
        })
        .await?;
        if options.controller_manager {
            plane.controller_manager = Some(plane.start_controller_manager().await?);
        }
        Ok(plane)
    }

    /// Its address, `https://127.0.0.1:<port>`; it outlives kills and restarts.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// The version that it runs, as in `1.36.3`.
    ///
    /// # Errors
    /// When the pin cannot be read.
    pub fn version(&self) -> Result<String> {
        assets::version(&self.folder)
    }

    /// A client with every right.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig file of a user with every right.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The certificate authority of the API server, a PEM file.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.pki.authority
    }

    /// What a kubelet shows when the API server asks it for a log; the authority is the same.
    pub(crate) fn kubelet_identity(&self) -> &Identity {
        &self.pki.kubelet
    }

    /// Its own etcd, which holds Kubernetes' objects: for faults, and never for directives.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The API server's process: pause, resume, kill, the log.
    #[must_use]
    pub fn api_server(&self) -> &Process {
        &self.api_server
    }

    /// The controller manager's process, if there is one.
    #[must_use]
    pub fn controller_manager(&self) -> Option<&Process> {
        self.controller_manager.as_ref()
    }

    /// Starts the API server again after a kill, on the old port and data, and waits until it is ready.
    ///
    /// # Errors
    /// When it runs already, or is not ready within a minute.
    pub async fn restart_api_server(&self) -> Result<()> {
        let begins = Timestamp::now();
        self.api_server.start_again()?;
        self.ready().await?;
        self.watched().excuse(begins..=Timestamp::now());
        Ok(())
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn ready(&self) -> Result<()> {
        self.api_server
            .ready(READY_WITHIN, async || {
                self.get("/readyz").await?;
                Ok(())
            })
            .await
    }

    /// What the API server answers at `path`, as text: for what is measured, since the start of a kubectl takes its time.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn get(&self, path: &str) -> Result<String> {
        let request = ::http::Request::get(path).body(Vec::new())?;
        Ok(self.client.request_text(request).await?)
    }

    /// Runs `kubectl` as the user with every right.
    ///
    /// # Errors
    /// When it cannot be started; a bad exit status is in the output.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_as(&self.kubeconfig, args, None).await
    }

    /// Runs `kubectl` with a standard input, as in `apply -f -`.
    ///
    /// # Errors
    /// As [`ControlPlane::kubectl`].
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<Output> {
        self.kubectl_as(&self.kubeconfig, args, Some(input)).await
    }

    /// Runs `kubectl` as whomever a kubeconfig file names.
    ///
    /// # Errors
    /// As [`ControlPlane::kubectl`].
    pub async fn kubectl_as(
        &self,
        kubeconfig: &Path,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Output> {
        let launch = Launch::new(assets::tool(&self.folder, "kubectl").await?)
            .env("KUBECONFIG", kubeconfig)
            // kubectl keeps what it discovered there.
            .env("HOME", self.scratch.directory("kubectl")?)
            .args(args);
        command::run(&launch, input).await
    }

    /// Runs Helm as the user with every right, with homes of its own: no repository, plugin or
    /// registry login of the person at the machine is seen.
    ///
    /// # Errors
    /// As [`ControlPlane::kubectl`].
    pub async fn helm(&self, args: &[&str]) -> Result<Output> {
        let home = self.scratch.directory("helm")?;
        let launch = Launch::new(assets::tool(assets::HELM, "helm").await?)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &home)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .args(args);
        command::run(&launch, None).await
    }

    /// What a ServiceAccount has asked for so far, in the order of the answers.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn audited(&self, user: &str) -> Result<Vec<Audited>> {
        audit::read(&self.audit_log, user)
    }

    /// From now on RBAC must not refuse anything to this user, `system:serviceaccount:<namespace>:<name>`: a refusal fails the
    /// test when the control plane is dropped. So it is with every [`crate::Operator`] that has all of its chart's rights.
    pub fn watch_over(&self, user: &str) {
        self.watched().add(user);
    }

    /// For a test that takes rights away on purpose: refusals are no failure, to anybody.
    pub fn expect_refusals(&self) {
        self.watched().clear();
    }

    fn watched(&self) -> MutexGuard<'_, WatchedOver> {
        self.watched_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A kubeconfig file for a ServiceAccount that exists: its token comes from the TokenRequest
    /// API, as a Pod's does, and lies in a file beside it ([`token_file`]). Asking again renews the token in place.
    ///
    /// # Errors
    /// When the API server refuses, or a file cannot be written.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.service_account_kubeconfig_for(namespace, name, &self.server())
            .await
    }

    /// The same for another address than the API server's own: that of a [`crate::Gateway`] or a [`crate::FaultProxy`].
    ///
    /// # Errors
    /// As [`ControlPlane::service_account_kubeconfig`].
    pub async fn service_account_kubeconfig_for(
        &self,
        namespace: &str,
        name: &str,
        server: &str,
    ) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![ISSUER.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for the ServiceAccount {namespace}/{name}"))?
            .status
            .context("the API server answered without a token")?
            .token;
        let user = format!("{namespace}-{name}");
        let token = self.scratch.write(&format!("{user}.token"), &token)?;
        let credentials = Credentials::TokenFile(&token);
        kubeconfig::write(
            &self.scratch,
            &user,
            server,
            self.authority(),
            &credentials,
            namespace,
        )
    }

    async fn start_controller_manager(&self) -> Result<Process> {
        let program = assets::tool(&self.folder, "kube-controller-manager").await?;
        let identity = Credentials::Certificate(&self.pki.controller_manager);
        let kubeconfig = kubeconfig::write(
            &self.scratch,
            "controller-manager",
            &self.server(),
            self.authority(),
            &identity,
            "default",
        )?;
        let launch = Launch::new(program)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!(
                "--service-account-private-key-file={}",
                self.pki.token_key.display()
            ))
            .arg(format!("--root-ca-file={}", self.pki.authority.display()))
            .args(["--use-service-account-credentials", "--leader-elect=false"])
            // A Pod's address is a loopback one here, which no endpoint may be: each try would be an Event.
            .arg("--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller")
            // No port: nobody asks it, and nobody can take it away.
            .arg("--secure-port=0");
        Process::start(
            "kube-controller-manager",
            launch,
            self.scratch.join("kube-controller-manager.log"),
        )
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // A test that has failed says why already.
        if std::thread::panicking() {
            return;
        }
        // A log that cannot be read is no proof of anything, and not worth a panic in a drop.
        let refusals = self.watched().refusals(&self.audit_log).unwrap_or_default();
        let refusals: Vec<String> = refusals.iter().map(Audited::to_string).collect();
        assert!(
            refusals.is_empty(),
            "the chart's rights are not enough; RBAC refused:\n{}",
            refusals.join("\n")
        );
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}

/// The token file that belongs to a kubeconfig of [`ControlPlane::service_account_kubeconfig`].
#[must_use]
pub fn token_file(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_extension("token")
}

/// A client for whomever a kubeconfig file names.
///
/// # Errors
/// When the file cannot be read or names something that is not there.
pub async fn connect(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    // A proxy variable of the person at the machine is not about loopback.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

fn api_server(
    program: &Path,
    options: &ControlPlaneOptions,
    etcd: &Etcd,
    pki: &Pki,
    port: &Port,
    scratch: &Scratch,
) -> Result<Launch> {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Ok(Launch::new(program)
        .arg(format!("--etcd-servers={}", etcd.endpoint_list()))
        .arg(format!("--secure-port={}", port.number()))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(file("cert-dir", &scratch.directory("apiserver-certs")?))
        .arg(file("tls-cert-file", &pki.server.certificate))
        .arg(file("tls-private-key-file", &pki.server.key))
        .arg(file("client-ca-file", &pki.authority))
        .args([
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
        ])
        .arg(file(
            "audit-policy-file",
            &scratch.write("audit-policy.yaml", audit::POLICY)?,
        ))
        // Written before the answer is over: whoever has an answer finds it there.
        .arg(file("audit-log-path", &scratch.join(AUDIT_LOG)))
        // A Service's endpoint on loopback is refused, again and again.
        .arg("--endpoint-reconciler-type=none")
        .arg(format!("--service-account-issuer={ISSUER}"))
        .arg(file("service-account-key-file", &pki.token_public_key))
        .arg(file("service-account-signing-key-file", &pki.token_key))
        // The way to a kubelet's logs, with both sides checked.
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg(file("kubelet-certificate-authority", &pki.authority))
        .arg(file(
            "kubelet-client-certificate",
            &pki.kubelet_client.certificate,
        ))
        .arg(file("kubelet-client-key", &pki.kubelet_client.key))
        .args(&options.flags))
}

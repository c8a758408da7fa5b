//! What the commands that speak to etcd share.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::exit::Failure;
use crate::etcd::{ConnectOptions, Fault, Keys, Password};
use crate::operator::publish::keys::KeyStore;

/// Where etcd is, and which key is meant.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "etcd")]
pub(super) struct EtcdArguments {
    /// The client URLs of etcd, separated by commas.
    #[arg(
        long,
        env = "OSPROXY_ETCD_ENDPOINTS",
        value_name = "URL",
        value_delimiter = ',',
        required = true
    )]
    etcd_endpoints: Vec<String>,

    #[command(flatten)]
    pub(super) access: EtcdAccess,
}

/// How to be let in, and which key is meant.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "etcd")]
#[allow(
    clippy::struct_field_names,
    reason = "clap makes the flags of the names, and each flag says that it is etcd's"
)]
pub(super) struct EtcdAccess {
    /// The key that the proxies read their directives from.
    #[arg(
        long,
        env = "OSPROXY_ETCD_DIRECTIVES_KEY",
        value_name = "KEY",
        default_value = "osproxy/directives"
    )]
    pub(super) etcd_directives_key: String,

    /// The authorities (PEM) that etcd's certificate has to come from; required for https endpoints.
    #[arg(long, env = "OSPROXY_ETCD_CA_FILE", value_name = "FILE")]
    etcd_ca_file: Option<PathBuf>,

    /// The client certificate (PEM) to show to etcd.
    #[arg(
        long,
        env = "OSPROXY_ETCD_CERT_FILE",
        value_name = "FILE",
        requires = "etcd_key_file"
    )]
    etcd_cert_file: Option<PathBuf>,

    /// The private key (PEM) of the client certificate.
    #[arg(
        long,
        env = "OSPROXY_ETCD_KEY_FILE",
        value_name = "FILE",
        requires = "etcd_cert_file"
    )]
    etcd_key_file: Option<PathBuf>,

    /// The name that etcd's certificate has to be for, where it is not the endpoint's host.
    #[arg(long, env = "OSPROXY_ETCD_SERVER_NAME", value_name = "NAME")]
    etcd_server_name: Option<String>,

    /// The etcd user to log in as.
    #[arg(
        long,
        env = "OSPROXY_ETCD_USER",
        value_name = "USER",
        requires = "etcd_password_file"
    )]
    etcd_user: Option<String>,

    /// The file that holds the etcd user's password.
    #[arg(
        long,
        env = "OSPROXY_ETCD_PASSWORD_FILE",
        value_name = "FILE",
        requires = "etcd_user"
    )]
    etcd_password_file: Option<PathBuf>,

    /// Send user and password over plain http too, where anybody on the way can read them.
    #[arg(long, env = "OSPROXY_ETCD_ALLOW_INSECURE_CREDENTIALS")]
    etcd_allow_insecure_credentials: bool,
}

impl EtcdArguments {
    /// How to connect.
    ///
    /// # Errors
    /// Where that cannot be used, the files included.
    pub(super) fn options(&self) -> anyhow::Result<ConnectOptions> {
        self.access.options(&self.etcd_endpoints)
    }

    /// Connects, for a command that exits.
    ///
    /// # Errors
    /// Where the options cannot be used, or nothing is there to connect to.
    pub(super) async fn store(&self) -> Result<KeyStore, Failure> {
        self.access.store(&self.etcd_endpoints).await
    }
}

impl EtcdAccess {
    fn options(&self, endpoints: &[String]) -> anyhow::Result<ConnectOptions> {
        let mut options = ConnectOptions::new(endpoints);
        options.ca_file.clone_from(&self.etcd_ca_file);
        options.cert_file.clone_from(&self.etcd_cert_file);
        options.key_file.clone_from(&self.etcd_key_file);
        options.server_name.clone_from(&self.etcd_server_name);
        options.user.clone_from(&self.etcd_user);
        options.password = self.etcd_password_file.clone().map(Password::File);
        options.allow_insecure_credentials = self.etcd_allow_insecure_credentials;
        options.check().context("cannot use the etcd options")?;
        Ok(options)
    }

    /// Connects to these endpoints, for a command that exits.
    ///
    /// # Errors
    /// As [`EtcdArguments::store`].
    pub(super) async fn store(&self, endpoints: &[String]) -> Result<KeyStore, Failure> {
        let keys = Keys::new(&self.etcd_directives_key);
        let keys = keys.map_err(|error| Failure::cannot(error.to_string()))?;
        let options = self.options(endpoints);
        let options = options.map_err(|error| Failure::cannot(format!("{error:#}")))?;
        let store = KeyStore::open(options, keys).await;
        store.map_err(|fault| unreadable("connect to etcd", fault))
    }
}

/// That etcd gave no answer which is of use; `what` is what could not be done.
pub(super) fn unreadable(what: &str, fault: Fault) -> Failure {
    let failure = Failure::cannot(format!("cannot {what}: {fault}"));
    match fault {
        Fault::Authentication | Fault::PermissionDenied | Fault::Options | Fault::Tls => failure
            .hint("`etcd-roles` prints the rights that are needed; the --etcd- options name certificate, user and password"),
        Fault::NotSent | Fault::Timeout | Fault::Unavailable => failure
            .hint("see whether `etcdctl endpoint health` gets an answer; --etcd-endpoints names other members"),
        _ => failure,
    }
}

/// Runs a command that exits, on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime()?.block_on(command)
}

/// A runtime, for a command that speaks to a server.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // More than one provider may be compiled in, and rustls refuses to guess between them. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// `namespace/name`.
pub(super) fn release(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be namespace/name, such as osproxy/osproxy-directives".to_owned()),
    }
}

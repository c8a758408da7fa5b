//! What the commands that speak to etcd share.

use anyhow::Context as _;
use clap::Args;

use crate::etcd::{ConnectOptions, Keys, connect};
use crate::operator::publish::keys::KeyStore;

/// Where etcd is, and which key is meant.
#[derive(Clone, Debug, Args)]
pub(super) struct EtcdArguments {
    /// The client URLs of etcd, separated by commas.
    #[arg(
        long,
        env = "OSPROXY_ETCD_ENDPOINTS",
        value_delimiter = ',',
        required = true
    )]
    pub(super) etcd_endpoints: Vec<String>,

    /// The key that the proxies read their directives from.
    #[arg(
        long,
        env = "OSPROXY_ETCD_DIRECTIVES_KEY",
        default_value = "osproxy/directives"
    )]
    pub(super) etcd_directives_key: String,
}

impl EtcdArguments {
    /// How to connect.
    pub(super) fn options(&self) -> ConnectOptions {
        ConnectOptions::new(&self.etcd_endpoints)
    }

    /// Connects, for a command that exits.
    pub(super) async fn store(&self) -> anyhow::Result<KeyStore> {
        let keys = Keys::new(&self.etcd_directives_key)?;
        let options = self.options();
        let client = connect(&options)
            .await
            .context("cannot use --etcd-endpoints")?;
        Ok(KeyStore::new(client, keys, options.timings.unary_timeout))
    }
}

/// Runs a command that exits, on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // More than one provider may be compiled in, and rustls refuses to guess between them. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
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

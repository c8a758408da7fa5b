//! An etcd that speaks TLS only and asks for client certificates, and the files of a client of it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    reason = "each test binary compiles this file for itself and uses a part of it; the operator's fence is not what is tested here"
)]

use anyhow::{Context, Result};
use etcd_client::Client;
use testbed::ports::Port;
use testbed::{Etcd, EtcdOptions, FaultProxy};

use super::authority::{Authority, Secret};

/// It is reached through a proxy.
pub struct Secure {
    pub etcd: Etcd,
    _own: Secret,
    _port: Port,
    pub way: FaultProxy,
    pub authority: Authority,
    pub secret: Secret,
    pub files: [(&'static str, String); 3],
    pub writer: Client,
}

impl Secure {
    pub async fn start() -> Result<Self> {
        let authority = Authority::new("ours")?;
        let server = authority.identity("etcd")?;
        let own = Secret::new(&[
            ("ca", &authority.certificate),
            ("cert", &server.certificate),
            ("key", &server.key),
        ])?;
        let port = Port::claim()?;
        let url = format!("https://{}", port.address());
        let mut options = EtcdOptions::new()
            .flag(format!("--listen-client-urls={url}"))
            .flag(format!("--advertise-client-urls={url}"))
            .flag("--client-cert-auth");
        for (flag, file) in [
            ("trusted-ca-file", "ca"),
            ("cert-file", "cert"),
            ("key-file", "key"),
        ] {
            options = options.flag(format!("--{flag}={}", own.path(file).display()));
        }
        let etcd = Etcd::start(options).await?;
        let way = FaultProxy::start(&port.address().to_string()).await?;
        let client = authority.identity("first")?;
        let files = [
            ("ca.crt", authority.certificate.clone()),
            ("tls.crt", client.certificate.clone()),
            ("tls.key", client.key.clone()),
        ];
        let tls = etcd_client::TlsOptions::new()
            .ca_certificate(etcd_client::Certificate::from_pem(&authority.certificate))
            .identity(etcd_client::Identity::from_pem(
                client.certificate,
                client.key,
            ));
        let options = etcd_client::ConnectOptions::new().with_tls(tls);
        Ok(Self {
            etcd,
            _own: own,
            writer: Client::connect([&url], Some(options)).await?,
            _port: port,
            way,
            authority,
            secret: Secret::new(&files.each_ref().map(|(name, text)| (*name, text.as_str())))?,
            files,
        })
    }

    /// The address by the proxy.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.way.address())
    }

    /// Exchanges the client's certificate and key, as a mounted Secret does it.
    pub fn rotate(&mut self, certificate: &str, key: &str) -> Result<()> {
        certificate.clone_into(&mut self.files[1].1);
        key.clone_into(&mut self.files[2].1);
        self.replace()
    }

    /// Writes the files anew.
    pub fn replace(&mut self) -> Result<()> {
        let files = self
            .files
            .each_ref()
            .map(|(name, text)| (*name, text.as_str()));
        self.secret.replace(&files)
    }

    /// Writes a value by another way than the proxy's.
    pub async fn put(&mut self, key: &str, value: String) -> Result<()> {
        let put = self.writer.put(key, value, None);
        put.await.context("cannot write")?;
        Ok(())
    }
}

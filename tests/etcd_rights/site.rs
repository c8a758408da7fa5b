//! An etcd with auth switched on, whose users are those that `etcd-roles` makes; they log in with passwords or certificates.

#![allow(
    clippy::disallowed_methods,
    reason = "the operator's fence is not what is tested here"
)]

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions, UserAddOptions};
use osproxy_core::SystemClock;
use osproxy_directives::EtcdDirectiveStore;
use osproxy_directives::store::StoreBuilder;
use testbed::process::Launch;
use testbed::{Etcd, EtcdOptions, FaultProxy, assets, command};

use super::authority::Secret;
use super::secure::Secure;
use super::support::{KEY, binary};

/// The user that `etcd-roles` makes for the operator, unless it is told otherwise.
pub(super) const OPERATOR: &str = "osproxy-operator";
/// The user that `etcd-roles --fleet` makes for proxies.
pub(super) const FLEET: &str = "osproxy-proxy";
/// A proxies' user without `--fleet`.
pub(super) const PROXY: &str = "plain-proxy";

const USERS: [&str; 4] = ["root", OPERATOR, FLEET, PROXY];
const PASSWORD: &str = "geheim";

pub(super) enum Site {
    Passwords(Box<(Etcd, FaultProxy, Secret)>),
    Certificates(Box<(Secure, Secret)>),
}

impl Site {
    pub(super) async fn with_passwords() -> Result<Self> {
        let options = EtcdOptions::new().flag("--bcrypt-cost=4");
        let etcd = Etcd::start(options).await?;
        let way =
            FaultProxy::start(etcd.member(0).endpoint().trim_start_matches("http://")).await?;
        let files = Secret::new(&USERS.map(|user| (user, PASSWORD)))?;
        let mut client = etcd.client().await?;
        client.user_add("root", PASSWORD, None).await?;
        let site = Self::Passwords(Box::new((etcd, way, files)));
        site.with_roles(client).await
    }

    pub(super) async fn with_certificates() -> Result<Self> {
        let secure = Secure::start().await?;
        let mut files = vec![("ca.crt".to_owned(), secure.authority.certificate.clone())];
        for user in USERS {
            let identity = secure.authority.identity(user)?;
            files.push((format!("{user}.crt"), identity.certificate));
            files.push((format!("{user}.key"), identity.key));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let files = Secret::new(&files)?;
        let mut client = secure.writer.clone();
        let options = UserAddOptions::new().with_no_pwd();
        client.user_add("root", "", Some(options)).await?;
        let site = Self::Certificates(Box::new((secure, files)));
        site.with_roles(client).await
    }

    /// Switches auth on, and then has the printed lines run by etcd's root; the operator's twice.
    async fn with_roles(self, mut client: Client) -> Result<Self> {
        client.user_grant_role("root", "root").await?;
        client.auth_enable().await?;
        let proxy = format!("--proxy-user={PROXY}");
        self.etcd_roles(&[&proxy]).await?;
        self.etcd_roles(&["--fleet"]).await?;
        Ok(self)
    }

    /// Prints the lines and runs them, as a person does who pipes one into the other.
    async fn etcd_roles(&self, args: &[&str]) -> Result<()> {
        let passwords: &[&str] = match self {
            Self::Passwords(_) => &["--passwords"],
            Self::Certificates(_) => &[],
        };
        let print = Launch::new(binary())
            .arg("etcd-roles")
            .args(args)
            .args(passwords);
        let script = command::run(&print, None).await?.success()?;
        let etcdctl = assets::tool(assets::ETCD, "etcdctl").await?;
        let folder = etcdctl.parent().context("etcdctl lies somewhere")?;
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let shell = Launch::new("/bin/sh")
            .args(["-c", &script])
            .env("PATH", path)
            .env("ETCDCTL_ENDPOINTS", self.endpoint());
        let shell = match self {
            Self::Passwords(_) => shell
                .env("ETCDCTL_USER", format!("root:{PASSWORD}"))
                .env("OSPROXY_OPERATOR_PASSWORD", PASSWORD)
                .env("OSPROXY_PROXY_PASSWORD", PASSWORD),
            Self::Certificates(_) => shell
                .env("ETCDCTL_CACERT", self.file("ca.crt"))
                .env("ETCDCTL_CERT", self.file("root.crt"))
                .env("ETCDCTL_KEY", self.file("root.key")),
        };
        let said = command::run(&shell, None).await?.success()?;
        ensure!(said.contains("Role "), "{said}");
        Ok(())
    }

    pub(super) fn etcd(&self) -> &Etcd {
        match self {
            Self::Passwords(parts) => &parts.0,
            Self::Certificates(parts) => &parts.0.etcd,
        }
    }

    pub(super) fn way(&self) -> &FaultProxy {
        match self {
            Self::Passwords(parts) => &parts.1,
            Self::Certificates(parts) => &parts.0.way,
        }
    }

    pub(super) fn endpoint(&self) -> String {
        match self {
            Self::Passwords(parts) => parts.1.endpoint(),
            Self::Certificates(parts) => parts.0.endpoint(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        match self {
            Self::Passwords(parts) => parts.2.path(name),
            Self::Certificates(parts) => parts.1.path(name),
        }
    }

    fn text(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.file(name))?)
    }

    /// A client that is logged in as this user.
    pub(super) async fn client(&self, user: &str) -> Result<Client> {
        let options = match self {
            Self::Passwords(_) => ConnectOptions::new()
                .with_user(user, PASSWORD)
                .with_auto_token_refresh(true),
            Self::Certificates(_) => {
                let identity = Identity::from_pem(
                    self.text(&format!("{user}.crt"))?,
                    self.text(&format!("{user}.key"))?,
                );
                let authority = Certificate::from_pem(self.text("ca.crt")?);
                let tls = TlsOptions::new()
                    .ca_certificate(authority)
                    .identity(identity);
                ConnectOptions::new().with_tls(tls)
            }
        };
        Ok(Client::connect([self.endpoint()], Some(options)).await?)
    }

    /// A store of this user's.
    pub(super) fn builder(&self, user: &str) -> StoreBuilder {
        let clock = std::sync::Arc::new(SystemClock);
        let builder = EtcdDirectiveStore::builder([self.endpoint()], KEY, clock);
        match self {
            Self::Passwords(_) => builder
                .user_with_password_file(user, self.file(user))
                .allow_insecure_credentials(),
            Self::Certificates(_) => builder.ca_file(self.file("ca.crt")).client_certificate(
                self.file(&format!("{user}.crt")),
                self.file(&format!("{user}.key")),
            ),
        }
    }

    /// What the operator's command line says of the login.
    pub(super) fn operator_arguments(&self) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--etcd-{flag}={}", self.file(name).display());
        match self {
            Self::Passwords(_) => vec![
                format!("--etcd-user={OPERATOR}"),
                file("password-file", OPERATOR),
                "--etcd-allow-insecure-credentials".to_owned(),
            ],
            Self::Certificates(_) => vec![
                file("ca-file", "ca.crt"),
                file("cert-file", &format!("{OPERATOR}.crt")),
                file("key-file", &format!("{OPERATOR}.key")),
            ],
        }
    }
}

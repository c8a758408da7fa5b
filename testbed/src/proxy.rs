//! The example proxy, which embeds the store: what a request is answered with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::http;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;

/// The start waits for etcd's answer, which the store bounds.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What the proxy prints once it listens, with its address behind it.
const LISTENING: &str = "listening on ";

/// What a [`Proxy`] is started from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyOptions {
    binary: PathBuf,
    name: String,
    etcd_endpoints: Vec<String>,
    directives_key: String,
    args: Vec<String>,
}

impl ProxyOptions {
    /// The example's binary and where etcd is, be it an [`crate::Etcd`] or a [`crate::FaultProxy`];
    /// the key is `osproxy/directives`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, etcd_endpoints: Vec<String>) -> Self {
        Self {
            binary: binary.into(),
            name: "proxy".to_owned(),
            etcd_endpoints,
            directives_key: "osproxy/directives".to_owned(),
            args: Vec::new(),
        }
    }

    /// What people call it, in logs and messages.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Another key.
    #[must_use]
    pub fn directives_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.directives_key);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// What a request is about: tenant and index at least, the rest as a client would leave it out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attributes<'a> {
    tenant: &'a str,
    index: &'a str,
    endpoint: &'a str,
    principal: Option<&'a str>,
    request_id: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// A search by a tenant in an index.
    #[must_use]
    pub fn new(tenant: &'a str, index: &'a str) -> Self {
        Self {
            tenant,
            index,
            endpoint: "_search",
            principal: None,
            request_id: None,
        }
    }

    /// Another endpoint, as OpenSearch spells it in a path: `_doc`, `_count`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &'a str) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// The caller.
    #[must_use]
    pub fn principal(mut self, principal: &'a str) -> Self {
        self.principal = Some(principal);
        self
    }

    /// The request's id, which decides about samples.
    #[must_use]
    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }
}

/// What the proxy decided about one request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// `Off`, `Shape`, `ShapeTiming` or `ShapeRewriteDiff`.
    pub level: String,
    /// Whether it goes into the ring buffer.
    pub ring_buffer: bool,
    /// Whether it is captured.
    pub capture: bool,
}

impl Decision {
    /// Whether nothing at all was decided.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.level == "Off" && !self.ring_buffer && !self.capture
    }
}

/// What the proxy knows: its store's status and the directives in force.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Directives {
    /// The store's own account of itself.
    pub status: Value,
    /// The directives, as the admin endpoint shows them.
    pub directives: Vec<Value>,
}

/// A running proxy. Dropping it kills it.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    endpoint: String,
    _scratch: Scratch,
}

impl Proxy {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// When it does not within 30 seconds, or ended: the end of its log.
    pub async fn start(options: ProxyOptions) -> Result<Self> {
        let scratch = Scratch::new(&options.name)?;
        let launch = Launch::new(&options.binary)
            .arg(format!(
                "--etcd-endpoints={}",
                options.etcd_endpoints.join(",")
            ))
            .arg(format!("--etcd-directives-key={}", options.directives_key))
            .arg("--listen=127.0.0.1:0")
            .args(&options.args);
        let log = scratch.join(&format!("{}.log", options.name));
        let process = Process::start(&options.name, launch, log)?;
        let endpoint = listening(&process).await?;
        Ok(Self {
            process,
            endpoint,
            _scratch: scratch,
        })
    }

    /// Its address, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process: pause, resume, kill, the log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends a request and says what was decided about it.
    ///
    /// # Errors
    /// When the proxy does not answer, or answers something else.
    pub async fn decide(&self, request: &Attributes<'_>) -> Result<Decision> {
        let mut headers = vec![("x-tenant", request.tenant)];
        headers.extend(
            request
                .principal
                .map(|principal| ("x-principal", principal)),
        );
        headers.extend(request.request_id.map(|id| ("x-request-id", id)));
        let url = format!("{}/{}/{}", self.endpoint, request.index, request.endpoint);
        let body = http::get(&url, &headers).await?.success()?;
        serde_json::from_str(&body).context("the proxy's answer is no decision")
    }

    /// What it knows.
    ///
    /// # Errors
    /// As [`Proxy::decide`].
    pub async fn directives(&self) -> Result<Directives> {
        let body = http::get(&format!("{}/_directives", self.endpoint), &[])
            .await?
            .success()?;
        serde_json::from_str(&body).context("the proxy's answer is no list of directives")
    }
}

/// Finds the address that the last start printed. The port is chosen by the kernel, for the
/// process itself binds it and says which.
async fn listening(process: &Process) -> Result<String> {
    process
        .ready(READY_WITHIN, async || {
            let log = process.log_text()?;
            let complete = log.rfind('\n').map_or("", |end| &log[..end]);
            let line = complete
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix(LISTENING));
            line.map(|address| address.trim().to_owned())
                .context("it has not said where it listens")
        })
        .await
}

//! The example proxy, which embeds the store: what a request is answered with.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::http;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;

/// The start waits for etcd's answer, which the store bounds.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions of [`Proxy::until`]: what it measures is late by at most this and an answer.
const ASK_AGAIN: Duration = Duration::from_millis(1);
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

    fn path(&self) -> String {
        format!("/{}/{}", self.index, self.endpoint)
    }

    fn headers(&self) -> Vec<(&'static str, &'a str)> {
        let optional = [
            ("x-principal", self.principal),
            ("x-request-id", self.request_id),
        ];
        let mut headers = vec![("x-tenant", self.tenant)];
        headers.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        headers
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

/// When a proxy gave an answer that was waited for, by both clocks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moment {
    /// By the clock that only goes forward.
    pub instant: Instant,
    /// By the clock that people read.
    pub wall: SystemTime,
    /// When the last question was asked that had another answer yet, by that clock; none where the first had this one.
    pub still: Option<SystemTime>,
    /// The answer.
    pub decision: Decision,
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
            .args(["--etcd-endpoints", &options.etcd_endpoints.join(",")])
            .args(["--etcd-directives-key", &options.directives_key])
            .args(["--listen", "127.0.0.1:0"])
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
        let url = format!("{}{}", self.endpoint, request.path());
        decision(http::get(&url, &request.headers()).await?)
    }

    /// Asks about `request` every millisecond until the answer is `wanted`, and says when that
    /// answer came.
    ///
    /// # Errors
    /// At once when the proxy does not answer; after `within`, the last answer. The end of its log
    /// comes along.
    pub async fn until(
        &self,
        request: &Attributes<'_>,
        within: Duration,
        wanted: impl Fn(&Decision) -> bool,
    ) -> Result<Moment> {
        let asking = async {
            let (path, headers) = (request.path(), request.headers());
            let mut connection = http::Connection::open(&self.endpoint).await?;
            let start = Instant::now();
            let mut still = None;
            loop {
                let asked = SystemTime::now();
                let answer = decision(connection.get(&path, &headers).await?)?;
                if wanted(&answer) {
                    return Ok(Moment {
                        instant: Instant::now(),
                        wall: SystemTime::now(),
                        still,
                        decision: answer,
                    });
                }
                still = Some(asked);
                if start.elapsed() > within {
                    bail!("after {within:?} it still decides {}", answer.level);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        asking
            .await
            .with_context(|| format!("{} at {}", self.process.name(), self.endpoint))
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

fn decision(answer: http::Response) -> Result<Decision> {
    serde_json::from_str(&answer.success()?).context("the proxy's answer is no decision")
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

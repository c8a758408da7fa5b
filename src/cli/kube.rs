//! What the commands that speak to the API server share: kubectl's own flags, and one way to ask.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Response, header};
use clap::Args;
use futures::future::BoxFuture;
use jiff::fmt::rfc2822;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::client::{ClientBuilder, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::{CustomResourceExt as _, Error};
use osproxy_core::{Clock as _, SystemClock};
use tower::BoxError;
use tower::util::MapFutureLayer;

use super::exit::{self, Failure};
use super::terminal::plain;
use crate::document::Moment;
use crate::resource::{DiagnosticsDirective, parse_duration_millis};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which API server, as whom, and in which namespace: kubectl's own flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "API server")]
pub(super) struct KubeArguments {
    /// The kubeconfig to use, instead of the files in KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context to use.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The kubeconfig's cluster to use.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// The kubeconfig's user to use.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// The namespace; by default the context's.
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// The user to impersonate.
    #[arg(long = "as", value_name = "USER")]
    impersonate: Option<String>,

    /// A group to impersonate; can be repeated.
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    impersonate_groups: Vec<String>,

    /// How long one request may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    request_timeout: Duration,
}

/// An API server that can be asked, and where and by whom it is.
#[derive(Clone)]
pub(super) struct Cluster {
    client: kube::Client,
    /// The namespace that was named, or else the context's.
    pub(super) namespace: String,
    /// The server's address.
    pub(super) server: String,
    timeout: Duration,
    heard: Arc<Mutex<Option<Heard>>>,
}

/// What time it was at the API server, by the `Date` of its latest answer, and by our own clock when that came.
#[derive(Clone, Copy)]
struct Heard {
    theirs_secs: u64,
    ours: Moment,
}

impl KubeArguments {
    /// Makes a client. Nothing is asked yet.
    ///
    /// # Errors
    /// Where no API server is named, or the credentials for it cannot be used.
    pub(super) async fn cluster(&self) -> Result<Cluster, Failure> {
        let mut config = self.config().await?;
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            if !self.impersonate_groups.is_empty() {
                config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
            }
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();

        let heard = Arc::new(Mutex::new(None));
        let listener = Arc::clone(&heard);
        let listen = move |answer: BoxFuture<'static, Result<Response<Box<DynBody>>, BoxError>>| {
            let heard = Arc::clone(&listener);
            async move {
                let answer = answer.await?;
                if let Some(date) = date_of(&answer) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(date);
                }
                Ok::<_, BoxError>(answer)
            }
        };
        let client = ClientBuilder::try_from(config)
            .map_err(|error| unusable(&error))?
            .with_layer(&MapFutureLayer::new(listen))
            .build();
        Ok(Cluster {
            client,
            namespace,
            server: server.trim_end_matches('/').to_owned(),
            timeout: self.request_timeout,
            heard,
        })
    }

    async fn config(&self) -> Result<kube::Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let file = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let named = self.kubeconfig.is_some() || self.context.is_some();
        match file {
            Ok(file) => kube::Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| unusable(&error)),
            Err(error) if named => Err(unusable(&error)),
            // In a Pod there is no kubeconfig, and none is missed.
            Err(error) => kube::Config::incluster().map_err(|_| unusable(&error)),
        }
    }
}

impl Cluster {
    /// The directives of one namespace, or of all.
    pub(super) fn directives(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = DiagnosticsDirective::api_resource();
        let client = self.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// For whatever else is asked.
    pub(super) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Waits for an answer, and says in the words of a person why there is none. `what` names what was asked for.
    ///
    /// # Errors
    /// Where the API server refuses, or does not answer in time.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(|error| self.failure(what, &error)),
            Err(_) => Err(Failure::cannot(format!(
                "cannot {what}: {} did not answer within {:?}",
                self.server, self.timeout
            ))
            .hint("--request-timeout waits longer")),
        }
    }

    /// The time at the API server, whole seconds since the Unix epoch, as of its latest answer; before the first one,
    /// the time here.
    pub(super) fn now_secs(&self) -> u64 {
        let now = Moment::now(&SystemClock);
        match *self.heard.lock().unwrap_or_else(PoisonError::into_inner) {
            None => now.wall_secs(),
            Some(heard) => {
                let since = SystemClock.now().saturating_duration_since(heard.ours.mono);
                heard.theirs_secs + since.as_secs()
            }
        }
    }

    /// By how many seconds the clock here was ahead of the API server's at its latest answer.
    pub(super) fn clock_ahead_secs(&self) -> Option<i64> {
        let heard = (*self.heard.lock().unwrap_or_else(PoisonError::into_inner))?;
        let secs = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
        Some(secs(heard.ours.wall_secs()) - secs(heard.theirs_secs))
    }

    /// Whom the API server takes us for.
    ///
    /// # Errors
    /// As [`Cluster::ask`].
    pub(super) async fn user(&self) -> Result<String, Failure> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client());
        let review = SelfSubjectReview::default();
        let params = PostParams::default();
        let asked = reviews.create(&params, &review);
        let answer = self.ask("ask who you are", asked).await?;
        let user = answer.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username)
            .ok_or_else(|| Failure::cannot("the API server does not say who you are"))
    }

    fn failure(&self, what: &str, error: &Error) -> Failure {
        let Error::Api(status) = error else {
            return Failure::cannot(format!(
                "cannot {what}: no usable answer from {}: {}",
                self.server,
                causes(error)
            ))
            .hint("see whether `kubectl version` gets one; --kubeconfig and --context name another server");
        };
        let message = format!("cannot {what}: {}", plain(&status.message));
        match status.code {
            401 => Failure::cannot(message)
                .hint("the API server does not take your credentials: log in again"),
            403 => Failure::forbidden(message)
                .hint("ask whoever runs this cluster for the right, or choose a namespace with -n"),
            404 if !status.message.contains("not found") => Failure::cannot(format!(
                "cannot {what}: the API server does not know the resource"
            ))
            .hint("install the custom resource definitions; `check --pre` tells what is missing"),
            409 if status.reason == "AlreadyExists" => Failure::exists(message),
            400..500 => Failure::no(message),
            _ => Failure::cannot(message),
        }
    }
}

/// A duration as `ttl` takes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_millis(text)
        .map(Duration::from_millis)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| {
            "must be a duration such as 30m or 1h30m (units h, m, s and ms, whole numbers)"
                .to_owned()
        })
}

/// Runs a command that asks the API server, on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    super::etcd::runtime()
        .map_err(|error| Failure::cannot(format!("{error:#}")))?
        .block_on(async {
            tokio::select! {
                ended = command => ended,
                _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED),
            }
        })
}

/// What a shell makes of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
const _: () = assert!(exit::YES != INTERRUPTED);

fn date_of<B>(answer: &Response<B>) -> Option<Heard> {
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let date = rfc2822::parse(date).ok()?;
    Some(Heard {
        theirs_secs: u64::try_from(date.timestamp().as_second()).ok()?,
        ours: Moment::now(&SystemClock),
    })
}

fn unusable(error: &dyn std::error::Error) -> Failure {
    Failure::cannot(format!("cannot find the API server: {}", causes(error)))
        .hint("name a kubeconfig with --kubeconfig or KUBECONFIG, and a context with --context")
}

/// An error and what caused it, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    // The name of an enum's case says nothing to a person.
    let mut text = text.trim_start_matches("ServiceError: ").to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

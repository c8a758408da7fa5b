//! A connection to etcd with every bound set.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use etcd_client::Client;

use super::Fault;

/// The time bounds of a connection. The defaults are the ones that both ends share.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timings {
    /// How long a TCP and TLS connect may take.
    pub connect_timeout: Duration,
    /// How long a unary call may take.
    pub unary_timeout: Duration,
    /// How often an idle connection is pinged. etcd closes connections that ping more often than every 5 s
    /// (`--grpc-keepalive-min-time`), at the third ping.
    pub keep_alive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keep_alive_timeout: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            unary_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }
}

/// Where etcd is and how to talk to it.
#[non_exhaustive]
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// The members' client URLs, `http://` or `https://`.
    pub endpoints: Vec<String>,
    /// The time bounds.
    pub timings: Timings,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An endpoint URL may carry credentials: only the number of them is shown.
        f.debug_struct("ConnectOptions")
            .field("endpoints", &self.endpoints.len())
            .field("timings", &self.timings)
            .finish()
    }
}

impl ConnectOptions {
    /// A plain connection to `endpoints` with the default time bounds.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            timings: Timings::default(),
        }
    }
}

/// Makes a client. Nothing is sent yet: whether anybody listens shows at the first call.
///
/// `require_leader` is on: a member cut off from its quorum otherwise serves a watch that stays mute (etcd-io/etcd#7247).
/// The deadline of unary calls is [`within`]'s and not the client's, which would cut a waiting campaign as well.
///
/// # Errors
/// [`Fault`] where the endpoints or the credentials cannot be used.
pub async fn connect(options: &ConnectOptions) -> Result<Client, Fault> {
    let timings = options.timings;
    let etcd = etcd_client::ConnectOptions::new()
        .with_connect_timeout(timings.connect_timeout)
        .with_keep_alive(timings.keep_alive_interval, timings.keep_alive_timeout)
        .with_keep_alive_while_idle(false)
        .with_tcp_keepalive(Duration::from_secs(30))
        .with_require_leader(true);
    within(
        timings.unary_timeout,
        Client::connect(&options.endpoints, Some(etcd)),
    )
    .await
}

/// Runs one unary call under a deadline.
///
/// # Errors
/// The call's [`Fault`], or [`Fault::Timeout`].
pub async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

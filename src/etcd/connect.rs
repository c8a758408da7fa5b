//! A connection to etcd with every bound set.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, Error};
use tracing::warn;

use super::material::Material;
use super::{ConnectOptions, Fault};

/// Makes a client with this material. Without a login nothing is sent yet: whether anybody listens
/// shows at the first call.
///
/// `require_leader` is on: a member cut off from its quorum otherwise serves a watch that stays mute (etcd-io/etcd#7247).
/// The deadline of unary calls is [`within`]'s and not the client's, which would cut a waiting campaign as well.
///
/// `member` is the position of the one endpoint to speak to; without one it is all of them by turns.
///
/// # Errors
/// [`Fault::Options`] where the options cannot be used; the log says why, and so does [`ConnectOptions::check`]. Any
/// other [`Fault`] is the login's.
pub(super) async fn connect_to(
    options: &ConnectOptions,
    material: &Material,
    member: Option<usize>,
) -> Result<Client, Fault> {
    options.check_words().map_err(|bad| {
        warn!(reason = bad.slug(), "cannot connect to etcd: {bad}");
        Fault::Options
    })?;
    let timings = options.timings;
    let mut etcd = etcd_client::ConnectOptions::new()
        .with_connect_timeout(timings.connect_timeout)
        .with_keep_alive(timings.keep_alive_interval, timings.keep_alive_timeout)
        .with_keep_alive_while_idle(false)
        .with_tcp_keepalive(Duration::from_secs(30))
        .with_require_leader(true);
    if let (Some(user), Some(password)) = (&options.user, &material.password) {
        etcd = etcd.with_user(user, password).with_auto_token_refresh(true);
    }
    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    if let Some(tls) = tls(options, material) {
        etcd = etcd.with_tls(tls);
    }
    let mut urls = options.urls();
    if let Some(member) = member {
        urls = urls.into_iter().skip(member).take(1).collect();
    }
    let connecting = Client::connect(urls, Some(etcd));
    match tokio::time::timeout(timings.unary_timeout, connecting).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error @ Error::GRpcStatus(_))) => Err(Fault::of(&error)),
        // Before anything is sent: what the words and the files passed for they are not.
        Ok(Err(_)) => {
            warn!(
                "cannot connect to etcd: an endpoint is no URL, a certificate is none, or a key is not its certificate's"
            );
            Err(Fault::Options)
        }
        Err(_) => Err(Fault::Timeout),
    }
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
fn tls(options: &ConnectOptions, material: &Material) -> Option<etcd_client::TlsOptions> {
    use etcd_client::{Certificate, Identity, TlsOptions};
    let authorities = material.authorities.as_ref()?;
    // The connect time-out is the TCP connect's alone.
    let mut tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(authorities))
        .timeout(options.timings.connect_timeout);
    if let Some((certificate, key)) = &material.identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &options.server_name {
        tls = tls.domain_name(name);
    }
    Some(tls)
}

/// Runs one unary call under a deadline.
///
/// # Errors
/// The call's [`Fault`], or [`Fault::Timeout`].
pub async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

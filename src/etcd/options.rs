//! Where etcd is and how to talk to it, and what is wrong with that before anything is sent.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::material::{FileProblem, FileRole, Material};

/// The time bounds of a connection. The defaults are the ones that both ends share.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timings {
    /// How long a TCP connect may take, and after it the TLS handshake.
    pub connect_timeout: Duration,
    /// How long a unary call may take.
    pub unary_timeout: Duration,
    /// How often an idle connection is pinged; at least every 6 s is refused. etcd closes connections that ping more
    /// often than every 5 s (`--grpc-keepalive-min-time`), at the third ping.
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

/// The shortest interval between two pings that etcd bears, with room for a late timer.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(6);

/// A password, or the file that holds it.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself.
    Text(String),
    /// A file that holds the password alone; a line break at its end does not count. It is read again when it changes.
    File(PathBuf),
}

/// Never shows the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Where etcd is and how to talk to it.
///
/// TLS takes one of the features `tls-ring` and `tls-aws-lc`. The provider of cryptography that the process has
/// installed is used; where it has installed none, that of the feature, and ring where both are on. Nothing
/// is installed for the process.
#[non_exhaustive]
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// The members' client URLs, `http://` or `https://`. One without a scheme is `https` where a CA file is given.
    pub endpoints: Vec<String>,
    /// The time bounds.
    pub timings: Timings,
    /// The authorities (PEM) that etcd's certificate has to come from. Required for `https://`: the
    /// system's own authorities are never trusted.
    pub ca_file: Option<PathBuf>,
    /// The client certificate (PEM), with its chain; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The client certificate's private key (PEM).
    pub key_file: Option<PathBuf>,
    /// The name that etcd's certificate has to be for, where it is not the endpoint's host.
    pub server_name: Option<String>,
    /// The etcd user; goes with `password`. A client certificate, whose common name is the user, is the better login:
    /// it does not expire with a token.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Password>,
    /// Whether user and password may go over `http://`, where everybody on the way can read them.
    pub allow_insecure_credentials: bool,
}

impl ConnectOptions {
    /// A plain connection to `endpoints` with the default time bounds.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Whether all this can be used, the files included: reads them, and sends nothing.
    ///
    /// # Errors
    /// [`BadOptions`], which says what is wrong, where, and what is allowed.
    pub fn check(&self) -> Result<(), BadOptions> {
        self.check_words()?;
        Material::read(self).map(drop)
    }

    /// Everything but the files.
    pub(crate) fn check_words(&self) -> Result<(), BadOptions> {
        if self.endpoints.is_empty() {
            return Err(BadOptions::NoEndpoint);
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(BadOptions::HalfIdentity);
        }
        if self.user.is_some() != self.password.is_some() {
            return Err(BadOptions::HalfLogin);
        }
        if self.timings.keep_alive_interval < LEAST_KEEP_ALIVE {
            return Err(BadOptions::KeepAlive);
        }
        for (index, endpoint) in self.urls().iter().enumerate() {
            self.check_endpoint(endpoint, index + 1)?;
        }
        Ok(())
    }

    fn check_endpoint(&self, url: &str, position: usize) -> Result<(), BadOptions> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(BadOptions::Endpoint { position });
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BadOptions::LoginInEndpoint { position });
        }
        if authority.is_empty() || authority.contains(char::is_whitespace) {
            return Err(BadOptions::Endpoint { position });
        }
        match scheme {
            "https" if !HAS_TLS => Err(BadOptions::NoTls),
            "https" if self.ca_file.is_none() => Err(BadOptions::NoAuthority),
            "http" if self.wants_tls() => Err(BadOptions::PlainEndpoint { position }),
            "http" if self.user.is_some() && !self.allow_insecure_credentials => {
                Err(BadOptions::InsecureCredentials { position })
            }
            "https" | "http" => Ok(()),
            _ => Err(BadOptions::Endpoint { position }),
        }
    }

    /// The endpoints, each with its scheme.
    pub(super) fn urls(&self) -> Vec<String> {
        let scheme = if self.wants_tls() { "https" } else { "http" };
        self.endpoints
            .iter()
            .map(|endpoint| {
                if endpoint.contains("://") {
                    endpoint.clone()
                } else {
                    format!("{scheme}://{endpoint}")
                }
            })
            .collect()
    }

    fn wants_tls(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.server_name.is_some()
    }

    /// Whether any file has to be looked at for changes.
    pub(crate) fn has_files(&self) -> bool {
        self.ca_file.is_some()
            || self.cert_file.is_some()
            || matches!(self.password, Some(Password::File(_)))
    }
}

const HAS_TLS: bool = cfg!(any(feature = "tls-ring", feature = "tls-aws-lc"));

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A mistyped endpoint may carry credentials: only the number of them is shown.
        f.debug_struct("ConnectOptions")
            .field("endpoints", &self.endpoints.len())
            .field("timings", &self.timings)
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("server_name", &self.server_name)
            .field("user", &self.user.is_some())
            .field("password", &self.password)
            .field(
                "allow_insecure_credentials",
                &self.allow_insecure_credentials,
            )
            .finish()
    }
}

/// What is wrong with [`ConnectOptions`]. Endpoints are named by their position, from 1: a mistyped one may carry a
/// password.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadOptions {
    /// An endpoint is no URL of etcd.
    #[error("etcd endpoint {position} is no URL; write http://host:2379 or https://host:2379")]
    Endpoint {
        /// Which one, from 1.
        position: usize,
    },
    /// A file cannot be used.
    #[error("the {role} {path:?} {problem}")]
    File {
        /// What it is for.
        role: FileRole,
        /// Where it is.
        path: PathBuf,
        /// Why it cannot be used.
        problem: FileProblem,
    },
    /// A client certificate without its key, or the other way round.
    #[error("a client certificate takes both its file and its key's file; one of them is missing")]
    HalfIdentity,
    /// A user without a password, or the other way round.
    #[error("a login takes both a user and a password (or its file); one of them is missing")]
    HalfLogin,
    /// User and password would go over plain `http`.
    #[error(
        "etcd endpoint {position} is plain http, over which anybody on the way can read the password; use https://, or allow insecure credentials in so many words"
    )]
    InsecureCredentials {
        /// Which one, from 1.
        position: usize,
    },
    /// Pings that etcd does not bear.
    #[error(
        "the keep-alive interval is shorter than 6 s; etcd closes connections that ping more often than every 5 s"
    )]
    KeepAlive,
    /// An endpoint carries a user or a password.
    #[error("etcd endpoint {position} carries a login; give user and password by themselves")]
    LoginInEndpoint {
        /// Which one, from 1.
        position: usize,
    },
    /// `https` without a CA file.
    #[error(
        "an https endpoint takes a CA file, the authority that etcd's certificate comes from; the system's authorities are not trusted"
    )]
    NoAuthority,
    /// No endpoint at all.
    #[error("there is no etcd endpoint; give at least one, such as http://127.0.0.1:2379")]
    NoEndpoint,
    /// `https` without a TLS feature.
    #[error(
        "an https endpoint takes TLS, and this program was built without it; turn on the feature `tls-ring` or `tls-aws-lc`"
    )]
    NoTls,
    /// A plain endpoint beside TLS options.
    #[error(
        "etcd endpoint {position} is plain http, but a CA file, a client certificate or a server name is given; use https://"
    )]
    PlainEndpoint {
        /// Which one, from 1.
        position: usize,
    },
}

impl BadOptions {
    /// The stable slug that status and logs share.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "bad_endpoint",
            Self::File { problem, .. } => problem.slug(),
            Self::HalfIdentity => "half_identity",
            Self::HalfLogin => "half_login",
            Self::InsecureCredentials { .. } => "insecure_credentials",
            Self::KeepAlive => "keep_alive_too_often",
            Self::LoginInEndpoint { .. } => "login_in_endpoint",
            Self::NoAuthority => "no_ca_file",
            Self::NoEndpoint => "no_endpoint",
            Self::NoTls => "no_tls",
            Self::PlainEndpoint { .. } => "plain_endpoint",
        }
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;

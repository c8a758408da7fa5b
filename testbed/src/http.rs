//! The smallest HTTP client that does.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// An endpoint on loopback that does not answer in this time is stuck.
const LIMIT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: String,
}

impl Response {
    /// The body, if the status is a success.
    ///
    /// # Errors
    /// The status and the body, if it is not.
    pub fn success(self) -> Result<String> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{}: {}", self.status, self.body.trim_end())
    }
}

/// `GET url` over plain HTTP with the given headers.
///
/// # Errors
/// When nobody answers, or not within ten seconds. A status other than 200 is not an error.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let exchange = async {
        let uri: Uri = url.parse()?;
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        Connection::open(url).await?.get(target, headers).await
    };
    exchange.await.with_context(|| format!("GET {url}"))
}

/// One connection that is asked again and again: for whoever measures when an answer changes.
#[derive(Debug)]
pub struct Connection {
    authority: String,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to the host and port of `url`.
    ///
    /// # Errors
    /// When nobody accepts within ten seconds.
    pub async fn open(url: &str) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let authority = uri
            .authority()
            .context("the address has no host")?
            .to_string();
        let stream = within_limit(TcpStream::connect(&authority)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            authority,
            sender,
            // Why a connection ended the request that it was needed for says itself.
            driver: tokio::spawn(async { drop(connection.await) }),
        })
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// As [`get`].
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let mut request = Request::get(path).header(http::header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new())?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Response {
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        within_limit(exchange).await?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn within_limit<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, work)
        .await
        .with_context(|| format!("no answer in {LIMIT:?}"))
}

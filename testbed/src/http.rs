//! The smallest HTTP client that does: one request, one connection.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

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
    tokio::time::timeout(LIMIT, exchange(url, headers))
        .await
        .with_context(|| format!("GET {url}: no answer in {LIMIT:?}"))?
        .with_context(|| format!("GET {url}"))
}

async fn exchange(url: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let uri: Uri = url.parse()?;
    let authority = uri
        .authority()
        .context("the address has no host")?
        .to_string();
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(target).header(http::header::HOST, &authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok(Response {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    // The connection has to be driven while the answer is awaited; whichever ends first decides.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => { ended?; answer.await }
    }
}

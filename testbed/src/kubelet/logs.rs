//! What `kubectl logs` asks for: the API server fetches it from the node, over TLS, and both show a certificate.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use super::board::{Board, ContainerView};
use crate::kube::Identity;

/// Between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// TLS with the node's certificate, for whoever shows one of the cluster's authority.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn tls(identity: &Identity, authority: &Path) -> Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&identity.key)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, board: Arc<Board>) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            open.spawn(connection(stream, tls.clone(), Arc::clone(&board)));
        }
    }
}

/// One connection; what goes wrong on it, its other end sees.
async fn connection(stream: TcpStream, tls: TlsAcceptor, board: Arc<Board>) {
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let answer = service_fn(move |request| {
        let answer = answer(&request, &board);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    drop(served.await);
}

fn answer(request: &Request<Incoming>, board: &Arc<Board>) -> Response<Body> {
    let parts: Vec<&str> = request.uri().path().split('/').collect();
    let ["", "containerLogs", namespace, pod, container] = parts.as_slice() else {
        return text(
            StatusCode::NOT_FOUND,
            "only containerLogs has a stand-in here",
        );
    };
    let query = request.uri().query().unwrap_or_default();
    let options: BTreeMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let known = [
        "follow",
        "previous",
        "tailLines",
        "limitBytes",
        "sinceSeconds",
    ];
    if let Some(unknown) = options.keys().find(|key| !known.contains(key)) {
        let message = format!("`{unknown}` has no stand-in here");
        return text(StatusCode::BAD_REQUEST, &message);
    }
    let Some(view) = view(board, namespace, pod, container) else {
        return text(StatusCode::NOT_FOUND, "no such container runs here");
    };
    let on = |name| options.get(name) == Some(&"true");
    let number = |name| options.get(name).and_then(|value| value.parse().ok());
    let runs = view.logs.len();
    let index = if on("previous") {
        runs.checked_sub(2)
    } else {
        runs.checked_sub(1)
    };
    let Some(log) = index.map(|index| view.logs[index].clone()) else {
        return text(
            StatusCode::BAD_REQUEST,
            "there is no such run of this container",
        );
    };
    if number("sinceSeconds").is_some_and(|secs| !is_younger(&log, secs)) {
        let message = "nobody knows here when a line was written, only that a younger log is within `sinceSeconds`";
        return text(StatusCode::BAD_REQUEST, message);
    }
    let said = match read(&log, 0) {
        Ok(said) => said,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    };
    let end = said.len();
    let mut said = tail(said, number("tailLines"));
    said.truncate(number("limitBytes").unwrap_or(usize::MAX));
    if on("follow") && !on("previous") {
        Response::new(follow(view, log, end, said))
    } else {
        Response::new(Full::new(Bytes::from(said)).boxed())
    }
}

fn view(board: &Board, namespace: &str, pod: &str, container: &str) -> Option<ContainerView> {
    let mut pods = board.pods().into_iter();
    let pod = pods.find(|view| view.namespace == namespace && view.name == pod)?;
    let mut containers = pod.containers.into_iter();
    containers.find(|view| view.name == container)
}

fn read(log: &Path, from: usize) -> Result<Vec<u8>> {
    let mut file = std::fs::File::open(log).context("cannot open the log")?;
    file.seek(SeekFrom::Start(u64::try_from(from)?))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether all of a log is of the last seconds: nothing says of a line when it was written.
fn is_younger(log: &Path, secs: usize) -> bool {
    let began = std::fs::metadata(log).and_then(|log| log.created());
    let age = began.ok().and_then(|began| began.elapsed().ok());
    age.is_some_and(|age| age.as_secs() < u64::try_from(secs).unwrap_or(u64::MAX))
}

fn tail(said: Vec<u8>, lines: Option<usize>) -> Vec<u8> {
    let Some(lines) = lines else {
        return said;
    };
    let whole = said.strip_suffix(b"\n").unwrap_or(&said);
    let starts = whole.iter().enumerate().rev();
    let mut breaks = starts
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    match lines.checked_sub(1) {
        None => Vec::new(),
        Some(skip) => {
            let start = breaks.nth(skip).unwrap_or(0);
            said[start..].to_vec()
        }
    }
}

/// What was said so far, and then what is said until the container ends.
fn follow(view: ContainerView, log: PathBuf, from: usize, first: Vec<u8>) -> Body {
    let stream = futures::stream::unfold((from, Some(first)), move |(at, first)| {
        let (log, process) = (log.clone(), view.process.clone());
        async move {
            if let Some(first) = first {
                return Some((Ok(frame(first)), (at, None)));
            }
            loop {
                let runs = process.as_ref().is_some_and(|process| process.is_running());
                let more = read(&log, at).unwrap_or_default();
                if !more.is_empty() {
                    let at = at + more.len();
                    return Some((Ok(frame(more)), (at, None)));
                }
                if !runs {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    BodyExt::boxed(StreamBody::new(stream))
}

fn frame(bytes: Vec<u8>) -> Frame<Bytes> {
    Frame::data(Bytes::from(bytes))
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(message.to_owned())).boxed());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_counts_from_the_end() {
        let said = b"one\ntwo\nthree\n".to_vec();
        for (lines, left) in [
            (None, "one\ntwo\nthree\n"),
            (Some(0), ""),
            (Some(1), "three\n"),
            (Some(2), "two\nthree\n"),
            (Some(9), "one\ntwo\nthree\n"),
        ] {
            assert_eq!(tail(said.clone(), lines), left.as_bytes());
        }
    }
}

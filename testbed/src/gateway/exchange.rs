//! One request on its way through, and its answer on the way back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::kube::Client;
use ::kube::client::Body;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use tokio::sync::mpsc;

use super::rules::{Act, State};
use super::{Asked, Shared, lock};

/// What somebody else wants of an open watch.
pub(super) enum Push {
    /// One more line.
    Line(Bytes),
    /// Its end, in good form.
    End,
    /// Its end by a broken connection.
    Cut,
    /// Silence for ever.
    Hush,
}

/// Sees one request through. An error closes the client's connection, and that is its only use.
///
/// It goes on when its client has gone: what was sent may arrive, however late.
pub(super) async fn serve(
    shared: Arc<Shared>,
    upstream: Client,
    request: Request<Incoming>,
) -> io::Result<Response<Outgoing>> {
    let exchange = tokio::spawn(exchange(shared, upstream, request));
    exchange.await.map_err(io::Error::other)?
}

async fn exchange(
    shared: Arc<Shared>,
    upstream: Client,
    request: Request<Incoming>,
) -> io::Result<Response<Outgoing>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let asked = shared.enter(Asked::new(&head, &body));
    let rules = shared.rules.matching(&asked);

    if let Some(answer) = before(&rules).await? {
        shared.answered(asked.number, answer.status().as_u16());
        return Ok(answer);
    }
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = Request::new(Body::from(body));
    *onward.method_mut() = head.method;
    *onward.uri_mut() = target.parse().map_err(io::Error::other)?;
    *onward.headers_mut() = end_to_end(head.headers);
    onward.headers_mut().remove(header::HOST);
    onward.headers_mut().remove(header::CONTENT_LENGTH);
    let answer = match upstream.send(onward).await {
        Ok(answer) => answer,
        // As whoever stands before a server that is down.
        Err(error) => {
            shared.answered(asked.number, 502);
            return Ok(full(
                StatusCode::BAD_GATEWAY,
                HeaderMap::new(),
                format!("{error}").into(),
            ));
        }
    };
    let status = answer.status().as_u16();
    let answer = after(&shared, &asked, &rules, answer).await?;
    shared.answered(asked.number, status);
    Ok(answer)
}

/// What the rules do before the server is asked; an answer where it is not asked at all.
async fn before(rules: &[Arc<State>]) -> io::Result<Option<Response<Outgoing>>> {
    for rule in rules {
        for act in &rule.acts {
            match act {
                Act::Run(run) => lock(run)(),
                Act::Delay(delay) => tokio::time::sleep(*delay).await,
                Act::UntilReleased => {
                    let mut released = rule.released.subscribe();
                    // The sender lives as long as the rule.
                    let _ = released.wait_for(|released| *released).await;
                }
                Act::Answer(status, headers, body) => {
                    let headers = headers.iter().cloned().collect();
                    return Ok(Some(full(*status, headers, body.clone())));
                }
                Act::Lose => return Err(io::ErrorKind::ConnectionAborted.into()),
                Act::Mute => std::future::pending().await,
                Act::Answered(_)
                | Act::LoseAnswer
                | Act::Header(..)
                | Act::Body(_)
                | Act::CutAfter(_) => {}
            }
        }
    }
    Ok(None)
}

/// What the rules make of an answer.
async fn after(
    shared: &Arc<Shared>,
    asked: &Asked,
    rules: &[Arc<State>],
    answer: Response<Body>,
) -> io::Result<Response<Outgoing>> {
    let (head, body) = answer.into_parts();
    let mut headers = end_to_end(head.headers);
    let mut whole = None;
    let mut body = Some(body);
    let mut left = usize::MAX;
    for act in rules.iter().flat_map(|rule| &rule.acts) {
        match act {
            Act::Answered(run) => lock(run)(),
            Act::LoseAnswer => return Err(io::ErrorKind::ConnectionAborted.into()),
            Act::Header(name, value) => drop(headers.insert(name, value.clone())),
            Act::Body(rewrite) => {
                if let Some(body) = body.take() {
                    let read = body.collect().await.map_err(io::Error::other)?;
                    whole = Some(read.to_bytes().to_vec());
                }
                whole = whole.map(|bytes| lock(rewrite)(bytes));
            }
            Act::CutAfter(bytes) => left = *bytes,
            _ => {}
        }
    }
    let (sender, outgoing) = Outgoing::new();
    match (whole, body) {
        (Some(whole), _) => {
            headers.remove(header::CONTENT_LENGTH);
            tokio::spawn(async move { Receiver(sender, left).send(whole.into()).await });
        }
        (None, Some(body)) if asked.streams() && head.status.is_success() => {
            // Before the answer is told: whoever knows of it may push at once.
            let pushes = shared.register();
            let client = Receiver(sender, left);
            tokio::spawn(watch(Arc::clone(shared), body, client, pushes));
        }
        (None, Some(body)) => {
            tokio::spawn(copy(body, Receiver(sender, left)));
        }
        (None, None) => {}
    }
    let mut response = Response::new(outgoing);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    Ok(response)
}

async fn copy(mut body: Body, mut client: Receiver) {
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(io::Error::other).map(Frame::into_data);
        let sent = match data {
            Ok(Ok(data)) => client.send(data).await,
            Ok(Err(_)) => continue,
            Err(error) => client.0.send(Err(error)).await.is_ok(),
        };
        if !sent {
            return;
        }
    }
}

/// Passes a watch on line by line.
async fn watch(
    shared: Arc<Shared>,
    mut body: Body,
    mut client: Receiver,
    mut pushes: mpsc::UnboundedReceiver<Push>,
) {
    let mut buffer = Vec::new();
    let mut hushed = false;
    loop {
        let gone = client.0.clone();
        tokio::select! {
            frame = body.frame(), if !hushed => match frame {
                Some(Ok(frame)) => buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    let _ = client.0.send(Err(io::Error::other(error))).await;
                    return;
                }
                None => return,
            },
            Some(push) = pushes.recv() => match push {
                Push::Line(line) => {
                    if !hushed && !client.send(line).await {
                        return;
                    }
                }
                Push::End => return,
                Push::Cut => {
                    let _ = client.0.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                    return;
                }
                Push::Hush => hushed = true,
            },
            () = gone.closed() => return,
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            let line = Bytes::from(std::mem::replace(&mut buffer, rest));
            for line in shared.rules.rewrite(line) {
                if !client.send(line).await {
                    return;
                }
            }
        }
    }
}

/// The way back to the client, and how many bytes of it are left.
struct Receiver(mpsc::Sender<io::Result<Frame<Bytes>>>, usize);

impl Receiver {
    /// Returns whether there is any point in going on.
    async fn send(&mut self, mut data: Bytes) -> bool {
        if data.len() > self.1 {
            data.truncate(self.1);
            let _ = self.0.send(Ok(Frame::data(data))).await;
            let _ = self
                .0
                .send(Err(io::ErrorKind::ConnectionReset.into()))
                .await;
            return false;
        }
        self.1 -= data.len();
        self.0.send(Ok(Frame::data(data))).await.is_ok()
    }
}

/// What concerns one connection alone is not passed on.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers
}

fn full(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Outgoing> {
    let (sender, outgoing) = Outgoing::new();
    // There is room for one frame, so this never waits.
    let _ = sender.try_send(Ok(Frame::data(body)));
    let mut response = Response::new(outgoing);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A body that somebody fills frame by frame; an error in it breaks the connection.
pub(super) struct Outgoing(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Outgoing {
    fn new() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Self) {
        let (sender, frames) = mpsc::channel(16);
        (sender, Self(frames))
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

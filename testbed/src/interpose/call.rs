//! One call on its way through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http::{HeaderMap, Request, Response};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::grpc::{self, Messages, Outgoing, Part};
use super::rules::{Fate, Side};
use super::{Shared, code};

/// By which a client tells the server when it will have gone.
const TIMEOUT: &str = "grpc-timeout";

/// How soon the end of one connection is the end of the other.
const SOON: Duration = Duration::from_secs(1);

/// What somebody else wants of an open call.
pub(super) enum Push {
    /// One more message for its client.
    Message(Bytes),
    /// Its end, with a status.
    End(i32, String),
}

/// A call: where it goes, and what may end it.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) upstream: SendRequest<Outgoing>,
    pub(super) authority: String,
    pub(super) loose: Arc<AtomicBool>,
    pub(super) client: Client,
}

/// The way back to the client: first a head, then frames.
pub(super) struct Client {
    pub(super) head: Option<(oneshot::Sender<Response<Outgoing>>, Outgoing)>,
    pub(super) frames: mpsc::Sender<Frame<Bytes>>,
}

/// How one half of a call ended.
enum End {
    /// As etcd ended it: with these trailers.
    Trailers(HeaderMap),
    /// By a rule or a push.
    Status(i32, String),
    /// By a rule, without a word.
    Mute,
}

impl Call {
    /// Sees the call through.
    pub(super) async fn run(mut self, request: Request<Incoming>) {
        let end = match self.forward(request).await {
            Ok(end) => end,
            // One of the connections has ended, and the other one is about to: that is what the
            // client has to see, and no status.
            Err(error) if error.is::<hyper::Error>() => {
                if timeout(SOON, self.client.gone()).await.is_ok() {
                    return;
                }
                End::Status(code::UNAVAILABLE, format!("interposer: {error:#}"))
            }
            // Something that a test did wrong is not to look like etcd.
            Err(error) => End::Status(code::INTERNAL, format!("interposer: {error:#}")),
        };
        match end {
            End::Trailers(trailers) => self.client.end(trailers).await,
            End::Status(code, message) => self.client.end(grpc::status(code, &message)).await,
            End::Mute => self.client.gone().await,
        }
    }

    async fn forward(&mut self, request: Request<Incoming>) -> Result<End> {
        let (parts, body) = request.into_parts();
        let method = parts.uri.path().to_owned();
        let mut requests = Requests {
            shared: Arc::clone(&self.shared),
            loose: Arc::clone(&self.loose),
            method: method.clone(),
            messages: Messages::new(body),
        };
        // Nothing reaches etcd before the rules have seen the first message.
        let first = match requests.next().await? {
            Passed::Messages(messages) => messages,
            Passed::Nothing => Vec::new(),
            Passed::Ended(end) => return Ok(end),
        };
        let (to_etcd, body) = Outgoing::new(None);
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = format!("http://{}{method}", self.authority).parse()?;
        *onward.headers_mut() = parts.headers;
        if self.loose.load(Ordering::SeqCst) {
            onward.headers_mut().remove(TIMEOUT);
        }
        self.upstream.ready().await?;
        let answer = self.upstream.send_request(onward);
        let up = requests.pump(first, to_etcd);
        let down = Answers {
            shared: &self.shared,
            loose: &self.loose,
            method: &method,
            pushes: self.shared.register(&method),
        };
        let down = down.pump(answer, &mut self.client);
        tokio::pin!(up, down);
        tokio::select! {
            end = &mut down => end,
            // The client has said all; etcd has not.
            ended = &mut up => match ended? {
                Some(end) => Ok(end),
                None => down.await,
            },
        }
    }
}

/// Messages on their way to etcd.
struct Requests {
    shared: Arc<Shared>,
    loose: Arc<AtomicBool>,
    method: String,
    messages: Messages,
}

/// What the rules left of a message.
enum Passed {
    Messages(Vec<Bytes>),
    /// There was none: the end of the stream.
    Nothing,
    Ended(End),
}

impl Requests {
    async fn next(&mut self) -> Result<Passed> {
        let message = match self.messages.next().await {
            Ok(Some(Part::Message(message))) => message,
            Ok(_) => return Ok(Passed::Nothing),
            // The client has gone, and the call goes on without it.
            Err(_) if self.loose.load(Ordering::SeqCst) => return Ok(Passed::Nothing),
            Err(error) => return Err(error),
        };
        self.shared.count(Side::Request, &self.method);
        self.shared
            .judge(Side::Request, &self.method, message, &self.loose)
            .await
            .map(|fate| match fate {
                Fate::Pass(messages) => Passed::Messages(messages),
                Fate::Refused(code, message) => Passed::Ended(End::Status(code, message)),
                Fate::Lost => Passed::Ended(End::Mute),
            })
    }

    /// Passes on everything until the client has said all; a rule may end the call before.
    async fn pump(
        mut self,
        first: Vec<Bytes>,
        to_etcd: mpsc::Sender<Frame<Bytes>>,
    ) -> Result<Option<End>> {
        let mut messages = first;
        loop {
            for message in &messages {
                if to_etcd.send(grpc::framed(message)?).await.is_err() {
                    // etcd has ended the call; why is in its answer.
                    return Ok(None);
                }
            }
            messages = match self.next().await? {
                Passed::Messages(messages) => messages,
                Passed::Nothing => return Ok(None),
                Passed::Ended(end) => return Ok(Some(end)),
            };
        }
    }
}

/// Messages on their way back.
struct Answers<'a> {
    shared: &'a Shared,
    loose: &'a AtomicBool,
    method: &'a str,
    pushes: mpsc::UnboundedReceiver<Push>,
}

impl Answers<'_> {
    async fn pump(
        mut self,
        answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
        client: &mut Client,
    ) -> Result<End> {
        let (head, body) = answer.await?.into_parts();
        if grpc::is_status(&head.headers) {
            return self.ended(head.headers).await;
        }
        let mut messages = Messages::new(body);
        let mut answered = false;
        client.begin(head.headers);
        loop {
            let part = tokio::select! {
                part = messages.next() => part?,
                Some(push) = self.pushes.recv() => match push {
                    Push::Message(message) => {
                        client.send(&message).await?;
                        continue;
                    }
                    Push::End(code, message) => return Ok(End::Status(code, message)),
                },
            };
            match part.context("etcd ended a call without a status")? {
                Part::Message(message) => {
                    answered = true;
                    match self.judge(message).await? {
                        Fate::Pass(messages) => {
                            for message in &messages {
                                client.send(message).await?;
                            }
                        }
                        Fate::Refused(code, message) => return Ok(End::Status(code, message)),
                        Fate::Lost => return Ok(drain(messages).await),
                    }
                }
                Part::Trailers(trailers) if answered => return Ok(End::Trailers(trailers)),
                Part::Trailers(trailers) => return self.ended(trailers).await,
            }
        }
    }

    /// A call that ends without any message: its status is its answer.
    async fn ended(&self, trailers: HeaderMap) -> Result<End> {
        Ok(match self.judge(Bytes::new()).await? {
            Fate::Pass(_) => End::Trailers(trailers),
            Fate::Refused(code, message) => End::Status(code, message),
            Fate::Lost => End::Mute,
        })
    }

    async fn judge(&self, message: Bytes) -> Result<Fate> {
        self.shared.count(Side::Answer, self.method);
        self.shared
            .judge(Side::Answer, self.method, message, self.loose)
            .await
    }
}

/// Reads to the end, so that etcd is not held up by an answer that nobody gets.
async fn drain(mut messages: Messages) -> End {
    while let Ok(Some(_)) = messages.next().await {}
    End::Mute
}

impl Client {
    fn begin(&mut self, headers: HeaderMap) {
        if let Some((sender, body)) = self.head.take() {
            // A client that has gone by now needs no head.
            let _ = sender.send(grpc::head(headers, body));
        }
    }

    async fn send(&mut self, message: &Bytes) -> Result<()> {
        let sent = self.frames.send(grpc::framed(message)?).await;
        sent.map_err(|_| anyhow!("the client has gone"))
    }

    /// Waits until nobody listens any more.
    async fn gone(&mut self) {
        match &mut self.head {
            Some((sender, _)) => sender.closed().await,
            None => self.frames.closed().await,
        }
    }

    async fn end(&mut self, trailers: HeaderMap) {
        if self.head.is_some() {
            self.begin(trailers);
        } else {
            let _ = self.frames.send(Frame::trailers(trailers)).await;
        }
    }
}

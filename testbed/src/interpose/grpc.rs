//! gRPC on HTTP/2, as far as somebody in the middle has to know it: messages in frames, a status
//! in the trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// A flag and a length stand before each message.
const PREFIX: usize = 5;
const STATUS: &str = "grpc-status";
const STATUS_MESSAGE: &str = "grpc-message";

/// What a body consists of.
pub(super) enum Part {
    /// One message without its prefix.
    Message(Bytes),
    /// The status of the call.
    Trailers(HeaderMap),
}

/// Takes a body apart into messages.
pub(super) struct Messages {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: Vec::new(),
        }
    }

    /// The next message or the trailers; none at the end. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(Part::Message(message)));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            match frame?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => return Ok(frame.into_trailers().ok().map(Part::Trailers)),
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Bytes>> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        ensure!(
            compressed == 0,
            "a compressed message; etcd and its clients here send none"
        );
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let Some(message) = rest.get(..length).map(Bytes::copy_from_slice) else {
            return Ok(None);
        };
        self.buffer.drain(..PREFIX + length);
        Ok(Some(message))
    }
}

/// A message as it travels.
pub(super) fn framed(message: &Bytes) -> Result<Frame<Bytes>> {
    let length = u32::try_from(message.len()).context("a message of more than 4 GiB")?;
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.push(0);
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    Ok(Frame::data(frame.into()))
}

/// A status, for the trailers or for an answer that has nothing else.
pub(super) fn status(code: i32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(code));
    // gRPC wants other characters escaped; the messages of tests have none.
    if let Ok(message) = HeaderValue::from_str(message) {
        trailers.insert(STATUS_MESSAGE, message);
    }
    trailers
}

/// Whether an answer's head is all of it, as of a call that failed at once.
pub(super) fn is_status(head: &HeaderMap) -> bool {
    head.contains_key(STATUS)
}

/// The head of any gRPC answer.
pub(super) fn head(headers: HeaderMap, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().entry("content-type").or_insert(kind);
    response
}

/// A message of a known type, and back.
pub(super) fn decode<M: Message + Default>(message: Bytes) -> Result<M> {
    M::decode(message).context("an answer is not of the type that its rule says")
}

/// A body that somebody fills frame by frame.
pub(super) struct Outgoing {
    frames: mpsc::Receiver<Frame<Bytes>>,
    /// Ends the call when the peer has gone, which hyper says by dropping the body.
    _leash: Option<Leash>,
}

impl Outgoing {
    pub(super) fn new(leash: Option<Leash>) -> (mpsc::Sender<Frame<Bytes>>, Self) {
        let (sender, frames) = mpsc::channel(16);
        let body = Self {
            frames,
            _leash: leash,
        };
        (sender, body)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// Ends the task of a call when its client has gone, unless the call was cut loose from it.
pub(super) struct Leash {
    task: Option<AbortHandle>,
    loose: Arc<AtomicBool>,
}

impl Leash {
    pub(super) fn new(task: AbortHandle, loose: Arc<AtomicBool>) -> Self {
        Self {
            task: Some(task),
            loose,
        }
    }

    /// Hands the task over to another leash.
    pub(super) fn let_go(mut self) {
        self.task = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(task) = &self.task
            && !self.loose.load(Ordering::SeqCst)
        {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_no_header_can_hold_keeps_its_code() {
        let trailers = status(14, "line\nbreak");
        assert_eq!(trailers["grpc-status"], "14");
        assert!(is_status(&trailers) && !trailers.contains_key("grpc-message"));
    }
}

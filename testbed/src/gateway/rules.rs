//! What shall happen to which request, and who waits for it to have happened.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Asked, lock};

type About = Box<dyn Fn(&Asked) -> bool + Send + Sync>;
type Run = Mutex<Box<dyn FnMut() + Send>>;
type Bodies = Mutex<Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>>;
type Events = Mutex<Box<dyn FnMut(Value) -> Vec<Value> + Send>>;

/// A rule that is being written: what it is about, and then what happens, in the order in which it is named. See
/// [`super::Gateway::when`].
#[must_use = "a rule does nothing until it is armed"]
pub struct Rule {
    rules: Arc<Rules>,
    about: About,
    nth: usize,
    times: usize,
    acts: Vec<Act>,
}

/// What happens to a request, and then to its answer.
pub(super) enum Act {
    Run(Run),
    Delay(Duration),
    UntilReleased,
    /// In place of the server's answer.
    Answer(StatusCode, Vec<(HeaderName, HeaderValue)>, Bytes),
    Lose,
    Mute,
    Answered(Run),
    LoseAnswer,
    Header(HeaderName, HeaderValue),
    Body(Bodies),
    CutAfter(usize),
}

impl Rule {
    pub(super) fn new(rules: Arc<Rules>, about: About) -> Self {
        Self {
            rules,
            about,
            nth: 1,
            times: 1,
            acts: Vec::new(),
        }
    }

    /// The nth such request from now on, counted from 1, instead of the next one.
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// So many in a row, instead of one.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// That one and every later one, instead of that one alone.
    pub fn every(self) -> Self {
        self.times(usize::MAX)
    }

    /// Runs a closure before the server is asked, as one that kills the client's process. It must not block.
    pub fn run(self, run: impl FnMut() + Send + 'static) -> Self {
        self.then(Act::Run(Mutex::new(Box::new(run))))
    }

    /// Asks the server this much later.
    pub fn delay(self, delay: Duration) -> Self {
        self.then(Act::Delay(delay))
    }

    /// Asks the server when [`Armed::release`] says so.
    pub fn hold_until_released(self) -> Self {
        self.then(Act::UntilReleased)
    }

    /// Answers in place of the server, with a body of any kind.
    pub fn answer(self, status: u16, body: impl Into<Bytes>) -> Self {
        self.answer_with(status, &[], body)
    }

    /// The same, with headers.
    pub fn answer_with(
        self,
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect();
        self.then(Act::Answer(status, headers, body.into()))
    }

    /// Answers in place of the server with Kubernetes' own form of a refusal, as in `410, "Expired"`.
    pub fn refuse(self, status: u16, reason: &str) -> Self {
        self.refuse_with(status, reason, &[])
    }

    /// The same, with headers, as in `Retry-After`.
    pub fn refuse_with(self, status: u16, reason: &str, headers: &[(&'static str, &str)]) -> Self {
        let body = refusal(status, reason).to_string();
        let kind = ("content-type", "application/json");
        let headers: Vec<_> = std::iter::once(kind)
            .chain(headers.iter().copied())
            .collect();
        self.answer_with(status, &headers, body)
    }

    /// Closes the connection; the server is never asked.
    pub fn lose(self) -> Self {
        self.then(Act::Lose)
    }

    /// Says nothing, ever; the server is never asked.
    pub fn mute(self) -> Self {
        self.then(Act::Mute)
    }

    /// Runs a closure when the server has answered, before the client is told.
    pub fn answered(self, run: impl FnMut() + Send + 'static) -> Self {
        self.then(Act::Answered(Mutex::new(Box::new(run))))
    }

    /// Closes the connection in place of the answer of a server that has done what was asked.
    pub fn lose_answer(self) -> Self {
        self.then(Act::LoseAnswer)
    }

    /// Sets a header of the answer.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        match (name.parse(), value.parse()) {
            (Ok(name), Ok(value)) => self.then(Act::Header(name, value)),
            _ => self,
        }
    }

    /// Rewrites the body of an answer, which is therefore read to its end first: not for a watch.
    pub fn body(self, rewrite: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) -> Self {
        self.then(Act::Body(Mutex::new(Box::new(rewrite))))
    }

    /// The same for JSON.
    pub fn json(self, mut rewrite: impl FnMut(&mut Value) + Send + 'static) -> Self {
        self.body(move |bytes| match serde_json::from_slice(&bytes) {
            Ok(mut value) => {
                rewrite(&mut value);
                value.to_string().into_bytes()
            }
            Err(_) => bytes,
        })
    }

    /// Breaks the connection after so many bytes of the answer's body.
    pub fn cut_after(self, bytes: usize) -> Self {
        self.then(Act::CutAfter(bytes))
    }

    /// Puts it into force. Rules are asked in the order in which they were armed, and all that match act.
    #[allow(
        clippy::must_use_candidate,
        reason = "it holds without its handle, until the gateway is healed"
    )]
    pub fn arm(self) -> Armed {
        let state = State {
            about: Some(self.about),
            nth: self.nth,
            times: self.times,
            acts: self.acts,
            ..State::default()
        };
        self.rules.arm(state)
    }

    fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }
}

/// A refusal as the API server words it.
pub(super) fn refusal(status: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "said by the testbed's gateway", "reason": reason, "code": status,
    })
}

/// A rule in force, until it is removed or the gateway is healed.
pub struct Armed {
    state: Arc<State>,
    rules: Arc<Rules>,
}

impl Armed {
    /// How often it has acted, or begun to.
    #[must_use]
    pub fn hits(&self) -> usize {
        *self.state.hits.borrow()
    }

    /// Waits until it has begun to act so many times.
    ///
    /// # Errors
    /// When it has not within that time.
    pub async fn hit(&self, times: usize, within: Duration) -> Result<()> {
        let mut hits = self.state.hits.subscribe();
        let reached = hits.wait_for(|hits| *hits >= times);
        tokio::time::timeout(within, reached)
            .await
            .with_context(|| {
                let hits = self.hits();
                format!("the rule acted {hits} times in {within:?}, and not {times}")
            })??;
        Ok(())
    }

    /// Passes on what the rule holds back, and whatever it will match later.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Puts it out of force; what it holds back is passed on.
    pub fn remove(&self) {
        lock(&self.rules.0).retain(|rule| !Arc::ptr_eq(rule, &self.state));
        self.release();
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").finish_non_exhaustive()
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Armed")
            .field("hits", &self.hits())
            .finish_non_exhaustive()
    }
}

/// All rules in force.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Arc<State>>>);

impl Rules {
    fn arm(self: Arc<Self>, state: State) -> Armed {
        let state = Arc::new(state);
        lock(&self.0).push(Arc::clone(&state));
        Armed { state, rules: self }
    }

    pub(super) fn arm_events(
        self: &Arc<Self>,
        rewrite: Box<dyn FnMut(Value) -> Vec<Value> + Send>,
    ) -> Armed {
        let state = State {
            events: Some(Mutex::new(rewrite)),
            ..State::default()
        };
        Arc::clone(self).arm(state)
    }

    /// The rules that act on a request, which counts it.
    pub(super) fn matching(&self, asked: &Asked) -> Vec<Arc<State>> {
        let rules = lock(&self.0).clone();
        rules
            .into_iter()
            .filter(|rule| rule.about.as_ref().is_some_and(|about| about(asked)))
            .filter(|rule| {
                let seen = rule.seen.fetch_add(1, Ordering::SeqCst) + 1;
                seen >= rule.nth && seen - rule.nth < rule.times
            })
            .inspect(|rule| rule.hits.send_modify(|hits| *hits += 1))
            .collect()
    }

    /// What the rules about events make of one line.
    pub(super) fn rewrite(&self, line: Bytes) -> Vec<Bytes> {
        let rules = lock(&self.0).clone();
        let mut rules = rules.iter().filter(|rule| rule.events.is_some()).peekable();
        if rules.peek().is_none() {
            return vec![line];
        }
        let Ok(event) = serde_json::from_slice(&line) else {
            return vec![line];
        };
        let mut events = vec![event];
        for rule in rules {
            rule.hits.send_modify(|hits| *hits += 1);
            if let Some(rewrite) = &rule.events {
                events = events
                    .into_iter()
                    .flat_map(|event| lock(rewrite)(event))
                    .collect();
            }
        }
        let line = |event: Value| Bytes::from(format!("{event}\n"));
        events.into_iter().map(line).collect()
    }

    pub(super) fn clear(&self) {
        for rule in lock(&self.0).drain(..) {
            rule.released.send_replace(true);
        }
    }
}

/// A rule and how far it has got.
pub(super) struct State {
    about: Option<About>,
    nth: usize,
    times: usize,
    seen: AtomicUsize,
    pub(super) acts: Vec<Act>,
    events: Option<Events>,
    hits: watch::Sender<usize>,
    pub(super) released: watch::Sender<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            about: None,
            nth: 1,
            times: 1,
            seen: AtomicUsize::new(0),
            acts: Vec::new(),
            events: None,
            hits: watch::Sender::new(0),
            released: watch::Sender::new(false),
        }
    }
}

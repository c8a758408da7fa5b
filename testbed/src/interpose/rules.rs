//! What shall happen to which message, and who waits for it to have happened.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::body::Bytes;
use prost::Message;
use tokio::sync::watch;

use super::{ANY, grpc};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Answer,
}

/// A rule that is being written: what it is about, and then what happens. See
/// [`super::Interposer::request`] and [`super::Interposer::answer`].
#[must_use = "a rule does nothing until it is armed"]
pub struct Rule {
    rules: Arc<Rules>,
    side: Side,
    method: &'static str,
    about: Vec<u8>,
    nth: usize,
    every: bool,
    actions: Vec<Action>,
}

/// What happens to a message, in the order in which the rule names it.
pub(super) enum Action {
    Run(Mutex<Box<dyn FnMut() + Send>>),
    Delay(Duration),
    /// From here on the call goes on without its client.
    CutLoose,
    UntilReleased,
    Refuse(i32, String),
    Lose,
    Rewrite(Mutex<Rewrite>),
}

type Rewrite = Box<dyn FnMut(Bytes) -> Result<Vec<Bytes>> + Send>;

impl Rule {
    pub(super) fn new(rules: Arc<Rules>, side: Side, method: &'static str) -> Self {
        Self {
            rules,
            side,
            method,
            about: Vec::new(),
            nth: 1,
            every: false,
            actions: Vec::new(),
        }
    }

    /// Only messages that contain these bytes, as in a key.
    pub fn about(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.about = bytes.into();
        self
    }

    /// The nth such message from now on, counted from 1, instead of the next one.
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// That one and every later one, instead of that one alone.
    pub fn every(mut self) -> Self {
        self.every = true;
        self
    }

    /// Runs a closure, as one that stops the client's process. It must not block.
    pub fn run(self, run: impl FnMut() + Send + 'static) -> Self {
        self.then(Action::Run(Mutex::new(Box::new(run))))
    }

    /// Passes it on this much later; a request whose client goes meanwhile is never passed on.
    pub fn delay(self, delay: Duration) -> Self {
        self.then(Action::Delay(delay))
    }

    /// Passes it on this much later, although the client may have gone: a late commit.
    pub fn hold(self, time: Duration) -> Self {
        self.then(Action::CutLoose).then(Action::Delay(time))
    }

    /// Passes it on when [`Armed::release`] says so, although the client may have gone.
    pub fn hold_until_released(self) -> Self {
        self.then(Action::CutLoose).then(Action::UntilReleased)
    }

    /// Ends the call with a gRPC status: before a request has reached etcd, or in place of the
    /// answer of an etcd that has done it.
    pub fn refuse(self, code: i32, message: &str) -> Self {
        self.then(Action::Refuse(code, message.to_owned()))
    }

    /// Nothing more comes back on this call, and its end neither: the client waits until its own
    /// deadline. As the fate of an answer: etcd has done what was asked. As that of a request: it
    /// never reaches etcd.
    pub fn lose(self) -> Self {
        self.then(Action::Lose)
    }

    /// Replaces a message by any number of others: none swallows it, two replay something. It is
    /// the caller's to know the type, which follows from the method and the side.
    pub fn rewrite<M: Message + Default>(
        self,
        mut rewrite: impl FnMut(M) -> Vec<M> + Send + 'static,
    ) -> Self {
        self.then(Action::Rewrite(Mutex::new(Box::new(move |message| {
            let written = rewrite(grpc::decode(message)?);
            Ok(written
                .iter()
                .map(|message| message.encode_to_vec().into())
                .collect())
        }))))
    }

    /// Puts it into force. Rules are asked in the order in which they were armed, and all that
    /// match act.
    #[allow(
        clippy::must_use_candidate,
        reason = "it holds without its handle, until the interposer is healed"
    )]
    pub fn arm(self) -> Armed {
        let state = Arc::new(State {
            side: self.side,
            method: self.method,
            about: self.about,
            nth: self.nth,
            every: self.every,
            seen: AtomicUsize::new(0),
            actions: self.actions,
            hits: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        lock(&self.rules.0).push(Arc::clone(&state));
        Armed {
            state,
            rules: self.rules,
        }
    }

    fn then(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }
}

/// A rule in force, until it is removed or the interposer is healed.
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
                format!(
                    "the rule about {} acted {} times in {within:?}, and not {times}",
                    self.state.method,
                    self.hits()
                )
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
        f.debug_struct("Rule")
            .field("side", &self.side)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Armed")
            .field("method", &self.state.method)
            .field("hits", &self.hits())
            .finish_non_exhaustive()
    }
}

/// All rules in force.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Arc<State>>>);

impl Rules {
    /// The rules that act on a message, which counts it.
    pub(super) fn matching(&self, side: Side, method: &str, message: &[u8]) -> Vec<Arc<State>> {
        let rules = lock(&self.0).clone();
        rules
            .into_iter()
            .filter(|rule| rule.side == side && [ANY, method].contains(&rule.method))
            .filter(|rule| contains(message, &rule.about))
            .filter(|rule| {
                let seen = rule.seen.fetch_add(1, Ordering::SeqCst) + 1;
                seen == rule.nth || (rule.every && seen > rule.nth)
            })
            .collect()
    }

    pub(super) fn clear(&self) {
        for rule in lock(&self.0).drain(..) {
            rule.released.send_replace(true);
        }
    }
}

/// A rule and how far it has got.
pub(super) struct State {
    side: Side,
    method: &'static str,
    about: Vec<u8>,
    nth: usize,
    every: bool,
    seen: AtomicUsize,
    actions: Vec<Action>,
    hits: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

/// What became of a message.
pub(super) enum Fate {
    /// Passed on as these.
    Pass(Vec<Bytes>),
    /// The call ends with a status.
    Refused(i32, String),
    /// The call is mute from now on.
    Lost,
}

impl State {
    /// Does to one message what the rule says.
    pub(super) async fn act(&self, message: Bytes, cut_loose: impl Fn()) -> Result<Fate> {
        self.hits.send_modify(|hits| *hits += 1);
        let mut messages = vec![message];
        for action in &self.actions {
            match action {
                Action::Run(run) => lock(run)(),
                Action::Delay(delay) => tokio::time::sleep(*delay).await,
                Action::CutLoose => cut_loose(),
                Action::UntilReleased => {
                    self.released
                        .subscribe()
                        .wait_for(|released| *released)
                        .await?;
                }
                Action::Refuse(code, message) => return Ok(Fate::Refused(*code, message.clone())),
                Action::Lose => return Ok(Fate::Lost),
                Action::Rewrite(rewrite) => {
                    let before = std::mem::take(&mut messages);
                    for message in before {
                        messages.extend(lock(rewrite)(message)?);
                    }
                }
            }
        }
        Ok(Fate::Pass(messages))
    }
}

fn contains(message: &[u8], part: &[u8]) -> bool {
    part.is_empty() || message.windows(part.len()).any(|window| window == part)
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(rule: impl Fn(Rule) -> Rule) -> Vec<bool> {
        let rules = Arc::new(Rules::default());
        let rule = rule(Rule::new(Arc::clone(&rules), Side::Request, "/a/B"));
        let _armed = rule.arm();
        ["x", "key", "x", "key", "key"]
            .iter()
            .map(|message| {
                !rules
                    .matching(Side::Request, "/a/B", message.as_bytes())
                    .is_empty()
            })
            .collect()
    }

    #[test]
    fn a_rule_acts_on_the_message_that_it_names_and_no_other() {
        assert_eq!(acts(|rule| rule), [true, false, false, false, false]);
        assert_eq!(acts(|rule| rule.nth(3)), [false, false, true, false, false]);
        assert_eq!(acts(Rule::every), [true; 5]);
        assert_eq!(
            acts(|rule| rule.about("key").nth(2)),
            [false, false, false, true, false]
        );
        assert_eq!(
            acts(|rule| rule.about("ke").nth(2).every()),
            [false, false, false, true, true]
        );
    }

    #[test]
    fn a_rule_knows_its_method_and_its_side() {
        let rules = Arc::new(Rules::default());
        let armed = Rule::new(Arc::clone(&rules), Side::Answer, "/a/B")
            .every()
            .arm();
        assert!(rules.matching(Side::Request, "/a/B", b"").is_empty());
        assert!(rules.matching(Side::Answer, "/a/C", b"").is_empty());
        assert_eq!(rules.matching(Side::Answer, "/a/B", b"").len(), 1);
        let _any = Rule::new(Arc::clone(&rules), Side::Answer, ANY)
            .every()
            .arm();
        assert_eq!(rules.matching(Side::Answer, "/a/B", b"").len(), 2);
        armed.remove();
        assert_eq!(rules.matching(Side::Answer, "/a/B", b"").len(), 1);
        rules.clear();
        assert!(rules.matching(Side::Answer, "/a/B", b"").is_empty());
    }
}

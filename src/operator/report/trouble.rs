//! What to do about statuses that cannot be written; pure.
//!
//! Each is tried again, later and later. Where the whole server is the trouble, or a whole namespace, the others that would fail the
//! same way are not even tried: ten thousand resources must not become ten thousand refusals every few seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::operator::observe::Id;

/// How many writes are under way at once.
const WINDOW: usize = 16;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How far a failure reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// This resource: it changed meanwhile, is gone, or the server refuses this very status.
    Resource,
    /// Its namespace: a right is missing there.
    Namespace,
    /// Everything: no answer, or a server that wants to be left alone.
    Server,
}

impl Reach {
    /// How far a refusal with this HTTP status reaches.
    pub(super) fn of_code(code: u16) -> Self {
        match code {
            403 => Self::Namespace,
            401 | 429 | 500.. => Self::Server,
            _ => Self::Resource,
        }
    }
}

/// What has failed and is to be tried again.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    again: BTreeSet<Id>,
    rounds: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Open,
    /// Nothing is written until the wait is over.
    Resting,
    /// One write finds out whether the server takes them again.
    Probing,
}

impl Trouble {
    /// How many writes may be under way.
    pub(super) fn window(&self) -> usize {
        match self.state {
            State::Open => WINDOW,
            State::Resting => 0,
            State::Probing => 1,
        }
    }

    /// A write failed. Takes along from `waiting` what would fail the same way. Returns how long to wait where no wait is on yet.
    pub(super) fn failed(
        &mut self,
        id: Id,
        reach: Reach,
        waiting: &mut BTreeSet<Id>,
    ) -> Option<Duration> {
        let waits = !self.again.is_empty();
        match reach {
            Reach::Resource => {}
            Reach::Namespace => {
                let same: Vec<Id> = waiting
                    .iter()
                    .filter(|other| other.namespace == id.namespace)
                    .cloned()
                    .collect();
                for other in same {
                    waiting.remove(&other);
                    self.again.insert(other);
                }
            }
            Reach::Server => self.state = State::Resting,
        }
        self.again.insert(id);
        if waits {
            return None;
        }
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.rounds.min(16));
        self.rounds += 1;
        Some(wait.min(LONGEST_WAIT))
    }

    /// A write succeeded.
    pub(super) fn written(&mut self) {
        if self.state == State::Probing {
            self.state = State::Open;
        }
        if self.again.is_empty() {
            self.rounds = 0;
        }
    }

    /// Whether a wait is on.
    pub(super) fn waits(&self) -> bool {
        !self.again.is_empty()
    }

    /// The wait is over. Returns what is to be tried again.
    pub(super) fn over(&mut self) -> BTreeSet<Id> {
        if self.state == State::Resting {
            self.state = State::Probing;
        }
        std::mem::take(&mut self.again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> Id {
        Id {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_server_that_refuses_is_left_alone_and_then_asked_once() {
        let (mut trouble, mut waiting) = (Trouble::default(), BTreeSet::from([id("a", "2")]));
        let wait = trouble.failed(id("a", "1"), Reach::of_code(503), &mut waiting);
        assert_eq!(wait, Some(FIRST_WAIT));
        assert_eq!((trouble.window(), waiting.len()), (0, 1));
        assert_eq!(trouble.over(), BTreeSet::from([id("a", "1")]));
        assert_eq!(trouble.window(), 1);
        let wait = trouble.failed(id("a", "1"), Reach::of_code(429), &mut waiting);
        assert_eq!(wait, Some(FIRST_WAIT * 2));
        trouble.over();
        trouble.written();
        assert_eq!(trouble.window(), WINDOW);
        let wait = trouble.failed(id("a", "1"), Reach::Server, &mut waiting);
        assert_eq!(wait, Some(FIRST_WAIT), "it begins anew");
    }

    #[test]
    fn a_right_that_is_missing_in_one_namespace_holds_up_no_other() {
        let mut waiting = BTreeSet::from([id("a", "2"), id("a", "3"), id("b", "1")]);
        let mut trouble = Trouble::default();
        trouble.failed(id("a", "1"), Reach::of_code(403), &mut waiting);
        assert_eq!(waiting, BTreeSet::from([id("b", "1")]));
        assert_eq!((trouble.window(), trouble.over().len()), (WINDOW, 3));
    }

    #[test]
    fn a_resource_that_fails_waits_ever_longer_and_alone() {
        let mut waiting = BTreeSet::from([id("a", "2")]);
        let mut trouble = Trouble::default();
        for wait in [2, 4, 8, 16, 32, 60, 60] {
            let next = trouble.failed(id("a", "1"), Reach::of_code(422), &mut waiting);
            assert_eq!(next, Some(Duration::from_secs(wait)));
            assert_eq!(
                trouble.failed(id("a", "9"), Reach::Resource, &mut waiting),
                None
            );
            assert_eq!((trouble.window(), waiting.len()), (WINDOW, 1));
            assert!(trouble.waits() && trouble.over().len() == 2);
        }
    }
}

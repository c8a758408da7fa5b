//! Events about resources: sent beside everything else, few at a time, and none that would be noise.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder};
use osproxy_core::{Clock, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::status::Transition;
use super::writer::ReportTally;
use crate::operator::observe::Resource;
use crate::resource::DiagnosticsDirective;

/// The least time between two Events about directives: at most fifty a second.
pub const SPACING: Duration = Duration::from_millis(20);
/// How many may wait for that. What does not fit is dropped and counted: the status says the same.
const WAITING: usize = 1_000;
/// How many Events about one object in a row, as client-go has it.
pub const BURST: u32 = 25;
/// How soon it may have one more.
pub const REFILL: Duration = Duration::from_mins(5);
/// Objects that have been quiet are forgotten from this many on.
const REMEMBERED: usize = 10_000;
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// One Event to send.
#[derive(Debug)]
pub(super) struct Letter {
    resource: Arc<Resource>,
    event: Transition,
}

/// Takes Events and never waits.
pub(super) struct Postbox {
    letters: mpsc::Sender<Letter>,
    clock: Arc<dyn Clock>,
    tally: Arc<ReportTally>,
    budgets: HashMap<String, Budget>,
}

impl Postbox {
    /// A box, and what is put into it.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        tally: Arc<ReportTally>,
    ) -> (Self, mpsc::Receiver<Letter>) {
        let (letters, receiver) = mpsc::channel(WAITING);
        let postbox = Self {
            letters,
            clock,
            tally,
            budgets: HashMap::new(),
        };
        (postbox, receiver)
    }

    /// Takes an Event, or drops and counts it.
    pub(super) fn put(&mut self, resource: Arc<Resource>, event: Transition) {
        let now = self.clock.now();
        if self.budgets.len() >= REMEMBERED {
            self.budgets.retain(|_, budget| !budget.is_full(now));
        }
        let budget = self.budgets.entry(resource.uid.clone());
        let allowed = budget.or_insert_with(|| Budget::full(now)).take(now);
        let letter = Letter { resource, event };
        if !allowed || self.letters.try_send(letter).is_err() {
            self.tally.events_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends what is put into the box, for as long as there is a box. Nothing depends on an Event, so one that is not taken is
/// not sent again.
pub(super) async fn deliver(
    recorder: Recorder,
    mut letters: mpsc::Receiver<Letter>,
    tally: Arc<ReportTally>,
) {
    while let Some(Letter { resource, event }) = letters.recv().await {
        let (event, regarding) = (worded(event), reference(&resource));
        let call = timeout(CALL_DEADLINE, recorder.publish(&event, &regarding));
        if let Ok(Ok(())) = call.await {
            tally.events.fetch_add(1, Ordering::Relaxed);
        } else {
            tally.events_dropped.fetch_add(1, Ordering::Relaxed);
            debug!(id = %resource.id, "An Event was not taken");
        }
        sleep(SPACING).await;
    }
}

fn worded(event: Transition) -> Event {
    let mut note = event.note;
    // The API takes 1 kB of note, and cutting must not split a character.
    while note.len() > 1_000 {
        note.pop();
    }
    Event {
        type_: if event.reason.is_warning() {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: event.reason.word().to_owned(),
        note: Some(note),
        action: event.reason.word().to_owned(),
        secondary: None,
    }
}

fn reference(resource: &Resource) -> ObjectReference {
    let api = ApiResource::erase::<DiagnosticsDirective>(&());
    ObjectReference {
        api_version: Some(api.api_version),
        kind: Some(api.kind),
        namespace: Some(resource.id.namespace.clone()),
        name: Some(resource.id.name.clone()),
        uid: Some(resource.uid.clone()),
        resource_version: Some(resource.resource_version.clone()),
        ..ObjectReference::default()
    }
}

/// How many Events one object may still have.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn full(now: Instant) -> Self {
        Self {
            left: BURST,
            since: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        let mut then = *self;
        then.refill(now);
        then.left == BURST
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        let earned = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(BURST);
        self.since = self.since.saturating_add(REFILL.saturating_mul(earned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::observe::{Id, Shown};
    use crate::operator::report::EventReason;
    use crate::resource;
    use osproxy_core::ManualClock;
    use serde_json::Value;

    fn resource(uid: &str) -> Arc<Resource> {
        Arc::new(Resource {
            id: Id {
                namespace: "ns".into(),
                name: uid.into(),
            },
            uid: uid.into(),
            generation: 1,
            resource_version: "1".into(),
            created_secs: 0,
            directive: resource::parse("ns", uid, 0, &Value::Null),
            status: Shown::default(),
        })
    }

    fn event() -> Transition {
        Transition {
            reason: EventReason::Published,
            note: "…".repeat(500),
        }
    }

    #[test]
    fn one_object_cannot_flood_and_the_others_are_heard() {
        let (clock, tally) = (
            Arc::new(ManualClock::new()),
            Arc::new(ReportTally::default()),
        );
        let (mut postbox, mut letters) = Postbox::new(clock.clone(), Arc::clone(&tally));
        let dropped = || tally.events_dropped.load(Ordering::Relaxed);
        for _ in 0..100 {
            postbox.put(resource("flapping"), event());
        }
        assert_eq!((letters.len(), dropped()), (25, 75));
        postbox.put(resource("other"), event());
        assert_eq!((letters.len(), dropped()), (26, 75));
        clock.advance(REFILL);
        for _ in 0..2 {
            postbox.put(resource("flapping"), event());
        }
        assert_eq!((letters.len(), dropped()), (27, 76));
        assert!(letters.try_recv().is_ok());
    }

    #[test]
    fn a_full_box_drops_and_counts_and_never_waits() {
        let tally = Arc::new(ReportTally::default());
        let (mut postbox, letters) = Postbox::new(Arc::new(ManualClock::new()), Arc::clone(&tally));
        for n in 0..WAITING + 7 {
            postbox.put(resource(&n.to_string()), event());
        }
        assert_eq!(letters.len(), WAITING);
        assert_eq!(tally.events_dropped.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = worded(event()).note.unwrap();
        assert_eq!(note.len(), 999);
        assert!(note.chars().all(|c| c == '…'));
    }
}

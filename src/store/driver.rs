//! Carries out what the protocol asks for, and keeps what comes of it. Nothing is decided here.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::WatchStream;
use osproxy_core::Instant;
use tokio::time::{Sleep, sleep, timeout};
use tracing::{debug, info, warn};

use super::fleet::Speaker;
use super::holding::Holding;
use super::protocol::{Happened, Header, Next, Pace, Protocol, Tell, Value};
use super::shared::Shared;
use super::status::Counters;
use super::wire::message_of;
use crate::document::{LeaseReading, Moment};
use crate::etcd::{Connection, Fault, Keys, Look, look};

/// The store's task.
pub(super) struct Driver {
    key: Arc<str>,
    shared: Arc<Shared>,
    protocol: Protocol,
    holding: Holding,
    /// Made anew after a call or a watch that was not answered.
    connection: Connection,
    read: Slot<Result<(Header, Option<Value>), Fault>>,
    lease: Slot<Happened>,
    opening: Slot<Result<WatchStream, Fault>>,
    watch: Option<WatchStream>,
    /// A look at the files, where there are any.
    looking: Slot<Look>,
    /// Goes off when something is due, or before that; and when that is.
    alarm: (Pin<Box<Sleep>>, Instant),
    /// The last failure.
    fault: Option<Fault>,
    /// Where a name was given: hears of everything that the record of this proxy says.
    speaker: Option<Speaker>,
}

/// A call under way, if any.
type Slot<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// How long the start tries again after a failure that may pass, such as one dead member of three.
const START_TRIES_FOR: Duration = Duration::from_secs(3);
/// How long the start may take in all.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How long to sleep where nothing is planned.
const IDLE: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn new(connection: Connection, keys: &Keys, shared: Arc<Shared>) -> Self {
        let now = shared.clock().now();
        let mut driver = Self {
            connection,
            key: keys.document().into(),
            protocol: Protocol::new(Pace::default(), fastrand::u64(..), now),
            shared,
            holding: Holding::default(),
            read: None,
            lease: None,
            opening: None,
            watch: None,
            looking: None,
            alarm: (Box::pin(sleep(Duration::ZERO)), now),
            fault: None,
            speaker: None,
        };
        driver.look_later();
        driver
    }

    /// From now on `speaker` hears of what there is to say.
    pub(super) fn speak(&mut self, speaker: Speaker) {
        self.speaker = Some(speaker);
    }

    /// Runs until the state of the key is known.
    ///
    /// # Errors
    /// The last failure, where that takes too long or cannot pass by itself.
    pub(super) async fn start(&mut self) -> Result<(), Fault> {
        let began = self.shared.clock().now();
        let started = async {
            let mut happened = Happened::TimePassed;
            loop {
                self.step(happened).await;
                if self.protocol.has_taken() || self.holding.refused().is_some() {
                    return Ok(());
                }
                if let Some(fault) = self.fault {
                    let tried = self.shared.clock().now().saturating_duration_since(began);
                    let hopeless = matches!(
                        fault,
                        Fault::Authentication
                            | Fault::Options
                            | Fault::PermissionDenied
                            | Fault::Tls
                            | Fault::Other
                    );
                    if hopeless || tried >= START_TRIES_FOR {
                        return Err(fault);
                    }
                }
                happened = self.next_happening().await;
            }
        };
        timeout(START_WITHIN, started)
            .await
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Runs until the task is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let happened = self.next_happening().await;
            self.step(happened).await;
        }
    }

    /// Waits for whatever happens first. Loses nothing: every call under way stays in its slot until it is done.
    async fn next_happening(&mut self) -> Happened {
        self.set_alarm();
        tokio::select! {
            read = done(&mut self.read) => match read {
                Ok((header, value)) => Happened::Read(header, value),
                Err(fault) => Happened::ReadFailed(fault),
            },
            happened = done(&mut self.lease) => happened,
            opened = done(&mut self.opening) => match opened {
                Ok(stream) => {
                    self.watch = Some(stream);
                    Happened::TimePassed
                }
                Err(fault) => Happened::WatchFailed(fault),
            },
            happened = message(&mut self.watch, &self.key) => happened,
            looked = done(&mut self.looking) => self.looked(looked),
            () = &mut self.alarm.0 => Happened::TimePassed,
        }
    }

    /// Sets the alarm, unless it goes off early enough already: to set it costs more than to wake for nothing now and
    /// then, and every message of a watch puts off what is due.
    fn set_alarm(&mut self) {
        let now = self.shared.clock().now();
        let wake = [self.protocol.wake_at(), self.holding.wake_at(now)];
        let at = wake.into_iter().flatten().min();
        let at = at.unwrap_or_else(|| now.saturating_add(IDLE));
        let (alarm, goes_off) = &mut self.alarm;
        if alarm.is_elapsed() || now >= *goes_off || at < *goes_off {
            let wait = at.saturating_duration_since(now);
            alarm.set(sleep(wait.max(Duration::from_millis(1))));
            *goes_off = at;
        }
    }

    /// Looks at the files in a while, if there are any.
    fn look_later(&mut self) {
        if self.connection.options().has_files() {
            let (connection, key) = (self.connection.clone(), Arc::clone(&self.key));
            let looking = async move { look(&connection, &key).await };
            self.looking = Some(Box::pin(looking));
        }
    }

    fn looked(&mut self, look: Look) -> Happened {
        let key = &*self.key;
        let (happened, unused) = match look {
            Look::Same => (Happened::TimePassed, None),
            Look::Refused(reason) => (Happened::TimePassed, Some(reason)),
            Look::Works(connection) => {
                info!(key, "certificates or password changed; connects anew");
                self.connection = connection;
                (Happened::Renewed, None)
            }
        };
        self.shared.record(|facts| {
            if let Some(reason) = unused
                && facts.unused_files != unused
            {
                warn!(
                    key,
                    reason,
                    "the new certificates or password cannot be used; the last good ones stay in use"
                );
            }
            facts.unused_files = unused;
        });
        self.look_later();
        happened
    }

    async fn step(&mut self, happened: Happened) {
        let now = Moment::now(self.shared.clock());
        let mut next = self.protocol.step(now.mono, happened);
        if self.holding.look(now) {
            debug!(
                key = &*self.key,
                "the wall clock ran ahead; asking for the document's age"
            );
            next.extend(self.protocol.step(now.mono, Happened::ClockJumped));
        }
        let before = self.holding.refused();
        let mut emptied = false;
        for next in next {
            emptied |= self.carry_out(next, now).await;
        }
        if emptied || self.holding.is_outdated(now) {
            self.shared.publish(self.holding.snapshot(now));
        }
        if before.is_some() && self.holding.refused().is_none() {
            info!(key = &*self.key, "what stands at the key is accepted again");
        }
        self.shared.record(|facts| {
            facts.revision = self.protocol.known();
            let counted = facts.counters;
            facts.counters = Counters {
                applied: counted.applied,
                refused: counted.refused,
                ..self.protocol.counters()
            };
            facts.hold(&self.holding);
        });
        if let Some(speaker) = &self.speaker {
            let histories = self.protocol.counters().histories;
            speaker.hear(&self.connection, &self.holding, histories);
        }
    }

    /// Does one thing; true where the set is empty from now on.
    async fn carry_out(&mut self, next: Next, now: Moment) -> bool {
        match next {
            Next::Read => {
                let read = self.connection.clone().read(Arc::clone(&self.key));
                self.read = Some(Box::pin(read));
            }
            Next::AskLease(id) => {
                self.lease = Some(Box::pin(self.connection.clone().ask_lease(id)));
            }
            Next::Watch(from) => {
                let opening = self.connection.clone().watch(Arc::clone(&self.key), from);
                self.watch = None;
                self.opening = Some(Box::pin(opening));
            }
            Next::AskProgress => {
                if let Some(watch) = &mut self.watch {
                    // Where it cannot be sent the stream is broken, and says so itself.
                    let _ = timeout(Duration::from_secs(1), watch.request_progress()).await;
                }
            }
            Next::Drop(connection_too) => {
                (self.watch, self.opening, self.read, self.lease) = (None, None, None, None);
                if connection_too {
                    self.connection = self.connection.next();
                }
            }
            Next::Take {
                value,
                revision,
                reading,
            } => {
                self.shared.record(|facts| facts.confirmed = Some(now.mono));
                let Some(value) = value else {
                    info!(
                        key = &*self.key,
                        revision, "the key is absent: no directives"
                    );
                    self.holding.clear(revision);
                    self.shared.record(|facts| facts.counters.applied += 1);
                    return true;
                };
                self.take(&value, reading, now);
            }
            Next::Confirm => self.shared.record(|facts| facts.confirmed = Some(now.mono)),
            Next::Age(id, reading) => self.holding.lease_answered(id, reading, now),
            Next::Tell(tell) => self.tell(tell, now),
        }
        false
    }

    fn take(&mut self, value: &Value, reading: Option<LeaseReading>, now: Moment) {
        let (revision, bytes) = (value.mod_revision, value.bytes.len());
        match self.holding.take(value, reading, now) {
            Ok(()) => {
                info!(key = &*self.key, revision, bytes, "applied a document");
                self.shared.record(|facts| facts.counters.applied += 1);
            }
            Err(refusal) => {
                let reason = refusal.reason.slug();
                warn!(
                    key = &*self.key,
                    revision,
                    bytes,
                    reason,
                    directive = refusal.directive,
                    "refused a document; the last good one stays in force"
                );
                self.shared.record(|facts| facts.counters.refused += 1);
            }
        }
    }

    fn tell(&mut self, tell: Tell, now: Moment) {
        let key = &*self.key;
        match tell {
            Tell::Connected => {
                info!(key, "watching");
                self.shared.record(|facts| facts.disconnected = None);
            }
            Tell::Lost(fault) => {
                warn!(
                    key,
                    reason = fault.slug(),
                    "lost the watch; the last good set stays in force"
                );
                self.failed(fault, now);
            }
            Tell::ReadFailed(fault) => {
                warn!(
                    key,
                    reason = fault.slug(),
                    "cannot read the key; the last good set stays in force"
                );
                self.failed(fault, now);
                if fault == Fault::TooLarge {
                    self.holding.refuse_unseen(fault.slug());
                }
            }
            Tell::Doubted(Header { revision, cluster }) => {
                warn!(
                    key,
                    revision, cluster, "etcd shows another history; waiting for a second answer"
                );
                self.disconnected(now);
            }
            Tell::Followed(Header { revision, cluster }) => {
                warn!(
                    key,
                    revision,
                    cluster,
                    "following another history of etcd: restored, wiped or exchanged"
                );
            }
        }
    }

    fn failed(&mut self, fault: Fault, now: Moment) {
        self.fault = Some(fault);
        self.shared.record(|facts| facts.last_fault = Some(fault));
        if !self.protocol.is_watching() {
            self.disconnected(now);
        }
    }

    fn disconnected(&self, now: Moment) {
        self.shared.record(|facts| {
            facts.disconnected.get_or_insert(now.mono);
        });
    }
}

/// Waits for the call in the slot and empties it; for ever where there is none.
async fn done<T>(slot: &mut Slot<T>) -> T {
    match slot {
        Some(call) => {
            let answer = call.await;
            *slot = None;
            answer
        }
        None => pending().await,
    }
}

/// Waits for the next message of the watch, if there is one. A stream that broke is dropped: it would
/// break again at once.
async fn message(watch: &mut Option<WatchStream>, key: &str) -> Happened {
    let Some(stream) = watch else {
        return pending().await;
    };
    let fault = match stream.message().await {
        Ok(Some(response)) => match message_of(&response, key) {
            Some(message) => return Happened::Watch(message),
            None => Fault::Other,
        },
        Ok(None) => Fault::Unavailable,
        Err(error) => Fault::of(&error),
    };
    *watch = None;
    Happened::WatchFailed(fault)
}

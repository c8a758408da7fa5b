//! The proxy's own record: a task beside the reading, on the reading's connection, that nothing depends on.
//!
//! `session` decides, by the `moments` of its fleet's windows; `calls` sends. The driver tells it what there is to say and which connection
//! is in use, and neither waits for it nor hears of it.

mod calls;
mod moments;
mod session;
mod vocabulary;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::holding::Holding;
use super::shared::Shared;
use super::status::{Reporting, ReportingState};
use crate::etcd::{Connection, Fault, Keys};
use crate::fleet::{self, Record, session_lease};
use session::Session;
use vocabulary::{Call, Happened, Word};

/// What the driver speaks into.
pub(super) struct Speaker {
    seen: watch::Sender<Seen>,
}

/// What there is to say, and over which connection. `None` before the state of the key is known.
#[derive(Clone)]
struct Seen {
    connection: Connection,
    word: Option<Word>,
}

/// The end that a store's clones hold: it takes the record back.
#[derive(Clone, Debug)]
pub(super) struct Retirement {
    stage: Arc<watch::Sender<Stage>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Runs,
    Stops,
    Over,
}

/// Keeps the record until its store is gone.
pub(super) struct Reporter {
    keys: ReporterKeys,
    shared: Arc<Shared>,
    seen: watch::Receiver<Seen>,
    stage: Arc<watch::Sender<Stage>>,
    session: Session,
    calling: Option<Pin<Box<dyn Future<Output = Happened> + Send>>>,
    told: Option<ReportingState>,
}

struct ReporterKeys {
    record: Arc<str>,
    window: Arc<str>,
    lease: i64,
}

/// How long the end may take: then the lease lapses by itself.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long to sleep where nothing is planned.
const IDLE: Duration = Duration::from_mins(1);

/// What reports for a store of this name: the task, what the driver speaks into, and what ends it.
pub(super) fn reporter(
    keys: &Keys,
    instance: &str,
    connection: Connection,
    shared: Arc<Shared>,
) -> (Reporter, Speaker, Retirement) {
    let (seen, seeing) = watch::channel(Seen {
        connection,
        word: None,
    });
    let stage = Arc::new(watch::Sender::new(Stage::Runs));
    let now = shared.clock().now();
    let reporter = Reporter {
        keys: ReporterKeys {
            record: keys.record(instance).into(),
            window: keys.window().into(),
            lease: session_lease(keys.document(), instance),
        },
        shared,
        seen: seeing,
        stage: Arc::clone(&stage),
        session: Session::new(fastrand::u64(..), now),
        calling: None,
        told: None,
    };
    (reporter, Speaker { seen }, Retirement { stage })
}

impl Speaker {
    /// Tells what is held, and over which connection it came.
    pub(super) fn hear(&self, connection: &Connection, holding: &Holding, histories: u64) {
        let word = word(holding, histories);
        self.seen.send_if_modified(|seen| {
            let news = seen.word != word || !seen.connection.is(connection);
            if news {
                seen.word = word;
                seen.connection = connection.clone();
            }
            news
        });
    }
}

/// What a proxy says that holds this; nothing before it knows what stands at the key.
fn word(holding: &Holding, histories: u64) -> Option<Word> {
    let (applied, absent, refused) = (holding.applied(), holding.absent(), holding.refused());
    if applied.is_none() && absent.is_none() && refused.is_none() {
        return None;
    }
    Some(Word {
        revision: applied
            .map(|applied| applied.revision)
            .or(absent)
            .unwrap_or(0),
        absent: absent.is_some(),
        publication_secs: applied.and_then(|applied| applied.publication_secs),
        refused,
        histories,
    })
}

impl Retirement {
    /// Takes the record back, and waits until that is done or has taken too long.
    pub(super) async fn leave(&self) {
        self.stage.send_if_modified(|stage| {
            let runs = *stage == Stage::Runs;
            if runs {
                *stage = Stage::Stops;
            }
            runs
        });
        let mut over = self.stage.subscribe();
        let over = over.wait_for(|stage| *stage == Stage::Over);
        let _ = timeout(LEAVE_WITHIN + LEAVE_WITHIN / 2, over).await;
    }
}

impl Reporter {
    /// Runs until the store is gone or takes its record back.
    pub(super) async fn run(mut self) {
        let mut stage = self.stage.subscribe();
        let mut happened = Happened::TimePassed;
        loop {
            let now = self.shared.clock().now();
            if let Some(call) = self.session.step(now, happened) {
                self.calling = Some(self.call(call));
            }
            self.tell();
            let wait = self
                .session
                .wake_at()
                .filter(|_| self.calling.is_none())
                .map_or(IDLE, |at| at.saturating_duration_since(now));
            happened = tokio::select! {
                answer = answered(&mut self.calling) => answer,
                changed = self.seen.changed() => match changed {
                    Ok(()) => {
                        let word = self.seen.borrow_and_update().word;
                        word.map_or(Happened::TimePassed, Happened::Word)
                    }
                    Err(_) => break,
                },
                _ = stage.wait_for(|stage| *stage == Stage::Stops) => break,
                () = sleep(wait.max(Duration::from_millis(1))) => Happened::TimePassed,
            };
        }
        self.calling = None;
        if self.session.holds_a_lease() {
            let connection = self.seen.borrow().connection.clone();
            let left = timeout(LEAVE_WITHIN, connection.end_session(self.keys.lease)).await;
            if !matches!(left, Ok(Ok(()))) {
                debug!("the record was not taken back; it goes with its lease");
            }
        }
        self.stage.send_replace(Stage::Over);
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Happened> + Send>> {
        let connection = self.seen.borrow().connection.clone();
        let ReporterKeys {
            record,
            window,
            lease,
        } = &self.keys;
        let (record, window, lease) = (Arc::clone(record), Arc::clone(window), *lease);
        match call {
            Call::ReadWindow => {
                Box::pin(async move { Happened::Window(connection.read_window(window).await) })
            }
            Call::Grant => {
                Box::pin(async move { Happened::Granted(connection.begin_session(lease).await) })
            }
            Call::AskLease => {
                Box::pin(async move { Happened::Left(connection.session_left(lease).await) })
            }
            Call::Refresh => {
                Box::pin(
                    async move { Happened::Refreshed(connection.refresh_session(lease).await) },
                )
            }
            Call::Write(word) => {
                let bytes = self.record(word).to_bytes();
                Box::pin(async move {
                    Happened::Written(connection.put_record(record, bytes, lease).await)
                })
            }
        }
    }

    fn record(&self, word: Word) -> Record {
        Record {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: word.revision,
            absent: word.absent,
            publication_secs: word.publication_secs,
            clock_ahead_ms: self.shared.status().clock_ahead_ms,
            refused: word.refused.map(|refused| fleet::Refused {
                reason: refused.reason.to_owned(),
                revision: refused.revision,
            }),
        }
    }

    /// Says what is new: each state once, in the log and in the status.
    fn tell(&mut self) {
        let (state, fault, revision, records) = self.session.told();
        let last_fault = fault.map(Fault::slug);
        self.shared.record(|facts| {
            facts.reporting = Some(Reporting {
                state,
                revision,
                last_fault,
                records,
            });
        });
        if self.told.replace(state) == Some(state) {
            return;
        }
        let (key, reason) = (&*self.keys.record, last_fault);
        match state {
            ReportingState::Starting => {}
            ReportingState::Reporting => info!(key, "says how fresh it is"),
            // Nothing that anybody has to put right: most proxies may read one key and no more.
            ReportingState::Denied => info!(
                key,
                "may not say how fresh it is; that takes the right to write this key and to read the window"
            ),
            ReportingState::NameTaken => warn!(
                key,
                "another process says how fresh it is under this name; give each instance a name of its own"
            ),
            ReportingState::Failing => {
                debug!(key, reason, "cannot say how fresh it is; tries again");
            }
        }
    }
}

/// Waits for the answer and forgets the call; for ever where there is none.
async fn answered(
    calling: &mut Option<Pin<Box<dyn Future<Output = Happened> + Send>>>,
) -> Happened {
    match calling {
        Some(call) => {
            let answer = call.await;
            *calling = None;
            answer
        }
        None => pending().await,
    }
}

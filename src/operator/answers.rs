//! The way to the API server, and what its answers say beside their bodies: what time it is there, and when to come back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, Response, StatusCode, header};
use futures::future::BoxFuture;
use jiff::fmt::rfc2822;
use kube::client::{ClientBuilder, DynBody};
use osproxy_core::{Clock, Instant};
use tower::BoxError;
use tower::util::MapFutureLayer;
use tracing::{info, warn};

use crate::document::Moment;

/// From here on a difference between the two clocks is reported: below it lie the whole seconds of the header, and
/// what NTP leaves.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// However long a server asks to be left alone.
const LONGEST_PATIENCE: Duration = Duration::from_mins(1);
/// kube's own default is half a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the answers on one client have said.
pub struct Answers {
    clock: Arc<dyn Clock>,
    ahead_secs: AtomicI64,
    not_before: Mutex<Option<Instant>>,
}

/// A client of the API server that the environment names: kubeconfig, or the files of a pod.
///
/// It repeats nothing by itself: its callers have deadlines, and back off as they see fit. kube's own repetition
/// would wait out any `Retry-After` behind their backs.
///
/// # Errors
/// Where the environment names no server, or its credentials cannot be used.
pub(super) async fn client(clock: &Arc<dyn Clock>) -> Result<(kube::Client, Arc<Answers>), String> {
    let mut config = kube::Config::infer()
        .await
        .map_err(|error| error.to_string())?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    let answers = Arc::new(Answers::new(Arc::clone(clock)));
    let listener = Arc::clone(&answers);
    let listen = move |answer: BoxFuture<'static, Result<Response<Box<DynBody>>, BoxError>>| {
        let answers = Arc::clone(&listener);
        async move {
            let asked = Moment::now(&*answers.clock);
            let answer = answer.await?;
            answers.note(asked, answer.status(), answer.headers());
            Ok::<_, BoxError>(answer)
        }
    };
    let client = ClientBuilder::try_from(config)
        .map_err(|error| error.to_string())?
        .with_layer(&MapFutureLayer::new(listen))
        .build();
    Ok((client, answers))
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers")
            .field("ahead_secs", &self.ahead_secs)
            .finish_non_exhaustive()
    }
}

impl Answers {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            ahead_secs: AtomicI64::new(0),
            not_before: Mutex::new(None),
        }
    }

    /// How much longer the server asked not to be asked; zero as a rule, and a minute at most.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let not_before = *self.not_before();
        not_before.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(self.clock.now())
        })
    }

    /// By how many whole seconds at least the own wall clock is ahead of the API server's; negative where it is
    /// behind. Taken from the latest answer.
    #[must_use]
    pub fn clock_ahead_secs(&self) -> i64 {
        self.ahead_secs.load(Ordering::Relaxed)
    }

    /// Whether the two clocks differ so much that people should know.
    #[must_use]
    pub fn clocks_differ(&self) -> bool {
        differs(self.clock_ahead_secs())
    }

    fn note(&self, asked: Moment, status: StatusCode, headers: &HeaderMap) {
        let now = Moment::now(&*self.clock);
        let date = headers
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| rfc2822::parse(date).ok()) {
            let ahead = ahead_secs(asked, now, date.timestamp().as_second());
            let was = self.ahead_secs.swap(ahead, Ordering::Relaxed);
            match (differs(was), differs(ahead)) {
                (false, true) => warn!(
                    ahead_secs = ahead,
                    "The own clock and the API server's differ; directives start and end by the own one: set both by NTP"
                ),
                (true, false) => info!("The own clock and the API server's agree again"),
                _ => {}
            }
        }
        let busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        let wait = headers
            .get(header::RETRY_AFTER)
            .filter(|_| busy.contains(&status));
        if let Some(secs) = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()) {
            let wait = Duration::from_secs(secs).min(LONGEST_PATIENCE);
            *self.not_before() = Some(now.mono.saturating_add(wait));
        }
    }

    fn not_before(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn differs(ahead_secs: i64) -> bool {
    ahead_secs.unsigned_abs() > CLOCK_TOLERANCE.as_secs()
}

/// The least difference that explains an answer dated `date_secs`, whole seconds rounded down, which was written at
/// some moment between the two: a slow answer makes no clock wrong.
fn ahead_secs(asked: Moment, answered: Moment, date_secs: i64) -> i64 {
    let secs = |moment: Moment| i64::try_from(moment.wall_secs()).unwrap_or(i64::MAX);
    let (earliest, latest) = (secs(asked), secs(answered));
    if latest < date_secs {
        latest - date_secs
    } else {
        earliest.saturating_sub(date_secs.saturating_add(1)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osproxy_core::ManualClock;

    fn at(secs: u64) -> Moment {
        Moment {
            mono: ManualClock::new().now(),
            wall_nanos: secs * 1_000_000_000 + 900_000_000,
        }
    }

    #[test]
    fn a_date_within_the_exchange_or_its_second_is_no_difference() {
        assert_eq!(ahead_secs(at(100), at(100), 100), 0);
        assert_eq!(ahead_secs(at(100), at(101), 99), 0);
        assert_eq!(ahead_secs(at(100), at(160), 101), 0, "a slow answer");
        assert_eq!(ahead_secs(at(100), at(160), 160), 0);
    }

    #[test]
    fn a_clock_that_is_off_is_off_by_the_least_that_explains_it() {
        assert_eq!(ahead_secs(at(100), at(100), 107), -7);
        assert_eq!(ahead_secs(at(100), at(102), 90), 9);
        assert!(!differs(5) && !differs(-5) && differs(6) && differs(-6));
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it_and_a_minute_at_most() {
        let clock = Arc::new(ManualClock::new());
        let answers = Answers::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let now = Moment::now(&*clock);
        let told = |status, wait: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static(wait));
            answers.note(now, status, &headers);
            answers.patience()
        };
        assert_eq!(told(StatusCode::OK, "9"), Duration::ZERO);
        assert_eq!(told(StatusCode::TOO_MANY_REQUESTS, "soon"), Duration::ZERO);
        assert_eq!(
            told(StatusCode::TOO_MANY_REQUESTS, "9"),
            Duration::from_secs(9)
        );
        clock.advance(Duration::from_secs(4));
        assert_eq!(answers.patience(), Duration::from_secs(5));
        assert_eq!(
            told(StatusCode::SERVICE_UNAVAILABLE, "86400"),
            Duration::from_mins(1)
        );
    }
}

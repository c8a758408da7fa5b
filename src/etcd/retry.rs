//! Trying again, for calls that are safe to repeat: reads, and opening a watch.
//!
//! etcd-client never repeats a call, and its balancer keeps choosing a member that is dead: with one of three
//! down, calls fail on and off for as long as it is. So a call that may be repeated is, on another member as a rule.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{ConnectOptions, Fault};

/// Runs `call` again where it failed in a way that another member may not, all within the unary deadline.
///
/// At most once for each endpoint and three times in all, so that a dead etcd is not asked more often than the
/// caller's own back-off says. Never for a write whose answer was lost: it may have been carried out.
///
/// # Errors
/// The last call's [`Fault`], or [`Fault::Timeout`].
pub(crate) async fn repeat<T, F>(
    options: &ConnectOptions,
    mut call: impl FnMut() -> F,
) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let tries = options.endpoints.len().clamp(1, MOST_TRIES);
    let repeated = async {
        for _ in 1..tries {
            match call().await {
                Err(Fault::NotSent | Fault::Unavailable) => {}
                answer => return answer,
            }
            let wait = fastrand::u64(0..=LONGEST_WAIT_MS);
            sleep(Duration::from_millis(wait)).await;
        }
        call().await
    };
    timeout(options.timings.unary_timeout, repeated)
        .await
        .unwrap_or(Err(Fault::Timeout))
}

pub(super) const MOST_TRIES: usize = 3;
/// Full jitter, and short: what lasts longer is the caller's to wait for.
const LONGEST_WAIT_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn calls_until(
        endpoints: usize,
        answer: impl Fn(u32) -> Result<u32, Fault>,
    ) -> (Result<u32, Fault>, u32) {
        let mut options = ConnectOptions::new(vec!["a"; endpoints]);
        // What is counted are calls; a machine that stalls is not to end them.
        options.timings.unary_timeout = Duration::from_mins(10);
        let calls = Cell::new(0);
        let answer = repeat(&options, || {
            calls.set(calls.get() + 1);
            std::future::ready(answer(calls.get()))
        })
        .await;
        (answer, calls.get())
    }

    #[tokio::test]
    async fn a_dead_member_of_three_is_survived() {
        let dead_once = |call| {
            if call < 2 {
                Err(Fault::NotSent)
            } else {
                Ok(call)
            }
        };
        assert_eq!(calls_until(3, dead_once).await, (Ok(2), 2));
    }

    #[tokio::test]
    async fn a_dead_etcd_is_not_asked_more_often_than_it_has_members() {
        let dead = |_| Err(Fault::Unavailable);
        assert_eq!(calls_until(1, dead).await, (Err(Fault::Unavailable), 1));
        assert_eq!(calls_until(9, dead).await, (Err(Fault::Unavailable), 3));
    }

    #[tokio::test]
    async fn a_no_is_an_answer() {
        for fault in [
            Fault::PermissionDenied,
            Fault::Authentication,
            Fault::Timeout,
        ] {
            assert_eq!(calls_until(3, |_| Err(fault)).await, (Err(fault), 1));
        }
    }
}

//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// How long to wait between two looks: short beside what servers take, long beside what a look costs.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Ok`, at most for `within`, and returns that answer.
///
/// One probe may take at most what is left of `within`, so a server that accepts and stays mute
/// cannot hold the caller.
///
/// # Errors
/// After `within`: what was waited for, how long, and the last answer of the probe.
pub async fn eventually<T, P>(what: &str, within: Duration, mut probe: P) -> Result<T>
where
    P: AsyncFnMut() -> Result<T>,
{
    let start = Instant::now();
    let mut last = anyhow!("no answer yet");
    while let Some(left) = within.checked_sub(start.elapsed()) {
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error,
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last).with_context(|| format!("waited {within:?} for {what}; the last answer was"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_good_answer_is_returned() {
        let mut asked = 0;
        let answer = eventually("three", Duration::from_secs(5), async || {
            asked += 1;
            if asked == 3 {
                Ok(asked)
            } else {
                Err(anyhow!("only {asked}"))
            }
        })
        .await;
        assert_eq!(answer.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_mute_probe_is_cut_off_at_the_deadline() {
        let start = Instant::now();
        let answer: Result<()> = eventually("a word", Duration::from_millis(50), async || {
            std::future::pending().await
        })
        .await;
        assert!(answer.unwrap_err().to_string().contains("for a word"));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

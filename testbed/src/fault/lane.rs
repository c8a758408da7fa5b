//! One direction of one connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Rules;

/// Read at once, at most.
const CHUNK: usize = 16 * 1024;
/// Chunks that a delay may hold: 4 MiB a direction, more than the kernel's own buffers.
const QUEUE: usize = 256;
/// A slow lane delivers in slices of this, so that it trickles and does not come in bursts.
const SLICE: Duration = Duration::from_millis(20);

/// The faults of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    pub(super) closed: bool,
    pub(super) delay: Duration,
    /// Bytes a second.
    pub(super) rate: Option<u32>,
}

/// How many bytes are still to be inverted.
#[derive(Debug, Default)]
pub(super) struct Corruption(AtomicU64);

impl Corruption {
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn apply(&self, chunk: &mut [u8]) {
        let wanted = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(wanted))
            })
            .unwrap_or_default();
        let hit = usize::try_from(before).unwrap_or(usize::MAX);
        chunk.iter_mut().take(hit).for_each(|byte| *byte = !*byte);
    }
}

/// Moves bytes from one side to the other until the first closes, and then closes the second.
pub(super) async fn run(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut rules: watch::Receiver<Rules>,
    lane: impl Fn(&Rules) -> &Lane,
    corruption: &Corruption,
    delivered: &AtomicU64,
) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let lane = &lane;
    let read = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            // An empty chunk is the end, in its place behind everything else.
            if queue.send((Instant::now(), chunk)).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((read_at, mut chunk)) = due.recv().await {
            if ripe(read_at, &mut rules, lane).await.is_err() || chunk.is_empty() {
                break;
            }
            corruption.apply(&mut chunk);
            deliver(&mut to, &chunk, &mut rules, lane, delivered).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

/// Writes a chunk as fast as the lane allows at each moment.
async fn deliver(
    to: &mut WriteHalf<'_>,
    mut chunk: &[u8],
    rules: &mut watch::Receiver<Rules>,
    lane: impl Fn(&Rules) -> &Lane,
    delivered: &AtomicU64,
) -> io::Result<()> {
    while !chunk.is_empty() {
        let rate = lane(&rules.borrow()).rate;
        let slice = match rate {
            None => chunk.len(),
            Some(rate) => chunk.len().min(per_slice(rate)),
        };
        to.write_all(&chunk[..slice]).await?;
        delivered.fetch_add(u64::try_from(slice).unwrap_or_default(), Ordering::Relaxed);
        chunk = &chunk[slice..];
        if let Some(rate) = rate {
            sleep(Duration::from_secs_f64(
                f64::from(u32::try_from(slice).unwrap_or(u32::MAX)) / f64::from(rate),
            ))
            .await;
        }
        if open(rules, &lane).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Waits until a chunk is as old as the lane delays it, by what holds at each moment, and the lane open.
async fn ripe(
    read_at: Instant,
    rules: &mut watch::Receiver<Rules>,
    lane: impl Fn(&Rules) -> &Lane,
) -> Result<(), watch::error::RecvError> {
    loop {
        let due = read_at + lane(&rules.borrow_and_update()).delay;
        tokio::select! {
            () = sleep_until(due) => return open(rules, lane).await,
            changed = rules.changed() => changed?,
        }
    }
}

/// Waits until the lane is open; an error is the end of the proxy.
async fn open(
    rules: &mut watch::Receiver<Rules>,
    lane: impl Fn(&Rules) -> &Lane,
) -> Result<(), watch::error::RecvError> {
    rules.wait_for(|rules| !lane(rules).closed).await.map(drop)
}

fn per_slice(rate: u32) -> usize {
    let bytes = f64::from(rate) * SLICE.as_secs_f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number below 86 million"
    )]
    let bytes = bytes as usize;
    bytes.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_hits_as_many_bytes_as_it_was_told_and_then_none() {
        let corruption = Corruption::default();
        corruption.add(3);
        let (mut first, mut second) = ([0; 2], [0; 2]);
        corruption.apply(&mut first);
        corruption.apply(&mut second);
        assert_eq!((first, second), ([255, 255], [255, 0]));
    }
}

//! Keeps the roll: lists the records, watches them, lists them again now and then, and announces the window.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{GetOptions, WatchOptions, WatchResponse};
use osproxy_core::{Clock, Instant};
use tracing::{debug, info};

use super::Roll;
use crate::etcd::{Connection, Fault, within};
use crate::fleet::{Announcement, FleetView, parse_window};
use crate::operator::publish::Term;
use crate::operator::publish::fence::Guard;
use crate::operator::publish::keys::KeyStore;

/// How many records one answer holds: 1 MiB at most.
const PAGE: i64 = 1_000;
/// How long a watch is believed before the records are listed again, at least; and as long again at most.
const RELIST: Duration = Duration::from_mins(1);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often it is looked whether the fleet has outgrown its window.
const LOOK: Duration = Duration::from_secs(1);
/// After an announcement that etcd did not take, be it because it is full.
const NOT_TAKEN: Duration = Duration::from_mins(1);

/// A record as it was listed: its name, the value, the lease, the revision.
type Listed = (String, Vec<u8>, i64, i64);

/// Follows the records for as long as this process leads. Whatever fails here is tried again, later and later, and nothing waits for it.
pub fn follow(
    store: KeyStore,
    roll: Arc<Roll>,
    clock: Arc<dyn Clock>,
    term: &Term,
) -> impl Future<Output = ()> + Send + use<> {
    let leads = term.leads();
    follow_as(leads, store, roll, clock)
}

async fn follow_as(leads: Guard, store: KeyStore, roll: Arc<Roll>, clock: Arc<dyn Clock>) {
    let mut follower = Follower {
        began: clock.now(),
        store,
        roll,
        clock,
        leads,
        announcement: Announcement::default(),
        not_before: Duration::ZERO,
    };
    let mut failures = 0_u32;
    let mut told = None;
    loop {
        let connection = follower.store.link().current();
        match follower.once(&connection, &mut failures).await {
            Ok(()) => told = None,
            Err(fault) => {
                follower.store.link().blame(&connection, fault);
                if told.replace(fault) != Some(fault) {
                    info!(reason = fault.slug(), "Cannot see the proxies' records");
                }
                let wait = Duration::from_millis(200 << failures.min(8)).min(NOT_TAKEN);
                tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

struct Follower {
    store: KeyStore,
    roll: Arc<Roll>,
    clock: Arc<dyn Clock>,
    leads: Guard,
    announcement: Announcement,
    began: Instant,
    /// Since the beginning: before it nothing is announced.
    not_before: Duration,
}

impl Follower {
    async fn once(&mut self, connection: &Connection, failures: &mut u32) -> Result<(), Fault> {
        let prefix = self.store.keys().fleet();
        let (revision, listed) = self.list(&prefix).await?;
        let window = self.read_window().await?;
        self.announcement.saw(window);
        self.roll
            .window_ms
            .store(self.announcement.in_force_ms(), Ordering::Relaxed);
        self.roll.change(|view| {
            view.replace(listed.iter().map(|(name, value, lease, revision)| {
                (name.as_str(), value.as_slice(), *lease, *revision)
            }))
        });
        *failures = 0;

        let deadline = self.store.deadline();
        // From the revision of the list itself: from the one after it a quiet etcd never answers a progress request.
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(revision);
        let mut watches = connection.client().await?.watch_client();
        let mut events = within(deadline, watches.watch(&*prefix, Some(options))).await?;
        let again = tokio::time::sleep(RELIST.mul_f64(1.0 + fastrand::f64()));
        tokio::pin!(again);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unanswered = 0;
        loop {
            tokio::select! {
                () = &mut again => return Ok(()),
                () = self.store.link().exchanged(connection) => return Ok(()),
                _ = look.tick() => self.announce().await,
                _ = heartbeat.tick() => {
                    if unanswered >= 2 {
                        return Err(Fault::Timeout);
                    }
                    unanswered += 1;
                    within(deadline, events.request_progress()).await?;
                }
                message = events.message() => {
                    unanswered = 0;
                    let message = message.map_err(|error| Fault::of(&error))?;
                    let message = message.ok_or(Fault::Unavailable)?;
                    // Looked at before `created`: a refused watch says both.
                    if message.canceled() {
                        return Err(Fault::PermissionDenied);
                    }
                    self.roll.change(|view| take(view, &message, &prefix, revision));
                }
            }
        }
    }

    /// All records as of one revision, page by page.
    async fn list(&self, prefix: &str) -> Result<(i64, Vec<Listed>), Fault> {
        let mut listed = Vec::new();
        let mut revision = 0;
        let end = {
            let mut end = prefix.as_bytes().to_vec();
            // The prefix ends in a slash.
            if let Some(last) = end.last_mut() {
                *last += 1;
            }
            end
        };
        let mut from = prefix.as_bytes().to_vec();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(revision);
            let page = self.get(from.clone(), options).await?;
            if revision == 0 {
                revision = page.header().ok_or(Fault::Other)?.revision();
            }
            for kv in page.kvs() {
                let name = name_of(kv.key(), prefix);
                listed.push((name, kv.value().to_vec(), kv.lease(), kv.mod_revision()));
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => return Ok((revision, listed)),
            }
        }
    }

    async fn read_window(&self) -> Result<Option<u64>, Fault> {
        let key = self.store.keys().window().into_bytes();
        let answer = self.get(key, GetOptions::new()).await?;
        Ok(answer.kvs().first().and_then(|kv| parse_window(kv.value())))
    }

    async fn get(
        &self,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<etcd_client::GetResponse, Fault> {
        let deadline = self.store.deadline();
        let call = self.store.link().call(|client| async move {
            let mut kv = client.kv_client();
            within(deadline, kv.get(key, Some(options))).await
        });
        call.await
    }

    async fn announce(&mut self) {
        let passed = self.clock.now().saturating_duration_since(self.began);
        if passed < self.not_before {
            return;
        }
        let now_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let reporting = self.roll.look(|view| view.map_or(0, FleetView::reporting));
        let Some(window_ms) = self.announcement.due(now_ms, reporting) else {
            return;
        };
        match self.store.announce_window(&self.leads, window_ms).await {
            Ok(true) => {
                debug!(window_ms, reporting, "Announced the proxies' window");
                self.announcement.saw(Some(window_ms));
                self.roll.window_ms.store(window_ms, Ordering::Relaxed);
            }
            // We do not lead any more, and will be told.
            Ok(false) => {}
            Err(fault) => {
                debug!(
                    reason = fault.slug(),
                    "The proxies' window was not announced"
                );
                self.not_before = passed.saturating_add(NOT_TAKEN);
            }
        }
    }
}

fn take(view: &mut FleetView, message: &WatchResponse, prefix: &str, listed_at: i64) -> bool {
    let mut changed = false;
    for event in message.events() {
        let Some(kv) = event.kv().filter(|kv| kv.mod_revision() > listed_at) else {
            continue;
        };
        let name = name_of(kv.key(), prefix);
        // A deletion is what resets the version to 0.
        changed |= if kv.version() > 0 {
            view.set(&name, kv.value(), kv.lease(), kv.mod_revision())
        } else {
            view.remove(&name)
        };
    }
    changed
}

fn name_of(key: &[u8], prefix: &str) -> String {
    let name = key.strip_prefix(prefix.as_bytes()).unwrap_or(key);
    String::from_utf8_lossy(name).into_owned()
}

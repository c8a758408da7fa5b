//! One process of readers: tells what each of them takes, until it is killed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::WatchStream;
use futures::{StreamExt, TryStreamExt};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use tokio::sync::mpsc;

/// Stores, by the public builder, as a proxy has one.
pub(crate) const STORES: &str = "stores";
/// The same with a name, so that each says in etcd what it has.
pub(crate) const REPORTING: &str = "reporting";
/// Plain watches of etcd's client over the same kind of connection: what no reader can do without.
pub(crate) const WATCHES: &str = "watches";

/// So many are started at a time.
const AT_ONCE: usize = 32;

/// A revision, and when a reader had taken it.
type Note = (i64, u64);

/// Runs as what the arguments say, if they say so.
pub(crate) fn run(args: &[String]) -> Option<Result<()>> {
    let [kind, many, endpoints] = args else {
        return None;
    };
    let many: usize = many.parse().ok()?;
    let endpoints: Vec<String> = endpoints.split(',').map(str::to_owned).collect();
    // There are more of these processes than processors: threads would only hand work around.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let run = |runtime: tokio::runtime::Runtime| match kind.as_str() {
        STORES => Some(runtime.block_on(stores(many, &endpoints, None))),
        REPORTING => {
            // As with pods: whoever comes back has another name.
            let names = format!("store-{}", std::process::id());
            Some(runtime.block_on(stores(many, &endpoints, Some(&names))))
        }
        WATCHES => Some(runtime.block_on(watches(many, &endpoints))),
        _ => None,
    };
    match runtime {
        Ok(runtime) => run(runtime),
        Err(error) => Some(Err(error.into())),
    }
}

async fn stores(many: usize, endpoints: &[String], names: Option<&str>) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = |n| {
        let clock = Arc::clone(&clock);
        let builder = EtcdDirectiveStore::builder(endpoints, super::super::KEY, clock);
        match names {
            Some(names) => builder.instance(format!("{names}-{n}")).build(),
            None => builder.build(),
        }
    };
    let stores: Vec<EtcdDirectiveStore> = futures::stream::iter(0..many)
        .map(store)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let (note, notes) = mpsc::unbounded_channel();
    for store in &stores {
        tokio::spawn(follow(store.clone(), note.clone()));
    }
    let connected = || stores.iter().filter(|store| store.status().connected);
    tell(notes, || connected().count()).await
}

async fn follow(store: EtcdDirectiveStore, note: mpsc::UnboundedSender<Note>) {
    let mut changes = store.changed();
    let mut last = 0;
    loop {
        let revision = store.status().applied.map_or(0, |applied| applied.revision);
        if revision != last {
            last = revision;
            if note.send((revision, SystemClock.unix_nanos())).is_err() {
                return;
            }
        }
        if !changes.next().await {
            return;
        }
    }
}

async fn watches(many: usize, endpoints: &[String]) -> Result<()> {
    let opened: Vec<WatchStream> = futures::stream::iter(0..many)
        .map(|_| watch(endpoints))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    ensure!(opened.len() == many, "{} of {many} opened", opened.len());
    let connected = Arc::new(AtomicUsize::new(many));
    let (note, notes) = mpsc::unbounded_channel();
    for mut stream in opened {
        let (note, connected) = (note.clone(), Arc::clone(&connected));
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                let mut newest_first = message.events().iter().rev();
                if let Some(kv) = newest_first.find_map(etcd_client::Event::kv) {
                    let _ = note.send((kv.mod_revision(), SystemClock.unix_nanos()));
                }
            }
            connected.fetch_sub(1, Ordering::Relaxed);
        });
    }
    tell(notes, || connected.load(Ordering::Relaxed)).await
}

/// A watch over a connection with the same bounds as a store's.
async fn watch(endpoints: &[String]) -> Result<WatchStream> {
    let timings = osproxy_directives::etcd::Timings::default();
    let options = etcd_client::ConnectOptions::new()
        .with_connect_timeout(timings.connect_timeout)
        .with_keep_alive(timings.keep_alive_interval, timings.keep_alive_timeout)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true);
    let mut client = etcd_client::Client::connect(endpoints, Some(options)).await?;
    Ok(client.watch(super::super::KEY, None).await?)
}

/// What each has taken is kept, and told from time to time: telling it at once would cost as much as taking it.
async fn tell(
    mut notes: mpsc::UnboundedReceiver<Note>,
    connected: impl Fn() -> usize,
) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut lines = String::new();
        while let Ok((revision, at_nanos)) = notes.try_recv() {
            let _ = writeln!(lines, "has {revision} {at_nanos}");
        }
        let _ = writeln!(lines, "connected {}", connected());
        // Whoever reads it may be gone already.
        let _ = std::io::stdout().write_all(lines.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

//! The store beside the reference (`osproxy-etcd` and `osproxy-observe` 1.0.5), in one run. `make bench` prints medians,
//! and the goal beside each figure that has one; a goal that is missed ends it with an error.
//!
//! Times are taken in batches, ours and the reference's in turn, so that a busy moment of the machine hits both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a measurement: it may stop at once, it takes the time, and it writes as it likes"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use osproxy_core::{Clock, RequestId, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::{DirectiveSet, DirectiveStore, RequestAttrs, decode_directive_set};
use testbed::{Etcd, EtcdOptions};

mod goals;
mod shapes;

use goals::Goals;
use shapes::{Request, Targets, document};

fn main() {
    let mut goals = Goals::default();
    questions(&mut goals);
    threads(&mut goals);
    decode();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let etcd = Etcd::start(EtcdOptions::new()).await.unwrap();
        visible(&etcd, &mut goals).await;
        reads_under_swaps(&etcd, &mut goals).await;
    });
    goals.end();
}

/// The reference's way to the three answers.
fn reference_answers(set: &ArcSwap<DirectiveSet>, attrs: &RequestAttrs<'_>, id: &RequestId) {
    let set = set.load_full();
    let now = SystemClock.now();
    black_box(set.evaluate(attrs, now, id));
    black_box(set.wants_ring_buffer(attrs, now, id));
    black_box(set.wants_capture(attrs, now, id));
}

fn questions(goals: &mut Goals) {
    println!("The three questions, ns a request (ours / reference)");
    println!(
        "{:>12} {:>10} {:>24} {:>24} {:>24}",
        "targets", "directives", "meets none", "meets one", "meets all"
    );
    let mut least = [0.0; 3];
    for (name, targets, alike) in [
        ("mixed", Targets::Mixed, Targets::MixedAlike),
        ("one", Targets::One, Targets::One),
    ] {
        for many in [1, 100, 1_000, 10_000] {
            let columns = [
                ("none", targets, Request::none()),
                ("one", targets, Request::one()),
                ("all", alike, Request::all()),
            ];
            print!("{name:>12} {many:>10}");
            for (column, (meets, targets, request)) in columns.into_iter().enumerate() {
                let (ours, theirs) = one_question(&document(many, targets), &request);
                print!(" {:>24}", format!("{ours:.0} / {theirs:.0}"));
                if targets == Targets::One {
                    continue;
                }
                if many == 1 {
                    least[column] = ours;
                }
                if many == 10_000 {
                    let what = format!("mixed, 10,000, meets {meets}:");
                    let times = theirs / ours;
                    goals.at_least(
                        &format!("{what} times faster than the reference"),
                        times,
                        100.0,
                    );
                    let growth = ours / least[column];
                    goals.at_most(&format!("{what} our cost over that at 1"), growth, 2.0);
                }
            }
            println!();
        }
    }
    println!();
}

fn one_question(bytes: &str, request: &Request) -> (f64, f64) {
    let store = EtcdDirectiveStore::from_document(bytes.as_bytes(), clock()).unwrap();
    let set = ArcSwap::from_pointee(decode_directive_set(bytes.as_bytes(), &SystemClock).unwrap());
    let (attrs, id) = (
        request.attrs(),
        RequestId::from("0af7651916cd43dd8448eb211c80319c"),
    );
    let [ours, theirs] = medians([
        &mut || {
            black_box(store.decide(black_box(&attrs), SystemClock.now(), &id));
        },
        &mut || reference_answers(&set, black_box(&attrs), &id),
    ]);
    (ours, theirs)
}

fn threads(goals: &mut Goals) {
    println!("One thread and two, ns a call");
    let bytes = document(1_000, Targets::Mixed);
    let store = EtcdDirectiveStore::from_document(bytes.as_bytes(), clock()).unwrap();
    let set = ArcSwap::from_pointee(decode_directive_set(bytes.as_bytes(), &SystemClock).unwrap());
    let request = Request::one();
    let (attrs, id) = (request.attrs(), RequestId::from("r"));
    let now = SystemClock.now();
    let load = || {
        black_box(store.load());
    };
    let theirs = || {
        black_box(set.load_full());
    };
    let decide = || {
        black_box(store.decide(&attrs, now, &id));
    };
    let calls: [(&str, &(dyn Fn() + Sync), bool); 3] = [
        ("load()", &load, true),
        ("reference load()", &theirs, false),
        ("decide()", &decide, true),
    ];
    for (name, call, ours) in calls {
        let mut runs: Vec<(f64, f64)> = (0..9)
            .map(|_| (together(1, call), together(2, call)))
            .collect();
        runs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let (one, two) = runs[runs.len() / 2];
        println!("{name:>20} {one:>8.1} {two:>8.1}");
        if ours {
            goals.at_most(&format!("{name}: two threads over one"), two / one, 1.25);
        }
    }
    println!();
}

/// How long a call takes on each of so many threads at the same time, in ns.
fn together(threads: usize, call: &(dyn Fn() + Sync)) -> f64 {
    const CALLS: u32 = 400_000;
    let start = std::sync::Barrier::new(threads);
    let slowest = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    (0..1_000).for_each(|_| call());
                    start.wait();
                    let began = Instant::now();
                    (0..CALLS).for_each(|_| call());
                    began.elapsed()
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .max()
            .unwrap()
    });
    slowest.as_nanos() as f64 / f64::from(CALLS)
}

fn decode() {
    println!("A full document (1,000 directives) from bytes to answers, ms");
    let bytes = document(1_000, Targets::Mixed);
    let swap = ArcSwap::from_pointee(DirectiveSet::default());
    let [ours, theirs] = medians([
        &mut || {
            black_box(EtcdDirectiveStore::from_document(bytes.as_bytes(), clock()).unwrap());
        },
        &mut || {
            swap.store(Arc::new(
                decode_directive_set(bytes.as_bytes(), &SystemClock).unwrap(),
            ));
        },
    ]);
    println!("{:>20} {:>8.2}", "ours, checked twice", ours / 1e6);
    println!("{:>20} {:>8.2}\n", "reference", theirs / 1e6);
}

/// From a put to what a request sees, beside a watch of the same key that does nothing.
async fn visible(etcd: &Etcd, goals: &mut Goals) {
    const KEY: &str = "bench/visible";
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock())
        .await
        .unwrap();
    let mut changes = store.changed();
    let mut client = etcd.client().await.unwrap();
    let mut raw = etcd.client().await.unwrap().watch(KEY, None).await.unwrap();
    while !store.status().connected {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The first message only says that the watch is there.
    raw.message().await.unwrap();
    let (mut ours, mut watch) = (Vec::new(), Vec::new());
    for round in 0..600 {
        let bytes = document(1 + round % 2, Targets::Mixed);
        let began = Instant::now();
        let (put, ours_after, raw_after) = tokio::join!(
            client.put(KEY, bytes, None),
            async {
                changes.next().await;
                began.elapsed()
            },
            async {
                raw.message().await.unwrap();
                began.elapsed()
            },
        );
        put.unwrap();
        if round >= 100 {
            ours.push(ours_after.as_nanos() as f64);
            watch.push(raw_after.as_nanos() as f64);
        }
    }
    let (ours, watch) = (median(ours), median(watch));
    println!(
        "put → visible, ms at p50: ours {:.3}, a raw watch {:.3}\n",
        ours / 1e6,
        watch / 1e6
    );
    goals.at_most("put → visible over a raw watch, p50", ours / watch, 1.05);
}

async fn reads_under_swaps(etcd: &Etcd, goals: &mut Goals) {
    const KEY: &str = "bench/swaps";
    let mut client = etcd.client().await.unwrap();
    client
        .put(KEY, document(100, Targets::Mixed), None)
        .await
        .unwrap();
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock())
        .await
        .unwrap();
    let quiet = reads(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swaps = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut round = 0;
        while !stopped.load(Ordering::Relaxed) {
            ticks.tick().await;
            round += 1;
            client
                .put(KEY, document(100 + round % 2, Targets::Mixed), None)
                .await
                .unwrap();
        }
    });
    let applied = store.status().counters.applied;
    let busy = reads(&store).await;
    let applied = store.status().counters.applied - applied;
    stop.store(true, Ordering::Relaxed);
    swaps.await.unwrap();
    println!("decide(), ns: quiet {quiet:.1}, under {applied} swaps {busy:.1}\n");
    goals.at_most(
        "reads under 100 swaps a second over quiet ones",
        busy / quiet,
        1.1,
    );
}

/// Reads for two seconds on a thread of its own; ns a read, at the median of small batches.
async fn reads(store: &EtcdDirectiveStore) -> f64 {
    let store = store.clone();
    let reading = std::thread::spawn(move || {
        let request = Request::one();
        let (attrs, id) = (request.attrs(), RequestId::from("r"));
        let end = Instant::now() + Duration::from_secs(2);
        let mut batches = Vec::new();
        while Instant::now() < end {
            let now = SystemClock.now();
            let began = Instant::now();
            for _ in 0..100 {
                black_box(store.decide(black_box(&attrs), now, &id));
            }
            batches.push(began.elapsed().as_nanos() as f64 / 100.0);
        }
        median(batches)
    });
    while !reading.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reading.join().unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The median time of each call in ns, measured in turn.
fn medians<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [f64; N] {
    const BATCH: Duration = Duration::from_micros(50);
    const BATCHES: usize = 101;
    let mut sizes = [1u32; N];
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(BATCHES));
    for round in 0..BATCHES + 5 {
        for ((call, size), times) in calls.iter_mut().zip(&mut sizes).zip(&mut times) {
            let began = Instant::now();
            (0..*size).for_each(|_| call());
            let took = began.elapsed();
            if round < 5 {
                // Also warms up.
                let fits = BATCH.as_nanos() * u128::from(*size) / took.as_nanos().max(1);
                *size = fits.clamp(1, 100_000) as u32;
            } else {
                times.push(took.as_nanos() as f64 / f64::from(*size));
            }
        }
    }
    times.map(median)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use etcd_client::WatchStream;
use osproxy_core::{Clock, RequestId, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::{DirectiveSet, DirectiveStore, RequestAttrs, decode_directive_set};
use testbed::{Etcd, EtcdOptions};
use tokio::sync::mpsc;

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
            for (meets, targets, request) in columns {
                let Question {
                    ours,
                    at_one,
                    theirs,
                } = ask(many, targets, &request);
                print!(" {:>24}", format!("{ours:.0} / {theirs:.0}"));
                if targets != Targets::One && many == 10_000 {
                    let what = format!("mixed, 10,000, meets {meets}:");
                    let times = theirs / ours;
                    goals.at_least(
                        &format!("{what} times faster than the reference"),
                        times,
                        100.0,
                    );
                    let growth = ours / at_one;
                    goals.at_most(&format!("{what} our cost over that at 1"), growth, 2.0);
                }
            }
            println!();
        }
    }
    println!();
}

/// The costs of one request, in ns.
struct Question {
    ours: f64,
    /// Ours with one directive, in turn with the others.
    at_one: f64,
    theirs: f64,
}

fn ask(many: usize, targets: Targets, request: &Request) -> Question {
    let bytes = document(many, targets);
    let store = of(&bytes);
    let small = of(&document(1, targets));
    let set = ArcSwap::from_pointee(decode_directive_set(bytes.as_bytes(), &SystemClock).unwrap());
    let (attrs, id) = (
        request.attrs(),
        RequestId::from("0af7651916cd43dd8448eb211c80319c"),
    );
    let decide = |store: &EtcdDirectiveStore| {
        black_box(store.decide(black_box(&attrs), SystemClock.now(), &id));
    };
    let [ours, at_one, theirs] =
        medians([&mut || decide(&store), &mut || decide(&small), &mut || {
            reference_answers(&set, black_box(&attrs), &id);
        }]);
    Question {
        ours,
        at_one,
        theirs,
    }
}

fn of(document: &str) -> EtcdDirectiveStore {
    EtcdDirectiveStore::from_document(document.as_bytes(), clock()).unwrap()
}

/// What a second thread costs the first. Two threads that share nothing are the measure of it: processors of one core, or of a
/// virtual machine, slow each other down whatever they do.
fn threads(goals: &mut Goals) {
    println!("One thread, two, and two with a store each, ns a call");
    let bytes = document(1_000, Targets::Mixed);
    let (store, other) = (of(&bytes), of(&bytes));
    let set =
        || ArcSwap::from_pointee(decode_directive_set(bytes.as_bytes(), &SystemClock).unwrap());
    let (set, other_set) = (set(), set());
    let request = Request::one();
    let (attrs, id) = (request.attrs(), RequestId::from("r"));
    let now = SystemClock.now();
    let load = |store: &EtcdDirectiveStore| {
        black_box(store.load());
    };
    let theirs = |set: &ArcSwap<DirectiveSet>| {
        black_box(set.load_full());
    };
    let decide = |store: &EtcdDirectiveStore| {
        black_box(store.decide(&attrs, now, &id));
    };
    let first: [&(dyn Fn() + Sync); 3] = [&|| load(&store), &|| theirs(&set), &|| decide(&store)];
    let apart: [&(dyn Fn() + Sync); 3] =
        [&|| load(&other), &|| theirs(&other_set), &|| decide(&other)];
    let names = [
        ("load()", true),
        ("reference load()", false),
        ("decide()", true),
    ];
    for ((name, ours), (call, other)) in names.into_iter().zip(first.into_iter().zip(apart)) {
        let runs: Vec<[f64; 3]> = (0..201)
            .map(|_| {
                [
                    together(&[call]),
                    together(&[call, call]),
                    together(&[call, other]),
                ]
            })
            .collect();
        let of = |column: usize| median(runs.iter().map(|run| run[column]).collect());
        let ratio = median(runs.iter().map(|run| run[1] / run[2]).collect());
        println!("{name:>20} {:>8.1} {:>8.1} {:>8.1}", of(0), of(1), of(2));
        if ours {
            let what = format!("{name}: two threads on one store over two that share nothing");
            goals.at_most(&what, ratio, 1.1);
        }
    }
    println!();
}

/// How long a call takes, each on a thread of its own at the same time, in ns.
fn together(calls: &[&(dyn Fn() + Sync)]) -> f64 {
    const CALLS: u32 = 20_000;
    let start = std::sync::Barrier::new(calls.len());
    let slowest = std::thread::scope(|scope| {
        let running: Vec<_> = calls
            .iter()
            .map(|call| {
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

/// From a put to what a request sees, beside watches of the same key that do nothing. Each waits in a task of its own.
async fn visible(etcd: &Etcd, goals: &mut Goals) {
    const KEY: &str = "bench/visible";
    // etcd tells its watches one after the other: one that is older than the store's, and one that is younger.
    let mut before = seen_by(raw_watch(etcd, KEY).await);
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock())
        .await
        .unwrap();
    let mut client = etcd.client().await.unwrap();
    while !store.status().connected {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut after = seen_by(raw_watch(etcd, KEY).await);
    let (tell, mut visible) = mpsc::unbounded_channel();
    let mut changes = store.changed();
    tokio::spawn(async move { while changes.next().await && tell.send(Instant::now()).is_ok() {} });
    let (mut ours, mut watch) = (Vec::new(), Vec::new());
    for round in 0..600 {
        let bytes = document(1 + round % 2, Targets::Mixed);
        let began = Instant::now();
        client.put(KEY, bytes, None).await.unwrap();
        let took = |at: Instant| (at - began).as_nanos() as f64;
        let visible = took(visible.recv().await.unwrap());
        let first = took(before.recv().await.unwrap());
        let second = took(after.recv().await.unwrap());
        if round >= 100 {
            ours.push(visible);
            watch.push(f64::midpoint(first, second));
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

/// When each message of a watch came.
fn seen_by(mut watch: WatchStream) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(_)) = watch.message().await {
            if tell.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    seen
}

async fn raw_watch(etcd: &Etcd, key: &str) -> WatchStream {
    let mut raw = etcd.client().await.unwrap().watch(key, None).await.unwrap();
    // The first message only says that the watch is there.
    raw.message().await.unwrap();
    raw
}

/// Times of quiet and of a hundred swaps a second in turn, fifteen times each.
async fn reads_under_swaps(etcd: &Etcd, goals: &mut Goals) {
    const KEY: &str = "bench/swaps";
    const SWAPS: usize = 20;
    let mut client = etcd.client().await.unwrap();
    client
        .put(KEY, document(100, Targets::Mixed), None)
        .await
        .unwrap();
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock())
        .await
        .unwrap();
    let phase = Arc::new(AtomicUsize::new(QUIET));
    let reading = std::thread::spawn({
        let (store, phase) = (store.clone(), Arc::clone(&phase));
        move || reads(&store, &phase)
    });
    let before = store.status().counters.applied;
    for _ in 0..15 {
        phase.store(QUIET, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
        phase.store(SWAPPING, Ordering::Relaxed);
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for round in 0..SWAPS {
            ticks.tick().await;
            let bytes = document(100 + round % 2, Targets::Mixed);
            client.put(KEY, bytes, None).await.unwrap();
        }
    }
    phase.store(OVER, Ordering::Relaxed);
    let applied = store.status().counters.applied - before;
    let [quiet, busy] = reading.join().unwrap();
    println!("decide(), ns: quiet {quiet:.1}, under {applied} swaps {busy:.1}\n");
    goals.at_most(
        "reads under 100 swaps a second over quiet ones",
        busy / quiet,
        1.1,
    );
}

const QUIET: usize = 0;
const SWAPPING: usize = 1;
const OVER: usize = 2;

/// Reads until it is over; ns a read in each phase, at the median of small batches.
fn reads(store: &EtcdDirectiveStore, phase: &AtomicUsize) -> [f64; 2] {
    let request = Request::one();
    let (attrs, id) = (request.attrs(), RequestId::from("r"));
    let mut batches = [Vec::new(), Vec::new()];
    loop {
        let now = SystemClock.now();
        let in_phase = phase.load(Ordering::Relaxed);
        let began = Instant::now();
        for _ in 0..100 {
            black_box(store.decide(black_box(&attrs), now, &id));
        }
        let took = began.elapsed().as_nanos() as f64 / 100.0;
        match batches.get_mut(in_phase) {
            Some(batches) => batches.push(took),
            None => return batches.map(median),
        }
    }
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

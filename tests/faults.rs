//! What a store does about each fault, on real servers: how soon it is right again, and that it is neither blank nor
//! longer on the way. `make faults` prints the table, the reference (osproxy-etcd 1.0.5) on the same schedule beside it.
//!
//! W and N are the numbers of the catalogue in `docs/promises.md`. Each test ends in [`Stage::right_within`], which
//! holds the bound and writes the line.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::{Bench, KEY, clock, connected, disconnected, document, ids_are, ids_become};
use etcd_client::{Permission, PermissionType, Txn, TxnOp};
use osproxy_core::{Clock, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use stage::Stage;
use table::line;
use testbed::interpose::proto::{PbRangeResponse, PbWatchResponse};
use testbed::interpose::{code, method};
use testbed::{Cut, Direction, Etcd, EtcdOptions, eventually};

#[path = "store/bench.rs"]
mod bench;
#[path = "faults/stage.rs"]
mod stage;
#[path = "support/faults.rs"]
mod table;

/// A broken connection: a back-off of at most 5 s, a connect, a read.
const BROKEN: Duration = Duration::from_secs(10);
/// A mute one: two heartbeats and an answer, then as a broken one.
const MUTE: Duration = Duration::from_secs(35);
/// What etcd itself never sends: the next re-read.
const REREAD: Duration = Duration::from_secs(65);

#[tokio::test]
async fn w01_a_write_between_read_and_watch() -> Result<()> {
    let stage = Stage::start().await?;
    let mut worst = Duration::ZERO;
    for round in 0..300u64 {
        stage.bench.publish(&["old"], 600).await?;
        let id = format!("new{round}");
        let writes = async {
            tokio::time::sleep(Duration::from_micros(round % 50 * 100)).await;
            if round % 4 == 0 {
                stage.bench.delete().await
            } else {
                stage.bench.publish(&[&id], 600).await
            }
        };
        let (store, written) = tokio::join!(stage.bench.store(), writes);
        written?;
        let expected: &[&str] = if round % 4 == 0 { &[] } else { &[&id] };
        let began = SystemClock.now();
        ids_become(&store?, expected)
            .await
            .with_context(|| format!("round {round}"))?;
        worst = worst.max(SystemClock.now().saturating_duration_since(began));
    }
    line(
        "W1",
        "a write between read and watch (300 races)",
        bench::SOON,
        worst,
        "",
    );
    Ok(())
}

#[tokio::test]
async fn w02_a_compacted_resume() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.cut(Cut::Fin).await?;
    for _ in 0..5 {
        stage.bench.publish(&["b"], 600).await?;
    }
    let read = stage.bench.client.clone().get(KEY, None).await?;
    let revision = read.header().context("no header")?.revision();
    stage.bench.client.clone().compact(revision, None).await?;
    stage.bench.way.heal();
    stage
        .right_within("W2", "the watch's revision is compacted", &["b"], BROKEN)
        .await
}

#[tokio::test]
async fn w03_a_deletion_that_etcd_swallows() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    // Also the answers to heartbeats pass: nothing but the re-read can tell.
    stage
        .between()
        .answer(method::WATCH)
        .every()
        .rewrite(swallow)
        .arm();
    stage.bench.delete().await?;
    stage
        .right_within("W3", "a deletion that etcd swallows", &[], REREAD)
        .await?;
    let counters = stage.store.status().counters;
    ensure!(counters.restarts == 0, "{counters:?}: something else told");
    Ok(())
}

#[tokio::test]
async fn w04_a_deletion_while_disconnected() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.cut(Cut::Rst).await?;
    stage.bench.delete().await?;
    stage.bench.way.heal();
    stage
        .right_within("W4", "a deletion while disconnected", &[], BROKEN)
        .await
}

#[tokio::test]
async fn w05_a_half_open_connection() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.bench.way.blackhole(Direction::Both);
    stage.bench.publish(&["b"], 600).await?;
    disconnected(&stage.store, Duration::from_secs(26)).await?;
    ids_are(&stage.store, &["a"])?;
    // What was on the way must not heal it: the old connection stays mute, a new one works.
    stage.bench.way.disconnect(Cut::Rst);
    stage.bench.way.heal();
    stage
        .right_within(
            "W5",
            "a half-open connection, from its heal",
            &["b"],
            BROKEN,
        )
        .await
}

#[tokio::test]
async fn w05_a_frozen_member() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
    let mut writer = etcd.client().await?;
    put(&mut writer, &document(&["a"], 600)).await?;
    let mut stores = Vec::new();
    for _ in 0..12 {
        let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, clock()).await?;
        connected(&store, bench::SOON).await?;
        stores.push(store);
    }
    // Each watches one of the three, and only etcd knows which.
    let mut watchers = Vec::new();
    for member in etcd.members() {
        watchers.push(watchers_of(member).await?);
    }
    let most = watchers.iter().max().context("no member")?;
    let frozen = watchers.iter().position(|many| many == most);
    let frozen = frozen.context("no member")?;
    etcd.member(frozen).pause()?;
    let began = SystemClock.now();
    let mut endpoints = etcd.endpoints();
    endpoints.remove(frozen);
    let mut writer = etcd_client::Client::connect(&endpoints, None).await?;
    // Where it led, the others elect a leader first.
    eventually("a write", BROKEN * 2, async || {
        put(&mut writer, &document(&["b"], 600)).await
    })
    .await?;
    let seen = eventually("the write to be seen by all", MUTE, async || {
        stores.iter().try_for_each(|store| ids_are(store, &["b"]))
    })
    .await;
    etcd.member(frozen).resume()?;
    seen?;
    let took = SystemClock.now().saturating_duration_since(began);
    ensure!(
        stores
            .iter()
            .any(|store| store.status().counters.restarts > 0),
        "nobody was on the frozen member: {watchers:?}, {frozen}, {:?}",
        stores[0].status()
    );
    line("W5", "a frozen member of three, 12 stores", MUTE, took, "");
    Ok(())
}

#[tokio::test]
async fn w06_a_member_cut_off_from_its_quorum_by_its_peer_ports_alone() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new().members(3).peer_links()).await?;
    let stage = Stage::on(Bench::before(etcd).await?, None, &["a"]).await?;
    // The proxy's way to member 0 stays as good as ever.
    stage.bench.etcd.isolate(0)?;
    let began = SystemClock.now();
    disconnected(&stage.store, Duration::from_secs(8)).await?;
    let noticed = SystemClock.now().saturating_duration_since(began);
    line(
        "W6",
        "a member without a quorum, until it is noticed",
        Duration::from_secs(8),
        noticed,
        "",
    );
    let mut others = stage.bench.etcd.endpoints();
    others.remove(0);
    let mut writer = etcd_client::Client::connect(&others, None).await?;
    eventually("the others to go on", BROKEN * 2, async || {
        put(&mut writer, &document(&["b"], 600)).await
    })
    .await?;
    ids_are(&stage.store, &["a"])?;
    stage.bench.etcd.rejoin(0)?;
    stage
        .right_within("W6", "the same, from its return", &["b"], BROKEN * 2)
        .await
}

#[tokio::test]
async fn w07_no_way_to_any_member() -> Result<()> {
    let stage = Stage::start().await?;
    let second = SystemClock.unix_nanos() / 1_000_000_000;
    stage.bench.publish_at(second, &["a"], 8).await?;
    ids_become(&stage.store, &["a"]).await?;
    stage.bench.way.blackhole(Direction::Both);
    disconnected(&stage.store, Duration::from_secs(26)).await?;
    // It ended on time, with nobody to say so.
    ids_are(&stage.store, &[])?;
    stage.bench.way.disconnect(Cut::Rst);
    stage.bench.way.heal();
    stage.bench.publish(&["b"], 600).await?;
    stage
        .right_within("W7", "no way to any member, from its heal", &["b"], BROKEN)
        .await
}

#[tokio::test]
async fn w09_a_stale_answer_to_a_linearizable_read() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    // What a leader that was paused answers once (etcd-io/etcd#20418): the state of long ago, without the key.
    let old_view = stage
        .between()
        .answer(method::RANGE)
        .rewrite(|mut answer: PbRangeResponse| {
            if let Some(header) = &mut answer.header {
                header.revision = 1;
            }
            answer.kvs.clear();
            vec![answer]
        })
        .arm();
    stage
        .between()
        .end(method::WATCH, code::UNAVAILABLE, "etcdserver: no leader");
    old_view.hit(1, BROKEN).await?;
    let until = SystemClock.now().saturating_add(Duration::from_secs(6));
    while SystemClock.now() < until {
        ids_are(&stage.store, &["a"])?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(stage.store.status().counters.histories == 0);
    stage.bench.publish(&["b"], 600).await?;
    stage
        .right_within("W9", "a stale answer to a read, later", &["b"], BROKEN)
        .await
}

#[tokio::test]
async fn w10_a_stream_that_travels_back_in_time() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    let first = std::sync::Arc::new(std::sync::Mutex::new(None::<PbWatchResponse>));
    let replay = stage
        .between()
        .answer(method::WATCH)
        .every()
        .rewrite(move |answer: PbWatchResponse| {
            if answer.events.is_empty() {
                return vec![answer];
            }
            // Each message is followed by the first one again, and by itself.
            let mut first = first.lock().unwrap();
            let old = first.get_or_insert_with(|| answer.clone()).clone();
            vec![answer.clone(), old, answer]
        })
        .arm();
    for id in ["b", "c", "d"] {
        stage.bench.publish(&[id], 600).await?;
        ids_become(&stage.store, &[id]).await?;
    }
    replay.hit(3, BROKEN).await?;
    // The last of them are still on their way when the first one has acted.
    eventually("the repetitions", BROKEN, async || {
        let status = stage.store.status();
        ensure!(status.counters.repeated_events >= 5, "{status:?}");
        Ok(())
    })
    .await?;
    stage
        .right_within(
            "W10",
            "a stream that travels back in time",
            &["d"],
            bench::SOON,
        )
        .await
}

#[tokio::test]
async fn w11_values_that_nobody_can_read() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let deep = vec![b'['; 100_000];
    let wide = document(&vec!["x"; 21_000], 600);
    for (bad, refused) in [
        (&b""[..], 1),
        (b"{\"directives\":[", 2),
        (&[0xff; 64][..], 3),
        (&deep, 4),
        (wide.as_bytes(), 5),
        (
            br#"{"directives":[{"id":"a","level":"Shape","ttl_secs":60,"tenant":5}]}"#,
            6,
        ),
        (br#"{"version":99,"directives":[]}"#, 7),
    ] {
        stage.bench.put(bad, 0).await?;
        eventually("the refusal", bench::SOON, async || {
            ensure!(stage.store.status().counters.refused == refused);
            Ok(())
        })
        .await?;
        ids_are(&stage.store, &["a"])?;
    }
    stage.bench.publish(&["b"], 600).await?;
    stage
        .right_within(
            "W11",
            "values that nobody can read, W12 among them",
            &["b"],
            bench::SOON,
        )
        .await
}

#[tokio::test]
async fn w13_a_restored_snapshot() -> Result<()> {
    let stage = Stage::with(&["old"]).await?;
    let snapshot = stage.bench.etcd.snapshot("old.db").await?;
    for _ in 0..10 {
        stage.bench.publish(&["new"], 600).await?;
    }
    ids_become(&stage.store, &["new"]).await?;
    stage.bench.etcd.restore(&snapshot, &[]).await?;
    stage
        .right_within(
            "W13",
            "a snapshot restored lower",
            &["old"],
            Duration::from_secs(20),
        )
        .await
}

#[tokio::test]
async fn w13_a_snapshot_restored_at_a_plausible_revision() -> Result<()> {
    let stage = Stage::with(&["old"]).await?;
    let snapshot = stage.bench.etcd.snapshot("old.db").await?;
    for _ in 0..3 {
        stage.bench.publish(&["lost"], 600).await?;
    }
    ids_become(&stage.store, &["lost"]).await?;
    stage.cut(Cut::Rst).await?;
    stage.bench.etcd.restore(&snapshot, &[]).await?;
    // As many writes as were lost: the revision says nothing.
    for _ in 0..3 {
        stage.bench.publish(&["other"], 600).await?;
    }
    stage.bench.way.heal();
    stage
        .right_within(
            "W13",
            "a snapshot restored, as many writes on",
            &["other"],
            Duration::from_secs(20),
        )
        .await
}

#[tokio::test]
async fn w14_another_cluster_behind_the_same_address() -> Result<()> {
    let stage = Stage::with(&["blue"]).await?;
    let green = Etcd::start(EtcdOptions::new()).await?;
    let mut client = green.client().await?;
    put(&mut client, &document(&["green"], 600)).await?;
    stage.bench.way.retarget(&green.member(0).endpoint())?;
    stage.bench.way.disconnect(Cut::Rst);
    stage
        .right_within(
            "W14",
            "another cluster behind the address, W29",
            &["green"],
            Duration::from_secs(20),
        )
        .await
}

#[tokio::test]
async fn w16_a_watch_refused_in_band() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    let refusals = stage
        .between()
        .answer(method::WATCH)
        .every()
        .rewrite(|mut answer: PbWatchResponse| {
            if answer.created {
                answer.canceled = true;
                answer.cancel_reason =
                    "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
                        .to_owned();
            }
            vec![answer]
        })
        .arm();
    stage
        .between()
        .end(method::WATCH, code::UNAVAILABLE, "etcdserver: no leader");
    refusals.hit(2, BROKEN).await?;
    eventually("the refusal", BROKEN, async || {
        let status = stage.store.status();
        let reason = status.last_fault;
        ensure!(
            !status.connected && reason == Some("etcd_permission_denied"),
            "{status:?}"
        );
        Ok(())
    })
    .await?;
    ids_are(&stage.store, &["a"])?;
    // The reads in between still bring what is new.
    stage.bench.publish(&["b"], 600).await?;
    ids_become_within(&stage.store, &["b"], BROKEN).await?;
    stage.between().heal();
    stage.bench.publish(&["c"], 600).await?;
    stage
        .right_within(
            "W16",
            "a watch refused in-band, from its grant",
            &["c"],
            BROKEN,
        )
        .await?;
    connected(&stage.store, BROKEN).await
}

#[tokio::test]
async fn w16_a_right_that_is_taken_away_and_given_back() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let mut root = bench.client.clone();
    for (user, role) in [("root", "root"), ("proxy", "reader")] {
        root.user_add(user, "geheim", None).await?;
        if role == "reader" {
            root.role_add(role).await?;
        }
        root.user_grant_role(user, role).await?;
    }
    let right = Permission::new(PermissionType::Read, KEY);
    root.role_grant_permission("reader", right.clone()).await?;
    root.auth_enable().await?;
    root.update_user(Some(("root".into(), "geheim".into())))
        .await?;
    let store = EtcdDirectiveStore::builder([bench.way.endpoint()], KEY, clock())
        .user("proxy", "geheim")
        .allow_insecure_credentials()
        .build()
        .await?;
    connected(&store, bench::SOON).await?;
    root.role_revoke_permission("reader", KEY, None).await?;
    bench.way.disconnect(Cut::Rst);
    disconnected(&store, bench::SOON).await?;
    eventually("the reason", BROKEN, async || {
        ensure!(
            store.status().last_fault == Some("etcd_permission_denied"),
            "{:?}",
            store.status()
        );
        Ok(())
    })
    .await?;
    ids_are(&store, &["a"])?;
    root.role_grant_permission("reader", right).await?;
    put(&mut root, &document(&["b"], 600)).await?;
    let began = SystemClock.now();
    ids_become_within(&store, &["b"], BROKEN).await?;
    let took = SystemClock.now().saturating_duration_since(began);
    line(
        "W16",
        "a right taken away, from its return",
        BROKEN,
        took,
        "",
    );
    Ok(())
}

#[tokio::test]
async fn w18_a_dead_server_costs_nothing() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.bench.etcd.kill()?;
    disconnected(&stage.store, bench::SOON).await?;
    let (cpu, reads, tries) = (
        stage::thread_cpu()?,
        stage.store.status().counters.reads,
        stage.bench.way.counts().accepted,
    );
    tokio::time::sleep(Duration::from_mins(1)).await;
    let cpu = stage::thread_cpu()?.saturating_sub(cpu);
    let reads = stage.store.status().counters.reads - reads;
    let tries = stage.bench.way.counts().accepted - tries;
    // Two stores where the reference runs as well.
    ensure!(cpu < Duration::from_millis(1_200), "{cpu:?} of CPU in 60 s");
    ensure!((10..=60).contains(&reads), "{reads} reads in 60 s");
    ids_are(&stage.store, &["a"])?;
    line(
        "W18",
        &format!("60 s of a dead server: CPU ({reads} reads, {tries} connects)"),
        Duration::from_millis(1_200),
        cpu,
        "",
    );
    Ok(())
}

#[tokio::test]
async fn w19_ten_megabytes_to_catch_up_with() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.cut(Cut::Rst).await?;
    let large = document(&[], 600);
    let padding = " ".repeat(1_000_000);
    for _ in 0..10 {
        stage
            .bench
            .put(format!("{padding}{large}").as_bytes(), 0)
            .await?;
    }
    let last = format!("{padding}{}", document(&["b"], 600));
    stage.bench.put(last.as_bytes(), 0).await?;
    // How many were tried in vain is a matter of how long ten megabytes take.
    let before = stage.store.status().counters.reads;
    stage.bench.way.heal();
    stage
        .right_within("W19", "ten revisions of 1 MB while cut", &["b"], BROKEN)
        .await?;
    let reads = stage.store.status().counters.reads - before;
    ensure!(reads < 8, "{reads} reads: a loop");
    Ok(())
}

#[tokio::test]
async fn w20_a_burst_of_a_thousand_revisions() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    for round in 0..1_000 {
        let id = format!("b{round}");
        stage.bench.put(document(&[&id], 600).as_bytes(), 0).await?;
    }
    stage
        .right_within("W20", "a burst of 1,000 revisions", &["b999"], bench::SOON)
        .await
}

#[tokio::test]
async fn w21_keys_that_nobody_asked_for() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    stage
        .between()
        .answer(method::WATCH)
        .every()
        .rewrite(|mut answer: PbWatchResponse| {
            let mut foreign = answer.events.clone();
            for kv in foreign.iter_mut().filter_map(|event| event.kv.as_mut()) {
                kv.key.extend_from_slice(b"/other");
                kv.mod_revision += 1_000;
            }
            answer.events.extend(foreign);
            vec![answer]
        })
        .arm();
    stage.bench.publish(&["b"], 600).await?;
    ids_become(&stage.store, &["b"]).await?;
    ensure!(stage.store.status().counters.foreign_events >= 1);
    stage.bench.publish(&["c"], 600).await?;
    stage
        .right_within("W21", "keys that nobody asked for", &["c"], bench::SOON)
        .await
}

#[tokio::test]
async fn w22_progress_that_lies() -> Result<()> {
    let stage = Stage::interposed(&["a"]).await?;
    // An event is swallowed, and then progress says that all is known up to far beyond it.
    let swallowed = stage
        .between()
        .answer(method::WATCH)
        .every()
        .rewrite(swallow)
        .arm();
    stage.bench.publish(&["b"], 600).await?;
    swallowed.hit(1, BROKEN).await?;
    swallowed.remove();
    let mut progress = PbWatchResponse {
        watch_id: -1,
        ..PbWatchResponse::default()
    };
    let read = stage.bench.client.clone().get(KEY, None).await?;
    let header = read.header().context("no header")?;
    progress.header = Some(testbed::interpose::proto::PbResponseHeader {
        cluster_id: header.cluster_id(),
        member_id: header.member_id(),
        revision: header.revision() + 1_000_000,
        raft_term: header.raft_term(),
    });
    ensure!(stage.between().push(method::WATCH, &progress) >= 1);
    stage
        .between()
        .end(method::WATCH, code::UNAVAILABLE, "etcdserver: no leader");
    stage
        .right_within(
            "W22",
            "progress beyond an event that was lost",
            &["b"],
            BROKEN,
        )
        .await
}

#[tokio::test]
async fn w23_a_subscriber_that_never_looks() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let changes = stage.store.changed();
    for id in ["b", "c", "d"] {
        stage.bench.publish(&[id], 600).await?;
        ids_become(&stage.store, &[id]).await?;
    }
    drop(changes);
    stage
        .right_within("W23", "a subscriber that never looks", &["d"], bench::SOON)
        .await
}

#[tokio::test]
async fn n1_a_slow_link_and_n2_a_reset_in_the_middle_of_a_value() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.bench.way.rate(Direction::Down, 16 * 1024);
    let padding = " ".repeat(48 * 1024);
    let value = format!("{padding}{}", document(&["b"], 600));
    stage.bench.put(value.as_bytes(), 0).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.bench.way.disconnect(Cut::Rst);
    stage
        .right_within(
            "N1",
            "16 KiB/s, and N2: a reset in the middle of a value",
            &["b"],
            BROKEN * 2,
        )
        .await
}

#[tokio::test]
async fn n3_a_corrupted_byte() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.bench.way.corrupt(Direction::Down, 64);
    stage.bench.publish(&["b"], 600).await?;
    stage
        .right_within("N3", "64 corrupted bytes", &["b"], MUTE)
        .await
}

#[tokio::test]
async fn n4_a_member_that_says_goodbye() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    stage.bench.etcd.member(0).stop().await?;
    ids_are(&stage.store, &["a"])?;
    stage.bench.etcd.restart().await?;
    stage.bench.publish(&["b"], 600).await?;
    stage
        .right_within(
            "N4",
            "a member that stops in good form and returns",
            &["b"],
            BROKEN,
        )
        .await
}

#[tokio::test]
async fn n5_ten_thousand_stores_come_and_go() -> Result<()> {
    let stage = Stage::start().await?;
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let began = SystemClock.now();
    let endpoint = stage.bench.way.endpoint();
    let mut cycles = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let endpoints = [endpoint.clone()];
        cycles.spawn(async move {
            for _ in 0..1_250 {
                EtcdDirectiveStore::connect(&endpoints, KEY, clock()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = cycles.join_next().await {
        done??;
    }
    let took = SystemClock.now().saturating_duration_since(began);
    eventually("what they started to end", BROKEN, async || {
        // Each is a descriptor on either side; those of the whole process are also the other tests'.
        let open = stage.bench.way.counts().open;
        ensure!(open <= 2, "{open} connections");
        let now = tasks.num_alive_tasks();
        ensure!(now <= before + 4, "{now} tasks after {before}");
        Ok(())
    })
    .await?;
    line(
        "N5",
        "10,000 stores that come and go",
        Duration::from_mins(5),
        took,
        "",
    );
    Ok(())
}

#[tokio::test]
async fn n6_a_name_with_two_addresses() -> Result<()> {
    let bench = Bench::start().await?;
    bench.publish(&["a"], 600).await?;
    let endpoint = bench
        .etcd
        .member(0)
        .endpoint()
        .replace("127.0.0.1", "localhost");
    let store = EtcdDirectiveStore::connect(&[endpoint], KEY, clock()).await?;
    ids_are(&store, &["a"])
}

#[tokio::test]
async fn n7_a_load_balancer_that_kills_what_is_idle() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    for id in ["b", "c", "d"] {
        stage.bench.way.disconnect(Cut::Fin);
        stage.bench.publish(&[id], 600).await?;
        ids_become_within(&stage.store, &[id], BROKEN).await?;
    }
    stage
        .right_within(
            "N7",
            "idle connections are closed, three times",
            &["d"],
            bench::SOON,
        )
        .await
}

/// Two operations in one transaction are two events of one revision's message.
#[tokio::test]
async fn w20_a_transaction_about_two_keys() -> Result<()> {
    let stage = Stage::with(&["a"]).await?;
    let operations = [
        TxnOp::put("osproxy/other", "x", None),
        TxnOp::put(KEY, document(&["b"], 600), None),
    ];
    #[allow(
        clippy::disallowed_methods,
        reason = "the operator's fence is not what is tested here"
    )]
    stage
        .bench
        .client
        .clone()
        .txn(Txn::new().and_then(operations))
        .await?;
    stage
        .right_within("W20", "a transaction about two keys", &["b"], bench::SOON)
        .await
}

/// How many keys are watched on a member, by its own metrics.
async fn watchers_of(member: &testbed::Member) -> Result<u64> {
    let url = format!("{}/metrics", member.metrics_endpoint());
    let metrics = testbed::http::get(&url, &[]).await?.success()?;
    let watchers = metrics
        .lines()
        .find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "))
        .context("etcd does not say how many keys are watched")?;
    Ok(watchers.trim().parse()?)
}

fn swallow(answer: PbWatchResponse) -> Vec<PbWatchResponse> {
    if answer.events.is_empty() {
        vec![answer]
    } else {
        vec![]
    }
}

async fn ids_become_within(
    store: &EtcdDirectiveStore,
    ids: &[&str],
    within: Duration,
) -> Result<()> {
    eventually("the directives", within, async || ids_are(store, ids)).await
}

#[allow(
    clippy::disallowed_methods,
    reason = "the operator's fence is not what is tested here"
)]
async fn put(client: &mut etcd_client::Client, value: &str) -> Result<()> {
    let put = tokio::time::timeout(Duration::from_secs(2), client.put(KEY, value, None));
    put.await.context("no answer")??;
    Ok(())
}

/// A minute in which nothing happens must cost nothing, on every etcd that is promised; so must the re-read and the
/// heartbeats in it.
#[tokio::test]
async fn a_quiet_minute_on_each_etcd() -> Result<()> {
    let mut quiet = Vec::new();
    for version in ["3.5", "3.6", "3.7"] {
        let bench = Bench::start_with(EtcdOptions::new().version(version)).await?;
        bench.publish(&["a"], 3_600).await?;
        let store = bench.store().await?;
        connected(&store, bench::SOON).await?;
        let connections = bench.way.counts().accepted;
        quiet.push((version, bench, store, connections));
    }
    tokio::time::sleep(quiet_for()).await;
    for (version, bench, store, connections) in quiet {
        eventually("the re-read", bench::SOON, async || {
            ensure!(store.status().counters.reads >= 2, "{:?}", store.status());
            Ok(())
        })
        .await?;
        let (status, now) = (store.status(), bench.way.counts().accepted);
        ensure!(
            status.connected && !status.stale && status.counters.restarts == 0,
            "etcd {version}: {status:?}"
        );
        let failed = status.counters.failed_reads;
        ensure!(failed == 0, "etcd {version}: {status:?}");
        ensure!(now == connections, "etcd {version}: connected anew");
        bench.publish(&["b"], 600).await?;
        ids_become(&store, &["b"])
            .await
            .with_context(|| format!("etcd {version}"))?;
    }
    Ok(())
}

/// A minute and the longest wait for a re-read; `make soak` asks for more.
fn quiet_for() -> Duration {
    let asked = std::env::var("OSPROXY_QUIET_SECS").ok();
    Duration::from_secs(asked.and_then(|secs| secs.parse().ok()).unwrap_or(62))
}

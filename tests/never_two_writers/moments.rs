//! The worst moments for a leader to be stopped, and for an answer to be lost. Somebody in the middle who understands etcd's protocol
//! finds them: the leader under test speaks to etcd through it, its rival directly.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::interpose::{Armed, Interposer, Rule, method};
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, eventually};

use super::support::{Line, SOON, Stopwatch, directive, document, now_secs, options, seen};

/// A release whose first replica speaks to etcd through an interposer, and a second one that does not.
struct Rivals {
    line: Line,
    rival: Operator,
    between: Interposer,
}

impl Rivals {
    async fn start(etcd: EtcdOptions) -> Result<Self> {
        let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(etcd))?;
        let between = Interposer::start(&etcd.member(0).endpoint()).await?;
        let through = options().etcd_endpoints(vec![between.endpoint()]);
        let operator = Operator::start(&plane, &etcd, through).await?;
        operator.wait_ready().await?;
        let line = Line {
            operator,
            etcd,
            plane,
        };
        leads(&line.operator, true).await?;
        let rival = Operator::start(&line.plane, &line.etcd, options()).await?;
        rival.wait_ready().await?;
        Ok(Self {
            line,
            rival,
            between,
        })
    }

    /// A rule that stops the replica under test at the moment that `rule` describes.
    fn stops_at(&self, rule: Rule) -> Result<Armed> {
        let pid = self
            .line
            .operator
            .replica(0)
            .process()
            .id()
            .context("it runs")?;
        Ok(rule
            .run(move || {
                let _ = Command::new("kill")
                    .args(["-STOP", &pid.to_string()])
                    .status();
            })
            .arm())
    }

    /// Waits until one leads and the other one has queued behind it: who is next when that lease ends is known then.
    async fn both_queue(&self) -> Result<()> {
        eventually("both to queue", SOON, async || {
            let keys = [
                "get",
                "--prefix",
                "osproxy/directives/leader/",
                "--keys-only",
            ];
            let keys = self.line.etcd.etcdctl(&keys).await?.success()?;
            let queued = keys.split_whitespace().count();
            ensure!(queued == 2, "{queued} keys");
            Ok(())
        })
        .await
    }

    /// Ends the election lease of whoever leads, as its time would: etcd tells the two apart no more than the leader does.
    async fn end_the_leaders_lease(&self) -> Result<()> {
        let keys = [
            "get",
            "--prefix",
            "osproxy/directives/leader/",
            "--keys-only",
            "--sort-by=CREATE",
            "--limit=1",
        ];
        let key = self.line.etcd.etcdctl(&keys).await?.success()?;
        let lease = key
            .trim()
            .rsplit('/')
            .next()
            .context("a leader key")?
            .to_owned();
        self.line
            .etcd
            .etcdctl(&["lease", "revoke", &lease])
            .await?
            .success()?;
        Ok(())
    }
}

async fn leads(operator: &Operator, expected: bool) -> Result<()> {
    let gauge = format!("osproxy_directives_leader {}", u8::from(expected));
    eventually(&gauge, SOON, async || {
        let metrics = operator.replica(0).metrics().await?;
        ensure!(
            metrics.lines().any(|line| line == gauge),
            "it says otherwise"
        );
        Ok(())
    })
    .await
}

/// What makes the leader come by the moment at which it is stopped.
#[derive(Clone, Copy)]
enum Cause {
    /// A change of the resources: lease, write, and its own event back.
    Change,
    /// The last directive is withdrawn: a deletion.
    Withdrawal,
    /// Nothing: it comes by itself.
    Time,
    /// The rival's lease ends: a campaign that is won.
    Victory,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_at_any_moment_and_woken_past_its_lease_writes_nothing() -> Result<()> {
    let rivals = Rivals::start(EtcdOptions::new()).await?;
    let Rivals {
        line,
        rival,
        between,
    } = &rivals;
    for (number, (moment, cause, rule)) in moments(between).into_iter().enumerate() {
        stop_and_wake(&rivals, number, cause, rule)
            .await
            .with_context(|| format!("stopped {moment}"))?;
        // For the next moment the replica under test leads again.
        rivals.both_queue().await?;
        rivals.end_the_leaders_lease().await?;
        leads(&line.operator, true).await?;
        leads(rival, false).await?;
    }
    Ok(())
}

/// The moments at which a leader is stopped: each request and each answer of its loop.
fn moments(between: &Interposer) -> [(&'static str, Cause, Rule); 14] {
    [
        (
            "before the lease of a publication is asked for",
            Cause::Change,
            between.request(method::LEASE_GRANT),
        ),
        (
            "when that lease is granted",
            Cause::Change,
            between.answer(method::LEASE_GRANT),
        ),
        (
            "before the document is written",
            Cause::Change,
            between.request(method::TXN),
        ),
        (
            "when the document is written",
            Cause::Change,
            between.answer(method::TXN),
        ),
        (
            "when the watch shows its own write",
            Cause::Change,
            between.answer(method::WATCH),
        ),
        (
            "before it reads what the watch has shown",
            Cause::Change,
            between.request(method::TXN).nth(2),
        ),
        (
            "when it has read that",
            Cause::Change,
            between.answer(method::TXN).nth(2),
        ),
        (
            "before the document is deleted",
            Cause::Withdrawal,
            between.request(method::TXN),
        ),
        (
            "when the document is deleted",
            Cause::Withdrawal,
            between.answer(method::TXN),
        ),
        (
            "before its lease is refreshed",
            Cause::Time,
            between.request(method::LEASE_KEEP_ALIVE),
        ),
        (
            "when its lease is refreshed",
            Cause::Time,
            between.answer(method::LEASE_KEEP_ALIVE),
        ),
        (
            "when its campaign is won",
            Cause::Victory,
            between.answer(method::CAMPAIGN),
        ),
        (
            "before a new leader reads the keys",
            Cause::Victory,
            between.request(method::TXN),
        ),
        (
            "when a new leader has read the keys",
            Cause::Victory,
            between.answer(method::TXN),
        ),
    ]
}

async fn stop_and_wake(rivals: &Rivals, number: usize, cause: Cause, rule: Rule) -> Result<()> {
    let Rivals { line, rival, .. } = rivals;
    let name = format!("moment-{number}");
    let kept = format!("kept-{number}");
    if let Cause::Withdrawal = cause {
        line.apply(&directive(&name, "1h")).await?;
        line.ids(&[&format!("default/{name}")]).await?;
    }
    if let Cause::Victory = cause {
        rivals.both_queue().await?;
        rivals.end_the_leaders_lease().await?;
        leads(rival, true).await?;
        leads(&line.operator, false).await?;
        rivals.both_queue().await?;
    }
    let stopped = rivals.stops_at(rule)?;
    match cause {
        Cause::Change => drop(line.apply(&directive(&name, "1h")).await?),
        Cause::Withdrawal => drop(line.delete(&name).await?),
        Cause::Victory => rivals.end_the_leaders_lease().await?,
        Cause::Time => {}
    }
    stopped.hit(1, Duration::from_secs(20)).await?;

    // Past its lease, the rival leads, and withdraws what the stopped one may be about to write.
    rivals.end_the_leaders_lease().await?;
    leads(rival, true).await?;
    if let Cause::Change = cause {
        line.delete(&name).await?;
    }
    line.apply(&directive(&kept, "1h")).await?;
    line.ids(&[&format!("default/{kept}")]).await?;
    let standing = document(&line.etcd).await?;

    line.operator.replica(0).resume()?;
    leads(&line.operator, false).await?;
    line.operator.wait_ready().await?;
    ensure!(
        document(&line.etcd).await? == standing,
        "the woken one wrote"
    );
    line.delete(&kept).await?;
    line.ids(&[]).await?;
    Ok(())
}

/// Every document that the key held from now on, by a plain watch.
async fn history(etcd: &Etcd) -> Result<tokio::sync::mpsc::UnboundedReceiver<String>> {
    let mut client = etcd.client().await?;
    let mut watch = client.watch(super::support::KEY, None).await?;
    let created = watch.message().await?.context("a watch")?;
    ensure!(created.created() && !created.canceled());
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(message)) = watch.message().await {
            for event in message.events() {
                let value = event.kv().map(|kv| kv.value().to_vec()).unwrap_or_default();
                let _ = tell.send(String::from_utf8_lossy(&value).into_owned());
            }
        }
    });
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_found_out_about_under_a_new_lease() -> Result<()> {
    let rivals = Rivals::start(EtcdOptions::new()).await?;
    let line = &rivals.line;
    let lost = rivals.between.answer(method::TXN).lose().arm();
    line.apply(&directive("withdrawn", "1h")).await?;
    line.ids(&["default/withdrawn"]).await?;
    lost.hit(1, SOON).await?;
    let lost = Stopwatch::start();
    // At once: the start of each kubectl is in this time too.
    let kept = directive("kept", "1h");
    tokio::try_join!(line.delete("withdrawn"), line.apply(&kept))?;
    line.ids(&["default/kept"]).await?;
    let what = "a write's answer is lost, until the next is published";
    seen("L2", what, Duration::from_secs(15), &lost)?;
    let mut later = history(&line.etcd).await?;
    leads(&line.operator, false).await?;
    line.state("kept", "Active").await?;
    while let Ok(value) = later.try_recv() {
        ensure!(
            !value.contains("withdrawn"),
            "a withdrawn directive came back"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_arrives_ten_seconds_late_finds_its_leader_key_gone() -> Result<()> {
    let (plane, etcd) = tokio::try_join!(ControlPlane::start(), Etcd::start(EtcdOptions::new()))?;
    let between = Interposer::start(&etcd.member(0).endpoint()).await?;
    let through = options().etcd_endpoints(vec![between.endpoint()]);
    let operator = Operator::start(&plane, &etcd, through).await?;
    operator.wait_ready().await?;
    leads(&operator, true).await?;
    let line = Line {
        operator,
        etcd,
        plane,
    };
    let mut written = history(&line.etcd).await?;
    let before = between.answers(method::TXN);
    let late = between
        .request(method::TXN)
        .about(r#"{"directives""#)
        .hold_until_released()
        .arm();
    line.apply(&directive("withdrawn", "1h")).await?;
    late.hit(1, SOON).await?;
    // It is withdrawn while its write is still under way. The key is absent, before and after: with the document's revision alone
    // (0 for absent) the late write would pass.
    line.delete("withdrawn").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    late.release();
    eventually("etcd to answer the late write", SOON, async || {
        ensure!(between.answers(method::TXN) > before + 1, "not yet");
        Ok(())
    })
    .await?;
    line.apply(&directive("kept", "1h")).await?;
    line.ids(&["default/kept"]).await?;
    line.state("kept", "Active").await?;
    // Up to the document that stands there, which the watch may tell of a moment later, and what has come after it.
    let is_good = |value: &str| {
        ensure!(
            !value.contains("withdrawn"),
            "the late write was carried out"
        );
        Ok(value.contains("default/kept"))
    };
    loop {
        let told = tokio::time::timeout(SOON, written.recv()).await;
        let told = told.context("the history does not show what stands there")?;
        if is_good(&told.context("the history has ended")?)? {
            break;
        }
    }
    while let Ok(value) = written.try_recv() {
        is_good(&value)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_whose_leader_was_stopped_before_its_lease_was_granted_is_dated_anew()
-> Result<()> {
    let rivals = Rivals::start(EtcdOptions::new()).await?;
    let Rivals { line, between, .. } = &rivals;
    // Its lease is freshly proven, so that this stop does not cost the leadership.
    let proven = between.answer(method::LEASE_KEEP_ALIVE).arm();
    proven.hit(1, SOON).await?;
    let stopped = rivals.stops_at(between.request(method::LEASE_GRANT))?;
    line.apply(&directive("late", "1h")).await?;
    stopped.hit(1, SOON).await?;
    // A little longer than a call may take.
    tokio::time::sleep(Duration::from_millis(5_400)).await;
    let woken_secs = now_secs();
    line.operator.replica(0).resume()?;
    let document = line.ids(&["default/late"]).await?.context("a document")?;
    let second = document.publication().second();
    ensure!(second >= woken_secs, "dated {second}, woken {woken_secs}");
    Ok(())
}

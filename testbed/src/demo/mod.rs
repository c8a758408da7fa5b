//! The story of one directive, told while it happens: `make demo`.
//!
//! Every figure comes from a server or a proxy of this very run. A proxy has a directive when its
//! own answer to a request shows it, and not when somebody says that it should.

mod announced;

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::command::Output;
use crate::deadline::eventually;
use crate::proxy::{Attributes, Decision, Moment};
use crate::scratch::Scratch;
use crate::stage::{Stage, time};
use crate::system::{KEY, System, SystemOptions};
use announced::Announcements;

/// Far more than anything here takes, and soon enough for somebody who waits for a failure.
const SOON: Duration = Duration::from_secs(20);
/// How far from its end a directive may stop: our own looking, twice, and a busy machine.
const AT_ITS_END: Duration = Duration::from_secs(1);
/// From here on the proxies are asked without a pause, so that their own moment is seen.
const LOOK_BEFORE_THE_END: Duration = Duration::from_secs(1);

const NARROW: &str = "\
apiVersion: osproxy.io/v1alpha1
kind: DiagnosticsDirective
metadata: { name: inc-4711 }
spec:
  match:
    - { key: tenant, value: acme }
    - { key: index, value: orders }
  level: ShapeTiming
  samplePerMille: 1000
  ttl: 20s
  createdBy: ana
  comment: INC-4711, slow searches
";

/// What a template makes of a variable that is empty.
const HOLLOW: &str = "\
apiVersion: osproxy.io/v1alpha1
kind: DiagnosticsDirective
metadata: { name: inc-4712 }
spec:
  match:
    - { key: tenant, value: }
  level: ShapeRewriteDiff
  samplePerMille: 1000
  ttl: 1h
";

const LONG: &str = "\
apiVersion: osproxy.io/v1alpha1
kind: DiagnosticsDirective
metadata: { name: inc-4713 }
spec:
  match:
    - { key: tenant, value: globex }
  level: Shape
  samplePerMille: 1000
  ttl: 30m
";

/// Tells the whole story on `out`, in less than a minute, and stops everything that it started.
///
/// # Errors
/// When something does not happen as told: the step, what was seen instead, and the end of the log
/// of what is to blame.
pub async fn run(options: SystemOptions, out: impl Write, colour: bool) -> Result<()> {
    let mut stage = Stage::new(out, colour);
    let told = start_and_tell(options, &mut stage).await;
    told.with_context(|| format!("{} failed", stage.place()))
}

async fn start_and_tell<W: Write>(options: SystemOptions, stage: &mut Stage<W>) -> Result<()> {
    let start = Instant::now();
    stage.step("Real servers, on this machine")?;
    let system = System::start(options, |part, took| stage.part(part, took)).await?;
    let files = Scratch::new("demo")?;
    Story {
        stage,
        system: &system,
        files: &files,
    }
    .tell()
    .await
    // Asked while the logs are still there.
    .map_err(|error| error.context(system.evidence()))?;

    stage.step("Everything that was started is stopped")?;
    drop((system, files));
    stage.figure("the whole story took", time(start.elapsed()))
}

struct Story<'a, W> {
    stage: &'a mut Stage<W>,
    system: &'a System,
    files: &'a Scratch,
}

impl<W: Write> Story<'_, W> {
    async fn tell(&mut self) -> Result<()> {
        self.a_directive_arrives().await?;
        self.system.all_run()?;
        self.requests_are_decided().await?;
        self.system.all_run()?;
        self.a_hollow_manifest_is_refused().await?;
        self.system.all_run()?;
        self.a_person_looks().await?;
        self.system.all_run()?;
        self.its_window_ends().await?;
        self.system.all_run()?;
        self.a_directive_is_deleted().await?;
        self.system.all_run()
    }

    async fn a_directive_arrives(&mut self) -> Result<()> {
        self.stage
            .step("Ana applies a narrow directive, for 20 seconds")?;
        self.stage.line("$ kubectl apply -f inc-4711.yaml")?;
        self.stage.quote(NARROW)?;
        let request = Attributes::new("acme", "orders");
        self.apply_and_follow("inc-4711", NARROW, &request).await?;
        let (bytes, revision) = self
            .document()
            .await?
            .context("the proxies have it, and the key is absent")?;
        self.stage.line(&format!(
            "etcd holds {bytes} bytes at {KEY}, of revision {revision}"
        ))
    }

    async fn requests_are_decided(&mut self) -> Result<()> {
        self.stage
            .step("Requests: what proxy-1, proxy-2 and proxy-3 decide about them")?;
        let rows = [
            ("acme", "orders", "ShapeTiming"),
            ("acme", "invoices", "Off"),
            ("globex", "orders", "Off"),
        ];
        for (tenant, index, expected) in rows {
            let request = Attributes::new(tenant, index);
            let mut answers = Vec::new();
            for proxy in self.system.proxies() {
                let level = proxy.decide(&request).await?.level;
                let name = proxy.process().name();
                ensure!(
                    level == expected,
                    "{name} decides {level} for tenant {tenant}, index {index}, and not {expected}"
                );
                answers.push(format!("{level:>12}"));
            }
            let request = format!("tenant {tenant}, GET /{index}/_search");
            self.stage.figure(&request, answers.concat())?;
        }
        Ok(())
    }

    async fn a_hollow_manifest_is_refused(&mut self) -> Result<()> {
        self.stage
            .step("A template forgot the tenant; that must not become every tenant")?;
        self.stage.line("$ kubectl apply -f inc-4712.yaml")?;
        self.stage.quote(HOLLOW)?;
        let refusal = self.apply("inc-4712", HOLLOW).await?.failure()?;
        self.stage.line("the API server refuses it:")?;
        let file = self.files.path().display().to_string();
        self.stage
            .quote(&refusal.replace(&format!("{file}/"), ""))?;
        let request = Attributes::new("globex", "invoices");
        for proxy in self.system.proxies() {
            let name = proxy.process().name();
            ensure!(
                proxy.decide(&request).await?.is_off(),
                "{name} applies a directive that was refused"
            );
        }
        self.stage
            .line("and no proxy does anything about a request of another tenant")
    }

    async fn a_person_looks(&mut self) -> Result<()> {
        self.stage.step("What became of it: its status")?;
        self.state("inc-4711", "Active").await?;
        for line in ["get diag", "get diag -o wide"] {
            let args: Vec<&str> = line.split(' ').collect();
            let table = self.system.plane().kubectl(&args).await?.success()?;
            self.stage.line(&format!("$ kubectl {line}"))?;
            self.stage.quote(&table)?;
        }
        Ok(())
    }

    async fn its_window_ends(&mut self) -> Result<()> {
        self.stage
            .step("The 20 seconds are over, and nobody does anything")?;
        let status = self.status("inc-4711").await?;
        let written = status["expirationTime"].as_str().context("it has no end")?;
        let end = SystemTime::from(written.parse::<Timestamp>()?);
        self.stage
            .line(&format!("its end, by its status: {written}"))?;
        let left = end.duration_since(SystemTime::now());
        let left = left.context("this machine was too slow: its end was over before we looked")?;
        tokio::time::sleep(left.saturating_sub(LOOK_BEFORE_THE_END)).await;
        let request = Attributes::new("acme", "orders");
        let moments = self.all(&request, Decision::is_off).await?;
        for (proxy, moment) in self.system.proxies().iter().zip(&moments) {
            let name = proxy.process().name();
            let off = Offset::between(end, moment.wall);
            // Whoever applied it when asked so long after its end was late. That we were slow to ask is not its doing.
            let early = end.duration_since(moment.wall).unwrap_or_default();
            let late = moment
                .still
                .and_then(|still| still.duration_since(end).ok());
            ensure!(
                early.max(late.unwrap_or_default()) <= AT_ITS_END,
                "{name} stopped {off} from the directive's end"
            );
            self.stage
                .figure(&format!("{name} stopped applying it, from its end"), off)?;
        }
        self.state("inc-4711", "Expired").await?;
        let off = Offset::between(end, SystemTime::now());
        self.stage.figure("its status says Expired", off)?;
        self.key_is_absent().await?;
        let table = self.system.plane().kubectl(&["get", "diag"]).await?;
        self.stage.line("$ kubectl get diag")?;
        self.stage.quote(&table.success()?)
    }

    async fn a_directive_is_deleted(&mut self) -> Result<()> {
        self.stage
            .step("Another one is applied, and deleted before its time")?;
        let request = Attributes::new("globex", "orders");
        self.stage.line("$ kubectl apply -f inc-4713.yaml")?;
        self.apply_and_follow("inc-4713", LONG, &request).await?;

        self.stage.line("$ kubectl delete diag inc-4713")?;
        let announced = Announcements::of("inc-4713", self.system.plane()).await?;
        let plane = self.system.plane();
        let start = Instant::now();
        let (said, deleted, moments) = tokio::try_join!(
            async {
                plane
                    .kubectl(&["delete", "diag", "inc-4713"])
                    .await?
                    .success()
            },
            announced.deleted(),
            self.all(&request, Decision::is_off),
        )?;
        self.stage.quote(&said)?;
        self.stage.figure(
            "the API server has deleted it, since kubectl was started",
            time(deleted - start),
        )?;
        self.figures(deleted, &moments, "has dropped it, since then")?;
        self.key_is_absent().await
    }

    /// Applies a manifest and shows when the API server and each proxy had it.
    async fn apply_and_follow(
        &mut self,
        name: &str,
        manifest: &str,
        request: &Attributes<'_>,
    ) -> Result<()> {
        let announced = Announcements::of(name, self.system.plane()).await?;
        let start = Instant::now();
        let (said, created, moments) = tokio::try_join!(
            async { self.apply(name, manifest).await?.success() },
            announced.created(),
            self.all(request, |decision| !decision.is_off()),
        )?;
        self.stage.quote(&said)?;
        self.stage.figure(
            "the API server has it, since kubectl was started",
            time(created - start),
        )?;
        self.figures(created, &moments, "applies it, since then")
    }

    fn figures(&mut self, since: Instant, moments: &[Moment; 3], what: &str) -> Result<()> {
        for (proxy, moment) in self.system.proxies().iter().zip(moments) {
            let text = format!("{} {what}", proxy.process().name());
            // A proxy may have it before the API server's word reaches us.
            let off = match moment.instant.checked_duration_since(since) {
                Some(size) => Offset { sign: '+', size },
                None => Offset {
                    sign: '-',
                    size: since - moment.instant,
                },
            };
            self.stage.figure(&text, off)?;
        }
        Ok(())
    }

    /// Asks all proxies at once, until each decides as wanted.
    async fn all(
        &self,
        request: &Attributes<'_>,
        wanted: impl Fn(&Decision) -> bool,
    ) -> Result<[Moment; 3]> {
        let [one, two, three] = self.system.proxies();
        let (one, two, three) = tokio::try_join!(
            one.until(request, SOON, &wanted),
            two.until(request, SOON, &wanted),
            three.until(request, SOON, &wanted),
        )?;
        Ok([one, two, three])
    }

    async fn apply(&self, name: &str, manifest: &str) -> Result<Output> {
        let file = self.files.write(&format!("{name}.yaml"), manifest)?;
        let file = file.to_string_lossy();
        self.system.plane().kubectl(&["apply", "-f", &file]).await
    }

    async fn status(&self, name: &str) -> Result<Value> {
        // Without kubectl, whose start may take seconds of the few that it is on.
        let path =
            format!("/apis/osproxy.io/v1alpha1/namespaces/default/diagnosticsdirectives/{name}");
        let resource: Value = serde_json::from_str(&self.system.plane().get(&path).await?)?;
        Ok(resource["status"].clone())
    }

    async fn state(&self, name: &str, state: &str) -> Result<()> {
        eventually(&format!("{name} to be {state}"), SOON, async || {
            let status = self.status(name).await?;
            ensure!(status["state"] == state, "it is {}", status["state"]);
            Ok(())
        })
        .await
    }

    async fn key_is_absent(&mut self) -> Result<()> {
        eventually(&format!("{KEY} to be absent"), SOON, async || {
            ensure!(self.document().await?.is_none(), "etcd holds a document");
            Ok(())
        })
        .await?;
        self.stage.line(&format!("etcd holds nothing at {KEY}"))
    }

    /// Size and revision of the document.
    async fn document(&self) -> Result<Option<(usize, i64)>> {
        let answer = self.system.etcd().client().await?.get(KEY, None).await?;
        let document = answer.kvs().first();
        Ok(document.map(|document| (document.value().len(), document.mod_revision())))
    }
}

/// How far a moment is from another one.
struct Offset {
    sign: char,
    size: Duration,
}

impl Offset {
    fn between(from: SystemTime, to: SystemTime) -> Self {
        match to.duration_since(from) {
            Ok(size) => Self { sign: '+', size },
            Err(early) => Self {
                sign: '-',
                size: early.duration(),
            },
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.sign, time(self.size))
    }
}

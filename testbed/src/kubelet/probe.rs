//! Probes of a running container, with the periods and thresholds that its manifest gives them.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::http;

/// What the probes have come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The startup probe has succeeded, or there is none.
    pub(super) started: bool,
    /// The readiness probe says so.
    pub(super) ready: bool,
    /// Why the container has to be started anew.
    pub(super) fatal: Option<String>,
    /// Every failure so far, for Events.
    pub(super) complaints: Vec<String>,
}

/// The probes of one run of a container. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Prober {
    verdict: Arc<Mutex<Verdict>>,
    task: JoinHandle<()>,
}

impl Prober {
    pub(super) fn start(container: &Container, ip: Ipv4Addr) -> Self {
        let verdict = Arc::<Mutex<Verdict>>::default();
        let task = tokio::spawn(run(container.clone(), ip, Arc::clone(&verdict)));
        Self { verdict, task }
    }

    pub(super) fn verdict(&self) -> Verdict {
        lock(&self.verdict).clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(verdict: &Mutex<Verdict>) -> std::sync::MutexGuard<'_, Verdict> {
    verdict.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(container: Container, ip: Ipv4Addr, verdict: Arc<Mutex<Verdict>>) {
    let probes = Probes {
        container: &container,
        ip,
        verdict: &verdict,
    };
    if let Some(startup) = &container.startup_probe {
        probes
            .follow("Startup", startup, |verdict, passed, why| {
                verdict.started = passed;
                verdict.fatal = (!passed).then(|| why.to_owned());
            })
            .await;
    }
    lock(&verdict).started = true;
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            probes
                .follow("Liveness", probe, |verdict, passed, why| {
                    verdict.fatal = (!passed).then(|| why.to_owned());
                })
                .await;
        }
    };
    let readiness = async {
        match &container.readiness_probe {
            Some(probe) => {
                probes
                    .follow("Readiness", probe, |verdict, passed, _| {
                        verdict.ready = passed;
                    })
                    .await;
            }
            None => lock(&verdict).ready = true,
        }
    };
    tokio::join!(liveness, readiness);
}

struct Probes<'a> {
    container: &'a Container,
    ip: Ipv4Addr,
    verdict: &'a Mutex<Verdict>,
}

impl Probes<'_> {
    /// Asks again and again, and tells each time that a threshold is passed. A startup probe ends with its first success.
    async fn follow(&self, name: &str, probe: &Probe, tell: impl Fn(&mut Verdict, bool, &str)) {
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let period = seconds(probe.period_seconds, 10);
        let mut tally = Tally::default();
        loop {
            let limit = seconds(probe.timeout_seconds, 1);
            let asked = tokio::time::timeout(limit, self.ask(probe)).await;
            let answer = asked.unwrap_or_else(|_| bail!("no answer in {limit:?}"));
            let threshold = match &answer {
                Ok(()) => probe.success_threshold.unwrap_or(1),
                Err(_) => probe.failure_threshold.unwrap_or(3),
            };
            let passed = tally.count(answer.is_ok(), threshold);
            let why = answer
                .err()
                .map(|error| format!("{name} probe failed: {error:#}"));
            {
                let mut verdict = lock(self.verdict);
                if let Some(passed) = passed {
                    tell(&mut verdict, passed, why.as_deref().unwrap_or_default());
                }
                verdict.complaints.extend(why);
            }
            if name == "Startup" && passed.is_some() {
                return;
            }
            tokio::time::sleep(period).await;
        }
    }

    async fn ask(&self, probe: &Probe) -> Result<()> {
        if let Some(get) = &probe.http_get {
            let port = self.port(&get.port)?;
            let path = get.path.as_deref().unwrap_or("/");
            let answer = http::get(&format!("http://{}:{port}{path}", self.ip), &[]).await?;
            let status = answer.status;
            let good = status.is_success() || status.is_redirection();
            ensure!(
                good,
                "HTTP probe failed with statuscode: {}",
                status.as_u16()
            );
        } else if let Some(socket) = &probe.tcp_socket {
            TcpStream::connect((self.ip, self.port(&socket.port)?)).await?;
        }
        Ok(())
    }

    fn port(&self, port: &IntOrString) -> Result<u16> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                let port = ports.find(|port| port.name.as_ref() == Some(name));
                port.map(|port| port.container_port)
            }
        };
        let number = number.with_context(|| format!("no port of the name {port:?}"))?;
        Ok(u16::try_from(number)?)
    }
}

/// How many answers of one kind came in a row.
#[derive(Debug, Default)]
struct Tally {
    last: Option<bool>,
    in_a_row: i32,
}

impl Tally {
    /// Counts an answer and says what holds from now on, once `threshold` of its kind came in a row.
    fn count(&mut self, passed: bool, threshold: i32) -> Option<bool> {
        if self.last != Some(passed) {
            self.last = Some(passed);
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        (self.in_a_row >= threshold.max(1)).then_some(passed)
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let value = value.and_then(|value| u64::try_from(value).ok());
    Duration::from_secs(value.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_counts_answers_in_a_row() {
        let mut tally = Tally::default();
        let answers = [false, false, true, false, false, false];
        let told = answers.map(|passed| tally.count(passed, if passed { 1 } else { 3 }));
        assert_eq!(told, [None, None, Some(true), None, None, Some(false)]);
    }
}

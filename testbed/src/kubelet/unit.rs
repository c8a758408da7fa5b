//! One container of a Pod, over all its runs.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Container;
use std::os::unix::process::ExitStatusExt;

use super::board::ContainerView;
use super::probe::{Prober, Verdict};
use super::status::now;
use crate::process::Process;

/// No wait between two starts is longer.
const LONGEST: Duration = Duration::from_mins(5);
/// After a run of this length a crash counts as the first one again.
const LONG_RUN: Duration = Duration::from_mins(10);

/// A container and what became of it.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) spec: Container,
    pub(super) state: State,
    /// The run before this one.
    pub(super) last: Option<Ended>,
    /// The log of each run; one more than there were restarts.
    pub(super) logs: Vec<PathBuf>,
    newest: Option<Arc<Process>>,
    crashes: u32,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting {
        reason: &'static str,
        message: String,
        /// When to try (again); none for at once.
        until: Option<Instant>,
    },
    Running(Run),
    Ended(Ended),
}

#[derive(Debug)]
pub(super) struct Run {
    process: Arc<Process>,
    prober: Prober,
    pub(super) since: String,
    started: Instant,
    kill_at: Option<Instant>,
}

/// How a run ended, as a status tells it.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) since: String,
    pub(super) until: String,
    lasted: Duration,
}

impl Unit {
    pub(super) fn new(spec: Container, reason: &'static str) -> Self {
        Self {
            spec,
            state: State::Waiting {
                reason,
                message: String::new(),
                until: None,
            },
            last: None,
            logs: Vec::new(),
            newest: None,
            crashes: 0,
        }
    }

    /// Whether it is time to start it.
    pub(super) fn is_due(&self) -> bool {
        match &self.state {
            State::Waiting { until, .. } => until.is_none_or(|until| until <= Instant::now()),
            _ => false,
        }
    }

    /// It cannot be started now, and why.
    pub(super) fn wait(&mut self, reason: &'static str, message: String, pause: Duration) {
        self.state = State::Waiting {
            reason,
            message,
            until: Some(Instant::now() + pause),
        };
    }

    /// It was started.
    pub(super) fn started(&mut self, process: Arc<Process>, prober: Prober) {
        self.newest = Some(Arc::clone(&process));
        self.state = State::Running(Run {
            process,
            prober,
            since: now(),
            started: Instant::now(),
            kill_at: None,
        });
    }

    /// Looks whether it still runs, and kills it where its grace is over.
    pub(super) fn look(&mut self) {
        let State::Running(run) = &self.state else {
            return;
        };
        if run.kill_at.is_some_and(|at| at <= Instant::now()) {
            // One that cannot be killed still runs, which is what is seen below.
            let _ = run.process.kill();
        }
        if run.process.is_running() {
            return;
        }
        let (code, signal) = outcome(run.process.exit_status());
        let ended = Ended {
            code,
            signal,
            since: run.since.clone(),
            until: now(),
            lasted: run.started.elapsed(),
        };
        self.state = State::Ended(ended);
    }

    /// SIGTERM now and SIGKILL after `grace`; an earlier end that was asked for stays.
    pub(super) fn stop(&mut self, grace: Duration) {
        if let State::Running(run) = &mut self.state
            && run.kill_at.is_none()
        {
            // One that has just ended is noticed at the next look.
            let _ = run.process.terminate();
            run.kill_at = Some(Instant::now() + grace);
        }
    }

    /// From its end to the next start: at once after a first crash, then after `first`, and each time twice as long.
    pub(super) fn again(&mut self, first: Duration) {
        let State::Ended(ended) = &self.state else {
            return;
        };
        self.crashes = if ended.lasted >= LONG_RUN {
            1
        } else {
            self.crashes.saturating_add(1)
        };
        let pause = match self.crashes.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => first
                .saturating_mul(2_u32.saturating_pow(doublings.min(16)))
                .min(LONGEST),
        };
        self.last = Some(ended.clone());
        let message = format!(
            "back-off {pause:?} restarting failed container {}",
            self.spec.name
        );
        self.wait("CrashLoopBackOff", message, pause);
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(super) fn has_succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(ended) if ended.code == 0)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.state {
            State::Running(run) => run.prober.verdict(),
            _ => Verdict::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let verdict = self.verdict();
        verdict.started && verdict.ready
    }

    pub(super) fn restarts(&self) -> usize {
        self.logs.len().saturating_sub(1)
    }

    pub(super) fn view(&self) -> ContainerView {
        ContainerView {
            name: self.spec.name.clone(),
            process: self.newest.clone(),
            logs: self.logs.clone(),
        }
    }
}

/// Exit code and signal, as a container runtime has them.
fn outcome(status: Option<ExitStatus>) -> (i32, Option<i32>) {
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    (code.unwrap_or(128 + signal.unwrap_or(9)), signal)
}

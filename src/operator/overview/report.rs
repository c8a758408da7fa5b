//! What the `DiagnosticsFleet` says: a function of what is known; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::conditions::{Answer, conditions};
use crate::etcd::{Fault, Keys};
use crate::fleet::{Counts, FleetView, Proxy, Standing, Target};
use crate::operator::observe::{self, Definition};
use crate::operator::publish::{KeyState, Outcome, Stored};
use crate::operator::report::rfc3339;
use crate::resource::{DiagnosticsFleetStatus, EtcdServers, MAX_WORST, Proxies, WorstProxy};

/// What the report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The replica that leads, where one does.
    pub leader: Option<&'f str>,
    /// The keys, or why they cannot be seen.
    pub seen: Result<&'f KeyState, Fault>,
    /// How the cycle of the leader came out.
    pub settled: Option<Settled>,
    /// Our own release, as `namespace/name`.
    pub release: &'f str,
    /// The keys that it publishes at.
    pub keys: &'f Keys,
    /// What each member of etcd tells of itself.
    pub servers: &'f [Result<Server, Fault>],
    /// By how many seconds our clock is ahead of the API server's, where that is worth a word.
    pub clock_ahead_secs: Option<i64>,
    /// How the CRD in the cluster stands to ours.
    pub definition: Definition,
    /// Why the resources cannot be seen.
    pub unseen: Option<observe::Fault>,
    /// What the proxies say; none where nobody has looked.
    pub fleet: Option<&'f Fleet>,
    /// The time, in whole seconds since the Unix epoch.
    pub now_secs: u64,
}

/// How a cycle came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// How the key stands to the plan.
    pub outcome: Outcome,
    /// How many directives the plan puts into the document.
    pub entries: usize,
}

/// What one etcd server tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// The size of its database, in bytes.
    pub database_bytes: i64,
    /// The room that it has for that, in bytes; none where it does not tell, as before 3.6.
    pub quota_bytes: Option<i64>,
    /// Whether it has raised an alarm for want of room.
    pub is_full: bool,
}

/// What the proxies that report come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fleet {
    /// How many stand how.
    pub counts: Counts,
    /// Those that are not current, the worst first.
    pub worst: Vec<Proxy>,
    /// What they were measured against.
    pub target: Option<Target>,
    /// Whether that is so new that one that is behind may still be in time.
    pub is_in_time: bool,
    /// One whose clock is off by more than five seconds.
    pub off_clock: Option<String>,
}

const MEBIBYTE: i64 = 1 << 20;
/// From here on a proxy's clock is worth a word.
const CLOCK_TOLERANCE_MS: u64 = 5_000;

impl Fleet {
    /// What the proxies come to, measured against `target`; and whether one that is behind may still be in time.
    #[must_use]
    pub fn of(view: &FleetView, target: Target, is_in_time: bool) -> Self {
        let is_off = |proxy: &&Proxy| {
            let record = proxy.record.as_ref().ok();
            let ahead = record.and_then(|record| record.clock_ahead_ms);
            ahead.is_some_and(|ahead| ahead.unsigned_abs() > CLOCK_TOLERANCE_MS)
        };
        let worst = view.worst(target, MAX_WORST);
        Self {
            counts: view.counts(target),
            worst: worst.into_iter().cloned().collect(),
            target: Some(target),
            is_in_time,
            off_clock: view
                .proxies()
                .find(is_off)
                .map(|proxy| proxy.instance.clone()),
        }
    }
}

/// The status that says `facts`. A condition keeps its time from `present` as long as it says the same.
#[must_use]
pub fn status(facts: &Facts<'_>, present: &DiagnosticsFleetStatus) -> DiagnosticsFleetStatus {
    let document = facts.seen.ok().and_then(|state| state.document.as_ref());
    let proxies = facts.fleet.map(|fleet| fleet.counts);
    DiagnosticsFleetStatus {
        leader: facts
            .leader
            .map(|leader| leader.chars().take(253).collect()),
        operator_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        directives: facts.settled.map(|settled| whole(settled.entries)),
        revision: document.map(|stored| stored.mod_revision),
        publication_time: document
            .and_then(Stored::publication)
            .map(|publication| rfc3339(publication.second())),
        document_bytes: document.and_then(|stored| i64::try_from(stored.value.len()).ok()),
        etcd: servers(facts.servers),
        applied: proxies.map(|counts| format!("{}/{}", counts.applied, counts.reporting)),
        proxies: proxies.map(|counts| Proxies {
            reporting: whole(counts.reporting),
            applied: whole(counts.applied),
            rejecting: whole(counts.rejecting),
            lagging: whole(counts.lagging + counts.unknown),
        }),
        worst: facts.fleet.map(worst).unwrap_or_default(),
        conditions: conditions(facts)
            .into_iter()
            .map(|(type_, answer)| condition(type_, answer, present, facts.now_secs))
            .collect(),
    }
}

/// Whether two statuses say the same. The times of transitions follow from the rest.
#[must_use]
pub fn says_the_same(a: &DiagnosticsFleetStatus, b: &DiagnosticsFleetStatus) -> bool {
    let timeless = |status: &DiagnosticsFleetStatus| {
        let mut status = status.clone();
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        status
    };
    timeless(a) == timeless(b)
}

fn servers(told: &[Result<Server, Fault>]) -> Option<EtcdServers> {
    let told: Vec<&Server> = told.iter().flatten().collect();
    let mut versions: Vec<String> = told
        .iter()
        .map(|server| server.version.chars().take(32).collect())
        .collect();
    versions.sort();
    versions.dedup();
    versions.truncate(16);
    // In whole mebibytes, so that not every page that is written is news.
    let database = told.iter().map(|server| server.database_bytes).max()?;
    let quota = told.iter().filter_map(|server| server.quota_bytes).min();
    Some(EtcdServers {
        versions,
        database_mebibytes: database / MEBIBYTE,
        quota_mebibytes: quota.map(|quota| quota / MEBIBYTE),
    })
}

fn worst(fleet: &Fleet) -> Vec<WorstProxy> {
    let named = fleet.worst.iter().take(MAX_WORST);
    let told = named.map(|proxy| {
        let standing = fleet.target.map(|target| proxy.standing(target));
        let standing = match standing {
            Some(Standing::Rejecting) => "Rejecting",
            Some(Standing::Lagging) => "Lagging",
            Some(Standing::Applied) => "Applied",
            Some(Standing::Unknown) | None => "Unknown",
        };
        let mut worst = WorstProxy {
            instance: proxy.instance.clone(),
            standing: standing.to_owned(),
            ..WorstProxy::default()
        };
        match &proxy.record {
            Err(unreadable) => worst.refusal = Some(unreadable.slug().to_owned()),
            Ok(record) => {
                worst.version.clone_from(&record.version);
                worst.revision = record.revision;
                worst.publication_time = record.publication_secs.map(rfc3339);
                worst.clock_ahead_milliseconds = record.clock_ahead_ms;
                worst.refusal = record
                    .refused
                    .as_ref()
                    .map(|refused| refused.reason.clone());
            }
        }
        worst
    });
    told.collect()
}

fn condition(
    type_: &str,
    answer: Answer,
    present: &DiagnosticsFleetStatus,
    now_secs: u64,
) -> Condition {
    let same = present
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == answer.status);
    let now = i64::try_from(now_secs)
        .ok()
        .and_then(|secs| Timestamp::from_second(secs).ok());
    let since = same.map_or(Time(now.unwrap_or(Timestamp::UNIX_EPOCH)), |same| {
        same.last_transition_time.clone()
    });
    Condition {
        type_: type_.to_owned(),
        status: answer.status.to_owned(),
        reason: answer.reason.to_owned(),
        message: answer.message,
        observed_generation: None,
        last_transition_time: since,
    }
}

fn whole(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

//! What the `DiagnosticsFleet` says: a function of what is known; pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::etcd::Fault;
use crate::fleet::{Counts, Proxy, Standing, Target};
use crate::operator::observe::{self, Definition};
use crate::operator::publish::{KeyState, Outcome};
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
}

/// The least patch level that is advised of each minor version of etcd; `docs/promises.md` says why.
const ADVISED: [(u64, u64, u64); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

const MEBIBYTE: i64 = 1 << 20;
/// From here on a proxy's clock is worth a word.
const CLOCK_TOLERANCE_MS: u64 = 5_000;

const TRUE: &str = "True";
const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

/// The status that says `facts`. A condition keeps its time from `present` as long as it says the same.
#[must_use]
pub fn status(facts: &Facts<'_>, present: &DiagnosticsFleetStatus) -> DiagnosticsFleetStatus {
    let named = [
        ("EtcdReachable", etcd_reachable(facts)),
        ("KeyInSync", key_in_sync(facts)),
        ("LeaseSound", lease_sound(facts)),
        ("SpaceLeft", space_left(facts)),
        ("VersionAdvised", version_advised(facts)),
        ("ClocksAgree", clocks_agree(facts)),
        ("DefinitionCurrent", definition_current(facts)),
        ("ProxiesCurrent", proxies_current(facts)),
    ];
    // Only what keeps directives from being published makes the whole not ready: the rest is advice, or the proxies'.
    let gates = ["EtcdReachable", "KeyInSync"];
    let broken = named
        .iter()
        .find(|(type_, answer)| gates.contains(type_) && answer.status != TRUE);
    let ready = match broken {
        Some((_, answer)) => Answer { ..answer.clone() },
        None => Answer::new(TRUE, "InSync", "The key says what the directives say"),
    };
    let conditions = named.into_iter().chain([("Ready", ready)]);
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
            .and_then(|stored| stored.publication())
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
        conditions: conditions
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

#[derive(Clone)]
struct Answer {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Answer {
    fn new(status: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

fn etcd_reachable(facts: &Facts<'_>) -> Answer {
    match facts.seen {
        Ok(_) => Answer::new(TRUE, "Reachable", "etcd answers"),
        Err(Fault::NotSent) => Answer::new(UNKNOWN, "Pending", "etcd has not been asked yet"),
        Err(fault) => Answer::new(
            FALSE,
            "EtcdUnavailable",
            format!("etcd cannot be used: {fault}. Proxies keep what they have until it ends"),
        ),
    }
}

fn key_in_sync(facts: &Facts<'_>) -> Answer {
    let settled = match (facts.settled, facts.unseen, facts.seen) {
        (_, Some(unseen), _) => {
            let message = format!("The directives cannot be read: {}", unseen.slug());
            return Answer::new(FALSE, "DirectivesUnseen", message);
        }
        (None, _, Err(_)) => {
            return Answer::new(
                UNKNOWN,
                "EtcdUnavailable",
                "Nobody can say what stands at the key",
            );
        }
        (None, _, Ok(_)) => return Answer::new(UNKNOWN, "Pending", "Not compared yet"),
        (Some(settled), _, _) => settled,
    };
    match settled.outcome {
        Outcome::InSync { .. } => {
            Answer::new(TRUE, "InSync", "The key says what the directives say")
        }
        Outcome::Held(held) => Answer::new(
            FALSE,
            held.condition_reason(),
            held_message(held.condition_reason()),
        ),
    }
}

fn held_message(reason: &str) -> &'static str {
    match reason {
        "Paused" => {
            "A person paused the publishing with the key `<directives key>/paused`. Delete that key to go on"
        }
        "ForeignValue" => {
            "The key holds a document that this release did not write. Look at it with `osproxy-directives import`, then take \
             the key over with `osproxy-directives adopt`"
        }
        "NoSpace" => {
            "etcd's storage is full and refuses the document. Compact and defragment etcd, then disarm its alarm"
        }
        "DocumentFull" => {
            "etcd refuses the document as too large. Delete or suspend directives, or raise etcd's --max-request-bytes"
        }
        _ => {
            "The document could not be written. The operator keeps trying; proxies keep what they have until it ends"
        }
    }
}

fn lease_sound(facts: &Facts<'_>) -> Answer {
    let Ok(state) = facts.seen else {
        return Answer::new(UNKNOWN, "EtcdUnavailable", "The document cannot be seen");
    };
    match &state.document {
        None => Answer::new(
            TRUE,
            "NoDocument",
            "There is no document, and so none that could stay for ever",
        ),
        Some(stored) if stored.publication().is_some() => Answer::new(
            TRUE,
            "OnItsLease",
            "The document hangs on the lease of its publication, and goes with its last directive",
        ),
        Some(_) => Answer::new(
            FALSE,
            "NotOnALease",
            "The document does not hang on the lease of a publication: somebody else wrote it. The leader puts it right where the key is its own",
        ),
    }
}

fn space_left(facts: &Facts<'_>) -> Answer {
    let told: Vec<&Server> = facts.servers.iter().flatten().collect();
    if told.iter().any(|server| server.is_full) {
        return Answer::new(
            FALSE,
            "NoSpace",
            "etcd's storage is full, and it refuses to write. Compact and defragment it, then disarm its alarm",
        );
    }
    let shares = told.iter().filter_map(|server| {
        let quota = server.quota_bytes.filter(|quota| *quota > 0)?;
        Some(server.database_bytes.saturating_mul(100) / quota)
    });
    match shares.max() {
        Some(percent) if percent >= 80 => Answer::new(
            FALSE,
            "AlmostFull",
            "More than four fifths of etcd's room are taken. Compact and defragment it, or raise its --quota-backend-bytes",
        ),
        Some(_) => Answer::new(TRUE, "Enough", "etcd has room"),
        None => Answer::new(
            UNKNOWN,
            "NotTold",
            "etcd does not tell how much room it has: that is new in 3.6",
        ),
    }
}

fn version_advised(facts: &Facts<'_>) -> Answer {
    let mut told = facts.servers.iter().flatten().peekable();
    if told.peek().is_none() {
        return Answer::new(UNKNOWN, "NotTold", "etcd does not tell its version");
    }
    let mut old: Vec<&str> = told
        .map(|server| server.version.as_str())
        .filter(|version| !is_advised(version))
        .collect();
    old.sort_unstable();
    old.dedup();
    if old.is_empty() {
        return Answer::new(
            TRUE,
            "Advised",
            "Every etcd server is of a version that is advised",
        );
    }
    let least: Vec<String> = ADVISED.map(|(a, b, c)| format!("{a}.{b}.{c}")).to_vec();
    Answer::new(
        FALSE,
        "Outdated",
        format!(
            "etcd {} has known faults: upgrade it to {} at least",
            old.join(", "),
            least.join(", ")
        ),
    )
}

fn is_advised(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let newest = ADVISED
        .last()
        .is_some_and(|(a, b, _)| (major, minor) > (*a, *b));
    newest
        || ADVISED
            .iter()
            .any(|(a, b, c)| (major, minor) == (*a, *b) && patch >= *c)
}

fn clocks_agree(facts: &Facts<'_>) -> Answer {
    if let Some(secs) = facts.clock_ahead_secs {
        let (by, side) = (
            secs.unsigned_abs(),
            if secs > 0 { "ahead of" } else { "behind" },
        );
        return Answer::new(
            FALSE,
            "OperatorsClock",
            format!("The operator's clock is {by} s {side} the API server's: set both by NTP"),
        );
    }
    let worst = facts
        .fleet
        .map(|fleet| fleet.worst.as_slice())
        .unwrap_or_default();
    let off = worst.iter().find(|proxy| {
        let ahead = proxy
            .record
            .as_ref()
            .ok()
            .and_then(|record| record.clock_ahead_ms);
        ahead.is_some_and(|ahead| ahead.unsigned_abs() > CLOCK_TOLERANCE_MS)
    });
    match off {
        Some(proxy) => Answer::new(
            FALSE,
            "ProxysClock",
            format!(
                "The clock of proxy {} is off by more than 5 s: set it by NTP",
                proxy.instance
            ),
        ),
        None => Answer::new(TRUE, "Agree", "The clocks agree"),
    }
}

fn definition_current(facts: &Facts<'_>) -> Answer {
    match facts.definition {
        Definition::Current => Answer::new(
            TRUE,
            "Current",
            "The CRD has everything that this operator knows",
        ),
        Definition::Older => Answer::new(
            FALSE,
            "Older",
            "The CRD lacks something that this operator knows: apply the one of its release",
        ),
        Definition::Prunes => Answer::new(
            FALSE,
            "Prunes",
            "The CRD drops what it does not know, so that nothing is published: apply the one of the operator's release",
        ),
        Definition::Unknown => {
            Answer::new(UNKNOWN, "Forbidden", "The operator may not look at the CRD")
        }
    }
}

fn proxies_current(facts: &Facts<'_>) -> Answer {
    let Some(fleet) = facts.fleet.filter(|fleet| fleet.counts.reporting > 0) else {
        return Answer::new(UNKNOWN, "NoProxiesReporting", "No proxy reports");
    };
    let Counts {
        reporting,
        applied,
        rejecting,
        ..
    } = fleet.counts;
    let first = fleet
        .worst
        .first()
        .map_or("", |proxy| proxy.instance.as_str());
    if rejecting > 0 {
        Answer::new(
            FALSE,
            "ProxiesRejecting",
            format!("{rejecting} of {reporting} proxies refuse the document, such as {first}"),
        )
    } else if applied < reporting {
        let behind = reporting - applied;
        Answer::new(
            FALSE,
            "ProxiesLagging",
            format!("{behind} of {reporting} proxies are not current, such as {first}"),
        )
    } else {
        Answer::new(TRUE, "Current", "Every proxy that reports is current")
    }
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

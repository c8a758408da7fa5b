//! What holds and what does not: the conditions of the `DiagnosticsFleet`; pure.

use super::reason::{FALSE, FleetReason, TRUE};
use super::report::{Facts, Server};
use crate::etcd::Fault;
use crate::fleet::Counts;
use crate::operator::observe::Definition;
use crate::operator::publish::owner::Owner;
use crate::operator::publish::{KeyState, Outcome};
use crate::operator::report::held_message;

/// The least patch level that is advised of each minor version of etcd; `docs/promises.md` says why.
const ADVISED: [(u64, u64, u64); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

/// Every condition by its type, the summary last.
pub(super) fn conditions(facts: &Facts<'_>) -> Vec<(&'static str, Answer)> {
    let named = [
        etcd_reachable(facts),
        key_in_sync(facts),
        lease_sound(facts),
        space_left(facts),
        version_advised(facts),
        clocks_agree(facts),
        definition_current(facts),
        proxies_current(facts),
    ]
    .map(|answer| (answer.type_, answer));
    // Only what keeps directives from being published makes the whole not ready: the rest is advice, or the proxies'.
    let gates = [FleetReason::Reachable, FleetReason::InSync].map(FleetReason::condition);
    let broken = named
        .iter()
        .find(|(type_, answer)| gates.contains(type_) && answer.status != TRUE);
    let ready = match broken {
        Some((_, answer)) => Answer { ..answer.clone() },
        None => Answer::new(FleetReason::InSync, "The key says what the directives say"),
    };
    named.into_iter().chain([("Ready", ready)]).collect()
}

/// Whether something holds, why, and the same for people.
#[derive(Clone)]
pub(super) struct Answer {
    type_: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Answer {
    fn new(reason: FleetReason, message: impl Into<String>) -> Self {
        Self {
            type_: reason.condition(),
            status: reason.status(),
            reason: reason.word(),
            message: message.into(),
        }
    }
}

fn etcd_reachable(facts: &Facts<'_>) -> Answer {
    match facts.seen {
        Ok(_) => Answer::new(FleetReason::Reachable, "etcd answers"),
        Err(Fault::NotSent) => Answer::new(FleetReason::NotAsked, "etcd has not been asked yet"),
        Err(fault) => Answer::new(
            FleetReason::Unreachable,
            format!("etcd cannot be used: {fault}. Proxies keep what they have until it ends"),
        ),
    }
}

fn key_in_sync(facts: &Facts<'_>) -> Answer {
    let settled = match (facts.settled, facts.unseen, facts.seen) {
        (_, Some(unseen), _) => {
            let message = format!("The directives cannot be read: {}", unseen.slug());
            return Answer::new(FleetReason::DirectivesUnseen, message);
        }
        (None, _, Err(_)) => {
            return Answer::new(
                FleetReason::KeyUnseen,
                "Nobody can say what stands at the key",
            );
        }
        (None, _, Ok(state)) => return nobody_compares(state, facts.release),
        (Some(settled), _, _) => settled,
    };
    match settled.outcome {
        Outcome::InSync { .. } => {
            Answer::new(FleetReason::InSync, "The key says what the directives say")
        }
        Outcome::Held(held) => Answer {
            type_: FleetReason::InSync.condition(),
            status: FALSE,
            reason: held.condition_reason(),
            message: held_message(held, facts.keys),
        },
    }
}

/// Nobody leads here: perhaps because the key is not ours.
fn nobody_compares(state: &KeyState, release: &str) -> Answer {
    let stored = state.owner.as_ref();
    match stored.map(|stored| serde_json::from_slice::<Owner>(&stored.value)) {
        Some(Ok(owner)) if owner.release != release => Answer::new(
            FleetReason::OwnedByAnother,
            "Another release owns the key. Give this one another key, or take this key over with `osproxy-directives adopt`",
        ),
        Some(Err(_)) => Answer::new(
            FleetReason::OwnerUnreadable,
            "It cannot be read who owns the key. Take it over with `osproxy-directives adopt`",
        ),
        _ => Answer::new(FleetReason::NotCompared, "Not compared yet"),
    }
}

fn lease_sound(facts: &Facts<'_>) -> Answer {
    let Ok(state) = facts.seen else {
        return Answer::new(FleetReason::LeaseUnseen, "The document cannot be seen");
    };
    match &state.document {
        None => Answer::new(
            FleetReason::NoDocument,
            "There is no document, and so none that could stay for ever",
        ),
        Some(stored) if stored.publication().is_some() => Answer::new(
            FleetReason::OnItsLease,
            "The document hangs on the lease of its publication, and goes with its last directive",
        ),
        Some(_) => Answer::new(
            FleetReason::NotOnALease,
            "The document does not hang on the lease of a publication: somebody else wrote it. The leader puts it right where the key is its own",
        ),
    }
}

fn space_left(facts: &Facts<'_>) -> Answer {
    let told: Vec<&Server> = facts.servers.iter().flatten().collect();
    if told.iter().any(|server| server.is_full) {
        return Answer::new(
            FleetReason::NoSpace,
            "etcd's storage is full, and it refuses to write. Compact and defragment it, then disarm its alarm",
        );
    }
    let shares = told.iter().filter_map(|server| {
        let quota = server.quota_bytes.filter(|quota| *quota > 0)?;
        Some(server.database_bytes.saturating_mul(100) / quota)
    });
    match shares.max() {
        Some(percent) if percent >= 80 => Answer::new(
            FleetReason::AlmostFull,
            "More than four fifths of etcd's room are taken. Compact and defragment it, or raise its --quota-backend-bytes",
        ),
        Some(_) => Answer::new(FleetReason::Enough, "etcd has room"),
        None => Answer::new(
            FleetReason::RoomNotTold,
            "etcd does not tell how much room it has: that is new in 3.6",
        ),
    }
}

fn version_advised(facts: &Facts<'_>) -> Answer {
    let mut told = facts.servers.iter().flatten().peekable();
    if told.peek().is_none() {
        return Answer::new(
            FleetReason::VersionNotTold,
            "etcd does not tell its version",
        );
    }
    let mut old: Vec<&str> = told
        .map(|server| server.version.as_str())
        .filter(|version| !is_advised(version))
        .collect();
    old.sort_unstable();
    old.dedup();
    if old.is_empty() {
        return Answer::new(
            FleetReason::Advised,
            "Every etcd server is of a version that is advised",
        );
    }
    let least: Vec<String> = ADVISED.map(|(a, b, c)| format!("{a}.{b}.{c}")).to_vec();
    Answer::new(
        FleetReason::Outdated,
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
            FleetReason::OperatorsClock,
            format!("The operator's clock is {by} s {side} the API server's: set both by NTP"),
        );
    }
    match facts.fleet.and_then(|fleet| fleet.off_clock.as_deref()) {
        Some(instance) => Answer::new(
            FleetReason::ProxysClock,
            format!("The clock of proxy {instance} is off by more than 5 s: set it by NTP"),
        ),
        None => Answer::new(FleetReason::Agree, "The clocks agree"),
    }
}

fn definition_current(facts: &Facts<'_>) -> Answer {
    match facts.definition {
        Definition::Current => Answer::new(
            FleetReason::DefinitionCurrent,
            "The CRD has everything that this operator knows",
        ),
        Definition::Older => Answer::new(
            FleetReason::DefinitionOlder,
            "The CRD lacks something that this operator knows: apply the one of its release",
        ),
        Definition::Prunes => Answer::new(
            FleetReason::DefinitionPrunes,
            "The CRD drops what it does not know, so that nothing is published: apply the one of the operator's release",
        ),
        Definition::Unknown => Answer::new(
            FleetReason::DefinitionUnseen,
            "The operator may not look at the CRD",
        ),
    }
}

fn proxies_current(facts: &Facts<'_>) -> Answer {
    let Some(fleet) = facts.fleet.filter(|fleet| fleet.counts.reporting > 0) else {
        return Answer::new(FleetReason::NoProxiesReporting, "No proxy reports");
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
            FleetReason::ProxiesRejecting,
            format!("{rejecting} of {reporting} proxies refuse the document, such as {first}"),
        )
    } else if applied < reporting && fleet.is_in_time {
        Answer::new(
            FleetReason::ProxiesInTime,
            format!(
                "{applied} of {reporting} proxies have said that they are current; the others may still be in time"
            ),
        )
    } else if applied < reporting {
        let behind = reporting - applied;
        Answer::new(
            FleetReason::ProxiesLagging,
            format!("{behind} of {reporting} proxies are not current, such as {first}"),
        )
    } else {
        Answer::new(
            FleetReason::ProxiesCurrent,
            "Every proxy that reports is current",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_advised_from_the_patch_that_mends_it() {
        for (version, advised) in [
            ("3.5.33", true),
            ("3.5.32", false),
            ("3.6.16", true),
            ("3.4.45", false),
            ("3.7.0", false),
            ("3.8.0", true),
            ("4.0.0", true),
            ("3.7.1-rc.0", true),
            ("", false),
            ("main", false),
        ] {
            assert_eq!(is_advised(version), advised, "{version}");
        }
    }
}

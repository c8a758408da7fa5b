//! What holds and what does not: the conditions of the `DiagnosticsFleet`; pure.

use super::report::{Facts, Server};
use crate::etcd::Fault;
use crate::fleet::Counts;
use crate::operator::observe::Definition;
use crate::operator::publish::owner::Owner;
use crate::operator::publish::{KeyState, Outcome};
use crate::operator::report::held_message;

/// The least patch level that is advised of each minor version of etcd; `docs/promises.md` says why.
const ADVISED: [(u64, u64, u64); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

const TRUE: &str = "True";
const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

/// Every condition by its type, the summary last.
pub(super) fn conditions(facts: &Facts<'_>) -> Vec<(&'static str, Answer)> {
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
    named.into_iter().chain([("Ready", ready)]).collect()
}

/// Whether something holds, why, and the same for people.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
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
        (None, _, Ok(state)) => return nobody_compares(state, facts.release),
        (Some(settled), _, _) => settled,
    };
    match settled.outcome {
        Outcome::InSync { .. } => {
            Answer::new(TRUE, "InSync", "The key says what the directives say")
        }
        Outcome::Held(held) => Answer::new(FALSE, held.condition_reason(), held_message(held)),
    }
}

/// Nobody leads here: perhaps because the key is not ours.
fn nobody_compares(state: &KeyState, release: &str) -> Answer {
    let stored = state.owner.as_ref();
    match stored.map(|stored| serde_json::from_slice::<Owner>(&stored.value)) {
        Some(Ok(owner)) if owner.release != release => Answer::new(
            FALSE,
            "OwnedByAnother",
            "Another release owns the key. Give this one another key, or take this key over with `osproxy-directives adopt`",
        ),
        Some(Err(_)) => Answer::new(
            FALSE,
            "OwnerUnreadable",
            "It cannot be read who owns the key. Take it over with `osproxy-directives adopt`",
        ),
        _ => Answer::new(UNKNOWN, "Pending", "Not compared yet"),
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
    match facts.fleet.and_then(|fleet| fleet.off_clock.as_deref()) {
        Some(instance) => Answer::new(
            FALSE,
            "ProxysClock",
            format!("The clock of proxy {instance} is off by more than 5 s: set it by NTP"),
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

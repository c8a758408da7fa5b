//! `osproxy-directives wait`: until every proxy that reports has a directive.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::exit::{self, Failure};
use super::kube::{Cluster, KubeArguments, block_on, duration};
use super::standing::{Seen, Standing, Told, judge};
use super::terminal::{say, tell};
use crate::operator::report::rfc3339;

/// Wait until every proxy that reports has a directive.
///
/// Where no proxy reports, until it is published, and says so. Ends at once with 1 where the directive is refused, by the operator or by a
/// proxy. Writes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The directive's name.
    name: String,

    #[command(flatten)]
    bound: Bound,

    #[command(flatten)]
    kube: KubeArguments,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Bound {
    /// The longest to wait.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(async {
        let cluster = arguments.kube.cluster().await?;
        let namespace = cluster.namespace.clone();
        let answer = wait(&cluster, &namespace, &arguments.name, arguments.bound).await?;
        tell(&answer)?;
        Ok(exit::YES)
    })
}

/// How often the object is looked at: soon at first, and not so often when it takes long.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Waits until the directive stands as its author wants it to, with progress on standard error, and returns the sentence that says so.
///
/// # Errors
/// Where it is refused, has ended, or the time runs out.
pub(super) async fn wait(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    bound: Bound,
) -> Result<String, Failure> {
    wait_for(answer, cluster, namespace, name, bound).await
}

/// The same for whoever wants it to be off: what is refused or has ended is.
///
/// # Errors
/// Where a proxy refuses the document without it, or the time runs out.
pub(super) async fn wait_off(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    bound: Bound,
) -> Result<String, Failure> {
    wait_for(answer_off, cluster, namespace, name, bound).await
}

async fn wait_for(
    answer: impl Fn(&Value, u64) -> Answer,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    bound: Bound,
) -> Result<String, Failure> {
    let directives = cluster.directives(Some(namespace));
    let mut said = String::new();
    let mut pause = FIRST_LOOK;
    let look = async {
        loop {
            let what = format!("read {namespace}/{name}");
            let object = cluster.ask(&what, directives.get(name)).await?;
            let object = serde_json::to_value(&object).unwrap_or_default();
            match answer(&object, cluster.now_secs()) {
                Answer::Yes(sentence) => return Ok(sentence),
                Answer::No(sentence) => return Err(Failure::no(sentence)),
                Answer::NotYet(sentence) => {
                    if said != sentence {
                        say(&sentence);
                        said = sentence;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN);
        }
    };
    match tokio::time::timeout(bound.timeout, look).await {
        Ok(answer) => answer,
        // How it stands was the last thing said.
        Err(_) => Err(Failure::not_yet(if said.is_empty() {
            format!(
                "no answer about {namespace}/{name} within {:?}",
                bound.timeout
            )
        } else {
            format!(
                "gave up waiting for {namespace}/{name} after {:?}",
                bound.timeout
            )
        })
        .hint(
            "`status` shows how it stands, and `check` what may be wrong; --timeout waits longer",
        )),
    }
}

/// What an object says to whoever waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Yes(String),
    No(String),
    NotYet(String),
}

fn answer_off(object: &Value, now_secs: u64) -> Answer {
    match (judge(object, now_secs), answer(object, now_secs)) {
        (Some(seen), Answer::No(_)) if seen.standing == Standing::Ended => {
            let end = seen.window.map(|(_, end)| rfc3339(end)).unwrap_or_default();
            let id = format!("{}/{}", seen.namespace, seen.name);
            Answer::Yes(format!("{id} is off: it has ended, at {end}"))
        }
        (Some(seen), Answer::No(sentence)) if seen.standing == Standing::Refused => {
            Answer::Yes(format!("{sentence}. So it was never on"))
        }
        (_, answer) => answer,
    }
}

fn answer(object: &Value, now_secs: u64) -> Answer {
    let Some(seen) = judge(object, now_secs) else {
        return Answer::No("It is being deleted".to_owned());
    };
    let Seen {
        namespace,
        name,
        standing,
        window,
        proxies,
        applied,
        why,
        ..
    } = seen;
    let id = format!("{namespace}/{name}");
    let (reason, message) = why.unwrap_or_default();
    let (start, end) = window
        .map(|(start, end)| (rfc3339(start), rfc3339(end)))
        .unwrap_or_default();
    match standing {
        Standing::Refused => Answer::No(format!("{id} is refused ({reason}): {message}")),
        Standing::Ended => Answer::No(format!(
            "{id} has ended, at {end}. `extend` makes it last longer from now on"
        )),
        Standing::Pending => Answer::NotYet(format!("{id} is pending ({reason}): {message}")),
        Standing::Scheduled => Answer::Yes(format!("{id} is scheduled: it starts at {start}")),
        Standing::On | Standing::Suspended => {
            let is_on = standing == Standing::On;
            let is = if is_on {
                format!("{id} is on until {end}")
            } else {
                format!("{id} is suspended")
            };
            match proxies {
                Told::Applied if is_on => {
                    let count = applied.map(|n| format!(" ({n})")).unwrap_or_default();
                    Answer::Yes(format!("{is}: every proxy that reports has it{count}"))
                }
                Told::Applied => {
                    Answer::Yes(format!("{is}: every proxy that reports has dropped it"))
                }
                Told::NobodyReports | Told::Nothing if is_on => Answer::Yes(format!(
                    "{is}: published, but no proxy reports, so nobody knows which of them have it"
                )),
                Told::NobodyReports => Answer::Yes(format!(
                    "{is}: it is in no document, but no proxy reports, so nobody knows which of them have dropped it"
                )),
                Told::Nothing => Answer::Yes(format!("{is}: it is in no document")),
                Told::Rejecting(reason, message) => {
                    Answer::No(format!("{id} is refused by a proxy ({reason}): {message}"))
                }
                Told::Behind(reason, message) => {
                    let how = if is_on { "published" } else { "suspended" };
                    Answer::NotYet(format!("{id} is {how} ({reason}): {message}"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CREATED: u64 = 1_795_356_000;

    fn told(status: &Value, at: u64) -> Answer {
        let object = json!({
            "metadata": {"namespace": "ns", "name": "a", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-22T14:00:00Z"},
            "spec": {"allRequests": true, "level": "Shape", "samplePerMille": 50, "ttl": "30m"},
            "status": status,
        });
        answer(&object, CREATED + at)
    }

    fn status(published: &str, applied: (&str, &str)) -> Value {
        json!({"observedGeneration": 1, "applied": "4/4", "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Valid", "message": ""},
            {"type": "Published", "status": published, "reason": "R", "message": "m"},
            {"type": "Applied", "status": applied.0, "reason": applied.1, "message": "edge-1 is behind"},
        ]})
    }

    #[test]
    fn it_waits_for_every_proxy_that_reports_and_not_for_what_none_can_say() {
        let yes =
            |text: &str| Answer::Yes(format!("ns/a is on until 2026-11-22T14:30:00Z: {text}"));
        assert_eq!(
            told(&status("True", ("True", "Applied")), 0),
            yes("every proxy that reports has it (4/4)")
        );
        assert_eq!(
            told(&status("True", ("Unknown", "NoProxiesReporting")), 0),
            yes("published, but no proxy reports, so nobody knows which of them have it")
        );
        assert_eq!(
            told(&status("True", ("False", "ProxiesLagging")), 0),
            Answer::NotYet("ns/a is published (ProxiesLagging): edge-1 is behind".into())
        );
        assert_eq!(
            told(&status("False", ("Unknown", "Pending")), 0),
            Answer::NotYet("ns/a is pending (R): m".into())
        );
        assert!(matches!(told(&Value::Null, 0), Answer::NotYet(_)));
    }

    #[test]
    fn a_refusal_by_anybody_is_a_no_at_once() {
        let refused = told(&status("True", ("False", "ProxiesRejecting")), 0);
        assert!(matches!(refused, Answer::No(_)), "{refused:?}");
        let mut status = status("False", ("Unknown", "Pending"));
        status["conditions"][0]["status"] = "False".into();
        let refused = told(&status, 0);
        assert!(matches!(refused, Answer::No(_)), "{refused:?}");
    }

    #[test]
    fn whoever_wants_it_off_has_what_he_wants_where_it_is_refused_or_has_ended() {
        let off = |status: &Value, suspend: bool, at: u64| {
            let object = json!({
                "metadata": {"namespace": "ns", "name": "a", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-22T14:00:00Z"},
                "spec": {"allRequests": true, "level": "Shape", "samplePerMille": 50, "ttl": "30m", "suspend": suspend},
                "status": status,
            });
            answer_off(&object, CREATED + at)
        };
        let lagging = status("True", ("False", "ProxiesLagging"));
        assert_eq!(
            off(&lagging, true, 0),
            Answer::NotYet("ns/a is suspended (ProxiesLagging): edge-1 is behind".into())
        );
        assert_eq!(
            off(&lagging, true, 1_800),
            Answer::Yes("ns/a is off: it has ended, at 2026-11-22T14:30:00Z".into())
        );
        let mut refused = status("False", ("Unknown", "Pending"));
        refused["conditions"][0] =
            json!({"type": "Accepted", "status": "False", "reason": "R", "message": "m"});
        assert_eq!(
            off(&refused, true, 0),
            Answer::Yes("ns/a is refused (R): m. So it was never on".into())
        );
        // A proxy that refuses the document without it still has it on.
        let rejecting = status("True", ("False", "ProxiesRejecting"));
        assert!(matches!(off(&rejecting, true, 0), Answer::No(_)));
    }

    #[test]
    fn what_has_ended_is_not_waited_for() {
        let ended = told(&status("True", ("True", "Applied")), 1_800);
        assert!(
            matches!(ended, Answer::No(text) if text.contains("has ended, at 2026-11-22T14:30:00Z"))
        );
    }
}

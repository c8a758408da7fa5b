//! `osproxy-directives extend`: makes a directive last longer.

use std::time::Duration;

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::kube::{KubeArguments, block_on, duration};
use super::terminal::{say, tell};
use super::wait::{Bound, wait};
use crate::operator::observe::{Projected, Resource, project};
use crate::operator::report::rfc3339;
use crate::resource::vocabulary::MAX_TTL_SECS;
use crate::resource::{Phase, format_duration};

/// Make a directive last longer, counted from now.
///
/// Now is the API server's now, not this machine's. It sets spec.ttl, which counts from the directive's start, and never makes
/// it smaller.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The directive's name.
    name: String,

    /// How long it shall be on from now, such as 30m.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Duration,

    #[command(flatten)]
    bound: Bound,

    #[command(flatten)]
    kube: KubeArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(extend(arguments))
}

/// How often somebody else may change the resource in between.
const TRIES: usize = 5;

async fn extend(arguments: &Arguments) -> Result<u8, Failure> {
    let cluster = arguments.kube.cluster().await?;
    let (namespace, name) = (cluster.namespace.clone(), &arguments.name);
    let directives = cluster.directives(Some(&namespace));
    for _ in 0..TRIES {
        let read = directives.get(name);
        let object = cluster
            .ask(&format!("read {namespace}/{name}"), read)
            .await?;
        let object = serde_json::to_value(&object).unwrap_or_default();
        let (ttl, was_over) = match longer(&object, arguments.lasting, cluster.now_secs())? {
            Longer::Already(end) => {
                tell(&format!("{namespace}/{name} lasts until {end} as it is"))?;
                return Ok(exit::YES);
            }
            Longer::By { ttl, was_over } => (ttl, was_over),
        };
        let version = object["metadata"]["resourceVersion"].clone();
        let change = json!({ "metadata": { "resourceVersion": version }, "spec": { "ttl": ttl } });
        let params = PatchParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = async {
            match directives
                .patch(name, &params, &Patch::Merge(&change))
                .await
            {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
                Err(error) => Err(error),
            }
        };
        if !cluster
            .ask(&format!("extend {namespace}/{name}"), patch)
            .await?
        {
            continue;
        }
        if was_over {
            say(&format!("{namespace}/{name} had ended, and is on again"));
        }
        let sentence = wait(&cluster, &namespace, name, arguments.bound).await?;
        tell(&sentence)?;
        return Ok(exit::YES);
    }
    Err(Failure::no(format!(
        "{namespace}/{name} is changed by somebody else again and again"
    ))
    .hint("see who that is, and try again"))
}

const CONFLICT: u16 = 409;

/// What it takes for a directive to last until then.
#[derive(Debug, PartialEq, Eq)]
enum Longer {
    /// Nothing: it lasts until this time as it is.
    Already(String),
    /// Another `ttl`.
    By { ttl: String, was_over: bool },
}

/// How `object` is made to last for `lasting` from `now_secs` on.
fn longer(object: &Value, lasting: Duration, now_secs: u64) -> Result<Longer, Failure> {
    let Projected::Present(resource) = project(object.clone()) else {
        return Err(Failure::no("it is being deleted"));
    };
    let Resource { id, directive, .. } = *resource;
    let directive = directive.map_err(|refusal| {
        Failure::no(format!("{id} is refused, and so never on: {refusal}"))
            .hint("apply it corrected under another name")
    })?;
    let window = directive.window;
    let end_secs = now_secs.saturating_add(lasting.as_secs());
    if end_secs <= window.end_secs {
        return Ok(Longer::Already(rfc3339(window.end_secs)));
    }
    // A start within a second is rounded up, so that this end may be the later one by less than a second.
    let ttl_secs = end_secs.saturating_sub(window.start);
    if ttl_secs > MAX_TTL_SECS {
        return Err(Failure::no(format!(
            "{id} would last {} from its start at {}, and {} is the longest that a directive may",
            format_duration(ttl_secs),
            rfc3339(window.start),
            format_duration(MAX_TTL_SECS)
        ))
        .hint("switch another one on with `on`"));
    }
    Ok(Longer::By {
        ttl: format_duration(ttl_secs),
        was_over: window.phase(now_secs) == Phase::Expired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: u64 = 1_795_356_000;

    fn object(ttl: &str) -> Value {
        json!({
            "metadata": {"namespace": "ns", "name": "a", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-22T14:00:00Z"},
            "spec": {"allRequests": true, "level": "Shape", "samplePerMille": 50, "ttl": ttl},
        })
    }

    fn by(ttl: &str, was_over: bool) -> Longer {
        Longer::By {
            ttl: ttl.to_owned(),
            was_over,
        }
    }

    #[test]
    fn it_counts_from_now_and_not_from_the_start() {
        let half_an_hour = Duration::from_mins(30);
        let object = object("30m");
        assert_eq!(
            longer(&object, half_an_hour, CREATED + 600).unwrap(),
            by("40m", false)
        );
        assert_eq!(
            longer(&object, half_an_hour, CREATED + 7_201).unwrap(),
            by("2h30m1s", true)
        );
    }

    #[test]
    fn it_never_makes_a_directive_shorter() {
        let end = "2026-11-22T15:00:00Z".to_owned();
        for lasting in [1, 10, 59] {
            let same = longer(&object("1h"), Duration::from_mins(lasting), CREATED + 60).unwrap();
            assert_eq!(same, Longer::Already(end.clone()));
        }
    }

    #[test]
    fn it_stays_within_the_bounds_of_the_resource() {
        let day = Duration::from_hours(24);
        let six_days = CREATED + 144 * 3_600;
        assert_eq!(
            longer(&object("1h"), day, six_days).unwrap(),
            by("168h", true)
        );
        let refused = longer(&object("1h"), day, six_days + 1).unwrap_err();
        assert!(
            refused.to_string().contains("168h is the longest"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_refused_is_not_extended() {
        let mut refused = object("30m");
        refused["spec"]["supend"] = true.into();
        assert!(longer(&refused, Duration::from_mins(30), CREATED).is_err());
    }
}

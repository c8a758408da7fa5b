//! `osproxy-directives on`: switches a directive on.

use std::io::{self, Write as _};

use clap::Args;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::exit::{self, Failure};
use super::kube::{KubeArguments, block_on};
use super::terminal::{say, tell};
use super::wait::{Bound, wait};
use crate::resource::vocabulary::{ENDPOINTS, LEVELS};
use crate::resource::{format_duration, parse, parse_duration_millis, parse_sample};

/// Switch a directive on: apply a new resource, and wait until the proxies have it.
///
/// It is a resource like any other: `status` shows it, `extend` and `off` change it, and it ends by itself after --ttl.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The directive's name; by default one is made of your own.
    name: Option<String>,

    /// How verbosely requests are recorded.
    #[arg(long, value_parser = LEVELS, default_value = "Off")]
    level: String,

    /// The share of the requests that is recorded, such as 5% or 0.5%.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: u16,

    /// How long it is on, from 5s to 168h, such as 30m or 1h30m.
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    ttl: String,

    /// Why, for whoever comes on shift. Do not name a tenant here whom the target does not name.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    /// Also keep the requests in each proxy's own ring buffer.
    #[arg(long)]
    ring_buffer: bool,

    /// Also capture the traffic, bodies included, where the proxies have a sink for it.
    #[arg(long)]
    capture: bool,

    /// Print the resource as YAML and apply nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    bound: Bound,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    kube: KubeArguments,
}

/// Which requests. Everything that is given must hold.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "Target")]
struct Target {
    /// Requests of this tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Requests for this index.
    #[arg(long, value_name = "NAME")]
    index: Option<String>,

    /// Requests by this principal.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,

    /// Requests of this class.
    #[arg(long, value_name = "CLASS", value_parser = ENDPOINTS)]
    endpoint: Option<String>,

    /// Every request of every tenant.
    #[arg(long, conflicts_with_all = ["tenant", "index", "principal", "endpoint"])]
    all_requests: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(switch_on(arguments))
}

async fn switch_on(arguments: &Arguments) -> Result<u8, Failure> {
    let cluster = arguments.kube.cluster().await?;
    let namespace = cluster.namespace.clone();
    let user = cluster.user().await?;
    let manifest = manifest(arguments, &namespace, &user);
    let now_secs = cluster.now_secs();
    let name = arguments.name.as_deref().unwrap_or("made-up");
    parse(&namespace, name, now_secs, &manifest["spec"])
        .map_err(|refusal| Failure::no(format!("the operator would refuse this: {refusal}")))?;
    if arguments.dry_run {
        let yaml = serde_saphyr::to_string(&manifest);
        let yaml = yaml.map_err(|error| Failure::cannot(format!("cannot print YAML: {error}")))?;
        io::stdout()
            .lock()
            .write_all(format!("{}\n", yaml.trim_end()).as_bytes())?;
        return Ok(exit::YES);
    }
    let object: DynamicObject = serde_json::from_value(manifest)
        .map_err(|error| Failure::cannot(format!("cannot make the resource: {error}")))?;
    let params = PostParams {
        field_manager: Some(super::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let directives = cluster.directives(Some(&namespace));
    let create = directives.create(&params, &object);
    let made = cluster
        .ask("switch it on", create)
        .await
        .map_err(|failure| {
            if !failure.exists {
                return failure;
            }
            failure.hint("`extend` makes that one last longer; a new one takes another name")
        })?;
    let name = made.metadata.name.unwrap_or_default();
    say(&format!(
        "{namespace}/{name} is applied; `off {name} -n {namespace}` takes it off again"
    ));
    let sentence = wait(&cluster, &namespace, &name, arguments.bound).await?;
    tell(&sentence)?;
    Ok(exit::YES)
}

fn manifest(arguments: &Arguments, namespace: &str, user: &str) -> Value {
    let Arguments {
        kube: _,
        name,
        target,
        level,
        sample,
        ttl,
        comment,
        ring_buffer,
        capture,
        dry_run: _,
        bound: _,
    } = arguments;
    let mut spec = Map::new();
    if target.all_requests {
        spec.insert("allRequests".into(), true.into());
    } else {
        spec.insert("match".into(), target.items());
    }
    spec.insert("level".into(), level.as_str().into());
    spec.insert("samplePerMille".into(), (*sample).into());
    spec.insert("ttl".into(), ttl.as_str().into());
    for (member, given) in [("ringBuffer", *ring_buffer), ("capture", *capture)] {
        if given {
            spec.insert(member.into(), true.into());
        }
    }
    spec.insert("createdBy".into(), user.into());
    if let Some(comment) = comment {
        spec.insert("comment".into(), comment.as_str().into());
    }
    let metadata = match name {
        Some(name) => json!({ "namespace": namespace, "name": name }),
        None => json!({ "namespace": namespace, "generateName": prefix(user) }),
    };
    json!({
        "apiVersion": "osproxy.io/v1alpha1",
        "kind": "DiagnosticsDirective",
        "metadata": metadata,
        "spec": spec,
    })
}

impl Target {
    fn items(&self) -> Value {
        let given = [
            ("tenant", &self.tenant),
            ("index", &self.index),
            ("principal", &self.principal),
            ("endpoint", &self.endpoint),
        ];
        given
            .into_iter()
            .filter_map(|(key, value)| Some(json!({ "key": key, "value": value.as_ref()? })))
            .collect()
    }
}

/// What a name made up for `user` begins with.
fn prefix(user: &str) -> String {
    let last = user.rsplit([':', '/']).next().unwrap_or_default();
    let last = last.split('@').next().unwrap_or_default();
    let name: String = last
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    match name.trim_matches('-') {
        "" => "on-".to_owned(),
        name => format!("{name}-"),
    }
}

fn share(text: &str) -> Result<u16, String> {
    parse_sample(text).ok_or_else(|| {
        "must be a share from 0% to 100% with at most one decimal, such as 5% or 0.5%".to_owned()
    })
}

/// Only its form: the bounds are the resource's own, and told in its words.
fn ttl(text: &str) -> Result<String, String> {
    parse_duration_millis(text).map(|_| text.to_owned()).ok_or_else(|| {
        format!(
            "must be a duration such as 30m or 1h30m (units h, m, s and ms, whole numbers), at most {}",
            format_duration(crate::resource::vocabulary::MAX_TTL_SECS)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_users() {
        for (user, expected) in [
            ("ana", "ana-"),
            ("ana.b@example.com", "ana-b-"),
            ("system:serviceaccount:ns:On_Call", "on-call-"),
            ("arn:aws:iam::1:user/Ana", "ana-"),
            ("::", "on-"),
            ("", "on-"),
        ] {
            assert_eq!(prefix(user), expected, "{user}");
        }
        assert_eq!(prefix(&"x".repeat(300)).len(), 41);
    }
}

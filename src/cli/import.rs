//! `osproxy-directives import`: prints the document at the key as resources.

use std::io::Write as _;

use clap::Args;
use osproxy_core::SystemClock;
use serde_json::{Map, Value, json};

use super::etcd::{EtcdArguments, unreadable};
use super::exit::{self, Failure};
use super::kube::block_on;
use crate::document::{Accepted, Moment, Publication, RelativeEntry, Selector};
use crate::operator::report::rfc3339;
use crate::resource::format_duration;

/// Print the document at the key as resources.
///
/// As `DiagnosticsDirective` resources, to be looked at, edited and applied, under the etcd revision that `adopt` asks for. Speaks to etcd
/// alone. Writes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// The namespace for directives whose id does not name one.
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    namespace: String,

    #[command(flatten)]
    etcd: EtcdArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(import(arguments))
}

async fn import(arguments: &Arguments) -> Result<u8, Failure> {
    let Arguments { etcd, namespace } = arguments;
    let store = etcd.store().await?;
    let read = store.read().await;
    let state = read.map_err(|fault| unreadable("read the key", fault))?;
    let key = &etcd.access.etcd_directives_key;
    let mut out = std::io::stdout().lock();
    let Some(document) = &state.document else {
        writeln!(
            out,
            "# {key} is absent at etcd revision {}; to adopt it: --revision 0",
            state.revision
        )?;
        return Ok(exit::YES);
    };
    let revision = document.mod_revision;
    let accepted = Accepted::from_bytes(&document.value).map_err(|refusal| {
        Failure::no(format!(
            "{key} at etcd revision {revision} holds {} bytes that are no document ({refusal}); no proxy with this project's store \
             applies them",
            document.value.len()
        ))
        .hint(format!("to discard them, take the key over: `adopt --revision {revision}`"))
    })?;
    writeln!(
        out,
        "# {key} at etcd revision {revision}; to adopt it: --revision {revision}"
    )?;
    let now_secs = Moment::now(&SystemClock).wall_secs();
    for relative in accepted.entries() {
        match manifest(relative, document.publication(), now_secs, namespace) {
            Some(manifest) => {
                let yaml = serde_saphyr::to_string(&manifest)
                    .map_err(|error| Failure::cannot(format!("cannot print YAML: {error}")))?;
                writeln!(out, "---\n{}", yaml.trim_end())?;
            }
            None => writeln!(out, "---\n# {:?} has ended", relative.entry.id)?,
        }
    }
    Ok(exit::YES)
}

/// The resource that says what `relative` says; `None` where it has ended.
///
/// With a publication the window is the same to the second. Without one nobody knows when it began: it begins when the resource is applied.
fn manifest(
    relative: &RelativeEntry,
    publication: Option<Publication>,
    now_secs: u64,
    namespace: &str,
) -> Option<Value> {
    let RelativeEntry { entry, ttl_secs } = relative;
    let mut spec = Map::new();
    if entry.selector.is_every_request() {
        spec.insert("allRequests".into(), true.into());
    } else {
        spec.insert("match".into(), targets(&entry.selector));
    }
    spec.insert("level".into(), entry.level.as_str().into());
    spec.insert("samplePerMille".into(), entry.sample_per_mille.into());
    if entry.ring_buffer {
        spec.insert("ringBuffer".into(), true.into());
    }
    if entry.capture {
        spec.insert("capture".into(), true.into());
    }
    if let Some(publication) = publication {
        if publication.second().saturating_add(*ttl_secs) <= now_secs {
            return None;
        }
        spec.insert("activeFrom".into(), rfc3339(publication.second()).into());
    }
    spec.insert("ttl".into(), format_duration(*ttl_secs).into());
    let (namespace, name) = entry.id.split_once('/').unwrap_or((namespace, &entry.id));
    Some(json!({
        "apiVersion": "osproxy.io/v1alpha1",
        "kind": "DiagnosticsDirective",
        "metadata": { "namespace": dns_name(namespace), "name": dns_name(name) },
        "spec": spec,
    }))
}

fn targets(selector: &Selector) -> Value {
    let Selector {
        tenant,
        index,
        principal,
        endpoint,
    } = selector;
    let all = [
        ("tenant", tenant.as_deref()),
        ("index", index.as_deref()),
        ("principal", principal.as_deref()),
        ("endpoint", endpoint.map(crate::document::Endpoint::as_str)),
    ];
    let given = all
        .into_iter()
        .filter_map(|(key, value)| Some(json!({ "key": key, "value": value? })));
    given.collect()
}

/// A name that Kubernetes takes, as near to `text` as that goes; a person looks at it before it is applied.
fn dns_name(text: &str) -> String {
    let mapped = text.chars().map(|c| match c {
        'a'..='z' | '0'..='9' | '-' | '.' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '-',
    });
    let name: String = mapped.take(200).collect();
    match name.trim_matches(['-', '.']) {
        "" => "imported".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    fn entry(json: &str) -> RelativeEntry {
        let document = format!(r#"{{"directives":[{json}]}}"#);
        Accepted::from_bytes(document.as_bytes()).unwrap().entries()[0].clone()
    }

    #[test]
    fn an_imported_directive_means_what_the_document_meant() {
        for json in [
            r#"{"id":"ns/a","level":"Shape","ttl_secs":60,"tenant":"t","endpoint":"Search","sample_per_mille":7,"capture":true}"#,
            r#"{"id":"ns/a","level":"Off","ttl_secs":90,"ring_buffer":true,"principal":"p","index":"i"}"#,
            r#"{"id":"ns/a","level":"ShapeRewriteDiff","ttl_secs":604800}"#,
        ] {
            let relative = entry(json);
            let publication = Publication::new(1_795_000_000, 3);
            let manifest = manifest(&relative, publication, 1_795_000_001, "x").unwrap();
            let directive = resource::parse("ns", "a", 5, &manifest["spec"]).unwrap();
            assert_eq!(directive.entry, relative.entry);
            assert_eq!(directive.window.end_secs, 1_795_000_000 + relative.ttl_secs);
        }
    }

    #[test]
    fn what_has_ended_is_not_imported() {
        let relative = entry(r#"{"id":"a","level":"Shape","ttl_secs":60}"#);
        let publication = Publication::new(1_000, 3);
        assert_eq!(manifest(&relative, publication, 1_060, "x"), None);
        assert!(manifest(&relative, publication, 1_059, "x").is_some());
    }

    #[test]
    fn a_duration_is_written_as_kubernetes_reads_it() {
        for (secs, text) in [
            (5, "5s"),
            (5_400, "1h30m"),
            (604_800, "168h"),
            (3_661, "1h1m1s"),
        ] {
            assert_eq!(format_duration(secs), text);
        }
    }

    #[test]
    fn an_id_becomes_a_name_that_kubernetes_takes() {
        assert_eq!(dns_name("Raise_ACME!"), "raise-acme");
        assert_eq!(dns_name("///"), "imported");
    }
}

//! Which values the chart takes: those that it has, in every depth, and no two that contradict each other.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{CHART, render};

#[tokio::test]
async fn an_unknown_value_is_refused_at_every_depth() -> Result<()> {
    for (values, said) in [
        (json!({"etdc": {}}), "'etdc' not allowed"),
        (
            json!({"etcd": {"endpoints": ["http://e:2379"], "key": "k"}}),
            "'key' not allowed",
        ),
        (
            json!({"policy": {"createdBy": {"enforced": true}}}),
            "'enforced' not allowed",
        ),
        (json!({"policy": {"maxTtl": "1.5h"}}), "/policy/maxTtl"),
        (
            json!({"policy": {"failurePolicy": "Maybe"}}),
            "/policy/failurePolicy",
        ),
        (json!({"log": {"level": "loud"}}), "/log/level"),
        (
            json!({"etcd": {"endpoints": ["http://a:2379,http://b:2379"]}}),
            "/etcd/endpoints/0",
        ),
        (
            json!({"etcd": {"endpoints": ["http://root:secret@a:2379"]}}),
            "/etcd/endpoints/0",
        ),
        (
            json!({"watch": {"namespaces": ["Checkout"]}}),
            "/watch/namespaces/0",
        ),
        // A password has no place in values.
        (
            json!({"etcd": {"endpoints": ["https://e:2379"], "auth": {"password": "secret"}}}),
            "'password' not allowed",
        ),
        (
            json!({"securityContext": {"readOnlyRootFileSystem": true}}),
            "'readOnlyRootFileSystem' not allowed",
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Never"}]}),
            "/topologySpreadConstraints/0/whenUnsatisfiable",
        ),
        (
            json!({"extraEnv": [{"name": "A", "vaule": "b"}]}),
            "'vaule' not allowed",
        ),
        (json!({"extraArgs": ["max-directives=5"]}), "/extraArgs/0"),
        (
            json!({"extraVolumes": [{"emptyDir": {}}]}),
            "/extraVolumes/0",
        ),
    ] {
        refused(values, said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_contradicts_itself_is_refused_with_a_sentence() -> Result<()> {
    let etcd = |endpoint: &str, more: Value| {
        let mut etcd = json!({"endpoints": [endpoint]});
        etcd.as_object_mut()
            .into_iter()
            .for_each(|etcd| etcd.extend(more.as_object().cloned().unwrap_or_default()));
        json!({ "etcd": etcd })
    };
    let tls = json!({"tls": {"existingSecret": "s"}});
    let auth = json!({"auth": {"existingSecret": "s"}});
    for (values, said) in [
        (
            json!({"etcd": {"endpoints": []}}),
            "etcd.endpoints is empty. Name where your etcd listens",
        ),
        (
            etcd("https://e:2379", json!({})),
            "etcd.endpoints has https://e:2379, and etcd.tls.existingSecret is empty.",
        ),
        (
            etcd("http://e:2379", tls),
            "etcd.endpoints has http://e:2379, and etcd.tls.existingSecret is set.",
        ),
        (
            etcd(
                "e:2379",
                json!({"tls": {"existingSecret": "s", "keyKey": ""}}),
            ),
            "etcd.tls.certKey and etcd.tls.keyKey belong together.",
        ),
        (
            etcd(
                "e:2379",
                json!({"tls": {"existingSecret": "s", "caKey": ""}}),
            ),
            "etcd.tls.caKey is empty.",
        ),
        (
            etcd("e:2379", json!({"tls": {"serverName": "etcd"}})),
            "etcd.tls.serverName is set, but nothing is checked against it",
        ),
        (
            etcd("http://e:2379", auth.clone()),
            "etcd.auth would send its password to http://e:2379 unencrypted.",
        ),
        (
            etcd("e:2379", auth),
            "etcd.auth would send its password to e:2379 unencrypted.",
        ),
        (
            etcd(
                "http://e:2379",
                json!({"auth": {"existingSecret": "s", "passwordKey": ""}}),
            ),
            "etcd.auth.usernameKey and etcd.auth.passwordKey name keys of the Secret",
        ),
    ] {
        refused(values, said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn other_values_that_contradict_each_other_are_refused_likewise() -> Result<()> {
    for (values, said) in [
        (
            json!({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}),
            "podDisruptionBudget takes minAvailable or maxUnavailable, not both.",
        ),
        (
            json!({"podDisruptionBudget": {"minAvailable": 2}}),
            "podDisruptionBudget.minAvailable is 2 of 2 replicas",
        ),
        (
            json!({"podDisruptionBudget": {"minAvailable": "100%"}}),
            "podDisruptionBudget.minAvailable is 100% of 2 replicas",
        ),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": 0}}),
            "podDisruptionBudget.maxUnavailable is 0",
        ),
        (
            json!({"extraArgs": ["--listen=0.0.0.0:1"]}),
            "extraArgs has --listen, which the chart sets from httpPort.",
        ),
        (
            json!({"podLabels": {"app.kubernetes.io/name": "other"}}),
            "podLabels sets app.kubernetes.io/name.",
        ),
        (
            json!({"commonLabels": {"app.kubernetes.io/instance": "other"}}),
            "commonLabels sets app.kubernetes.io/instance.",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "serviceAccount.name has to name a ServiceAccount that exists",
        ),
    ] {
        refused(values, said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_looks_like_a_contradiction_and_is_none_is_taken() -> Result<()> {
    for values in [
        // The authority's file comes by another way.
        json!({"etcd": {"endpoints": ["https://e:2379"]}, "extraArgs": ["--etcd-ca-file=/csi/ca.pem"]}),
        json!({"etcd": {"endpoints": ["https://e:2379"]}, "extraEnv": [{"name": "OSPROXY_ETCD_CA_FILE", "value": "/csi/ca.pem"}]}),
        // Scaled to nothing for a while.
        json!({"replicaCount": 0, "podDisruptionBudget": {"minAvailable": 1}}),
        json!({"podDisruptionBudget": {"enabled": false, "minAvailable": 2}}),
        json!({"extraArgs": ["--watch-namespaces=a"]}),
    ] {
        render(values.clone())
            .await
            .with_context(|| values.to_string())?;
    }
    Ok(())
}

/// What is left to the API server: types that are Kubernetes' own, or another project's, and grow with it.
const PASSED_ON: [&str; 6] = [
    "passedOn",
    "named",
    "extraObjects",
    "relabelings",
    "metricRelabelings",
    "instanceSelector",
];

#[test]
fn only_types_of_others_may_have_fields_that_the_schema_does_not_know() -> Result<()> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(
        Path::new(CHART).join("values.schema.json"),
    )?)?;
    let mut open = Vec::new();
    collect_open(&schema, "", &mut open);
    let global = "/properties/global".to_owned();
    let unexpected: Vec<&String> = open
        .iter()
        .filter(|path| **path != global)
        .filter(|path| !PASSED_ON.iter().any(|name| path.contains(name)))
        .collect();
    ensure!(unexpected.is_empty(), "open: {unexpected:?}");
    ensure!(open.contains(&global), "a subchart needs `global`");
    Ok(())
}

/// The paths of every object that takes any field.
fn collect_open(schema: &Value, path: &str, open: &mut Vec<String>) {
    if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
        open.push(path.to_owned());
    }
    match schema {
        Value::Object(all) => all
            .iter()
            .for_each(|(key, inner)| collect_open(inner, &format!("{path}/{key}"), open)),
        Value::Array(all) => all.iter().for_each(|inner| collect_open(inner, path, open)),
        _ => {}
    }
}

#[test]
fn every_value_has_a_default_to_read() -> Result<()> {
    let read = |file: &str| fs::read_to_string(Path::new(CHART).join(file));
    let schema: Value = serde_json::from_str(&read("values.schema.json")?)?;
    let values: Value = serde_saphyr::from_str(&read("values.yaml")?)?;
    let mut missing = Vec::new();
    collect_missing(&schema, &values, "", &mut missing);
    // The parent chart's.
    assert_eq!(missing, ["enabled", "global"]);
    Ok(())
}

fn collect_missing(schema: &Value, values: &Value, path: &str, missing: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        match values.get(name) {
            None => missing.push(path),
            // Kubernetes' own types are documented there.
            Some(value) if inner["properties"]["enabled"].is_object() || is_ours(name) => {
                collect_missing(inner, value, &format!("{path}."), missing);
            }
            Some(_) => {}
        }
    }
}

fn is_ours(name: &str) -> bool {
    [
        "crds",
        "etcd",
        "tls",
        "auth",
        "watch",
        "log",
        "image",
        "serviceAccount",
        "rbac",
        "createdBy",
    ]
    .contains(&name)
}

async fn refused(values: Value, said: &str) -> Result<()> {
    let error = render(values.clone())
        .await
        .err()
        .with_context(|| format!("{values} should be refused: {said}"))?;
    ensure!(
        format!("{error:#}").contains(said),
        "{values} should say `{said}`: {error:#}"
    );
    Ok(())
}

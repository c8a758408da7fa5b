//! What the chart renders, and what a real API server makes of it.

#![cfg(feature = "operator")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use helm::{CHART, helm, of_kind, pod, render, render_text};

#[path = "chart/golden.rs"]
mod golden;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/install.rs"]
mod install;
#[path = "chart/metadata.rs"]
mod metadata;
#[path = "chart/values.rs"]
mod values;
#[path = "chart/workload.rs"]
mod workload;

/// The definition that is generated from the Rust type.
const DEFINITION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/diagnosticsdirective.yaml"
);

// ---- The resource's definition -----------------------------------------------------------------

#[test]
fn the_chart_carries_the_generated_definitions() {
    let generated = Path::new(DEFINITION).parent().unwrap();
    for name in ["diagnosticsdirective.yaml", "diagnosticsfleet.yaml"] {
        let ours = fs::read_to_string(Path::new(CHART).join("files").join(name)).unwrap();
        let generated = fs::read_to_string(generated.join(name)).unwrap();
        assert!(
            ours == generated,
            "copy crds/{name} to charts/osproxy-directives/files/{name}"
        );
    }
}

#[tokio::test]
async fn the_definition_is_rendered_byte_for_byte() -> Result<()> {
    let generated = fs::read_to_string(DEFINITION)?;
    let bare = render_text(json!({"crds": {"keep": false}}), "templates/crd.yaml").await?;
    assert_eq!(bare.trim_end(), generated.trim_end());

    let kept = render_text(
        json!({"crds": {"annotations": {"example.com/a": "b: c"}}}),
        "templates/crd.yaml",
    )
    .await?;
    let added: Vec<&str> = kept
        .trim_end()
        .lines()
        .filter(|line| !generated.lines().any(|known| known == *line))
        .collect();
    assert_eq!(
        added,
        [
            "  annotations:",
            "    example.com/a: 'b: c'",
            "    helm.sh/resource-policy: keep"
        ]
    );
    assert_eq!(
        kept.trim_end().lines().count(),
        generated.trim_end().lines().count() + added.len()
    );
    Ok(())
}

#[tokio::test]
async fn the_definition_can_be_left_to_somebody_else() -> Result<()> {
    let all = render(json!({"crds": {"enabled": false}})).await?;
    assert_eq!(of_kind(&all, "CustomResourceDefinition").count(), 0);
    Ok(())
}

// ---- The operator's command line, rights and Pod -----------------------------------------------

#[tokio::test]
async fn the_operator_gets_its_arguments_from_the_values() -> Result<()> {
    let values = json!({
        "etcd": {"endpoints": ["http://a:2379", "http://b:2379"], "directivesKey": "search/directives"},
        "httpPort": 9000,
        "log": {"level": "debug", "format": "text"},
        "watch": {"namespaces": ["checkout", "search"]},
        "extraArgs": ["--max-directives=10"],
        "extraEnv": [{"name": "OSPROXY_MAX_DOCUMENT_BYTES", "value": "1000"}],
    });
    let container = &pod(&render(values).await?)?["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "operator",
            "--etcd-endpoints=http://a:2379,http://b:2379",
            "--etcd-directives-key=search/directives",
            "--release=diagnostics/osd",
            "--listen=0.0.0.0:9000",
            "--log-level=debug",
            "--log-format=text",
            "--watch-namespaces=checkout,search",
            "--max-directives=10",
        ])
    );
    assert_eq!(
        container["env"],
        json!([{"name": "OSPROXY_MAX_DOCUMENT_BYTES", "value": "1000"}])
    );
    assert_eq!(container["ports"][0]["containerPort"], 9000);
    Ok(())
}

#[tokio::test]
async fn without_a_list_the_operator_watches_all_namespaces() -> Result<()> {
    let container = pod(&render(json!({})).await?)?["containers"][0].clone();
    let args = container["args"].as_array().context("no args")?;
    ensure!(
        !args.iter().any(|arg| arg
            .as_str()
            .is_some_and(|arg| arg.starts_with("--watch-namespaces"))),
        "{args:?}"
    );
    ensure!(
        container.get("env").is_none(),
        "an environment that nobody asked for"
    );
    Ok(())
}

/// What the operator may do with the API server, and nothing besides.
fn directives_and_events() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["osproxy.io"], "resources": ["diagnosticsdirectives"], "verbs": ["list", "watch"]}),
        json!({"apiGroups": ["osproxy.io"], "resources": ["diagnosticsdirectives/status"], "verbs": ["patch"]}),
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}),
    ]
}

fn the_clusters_name() -> Value {
    json!({"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]})
}

fn the_definition() -> Value {
    json!({"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "resourceNames": ["diagnosticsdirectives.osproxy.io"], "verbs": ["get"]})
}

/// The `DiagnosticsFleet` that is named as the release.
fn the_operators_own_report() -> Value {
    json!([
        {"apiGroups": ["osproxy.io"], "resources": ["diagnosticsfleets"], "verbs": ["create"]},
        {"apiGroups": ["osproxy.io"], "resources": ["diagnosticsfleets"], "resourceNames": ["osd"], "verbs": ["get"]},
        {"apiGroups": ["osproxy.io"], "resources": ["diagnosticsfleets/status"], "resourceNames": ["osd"], "verbs": ["patch"]},
    ])
}

#[tokio::test]
async fn the_rights_are_these_and_no_others() -> Result<()> {
    let all = render(json!({})).await?;
    let cluster: Vec<&Value> = roles_of_the_operator(&all);
    let mut expected = vec![the_clusters_name(), the_definition()];
    expected.extend(directives_and_events());
    assert_eq!(cluster.len(), 1);
    assert_eq!(cluster[0]["rules"], Value::from(expected));
    let roles: Vec<&Value> = of_kind(&all, "Role").collect();
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["metadata"]["namespace"], "diagnostics");
    assert_eq!(roles[0]["rules"], the_operators_own_report());
    for binding in of_kind(&all, "ClusterRoleBinding") {
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "osd-osproxy-directives", "namespace": "diagnostics"}])
        );
        assert_eq!(binding["roleRef"]["name"], cluster[0]["metadata"]["name"]);
    }
    Ok(())
}

#[tokio::test]
async fn with_namespaces_listed_the_rights_end_there() -> Result<()> {
    let all = render(json!({"watch": {"namespaces": ["checkout", "search"]}})).await?;
    let cluster: Vec<&Value> = roles_of_the_operator(&all);
    assert_eq!(cluster.len(), 1);
    assert_eq!(
        cluster[0]["rules"],
        json!([the_clusters_name(), the_definition()])
    );
    let roles: Vec<(&Value, &Value)> = of_kind(&all, "Role")
        .map(|role| (&role["metadata"]["namespace"], &role["rules"]))
        .collect();
    let expected = Value::from(directives_and_events());
    let report = the_operators_own_report();
    // And Events about the release itself, which stand where it does.
    let events = Value::from(directives_and_events().split_off(2));
    assert_eq!(
        roles,
        [
            (&json!("diagnostics"), &report),
            (&json!("checkout"), &expected),
            (&json!("search"), &expected),
            (&json!("diagnostics"), &events)
        ]
    );
    let bound: Vec<&Value> = of_kind(&all, "RoleBinding")
        .map(|binding| &binding["metadata"]["namespace"])
        .collect();
    assert_eq!(
        bound,
        [
            &json!("diagnostics"),
            &json!("checkout"),
            &json!("search"),
            &json!("diagnostics")
        ]
    );
    let both = render(json!({"watch": {"namespaces": ["checkout", "diagnostics"]}})).await?;
    assert_eq!(of_kind(&both, "Role").count(), 3);
    Ok(())
}

/// The operator's own roles, without those for people, which nothing binds.
fn roles_of_the_operator(all: &[Value]) -> Vec<&Value> {
    let people = [":view", ":edit", ":unrestricted"];
    of_kind(all, "ClusterRole")
        .filter(|role| {
            let name = role["metadata"]["name"].as_str().unwrap_or_default();
            !people.iter().any(|suffix| name.ends_with(suffix))
        })
        .collect()
}

#[tokio::test]
async fn the_image_can_be_named_in_every_usual_way() -> Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (values, image) in [
        (json!({}), "osproxy-directives:0.1.0".to_owned()),
        (
            json!({"image": {"registry": "r.example", "tag": "1"}}),
            "r.example/osproxy-directives:1".to_owned(),
        ),
        (
            json!({"image": {"registry": "r.example"}, "global": {"imageRegistry": "g.example"}}),
            "g.example/osproxy-directives:0.1.0".to_owned(),
        ),
        (
            json!({"image": {"digest": digest}}),
            format!("osproxy-directives:0.1.0@{digest}"),
        ),
    ] {
        assert_eq!(
            pod(&render(values).await?)?["containers"][0]["image"],
            image
        );
    }
    Ok(())
}

// ---- Values ------------------------------------------------------------------------------------

#[tokio::test]
async fn the_chart_works_inside_another_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let parent = folder.path().join("parent");
    fs::create_dir_all(parent.join("charts"))?;
    fs::write(
        parent.join("Chart.yaml"),
        "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n  - name: osproxy-directives\n    version: 0.1.0\n    condition: osproxy-directives.enabled\n",
    )?;
    let values = json!({
        "global": {"imageRegistry": "g.example", "anything": 1},
        "osproxy-directives": {"enabled": true, "etcd": {"endpoints": ["http://e:2379"]}},
    });
    fs::write(parent.join("values.yaml"), values.to_string())?;
    helm(&[
        "package",
        CHART,
        "--destination",
        &parent.join("charts").to_string_lossy(),
    ])
    .await?
    .success()?;
    let text = helm(&["template", "osd", &parent.to_string_lossy()])
        .await?
        .success()?;
    ensure!(
        text.contains("image: \"g.example/osproxy-directives:0.1.0\""),
        "{text}"
    );
    Ok(())
}

// ---- The admission policy, as far as rendering goes; tests/policy.rs has what it does ----------

#[tokio::test]
async fn each_switch_of_the_policy_is_one_validation() -> Result<()> {
    let off = json!({"unknownFields": false, "targetAllRequests": false, "capture": false, "namespaceTenants": false});
    let none = render(json!({"policy": off})).await?;
    assert_eq!(
        of_kind(&none, "ValidatingAdmissionPolicy").count(),
        0,
        "a policy without rules"
    );
    for (switch, field) in [
        (json!({"unknownFields": true}), "unknownFields"),
        (json!({"targetAllRequests": true}), "target-all-requests"),
        (json!({"capture": true}), "capture"),
        (json!({"maxTtl": "4h"}), "duration('4h')"),
        (json!({"requireComment": true}), "comment"),
        (json!({"createdBy": {"enforce": true}}), "createdBy"),
        (json!({"namespaceTenants": true}), "tenants"),
    ] {
        let mut policy = off.clone();
        policy
            .as_object_mut()
            .context("a map")?
            .extend(switch.as_object().context("a map")?.clone());
        let all = render(json!({"policy": policy})).await?;
        let policies: Vec<&Value> = of_kind(&all, "ValidatingAdmissionPolicy").collect();
        let validations = policies[0]["spec"]["validations"]
            .as_array()
            .context("no validations")?;
        assert_eq!(validations.len(), 1, "{switch}");
        assert!(
            validations[0]["expression"]
                .as_str()
                .is_some_and(|text| text.contains(field)),
            "{switch}"
        );
    }
    let disabled = render(json!({"policy": {"enabled": false}})).await?;
    assert_eq!(of_kind(&disabled, "ValidatingAdmissionPolicy").count(), 0);
    assert_eq!(
        of_kind(&disabled, "ValidatingAdmissionPolicyBinding").count(),
        0
    );
    Ok(())
}

#[tokio::test]
async fn the_policy_holds_where_the_operator_watches_and_where_the_values_say() -> Result<()> {
    let labelled = json!({"matchLabels": {"diagnostics": "yes"}});
    let watched =
        json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["checkout"]}]);
    for (values, selector) in [
        (json!({}), Value::Null),
        (
            json!({"watch": {"namespaces": ["checkout"]}}),
            json!({"matchExpressions": watched}),
        ),
        (
            json!({"policy": {"namespaceSelector": labelled}}),
            labelled.clone(),
        ),
        (
            json!({"watch": {"namespaces": ["checkout"]}, "policy": {"namespaceSelector": labelled}}),
            json!({"matchExpressions": watched, "matchLabels": {"diagnostics": "yes"}}),
        ),
    ] {
        let all = render(values).await?;
        let bindings: Vec<&Value> = of_kind(&all, "ValidatingAdmissionPolicyBinding").collect();
        assert_eq!(bindings.len(), 1);
        assert_eq!(
            bindings[0]["spec"]["matchResources"]["namespaceSelector"],
            selector
        );
        assert_eq!(bindings[0]["spec"]["validationActions"], json!(["Deny"]));
    }
    for (values, on_failure) in [
        (json!({}), "Fail"),
        (json!({"policy": {"failurePolicy": "Ignore"}}), "Ignore"),
    ] {
        let all = render(values).await?;
        let policies: Vec<&Value> = of_kind(&all, "ValidatingAdmissionPolicy").collect();
        assert_eq!(policies.len(), 1);
        assert_eq!(policies[0]["spec"]["failurePolicy"], on_failure);
    }
    Ok(())
}

//! What the Deployment and its companions come to, value by value. What all of it looks like together is in
//! `golden`.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::helm::{of_kind, pod, render};

#[tokio::test]
async fn tls_and_login_come_from_secrets_as_files() -> Result<()> {
    let etcd = json!({
        "endpoints": ["https://e:2379"],
        "tls": {"existingSecret": "certificates", "serverName": "etcd.example"},
        "auth": {"existingSecret": "login"},
    });
    let pod = pod(&render(json!({"etcd": etcd})).await?)?;
    let container = &pod["containers"][0];
    for argument in [
        "--etcd-ca-file=/etc/osproxy-directives/etcd-tls/ca.crt",
        "--etcd-cert-file=/etc/osproxy-directives/etcd-tls/tls.crt",
        "--etcd-key-file=/etc/osproxy-directives/etcd-tls/tls.key",
        "--etcd-server-name=etcd.example",
        "--etcd-password-file=/etc/osproxy-directives/etcd-auth/password",
    ] {
        ensure!(has_argument(container, argument), "{argument} is missing");
    }
    ensure!(!has_argument(
        container,
        "--etcd-allow-insecure-credentials"
    ));
    assert_eq!(
        container["env"],
        json!([{"name": "OSPROXY_ETCD_USER", "valueFrom": {"secretKeyRef": {"name": "login", "key": "username"}}}])
    );
    // Directories: a kubelet never renews a file that is mounted alone.
    assert_eq!(
        container["volumeMounts"],
        json!([
            {"name": "etcd-tls", "mountPath": "/etc/osproxy-directives/etcd-tls", "readOnly": true},
            {"name": "etcd-auth", "mountPath": "/etc/osproxy-directives/etcd-auth", "readOnly": true},
        ])
    );
    let item = |key: &str| json!({"key": key, "path": key});
    assert_eq!(
        pod["volumes"],
        json!([
            {"name": "etcd-tls", "secret": {"secretName": "certificates", "defaultMode": 0o440, "items": [item("ca.crt"), item("tls.crt"), item("tls.key")]}},
            {"name": "etcd-auth", "secret": {"secretName": "login", "defaultMode": 0o440, "items": [item("password")]}},
        ])
    );
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_asks_for_no_certificate_is_shown_none() -> Result<()> {
    let etcd = json!({
        "endpoints": ["e:2379"],
        "tls": {"existingSecret": "authority", "certKey": "", "keyKey": ""},
    });
    let pod = pod(&render(json!({"etcd": etcd})).await?)?;
    ensure!(has_argument(
        &pod["containers"][0],
        "--etcd-ca-file=/etc/osproxy-directives/etcd-tls/ca.crt"
    ));
    ensure!(
        !pod["containers"][0]["args"]
            .to_string()
            .contains("cert-file")
    );
    assert_eq!(
        pod["volumes"][0]["secret"]["items"],
        json!([{"key": "ca.crt", "path": "ca.crt"}])
    );
    Ok(())
}

#[tokio::test]
async fn a_login_over_plain_http_has_to_be_allowed_and_then_is() -> Result<()> {
    let etcd = json!({"endpoints": ["http://e:2379"], "auth": {"existingSecret": "login", "allowInsecure": true}});
    let pod = pod(&render(json!({"etcd": etcd})).await?)?;
    ensure!(has_argument(
        &pod["containers"][0],
        "--etcd-allow-insecure-credentials"
    ));
    Ok(())
}

#[tokio::test]
async fn pods_that_spread_are_found_by_their_own_labels() -> Result<()> {
    let own = json!({"matchLabels": {"app.kubernetes.io/name": "osproxy-directives", "app.kubernetes.io/instance": "osd"}});
    let given = json!({"matchLabels": {"team": "search"}});
    let spread = |selector: Option<&Value>| {
        let mut constraint =
            json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        if let Some(selector) = selector {
            constraint["labelSelector"] = selector.clone();
        }
        constraint
    };
    let values = json!({"topologySpreadConstraints": [spread(None), spread(Some(&given))]});
    assert_eq!(
        pod(&render(values).await?)?["topologySpreadConstraints"],
        json!([spread(Some(&own)), spread(Some(&given))])
    );
    let selector = &render(json!({})).await?;
    let selector = of_kind(selector, "Deployment").next().context("none")?;
    assert_eq!(selector["spec"]["selector"], own);
    Ok(())
}

#[tokio::test]
async fn a_drain_takes_one_replica_after_the_other() -> Result<()> {
    for (values, key, value) in [
        (json!({}), "maxUnavailable", json!(1)),
        (json!({"minAvailable": 1}), "minAvailable", json!(1)),
        (json!({"minAvailable": "50%"}), "minAvailable", json!("50%")),
        (json!({"minAvailable": 0}), "minAvailable", json!(0)),
        (json!({"maxUnavailable": 2}), "maxUnavailable", json!(2)),
        (json!({"maxUnavailable": null}), "maxUnavailable", json!(1)),
    ] {
        let all = render(json!({"podDisruptionBudget": values})).await?;
        let budget = of_kind(&all, "PodDisruptionBudget").next();
        let spec = &budget.context("no budget")?["spec"];
        assert_eq!(spec[key], value, "{values}");
        let other = ["minAvailable", "maxUnavailable"];
        assert_eq!(
            other.iter().filter(|key| spec.get(**key).is_some()).count(),
            1
        );
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    }
    let none = render(json!({"podDisruptionBudget": {"enabled": false}})).await?;
    assert_eq!(of_kind(&none, "PodDisruptionBudget").count(), 0);
    Ok(())
}

#[tokio::test]
async fn the_network_policy_opens_the_ports_that_etcd_has() -> Result<()> {
    for (endpoints, tls, ports) in [
        (json!(["http://a:2379", "http://b:2379"]), "", vec![2379]),
        (
            json!(["https://a:2379", "https://b:4001"]),
            "s",
            vec![2379, 4001],
        ),
        (json!(["http://a"]), "", vec![80]),
        (json!(["https://a/"]), "s", vec![443]),
        (json!(["a"]), "s", vec![443]),
        (json!(["a:1234"]), "", vec![1234]),
        (json!(["http://[2001:db8::1]:2379"]), "", vec![2379]),
        (json!(["http://[2001:db8::1]"]), "", vec![80]),
    ] {
        let all = render(json!({
            "etcd": {"endpoints": endpoints, "tls": {"existingSecret": tls}},
            "networkPolicy": {"enabled": true, "apiServerPorts": [6443]},
        }))
        .await?;
        let policy = of_kind(&all, "NetworkPolicy").next().context("none")?;
        let egress = &policy["spec"]["egress"];
        let opened = |rule: &Value| -> Vec<Value> {
            let ports = rule["ports"].as_array().into_iter().flatten();
            ports.map(|port| port["port"].clone()).collect()
        };
        assert_eq!(opened(&egress[0]), [json!(53), json!(53)]);
        assert_eq!(opened(&egress[1]), [json!(6443)]);
        assert_eq!(json!(opened(&egress[2])), json!(ports), "{endpoints}");
        assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], "http");
    }
    let none = render(json!({})).await?;
    assert_eq!(of_kind(&none, "NetworkPolicy").count(), 0);
    Ok(())
}

#[tokio::test]
async fn who_may_reach_the_operator_is_who_is_named_and_helm_test() -> Result<()> {
    let everybody = render(json!({"networkPolicy": {"enabled": true}})).await?;
    let policy = of_kind(&everybody, "NetworkPolicy")
        .next()
        .context("none")?;
    assert_eq!(policy["spec"]["ingress"][0]["from"], Value::Null);

    let monitoring = json!({"namespaceSelector": {"matchLabels": {"team": "monitoring"}}});
    let all = render(json!({
        "networkPolicy": {"enabled": true, "ingressFrom": [monitoring]},
        "nameOverride": "n".repeat(63),
    }))
    .await?;
    let policy = of_kind(&all, "NetworkPolicy").next().context("none")?;
    let from = policy["spec"]["ingress"][0]["from"].as_array();
    let [named, test] = from.context("nobody")?.as_slice() else {
        bail!("two are let in: {from:?}");
    };
    assert_eq!(*named, monitoring);
    let wanted = test["podSelector"]["matchLabels"].as_object();
    let wanted = wanted.context("whom?")?;
    assert_eq!(
        wanted.len(),
        2,
        "of other releases and charts none is let in"
    );
    let pod = of_kind(&all, "Pod").next().context("no test")?;
    for (label, value) in wanted {
        assert_eq!(pod["metadata"]["labels"][label], *value, "{label}");
    }
    let selected = &policy["spec"]["podSelector"]["matchLabels"];
    assert_ne!(selected, &test["podSelector"]["matchLabels"]);
    Ok(())
}

#[tokio::test]
async fn roles_for_people_join_others_only_when_asked() -> Result<()> {
    let prefix = "rbac.authorization.k8s.io/aggregate-to-";
    for (values, view, edit) in [
        (json!({}), vec!["view"], vec![]),
        (json!({"aggregateToView": false}), vec![], vec![]),
        (json!({"aggregateToEdit": true}), vec!["view"], vec!["edit"]),
        (
            json!({"aggregateToAdmin": true}),
            vec!["view"],
            vec!["admin"],
        ),
    ] {
        let all = render(json!({"rbac": values})).await?;
        for (suffix, joined) in [("view", view), ("edit", edit), ("unrestricted", vec![])] {
            let labels = role_for_people(&all, suffix)?["metadata"]["labels"].clone();
            let joins: Vec<String> = labels
                .as_object()
                .context("no labels")?
                .keys()
                .filter_map(|label| label.strip_prefix(prefix).map(str::to_owned))
                .collect();
            assert_eq!(joins, joined, "{values}, {suffix}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_role_holds_a_restricted_verb_by_accident() -> Result<()> {
    let all = render(json!({"rbac": {"aggregateToEdit": true, "aggregateToAdmin": true}})).await?;
    let verbs = |role: &Value| -> Vec<String> {
        let rules = role["rules"].as_array().into_iter().flatten();
        rules
            .flat_map(|rule| rule["verbs"].as_array().into_iter().flatten())
            .filter_map(|verb| verb.as_str().map(str::to_owned))
            .collect()
    };
    let unrestricted = role_for_people(&all, "unrestricted")?;
    assert_eq!(verbs(unrestricted), ["target-all-requests", "capture"]);
    let others: Vec<&Value> = of_kind(&all, "ClusterRole")
        .filter(|role| role["metadata"]["name"] != unrestricted["metadata"]["name"])
        .collect();
    assert_eq!(others.len(), 3);
    for role in others {
        for verb in ["*", "target-all-requests", "capture"] {
            ensure!(!verbs(role).iter().any(|known| known == verb), "{role}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn another_namespace_is_the_namespace_of_everything() -> Result<()> {
    for watched in [json!([]), json!(["checkout"]), json!(["elsewhere"])] {
        let all = render(json!({
            "namespaceOverride": "elsewhere",
            "networkPolicy": {"enabled": true},
            "watch": {"namespaces": watched},
        }))
        .await?;
        for manifest in &all {
            ensure!(
                !manifest
                    .to_string()
                    .contains("\"namespace\":\"diagnostics\""),
                "{manifest}"
            );
        }
        let container = pod(&all)?["containers"][0].clone();
        ensure!(has_argument(&container, "--release=elsewhere/osd"));
    }
    Ok(())
}

#[tokio::test]
async fn labels_and_annotations_of_the_release_are_on_everything() -> Result<()> {
    let all = render(json!({
        "commonLabels": {"team": "search"},
        "commonAnnotations": {"example.com/owner": "search"},
        "networkPolicy": {"enabled": true},
        "watch": {"namespaces": ["checkout"]},
    }))
    .await?;
    for manifest in &all {
        let metadata = &manifest["metadata"];
        // The definition is the file's own bytes, and labels are none of them.
        if manifest["kind"] != "CustomResourceDefinition" {
            assert_eq!(metadata["labels"]["team"], "search", "{manifest}");
        }
        assert_eq!(
            metadata["annotations"]["example.com/owner"], "search",
            "{manifest}"
        );
    }
    Ok(())
}

fn role_for_people<'a>(all: &'a [Value], suffix: &str) -> Result<&'a Value> {
    let name = format!("diagnostics:osd-osproxy-directives:{suffix}");
    of_kind(all, "ClusterRole")
        .find(|role| role["metadata"]["name"] == name.as_str())
        .with_context(|| format!("no ClusterRole {name}"))
}

fn has_argument(container: &Value, argument: &str) -> bool {
    container["args"]
        .as_array()
        .is_some_and(|all| all.iter().any(|known| known == argument))
}

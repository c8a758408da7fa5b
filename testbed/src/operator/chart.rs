//! The chart as Helm renders it, and its container as a process.

use ::kube::api::ObjectMeta;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use serde_json::{Value, json};

use super::OperatorOptions;
use crate::kube::ControlPlane;
use crate::kubelet::NODE;
use crate::kubelet::container::told;
use crate::kubelet::objects::Objects;
use crate::ports::Port;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Address of every Pod that we stand in for.
const ADDRESS: &str = "127.0.0.1";

/// A rendered chart, taken apart.
pub(super) struct Rendered {
    /// CustomResourceDefinitions.
    pub(super) definitions: Vec<Value>,
    /// Everything else but the Deployment.
    pub(super) manifests: Vec<Value>,
    /// The Pod's ServiceAccount.
    pub(super) service_account: String,
    /// The Deployment's only container.
    container: Value,
}

/// `helm template`, with the values that a person has to give and then those of the caller.
pub(super) async fn render(
    plane: &ControlPlane,
    scratch: &Scratch,
    options: &OperatorOptions,
    port: &Port,
) -> Result<Rendered> {
    let required = json!({
        "etcd": {
            "endpoints": options.etcd_endpoints,
            "directivesKey": options.directives_key,
        },
        "httpPort": port.number(),
    });
    let chart = options.chart.to_string_lossy();
    let version = plane.version()?;
    let mut args = vec![
        "template",
        &options.release,
        &chart,
        "--namespace",
        &options.namespace,
    ];
    args.extend(["--include-crds", "--kube-version", &version]);
    let mut files = Vec::new();
    for (index, values) in std::iter::once(&required)
        .chain(&options.values)
        .enumerate()
    {
        let file = scratch.write(&format!("values-{index}.json"), &values.to_string())?;
        files.push(file.to_string_lossy().into_owned());
    }
    for file in &files {
        args.extend(["--values", file]);
    }
    let text = plane.helm(&args).await?.success()?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).context("the chart renders unreadable YAML")?;
    take_apart(documents)
}

fn take_apart(documents: Vec<Value>) -> Result<Rendered> {
    let kind = |document: &Value| document["kind"].as_str().unwrap_or_default().to_owned();
    let is_hook = |document: &Value| {
        document
            .pointer("/metadata/annotations/helm.sh~1hook")
            .is_some()
    };
    let (mut definitions, mut manifests, mut deployments) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents
        .into_iter()
        .filter(|document| !document.is_null() && !is_hook(document))
    {
        match kind(&document).as_str() {
            "CustomResourceDefinition" => definitions.push(document),
            "Deployment" => deployments.push(document),
            _ => manifests.push(document),
        }
    }
    let [deployment] = deployments.as_slice() else {
        bail!(
            "the chart renders {} Deployments and not one",
            deployments.len()
        );
    };
    let pod = &deployment["spec"]["template"]["spec"];
    let container = match pod["containers"].as_array().map(Vec::as_slice) {
        Some([container]) => container.clone(),
        other => bail!(
            "the Deployment has {} containers and not one",
            other.map_or(0, <[_]>::len)
        ),
    };
    Ok(Rendered {
        service_account: pod["serviceAccountName"]
            .as_str()
            .unwrap_or("default")
            .to_owned(),
        definitions,
        manifests,
        container,
    })
}

/// The container's arguments and environment, nothing else; what we cannot provide is an error, for
/// a silently missing variable or file would show another operator than the chart's.
pub(super) async fn launch(
    plane: &ControlPlane,
    options: &OperatorOptions,
    rendered: &Rendered,
    pod: &str,
) -> Result<Launch> {
    let container = &rendered.container;
    for unknown in ["command", "volumeMounts"] {
        if container[unknown]
            .as_array()
            .is_some_and(|list| !list.is_empty())
        {
            bail!("the container has `{unknown}`, which this stand-in for a kubelet does not know");
        }
    }
    let container: Container =
        serde_json::from_value(container.clone()).context("the container is not one")?;
    let objects = Objects::new(plane.client(), &options.namespace);
    let told = told(&container, &stand_in(options, pod), &objects).await?;
    let launch = Launch::new(&options.binary).args(told.args);
    Ok(told
        .env
        .into_iter()
        .fold(launch, |launch, (name, value)| launch.env(name, value)))
}

/// What a replica's variables may ask of its Pod.
fn stand_in(options: &OperatorOptions, name: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(options.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some(NODE.to_owned()),
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            pod_ip: Some(ADDRESS.to_owned()),
            host_ip: Some(ADDRESS.to_owned()),
            ..PodStatus::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_without_its_deployment_is_refused() {
        let service = json!({ "kind": "Service" });
        let error = take_apart(vec![service, Value::Null])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("0 Deployments"), "{error}");
    }

    #[test]
    fn hooks_and_the_deployment_are_not_applied() {
        let rendered = take_apart(vec![
            json!({ "kind": "CustomResourceDefinition" }),
            json!({ "kind": "Pod", "metadata": { "annotations": { "helm.sh/hook": "test" } } }),
            json!({ "kind": "ServiceAccount" }),
            json!({ "kind": "Deployment", "spec": { "template": { "spec": {
                "serviceAccountName": "op", "containers": [{ "args": [] }] } } } }),
        ])
        .unwrap();
        assert_eq!(rendered.definitions.len(), 1);
        assert_eq!(rendered.manifests, [json!({ "kind": "ServiceAccount" })]);
        assert_eq!(rendered.service_account, "op");
    }
}

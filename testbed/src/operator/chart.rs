//! The chart as Helm renders it, and its container as a process.

use ::kube::Api;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::OperatorOptions;
use crate::kube::ControlPlane;
use crate::ports::Port;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Node and address of every Pod that we stand in for.
const NODE: &str = "testbed";
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
    for unknown in ["command", "envFrom", "volumeMounts"] {
        if container[unknown]
            .as_array()
            .is_some_and(|list| !list.is_empty())
        {
            bail!("the container has `{unknown}`, which this stand-in for a kubelet does not know");
        }
    }
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"]
            .as_str()
            .context("a variable without a name")?;
        let value = match variable.get("valueFrom") {
            Some(source) => from_source(plane, options, source, pod)
                .await
                .with_context(|| name.to_owned())?,
            None => expand(variable["value"].as_str().unwrap_or_default(), &env),
        };
        env.push((name.to_owned(), value));
    }
    let args = container["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|arg| {
            let arg = arg.as_str().context("an argument that is not a string")?;
            Ok(expand(arg, &env))
        });
    let args: Vec<String> = args.collect::<Result<_>>()?;
    let launch = Launch::new(&options.binary).args(args);
    Ok(env
        .into_iter()
        .fold(launch, |launch, (name, value)| launch.env(name, value)))
}

async fn from_source(
    plane: &ControlPlane,
    options: &OperatorOptions,
    source: &Value,
    pod: &str,
) -> Result<String> {
    if let Some(field) = source
        .pointer("/fieldRef/fieldPath")
        .and_then(Value::as_str)
    {
        let value = match field {
            "metadata.name" => pod,
            "metadata.namespace" => &options.namespace,
            "spec.nodeName" => NODE,
            "status.podIP" | "status.hostIP" => ADDRESS,
            other => bail!("the field `{other}` of a Pod has no stand-in here"),
        };
        return Ok(value.to_owned());
    }
    let reference = source
        .get("secretKeyRef")
        .context("only fieldRef and secretKeyRef have a stand-in here")?;
    let name = reference["name"]
        .as_str()
        .context("a secretKeyRef without a name")?;
    let key = reference["key"]
        .as_str()
        .context("a secretKeyRef without a key")?;
    let secret = Api::<Secret>::namespaced(plane.client(), &options.namespace)
        .get(name)
        .await?;
    let value = secret.data.unwrap_or_default().remove(key);
    let value = value.with_context(|| format!("the Secret {name} has no key {key}"))?;
    String::from_utf8(value.0)
        .with_context(|| format!("the key {key} of the Secret {name} is not UTF-8"))
}

/// Kubernetes' own expansion: `$(NAME)` is a variable set before, `$$` is `$`, anything else stays.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'));
        let known = reference.and_then(|(name, after)| {
            let (_, value) = env.iter().rev().find(|(known, _)| known == name)?;
            Some((value.as_str(), after))
        });
        let (value, after) = match (known, rest.strip_prefix("$$")) {
            (Some(found), _) => found,
            (None, Some(after)) => ("$", after),
            (None, None) => ("$", &rest[1..]),
        };
        out.push_str(value);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_in_a_container() {
        let env = [("A".to_owned(), "1".to_owned())];
        assert_eq!(
            expand("x=$(A), $(B), $$(A), $A, 5$", &env),
            "x=1, $(B), $(A), $A, 5$"
        );
    }

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

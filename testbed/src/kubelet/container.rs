//! What a container's program is told: its arguments and its environment, as a kubelet works them out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use super::objects::{Kind, Objects};

/// Arguments and environment, every reference followed and every `$(NAME)` expanded.
#[derive(Debug)]
pub(crate) struct Told {
    /// In place of the image's own program; empty for that one.
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// Works out what `container` of `pod` is told.
///
/// # Errors
/// Where a ConfigMap, a Secret, a key of it or a field is not there and not optional: what a kubelet calls
/// `CreateContainerConfigError`. What we cannot provide is an error too, for a silently missing variable would
/// show another program than the manifest's.
pub(crate) async fn told(container: &Container, pod: &Pod, objects: &Objects) -> Result<Told> {
    let mut env: Vec<(String, String)> = Vec::new();
    for source in container.env_from.iter().flatten() {
        let reference = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (Kind::ConfigMap, &map.name, map.optional),
            (_, Some(secret)) => (Kind::Secret, &secret.name, secret.optional),
            _ => bail!("an `envFrom` that names neither a ConfigMap nor a Secret"),
        };
        let (kind, name, optional) = reference;
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = objects.data(kind, name, optional.unwrap_or(false)).await?;
        for (key, value) in data {
            env.push((format!("{prefix}{key}"), text(value, kind, name, &key)?));
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => from_source(source, pod, objects)
                .await
                .with_context(|| variable.name.clone())?,
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &env)),
        };
        env.extend(value.map(|value| (variable.name.clone(), value)));
    }
    let expanded = |list: &Option<Vec<String>>| {
        let list = list.iter().flatten();
        list.map(|text| expand(text, &env)).collect()
    };
    Ok(Told {
        command: expanded(&container.command),
        args: expanded(&container.args),
        env,
    })
}

async fn from_source(
    source: &EnvVarSource,
    pod: &Pod,
    objects: &Objects,
) -> Result<Option<String>> {
    if let Some(reference) = &source.field_ref {
        return field(pod, &reference.field_path).map(Some);
    }
    let (kind, name, key, optional) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(secret), _) => (Kind::Secret, &secret.name, &secret.key, secret.optional),
        (_, Some(map)) => (Kind::ConfigMap, &map.name, &map.key, map.optional),
        _ => bail!("only fieldRef, secretKeyRef and configMapKeyRef have a stand-in here"),
    };
    let optional = optional.unwrap_or(false);
    let value = objects.data(kind, name, optional).await?.remove(key);
    match value {
        Some(value) => text(value, kind, name, key).map(Some),
        None if optional => Ok(None),
        None => bail!("couldn't find key {key} in {kind} {name}"),
    }
}

fn text(value: Vec<u8>, kind: Kind, name: &str, key: &str) -> Result<String> {
    let value = String::from_utf8(value);
    value
        .ok()
        .with_context(|| format!("the key {key} of the {kind} {name} is not UTF-8"))
}

/// A field of a Pod, as the downward API has them.
pub(super) fn field(pod: &Pod, path: &str) -> Result<String> {
    let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => status.and_then(|status| status.pod_ip.clone()),
        "status.hostIP" | "status.hostIPs" => status.and_then(|status| status.host_ip.clone()),
        other => {
            let member = member(other, "metadata.labels", meta.labels.as_ref());
            match member.or_else(|| member_of_annotations(other, meta.annotations.as_ref())) {
                Some(value) => Some(value),
                None => bail!("the field `{other}` of a Pod has no stand-in here"),
            }
        }
    };
    Ok(value.unwrap_or_default())
}

fn member_of_annotations(path: &str, map: Option<&BTreeMap<String, String>>) -> Option<String> {
    member(path, "metadata.annotations", map)
}

/// `metadata.labels['key']`; empty where the key is not there.
fn member(path: &str, field: &str, map: Option<&BTreeMap<String, String>>) -> Option<String> {
    let key = path
        .strip_prefix(field)?
        .strip_prefix("['")?
        .strip_suffix("']")?;
    Some(
        map.and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default(),
    )
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
    fn a_pods_labels_and_annotations_are_fields_too() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("one".to_owned());
        pod.metadata.labels = Some([("a/b".to_owned(), "c".to_owned())].into());
        assert_eq!(field(&pod, "metadata.name").unwrap(), "one");
        assert_eq!(field(&pod, "metadata.labels['a/b']").unwrap(), "c");
        assert_eq!(field(&pod, "metadata.annotations['a/b']").unwrap(), "");
        assert!(field(&pod, "spec.hostname").is_err());
    }
}

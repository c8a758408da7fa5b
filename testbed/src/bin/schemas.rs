//! Makes the schemas that kubeconform checks the chart with out of Kubernetes' own description of its API.
//!
//! `schemas SWAGGER.json DIRECTORY` takes the `api/openapi-spec/swagger.json` of a Kubernetes release and
//! writes a file for each kind that the chart renders, as kubeconform looks for it, and beside them
//! `definitions.json` with the types that they share. Descriptions are left out, and objects take no field that
//! they do not describe. `hack/chart schemas` runs it for every version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// What the chart, or somebody's `extraObjects`, renders: API version and kind.
const KINDS: &[(&str, &str)] = &[
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ConfigMap"),
    ("v1", "Namespace"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
];

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(swagger), Some(directory), None) = (args.next(), args.next(), args.next()) else {
        bail!("usage: schemas SWAGGER.json DIRECTORY");
    };
    let text = fs::read_to_string(&swagger)
        .with_context(|| format!("cannot read {}", Path::new(&swagger).display()))?;
    let swagger: Value = serde_json::from_str(&text).context("the description is not JSON")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for (file, text) in files(&swagger, KINDS)? {
        let path = directory.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Name and content of every file.
fn files(swagger: &Value, kinds: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
    let all = swagger["definitions"]
        .as_object()
        .context("the description has no `definitions`")?;
    let mut files = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (api_version, kind) in kinds {
        let name = definition_of(all, api_version, kind)
            .with_context(|| format!("this Kubernetes has no {kind} of {api_version}"))?;
        let reference = json!({ "$ref": format!("definitions.json#/definitions/{name}") });
        files.insert(file_name(api_version, kind), format!("{reference}\n"));
        collect(all, name, &mut found)?;
    }
    files.insert("definitions.json".to_owned(), print(&found));
    Ok(files)
}

/// `deployment-apps-v1.json`, as kubeconform puts it together: of the group only its first part.
fn file_name(api_version: &str, kind: &str) -> String {
    let kind = kind.to_lowercase();
    match api_version.split_once('/') {
        Some((group, version)) => {
            let group = group.split('.').next().unwrap_or(group);
            format!("{kind}-{group}-{version}.json")
        }
        None => format!("{kind}-{api_version}.json"),
    }
}

fn definition_of<'a>(
    all: &'a Map<String, Value>,
    api_version: &str,
    kind: &str,
) -> Option<&'a String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = json!({ "group": group, "version": version, "kind": kind });
    all.iter()
        .find(|(_, definition)| definition["x-kubernetes-group-version-kind"] == json!([wanted]))
        .map(|(name, _)| name)
}

/// The definition and everything that it refers to.
fn collect(
    all: &Map<String, Value>,
    name: &str,
    found: &mut BTreeMap<String, Value>,
) -> Result<()> {
    if found.contains_key(name) {
        return Ok(());
    }
    let definition = all
        .get(name)
        .with_context(|| format!("`{name}` is referred to, but not defined"))?;
    let mut references = Vec::new();
    let schema = strict(definition, &mut references);
    found.insert(name.to_owned(), schema);
    for reference in references {
        collect(all, &reference, found)?;
    }
    Ok(())
}

/// One schema as a validator needs it.
fn strict(schema: &Value, references: &mut Vec<String>) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/definitions/");
        references.push(name.to_owned());
        return json!({ "$ref": reference });
    }
    // Two types that are one in Go and two in YAML.
    if schema["format"] == "int-or-string" {
        return json!({ "type": ["integer", "string"] });
    }
    let is_quantity = schema["description"]
        .as_str()
        .is_some_and(|text| text.starts_with("Quantity is a fixed-point representation"));
    if is_quantity {
        return json!({ "type": ["number", "string"] });
    }
    let mut out = Map::new();
    for key in ["type", "required", "enum"] {
        if let Some(value) = schema.get(key) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            out.insert(key.to_owned(), strict(inner, references));
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(name, inner)| (name.clone(), strict(inner, references)))
            .collect();
        out.insert("properties".to_owned(), Value::Object(properties));
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(out)
}

/// One definition a line, so that a new version is a readable difference.
fn print(found: &BTreeMap<String, Value>) -> String {
    let lines: Vec<String> = found
        .iter()
        .map(|(name, schema)| format!("{}:{schema}", json!(name)))
        .collect();
    format!("{{\"definitions\":{{\n{}\n}}}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Value {
        json!({ "definitions": {
            "a.Thing": {
                "description": "words",
                "type": "object",
                "required": ["spec"],
                "properties": { "spec": { "$ref": "#/definitions/a.Spec", "description": "words" } },
                "x-kubernetes-group-version-kind": [{ "group": "a.example", "kind": "Thing", "version": "v1" }],
            },
            "a.Spec": {
                "type": "object",
                "properties": {
                    "$ref": { "type": "string" },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                    "port": { "$ref": "#/definitions/a.Port" },
                    "again": { "type": "array", "items": { "$ref": "#/definitions/a.Spec" } },
                    "anything": { "type": "object", "description": "no fields" },
                },
            },
            "a.Port": { "type": "string", "format": "int-or-string" },
            "a.Other": { "type": "string" },
        }})
    }

    #[test]
    fn a_kind_comes_with_what_it_refers_to_and_nothing_else() {
        let files = files(&description(), &[("a.example/v1", "Thing")]).unwrap();
        assert_eq!(
            files["thing-a-v1.json"],
            "{\"$ref\":\"definitions.json#/definitions/a.Thing\"}\n"
        );
        let shared: Value = serde_json::from_str(&files["definitions.json"]).unwrap();
        assert_eq!(
            shared["definitions"],
            json!({
                "a.Thing": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": { "spec": { "$ref": "#/definitions/a.Spec" } },
                    "additionalProperties": false,
                },
                "a.Spec": {
                    "type": "object",
                    "properties": {
                        "$ref": { "type": "string" },
                        "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                        "port": { "$ref": "#/definitions/a.Port" },
                        "again": { "type": "array", "items": { "$ref": "#/definitions/a.Spec" } },
                        "anything": { "type": "object" },
                    },
                    "additionalProperties": false,
                },
                "a.Port": { "type": ["integer", "string"] },
            })
        );
    }

    #[test]
    fn a_kind_that_is_not_there_is_an_error() {
        let error = files(&description(), &[("v1", "Thing")]).unwrap_err();
        assert_eq!(error.to_string(), "this Kubernetes has no Thing of v1");
    }

    #[test]
    fn files_are_named_as_kubeconform_looks_for_them() {
        assert_eq!(
            file_name("apps/v1", "Deployment"),
            "deployment-apps-v1.json"
        );
        assert_eq!(
            file_name("rbac.authorization.k8s.io/v1", "Role"),
            "role-rbac-v1.json"
        );
        assert_eq!(file_name("v1", "Secret"), "secret-v1.json");
    }
}

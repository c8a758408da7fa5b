//! The page about a resource, made of its definition.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

pub(crate) fn page(definition: &str) -> Result<String> {
    let definition: Value = serde_saphyr::from_str(definition)?;
    let names = &definition["spec"]["names"];
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "# {}\n\n`{}/{}`, {}; short name `{}`. {}\n\nThis page is made from the definition; `kubectl explain {}` says the same.\n",
        text(&names["kind"])?,
        text(&definition["spec"]["group"])?,
        text(&version["name"])?,
        text(&definition["spec"]["scope"])?.to_lowercase(),
        text(&names["shortNames"][0])?,
        text(&schema["description"])?,
        text(&names["shortNames"][0])?,
    );
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        if schema["properties"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
        {
            continue;
        }
        writeln!(page, "\n## {part}\n")?;
        writeln!(page, "{}\n", cell(&schema["description"]))?;
        page.push_str("| field | type | allowed | what it is |\n|---|---|---|---|\n");
        fields(&mut page, "", schema)?;
        let rules = schema["x-kubernetes-validations"].as_array();
        if let Some(rules) = rules {
            page.push_str("\nThe API server also refuses, with these words:\n\n");
            for rule in rules {
                let said = rule.get("message").unwrap_or(&rule["messageExpression"]);
                writeln!(page, "- {}", cell(said))?;
            }
        }
    }
    page.push_str("\n## Columns\n\n| column | from | only with `-o wide` |\n|---|---|---|\n");
    for column in version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
    {
        writeln!(
            page,
            "| {} | `{}` | {} |",
            text(&column["name"])?.to_uppercase(),
            cell(&column["jsonPath"]),
            if column["priority"].as_i64().unwrap_or(0) > 0 {
                "yes"
            } else {
                ""
            },
        )?;
    }
    Ok(page)
}

fn fields(page: &mut String, path: &str, schema: &Value) -> Result<()> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let mut kind = field["type"].as_str().unwrap_or("any").to_owned();
        if kind == "array" {
            kind = format!(
                "list of {}",
                field["items"]["type"].as_str().unwrap_or("any")
            );
        }
        if required.contains(&name.as_str()) {
            kind.push_str(", required");
        }
        writeln!(
            page,
            "| `{path}` | {kind} | {} | {} |",
            allowed(field),
            cell(&field["description"])
        )?;
        fields(page, &format!("{path}."), field)?;
        fields(page, &format!("{path}[]."), &field["items"])?;
    }
    Ok(())
}

/// The bounds of a field, in words.
fn allowed(field: &Value) -> String {
    let mut words = Vec::new();
    if let Some(values) = field["enum"].as_array() {
        let values = values.iter().map(|value| format!("`{}`", cell(value)));
        words.push(values.collect::<Vec<_>>().join(", "));
    }
    if let Some(default) = field.get("default") {
        words.push(format!("default `{}`", cell(default)));
    }
    for (key, word) in [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
    ] {
        if let Some(bound) = field[key].as_f64() {
            words.push(format!("{word} {bound}"));
        }
    }
    words.join("; ")
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("the definition lacks a text")
}

/// In one line, safe in a table.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
        .replace('<', "&lt;")
}

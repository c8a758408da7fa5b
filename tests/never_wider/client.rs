//! The ways in which a manifest reaches an API server.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::Line;
use crate::tables::manifests::{By, Row, Verdict};

/// One way; each has a namespace of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// A POST of the text as it stands, by a client that asks for strict field validation.
    Post,
    /// `kubectl apply`.
    Apply,
    /// `kubectl apply --server-side`.
    ServerSideApply,
    /// `kubectl apply` over a good one of the same name.
    ApplyAgain,
    /// `kubectl apply --server-side` over a good one that was applied so.
    ServerSideApplyAgain,
    /// `kubectl replace`.
    Replace,
    /// A JSON patch that puts one spec in the place of another.
    JsonPatch,
    /// A merge patch, which leaves what it does not name and removes what it names with null.
    MergePatch,
    /// How the good ones come to be that the last three change.
    Base(&'static str),
}

pub(crate) const CREATIONS: &[Way] = &[Way::Post, Way::Apply, Way::ServerSideApply];
pub(crate) const CHANGES: &[Way] = &[
    Way::ApplyAgain,
    Way::ServerSideApplyAgain,
    Way::Replace,
    Way::JsonPatch,
    Way::MergePatch,
];
pub(crate) const ALL_WAYS: [Way; 8] = [
    Way::Post,
    Way::Apply,
    Way::ServerSideApply,
    Way::ApplyAgain,
    Way::ServerSideApplyAgain,
    Way::Replace,
    Way::JsonPatch,
    Way::MergePatch,
];

impl Way {
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Apply => "apply",
            Self::ServerSideApply => "server-side-apply",
            Self::ApplyAgain => "apply-again",
            Self::ServerSideApplyAgain => "server-side-apply-again",
            Self::Replace => "replace",
            Self::JsonPatch => "json-patch",
            Self::MergePatch => "merge-patch",
            Self::Base(namespace) => namespace,
        }
    }

    /// How the good ones come to be that this way changes: an apply owns what it applied, and only then takes away
    /// what a later one leaves out.
    pub(crate) fn of_the_base(self) -> Self {
        Self::Base(self.namespace())
    }

    /// Whether nulls are gone before the API server sees them. A client-side apply computes a merge patch, in which a
    /// null would mean a removal; the other verbs of kubectl send what they are given.
    pub(crate) fn strips_nulls(self) -> bool {
        matches!(self, Self::Apply | Self::ApplyAgain)
    }

    pub(crate) fn is_server_side_apply(self) -> bool {
        matches!(self, Self::ServerSideApply | Self::ServerSideApplyAgain)
    }

    /// Whether this way can say the row at all.
    pub(crate) fn takes(self, row: &Row) -> bool {
        match self {
            Self::Post | Self::Base(_) => true,
            // A patch is JSON, and of the spec.
            Self::JsonPatch | Self::MergePatch => !row.whole && row.spec().is_some(),
            // kubectl keeps the last of two members of one name and says nothing, so that nobody behind it can: it is
            // `validate` that refuses them.
            _ => !matches!(row.verdict, Verdict::Refused(By::Client, "duplicate_field")),
        }
    }
}

/// Sends all manifests one way. Who is refused is seen from what stands there afterwards.
pub(crate) async fn send(line: &Line, way: Way, manifests: &[(String, String)]) -> Result<()> {
    let namespace = way.namespace();
    match way {
        Way::Base("apply-again") | Way::Apply | Way::ApplyAgain => {
            kubectl(line, &["apply", "-n", namespace, "-f", "-"], manifests).await
        }
        Way::Base("server-side-apply-again") | Way::ServerSideApply | Way::ServerSideApplyAgain => {
            let args = ["apply", "--server-side", "-n", namespace, "-f", "-"];
            kubectl(line, &args, manifests).await
        }
        Way::Post | Way::Base(_) => post(line, namespace, manifests).await,
        Way::Replace => kubectl(line, &["replace", "-n", namespace, "-f", "-"], manifests).await,
        Way::JsonPatch | Way::MergePatch => patch(line, way, manifests).await,
    }
}

/// One kubectl for all: it goes on behind what is refused.
async fn kubectl(line: &Line, args: &[&str], manifests: &[(String, String)]) -> Result<()> {
    let texts: Vec<_> = manifests.iter().map(|(_, text)| text.as_str()).collect();
    let input = format!("---\n{}\n", texts.join("\n---\n"));
    let done = line.plane.kubectl_with_input(args, &input).await?;
    if std::env::var_os("OSPROXY_TEST_VERBOSE").is_some() {
        eprintln!("{args:?}\n{}\n{}", done.stdout, done.stderr);
    }
    Ok(())
}

async fn post(line: &Line, namespace: &str, manifests: &[(String, String)]) -> Result<()> {
    for (_, text) in manifests {
        let json = serde_json::from_str::<Value>(text).is_ok();
        let kind = if json {
            "application/json"
        } else {
            "application/yaml"
        };
        let path = format!("{}?fieldValidation=Strict", collection(namespace));
        request(line, "POST", &path, kind, text).await?;
    }
    Ok(())
}

async fn patch(line: &Line, way: Way, manifests: &[(String, String)]) -> Result<()> {
    for (name, text) in manifests {
        let whole: Value = serde_json::from_str(text).context("only JSON is patched")?;
        let (kind, body) = match way {
            Way::JsonPatch => (
                "application/json-patch+json",
                json!([{"op": "replace", "path": "/spec", "value": whole["spec"]}]),
            ),
            _ => (
                "application/merge-patch+json",
                json!({"spec": whole["spec"]}),
            ),
        };
        let path = format!(
            "{}/{name}?fieldValidation=Strict",
            collection(way.namespace())
        );
        request(line, "PATCH", &path, kind, &body.to_string()).await?;
    }
    Ok(())
}

fn collection(namespace: &str) -> String {
    format!("/apis/osproxy.io/v1alpha1/namespaces/{namespace}/diagnosticsdirectives")
}

/// Sends a request whose answer may well be a refusal, but not a fault of the server.
async fn request(line: &Line, method: &str, path: &str, kind: &str, body: &str) -> Result<()> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(body.as_bytes().to_vec())?;
    match line.plane.client().request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(()),
        Err(fault) => Err(fault).with_context(|| format!("{method} {path}")),
    }
}

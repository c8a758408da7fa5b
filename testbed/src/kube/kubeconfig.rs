//! Kubeconfig files, written as JSON, which every reader of YAML takes.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::pki::Identity;
use crate::scratch::Scratch;

/// How a user of a kubeconfig proves who it is.
pub(crate) enum Credentials<'a> {
    /// By a certificate.
    Certificate(&'a Identity),
    /// By a token in a file, which clients read again when it changes.
    TokenFile(&'a Path),
}

/// Writes a kubeconfig with one cluster, one user and one context.
pub(super) fn write(
    scratch: &Scratch,
    name: &str,
    server: &str,
    authority: &Path,
    credentials: &Credentials<'_>,
    namespace: &str,
) -> Result<PathBuf> {
    let text = text(name, server, authority, credentials, namespace);
    scratch.write(&format!("{name}.kubeconfig"), &text)
}

/// What such a file says.
pub(crate) fn text(
    name: &str,
    server: &str,
    authority: &Path,
    credentials: &Credentials<'_>,
    namespace: &str,
) -> String {
    let user: Value = match credentials {
        Credentials::Certificate(identity) => json!({
            "client-certificate": identity.certificate,
            "client-key": identity.key,
        }),
        Credentials::TokenFile(path) => json!({ "tokenFile": path }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testbed", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": name, "namespace": namespace },
        }],
        "current-context": "testbed",
    });
    format!("{config:#}\n")
}

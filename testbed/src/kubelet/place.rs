//! Where a program that believes itself in a container really is: paths, addresses and names, put right in what it
//! is told.
//!
//! A process of this machine sees no mount, no network and no name service of its own. So in its arguments and its
//! environment a path below a mount becomes the directory of the volume, "all addresses" becomes the Pod's own, and
//! the name of a Service becomes the address of a Pod that is ready behind it. Everything else stays as it is.

use std::path::PathBuf;

use ::kube::Client;
use ::kube::api::{Api, ListParams};
use anyhow::Result;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A path of the container and what stands for it here.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) path: String,
    pub(super) directory: PathBuf,
}

/// Puts the directories of mounts in the place of their paths, wherever a text or a value in it begins with one.
pub(super) fn relocate(text: &str, mounts: &[Mount]) -> String {
    let begins = |at: usize| at == 0 || text[..at].ends_with(['=', ',', ':']);
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['/', ',', ':']);
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let here = mounts.iter().filter(|mount| {
            let after = rest.strip_prefix(mount.path.trim_end_matches('/'));
            begins(at) && after.is_some_and(ends)
        });
        if let Some(mount) = here.max_by_key(|mount| mount.path.len()) {
            out.push_str(&mount.directory.to_string_lossy());
            at += mount.path.trim_end_matches('/').len();
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            at += next;
        }
    }
    out
}

/// Puts the Pod's address in the place of "every address", on which two Pods of one machine cannot both listen.
pub(super) fn listen(text: &str, ip: &str) -> String {
    let (before, value) = match text.split_once('=') {
        Some((name, value)) => (&text[..=name.len()], value),
        None => ("", text),
    };
    let port = value
        .strip_prefix("0.0.0.0:")
        .or_else(|| value.strip_prefix("[::]:"));
    match port.filter(|port| port.parse::<u16>().is_ok()) {
        Some(port) => format!("{before}{ip}:{port}"),
        None => text.to_owned(),
    }
}

/// Puts the address of a ready Pod in the place of each `//SERVICE.NAMESPACE.svc:PORT`: what a cluster's name service
/// and its node's proxy do for each connection is done here once, when the container starts. A Service behind which
/// nobody is ready stays a name that nobody knows.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn dial(text: &str, client: &Client) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        out.push_str(before);
        let end = after.find(['/', ',', '?']).unwrap_or(after.len());
        let (authority, remaining) = after.split_at(end);
        let address = match service(authority) {
            Some(name) => behind(&name, client).await?,
            None => None,
        };
        out.push_str(address.as_deref().unwrap_or(authority));
        rest = remaining;
    }
    Ok(out + rest)
}

#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    service: &'a str,
    namespace: &'a str,
    port: i32,
}

fn service(authority: &str) -> Option<Name<'_>> {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let (service, namespace) = host.strip_suffix(".svc")?.split_once('.')?;
    Some(Name {
        service,
        namespace,
        port: port.parse().ok()?,
    })
}

async fn behind(name: &Name<'_>, client: &Client) -> Result<Option<String>> {
    let services: Api<Service> = Api::namespaced(client.clone(), name.namespace);
    let Some(spec) = services.get_opt(name.service).await?.and_then(|it| it.spec) else {
        return Ok(None);
    };
    let mut ports = spec.ports.iter().flatten();
    let Some(port) = ports.find(|port| port.port == name.port) else {
        return Ok(None);
    };
    let labels: Vec<String> = spec
        .selector
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), name.namespace);
    let pods = pods
        .list(&ListParams::default().labels(&labels.join(",")))
        .await?;
    Ok(pods.iter().filter(|pod| is_ready(pod)).find_map(|pod| {
        let ip = pod.status.as_ref()?.pod_ip.as_ref()?;
        let target = match &port.target_port {
            None => Some(port.port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::String(name)) => named_port(pod, name),
        };
        Some(format!("{ip}:{}", target?))
    }))
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn named_port(pod: &Pod, name: &str) -> Option<i32> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(name))?;
    Some(port.container_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_a_mount_is_the_volumes_directory() {
        let mount = |path: &str, directory: &str| Mount {
            path: path.to_owned(),
            directory: directory.into(),
        };
        let mounts = [mount("/etc/a", "/v/1"), mount("/etc/a/tls/", "/v/2")];
        for (told, meant) in [
            ("--ca=/etc/a/ca.crt", "--ca=/v/1/ca.crt"),
            ("/etc/a", "/v/1"),
            ("--key=/etc/a/tls/tls.key,/etc/a", "--key=/v/2/tls.key,/v/1"),
            ("--ca=/etc/ab", "--ca=/etc/ab"),
            ("http://host/etc/a", "http://host/etc/a"),
        ] {
            assert_eq!(relocate(told, &mounts), meant);
        }
    }

    #[test]
    fn every_address_is_the_pods_own() {
        for (told, meant) in [
            ("--listen=0.0.0.0:8080", "--listen=127.9.9.9:8080"),
            ("[::]:80", "127.9.9.9:80"),
            ("--etcd=10.0.0.0:80", "--etcd=10.0.0.0:80"),
            ("0.0.0.0", "0.0.0.0"),
        ] {
            assert_eq!(listen(told, "127.9.9.9"), meant);
        }
    }

    #[test]
    fn a_services_name_is_recognised() {
        let name = Name {
            service: "op",
            namespace: "osproxy",
            port: 8080,
        };
        assert_eq!(service("op.osproxy.svc:8080").as_ref(), Some(&name));
        assert_eq!(service("op.osproxy.svc.cluster.local:8080"), Some(name));
        assert_eq!(service("etcd.example.com:2379"), None);
        assert_eq!(service("10.0.0.1:2379"), None);
    }
}

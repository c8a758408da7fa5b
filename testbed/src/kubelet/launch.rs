//! From a container to the process that stands for it.

use std::path::Path;

use anyhow::{Context, Error, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use super::container::{Told, told};
use super::objects::Objects;
use super::place::{Mount, dial, listen, relocate};
use super::worker::volume_directory;
use super::{NODE, Shared};
use crate::kube::kubeconfig::{self, Credentials};
use crate::process::Launch;

/// Where a Pod finds its token.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why a container cannot be started, in a kubelet's words.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(reason: &'static str, error: &Error) -> Self {
        Self {
            reason,
            message: format!("{error:#}"),
        }
    }
}

/// The process that `container` of `pod` would be; `directory` is the Pod's own.
pub(super) async fn launch(
    shared: &Shared,
    container: &Container,
    pod: &Pod,
    objects: &Objects,
    directory: &Path,
) -> Result<Launch, Refused> {
    let program = shared.program(container)?;
    let config = |error: Error| Refused::new("CreateContainerConfigError", &error);
    understood(container).map_err(config)?;
    let told = told(container, pod, objects).await.map_err(config)?;
    let mounts: Vec<Mount> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| Mount {
            path: mount.mount_path.clone(),
            directory: volume_directory(directory, &mount.name),
        })
        .collect();
    let mut launch = Launch::new(program);
    if let Some(command) = told.command.first() {
        let same = Path::new(command).file_name() == launch.program().file_name();
        if !same {
            let message = format!("exec: \"{command}\": no such file in this image");
            return Err(Refused {
                reason: "RunContainerError",
                message,
            });
        }
    }
    in_place(told, shared, pod, directory, &mounts, &mut launch)
        .await
        .map_err(config)?;
    Ok(launch)
}

async fn in_place(
    told: Told,
    shared: &Shared,
    pod: &Pod,
    directory: &Path,
    mounts: &[Mount],
    launch: &mut Launch,
) -> Result<()> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let ip = ip.unwrap_or_default();
    let here = async |text: &str| -> Result<String> {
        dial(&listen(&relocate(text, mounts), &ip), &shared.client).await
    };
    let mut made = launch.clone();
    for arg in told.command.iter().skip(1).chain(&told.args) {
        made = made.arg(here(arg).await?);
    }
    let (host, port) = shared.server.rsplit_once(':').unwrap_or_default();
    let host = host.rsplit('/').next().unwrap_or_default();
    made = made
        .env("HOSTNAME", pod.metadata.name.clone().unwrap_or_default())
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port);
    for (name, value) in &told.env {
        made = made.env(name, here(value).await?);
    }
    if let Some(account) = mounts.iter().find(|mount| mount.path == ACCOUNT) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let token = account.directory.join("token");
        let text = kubeconfig::text(
            "serviceaccount",
            &shared.server,
            &account.directory.join("ca.crt"),
            &Credentials::TokenFile(&token),
            namespace,
        );
        let file = directory.join("kubeconfig");
        std::fs::write(&file, text).context("cannot write a kubeconfig")?;
        made = made.env("KUBECONFIG", file);
    }
    *launch = made;
    Ok(())
}

/// What we do not know is an error: left out silently, it would show another program than the manifest's.
fn understood(container: &Container) -> Result<()> {
    let unknown = |what: &str| format!("{NODE} runs no containers and does not know `{what}`");
    ensure!(container.lifecycle.is_none(), unknown("lifecycle"));
    ensure!(container.volume_devices.is_none(), unknown("volumeDevices"));
    ensure!(
        container.restart_policy.is_none(),
        unknown("restartPolicy of a container")
    );
    ensure!(container.working_dir.is_none(), unknown("workingDir"));
    for mount in container.volume_mounts.iter().flatten() {
        let part = mount.sub_path.as_ref().or(mount.sub_path_expr.as_ref());
        ensure!(part.is_none_or(String::is_empty), unknown("subPath"));
    }
    let probes = [
        &container.startup_probe,
        &container.liveness_probe,
        &container.readiness_probe,
    ];
    probes.into_iter().flatten().try_for_each(probe)
}

fn probe(probe: &Probe) -> Result<()> {
    if let Some(get) = &probe.http_get {
        let plain = get.scheme.as_deref().unwrap_or("HTTP") == "HTTP";
        ensure!(
            plain && get.host.is_none() && get.http_headers.is_none(),
            "a probe by https, to another host or with headers has no stand-in here"
        );
    } else if probe.tcp_socket.is_none() {
        bail!("only httpGet and tcpSocket probes have a stand-in here");
    }
    Ok(())
}

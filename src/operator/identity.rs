//! Who this operator is: cluster, release, instance.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use tracing::warn;

use super::publish::owner::Owner;

/// Asks the API server for the uid of `kube-system`, which stands for the cluster.
///
/// # Errors
/// Where the API server does not tell within five seconds.
pub async fn read_owner(client: &kube::Client, release: &str) -> Result<Owner, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let get = namespaces.get("kube-system");
    let namespace = tokio::time::timeout(Duration::from_secs(5), get)
        .await
        .map_err(|elapsed| kube::Error::Service(elapsed.into()))??;
    Ok(Owner::new(
        namespace.metadata.uid.unwrap_or_default(),
        release,
    ))
}

/// Asks until it is told.
pub(super) async fn owner(client: &kube::Client, release: &str) -> Owner {
    let mut told = false;
    loop {
        let error = match read_owner(client, release).await {
            Ok(owner) => return owner,
            Err(error) => error,
        };
        if !std::mem::replace(&mut told, true) {
            let reason = match error {
                kube::Error::Api(status) => status.reason.clone(),
                _ => "Unavailable".to_owned(),
            };
            warn!(
                reason,
                "Cannot read the namespace kube-system, whose uid names the cluster; tries again"
            );
        }
        tokio::time::sleep(Duration::from_secs(1).mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// What this process is called in etcd's election and in Events: the pod's name, where it has one.
pub(super) fn instance() -> String {
    let name = std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "osproxy-directives".to_owned());
    format!("{name}-{}", std::process::id())
}

//! The testbed's control plane is a Kubernetes without nodes.

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use testbed::{ControlPlane, eventually};

#[tokio::test]
async fn a_control_plane_starts_and_ends_namespaces() -> Result<()> {
    let start = Instant::now();
    let plane = ControlPlane::start().await?;
    println!("ready after {:?}", start.elapsed());
    let version = plane.kubectl(&["version"]).await?.success()?;
    assert!(
        version.contains(&format!("Server Version: v{}", plane.version()?)),
        "{version}"
    );

    plane
        .kubectl(&["create", "namespace", "checkout"])
        .await?
        .success()?;
    eventually(
        "its default ServiceAccount",
        Duration::from_secs(30),
        async || {
            plane
                .kubectl(&["get", "serviceaccount", "default", "-n", "checkout"])
                .await?
                .success()
        },
    )
    .await?;
    plane
        .kubectl(&["delete", "namespace", "checkout", "--timeout=60s"])
        .await?
        .success()?;
    let left = Api::<Namespace>::all(plane.client())
        .get_opt("checkout")
        .await?;
    assert!(left.is_none());
    println!("all after {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_service_account_may_only_do_what_its_role_says() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let manifest = r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"reader","namespace":"default"}}"#;
    plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifest)
        .await?
        .success()?;
    let reader = plane
        .service_account_kubeconfig("default", "reader")
        .await?;
    let who = plane
        .kubectl_as(&reader, &["auth", "whoami"], None)
        .await?
        .success()?;
    assert!(
        who.contains("system:serviceaccount:default:reader"),
        "{who}"
    );
    let refusal = plane
        .kubectl_as(&reader, &["get", "pods"], None)
        .await?
        .failure()?;
    assert!(refusal.contains("Forbidden"), "{refusal}");
    let role = [
        "create",
        "rolebinding",
        "r",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    ];
    plane.kubectl(&role).await?.success()?;
    eventually("the role to hold", Duration::from_secs(30), async || {
        plane
            .kubectl_as(&reader, &["get", "pods"], None)
            .await?
            .success()
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_api_server_comes_back_with_its_objects() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane
        .kubectl(&["create", "namespace", "kept"])
        .await?
        .success()?;
    plane.api_server().kill()?;
    plane
        .kubectl(&["get", "namespace", "kept"])
        .await?
        .failure()?;
    plane.restart_api_server().await?;
    plane
        .kubectl(&["get", "namespace", "kept"])
        .await?
        .success()?;
    Ok(())
}

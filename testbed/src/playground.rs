//! The same system for whoever wants to try it by hand: `make playground`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::assets;
use crate::stage::Stage;
use crate::system::{KEY, System, SystemOptions};

/// Starts everything and says where it is and what to try. It stays until the value is dropped.
///
/// # Errors
/// When a part is not ready in its time, or `out` cannot be written.
pub async fn start(options: SystemOptions, mut out: impl Write, colour: bool) -> Result<System> {
    let mut stage = Stage::new(&mut out, colour);
    stage.step("Real servers, on this machine")?;
    let system = System::start(options, |part, took| stage.part(part, took)).await?;
    stage.step("Type this in another terminal; Ctrl-C here stops everything and removes it")?;
    writeln!(out, "\n{}", things_to_try(&system).await?)?;
    out.flush()?;
    Ok(system)
}

/// A script for the person's own shell, so that each line can be taken as it is.
async fn things_to_try(system: &System) -> Result<String> {
    let kubectl = directory_of(&assets::kubernetes(), "kubectl").await?;
    let etcdctl = directory_of(assets::ETCD, "etcdctl").await?;
    let kubeconfig = system.plane().kubeconfig().display();
    let etcd = system.etcd().endpoint_list();
    let operator = system.operator()?;
    let [one, two, three] = system.proxies().each_ref().map(crate::Proxy::endpoint);
    Ok(format!(
        "\
export KUBECONFIG='{kubeconfig}'
export ETCDCTL_ENDPOINTS='{etcd}'
export PATH='{kubectl}':'{etcdctl}':\"$PATH\"

# record every search of one tenant for ten minutes
kubectl apply -f - <<'END'
apiVersion: osproxy.io/v1alpha1
kind: DiagnosticsDirective
metadata: {{ name: inc-4711 }}
spec:
  match:
    - {{ key: tenant, value: acme }}
  level: ShapeTiming
  samplePerMille: 1000
  ttl: 10m
END

# what became of it; what the operator wrote; what each proxy decides
kubectl wait --for=condition=Ready diag/inc-4711 --timeout=30s
kubectl get diag -o wide
kubectl get events
etcdctl get --prefix {KEY}
curl -H 'x-tenant: acme' {one}/orders/_search
curl -H 'x-tenant: globex' {two}/orders/_search
curl {three}/_directives
curl {operator}/metrics

# what may be said, and what ends it before its time
kubectl explain diag.spec
kubectl delete diag inc-4711
"
    ))
}

async fn directory_of(folder: &str, tool: &str) -> Result<String> {
    let path = assets::tool(folder, tool).await?;
    let directory = path.parent().map(Path::to_string_lossy);
    Ok(directory.context("a tool has a directory")?.into_owned())
}

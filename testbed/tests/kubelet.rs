//! The stand-in for a kubelet does with Pods what a node does, as far as it says so.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::scratch::Scratch;
use testbed::{ControlPlane, Kubelet, KubeletOptions, eventually};

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 9_000;

/// Says what it was told and what its file holds, until it is asked to end; or ends with the status that it is told.
const PROGRAM: &str = r#"#!/bin/sh
[ "$1" = exit ] && { echo "exits with $2"; exit "$2"; }
printf 'arg %s\n' "$@"
echo "KUBECONFIG $KUBECONFIG"
trap 'echo asked to end; exit 0' TERM
file=${3#--file=}
while :; do
    said=$(cat "$file")
    [ "$said" = "$before" ] || echo "it holds $said"
    before=$said
    sleep 0.1
done
"#;

struct Node {
    plane: ControlPlane,
    kubelet: Kubelet,
    _scratch: Scratch,
}

impl Node {
    async fn start() -> Result<Self> {
        let scratch = Scratch::new("images")?;
        let program = scratch.write("program", PROGRAM)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
        let plane = ControlPlane::start().await?;
        let options = KubeletOptions::new().image("program", program);
        let kubelet = Kubelet::start(&plane, options).await?;
        let account = async || plane.kubectl(&["get", "sa", "default"]).await?.success();
        eventually("the default ServiceAccount", SOON, account).await?;
        Ok(Self {
            plane,
            kubelet,
            _scratch: scratch,
        })
    }

    async fn create(&self, manifest: &Value) -> Result<()> {
        let args = ["create", "-f", "-"];
        let input = manifest.to_string();
        self.plane
            .kubectl_with_input(&args, &input)
            .await?
            .success()?;
        Ok(())
    }

    async fn kubectl(&self, line: &str) -> Result<String> {
        let args: Vec<&str> = line.split(' ').collect();
        self.plane.kubectl(&args).await?.success()
    }

    async fn pod(&self, name: &str) -> Result<Value> {
        // Without kubectl, whose start may take longer than what is looked for lasts.
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        Ok(serde_json::from_str(&self.plane.get(&path).await?)?)
    }

    /// Waits until a log says something.
    async fn says(&self, line: &str, wanted: &str) -> Result<String> {
        eventually(&format!("`{line}` to say {wanted}"), SOON, async || {
            let said = self.kubectl(line).await?;
            ensure!(said.contains(wanted), "{said}");
            Ok(said)
        })
        .await
    }

    /// Waits until something of a Pod is as it should be.
    async fn becomes(&self, name: &str, pointer: &str, wanted: &Value) -> Result<Value> {
        eventually(
            &format!("{pointer} of {name} to be {wanted}"),
            SOON,
            async || {
                let pod = self.pod(name).await?;
                ensure!(pod.pointer(pointer) == Some(wanted), "{}", pod["status"]);
                Ok(pod)
            },
        )
        .await
    }
}

fn pod(name: &str, policy: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("main");
    container["image"] = container
        .get("image")
        .cloned()
        .unwrap_or(json!("program:1"));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
        },
    })
}

/// One with a file, a port and probes.
fn one() -> Value {
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": 1, "failureThreshold": 1 });
    let mut one = pod(
        "one",
        "Always",
        json!({
            "args": ["--name=$(NAME)", "--listen=0.0.0.0:9000", "--file=/etc/login/password"],
            "env": [{ "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "ports": [{ "name": "http", "containerPort": PORT }],
            "volumeMounts": [{ "name": "login", "mountPath": "/etc/login" }],
            "readinessProbe": probe("/ready"),
        }),
    );
    one["spec"]["volumes"] = json!([{ "name": "login", "secret": { "secretName": "login" } }]);
    // A Pod's liveness probe may not fail before somebody listens for it.
    one["spec"]["containers"][0]["livenessProbe"] = probe("/live");
    one["spec"]["containers"][0]["livenessProbe"]["failureThreshold"] = json!(8);
    one["spec"]["containers"][0]["livenessProbe"]["initialDelaySeconds"] = json!(5);
    one
}

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "login", "namespace": "default" },
        "stringData": { "password": password },
    })
}

/// What a program would answer to its probes.
struct Answers {
    live: Arc<AtomicBool>,
}

impl Answers {
    fn listen(ip: &str) -> Result<Self> {
        let listener = TcpListener::bind((ip, PORT))?;
        let live = Arc::new(AtomicBool::new(true));
        let answer = Arc::clone(&live);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut request = [0; 1_024];
                let read = stream.read(&mut request).unwrap_or_default();
                let asks_live = request[..read].starts_with(b"GET /live");
                let status = if asks_live && !answer.load(Ordering::Relaxed) {
                    "500 Not Live"
                } else {
                    "200 OK"
                };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
        });
        Ok(Self { live })
    }
}

#[tokio::test]
async fn a_pod_runs_with_its_files_its_token_and_its_probes() -> Result<()> {
    let node = Node::start().await?;
    node.create(&secret("horse")).await?;
    node.create(&one()).await?;

    // Its arguments, its address, its file.
    let said = node.says("logs one", "it holds horse").await?;
    // It runs a moment before its status is written.
    let ip = eventually("its address", SOON, async || {
        let pod = node.pod("one").await?;
        let ip = pod["status"]["podIP"].as_str();
        Ok(ip.context("it has none")?.to_owned())
    })
    .await?;
    for told in ["arg --name=one", &format!("arg --listen={ip}:{PORT}")] {
        assert!(said.lines().any(|line| line == told), "no {told}: {said}");
    }
    assert_eq!(ready(&node.pod("one").await?), Some("False"));
    let answers = Answers::listen(&ip)?;
    node.kubectl("wait --for=condition=Ready pod/one --timeout=20s")
        .await?;

    // What is mounted rotates in place.
    let rotated = secret("battery").to_string();
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    node.plane
        .kubectl_with_input(&apply, &rotated)
        .await?
        .success()?;
    node.says("logs one", "it holds battery").await?;

    // It is its ServiceAccount, and this very Pod.
    let kubeconfig = said
        .lines()
        .find_map(|line| line.strip_prefix("KUBECONFIG "))
        .context("it has no KUBECONFIG")?;
    let whoami = ["auth", "whoami"];
    let kubeconfig = std::path::Path::new(kubeconfig);
    let who = node
        .plane
        .kubectl_as(kubeconfig, &whoami, None)
        .await?
        .success()?;
    for word in ["system:serviceaccount:default:default", "pod-name"] {
        assert!(who.contains(word), "{who}");
    }
    let config: Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
    let token = config["users"][0]["user"]["tokenFile"]
        .as_str()
        .context("no token")?;
    let before = fs::read_to_string(token)?;
    node.kubelet.renew_tokens();
    eventually("another token", SOON, async || {
        ensure!(fs::read_to_string(token)? != before, "it is the same");
        Ok(())
    })
    .await?;

    // The API server's absence does not touch it; what was missed is made up for.
    let process = node.kubelet.pods()[0].containers[0].process.clone();
    let process = process.context("it runs")?;
    let id = process.id();
    node.plane.api_server().kill()?;
    node.plane.restart_api_server().await?;
    // One probe that comes late is a Pod that is not ready for a moment.
    eventually("it to be ready as before", SOON, async || {
        let pod = node.pod("one").await?;
        ensure!(ready(&pod) == Some("True"), "{}", pod["status"]);
        Ok(())
    })
    .await?;
    assert_eq!(process.id(), id);

    // A failed liveness probe starts it anew.
    let restarts = "/status/containerStatuses/0/restartCount";
    let before = node.pod("one").await?.pointer(restarts).cloned();
    let before = before
        .and_then(|count| count.as_u64())
        .context("no count")?;
    answers.live.store(false, Ordering::Relaxed);
    node.becomes("one", restarts, &json!(before + 1)).await?;
    answers.live.store(true, Ordering::Relaxed);
    node.says("logs one --previous --tail=1", "asked to end")
        .await?;
    node.kubectl("wait --for=condition=Ready pod/one --timeout=20s")
        .await?;

    // And it is asked to end, and gone.
    let last = node.kubelet.pods()[0].containers[0].process.clone();
    let last = last.context("it runs")?;
    node.kubectl("delete pod one --timeout=20s").await?;
    assert!(!last.is_running() && last.log_text()?.ends_with("asked to end\n"));
    Ok(())
}

#[tokio::test]
async fn what_ends_and_what_cannot_start_says_so_and_nothing_is_left() -> Result<()> {
    let node = Node::start().await?;
    ensure!(node.kubelet.is_ready().await?, "the Node is not ready");
    let exit = |code: &str| json!({ "args": ["exit", code] });
    node.create(&pod("failed", "Never", exit("3"))).await?;
    let mut done = pod("done", "OnFailure", exit("0"));
    done["spec"]["initContainers"] =
        json!([{ "name": "first", "image": "program", "args": ["exit", "0"] }]);
    node.create(&done).await?;
    node.create(&pod("crashing", "Always", exit("4"))).await?;
    let mut no_key = exit("0");
    no_key["env"] =
        json!([{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "none", "key": "k" } } }]);
    node.create(&pod("no-secret", "Always", no_key)).await?;
    node.create(&pod("no-image", "Always", json!({ "image": "stranger:1" })))
        .await?;
    let mut elsewhere = pod("elsewhere", "Always", exit("0"));
    elsewhere["spec"]["nodeSelector"] = json!({ "kubernetes.io/os": "plan9" });
    node.create(&elsewhere).await?;
    node.create(&pod(
        "stays",
        "Always",
        json!({ "args": ["a", "b", "--file=/dev/null"] }),
    ))
    .await?;

    let state = "/status/containerStatuses/0/state";
    let failed = node
        .becomes("failed", "/status/phase", &json!("Failed"))
        .await?;
    assert_eq!(
        failed.pointer(&format!("{state}/terminated/exitCode")),
        Some(&json!(3))
    );
    node.says("logs failed", "exits with 3").await?;
    node.becomes("done", "/status/phase", &json!("Succeeded"))
        .await?;
    node.says("logs done -c first", "exits with 0").await?;
    for (name, reason) in [
        ("crashing", "CrashLoopBackOff"),
        ("no-secret", "CreateContainerConfigError"),
        ("no-image", "ImagePullBackOff"),
    ] {
        let waiting = format!("{state}/waiting/reason");
        node.becomes(name, &waiting, &json!(reason)).await?;
    }
    let pod = node
        .becomes("elsewhere", "/status/phase", &json!("Pending"))
        .await?;
    assert_eq!(pod.pointer("/status/podIP"), None);

    node.becomes("stays", "/status/phase", &json!("Running"))
        .await?;
    // Its probes begin when it runs.
    node.kubectl("wait --for=condition=Ready pod/stays --timeout=30s")
        .await?;
    let pods = node.kubelet.pods();
    let processes: Vec<_> = pods
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter_map(|container| container.process.clone())
        .collect();
    ensure!(
        processes.iter().any(|process| process.is_running()),
        "nothing runs"
    );
    drop(node.kubelet);
    ensure!(
        !processes.iter().any(|process| process.is_running()),
        "something is left"
    );
    Ok(())
}

fn ready(pod: &Value) -> Option<&str> {
    let mut conditions = pod["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

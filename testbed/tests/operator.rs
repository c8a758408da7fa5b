//! The operator's stand-in for a kubelet gives a process what the chart gives a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::scratch::Scratch;
use testbed::{ControlPlane, Etcd, EtcdOptions, Operator, OperatorOptions};

/// Says what it was given, and stays.
const BINARY: &str =
    "#!/bin/sh\nprintf 'arg %s\\n' \"$@\"\nenv | sort\necho ready\nexec sleep 300\n";

const TEMPLATE: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.testbed.example }
spec:
  group: testbed.example
  names: { kind: Thing, plural: things }
  scope: Namespaced
  versions:
    - { name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }
---
apiVersion: testbed.example/v1
kind: Thing
metadata: { name: needs-the-definition }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: {{ .Release.Name }}-account }
---
apiVersion: v1
kind: Secret
metadata: { name: login }
stringData: { password: horse }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }} }
spec:
  template:
    spec:
      serviceAccountName: {{ .Release.Name }}-account
      containers:
        - name: operator
          image: none
          args:
            - --endpoints={{ join "," .Values.etcd.endpoints }}
            - --key={{ .Values.etcd.directivesKey }}
            - --listen=0.0.0.0:{{ .Values.httpPort }}
            - --pod=$(POD)
            {{- range .Values.extraArgs }}
            - {{ . }}
            {{- end }}
          env:
            - { name: POD, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
            - { name: PASSWORD, valueFrom: { secretKeyRef: { name: login, key: password } } }
"#;

fn chart(scratch: &Scratch) -> Result<PathBuf> {
    scratch.directory("chart/templates")?;
    scratch.write(
        "chart/Chart.yaml",
        "apiVersion: v2\nname: stand-in\nversion: 0.1.0\nkubeVersion: '>=1.33.0-0'\n",
    )?;
    scratch.write("chart/templates/all.yaml", TEMPLATE)?;
    Ok(scratch.join("chart"))
}

#[tokio::test]
async fn a_replica_gets_the_containers_arguments_environment_and_account() -> Result<()> {
    let scratch = Scratch::new("stand-in")?;
    let binary = scratch.write("binary", BINARY)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o700))?;
    let plane = ControlPlane::start().await?;
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let options = OperatorOptions::new(binary)
        .chart(chart(&scratch)?)
        .release("diag")
        .namespace("platform")
        .values(json!({ "extraArgs": ["--last"] }));
    let mut operator = Operator::start(&plane, &etcd, options).await?;
    operator.start_replica(&plane).await?;

    for (index, replica) in operator.replicas().iter().enumerate() {
        let said = async || {
            let text = replica.process().log_text()?;
            ensure!(text.ends_with("ready\n"), "{text}");
            Ok(text)
        };
        let text = replica
            .process()
            .ready(Duration::from_secs(30), said)
            .await?;
        let mut expected = vec![
            format!("arg --endpoints={}", etcd.endpoint_list()),
            "arg --key=osproxy/directives".to_owned(),
            format!(
                "arg --listen=0.0.0.0:{}",
                replica.endpoint().rsplit(':').next().unwrap()
            ),
            format!("arg --pod=diag-{index}"),
            "arg --last".to_owned(),
            format!("KUBECONFIG={}", operator.kubeconfig().display()),
            "PASSWORD=horse".to_owned(),
            format!("POD=diag-{index}"),
        ];
        expected.push("ready".to_owned());
        // The shell itself says where it is.
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("PWD="))
            .collect();
        assert_eq!(lines, expected);
    }
    assert_ne!(
        operator.replica(0).endpoint(),
        operator.replica(1).endpoint()
    );

    let who = plane
        .kubectl_as(operator.kubeconfig(), &["auth", "whoami"], None)
        .await?
        .success()?;
    assert!(
        who.contains("system:serviceaccount:platform:diag-account"),
        "{who}"
    );
    let before = fs::read_to_string(testbed::kube::token_file(operator.kubeconfig()))?;
    operator.renew_token(&plane).await?;
    assert_ne!(
        fs::read_to_string(testbed::kube::token_file(operator.kubeconfig()))?,
        before
    );
    Ok(())
}

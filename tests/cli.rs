//! The command line, as a person on call has it: a kubeconfig and nothing else.
//!
//! One control plane, one etcd and one operator for all of it. What depends on the time is written `<time>` and `<left>`, and runs of
//! spaces as one: how the columns stand is the unit tests' to say.

#![cfg(feature = "operator")]
#![allow(
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::too_many_lines,
    reason = "a test breaks what it can, and tells one story on one system, which takes seconds to start"
)]

#[path = "cli/broken.rs"]
mod broken;
#[path = "cli/golden.rs"]
mod golden;
#[path = "cli/shell.rs"]
mod shell;
#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{EtcdOptions, eventually};

use broken::check_finds_what_is_broken;
use shell::{Said, Shell, told};
use support::{KEY, Line, SOON, options};

#[tokio::test]
async fn a_person_on_call_has_all_that_it_takes() -> Result<()> {
    // Without the policy, so that the operator has something to refuse.
    let options = options().values(json!({"policy": {"enabled": false}}));
    let line = Line::start_with(EtcdOptions::new(), options).await?;
    let shell = Shell::new(line.plane.kubeconfig())?;
    nothing_is_on(&shell).await?;
    on_waits_and_says_when_it_ends(&line, &shell).await?;
    what_the_operator_would_refuse_is_not_sent(&shell).await?;
    status_tells_the_same_to_people_and_machines(&shell).await?;
    extend_counts_from_now_and_never_shortens(&line, &shell).await?;
    wait_says_no_at_once_and_not_yet_in_time(&line, &shell).await?;
    who_may_read_one_namespace_is_told_so(&line, &shell).await?;
    it_is_a_plugin_of_kubectl(&line, &shell).await?;
    a_terminal_gets_colours_and_eighty_columns(&shell).await?;
    the_fleet_is_there_at_a_glance(&line, &shell).await?;
    off_takes_them_out_of_the_document(&line, &shell).await?;
    without_an_api_server_it_says_so(&shell).await?;
    check_finds_what_is_broken(&line, &shell).await?;
    Ok(())
}

async fn nothing_is_on(shell: &Shell) -> Result<()> {
    let said = shell.run(&["status"]).await?;
    ensure!(said.out.starts_with("Nothing is on.\n"), "{said:?}");
    said.ended(0)
}

async fn on_waits_and_says_when_it_ends(line: &Line, shell: &Shell) -> Result<()> {
    let said = shell
        .run(&[
            "on",
            "inc-4711",
            "--tenant=acme",
            "--index=orders",
            "--level=ShapeTiming",
            "--sample=5%",
            "--ttl=30m",
            "--comment=INC-4711, slow searches",
        ])
        .await?;
    said.ended(0)?;
    let expected = "default/inc-4711 is on until <time>: published, but no proxy reports, so nobody knows which of them have it\n";
    told(&said.out, expected)?;
    ensure!(
        said.err.starts_with(
            "default/inc-4711 is applied; `off inc-4711 -n default` takes it off again\n"
        ),
        "{said:?}"
    );
    line.ids(&["default/inc-4711"]).await?;
    let spec = shell.object(line, "inc-4711").await?["spec"].clone();
    ensure!(
        spec == json!({
            "match": [{"key": "tenant", "value": "acme"}, {"key": "index", "value": "orders"}],
            "level": "ShapeTiming", "samplePerMille": 50, "ttl": "30m",
            "ringBuffer": false, "capture": false,
            "createdBy": "testbed-admin", "comment": "INC-4711, slow searches",
        }),
        "{spec}"
    );

    let again = shell
        .run(&[
            "on",
            "inc-4711",
            "--all-requests",
            "--level=Shape",
            "--sample=1%",
            "--ttl=1m",
        ])
        .await?;
    again.ended(1)?;
    ensure!(
        again.err.contains("already exists")
            && again
                .err
                .contains("hint: `extend` makes that one last longer"),
        "{again:?}"
    );
    Ok(())
}

async fn what_the_operator_would_refuse_is_not_sent(shell: &Shell) -> Result<()> {
    for (arguments, status, words) in [
        (
            &["--level=Shape", "--sample=1%", "--ttl=1m"][..],
            2,
            "--all-requests",
        ),
        (
            &["--tenant=acme", "--all-requests", "--sample=1%", "--ttl=1m"],
            2,
            "cannot be used with",
        ),
        (
            &["--tenant=acme", "--level=Shape", "--sample=5", "--ttl=1m"],
            2,
            "such as 5% or 0.5%",
        ),
        (
            &[
                "--tenant=acme",
                "--level=Shape",
                "--sample=1%",
                "--ttl=1h 30m",
            ],
            2,
            "such as 30m or 1h30m",
        ),
        (
            &["--tenant=acme", "--level=Shape", "--sample=1%", "--ttl=1s"],
            1,
            "`spec.ttl` is out of bounds",
        ),
        (
            &["--tenant=acme", "--sample=1%", "--ttl=1m"],
            1,
            "this directive does nothing",
        ),
        (
            &["--tenant=", "--level=Shape", "--sample=1%", "--ttl=1m"],
            1,
            "is empty, which no request has",
        ),
    ] {
        let said = shell.run_with("on", arguments).await?;
        said.ended(status)?;
        ensure!(said.err.contains(words) && said.out.is_empty(), "{said:?}");
    }
    Ok(())
}

async fn status_tells_the_same_to_people_and_machines(shell: &Shell) -> Result<()> {
    let said = shell.run(&["status", "-n", "default"]).await?;
    said.ended(0)?;
    let expected = "\
NAME LEFT LEVEL SAMPLE APPLIED TARGET
default/inc-4711 <left> ShapeTiming 5% - tenant=acme, index=orders
 by testbed-admin: INC-4711, slow searches
";
    ensure!(
        shell::normal(&said.out).starts_with(expected),
        "{}",
        said.out
    );

    let json: Value = serde_json::from_str(&shell.run(&["status", "-o", "json"]).await?.out)?;
    let only = &json["directives"][0];
    for (member, expected) in [
        ("namespace", json!("default")),
        ("state", json!("On")),
        ("createdBy", json!("testbed-admin")),
        ("sample", json!("5%")),
        ("applied", Value::Null),
    ] {
        ensure!(only[member] == expected, "{member} is {}", only[member]);
    }
    let left = only["leftSeconds"].as_u64().context("no time left")?;
    // Of half an hour, of which all that went before may have taken some minutes.
    ensure!((1_500..=1_800).contains(&left), "{left} s left");
    let yaml = shell.run(&["status", "-o", "yaml"]).await?;
    ensure!(yaml.out.contains("state: \"On\"\n"), "{yaml:?}");
    let wide = shell.run(&["status", "-A", "-o", "wide"]).await?;
    let rows: Vec<&str> = wide.out.lines().collect();
    ensure!(
        rows[0].starts_with("NAME") && rows[1].contains("INC-4711, slow searches"),
        "{wide:?}"
    );
    Ok(())
}

async fn extend_counts_from_now_and_never_shortens(line: &Line, shell: &Shell) -> Result<()> {
    let before = support::now_secs();
    let said = shell.run(&["extend", "inc-4711", "--for=1h"]).await?;
    said.ended(0)?;
    let document = line.document().await?.context("no document")?;
    let lasts = document.end_secs("default/inc-4711") - before;
    ensure!(
        (3_598..=3_630).contains(&lasts),
        "it lasts {lasts} s from then"
    );

    let ttl = shell.object(line, "inc-4711").await?["spec"]["ttl"].clone();
    let said = shell.run(&["extend", "inc-4711", "--for=1m"]).await?;
    said.ended(0)?;
    told(&said.out, "default/inc-4711 lasts until <time> as it is\n")?;
    ensure!(
        shell.object(line, "inc-4711").await?["spec"]["ttl"] == ttl,
        "it was changed"
    );

    // In its first second it could still last that long.
    eventually("a second to pass", SOON, async || {
        ensure!(support::now_secs() > before + 1, "it is the same one");
        Ok(())
    })
    .await?;
    let said = shell.run(&["extend", "inc-4711", "--for=168h"]).await?;
    said.ended(1)?;
    ensure!(said.err.contains("168h is the longest"), "{said:?}");
    shell
        .run(&["extend", "missing", "--for=1m"])
        .await?
        .ended(1)
}

async fn wait_says_no_at_once_and_not_yet_in_time(line: &Line, shell: &Shell) -> Result<()> {
    shell.run(&["wait", "inc-4711"]).await?.ended(0)?;
    shell.run(&["wait", "missing"]).await?.ended(1)?;

    let mut typo = support::directive("typo", "1h");
    typo["spec"]["supend"] = true.into();
    line.apply(&typo).await?;
    let said = shell.run(&["wait", "typo"]).await?;
    said.ended(1)?;
    ensure!(
        said.err
            .starts_with("error: default/typo is refused (UnknownField): `spec.supend`"),
        "{said:?}"
    );

    let mut etcd = line.etcd.client().await?;
    let paused = format!("{KEY}/paused");
    etcd.put(paused.as_str(), "a person", None).await?;
    let held = [
        "on",
        "held",
        "--tenant=acme",
        "--level=Shape",
        "--sample=100%",
        "--ttl=1h",
        // What it gives up in has to be longer than the operator takes to say why, on a busy machine too.
        "--timeout=10s",
    ];
    let said = shell.run(&held).await?;
    said.ended(3)?;
    ensure!(
        said.err.contains("default/held is pending (Paused)") && said.err.contains("hint: "),
        "{said:?}"
    );
    let status = shell.run(&["status"]).await?;
    let text = shell::normal(&status.out);
    ensure!(
        text.contains("\ndefault/held Pending (Paused): A person paused the publishing"),
        "{text}"
    );
    ensure!(
        text.contains("\ndefault/typo Refused (UnknownField): `spec.supend`"),
        "{text}"
    );
    etcd.delete(paused.as_str(), None).await?;
    shell.run(&["wait", "held"]).await?.ended(0)
}

async fn who_may_read_one_namespace_is_told_so(line: &Line, shell: &Shell) -> Result<()> {
    for args in [
        &["create", "serviceaccount", "reader"][..],
        &[
            "create",
            "role",
            "reader",
            "--verb=get,list",
            "--resource=diagnosticsdirectives.osproxy.io",
        ],
        &[
            "create",
            "rolebinding",
            "reader",
            "--role=reader",
            "--serviceaccount=default:reader",
        ],
    ] {
        line.plane.kubectl(args).await?.success()?;
    }
    let kubeconfig = line
        .plane
        .service_account_kubeconfig("default", "reader")
        .await?;
    let reader = Shell::new(&kubeconfig)?;
    // The API server goes by a role a moment after it has taken it.
    eventually("the role to hold", SOON, async || {
        let said = reader.run(&["status"]).await?;
        said.ended(0)?;
        ensure!(
            said.err
                == "You may not list the directives of all namespaces: only those of default are shown.\n"
                && said.out.contains("default/inc-4711"),
            "{said:?}"
        );
        Ok(())
    })
    .await?;
    for refused in [
        &["status", "-A"][..],
        &["off", "inc-4711"],
        &["extend", "inc-4711", "--for=2h"],
    ] {
        let said = reader.run(refused).await?;
        said.ended(2)?;
        ensure!(
            said.err
                .contains("ask whoever runs this cluster for the right"),
            "{said:?}"
        );
    }
    // And nobody needs to be more than that to look, as whoever one may be.
    let said = shell
        .run(&["status", "--as=system:serviceaccount:default:reader"])
        .await?;
    said.ended(0)
}

async fn it_is_a_plugin_of_kubectl(line: &Line, shell: &Shell) -> Result<()> {
    let said = shell
        .plugin(line, &["diag", "status", "-n", "default"])
        .await?;
    said.ended(0)?;
    ensure!(said.out.contains("default/inc-4711"), "{said:?}");
    let help = shell.plugin(line, &["diag", "wait", "--help"]).await?;
    ensure!(
        help.out
            .contains("Usage: kubectl diag wait [OPTIONS] <NAME>"),
        "{help:?}"
    );
    kubectl_completes_its_words(line, shell).await?;
    for name in ["bash", "zsh", "fish"] {
        let said = shell.run(&["completion", name]).await?;
        said.ended(0)?;
        ensure!(said.out.contains("extend"), "{said:?}");
    }
    Ok(())
}

/// By kubectl's own completion, which asks a second link of the program.
async fn kubectl_completes_its_words(line: &Line, shell: &Shell) -> Result<()> {
    for (words, expected) in [
        (
            &["st"][..],
            "status\tShow what is on: what ends first comes first\n:4\n",
        ),
        (&["status", "-o", "y"], "yaml\tFor machines, as YAML\n:4\n"),
        (&["extend", "inc"], "inc-4711\tOn\n:4\n"),
        (&["off", "inc-4711", "t"], "typo\tRefused\n:4\n"),
        (&["wait", "-n", "kube-system", ""], ":4\n"),
        // A server that is not there costs a second at most, and no word.
        (&["wait", "--kubeconfig=/nowhere/at/all", ""], ":4\n"),
        (&["status", "--kubeconfig", ""], ":0\n"),
    ] {
        let args: Vec<&str> = ["__complete", "diag"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        // A server that takes longer than a second is not waited for, and may do on a busy machine.
        let said = eventually("the words", SOON, async || {
            let said = shell.plugin(line, &args).await?;
            said.ended(0)?;
            ensure!(said.out == expected, "{words:?}: {said:?}");
            Ok(said)
        })
        .await?;
        // kubectl talks to whoever debugs it; we say nothing.
        let kubectls = |line: &str| line.starts_with("[Debug]") || line.starts_with("Completion");
        ensure!(said.err.lines().all(kubectls), "{said:?}");
    }
    Ok(())
}

async fn a_terminal_gets_colours_and_eighty_columns(shell: &Shell) -> Result<()> {
    let coloured = shell.terminal(&["status"], &[]).await?;
    ensure!(coloured.contains("\u{1b}[1mNAME\u{1b}[0m"), "{coloured:?}");
    let plain = shell.terminal(&["status"], &[("NO_COLOR", "1")]).await?;
    ensure!(!plain.contains('\u{1b}'), "{plain:?}");
    ensure!(
        plain.lines().all(|line| line.chars().count() <= 80),
        "{plain}"
    );
    let whole: String = plain.split_whitespace().collect();
    ensure!(
        whole.contains("Deletethatkeytogoon") || whole.contains("Fleet:"),
        "{plain}"
    );
    Ok(())
}

async fn the_fleet_is_there_at_a_glance(line: &Line, shell: &Shell) -> Result<()> {
    let args = ["get", "diagfleet", "-A", "--no-headers"];
    let row = eventually(
        "the DiagnosticsFleet to say that it is in sync",
        SOON,
        async || {
            let row = line.plane.kubectl(&args).await?.success()?;
            ensure!(row.contains("InSync"), "{row:?}");
            Ok(row)
        },
    )
    .await?;
    let cells: Vec<&str> = row.split_whitespace().collect();
    ensure!(
        cells[..3] == ["osproxy-directives", "osproxy-directives", "True"]
            && cells[4..6] == ["Reachable", "InSync"],
        "{cells:?}"
    );
    let status = shell.run(&["status"]).await?;
    ensure!(
        status.out.contains("Fleet:    no proxy reports\n")
            && status
                .out
                .contains(" leads; The key says what the directives say\n"),
        "{status:?}"
    );

    // A quiet system causes no writes, whatever time passes.
    let version = async || {
        let args = [
            "get",
            "diagfleet",
            "-n",
            "osproxy-directives",
            "osproxy-directives",
            "-o",
            "jsonpath={.metadata.resourceVersion}",
        ];
        line.plane.kubectl(&args).await?.success()
    };
    let before = settled(&version).await?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    ensure!(
        version().await? == before,
        "it was written although nothing was new"
    );

    // A proxy's record by hand, since nobody reports: what stands there is read as it is.
    let mut etcd = line.etcd.client().await?;
    let record =
        r#"{"version":"0.1.0","revision":1,"refused":{"reason":"unknown_member","revision":1}}"#;
    etcd.put(format!("{KEY}/fleet/edge-7f9c"), record, None)
        .await?;
    let endpoints = format!("--etcd-endpoints={}", line.etcd.endpoint_list());
    let said = shell.run(&["proxies", &endpoints]).await?;
    said.ended(1)?;
    ensure!(
        shell::normal(&said.out).contains("\nedge-7f9c Lagging 0.1.0 1 ")
            && said.out.contains("unknown_member"),
        "{said:?}"
    );
    eventually("the operator to report it", SOON, async || {
        let said = shell.run(&["proxies"]).await?;
        said.ended(1)?;
        ensure!(said.out.contains("edge-7f9c  Lagging"), "{said:?}");
        let status = shell.run(&["status"]).await?;
        ensure!(
            status.out.contains(
                "Fleet:    0 of 1 proxies that report are current, 1 behind: edge-7f9c\n"
            ),
            "{status:?}"
        );
        Ok(())
    })
    .await?;
    etcd.delete(format!("{KEY}/fleet/edge-7f9c"), None).await?;
    shell.run(&["proxies", &endpoints]).await?.ended(0)?;
    eventually(
        "the operator to report that nobody reports",
        SOON,
        async || {
            let said = shell.run(&["proxies"]).await?;
            said.ended(0)?;
            told(&said.out, "No proxy reports.\n")
        },
    )
    .await
}

/// A value that does not change for two seconds.
async fn settled(read: impl AsyncFn() -> Result<String>) -> Result<String> {
    let mut last = read().await?;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let now = read().await?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("it changes again and again")
}

async fn off_takes_them_out_of_the_document(line: &Line, shell: &Shell) -> Result<()> {
    let said = shell.run(&["off", "inc-4711"]).await?;
    said.ended(0)?;
    told(
        &said.out,
        "default/inc-4711 is suspended: it is in no document, but no proxy reports, so nobody knows which of them have dropped it\n",
    )?;
    line.ids(&["default/held"]).await?;
    let said = shell.run(&["off", "--all"]).await?;
    said.ended(0)?;
    ensure!(said.out.contains("default/held is suspended"), "{said:?}");
    ensure!(
        line.document().await?.is_none(),
        "the document is still there"
    );
    let said = shell.run(&["off", "--all", "-A"]).await?;
    told(&said.out, "Nothing is on.\n")?;
    let said = shell
        .run(&["off", "--delete", "inc-4711", "missing", "held"])
        .await?;
    said.ended(1)?;
    told(
        &said.out,
        "default/inc-4711 is deleted\ndefault/held is deleted\n",
    )?;
    ensure!(said.err.contains("\"missing\" not found"), "{said:?}");
    Ok(())
}

async fn without_an_api_server_it_says_so(shell: &Shell) -> Result<()> {
    let said: Said = shell
        .run(&["status", "--kubeconfig=/nowhere/at/all"])
        .await?;
    said.ended(2)?;
    ensure!(said.err.contains("cannot find the API server"), "{said:?}");
    let said = shell.run(&["status", "--context=none"]).await?;
    said.ended(2)
}

//! A thousand real stores in this process and three proxies beside it: what one apply takes and costs. `make bench` runs it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{Etcd, Proxy, eventually};

use super::support::{KEY, SOON, condition, directive};
use super::{Stage, example, named, records};
use testbed::ProxyOptions;

/// Twice the window of a thousand, and what 500 proxies may take.
const WITHIN: Duration = Duration::from_secs(8);

async fn revision(etcd: &Etcd) -> Result<i64> {
    let answer = etcd.client().await?.get(KEY, None).await?;
    Ok(answer.header().context("no header")?.revision())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of a minute or two, for `make bench`"]
async fn a_thousand_stores_say_what_they_have() -> Result<()> {
    let fleet: usize = std::env::var("FLEET")
        .ok()
        .and_then(|many| many.parse().ok())
        .unwrap_or(1_000);
    let mut stage = Stage::start().await?;
    let mut proxies = Vec::new();
    for name in ["proxy-4", "proxy-5"] {
        let options = ProxyOptions::new(example()?, stage.line.etcd.endpoints())
            .name(name)
            .arg("--instance")
            .arg(name);
        proxies.push(Proxy::start(options).await?);
    }
    let began = Instant::now();
    for n in stage.stores.len() + 1 + proxies.len()..fleet + 3 {
        stage
            .stores
            .push(named(&stage.line.etcd, &format!("store-{n:05}")).await?);
    }
    let all = fleet + 3;
    let reporting = async || {
        let many = records(&stage.line.etcd).await?.len();
        ensure!(many == all, "{many} of {all} report");
        Ok(())
    };
    eventually("all of them to report", Duration::from_mins(3), reporting).await?;
    println!(
        "{all} proxies report {:.1} s after the first was started",
        began.elapsed().as_secs_f64()
    );

    for round in 0..5 {
        let name = format!("d{round}");
        let (before, applied) = (revision(&stage.line.etcd).await?, Instant::now());
        stage.line.apply(&directive(&name, "1h")).await?;
        let asked = Instant::now();
        let status = eventually("Applied", WITHIN.max(SOON), async || {
            let status = stage.line.status(&name).await?;
            ensure!(condition(&status, "Applied")? == "True/Applied", "{status}");
            Ok(status)
        })
        .await?;
        let took = asked.elapsed();
        stage.everybody_traces()?;
        for proxy in proxies.iter().chain([&stage.proxy]) {
            let known = proxy.directives().await?.directives.len();
            ensure!(
                known == round + 1,
                "{known} directives in {}",
                proxy.endpoint()
            );
        }
        let writes = revision(&stage.line.etcd).await? - before;
        println!(
            "apply → Applied=True {} after {:.2} s (kubectl {:.2} s more); {writes} revisions of etcd, {} status writes",
            status["applied"],
            took.as_secs_f64(),
            (asked - applied).as_secs_f64(),
            stage.statuses(&name),
        );
        ensure!(took <= WITHIN, "it took {took:?}");
        ensure!(writes <= i64::try_from(all)? + 5, "{writes} writes");
        ensure!(stage.statuses(&name) <= 3, "too many statuses");
    }
    Ok(())
}

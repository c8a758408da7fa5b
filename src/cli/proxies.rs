//! `osproxy-directives proxies`: what each proxy that reports says.

mod view;

use std::io::{self, Write as _};

use clap::Args;
use etcd_client::GetOptions;

use super::check::{Found, fleets};
use super::etcd::{EtcdAccess, unreadable};
use super::exit::{self, Failure};
use super::kube::{KubeArguments, block_on};
use super::terminal::{Format, Look};
use crate::etcd::{Fault, within};
use crate::fleet::{FleetView, Target};
use crate::operator::publish::keys::KeyStore;
use view::Proxies;

/// Show the proxies: instance, version, publication, how far behind, clock, last refusal.
///
/// Those that are not current, fifty at most, as the operator reported them last in the DiagnosticsFleet; with --etcd-endpoints every proxy
/// that reports, as it stands in etcd now. Ends with 1 where one is not current. Writes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Arguments {
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,

    #[command(flatten)]
    kube: KubeArguments,

    /// The client URLs of etcd, separated by commas: to read the proxies' own records.
    #[arg(
        long,
        env = "OSPROXY_ETCD_ENDPOINTS",
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "etcd"
    )]
    etcd_endpoints: Vec<String>,

    #[command(flatten)]
    etcd: EtcdAccess,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    block_on(async {
        let proxies = if arguments.etcd_endpoints.is_empty() {
            reported(arguments).await?
        } else {
            recorded(arguments).await?
        };
        let text = match arguments.output {
            Format::Text => proxies.text(Look::of_stdout()),
            Format::Json => {
                let text = serde_json::to_string_pretty(&proxies.machine());
                text.map_err(|error| Failure::cannot(format!("cannot print JSON: {error}")))? + "\n"
            }
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        Ok(if proxies.are_current() {
            exit::YES
        } else {
            exit::NO
        })
    })
}

/// As the operator reported them.
async fn reported(arguments: &Arguments) -> Result<Proxies, Failure> {
    let cluster = arguments.kube.cluster().await?;
    let found = fleets(&cluster, arguments.kube.namespace.as_deref()).await;
    let now_secs = cluster.now_secs();
    match found {
        Found::Is(fleets) => match fleets.into_iter().next() {
            Some(fleet) => Ok(Proxies::reported(&fleet, now_secs)),
            None => Err(Failure::cannot("there is no DiagnosticsFleet to read: the operator has reported nothing")
                .hint("`check` says why; with --etcd-endpoints the proxies' own records are read")),
        },
        Found::Absent => Err(Failure::cannot("the API server does not know DiagnosticsFleet")
            .hint("apply its definition: `osproxy-directives crd fleet | kubectl apply --server-side --force-conflicts -f -`")),
        Found::Forbidden => Err(Failure::forbidden("you may not read the DiagnosticsFleet")
            .hint("name the operator's namespace with -n, or ask for the chart's view role")),
        Found::Failed(why) => Err(Failure::cannot(format!("cannot read the DiagnosticsFleet: {why}"))),
    }
}

/// As they say themselves.
async fn recorded(arguments: &Arguments) -> Result<Proxies, Failure> {
    let store = arguments.etcd.store(&arguments.etcd_endpoints).await?;
    let unread = |fault| unreadable("read the proxies' records", fault);
    let state = store.read().await.map_err(unread)?;
    let view = records(&store).await.map_err(unread)?;
    // Without a document there is nothing to be behind of.
    let revision = state.document_revision();
    let target = if revision == 0 {
        Target::withdrawn(i64::MAX)
    } else {
        Target::published(revision)
    };
    let now = crate::document::Moment::now(&osproxy_core::SystemClock);
    Ok(Proxies::recorded(&view, target, now.wall_secs()))
}

/// Every record, a thousand at a time: one answer of etcd-client's holds four megabytes at most.
async fn records(store: &KeyStore) -> Result<FleetView, Fault> {
    const PAGE: i64 = 1_000;
    let prefix = store.keys().fleet();
    let end = after(&prefix);
    let deadline = store.deadline();
    let mut view = FleetView::default();
    let mut from = prefix.clone().into_bytes();
    loop {
        let (key, end) = (from.clone(), end.clone());
        let page = store.link().call(|client| async move {
            let mut kv = client.kv_client();
            let options = GetOptions::new().with_range(end).with_limit(PAGE);
            within(deadline, kv.get(key, Some(options))).await
        });
        let page = page.await?;
        for record in page.kvs() {
            let name = String::from_utf8_lossy(record.key());
            let name = name.strip_prefix(&prefix).unwrap_or(&name);
            view.set(name, record.value(), record.lease(), record.mod_revision());
        }
        let Some(last) = page.kvs().last().filter(|_| page.more()) else {
            return Ok(view);
        };
        from = last.key().to_vec();
        from.push(0);
    }
}

/// The first key behind all those that begin with `prefix`, which ends in a slash.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

//! A proxy that asks the store on every request, and answers with what was decided.
//!
//! ```text
//! proxy --etcd-endpoints http://127.0.0.1:2379 --etcd-directives-key osproxy/directives --instance proxy-1 --listen 127.0.0.1:0
//! curl -H 'x-tenant: acme' http://127.0.0.1:…/orders/_search
//! {"level":"ShapeTiming","ring_buffer":false,"capture":false}
//! ```
//!
//! A real proxy resolves the tenant and authenticates the principal; this one believes two headers. `GET /_directives`
//! shows what it knows and how fresh that is.

use std::error::Error;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Json;
use axum::routing::get;
use osproxy_core::{Clock, EndpointKind, PartitionId, PrincipalId, RequestId, SystemClock};
use osproxy_directives::EtcdDirectiveStore;
use osproxy_observe::{DirectiveStore, RequestAttrs};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What every request needs: the store, and the clock that it was given.
#[derive(Clone)]
struct Proxy {
    store: EtcdDirectiveStore,
    clock: Arc<dyn Clock>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;

    // One store for the whole process; its clones share everything. It is ready when `connect` returns.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // With a name of its own it says up to which revision it is current, where its login may.
    let mut store =
        EtcdDirectiveStore::builder(args.etcd_endpoints, args.etcd_directives_key, clock.clone());
    if let Some(name) = args.instance {
        store = store.instance(name);
    }
    let store = store.build().await?;

    let routes = axum::Router::new()
        .route("/_directives", get(directives))
        .fallback(handle)
        .with_state(Proxy {
            store: store.clone(),
            clock,
        });
    let listener = TcpListener::bind(&args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    // So that nobody waits for the word of a proxy that is gone.
    store.retire().await;
    Ok(())
}

/// Any request: what the directives say about it.
async fn handle(State(proxy): State<Proxy>, request: Request) -> Json<Value> {
    let headers = request.headers();
    let tenant = header(headers, "x-tenant").map(PartitionId::from);
    let principal = PrincipalId::from(header(headers, "x-principal").unwrap_or("anonymous"));
    let request_id = RequestId::from(header(headers, "x-request-id").unwrap_or("none"));
    let mut path = request.uri().path().split('/').skip(1);
    let attrs = RequestAttrs {
        tenant: tenant.as_ref(),
        index: path.next().unwrap_or_default(),
        principal: &principal,
        endpoint: classify(request.method(), path.next().unwrap_or_default()),
    };

    let decision = proxy.store.decide(&attrs, proxy.clock.now(), &request_id);

    // Here a proxy records the request as verbosely as `level` says, into its ring buffer and to its
    // capture sink where those are asked for.
    Json(json!({
        "level": decision.level.as_str(),
        "ring_buffer": decision.ring_buffer,
        "capture": decision.capture,
    }))
}

/// What the store holds and how fresh it is: for an admin port, since it shows selectors.
async fn directives(State(proxy): State<Proxy>) -> Json<Value> {
    let mut answer = proxy.store.load().introspect(proxy.clock.now());
    answer["status"] = json!(proxy.store.status());
    Json(answer)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The few endpoint classes that an example needs.
fn classify(method: &Method, segment: &str) -> EndpointKind {
    match segment {
        "_search" => EndpointKind::Search,
        "_msearch" => EndpointKind::MultiSearch,
        "_count" => EndpointKind::Count,
        "_doc" if method == Method::GET => EndpointKind::GetById,
        "_doc" if method == Method::DELETE => EndpointKind::DeleteById,
        "_doc" | "_create" | "_update" => EndpointKind::IngestDoc,
        "_bulk" => EndpointKind::IngestBulk,
        "_mget" => EndpointKind::MultiGet,
        "_delete_by_query" => EndpointKind::DeleteByQuery,
        _ => EndpointKind::Unknown,
    }
}

struct Args {
    etcd_endpoints: Vec<String>,
    etcd_directives_key: String,
    instance: Option<String>,
    listen: String,
}

impl Args {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self {
            etcd_endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            etcd_directives_key: "osproxy/directives".to_owned(),
            instance: None,
            listen: "127.0.0.1:0".to_owned(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--etcd-endpoints" => {
                    parsed.etcd_endpoints = value.split(',').map(str::to_owned).collect();
                }
                "--etcd-directives-key" => parsed.etcd_directives_key = value,
                "--instance" => parsed.instance = Some(value),
                "--listen" => parsed.listen = value,
                _ => {
                    return Err(format!(
                        "unknown flag {flag}; known are --etcd-endpoints, --etcd-directives-key, --instance and --listen"
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

//! osproxy's own pipeline with our store in it, fed from a real etcd: who is traced, and who is not.

use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use osproxy_core::{
    Clock, ClusterId, EndpointKind, IndexName, PartitionId, PrincipalId, RequestId, SystemClock,
};
use osproxy_directives::store::EtcdDirectiveStore;
use osproxy_engine::Pipeline;
use osproxy_observe::{BreakGlassBuffer, DiagLevel, SpanExporter};
use osproxy_sink::MemorySink;
use osproxy_spi::{
    BodyDoc, DocIdRule, HeaderView, HttpMethod, InjectedField, Placement, PlacementAt, Principal,
    Protocol, RequestCtx, SpiError, TenancySpi,
};
use osproxy_tenancy::TenancyRouter;
use serde_json::Value;
use testbed::deadline::eventually;
use testbed::{Etcd, EtcdOptions};

use crate::support::{KEY, SOON, put_by_hand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxys_pipeline_traces_the_requests_of_a_directive_and_no_others() -> Result<()> {
    let etcd = Etcd::start(EtcdOptions::new()).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = EtcdDirectiveStore::connect(&etcd.endpoints(), KEY, Arc::clone(&clock)).await?;
    let proxy = Proxy::new(store, clock);

    ensure!(
        proxy.traces("acme", "orders").await == NOTHING,
        "there is no directive yet"
    );

    let document = r#"{"directives":[
        {"id":"a/level","level":"Shape","ttl_secs":600,"tenant":"acme","index":"orders"},
        {"id":"a/ring","level":"Off","ttl_secs":600,"tenant":"acme","ring_buffer":true},
        {"id":"a/capture","level":"Off","ttl_secs":600,"index":"carts","capture":true}]}"#;
    put_by_hand(&etcd, document, 0).await?;
    eventually("the directives to act", SOON, async || {
        let left = proxy.traces("acme", "orders").await;
        ensure!(left == seen(1, 1, false), "{left:?}");
        Ok(())
    })
    .await?;
    for (tenant, index, expected) in [
        ("acme", "orders", seen(1, 1, false)),
        ("acme", "carts", seen(0, 1, true)),
        ("globex", "orders", NOTHING),
        ("globex", "carts", seen(0, 0, true)),
        ("Acme", "orders", NOTHING),
    ] {
        assert_eq!(
            proxy.traces(tenant, index).await,
            expected,
            "{tenant}/{index}"
        );
    }

    put_by_hand(&etcd, r#"{"directives":[]}"#, 0).await?;
    eventually("the directives to be gone", SOON, async || {
        let left = proxy.traces("acme", "orders").await;
        ensure!(left == NOTHING, "{left:?}");
        Ok(())
    })
    .await
}

/// What one request left behind: spans exported, records on the proxy's own tape, and whether its traffic was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    spans: usize,
    tapes: usize,
    captured: bool,
}

const fn seen(spans: usize, tapes: usize, captured: bool) -> Seen {
    Seen {
        spans,
        tapes,
        captured,
    }
}

const NOTHING: Seen = seen(0, 0, false);

/// The part of a proxy that decides and records.
struct Proxy {
    pipeline: Pipeline<TenancyRouter<ByPrincipal>, MemorySink>,
    spans: Spans,
    tape: Arc<BreakGlassBuffer>,
}

impl Proxy {
    fn new(store: EtcdDirectiveStore, clock: Arc<dyn Clock>) -> Self {
        let spans = Spans::default();
        let tape = Arc::new(BreakGlassBuffer::new(10_000));
        let pipeline = Pipeline::new(TenancyRouter::new(ByPrincipal), MemorySink::new())
            .with_exporter(Arc::new(spans.clone()))
            .with_break_glass(Arc::clone(&tape))
            // Nothing is recorded but what a directive asks for.
            .with_baseline_level(DiagLevel::Off)
            .with_clock(clock)
            .with_directive_store(Arc::new(store));
        Self {
            pipeline,
            spans,
            tape,
        }
    }

    /// Sends one request and counts what it left behind.
    async fn traces(&self, tenant: &str, index: &str) -> Seen {
        let (spans, tapes) = self.recorded();
        let principal = Principal::new(PrincipalId::from(tenant));
        let request = RequestId::from("request-1");
        let context = RequestCtx::new(
            &principal,
            &request,
            HttpMethod::Put,
            EndpointKind::IngestDoc,
            Protocol::Http1,
            index,
            HeaderView::new(&[]),
            br#"{"amount": 5}"#,
        );
        let (answer, captured) = self.pipeline.handle_with_capture(&context).await;
        answer.expect("the sink takes everything");
        let (all_spans, all_tapes) = self.recorded();
        seen(all_spans - spans, all_tapes - tapes, captured)
    }

    fn recorded(&self) -> (usize, usize) {
        let spans = self.spans.0.lock().expect("nobody panicked").len();
        (spans, self.tape.snapshot().len())
    }
}

/// Keeps what would be sent to a collector.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Value>>>);

impl SpanExporter for Spans {
    fn export(&self, payload: Value) {
        self.0.lock().expect("nobody panicked").push(payload);
    }
}

/// Each principal is a tenant, with a cluster of its own.
struct ByPrincipal;

impl TenancySpi for ByPrincipal {
    fn resolve_partition(
        &self,
        context: &RequestCtx<'_>,
        _body: BodyDoc<'_>,
    ) -> Result<PartitionId, SpiError> {
        Ok(PartitionId::from(context.principal_id().as_str()))
    }

    fn doc_id_rule(&self) -> Option<DocIdRule> {
        None
    }

    fn injected_fields(&self) -> Vec<InjectedField> {
        Vec::new()
    }

    async fn placement_for(&self, partition: &PartitionId) -> Result<PlacementAt, SpiError> {
        let placement = Placement::DedicatedIndex {
            cluster: ClusterId::from("cluster-1"),
            index: IndexName::from(partition.as_str()),
        };
        Ok(PlacementAt::new(placement, osproxy_core::Epoch::new(1)))
    }
}

//! The tables of the promise "never wider", and what reads them: rows of documents and manifests, each with what it
//! must decide, and an oracle that shares no code with the crate.

#![allow(
    dead_code,
    reason = "each test file that names this module uses its own part of it"
)]

use osproxy_core::{EndpointKind, Instant, PartitionId, PrincipalId, RequestId};
use osproxy_observe::{DiagLevel, DirectiveSet, RequestAttrs};

pub(crate) mod manifests;
pub(crate) mod rng;
pub(crate) mod wire;

pub(crate) use rng::Rng;

/// What a row switches on, and for which requests: the hand-written column that decisions are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On {
    tenant: Option<&'static str>,
    index: Option<&'static str>,
    principal: Option<&'static str>,
    endpoint: Option<EndpointKind>,
    level: DiagLevel,
    sample: u64,
    ring_buffer: bool,
    capture: bool,
}

/// Every request, all of them, at `level`; narrowed by what follows.
pub(crate) const fn on(level: DiagLevel) -> On {
    On {
        tenant: None,
        index: None,
        principal: None,
        endpoint: None,
        level,
        sample: 1000,
        ring_buffer: false,
        capture: false,
    }
}

impl On {
    pub(crate) const fn tenant(mut self, tenant: &'static str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    pub(crate) const fn index(mut self, index: &'static str) -> Self {
        self.index = Some(index);
        self
    }

    pub(crate) const fn principal(mut self, principal: &'static str) -> Self {
        self.principal = Some(principal);
        self
    }

    pub(crate) const fn endpoint(mut self, endpoint: EndpointKind) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    pub(crate) const fn sample(mut self, per_mille: u64) -> Self {
        self.sample = per_mille;
        self
    }

    pub(crate) const fn ring_buffer(mut self) -> Self {
        self.ring_buffer = true;
        self
    }

    pub(crate) const fn capture(mut self) -> Self {
        self.capture = true;
        self
    }

    /// Every request of tenant acme.
    pub(crate) const fn of_acme() -> Self {
        on(DiagLevel::Shape).tenant("acme")
    }

    /// All requests of the same target, at the quietest level that says something.
    pub(crate) const fn target_alone(&self) -> Self {
        Self {
            level: DiagLevel::Shape,
            sample: 1000,
            ring_buffer: false,
            capture: false,
            ..*self
        }
    }

    /// The target as keys and values.
    pub(crate) fn target_items(&self) -> Vec<(&'static str, &'static str)> {
        let items = [
            ("tenant", self.tenant),
            ("index", self.index),
            ("principal", self.principal),
            ("endpoint", self.endpoint.map(EndpointKind::as_str)),
        ];
        items
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    fn is_for(&self, request: &Request) -> bool {
        self.tenant
            .is_none_or(|t| request.tenant.as_ref().is_some_and(|r| r.as_str() == t))
            && self.index.is_none_or(|i| request.index == i)
            && self
                .principal
                .is_none_or(|p| request.principal.as_str() == p)
            && self.endpoint.is_none_or(|e| request.endpoint == e)
            && bucket(request.id.as_str()) < self.sample
    }
}

/// The answers to a request's three questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) level: DiagLevel,
    pub(crate) ring_buffer: bool,
    pub(crate) capture: bool,
}

impl Said {
    pub(crate) const NOTHING: Self = Self {
        level: DiagLevel::Off,
        ring_buffer: false,
        capture: false,
    };
}

/// What `column` answers to `request`: the oracle.
pub(crate) fn oracle(column: &[On], request: &Request) -> Said {
    column
        .iter()
        .filter(|on| on.is_for(request))
        .fold(Said::NOTHING, |said, on| Said {
            level: said.level.max(on.level),
            ring_buffer: said.ring_buffer || on.ring_buffer,
            capture: said.capture || on.capture,
        })
}

/// What osproxy's own code answers to `request` with `set`.
pub(crate) fn decided(set: &DirectiveSet, now: Instant, request: &Request) -> Said {
    let attrs = request.attrs();
    Said {
        level: set.evaluate(&attrs, now, &request.id),
        ring_buffer: set.wants_ring_buffer(&attrs, now, &request.id),
        capture: set.wants_capture(&attrs, now, &request.id),
    }
}

/// One request, as the proxy's pipeline describes it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) tenant: Option<PartitionId>,
    pub(crate) index: String,
    pub(crate) principal: PrincipalId,
    pub(crate) endpoint: EndpointKind,
    pub(crate) id: RequestId,
}

impl Request {
    pub(crate) fn attrs(&self) -> RequestAttrs<'_> {
        RequestAttrs {
            tenant: self.tenant.as_ref(),
            index: &self.index,
            principal: &self.principal,
            endpoint: self.endpoint,
        }
    }
}

/// Values that requests have, near misses of each other among them.
pub(crate) const VALUES: [&str; 12] = [
    "acme", "Acme", "acme ", "acm", "globex", "orders", "order", "ana", "bo", "null", "5", "*",
];

pub(crate) const ENDPOINTS: [EndpointKind; 12] = [
    EndpointKind::IngestDoc,
    EndpointKind::IngestBulk,
    EndpointKind::Search,
    EndpointKind::MultiSearch,
    EndpointKind::Count,
    EndpointKind::GetById,
    EndpointKind::MultiGet,
    EndpointKind::DeleteById,
    EndpointKind::DeleteByQuery,
    EndpointKind::Cursor,
    EndpointKind::Admin,
    EndpointKind::Unknown,
];

/// `count` requests, one half of them made to fit `column`, often but for one attribute, the other half of any kind.
pub(crate) fn requests(rng: &mut Rng, column: &[On], count: usize) -> Vec<Request> {
    (0..count)
        .map(|n| {
            let mut request = any_request(rng);
            if n % 2 == 0 && !column.is_empty() {
                let on = rng.pick(column);
                fit(&mut request, on);
                if rng.below(2) == 0 {
                    spoil(&mut request, rng);
                }
            }
            request
        })
        .collect()
}

fn any_request(rng: &mut Rng) -> Request {
    Request {
        tenant: (rng.below(8) > 0).then(|| PartitionId::from(*rng.pick(&VALUES))),
        index: (*rng.pick(&VALUES)).to_owned(),
        principal: PrincipalId::from(*rng.pick(&VALUES)),
        endpoint: *rng.pick(&ENDPOINTS),
        id: RequestId::from(format!("request-{:x}", rng.next()).as_str()),
    }
}

fn fit(request: &mut Request, on: &On) {
    if let Some(tenant) = on.tenant {
        request.tenant = Some(PartitionId::from(tenant));
    }
    if let Some(index) = on.index {
        index.clone_into(&mut request.index);
    }
    if let Some(principal) = on.principal {
        request.principal = PrincipalId::from(principal);
    }
    if let Some(endpoint) = on.endpoint {
        request.endpoint = endpoint;
    }
}

/// Changes one attribute.
fn spoil(request: &mut Request, rng: &mut Rng) {
    let other = any_request(rng);
    match rng.below(5) {
        0 => request.tenant = other.tenant,
        1 => request.tenant = None,
        2 => request.index = other.index,
        3 => request.principal = other.principal,
        _ => request.endpoint = other.endpoint,
    }
}

/// Which of a thousand buckets a request falls into: 64-bit FNV-1a of its id.
fn bucket(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    }) % 1000
}

//! One directive as both ends mean it.

use std::fmt;

use osproxy_core::{EndpointKind, IndexName, Instant, PartitionId, PrincipalId};
use osproxy_observe::{DiagLevel, DiagnosticsDirective, DirectiveMatch};

/// Which requests a directive is for: every member that is set must equal the request's.
///
/// With no member set it is every request. That is legal on the wire, where osproxy defines it so;
/// a resource has to say `allRequests: true` for it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// The resolved tenant (osproxy's partition).
    pub tenant: Option<String>,
    /// The logical index of the request path.
    pub index: Option<String>,
    /// The authenticated principal.
    pub principal: Option<String>,
    /// The endpoint class, by the decoder's own names; parsed, so it cannot be an unknown one.
    pub endpoint: Option<Endpoint>,
}

/// An endpoint class that orders and hashes, so that a [`Selector`] can be a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Endpoint(pub EndpointKind);

impl Endpoint {
    /// The decoder's name for the class.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.as_str()
    }
}

/// Value-free, as [`Selector`]'s.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endpoint")
    }
}

impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Endpoint {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Endpoint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Selector {
    /// Whether no member is set, so that every request matches.
    #[must_use]
    pub fn is_every_request(&self) -> bool {
        self.tenant.is_none()
            && self.index.is_none()
            && self.principal.is_none()
            && self.endpoint.is_none()
    }

    /// The same selector in the type that osproxy's own code matches with.
    #[must_use]
    pub fn to_match(&self) -> DirectiveMatch {
        let Self {
            tenant,
            index,
            principal,
            endpoint,
        } = self;
        DirectiveMatch {
            tenant: tenant.as_deref().map(PartitionId::from),
            index: index.as_deref().map(IndexName::from),
            principal: principal.as_deref().map(PrincipalId::from),
            endpoint: endpoint.map(|e| e.0),
        }
    }
}

/// Names the members that are set and never their values: selector values are tenants' data and
/// stay out of logs and panics.
impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        let members = [
            ("tenant", self.tenant.is_some()),
            ("index", self.index.is_some()),
            ("principal", self.principal.is_some()),
            ("endpoint", self.endpoint.is_some()),
        ];
        for (name, _) in members.into_iter().filter(|(_, given)| *given) {
            set.entry(&format_args!("{name}"));
        }
        set.finish()
    }
}

/// One directive, without its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// `namespace/name` of the resource that it comes from; never empty.
    pub id: String,
    /// Which requests it is for.
    pub selector: Selector,
    /// How verbosely to record them.
    pub level: DiagLevel,
    /// The share of them, per mille, `0..=1000`.
    pub sample_per_mille: u16,
    /// Whether they go into the proxy's local ring buffer.
    pub ring_buffer: bool,
    /// Whether their traffic is captured, bodies included.
    pub capture: bool,
}

impl Entry {
    /// The directive in osproxy's own type, off from `expires_at` on.
    #[must_use]
    pub fn to_directive(&self, expires_at: Instant) -> DiagnosticsDirective {
        let Self {
            id,
            selector,
            level,
            sample_per_mille,
            ring_buffer,
            capture,
        } = self;
        DiagnosticsDirective {
            id: id.clone(),
            match_: selector.to_match(),
            level: *level,
            sample_per_mille: *sample_per_mille,
            expires_at,
            ring_buffer: *ring_buffer,
            capture: *capture,
        }
    }
}

/// An entry as the wire carries it: its life counted from the publication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelativeEntry {
    /// What it says.
    pub entry: Entry,
    /// Seconds from the publication to its end; at least 1.
    pub ttl_secs: u64,
}

/// An entry as the plan means it: with an absolute end.
///
/// Two documents are equal when these are equal. Bytes differ from second to second; ends do not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatedEntry {
    /// What it says.
    pub entry: Entry,
    /// The whole second since the Unix epoch from which on it is off.
    pub end_secs: u64,
}

//! Documents of a given size, and requests that meet none, one or all of their directives.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each measurement and the cost test compile this file for themselves"
)]

use std::fmt::Write as _;

use osproxy_core::{EndpointKind, PartitionId, PrincipalId};
use osproxy_observe::RequestAttrs;

/// Whom the directives of a document select.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Every shape of selector in turn (15 of them), each with values of its own.
    Mixed,
    /// Every shape in turn, all with the same values, so that one request can meet all.
    MixedAlike,
    /// All the same tenant, but for the first of several.
    One,
}

/// A document of `many` directives.
pub fn document(many: usize, targets: Targets) -> String {
    let mut text = String::from(r#"{"directives":["#);
    for number in 0..many {
        if number > 0 {
            text.push(',');
        }
        let level = ["Shape", "ShapeTiming", "ShapeRewriteDiff"][number % 3];
        write!(
            text,
            r#"{{"id":"d{number}","level":"{level}","ttl_secs":3600,"sample_per_mille":1000"#
        )
        .unwrap();
        let (shape, value) = match targets {
            Targets::Mixed => (number % 15 + 1, format!("v{number}")),
            Targets::MixedAlike => (number % 15 + 1, "alike".to_owned()),
            Targets::One if number == 0 && many > 1 => (1, "v0".to_owned()),
            Targets::One => (1, "alike".to_owned()),
        };
        for (bit, member) in ["tenant", "index", "principal"].into_iter().enumerate() {
            if shape & (1 << bit) != 0 {
                write!(text, r#","{member}":"{value}""#).unwrap();
            }
        }
        if shape & 8 != 0 {
            text.push_str(r#","endpoint":"Search""#);
        }
        text.push('}');
    }
    text.push_str("]}");
    text
}

/// A request that meets no directive, only the first, or all.
pub struct Request {
    tenant: PartitionId,
    index: String,
    principal: PrincipalId,
    endpoint: EndpointKind,
}

impl Request {
    /// Meets nobody: not even those who select the endpoint alone.
    pub fn none() -> Self {
        Self::new("nobody", EndpointKind::IngestDoc)
    }

    /// Meets the first directive, which selects a tenant.
    pub fn one() -> Self {
        Self::new("v0", EndpointKind::IngestDoc)
    }

    /// Meets every directive of a document in which all have the same values.
    pub fn all() -> Self {
        Self::new("alike", EndpointKind::Search)
    }

    fn new(value: &str, endpoint: EndpointKind) -> Self {
        Self {
            tenant: PartitionId::from(value),
            index: value.to_owned(),
            principal: PrincipalId::from(value),
            endpoint,
        }
    }

    pub fn attrs(&self) -> RequestAttrs<'_> {
        RequestAttrs {
            tenant: Some(&self.tenant),
            index: &self.index,
            principal: &self.principal,
            endpoint: self.endpoint,
        }
    }
}

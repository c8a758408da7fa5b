//! What stands at the key: bytes out, strict parse in, publication and age.
//!
//! The value is the JSON body that osproxy's own admin endpoint takes, in exactly its vocabulary
//! (`{"directives":[{"id","level","ttl_secs",…}]}`), so that any reader of osproxy 1.0.5 reads
//! it with the same meaning. A relative `ttl_secs` says nothing about *when*, so each value is
//! written under a lease whose id carries the second of its [`Publication`]: publication +
//! `ttl_secs` is a directive's absolute end, wherever and whenever the value is read.
//!
//! Reading is **strict before shared**: [`Accepted::from_bytes`] refuses whatever is not exactly of that
//! shape, and then asks `osproxy_observe::decode_directive_set`, whose word on the meaning is
//! final.
//!
//! Everything here is pure: no I/O, no clock, no runtime.

mod accepted;
mod age;
mod entry;
mod publication;
mod refusal;
mod render;
mod strict;

pub use accepted::Accepted;
pub use age::{Age, Aging, LeaseReading, Moment};
pub use entry::{DatedEntry, Endpoint, Entry, RelativeEntry, Selector};
pub use publication::{Publication, RANDOM_BITS};
pub use refusal::{Reason, Refusal};
pub use render::{render, rendered_len};
pub use strict::{
    MAX_DIRECTIVES, MAX_DOCUMENT_BYTES, MAX_ID_BYTES, MAX_SELECTOR_BYTES, MAX_TTL_SECS, parse,
};

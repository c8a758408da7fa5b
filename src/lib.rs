//! Both ends of osproxy's runtime diagnostics directives.
//!
//! A fleet of osproxy proxies can be told at run time whom to trace, how verbosely, at which
//! sample and for how long. It reads these directives from **one etcd key**, and this crate is
//! both ends of that key:
//!
//! * the **operator** ([`operator`], feature `operator`) turns `DiagnosticsDirective` custom
//!   resources into the document at the key, and tells whoever applied each of them what became
//!   of it;
//! * the **store** ([`store`], feature `store`) is embedded by a proxy: it watches the key and
//!   answers from memory on the request path.
//!
//! Between them stands the [`document`]: what is written at the key, how strictly it is read, and
//! how old it is. Both ends use it, and neither knows the other.
//!
//! # Embedding the store
//!
//! ```no_run
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use osproxy_core::{Clock, EndpointKind, PartitionId, PrincipalId, RequestId, SystemClock};
//! use osproxy_directives::EtcdDirectiveStore;
//! use osproxy_observe::RequestAttrs;
//!
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock);
//! let endpoints = ["http://127.0.0.1:2379".to_owned()];
//! let store = EtcdDirectiveStore::connect(&endpoints, "osproxy/directives", clock.clone()).await?;
//!
//! let (tenant, principal) = (PartitionId::from("acme"), PrincipalId::from("svc"));
//! let request = RequestAttrs {
//!     tenant: Some(&tenant),
//!     index: "orders",
//!     principal: &principal,
//!     endpoint: EndpointKind::Search,
//! };
//! let decision = store.decide(&request, clock.now(), &RequestId::from("r-1"));
//! println!("{:?}", decision.level);
//! # Ok(())
//! # }
//! ```

pub mod document;
pub mod etcd;
pub mod fleet;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "operator")]
pub mod resource;
#[cfg(feature = "store")]
pub mod store;

#[cfg(feature = "operator")]
pub mod cli;

#[cfg(feature = "store")]
pub use store::{EtcdDirectiveStore, EtcdError};

//! What a platform engineer does with the chart, by the very commands: on real servers, a node that stands in for a
//! real one (see `testbed::kubelet`), and an etcd that asks for TLS.

#![cfg(feature = "operator")]

mod support;

#[path = "book/acts.rs"]
mod acts;
#[path = "book/answer.rs"]
#[allow(dead_code, reason = "the book and the demo take more of it")]
mod answer;
#[path = "store/authority.rs"]
mod authority;
#[path = "install/check.rs"]
mod check;
#[path = "install/cluster.rs"]
mod cluster;
#[path = "install/life.rs"]
mod life;
#[path = "install/page.rs"]
mod page;
#[path = "install/reason.rs"]
mod reason;
#[path = "store/secure.rs"]
mod secure;

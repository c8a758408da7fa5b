//! Both ends of osproxy's runtime diagnostics directives.

pub mod document;
pub mod etcd;
#[cfg(feature = "operator")]
pub mod resource;

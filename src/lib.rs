//! Both ends of osproxy's runtime diagnostics directives.

pub mod document;
pub mod etcd;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "operator")]
pub mod resource;

#[cfg(feature = "operator")]
pub mod cli;

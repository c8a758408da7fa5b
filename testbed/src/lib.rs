//! Real servers on loopback for the tests, the demo and the playground.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use testbed::{ControlPlane, Etcd, EtcdOptions};
//!
//! let etcd = Etcd::start(EtcdOptions::new().members(3)).await?;
//! let plane = ControlPlane::start().await?;
//! etcd.member(0).pause()?;
//! plane.kubectl(&["create", "namespace", "checkout"]).await?.success()?;
//! # Ok(()) }
//! ```
//!
//! Every value owns what it started: its processes, its ports and its directory go when it is
//! dropped. What a test process leaves behind when it dies, however it dies, a watchdog takes away
//! (see [`scratch`]). A server that is missing is built or is an error; no test is skipped for
//! want of one (see [`assets`]).
//!
//! From the bottom up: [`deadline`] waits, [`scratch`] owns directories and the watchdog, [`ports`]
//! finds addresses, [`process`] runs servers, [`command`] runs tools, [`assets`] finds the
//! binaries. On these stand [`etcd`], [`kube`], [`kubelet`], [`operator`], [`proxy`], [`fault`], [`interpose`] and
//! [`gateway`]; all of them together are a [`system`], which [`demo`] and [`playground`] show to a person.

pub mod assets;
pub mod command;
pub mod deadline;
pub mod demo;
pub mod etcd;
pub mod fault;
pub mod gateway;
pub mod http;
pub mod interpose;
pub mod kube;
pub mod kubelet;
pub mod operator;
pub mod playground;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod scratch;
pub mod stage;
pub mod system;

pub use command::Output;
pub use deadline::eventually;
pub use etcd::{Etcd, EtcdOptions, Member};
pub use fault::{Cut, Direction, FaultProxy};
pub use gateway::Gateway;
pub use interpose::Interposer;
pub use kube::{ControlPlane, ControlPlaneOptions};
pub use kubelet::{Kubelet, KubeletOptions};
pub use operator::{Operator, OperatorOptions, Right};
pub use proxy::{Attributes, Proxy, ProxyOptions};
pub use system::{System, SystemOptions};

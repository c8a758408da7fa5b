//! What an operator does about each fault of etcd, on real servers: how soon the key is right again, and what it says meanwhile. `make
//! faults` prints the table.
//!
//! L and S are the numbers of the catalogue in `docs/promises.md`. The faults that contradict one promise alone are in that
//! promise's own file, and print their line there.

mod support;

#[path = "store/authority.rs"]
mod authority;
#[path = "etcd_faults/capacity.rs"]
mod capacity;
#[path = "etcd_faults/connection.rs"]
mod connection;
#[path = "etcd_faults/lease.rs"]
mod lease;
#[path = "etcd_faults/outage.rs"]
mod outage;
#[path = "etcd_faults/recovery.rs"]
mod recovery;
#[path = "store/secure.rs"]
mod secure;
#[path = "etcd_faults/stage.rs"]
mod stage;
#[path = "etcd_faults/starved.rs"]
mod starved;

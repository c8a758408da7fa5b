//! What the operator does about each fault of the API server, on a real one: how soon the key is right again, and that it
//! never lost a directive on the way. `make faults` prints the table.
//!
//! K is the catalogue's word for the Kubernetes half. A gateway before the server has it say what a healthy one does not:
//! see `testbed::gateway`. K11, an admission webhook that is down, cannot happen here: there is none, and the operator refuses
//! by itself what the schema and the policy would, as `tests/never_wider/manifests.rs` shows for every row of the table and
//! `tests/policy.rs` for the policy. The crashes of K3 around calls to etcd are in `tests/never_two_writers/moments.rs`.

mod support;

#[path = "kube_faults/definition.rs"]
mod definition;
#[path = "kube_faults/many.rs"]
mod many;
#[path = "kube_faults/people.rs"]
mod people;
#[path = "kube_faults/refusals.rs"]
mod refusals;
#[path = "kube_faults/stage.rs"]
mod stage;
#[path = "kube_faults/statuses.rs"]
mod statuses;
#[path = "kube_faults/views.rs"]
mod views;
#[path = "kube_faults/watches.rs"]
mod watches;

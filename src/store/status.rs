//! What a store says about itself.

use serde::Serialize;

/// How fresh a store is, at one moment. Durations are in milliseconds; no selector value is in it.
///
/// Serializes to an object of its own field names.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Status {
    /// The name that the embedder gave this store; `None` where it gave none.
    pub instance: Option<String>,
    /// Whether a watch is open. Without one the last good set stays in force, each directive to its end.
    pub connected: bool,
    /// Since when there has been no watch; `None` while connected.
    pub disconnected_ms: Option<u64>,
    /// The slug of the last failure between the store and etcd, also one that is over.
    pub last_fault: Option<&'static str>,
    /// Why the certificates or the password that the files hold now are not in use: the slug of a bad file, or of the
    /// failure when they were tried. The last good ones are in use until that is put right. `None` where all is well.
    pub unused_files: Option<&'static str>,
    /// Up to which etcd revision the state of the key is known; 0 before the first answer.
    pub revision: i64,
    /// The document in force; `None` where the key is absent, or where none was ever accepted.
    pub applied: Option<Applied>,
    /// How old the document in force is: by the wall clock or by its lease, whichever says more.
    pub age_ms: Option<u64>,
    /// How long ago etcd last said what stands at the key.
    pub confirmed_ms_ago: Option<u64>,
    /// By how much the wall clock is ahead of what the document's lease says, to about a second; negative where it is
    /// behind. `None` for a document that no publication dates.
    pub clock_ahead_ms: Option<i64>,
    /// Whether the key has not been confirmed for longer than a healthy etcd needs (65 s).
    pub stale: bool,
    /// What stands at the key and was not taken; the document in force is then an older one.
    pub refused: Option<Refused>,
    /// How the store fares with saying of itself how fresh it is; `None` where it was given no instance name, so that it does not.
    pub reporting: Option<Reporting>,
    /// What has happened since the start.
    pub counters: Counters,
}

/// The document in force.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Applied {
    /// The etcd revision that wrote it.
    pub revision: i64,
    /// The whole second since the Unix epoch at which it was published; `None` for a value put by hand or by a mirror.
    pub publication_secs: Option<u64>,
    /// How many of its directives have not ended.
    pub directives: usize,
    /// Its size.
    pub bytes: usize,
}

/// How a store fares with the record that it keeps of itself at `<key>/fleet/<instance>`. Nothing else depends on it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Reporting {
    /// How it stands.
    pub state: ReportingState,
    /// The revision that the record says; `None` while there is no record.
    pub revision: Option<i64>,
    /// The slug of the last failure; `None` where the last record was written.
    pub last_fault: Option<&'static str>,
    /// How many records were written since the start.
    pub records: u64,
}

/// The states of [`Reporting`].
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportingState {
    /// There is no record yet, or its session is over and begins anew.
    Starting,
    /// There is a record.
    Reporting,
    /// The login may not write it, or may not read the window. Tried again after ten minutes and more.
    Denied,
    /// Another process of the same instance name keeps the record. Give each its own.
    NameTaken,
    /// etcd did not take it for another reason. Tried again, later and later up to a minute.
    Failing,
}

/// A refused document.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    /// The stable slug of the reason.
    pub reason: &'static str,
    /// The etcd revision that wrote it; 0 where it was too large to be received.
    pub revision: i64,
}

/// Plain counters since the start, to export under names of your own.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counters {
    /// Reads of the key that were sent, the regular re-reads included.
    pub reads: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// How often the watch had to be started over.
    pub restarts: u64,
    /// Of these: because it was mute.
    pub silences: u64,
    /// Of these: because etcd cancelled or refused it.
    pub cancellations: u64,
    /// Watch events about the key that were news.
    pub events: u64,
    /// Events at or below the known revision.
    pub repeated_events: u64,
    /// Events about another key, which nobody asked for.
    pub foreign_events: u64,
    /// How often another history of etcd was followed: a restored, wiped or exchanged cluster.
    pub histories: u64,
    /// Documents that were applied, absences included.
    pub applied: u64,
    /// Documents that were refused.
    pub refused: u64,
}

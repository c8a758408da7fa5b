//! The words in which a session is told what happened, and says what to call.

use crate::document::LeaseReading;
use crate::etcd::Fault;
use crate::store::status::Refused;

/// What there is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) struct Word {
    /// Up to which revision the store is current.
    pub(in crate::store) revision: i64,
    /// Whether the key was absent then.
    pub(in crate::store) absent: bool,
    /// When the document in force was published.
    pub(in crate::store) publication_secs: Option<u64>,
    /// What stands at the key and was refused.
    pub(in crate::store) refused: Option<Refused>,
    /// How many histories of etcd have been followed: in another one a record that was written may be gone.
    pub(in crate::store) histories: u64,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happened {
    /// There is something else to say now.
    Word(Word),
    /// The window was read; `None` where none is announced.
    Window(Result<Option<u64>, Fault>),
    /// The lease was granted.
    Granted(Result<(), Fault>),
    /// etcd said how much is left of the lease that somebody has.
    Left(Result<LeaseReading, Fault>),
    /// The record was written.
    Written(Result<(), Fault>),
    /// The lease was refreshed.
    Refreshed(Result<(), Fault>),
    /// Nothing; some deadline may have passed.
    TimePassed,
}

/// A call to make. There is one at a time, and its answer is the next thing to step with but words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Read the announced window.
    ReadWindow,
    /// Grant the session's lease.
    Grant,
    /// Ask how much is left of it.
    AskLease,
    /// Write this.
    Write(Word),
    /// Refresh the lease.
    Refresh,
}

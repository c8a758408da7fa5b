//! The words in which the protocol is told what happened, and says what to do next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::document::LeaseReading;
use crate::etcd::Fault;

/// When the protocol does what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) struct Pace {
    /// How long a watch may be mute before it is asked for a sign of life, and between two such questions.
    pub(in crate::store) heartbeat: Duration,
    /// How long an answer may take: to the last unanswered heartbeat, and to the opening of a watch.
    pub(in crate::store) answer: Duration,
    /// How often the key is read again at least and at most, whatever the watch says.
    pub(in crate::store) reread: (Duration, Duration),
    /// What the back-off starts with, and where it stops growing. Full jitter: a wait is anything up to it.
    pub(in crate::store) back_off: (Duration, Duration),
    /// How long a history that went back waits for its second witness.
    pub(in crate::store) doubt: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            answer: Duration::from_secs(5),
            reread: (Duration::from_secs(30), Duration::from_mins(1)),
            back_off: (Duration::from_millis(100), Duration::from_secs(5)),
            doubt: Duration::from_secs(5),
        }
    }
}

/// Which cluster answered, and at which revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) struct Header {
    pub(in crate::store) cluster: u64,
    pub(in crate::store) revision: i64,
}

/// A value of the key. All three members together identify it: a rolled-back etcd soon has another value under
/// a revision that was seen before.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct Value {
    /// The lease that it hangs on; 0 for none.
    pub(in crate::store) lease: i64,
    pub(in crate::store) mod_revision: i64,
    pub(in crate::store) bytes: Arc<[u8]>,
}

/// Value-free: the bytes hold selectors.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("mod_revision", &self.mod_revision)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One event of a watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) struct Event {
    /// Whether it is about the document's key.
    pub(in crate::store) ours: bool,
    pub(in crate::store) mod_revision: i64,
    /// `None` for a deletion.
    pub(in crate::store) value: Option<Value>,
}

/// One message of a watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) struct Message {
    pub(in crate::store) header: Header,
    pub(in crate::store) created: bool,
    /// The watch is over, and why. etcd says so in-band, also in the very message that says "created".
    pub(in crate::store) cancelled: Option<Fault>,
    pub(in crate::store) events: Vec<Event>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) enum Happened {
    /// A linearizable read was answered.
    Read(Header, Option<Value>),
    /// A read failed.
    ReadFailed(Fault),
    /// etcd said how much is left of a lease.
    Lease(i64, LeaseReading),
    /// It did not.
    LeaseFailed(Fault),
    /// The watch sent a message.
    Watch(Message),
    /// The watch could not be opened, broke, or ended.
    WatchFailed(Fault),
    /// The wall clock ran ahead of the monotonic one: the age of what is applied has to be asked for.
    ClockJumped,
    /// There is another connection, with other certificates or another login: what ran on the old one is not wanted.
    Renewed,
    /// Nothing; some deadline may have passed.
    TimePassed,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) enum Next {
    /// Read the key, linearizably.
    Read,
    /// Ask how much of this lease is left.
    AskLease(i64),
    /// Open a watch from this revision, in place of any other.
    Watch(i64),
    /// Ask the watch for a sign of life.
    AskProgress,
    /// Drop the watch and every call that is under way; with `true` the connection too.
    Drop(bool),
    /// This is what stands at the key now, known up to `revision`. `reading` is its lease's age where etcd was asked.
    Take {
        value: Option<Value>,
        revision: i64,
        reading: Option<LeaseReading>,
    },
    /// What was taken last still stands.
    Confirm,
    /// The age of the value that was taken under this lease.
    Age(i64, LeaseReading),
    /// For people: what changed between us and etcd.
    Tell(Tell),
}

/// A transition that people want to know about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Tell {
    /// A watch is open.
    Connected,
    /// No watch is open any more, or the first one could not be opened.
    Lost(Fault),
    /// A read failed.
    ReadFailed(Fault),
    /// etcd's history went back, or it is another cluster; a second witness is awaited.
    Doubted(Header),
    /// The second witness agreed: this history is followed from here.
    Followed(Header),
}

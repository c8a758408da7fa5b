//! etcd, as far as the key rests on it: revisions, leases, the election, and transactions that may be carried out late.

use std::sync::LazyLock;

use osproxy_directives::etcd::Keys;
use osproxy_directives::operator::publish::fence::Guard;
use osproxy_directives::operator::publish::{KeyState, Stored};

use crate::world::Text;

/// A key's value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Kv {
    /// The revision that created the key.
    pub(crate) created: i64,
    /// The revision that wrote it last.
    pub(crate) modified: i64,
    /// The lease that it hangs on; 0 for none.
    pub(crate) lease: i64,
    /// The tick in which that lease was granted.
    pub(crate) granted_at: u8,
    /// The bytes.
    pub(crate) value: Text,
}

impl Kv {
    /// The same in the crate's own type.
    pub(crate) fn stored(self) -> Stored {
        Stored::new(self.modified, self.lease, self.value.bytes().to_vec())
    }
}

/// The three keys as of one revision: what a read answers, and what the loser of a transaction is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sight {
    /// The store's revision.
    pub(crate) revision: i64,
    /// The document.
    pub(crate) document: Option<Kv>,
    /// The owner.
    pub(crate) owner: Option<Kv>,
    /// A person's word.
    pub(crate) paused: Option<Kv>,
}

impl Sight {
    /// The same in the crate's own type.
    pub(crate) fn key_state(&self) -> KeyState {
        KeyState {
            revision: self.revision,
            document: self.document.map(Kv::stored),
            owner: self.owner.map(Kv::stored),
            paused: self.paused.is_some(),
        }
    }

    /// The same without the store's revision, which decides nothing: states meet that differ in it alone.
    pub(crate) fn undated(self) -> Self {
        Self {
            revision: 0,
            ..self
        }
    }

    /// Whether the keys say the same, whatever the store's revision is.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.document == other.document && self.owner == other.owner && self.paused == other.paused
    }
}

/// A key of the election. The first one created leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Candidate {
    /// Whose.
    pub(crate) writer: u8,
    /// Which session of that writer: the lease that the key hangs on.
    pub(crate) session: u8,
    /// The revision that created it.
    pub(crate) created: i64,
}

/// The lease of a publication. Leases of the election are not counted down: they may end at any moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Lease {
    /// The id that its writer chose.
    pub(crate) id: i64,
    /// How many ticks it was granted for.
    pub(crate) granted: u8,
    /// How many are left; at 0 it may end, now or later.
    pub(crate) left: u8,
    /// The tick in which it was granted.
    pub(crate) granted_at: u8,
}

/// What a transaction writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Write {
    /// The document.
    Put { value: Text, lease: i64 },
    /// No document.
    Delete,
    /// The owner.
    Own(Text),
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Carried out.
    Done,
    /// A compare failed.
    Fenced { leading: bool, sight: Sight },
    /// The lease of the put is gone; nothing was written.
    LeaseNotFound,
}

/// The store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Etcd {
    /// The three keys, and the store's revision.
    pub(crate) now: Sight,
    /// The election, in the order of creation.
    pub(crate) candidates: Vec<Candidate>,
    /// The publications' leases that still matter.
    pub(crate) leases: Vec<Lease>,
}

impl Etcd {
    /// A store that nobody wrote to.
    pub(crate) fn new() -> Self {
        Self {
            now: Sight {
                revision: 1,
                document: None,
                owner: None,
                paused: None,
            },
            candidates: Vec::new(),
            leases: Vec::new(),
        }
    }

    /// The next revision, for a write that is being carried out.
    pub(crate) fn next_revision(&mut self) -> i64 {
        self.now.revision += 1;
        self.now.revision
    }

    /// Whose key was created first.
    pub(crate) fn leader(&self) -> Option<(u8, u8)> {
        self.candidates.first().map(|c| (c.writer, c.session))
    }

    /// A session's key in the election.
    pub(crate) fn candidate(&self, writer: u8, session: u8) -> Option<Candidate> {
        let is_its = |c: &&Candidate| (c.writer, c.session) == (writer, session);
        self.candidates.iter().find(is_its).copied()
    }

    /// A lease of a publication.
    pub(crate) fn lease(&self, id: i64) -> Option<Lease> {
        self.leases.iter().find(|lease| lease.id == id).copied()
    }

    /// Whether all compares hold.
    pub(crate) fn holds<'g>(&self, guards: impl IntoIterator<Item = &'g Guard>) -> bool {
        guards.into_iter().all(|guard| match guard {
            Guard::CreateRevision { key, revision } => self.revisions(key).0 == *revision,
            Guard::ModRevision { key, revision } => self.revisions(key).1 == *revision,
        })
    }

    /// Carries a write out.
    pub(crate) fn carry_out(&mut self, write: Write) -> Answer {
        if let Write::Put { lease, .. } = write
            && self.lease(lease).is_none()
        {
            return Answer::LeaseNotFound;
        }
        let revision = self.next_revision();
        match write {
            Write::Put { value, lease } => self.put_document(revision, value, lease),
            Write::Delete => self.now.document = None,
            Write::Own(value) => {
                self.now.owner = Some(put(self.now.owner, revision, value));
            }
        }
        Answer::Done
    }

    /// Puts the document.
    pub(crate) fn put_document(&mut self, revision: i64, value: Text, lease: i64) {
        let granted_at = self.lease(lease).map_or(0, |lease| lease.granted_at);
        self.now.document = Some(Kv {
            lease,
            granted_at,
            ..put(self.now.document, revision, value)
        });
    }

    /// Puts or takes away a person's word.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        let revision = self.next_revision();
        self.now.paused = paused.then(|| put(self.now.paused, revision, Text::of(b"")));
    }

    /// A key's create and mod revision; 0 and 0 where it is absent.
    fn revisions(&self, key: &[u8]) -> (i64, i64) {
        let of = |kv: Option<Kv>| kv.map_or((0, 0), |kv| (kv.created, kv.modified));
        let [document, owner, paused] = names();
        if key == document {
            of(self.now.document)
        } else if key == owner {
            of(self.now.owner)
        } else if key == paused {
            of(self.now.paused)
        } else {
            let is_its = |c: &&Candidate| leader_key(c.writer, c.session) == key;
            let candidate = self.candidates.iter().find(is_its);
            candidate.map_or((0, 0), |c| (c.created, c.created))
        }
    }
}

/// The crate's names for the keys.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new("k").expect("a key that can be used"));
    &KEYS
}

/// Document, owner and pause, as compares name them.
pub(crate) fn names() -> &'static [Vec<u8>; 3] {
    static NAMES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
        let keys = keys();
        [
            keys.document().into(),
            keys.owner().into(),
            keys.paused().into(),
        ]
    });
    &NAMES
}

/// The key that a campaign of this session returns.
pub(crate) fn leader_key(writer: u8, session: u8) -> &'static [u8] {
    static NAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let election = keys().election();
        let name = |of: u8| format!("{election}/{}-{}", of % WRITERS, of / WRITERS);
        (0..=u8::MAX).map(|of| name(of).into_bytes()).collect()
    });
    &NAMES[usize::from(session * WRITERS + writer)]
}

/// The most writers.
const WRITERS: u8 = 4;

fn put(before: Option<Kv>, revision: i64, value: Text) -> Kv {
    Kv {
        created: before.map_or(revision, |kv| kv.created),
        modified: revision,
        lease: 0,
        granted_at: 0,
        value,
    }
}

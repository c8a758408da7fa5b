//! The world around the key: time, the resources that people apply, and bytes.
//!
//! What the crate computes from them (plan, document, age) is asked of the crate. Those functions are pure, so each answer is
//! kept: the search asks the same few thousand questions millions of times.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::LocalKey;

use osproxy_directives::document::{Accepted, DatedEntry, Publication};
use osproxy_directives::operator::observe::{Id, Resource, Shown};
use osproxy_directives::operator::plan::{Limits, plan};
use osproxy_directives::resource;
use serde_json::json;

/// How many seconds one tick of the model is. The resources' ends fall on ticks.
pub(crate) const TICK_SECS: u64 = 5;
/// The second of tick 0.
const START_SECS: u64 = 1_795_000_000;
/// The two resources, with how many ticks each lives.
const RESOURCES: [(&str, u8); COUNT] = [("a", 2), ("b", 3)];
/// How many resources there are.
pub(crate) const COUNT: usize = 2;
/// The directive that a person puts by hand.
const BY_HAND: &str = "by/hand";

/// The whole second at which `tick` begins.
pub(crate) fn secs(tick: u8) -> u64 {
    START_SECS + u64::from(tick) * TICK_SECS
}

/// What became of a resource so far. `since` is the tick of its creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Life {
    Unborn,
    Live { since: u8 },
    Withdrawn { since: u8 },
}

/// All resources, as the API server has them or as an operator sees them.
pub(crate) type Lives = [Life; COUNT];

/// The second in which resource `which` ends; `None` while it was never created.
pub(crate) fn end_secs(lives: Lives, which: usize) -> Option<u64> {
    let (_, ticks) = RESOURCES[which];
    match lives[which] {
        Life::Unborn => None,
        Life::Live { since } | Life::Withdrawn { since } => Some(secs(since + ticks)),
    }
}

/// A set of directives: one bit a resource, and one for the directive by hand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Ids(u8);

impl Ids {
    /// The set of the directives with these ids.
    pub(crate) fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |id: &str| {
            let which = RESOURCES
                .iter()
                .position(|(name, _)| id == format!("ns/{name}"));
            1 << which.unwrap_or(COUNT)
        };
        Self(ids.into_iter().map(bit).fold(0, std::ops::BitOr::bitor))
    }

    /// Whether the directive of resource `which` is in it.
    pub(crate) fn has(self, which: usize) -> bool {
        self.0 & (1 << which) != 0
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The crate's plan for `lives` at `tick`.
pub(crate) fn plan_at(tick: u8, lives: Lives) -> Entries {
    thread_local! {
        static KNOWN: Known<(u8, Lives), Entries> = RefCell::default();
    }
    remember(&KNOWN, (tick, lives), || {
        let live: Vec<Resource> = (0..COUNT)
            .filter_map(|which| match lives[which] {
                Life::Live { since } => Some(resource_of(which, since)),
                Life::Unborn | Life::Withdrawn { .. } => None,
            })
            .collect();
        Rc::new(plan(secs(tick), &live, &Limits::default()).entries)
    })
}

fn resource_of(which: usize, since: u8) -> Resource {
    let (name, ticks) = RESOURCES[which];
    let spec = json!({
        "match": [{"key": "tenant", "value": name}],
        "level": "Shape",
        "samplePerMille": 1000,
        "ttl": format!("{}s", u64::from(ticks) * TICK_SECS),
    });
    Resource {
        id: Id {
            namespace: "ns".into(),
            name: name.into(),
        },
        uid: format!("{name}-{since}"),
        generation: 1,
        resource_version: "1".into(),
        created_secs: secs(since),
        directive: resource::parse("ns", name, secs(since), &spec),
        status: Shown::default(),
    }
}

/// The bytes that a person puts by hand.
pub(crate) fn by_hand() -> Text {
    let value = json!({"directives": [{"id": BY_HAND, "level": "Shape", "ttl_secs": 3600}]});
    Text::of(value.to_string().as_bytes())
}

/// The entries of a document with their ends, by the crate's own reader; `None` where it refuses or cannot date it.
pub(crate) fn dated(value: Text, lease: i64) -> Option<Entries> {
    thread_local! {
        static KNOWN: Known<(Text, i64), Option<Entries>> = RefCell::default();
    }
    remember(&KNOWN, (value, lease), || {
        let publication = Publication::from_lease_id(lease)?;
        let accepted = Accepted::from_bytes(value.bytes()).ok()?;
        Some(Rc::new(accepted.dated(publication)))
    })
}

/// Which directives a document holds.
pub(crate) fn ids_of(value: Text) -> Ids {
    thread_local! {
        static KNOWN: Known<Text, Ids> = RefCell::default();
    }
    remember(&KNOWN, value, || {
        let accepted = Accepted::from_bytes(value.bytes()).unwrap_or_default();
        Ids::of(accepted.entries().iter().map(|e| e.entry.id.as_str()))
    })
}

/// What a plan or a document says.
pub(crate) type Entries = Rc<Vec<DatedEntry>>;

/// The answers that a pure function gave.
pub(crate) type Known<K, V> = RefCell<HashMap<K, V>>;

/// The answer of a pure function, asked once for each `key`.
pub(crate) fn remember<K: Eq + Hash, V: Clone>(
    known: &'static LocalKey<Known<K, V>>,
    key: K,
    ask: impl FnOnce() -> V,
) -> V {
    if let Some(answer) = known.with_borrow(|known| known.get(&key).cloned()) {
        return answer;
    }
    let answer = ask();
    known.with_borrow_mut(|known| known.insert(key, answer.clone()));
    answer
}

/// Bytes, kept once for the whole process, so that states are small and quick to compare.
#[derive(Clone, Copy)]
pub(crate) struct Text(&'static Kept);

struct Kept {
    bytes: Vec<u8>,
    hash: u64,
}

impl Text {
    /// Keeps `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        static KEPT: LazyLock<Mutex<HashMap<Vec<u8>, &'static Kept>>> =
            LazyLock::new(Mutex::default);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let text = kept.entry(bytes.to_vec()).or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            Box::leak(Box::new(Kept {
                bytes: bytes.to_vec(),
                hash: hasher.finish(),
            }))
        });
        Self(text)
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> &'static [u8] {
        &self.0.bytes
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Text {}

/// By content, so that two runs give a state the same fingerprint.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0.bytes))
    }
}

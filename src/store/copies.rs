//! Equal copies of one set, so that threads that take a reference to it do not wait for each other.
//!
//! [`load`](osproxy_observe::DirectiveStore::load) has to return an `Arc`, and to clone one is to write its count. Cores that write
//! the same count on every request hand one cache line around, and each request pays for it. So there is a copy for each of a
//! few threads, on cache lines of their own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use osproxy_observe::DirectiveSet;

/// The copies; at least one.
#[derive(Debug)]
pub(super) struct Copies {
    first: Arc<DirectiveSet>,
    others: Box<[Arc<DirectiveSet>]>,
}

/// More copies cost memory, and would help only where more threads than this do nothing but load.
const MOST: usize = 8;
/// Two cache lines: processors fetch them in pairs.
const APART: usize = 128;

impl Copies {
    /// Copies of `set`: as many as threads can run at a time, at most [`MOST`].
    pub(super) fn new(set: DirectiveSet) -> Self {
        static THREADS: OnceLock<usize> = OnceLock::new();
        let threads = *THREADS.get_or_init(|| available_parallelism().map_or(1, usize::from));
        Self::of(set, threads.clamp(1, MOST))
    }

    fn of(set: DirectiveSet, many: usize) -> Self {
        let mut others: Vec<Arc<DirectiveSet>> = Vec::with_capacity(many - 1);
        // An allocation that shares its lines with a copy is kept until the end, so that the next one is elsewhere.
        let mut neighbours = Vec::new();
        let first = Arc::new(set);
        while others.len() + 1 < many && neighbours.len() < MOST * APART {
            let candidate = Arc::new(DirectiveSet::default());
            if is_apart(&candidate, &first)
                && others.iter().all(|other| is_apart(&candidate, other))
            {
                others.push(candidate);
            } else {
                neighbours.push(candidate);
            }
        }
        for copy in &mut others {
            // Nobody else has it yet.
            if let Some(copy) = Arc::get_mut(copy) {
                copy.clone_from(&first);
            }
        }
        Self {
            first,
            others: others.into(),
        }
    }

    /// One more reference to the calling thread's copy.
    pub(super) fn share(&self) -> Arc<DirectiveSet> {
        let slot = THREAD.try_with(|number| *number).unwrap_or(0) % (self.others.len() + 1);
        Arc::clone(match slot.checked_sub(1) {
            None => &self.first,
            Some(other) => self.others.get(other).unwrap_or(&self.first),
        })
    }

    pub(super) fn set(&self) -> &DirectiveSet {
        &self.first
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self::new(DirectiveSet::default())
    }
}

static THREADS_SEEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Threads are numbered as they first come, so that neighbours have different copies.
    static THREAD: usize = THREADS_SEEN.fetch_add(1, Ordering::Relaxed);
}

fn is_apart(one: &Arc<DirectiveSet>, other: &Arc<DirectiveSet>) -> bool {
    Arc::as_ptr(one).addr().abs_diff(Arc::as_ptr(other).addr()) >= APART
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_copies_share_a_cache_line() {
        let copies = Copies::of(DirectiveSet::default(), MOST);
        let all: Vec<_> = copies.others.iter().chain([&copies.first]).collect();
        assert_eq!(all.len(), MOST);
        for (place, one) in all.iter().enumerate() {
            for other in &all[..place] {
                let (one, other) = (Arc::as_ptr(one).addr(), Arc::as_ptr(other).addr());
                assert!(one.abs_diff(other) >= 128);
            }
        }
    }

    #[test]
    fn threads_that_come_one_after_the_other_have_different_copies() {
        let copies = Copies::of(DirectiveSet::default(), MOST);
        let seen: HashSet<_> = (0..4)
            .map(|_| {
                std::thread::scope(|scope| {
                    let thread = scope.spawn(|| Arc::as_ptr(&copies.share()).addr());
                    thread.join().unwrap()
                })
            })
            .collect();
        // Threads of other tests may take numbers in between.
        assert!(seen.len() >= 2, "{}", seen.len());
    }
}

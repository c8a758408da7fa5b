//! What is explored: each scene is a machine with its bounds, in one size for every test run and in one for `make model`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use osproxy_core::{Clock as _, SystemClock};
use stateright::{Checker, HasDiscoveries, Model};

use crate::machine::{Action, Fault, Machine, SIGHTS};
use crate::reader::Clocks;

/// A part of the world to explore.
#[derive(Debug)]
pub(crate) struct Scene {
    /// What it is about.
    pub(crate) name: &'static str,
    releases: &'static [u8],
    reader: Option<Clocks>,
    kinds: &'static [Fault],
    /// Whether it starts with a writer that leads and has published.
    settled: bool,
    small: Bounds,
    wide: Bounds,
    /// What has to come up in it: a scene in which nothing goes wrong would show nothing.
    pub(crate) shows: &'static [&'static str],
}

/// How far a scene goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    ticks: u8,
    faults: u8,
    changes: u8,
    hands: u8,
}

const fn bounds(ticks: u8, faults: u8, changes: u8, hands: u8) -> Bounds {
    Bounds {
        ticks,
        faults,
        changes,
        hands,
    }
}

/// All scenes.
pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "two replicas",
        releases: &[0, 0],
        reader: None,
        kinds: &[Fault::LostAnswer, Fault::Expiry, Fault::Crash],
        settled: false,
        small: bounds(1, 1, 1, 0),
        wide: bounds(1, 2, 1, 0),
        shows: &SIGHTS_OF_WRITERS,
    },
    Scene {
        name: "people meddle",
        releases: &[0],
        reader: None,
        kinds: &[Fault::LostAnswer, Fault::Crash],
        settled: false,
        small: bounds(0, 1, 1, 2),
        wide: bounds(1, 1, 1, 2),
        shows: &[],
    },
    Scene {
        name: "two releases",
        releases: &[0, 1],
        reader: None,
        kinds: &[Fault::LostAnswer, Fault::Expiry],
        settled: true,
        small: bounds(1, 1, 0, 2),
        wide: bounds(2, 1, 1, 2),
        shows: &[],
    },
    Scene {
        name: "reader, leases stretch",
        releases: &[0],
        reader: Some(Clocks::Agree),
        kinds: &[
            Fault::Crash,
            Fault::Stretch,
            Fault::ReaderLoses,
            Fault::ReaderRestarts,
        ],
        settled: true,
        small: bounds(2, 1, 2, 0),
        wide: bounds(3, 1, 2, 0),
        shows: &SIGHTS_OF_READERS,
    },
    Scene {
        name: "reader, clock behind",
        releases: &[0],
        reader: Some(Clocks::Behind),
        kinds: &[Fault::Crash, Fault::ReaderLoses, Fault::ReaderRestarts],
        settled: true,
        small: bounds(3, 1, 1, 0),
        wide: bounds(3, 1, 2, 0),
        shows: &SIGHTS_OF_READERS,
    },
];

const SIGHTS_OF_WRITERS: [&str; 3] = [SIGHTS[0], SIGHTS[1], SIGHTS[2]];
const SIGHTS_OF_READERS: [&str; 2] = [SIGHTS[3], SIGHTS[4]];

impl Scene {
    /// Its machine.
    pub(crate) fn machine(&self, wide: bool) -> Machine {
        let Bounds {
            ticks,
            faults,
            changes,
            hands,
        } = if wide { self.wide } else { self.small };
        Machine {
            releases: self.releases.to_vec(),
            reader: self.reader,
            last_tick: ticks,
            faults,
            kinds: self.kinds,
            settled: self.settled,
            changes,
            hands,
            heals: true,
            mutant: None,
        }
    }
}

/// What an exploration came to.
pub(crate) struct Found {
    /// How many different states there are.
    pub(crate) states: usize,
    /// The longest of the shortest ways into one of them.
    pub(crate) depth: usize,
    /// How long it took.
    time: Duration,
    /// The broken promises, each with the way there.
    pub(crate) broken: BTreeMap<&'static str, Vec<Action>>,
    /// What came up.
    pub(crate) seen: Vec<&'static str>,
}

impl Found {
    /// The ways into the broken promises.
    pub(crate) fn trace(&self) -> String {
        format!("{:#?}", self.broken)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            depth,
            time,
            ..
        } = self;
        write!(
            f,
            "{states:>10} states, depth {depth:>3}, {:>6.1} s",
            time.as_secs_f64()
        )
    }
}

/// Explores everything within the machine's bounds, up to the first broken promise.
pub(crate) fn explore(machine: Machine) -> Found {
    run(machine, 2, HasDiscoveries::AnyFailures)
}

/// Explores on `threads` threads until `done`. One thread finds the shortest way, and the same one each time.
pub(crate) fn run(machine: Machine, threads: usize, done: HasDiscoveries) -> Found {
    let started = SystemClock.now();
    let checker = machine
        .checker()
        .threads(threads)
        .finish_when(done)
        .spawn_bfs()
        .join();
    let mut broken = BTreeMap::new();
    let mut seen = Vec::new();
    for (name, path) in checker.discoveries() {
        if SIGHTS.contains(&name) {
            seen.push(name);
        } else {
            broken.insert(name, path.into_actions());
        }
    }
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        time: SystemClock.now().saturating_duration_since(started),
        broken,
        seen,
    }
}

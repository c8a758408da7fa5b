//! Whole lives of the protocol in a simulated world.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use osproxy_core::{Clock, ManualClock};

use super::*;

/// Lives of a few minutes under random faults, and then quiet.
#[test]
fn in_a_million_steps_it_never_goes_back_and_always_converges() {
    let mut steps = 0;
    let mut seed = 0;
    while steps < 1_000_000 {
        seed += 1;
        steps += World::new(seed).live();
    }
}

/// An etcd with one key, and everything that can go wrong on the way to it.
struct World {
    seed: u64,
    chance: fastrand::Rng,
    clock: ManualClock,
    protocol: Protocol,
    etcd: Etcd,
    backups: Vec<Etcd>,
    /// What is on its way to the protocol, in the order of sending.
    under_way: Vec<(Instant, Option<u32>, Happened)>,
    /// Calls and streams of an earlier generation are dropped.
    generation: u32,
    stream: Option<Stream>,
    /// Every value that ever stood at the key.
    seen: HashSet<(i64, Arc<[u8]>)>,
    held: Option<Value>,
    held_at: i64,
    /// Another history was followed, and nothing was taken from it yet.
    followed: bool,
    /// From now on all is well.
    quiet: bool,
    steps: u32,
    reads: u32,
}

#[derive(Clone)]
struct Etcd {
    cluster: u64,
    revision: i64,
    compacted: i64,
    value: Option<Value>,
    log: Vec<Event>,
}

struct Stream {
    mute: bool,
    /// Events below it have been sent.
    next: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        Self {
            seed,
            chance: fastrand::Rng::with_seed(seed),
            protocol: Protocol::new(Pace::default(), seed, clock.now()),
            clock,
            etcd: Etcd {
                cluster: 1,
                revision: 1,
                compacted: 0,
                value: None,
                log: vec![],
            },
            backups: vec![],
            under_way: vec![],
            generation: 0,
            stream: None,
            seen: HashSet::new(),
            held: None,
            held_at: -1,
            followed: false,
            quiet: false,
            steps: 0,
            reads: 0,
        }
    }

    fn live(mut self) -> u32 {
        let faults_end = self.in_ms(180_000);
        // A watch that became mute with the last fault, a restart, a re-read, a second witness.
        let quiet_end = faults_end.saturating_add(Duration::from_secs(75));
        let mut next_event = self.clock.now();
        while self.clock.now() < quiet_end {
            let arrives = self.under_way.iter().map(|(at, ..)| *at).min();
            let wake = [
                arrives,
                self.protocol.wake_at(),
                Some(next_event),
                Some(quiet_end),
            ];
            let now = self.clock.now();
            let until = wake.into_iter().flatten().min().unwrap();
            self.clock.advance(until.saturating_duration_since(now));
            if self.clock.now() >= next_event {
                next_event = if self.clock.now() < faults_end {
                    self.something_happens();
                    let pause = self.chance.u64(1..4_000);
                    self.in_ms(pause)
                } else {
                    self.quiet = true;
                    quiet_end
                };
            }
            self.deliver();
        }
        assert_eq!(
            self.held, self.etcd.value,
            "seed {}: did not converge",
            self.seed
        );
        assert!(
            self.reads < 300,
            "seed {}: {} reads in 255 s",
            self.seed,
            self.reads
        );
        self.steps
    }

    fn in_ms(&self, ms: u64) -> Instant {
        self.clock.now().saturating_add(Duration::from_millis(ms))
    }

    fn send(&mut self, ms: u64, happened: Happened) {
        self.under_way
            .push((self.in_ms(ms), Some(self.generation), happened));
    }

    /// Hands over all that has arrived.
    fn deliver(&mut self) {
        self.step(Happened::TimePassed);
        while let Some(place) = self
            .under_way
            .iter()
            .position(|(at, ..)| *at <= self.clock.now())
        {
            let (_, generation, happened) = self.under_way.remove(place);
            if generation.is_none_or(|generation| generation == self.generation) {
                self.step(happened);
            }
        }
    }

    fn something_happens(&mut self) {
        match self.chance.u32(0..22) {
            0..=5 => self.put(),
            6 => self.delete(),
            7 => self.etcd.revision += self.chance.i64(1..20), // writes to other keys
            8 => self.etcd.compacted = self.etcd.revision,
            9 => self.break_stream(Fault::Unavailable),
            10 => {
                if let Some(stream) = &mut self.stream {
                    stream.mute = true;
                }
            }
            11 => {
                // An event that etcd loses.
                if let Some(stream) = &mut self.stream {
                    stream.next = self.etcd.revision + 2;
                }
                if self.chance.bool() {
                    self.put();
                } else {
                    self.delete();
                }
            }
            12 => self.backups.push(self.etcd.clone()),
            13 if !self.backups.is_empty() => {
                let backup = self.chance.usize(..self.backups.len());
                let same = self.chance.bool();
                self.etcd = self.backups.swap_remove(backup);
                self.etcd.cluster += u64::from(!same) * self.chance.u64(1..1_000);
                self.break_stream(Fault::Unavailable);
            }
            14 => self.stray(self.chance_message()),
            15 => {
                let stopped = Duration::from_secs(self.chance.u64(1..60));
                self.clock.advance(stopped);
            }
            16 => self.stray(Happened::ClockJumped),
            17 => self.break_stream(Fault::TooLarge),
            18 => self.stray(Happened::Renewed),
            19 => self.break_stream(Fault::Authentication),
            _ => {}
        }
        self.stream_events();
    }

    /// A repetition, a foreign key, progress from the future.
    fn chance_message(&self) -> Happened {
        let old = self.etcd.log.first().cloned();
        let foreign = Event {
            ours: false,
            mod_revision: i64::MAX,
            value: None,
        };
        let events = [old, Some(foreign)].into_iter().flatten().collect();
        let header = Header {
            cluster: self.etcd.cluster,
            revision: self.etcd.revision + 1_000,
        };
        Happened::Watch(Message {
            header,
            created: false,
            cancelled: None,
            events,
        })
    }

    fn stray(&mut self, happened: Happened) {
        if !matches!(happened, Happened::Watch(_)) || self.stream.is_some() {
            self.send(1, happened);
        }
    }

    fn put(&mut self) {
        self.etcd.revision += 1;
        let mod_revision = self.etcd.revision;
        let bytes: Arc<[u8]> = self.chance.u32(..).to_le_bytes().into();
        self.seen.insert((mod_revision, Arc::clone(&bytes)));
        let lease = self.chance.i64(0..3);
        self.etcd.value = Some(Value {
            lease,
            mod_revision,
            bytes,
        });
        let value = self.etcd.value.clone();
        self.etcd.log.push(Event {
            ours: true,
            mod_revision,
            value,
        });
    }

    fn delete(&mut self) {
        if self.etcd.value.take().is_some() {
            self.etcd.revision += 1;
            let mod_revision = self.etcd.revision;
            self.etcd.log.push(Event {
                ours: true,
                mod_revision,
                value: None,
            });
        }
    }

    fn break_stream(&mut self, fault: Fault) {
        if self.stream.take().is_some() {
            self.send(1, Happened::WatchFailed(fault));
        }
    }

    fn stream_events(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let events: Vec<_> = self
            .etcd
            .log
            .iter()
            .filter(|event| event.mod_revision >= stream.next)
            .cloned()
            .collect();
        if stream.mute || events.is_empty() {
            return;
        }
        stream.next = self.etcd.revision + 1;
        let header = self.header();
        self.send(
            2,
            Happened::Watch(Message {
                header,
                created: false,
                cancelled: None,
                events,
            }),
        );
    }

    fn header(&self) -> Header {
        Header {
            cluster: self.etcd.cluster,
            revision: self.etcd.revision,
        }
    }

    fn step(&mut self, happened: Happened) {
        self.steps += 1;
        let known = self.protocol.known();
        let next = self.protocol.step(self.clock.now(), happened);
        let followed = next
            .iter()
            .any(|next| matches!(next, Next::Tell(Tell::Followed(_))));
        self.followed |= followed;
        assert!(
            followed || self.protocol.known() >= known,
            "seed {}: went back",
            self.seed
        );
        for next in next {
            self.carry_out(next);
        }
    }

    fn carry_out(&mut self, next: Next) {
        let latency = self.chance.u64(1..60);
        match next {
            Next::Read => {
                self.reads += 1;
                let answer = match self.chance.u32(0..8) {
                    0 if !self.quiet => Happened::ReadFailed(Fault::NotSent),
                    _ => Happened::Read(self.header(), self.etcd.value.clone()),
                };
                self.send(latency, answer);
            }
            Next::AskLease(id) => {
                let remaining_secs = if !self.quiet && self.chance.u32(0..8) == 0 {
                    -1
                } else {
                    30
                };
                let reading = LeaseReading {
                    granted_secs: 60,
                    remaining_secs,
                };
                let answer = match self.chance.u32(0..8) {
                    0 if !self.quiet => Happened::LeaseFailed(Fault::Unavailable),
                    _ => Happened::Lease(id, reading),
                };
                self.send(latency, answer);
            }
            Next::Watch(from) => {
                self.open(from);
            }
            Next::AskProgress => {
                if self.stream.as_ref().is_some_and(|stream| !stream.mute) {
                    let header = self.header();
                    let progress = Message {
                        header,
                        created: false,
                        cancelled: None,
                        events: vec![],
                    };
                    self.send(1, Happened::Watch(progress));
                }
            }
            Next::Drop(_) => {
                self.generation += 1;
                self.stream = None;
            }
            Next::Take {
                value, revision, ..
            } => self.take(value, revision),
            Next::Confirm => {
                if self.held.is_none() {
                    self.held_at = self.protocol.known();
                }
            }
            Next::Age(..) | Next::Tell(_) => {}
        }
    }

    fn open(&mut self, from: i64) {
        self.stream = Some(Stream {
            mute: false,
            next: from,
        });
        let compacted = from < self.etcd.compacted;
        let lag = if self.chance.u32(0..4) == 0 { 2 } else { 0 };
        let header = Header {
            cluster: self.etcd.cluster,
            revision: self.etcd.revision - lag,
        };
        let created = Message {
            header,
            created: true,
            cancelled: compacted.then_some(Fault::Compacted),
            events: vec![],
        };
        self.send(1, Happened::Watch(created));
        if compacted {
            self.stream = None;
        }
        self.stream_events();
    }

    fn take(&mut self, value: Option<Value>, revision: i64) {
        let new = value.as_ref().map_or(revision, |value| value.mod_revision);
        assert!(
            self.followed || self.held_at < new,
            "seed {}: took {new} after {}",
            self.seed,
            self.held_at
        );
        if let Some(value) = &value {
            let state = (value.mod_revision, Arc::clone(&value.bytes));
            assert!(
                self.seen.contains(&state),
                "seed {}: never stood there",
                self.seed
            );
        }
        self.followed = false;
        self.held_at = new;
        self.held = value;
    }
}

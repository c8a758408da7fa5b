//! A model of the key: writers, etcd, people and a reader, and every order of their steps within the bounds of each scene.
//!
//! The writers decide with the crate's own functions, and etcd holds the crate's own compares against its keys, so this explores what
//! the operator does and no second account of it. `docs/model.md` says what it covers and what it leaves out; `make model` explores
//! wider bounds than these tests and prints its figures.

#![allow(
    clippy::expect_used,
    reason = "a model that cannot be built is a test that fails"
)]

#[path = "model/etcd.rs"]
mod etcd;
#[path = "model/flight.rs"]
mod flight;
#[path = "model/healing.rs"]
mod healing;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/mutants.rs"]
mod mutants;
#[path = "model/people.rs"]
mod people;
#[path = "model/reader.rs"]
mod reader;
#[path = "model/scenes.rs"]
mod scenes;
#[path = "model/state.rs"]
mod state;
#[path = "model/world.rs"]
mod world;
#[path = "model/writer.rs"]
mod writer;

use mutants::MUTANTS;
use scenes::{SCENES, Scene};

#[test]
fn two_replicas_keep_every_promise_whatever_is_lost_late_or_killed() {
    explore_named("two replicas");
}

#[test]
fn people_who_meddle_are_noticed_obeyed_and_put_right() {
    explore_named("people meddle");
}

#[test]
fn two_releases_never_write_each_others_key() {
    explore_named("two releases");
}

#[test]
fn a_reader_ends_every_directive_in_time_while_leases_stretch() {
    explore_named("reader, leases stretch");
}

#[test]
fn a_reader_whose_clock_is_behind_ends_every_directive_by_its_lease() {
    explore_named("reader, clock behind");
}

#[test]
fn every_wrong_protocol_is_caught_by_the_promise_that_it_breaks() {
    println!("| wrong protocol | scene | promise that it breaks | states until then | steps |");
    let mut escaped = Vec::new();
    for wrong in MUTANTS {
        let found = mutants::hunt(wrong);
        println!("{}", mutants::row(wrong, &found));
        if !found.broken.contains_key(wrong.breaks) {
            escaped.push((wrong.mutant, wrong.breaks));
        }
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
}

#[test]
#[ignore = "takes minutes: `make model` runs it"]
fn wide_bounds_keep_every_promise_too() {
    for scene in SCENES {
        explore(scene, true);
    }
}

fn explore_named(name: &str) {
    let scene = SCENES.iter().find(|scene| scene.name == name);
    explore(scene.expect("a scene of this name"), false);
}

/// Explores a scene whole, and holds every promise against every state.
fn explore(scene: &Scene, wide: bool) {
    let found = scenes::explore(scene.machine(wide));
    println!("{:<22} {found}", scene.name);
    assert!(found.broken.is_empty(), "{}: {}", scene.name, found.trace());
    for sight in scene.shows {
        assert!(
            found.seen.contains(sight),
            "{} never shows: {sight}",
            scene.name
        );
    }
}

//! What the fuzzer found worth keeping, replayed without a fuzzer: see `docs/fuzzing.md`.

use std::path::Path;

/// The very functions that libFuzzer runs.
#[allow(
    unreachable_pub,
    reason = "they are public in the fuzzer's own crate, and this file is that crate's"
)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn the_corpus_of_the_strict_parse_holds() {
    replay("strict", targets::strict);
}

#[test]
fn the_corpus_of_the_mapping_holds() {
    replay("mapping", targets::mapping);
}

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        eprintln!("{}", path.display());
        target(&std::fs::read(&path).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 100, "{replayed} files in {}", folder.display());
}

//! The house rules that no compiler holds: which room may know which.
//!
//! [`ROOMS`] is the map of the crate. Read it first; the rest of this file only checks it against
//! `src/`. A rule is about code: comments, strings and tests may name whatever they like.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reader::{code_of, imports, named, tokens, without_tests};

#[path = "architecture/reader.rs"]
mod reader;

/// The rooms of the house, from the ground up. A file belongs to the longest path that fits it.
const ROOMS: &[Room] = &[
    // What both ends mean by a document. Here is what must never be understood in two ways.
    pure("document").knows(&[]),
    pure("fleet").knows(&["document"]),
    // How both ends live with etcd.
    shell("etcd").knows(&["document", "fleet"]),
    pure("etcd/keys").knows(&[]),
    // The names of what goes wrong: reads etcd-client's errors, and does no I/O.
    pure("etcd/fault").knows(&[]).and(&["etcd_client"]),
    // The reading end, embedded in a proxy. It does not know that there is a Kubernetes.
    shell("store").knows(&["document", "fleet", "etcd"]),
    pure("store/back_off").knows(&[]),
    pure("store/fleet/moments").knows(&[]),
    // Of etcd they know the names of its faults.
    pure("store/protocol").knows(&["document", "fleet", "etcd"]),
    pure("store/fleet/vocabulary").knows(&["document", "etcd"]),
    pure("store/fleet/session").knows(&["document", "fleet", "etcd"]),
    pure("store/holding").knows(&["document"]),
    pure("store/decision").knows(&["document"]),
    pure("store/status").knows(&["document", "fleet"]),
    // The custom resource: from a spec to what it means.
    pure("resource").knows(&["document"]),
    // Its types derive their schema, and name Kubernetes' own types. That is not I/O.
    pure("resource/crd")
        .knows(&["document"])
        .and(&["kube", "k8s_openapi"]),
    pure("resource/status")
        .knows(&["document"])
        .and(&["kube", "k8s_openapi"]),
    pure("resource/fleet")
        .knows(&[])
        .and(&["kube", "k8s_openapi"]),
    // The writing end. It does not know how a proxy reads.
    shell("operator").knows(&["document", "fleet", "etcd", "resource"]),
    pure("operator/observe/inventory").knows(&["resource"]),
    pure("operator/observe/project").knows(&["resource"]),
    // Both read kube's types, the definition and the errors. That is not I/O.
    pure("operator/observe/definition")
        .knows(&["resource"])
        .and(&["kube"]),
    pure("operator/observe/fault").knows(&[]).and(&["kube"]),
    pure("operator/plan").knows(&["document", "fleet", "resource"]),
    // Of etcd it knows how the keys are called, not how to reach it.
    pure("operator/publish/fence").knows(&["document", "etcd"]),
    pure("operator/publish/decision").knows(&["document"]),
    pure("operator/publish/owner").knows(&[]),
    pure("operator/publish/pacing").knows(&[]),
    pure("operator/publish/state").knows(&["document"]),
    // What the proxies have; the roll itself is kept by I/O.
    pure("operator/applied/ledger").knows(&["document", "fleet"]),
    pure("operator/applied/newest").knows(&["fleet"]),
    pure("operator/applied/judge").knows(&["fleet"]),
    pure("operator/report/trouble").knows(&[]),
    pure("operator/report/proxies")
        .knows(&["etcd", "fleet", "resource"])
        .and(&["k8s_openapi"]),
    pure("operator/report/status")
        .knows(&["etcd", "resource"])
        .and(&["k8s_openapi"]),
    pure("operator/overview/conditions").knows(&["etcd", "fleet"]),
    pure("operator/overview/look").knows(&[]),
    pure("operator/overview/report")
        .knows(&["etcd", "fleet", "resource"])
        .and(&["k8s_openapi"]),
    // The command line: what is shown is computed, and the shell fetches and prints.
    pure("cli/standing").knows(&["resource", "operator"]),
    pure("cli/status/view").knows(&["resource", "operator"]),
    pure("cli/check/judge").knows(&["operator"]),
    pure("cli/check/operator").knows(&[]),
    pure("cli/check/line").knows(&[]),
    pure("cli/complete/words").knows(&[]).and(&["clap"]),
    pure("cli/proxies/view").knows(&["fleet", "resource", "operator"]),
    pure("cli/table").knows(&[]),
    shell("cli").knows(&["document", "fleet", "etcd", "resource", "operator"]),
    shell("lib").knows(&[
        "document", "fleet", "etcd", "store", "resource", "operator", "cli",
    ]),
    shell("main").knows(&["cli"]),
];

/// What a pure room does not name: no I/O, no server, no command line, and no clock but the time it is given.
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "kube",
    "k8s_openapi",
    "etcd_client",
    "axum",
    "clap",
    "rustls",
    "tracing_subscriber",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
];

/// What no room names.
const NOWHERE: &[&str] = &["unsafe", "dbg", "todo", "unimplemented"];

/// The longest a file may be, its tests not counted. Well before that it has two subjects.
const LONGEST_FILE: usize = 500;

/// A part of `src/` and what it may know.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Module path: `store/protocol` is `src/store/protocol.rs` and `src/store/protocol/`.
    at: &'static str,
    /// Whether [`IMPURE`] holds here.
    pure: bool,
    /// The rooms it may import, besides its own.
    knows: &'static [&'static str],
    /// Names of [`IMPURE`] that it may use all the same.
    except: &'static [&'static str],
}

/// A room that computes: values in, values out.
const fn pure(at: &'static str) -> Room {
    Room {
        at,
        pure: true,
        knows: &[],
        except: &[],
    }
}

/// A room that talks to the world.
const fn shell(at: &'static str) -> Room {
    Room {
        at,
        pure: false,
        knows: &[],
        except: &[],
    }
}

impl Room {
    const fn knows(mut self, rooms: &'static [&'static str]) -> Self {
        self.knows = rooms;
        self
    }

    const fn and(mut self, names: &'static [&'static str]) -> Self {
        self.except = names;
        self
    }

    fn holds(&self, module: &[String]) -> bool {
        let at: Vec<&str> = self.at.split('/').collect();
        module.len() >= at.len() && at.iter().zip(module).all(|(room, part)| room == part)
    }
}

#[test]
fn every_file_keeps_to_its_room() {
    let broken: Vec<String> = sources()
        .unwrap()
        .iter()
        .flat_map(|(path, text)| {
            check(&module_of(path), text)
                .into_iter()
                .map(move |broken| format!("src/{}: {broken}", path.display()))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "the rules are in tests/architecture.rs\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_file_has_grown_two_subjects() {
    let long: Vec<String> = sources()
        .unwrap()
        .iter()
        .filter(|(path, _)| !is_test_file(path))
        .map(|(path, text)| (path, without_tests(&code_of(text)).len()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| {
            format!(
                "src/{}: {lines} lines, at most {LONGEST_FILE}",
                path.display()
            )
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// One way in which a file breaks a rule.
#[derive(Debug, PartialEq, Eq)]
enum Broken {
    /// The file is in no room of the table.
    Homeless,
    /// A word that no room names.
    Forbidden { line: usize, name: &'static str },
    /// A pure room reaches for the world.
    Impure { line: usize, name: &'static str },
    /// A room imports one that it does not know.
    Stranger { line: usize, room: String },
    /// An import from the crate's root, where the rule about rooms could not see what it is.
    Detour { line: usize, name: String },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Homeless => write!(f, "belongs to no room; enter it in ROOMS"),
            Self::Forbidden { line, name } => write!(
                f,
                "line {line} names `{name}`, which is not allowed anywhere"
            ),
            Self::Impure { line, name } => write!(f, "line {line} names `{name}` in a pure room"),
            Self::Stranger { line, room } => write!(
                f,
                "line {line} names `{room}`, which this room does not know"
            ),
            Self::Detour { line, name } => write!(
                f,
                "line {line} names `crate::{name}`; import it from its room"
            ),
        }
    }
}

/// All that is wrong with a file, given the module that it is and its text.
fn check(module: &[String], text: &str) -> Vec<Broken> {
    let Some(room) = ROOMS
        .iter()
        .filter(|room| room.holds(module))
        .max_by_key(|room| room.at.len())
    else {
        return vec![Broken::Homeless];
    };
    let all = tokens(&code_of(text));
    let mut broken: Vec<Broken> = named(&all, NOWHERE)
        .map(|(line, name)| Broken::Forbidden { line, name })
        .collect();
    if module.last().is_some_and(|name| is_test_module(name)) {
        return broken;
    }
    let shipped = tokens(&without_tests(&code_of(text)));
    if room.pure {
        broken.extend(
            named(&shipped, IMPURE)
                .filter(|(_, name)| !room.except.contains(name))
                .map(|(line, name)| Broken::Impure { line, name }),
        );
    }
    let own = module.first().map_or("", String::as_str);
    for (line, target) in imports(&shipped, module) {
        if !ROOMS.iter().any(|room| room.at == target) {
            // The doors hand things out; nobody inside takes them from there.
            if own != "lib" && own != "main" {
                broken.push(Broken::Detour { line, name: target });
            }
        } else if target != own && !room.knows.contains(&target.as_str()) {
            broken.push(Broken::Stranger { line, room: target });
        }
    }
    broken
}

/// `src/store/protocol.rs` is `[store, protocol]`, `src/store/mod.rs` is `[store]`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| is_test_module(&stem.to_string_lossy()))
}

fn is_test_module(name: &str) -> bool {
    name == "tests" || name.ends_with("_tests")
}

/// Every Rust file below `src/`, by its path there.
fn sources() -> io::Result<Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path, fs::read_to_string(entry.path())?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The checker itself: each rule broken on a sample, and each excuse that must count.
mod the_checker {
    use super::{Broken, check, code_of, module_of, without_tests};
    use std::path::Path;

    fn said(path: &str, text: &str) -> Vec<String> {
        check(&module_of(Path::new(path)), text)
            .iter()
            .map(Broken::to_string)
            .collect()
    }

    #[test]
    fn finds_io_in_a_pure_room() {
        let text = "use std::time::Duration;\nuse tokio::sync::watch;\n";
        for path in [
            "document/parse.rs",
            "fleet.rs",
            "store/protocol.rs",
            "resource/spec.rs",
            "operator/plan.rs",
            "operator/plan/budget.rs",
            "operator/publish/fence.rs",
            "store/status.rs",
            "store/decision.rs",
        ] {
            assert_eq!(
                said(path, text),
                ["line 2 names `tokio` in a pure room"],
                "{path}"
            );
        }
        assert!(said("store/driver.rs", text).is_empty());
        assert!(said("operator/publish/mod.rs", text).is_empty());
    }

    #[test]
    fn finds_a_clock_in_a_pure_room() {
        let text = "fn f() {\n    let at = std::time::Instant::now();\n}\n";
        assert_eq!(
            said("store/protocol.rs", text),
            ["line 2 names `Instant::now` in a pure room"]
        );
        assert!(said("store/protocol.rs", "fn f(now: std::time::Instant) {}").is_empty());
    }

    #[test]
    fn lets_only_the_types_derive_the_custom_resource() {
        let text = "use kube::CustomResource;\n";
        assert!(said("resource/crd.rs", text).is_empty());
        assert!(said("resource/status.rs", text).is_empty());
        assert_eq!(
            said("resource/window.rs", text),
            ["line 1 names `kube` in a pure room"]
        );
        assert_eq!(
            said("resource/crd.rs", "use tokio::fs;"),
            ["line 1 names `tokio` in a pure room"]
        );
    }

    #[test]
    fn finds_one_end_that_knows_the_other() {
        for text in [
            "use crate::operator::plan;",
            "use crate::{document::Entry, operator::plan};",
            "use super::super::operator;",
            "fn f() { crate::operator::run() }",
            "pub(crate) use crate::operator as o;",
        ] {
            let broken = said("store/driver.rs", text);
            assert_eq!(
                broken,
                ["line 1 names `operator`, which this room does not know"],
                "{text}"
            );
        }
        assert_eq!(
            said(
                "operator/observe.rs",
                "use crate::{\n    etcd,\n    store::Store,\n};"
            ),
            ["line 3 names `store`, which this room does not know"]
        );
        assert!(said("store/driver.rs", "use super::protocol::Step;").is_empty());
        assert!(
            said(
                "operator/observe.rs",
                "use kube::runtime::reflector::store;"
            )
            .is_empty()
        );
    }

    #[test]
    fn holds_a_pure_room_to_fewer_neighbours_than_its_house() {
        let text = "use crate::etcd::Connection;";
        assert!(said("operator/publish/mod.rs", text).is_empty());
        assert_eq!(
            said("operator/plan.rs", text),
            ["line 1 names `etcd`, which this room does not know"]
        );
    }

    #[test]
    fn finds_a_detour_over_the_root_of_the_crate() {
        assert_eq!(
            said("operator/observe.rs", "use crate::EtcdDirectiveStore;"),
            ["line 1 names `crate::EtcdDirectiveStore`; import it from its room"]
        );
    }

    #[test]
    fn finds_a_file_without_a_room() {
        assert_eq!(
            said("util.rs", ""),
            ["belongs to no room; enter it in ROOMS"]
        );
    }

    #[test]
    fn finds_a_forbidden_word_also_in_tests() {
        let text = "#[cfg(test)]\nmod tests {\n    fn f() { unsafe { g() } }\n}\n";
        assert_eq!(
            said("etcd/mod.rs", text),
            ["line 3 names `unsafe`, which is not allowed anywhere"]
        );
        assert_eq!(said("etcd/mod_tests.rs", "fn f() { todo!() }").len(), 1);
    }

    #[test]
    fn reads_code_and_not_prose() {
        let text = r##"
//! As tokio does it; unsafe.
/* a /* nested */ tokio */
/// Like [`tokio::sync::watch`].
fn f<'a>(quote: &'a str) -> char {
    let _ = "tokio \" tokio";
    let _ = r#"kube "tokio" "#;
    let _ = ('"', '\'', b"tokio", quote);
    'x'
}
#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    fn f() { if true { } }
}
"##;
        assert!(
            said("document/parse.rs", text).is_empty(),
            "{:?}",
            said("document/parse.rs", text)
        );
        // After all that prose the reader still sees what follows it.
        let after = format!("{text}use tokio::fs;\n");
        assert_eq!(
            said("document/parse.rs", &after),
            ["line 16 names `tokio` in a pure room"]
        );
    }

    #[test]
    fn does_not_count_tests_as_lines() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n#[cfg(test)]\nmod more_tests;\nfn h() {}\n";
        let kept: Vec<usize> = without_tests(&code_of(text))
            .iter()
            .map(|(line, _)| *line)
            .collect();
        assert_eq!(kept, [1, 9]);
    }
}

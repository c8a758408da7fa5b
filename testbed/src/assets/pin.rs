//! One folder of `testbed/servers`: which tools it pins, at which version, and how they are built.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

/// The folder with all pins, in the checkout that this was compiled in.
const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/servers");

/// Part of every cache key: raise it when the way of building changes and the flags do not.
const RECIPE: &str = "1";

/// What a folder pins.
#[derive(Debug)]
pub(super) struct Pin {
    folder: PathBuf,
    name: String,
    version: String,
    /// Tool and the Go package that it is built from.
    tools: Vec<(String, String)>,
    linker_flags: String,
    tags: &'static str,
    cache_key: String,
}

impl Pin {
    /// Reads `testbed/servers/<folder>/go.mod`.
    pub(super) fn read(folder: &str) -> Result<Self> {
        let path = Path::new(SERVERS).join(folder);
        let read = |file: &str| {
            let file = path.join(file);
            fs::read_to_string(&file).with_context(|| {
                format!("cannot read {}: no version is pinned there", file.display())
            })
        };
        let (module, sums) = (read("go.mod")?, read("go.sum")?);
        let packages = tool_packages(&module);
        let first = packages
            .first()
            .with_context(|| format!("{folder}/go.mod names no tool"))?;
        let (required, version) = requirement(&module, first)
            .ok_or_else(|| anyhow!("{folder}/go.mod requires no version of {first}"))?;
        let linker_flags = linker_flags(required, version);
        let name = folder
            .rsplit_once('-')
            .map_or(folder, |(name, _)| name)
            .to_owned();
        let tags = build_tags(required);
        let mut hashed = vec![RECIPE, &module, &sums, &linker_flags];
        hashed.extend((!tags.is_empty()).then_some(tags));
        let hash = short_hash(&hashed);
        Ok(Self {
            cache_key: format!("{name}-{version}-{hash}"),
            tools: packages
                .iter()
                .map(|package| (tool_name(package), (*package).to_owned()))
                .collect(),
            version: version.to_owned(),
            folder: path,
            name,
            linker_flags,
            tags,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn tools(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(|(name, _)| name.as_str())
    }

    /// The package of a tool, and which one of the folder's it is, counted from one.
    pub(super) fn package(&self, tool: &str) -> Result<(&str, usize)> {
        let place = self
            .tools
            .iter()
            .position(|(name, _)| name == tool)
            .with_context(|| {
                let known: Vec<&str> = self.tools().collect();
                format!(
                    "{} has no tool `{tool}`, only {}",
                    self.folder.display(),
                    known.join(", ")
                )
            })?;
        Ok((&self.tools[place].1, place + 1))
    }

    pub(super) fn linker_flags(&self) -> &str {
        &self.linker_flags
    }

    /// Build tags, separated by commas.
    pub(super) fn tags(&self) -> &str {
        self.tags
    }

    /// The cache directory's name: another version, checksum or flag is another directory.
    pub(super) fn cache_key(&self) -> &str {
        &self.cache_key
    }
}

/// The packages of the `tool` directives, both forms.
fn tool_packages(module: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut packages = Vec::new();
    for line in module.lines().map(str::trim) {
        match line.strip_prefix("tool ").map(str::trim) {
            Some("(") => in_block = true,
            Some(package) => packages.push(package),
            None if line == ")" => in_block = false,
            None if in_block && !line.is_empty() => packages.push(line),
            None => {}
        }
    }
    packages
}

/// The required module that holds `package`, and its version without the `v`.
fn requirement<'a>(module: &'a str, package: &str) -> Option<(&'a str, &'a str)> {
    module
        .lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .filter(|line| !line.contains("=>"))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .filter(|(path, _)| {
            package
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|(path, _)| path.len())
}

/// `…/cmd/kubectl` is kubectl, `…/etcdctl/v3` is etcdctl, and etcd's server is called etcd.
fn tool_name(package: &str) -> String {
    let mut parts = package.rsplit('/').filter(|part| !is_major_version(part));
    match (parts.next(), parts.next()) {
        (Some("server"), Some(parent)) => parent.to_owned(),
        (last, _) => last.unwrap_or(package).to_owned(),
    }
}

fn is_major_version(part: &str) -> bool {
    part.strip_prefix('v')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Some programs learn their version from the linker. An API server without it says v0.0.0, and a
/// chart's `kubeVersion` refuses it; a Helm 3 without it believes in Kubernetes 1.20.
fn linker_flags(module: &str, version: &str) -> String {
    let mut flags = "-s -w".to_owned();
    let mut set = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(flags, " -X {name}={value}");
    };
    if module == "k8s.io/kubernetes" {
        let mut parts = version.split('.');
        let base = "k8s.io/component-base/version";
        set(&format!("{base}.gitVersion"), &format!("v{version}"));
        set(
            &format!("{base}.gitMajor"),
            parts.next().unwrap_or_default(),
        );
        set(
            &format!("{base}.gitMinor"),
            parts.next().unwrap_or_default(),
        );
    }
    if module == "helm.sh/helm/v3" {
        for package in ["chartutil", "lint/rules"] {
            set(&format!("{module}/pkg/{package}.k8sVersionMajor"), "1");
            set(&format!("{module}/pkg/{package}.k8sVersionMinor"), "36");
        }
    }
    flags
}

/// What a tool does without. Prometheus' service discovery would bring the clients of two dozen clouds, and
/// promtool checks rules without any.
fn build_tags(module: &str) -> &'static str {
    match module {
        "github.com/prometheus/prometheus" => "remove_all_sd",
        _ => "",
    }
}

fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .take(6)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_called_as_people_call_them() {
        assert_eq!(tool_name("go.etcd.io/etcd/server/v3"), "etcd");
        assert_eq!(tool_name("go.etcd.io/etcd/etcdctl/v3"), "etcdctl");
        assert_eq!(
            tool_name("k8s.io/kubernetes/cmd/kube-apiserver"),
            "kube-apiserver"
        );
        assert_eq!(
            tool_name("github.com/yannh/kubeconform/cmd/kubeconform"),
            "kubeconform"
        );
    }

    #[test]
    fn every_pinned_folder_names_its_tools_and_its_version() {
        for entry in fs::read_dir(SERVERS).unwrap() {
            let folder = entry.unwrap().file_name().into_string().unwrap();
            let pin = Pin::read(&folder).unwrap();
            let minor = folder.rsplit_once('-').unwrap().1;
            assert!(
                pin.version().starts_with(minor),
                "{folder} pins {}",
                pin.version()
            );
            assert!(pin.tools().count() > 0, "{folder} has no tool");
        }
    }

    #[test]
    fn both_forms_of_the_tool_directive_are_read() {
        assert_eq!(
            tool_packages("tool a/b\n\ntool (\n\tc/d\n\te/f\n)\nrequire x v1\n"),
            ["a/b", "c/d", "e/f"]
        );
    }

    #[test]
    fn the_longest_module_path_holds_the_package() {
        let module =
            "require (\n\ta/b v1.0.0\n\ta/b/c v2.3.4 // indirect\n)\nreplace a/b/c/d => ./v9\n";
        assert_eq!(requirement(module, "a/b/c/cmd"), Some(("a/b/c", "2.3.4")));
        assert_eq!(requirement(module, "a/bc"), None);
    }

    #[test]
    fn an_api_server_is_told_its_version() {
        let flags = linker_flags("k8s.io/kubernetes", "1.36.3");
        assert!(
            flags.contains("gitVersion=v1.36.3") && flags.contains("gitMinor=36"),
            "{flags}"
        );
    }
}

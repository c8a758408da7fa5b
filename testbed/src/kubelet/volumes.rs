//! Volumes as directories of this machine, written as a kubelet writes them: all files of a volume change at once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use super::container::field;
use super::objects::{Kind, Objects, Tokens};

/// Through this link every file of a volume is reached, so that renaming it changes all of them.
const DATA: &str = "..data";

type Files = BTreeMap<String, Vec<u8>>;

/// Writes what belongs into a volume's directory, and says whether that was another content than before.
///
/// # Errors
/// Where an object or a key is missing, the API server does not answer, or a kind of volume has no stand-in; what
/// stood in the directory stays.
pub(super) async fn fill(
    directory: &Path,
    volume: &Volume,
    pod: &Pod,
    objects: &Objects,
    tokens: &mut Tokens,
) -> Result<bool> {
    fs::create_dir_all(directory)?;
    match content(volume, pod, objects, tokens).await? {
        Some(files) => swap(directory, &files),
        None => Ok(false),
    }
}

/// What a volume holds; none for one that is the program's own.
async fn content(
    volume: &Volume,
    pod: &Pod,
    objects: &Objects,
    tokens: &mut Tokens,
) -> Result<Option<Files>> {
    if volume.empty_dir.is_some() {
        return Ok(None);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let optional = secret.optional.unwrap_or(false);
        let data = objects.data(Kind::Secret, name, optional).await?;
        return chosen(data, secret.items.as_deref(), optional, name).map(Some);
    }
    if let Some(map) = &volume.config_map {
        let optional = map.optional.unwrap_or(false);
        let data = objects.data(Kind::ConfigMap, &map.name, optional).await?;
        return chosen(data, map.items.as_deref(), optional, &map.name).map(Some);
    }
    if let Some(downward) = &volume.downward_api {
        return told(downward.items.as_deref(), pod).map(Some);
    }
    if let Some(projected) = &volume.projected {
        let mut files = Files::new();
        for source in projected.sources.iter().flatten() {
            files.extend(projection(&volume.name, source, pod, objects, tokens).await?);
        }
        return Ok(Some(files));
    }
    bail!("this kind of volume has no stand-in here")
}

async fn projection(
    volume: &str,
    source: &VolumeProjection,
    pod: &Pod,
    objects: &Objects,
    tokens: &mut Tokens,
) -> Result<Files> {
    if let Some(wanted) = &source.service_account_token {
        let place = format!("{volume}/{}", wanted.path);
        let token = tokens.get(&place, pod, wanted, objects).await?;
        return Ok([(wanted.path.clone(), token.into_bytes())].into());
    }
    if let Some(secret) = &source.secret {
        let optional = secret.optional.unwrap_or(false);
        let data = objects.data(Kind::Secret, &secret.name, optional).await?;
        return chosen(data, secret.items.as_deref(), optional, &secret.name);
    }
    if let Some(map) = &source.config_map {
        let optional = map.optional.unwrap_or(false);
        let data = objects.data(Kind::ConfigMap, &map.name, optional).await?;
        return chosen(data, map.items.as_deref(), optional, &map.name);
    }
    if let Some(downward) = &source.downward_api {
        return told(downward.items.as_deref(), pod);
    }
    bail!("this kind of projection has no stand-in here")
}

fn told(items: Option<&[DownwardAPIVolumeFile]>, pod: &Pod) -> Result<Files> {
    let items = items.unwrap_or_default().iter();
    items
        .map(|item| {
            let reference = item.field_ref.as_ref();
            let reference = reference.context("only a fieldRef has a stand-in here")?;
            let value = field(pod, &reference.field_path)?;
            Ok((item.path.clone(), value.into_bytes()))
        })
        .collect()
}

/// All keys, or those that are named under the paths that they are given.
fn chosen(
    mut data: Files,
    items: Option<&[KeyToPath]>,
    optional: bool,
    name: &str,
) -> Result<Files> {
    let Some(items) = items else {
        return Ok(data);
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => drop(files.insert(item.path.clone(), value)),
            None if optional => {}
            None => bail!("\"{name}\" has no key \"{}\"", item.key),
        }
    }
    Ok(files)
}

/// Puts `files` in the place of what stands in `directory`: a reader sees all of the old ones or all of the new ones.
fn swap(directory: &Path, files: &Files) -> Result<bool> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let data = directory.join(DATA);
    let before = fs::read_link(&data).ok();
    if before.is_some() && holds(&data, files)? {
        return Ok(false);
    }
    let name = format!("..{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = directory.join(&name);
    fs::create_dir(&fresh)?;
    for (path, content) in files {
        ensure!(
            !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
            "a file of a volume cannot be at {path}"
        );
        let path = fresh.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&fresh))?;
        let mut options = fs::File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(content)?;
    }
    let link = directory.join("..data_tmp");
    symlink(&name, &link)?;
    fs::rename(&link, &data)?;
    for top in tops(files) {
        match symlink(Path::new(DATA).join(top), directory.join(top)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?.file_name();
        let entry = entry.to_string_lossy();
        if !entry.starts_with("..") && !tops(files).any(|top| top == entry) {
            fs::remove_file(directory.join(&*entry))?;
        }
    }
    if let Some(before) = before {
        fs::remove_dir_all(directory.join(before))?;
    }
    Ok(true)
}

/// The first part of each path: what a link in the volume's directory is for.
fn tops(files: &Files) -> impl Iterator<Item = &str> {
    let paths = files.keys().map(String::as_str);
    paths.map(|path| path.split('/').next().unwrap_or(path))
}

fn holds(data: &Path, files: &Files) -> Result<bool> {
    let mut found = 0;
    let mut pending = vec![data.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(data).unwrap_or(&path).to_string_lossy();
            if files.get(&*name) != Some(&fs::read(&path)?) {
                return Ok(false);
            }
            found += 1;
        }
    }
    Ok(found == files.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn files(list: &[(&str, &str)]) -> Files {
        let list = list.iter();
        list.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_rotation_changes_every_file_through_one_link() {
        let scratch = Scratch::new("volume").unwrap();
        let volume = scratch.directory("tls").unwrap();
        let old = files(&[
            ("tls.crt", "one"),
            ("deep/tls.key", "one"),
            ("ca.crt", "ca"),
        ]);
        assert!(swap(&volume, &old).unwrap());
        assert!(!swap(&volume, &old).unwrap(), "nothing is new");
        let open = fs::canonicalize(volume.join(DATA)).unwrap();
        let new = files(&[("tls.crt", "two"), ("deep/tls.key", "two")]);
        assert!(swap(&volume, &new).unwrap());
        let text = |name: &str| fs::read_to_string(volume.join(name)).unwrap();
        assert_eq!(
            (text("tls.crt"), text("deep/tls.key")),
            ("two".into(), "two".into())
        );
        assert!(!volume.join("ca.crt").exists() && !open.exists());
        assert_eq!(
            fs::read_link(volume.join("tls.crt")).unwrap(),
            Path::new("..data/tls.crt")
        );
    }

    #[test]
    fn a_path_cannot_leave_its_volume() {
        let scratch = Scratch::new("volume").unwrap();
        let volume = scratch.directory("v").unwrap();
        assert!(swap(&volume, &files(&[("../out", "x")])).is_err());
    }
}

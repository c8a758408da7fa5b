//! `docs/install.md`, typed as it stands.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use etcd_client::{Permission, PermissionType};
use testbed::assets;
use testbed::command;
use testbed::process::Launch;
use testbed::scratch::Scratch;
use testbed::{Etcd, EtcdOptions, eventually};

use super::acts::{Act, acts};
use super::answer::is_as_shown;
use super::cluster::Cluster;
use super::secure::Secure;
use super::support::{KEY, SOON, binary};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../../docs/install.md");
/// The user of the page, and the password in its file.
const LOGIN: (&str, &str) = ("osproxy-operator", "correct horse");

#[tokio::test]
async fn the_page_holds_word_for_word() -> Result<()> {
    let plain = Etcd::start(EtcdOptions::new()).await?;
    let mut secure = Secure::start().await?;
    with_login(&mut secure).await?;
    let cluster = Cluster::start().await?;
    let person = Person::at(&cluster, &secure).await?;
    let acts = acts(PAGE);
    ensure!(acts.len() >= 15, "only {acts:?}");

    // What the page declares, in a person's own words.
    let (plain, tls) = (plain.endpoint_list(), secure.endpoint());
    let (mut declared, mut said) = (String::new(), String::new());
    for act in &acts {
        let (command, answer) = match act {
            Act::Save { name, text } => {
                person.files.write(name, text)?;
                continue;
            }
            Act::Type {
                command, answer, ..
            } => (command, answer),
            Act::LookUp { .. } => continue,
        };
        match command.split_once('=').map(|(name, _)| name) {
            Some("ETCD") => declared += &["ETCD=", &plain, "\n"].concat(),
            Some("ETCD_TLS") => declared += &["ETCD_TLS=", &tls, "\n"].concat(),
            _ => {
                let types = async || {
                    let typed = person.types(&format!("{declared}{command}")).await;
                    let typed = typed.with_context(|| format!("$ {command}"))?;
                    ensure!(
                        answer.is_empty() || is_as_shown(answer, &typed),
                        "`{command}` answers\n{typed}"
                    );
                    anyhow::Ok(typed)
                };
                // Whoever only looks may look again: a Pod that goes is seen for a moment yet.
                said += &if command.starts_with("kubectl ") && command.contains(" get ") {
                    eventually(command, SOON, types).await?
                } else {
                    types().await?
                };
            }
        }
    }
    for (what, times) in [
        ("deployed", 3),
        ("Phase:          Succeeded", 1),
        ("condition met", 2),
        ("uninstalled", 1),
    ] {
        let seen = said.matches(what).count();
        ensure!(
            seen >= times,
            "`{what}` {seen} times, and not {times}:\n{said}"
        );
    }
    Ok(())
}

/// A shell in a checkout, beside the four files, with the tools in its path.
struct Person {
    launch: Launch,
    files: Scratch,
}

impl Person {
    async fn at(cluster: &Cluster, secure: &Secure) -> Result<Self> {
        let files = Scratch::new("checkout")?;
        symlink(Path::new(ROOT).join("charts"), files.join("charts"))?;
        for (name, text) in &secure.files {
            files.write(name, text)?;
        }
        files.write("password", LOGIN.1)?;
        let tools = [
            assets::tool(&assets::kubernetes(), "kubectl").await?,
            assets::tool(assets::HELM, "helm").await?,
            binary(),
        ];
        let mut path: Vec<PathBuf> = tools
            .iter()
            .filter_map(|tool| tool.parent().map(Path::to_owned))
            .collect();
        path.extend(["/usr/bin", "/bin"].map(PathBuf::from));
        let home = files.directory("home")?;
        let launch = Launch::new("/bin/sh")
            .env("PATH", std::env::join_paths(path)?)
            .env("HOME", home)
            .env("KUBECONFIG", cluster.plane.kubeconfig())
            .args(["-ec", r#"cd "$1"; eval "$2""#, "page"])
            .arg(files.path());
        Ok(Self { launch, files })
    }

    async fn types(&self, command: &str) -> Result<String> {
        let launch = self.launch.clone().arg(command);
        command::run(&launch, None).await?.success()
    }
}

/// The etcd behind TLS asks for a login too, whose rights are the key and what lies below it.
async fn with_login(secure: &mut Secure) -> Result<()> {
    let client = &mut secure.writer;
    let (user, password) = LOGIN;
    client.user_add("root", "root", None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add(user, password, None).await?;
    client.role_add(user).await?;
    let below = Permission::new(PermissionType::Readwrite, KEY).with_prefix();
    client.role_grant_permission(user, below).await?;
    client.user_grant_role(user, user).await?;
    client.auth_enable().await?;
    Ok(())
}

//! Commands that need no server, and what is said of servers that are not there.

use anyhow::Result;

use super::screens::Screens;

const COMMANDS: &[&str] = &[
    "adopt",
    "check",
    "completion",
    "crd",
    "etcd-roles",
    "extend",
    "import",
    "off",
    "on",
    "operator",
    "proxies",
    "status",
    "validate",
    "wait",
];

/// From where cargo starts a test.
const MANIFESTS: &str = "tests/cli/golden/manifests.yaml";
const AWAY: &str = "--kubeconfig=tests/cli/golden/away.kubeconfig";

pub(super) async fn commands_that_ask_nobody(screens: &mut Screens<'_>) -> Result<()> {
    screens.both("help", &["--help"], 0).await?;
    screens.terminal("help-without-a-command", &[], 2).await?;
    screens.terminal("help-of-a-typo", &["statsu"], 2).await?;
    for command in COMMANDS {
        let name = format!("{command}-help");
        screens.terminal(&name, &[command, "--help"], 0).await?;
    }
    // What is for machines is the same on both, and its whole text is compared elsewhere.
    for which in ["directive", "fleet"] {
        screens
            .head(&format!("crd-{which}"), &["crd", which])
            .await?;
    }
    for shell in ["bash", "zsh", "fish"] {
        screens
            .head(&format!("completion-{shell}"), &["completion", shell])
            .await?;
    }
    screens
        .both("etcd-roles", &["etcd-roles", "--fleet"], 0)
        .await?;
    screens
        .both(
            "etcd-roles-refused",
            &["etcd-roles", "--proxy-user=root"],
            2,
        )
        .await?;
    screens
        .both("validate", &["validate", "-f", MANIFESTS], 1)
        .await?;
    screens
        .both(
            "validate-json",
            &["validate", "-f", MANIFESTS, "-o", "json"],
            1,
        )
        .await?;
    screens
        .both(
            "validate-missing",
            &["validate", "-f", "/nowhere/at/all.yaml"],
            2,
        )
        .await
}

pub(super) async fn servers_that_are_not_there(screens: &mut Screens<'_>) -> Result<()> {
    screens
        .both(
            "status-no-kubeconfig",
            &["status", "--kubeconfig=/nowhere/at/all"],
            2,
        )
        .await?;
    screens
        .both("status-no-server", &["status", AWAY], 2)
        .await?;
    screens.both("check-no-server", &["check", AWAY], 2).await?;
    let nobody = "--etcd-endpoints=http://127.0.0.1:1";
    screens
        .both("import-no-etcd", &["import", nobody], 2)
        .await?;
    let adopt = [
        "adopt",
        nobody,
        "--release=osproxy-directives/osproxy-directives",
        "--revision=0",
    ];
    screens.both("adopt-no-etcd", &adopt, 2).await?;
    screens
        .both("proxies-no-etcd", &["proxies", nobody], 2)
        .await
}

//! What each role may do, asked of etcd one by one: the table of docs/etcd-rights.md.

#![allow(
    clippy::disallowed_methods,
    reason = "the operator's fence is not what is tested here"
)]

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{
    AlarmAction, AlarmType, Client, Error, GetOptions, LeaseTimeToLiveOptions, Permission,
    PermissionType, PutOptions, WatchOptions,
};
use tokio::time::{sleep, timeout};

use super::site::{FLEET, OPERATOR, PROXY, Site};
use super::support::KEY;

const PAGE: &str = include_str!("../../docs/etcd-rights.md");
const YES: &str = "yes";
const NO: &str = "no";
const CALL: Duration = Duration::from_secs(10);

/// Who asks, in the order of the columns.
const ROLES: [&str; 3] = [PROXY, FLEET, OPERATOR];

/// What is asked, in the page's words, and what a proxy, a proxy that speaks and the operator are told.
const ROWS: &[(&str, Ask, [&str; 3])] = &[
    ("read `<key>`", Ask::Get(""), [YES, YES, YES]),
    ("watch `<key>`", Ask::Watch(""), [YES, YES, YES]),
    ("read `<key>/owner`", Ask::Get("/owner"), [NO, NO, YES]),
    ("read `<key>/paused`", Ask::Get("/paused"), [NO, NO, YES]),
    ("watch `<key>/paused`", Ask::Watch("/paused"), [NO, NO, YES]),
    (
        "read all below `<key>/leader/`",
        Ask::All("/leader/"),
        [NO, NO, YES],
    ),
    ("read `<key>/window`", Ask::Get("/window"), [NO, YES, YES]),
    (
        "read all below `<key>/fleet/`",
        Ask::All("/fleet/"),
        [NO, NO, YES],
    ),
    ("read all below `<key>/`", Ask::All("/"), [NO, NO, NO]),
    ("read another key", Ask::Get("2"), [NO, NO, NO]),
    ("watch another key", Ask::Watch("2"), [NO, NO, NO]),
    ("read every key", Ask::Everything, [NO, NO, NO]),
    ("put `<key>`", Ask::Put(""), [NO, NO, YES]),
    ("delete `<key>`", Ask::Delete(""), [NO, NO, YES]),
    ("put `<key>/owner`", Ask::Put("/owner"), [NO, NO, YES]),
    ("put `<key>/paused`", Ask::Put("/paused"), [NO, NO, NO]),
    (
        "delete `<key>/paused`",
        Ask::Delete("/paused"),
        [NO, NO, NO],
    ),
    (
        "campaign below `<key>/leader/`",
        Ask::Campaign,
        [NO, NO, YES],
    ),
    ("put `<key>/window`", Ask::Put("/window"), [NO, NO, YES]),
    (
        "put a record below `<key>/fleet/`",
        Ask::Put("/fleet/proxy-1"),
        [NO, YES, NO],
    ),
    (
        "delete a record below `<key>/fleet/`, also another's",
        Ask::Delete("/fleet/proxy-1"),
        [NO, YES, NO],
    ),
    ("put another key", Ask::Put("2"), [NO, NO, NO]),
    ("delete another key", Ask::Delete("2"), [NO, NO, NO]),
    ("grant a lease", Ask::Grant, [YES, YES, YES]),
    (
        "ask how long the document's lease lives",
        Ask::TimeToLive(false),
        [YES, YES, YES],
    ),
    (
        "ask which keys are on the document's lease",
        Ask::TimeToLive(true),
        [YES, YES, YES],
    ),
    (
        "ask which keys are on the leader's lease",
        Ask::LeadersKeys,
        [NO, NO, YES],
    ),
    ("refresh the document's lease", Ask::Refresh, [NO, NO, YES]),
    ("revoke the document's lease", Ask::Revoke, [NO, NO, YES]),
    (
        "revoke the leader's lease",
        Ask::RevokeLeaders,
        [NO, NO, YES],
    ),
    (
        "put a record on the document's lease",
        Ask::Join("/fleet/proxy-1"),
        [NO, NO, NO],
    ),
    (
        "list all leases, others' among them",
        Ask::Leases,
        [NO, NO, NO],
    ),
    ("list the users", Ask::Users, [NO, NO, NO]),
    ("add a user", Ask::AddUser, [NO, NO, NO]),
    (
        "grant its own role another key",
        Ask::GrantMore,
        [NO, NO, NO],
    ),
    ("switch auth off", Ask::AuthOff, [NO, NO, NO]),
    ("list the members", Ask::Members, [YES, YES, YES]),
    ("compact", Ask::Compact, [NO, NO, NO]),
    ("defragment", Ask::Defragment, [NO, NO, NO]),
    ("take a snapshot", Ask::Snapshot, [NO, NO, NO]),
    ("disarm an alarm", Ask::Disarm, [NO, NO, NO]),
    ("ask a member for its status", Ask::Status, [YES, YES, YES]),
];

/// One question. A key is what follows the directives key.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Get(&'static str),
    All(&'static str),
    Everything,
    Watch(&'static str),
    Put(&'static str),
    Delete(&'static str),
    Campaign,
    Grant,
    TimeToLive(bool),
    LeadersKeys,
    Refresh,
    Revoke,
    RevokeLeaders,
    Join(&'static str),
    Leases,
    Users,
    AddUser,
    GrantMore,
    AuthOff,
    Members,
    Compact,
    Defragment,
    Snapshot,
    Disarm,
    Status,
}

/// What etcd told each role, a line a row.
pub(super) async fn told(site: &Site) -> Result<Vec<[&'static str; 3]>> {
    let root = site.client("root").await?;
    let mut told = Vec::new();
    for (what, ask, _) in ROWS {
        let mut answers = [""; 3];
        for (answer, user) in answers.iter_mut().zip(ROLES) {
            let scene = Scene::set(&root).await?;
            let client = site.client(user).await?;
            let said = timeout(CALL, scene.ask(client, user, *ask)).await;
            let said = said.with_context(|| format!("{user}: {what}: no answer"))?;
            *answer = match said {
                Ok(()) => YES,
                Err(error) if error.to_string().contains("permission denied") => NO,
                Err(error) => bail!("{user}: {what}: {error}"),
            };
        }
        told.push(answers);
    }
    Ok(told)
}

/// Fails where etcd told something else than the rows say, or the page does.
pub(super) fn is_the_table(told: &[[&'static str; 3]]) -> Result<()> {
    let mut table = String::new();
    let mut wrong = String::new();
    for ((what, _, expected), told) in ROWS.iter().zip(told) {
        let [proxy, fleet, operator] = told;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {what} | {proxy} | {fleet} | {operator} |");
        if told != expected {
            let _ = writeln!(wrong, "{what}: {told:?}, not {expected:?}");
        }
    }
    ensure!(wrong.is_empty(), "etcd says otherwise:\n{wrong}");
    ensure!(
        PAGE.contains(&table),
        "docs/etcd-rights.md has another table than:\n{table}"
    );
    Ok(())
}

/// Everything that stands at the key while somebody asks.
struct Scene {
    root: Client,
    document_lease: i64,
    leader_lease: i64,
}

impl Scene {
    async fn set(root: &Client) -> Result<Self> {
        let lease = async || -> Result<i64> {
            let granted = root.lease_client().grant(600, None).await?;
            Ok(granted.id())
        };
        let (document_lease, leader_lease) = (lease().await?, lease().await?);
        let others = lease().await?;
        let mut kv = root.kv_client();
        for (suffix, lease) in [
            ("", document_lease),
            ("/owner", 0),
            ("/leader/somebody", leader_lease),
            ("/paused", 0),
            ("/window", 0),
            ("/fleet/proxy-1", 0),
            ("2", others),
        ] {
            let options = PutOptions::new().with_lease(lease);
            kv.put(key(suffix), "x", Some(options)).await?;
        }
        Ok(Self {
            root: root.clone(),
            document_lease,
            leader_lease,
        })
    }

    async fn ask(&self, mut client: Client, user: &str, ask: Ask) -> Result<(), Error> {
        let mut leases = client.lease_client();
        match ask {
            Ask::Get(suffix) => client.get(key(suffix), None).await.map(drop),
            Ask::All(suffix) => {
                let below = GetOptions::new().with_prefix();
                client.get(key(suffix), Some(below)).await.map(drop)
            }
            Ask::Everything => {
                let all = GetOptions::new().with_all_keys();
                client.get("", Some(all)).await.map(drop)
            }
            Ask::Watch(suffix) => watch(&mut client, key(suffix)).await,
            Ask::Put(suffix) => client.put(key(suffix), "y", None).await.map(drop),
            Ask::Delete(suffix) => client.delete(key(suffix), None).await.map(drop),
            Ask::Join(suffix) => {
                let on = PutOptions::new().with_lease(self.document_lease);
                client.put(key(suffix), "y", Some(on)).await.map(drop)
            }
            Ask::Campaign => {
                let mine = leases.grant(600, None).await?.id();
                // Who stands before it stays there; it is enough to be let into the queue, where it has a key.
                let mut election = client.election_client();
                tokio::select! {
                    told = election.campaign(key("/leader"), "x", mine) => told.map(drop),
                    queued = self.stands(key(&format!("/leader/{mine:x}"))) => {
                        queued?;
                        leases.revoke(mine).await.map(drop)
                    }
                }
            }
            Ask::Grant => leases.grant(600, None).await.map(drop),
            Ask::TimeToLive(keys) => ask_keys(&mut leases, self.document_lease, keys).await,
            Ask::LeadersKeys => ask_keys(&mut leases, self.leader_lease, true).await,
            Ask::Refresh => leases.keep_alive(self.document_lease).await.map(drop),
            Ask::Revoke => leases.revoke(self.document_lease).await.map(drop),
            Ask::RevokeLeaders => leases.revoke(self.leader_lease).await.map(drop),
            Ask::Leases => leases.leases().await.map(drop),
            Ask::Users => client.user_list().await.map(drop),
            Ask::AddUser => client.user_add("mallory", "x", None).await.map(drop),
            Ask::GrantMore => {
                let more = Permission::new(PermissionType::Readwrite, key("2"));
                client.role_grant_permission(user, more).await.map(drop)
            }
            Ask::AuthOff => client.auth_disable().await.map(drop),
            Ask::Members => client.member_list().await.map(drop),
            Ask::Compact => client.compact(1, None).await.map(drop),
            Ask::Defragment => client.defragment().await.map(drop),
            Ask::Snapshot => {
                let mut snapshot = client.snapshot().await?;
                snapshot.message().await.map(drop)
            }
            Ask::Disarm => {
                let (off, all) = (AlarmAction::Deactivate, AlarmType::None);
                client.alarm(off, all, None).await.map(drop)
            }
            Ask::Status => client.status().await.map(drop),
        }
    }

    /// Waits until a key is there.
    async fn stands(&self, key: String) -> Result<(), Error> {
        let mut kv = self.root.kv_client();
        while kv.get(key.as_str(), None).await?.kvs().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

async fn ask_keys(
    leases: &mut etcd_client::LeaseClient,
    lease: i64,
    keys: bool,
) -> Result<(), Error> {
    let mut options = LeaseTimeToLiveOptions::new();
    if keys {
        options = options.with_keys();
    }
    leases.time_to_live(lease, Some(options)).await.map(drop)
}

/// etcd refuses a watch in-band: it says that it is there, and that it has ended.
async fn watch(client: &mut Client, key: String) -> Result<(), Error> {
    // From the past, so that one that is let in has something to say at once.
    let options = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch(key, Some(options)).await?;
    loop {
        let message = watch.message().await?;
        let message = message.ok_or_else(|| Error::WatchError("no word".to_owned()))?;
        if message.canceled() {
            return Err(Error::WatchError(message.cancel_reason().to_owned()));
        }
        if !message.events().is_empty() {
            return Ok(());
        }
    }
}

fn key(suffix: &str) -> String {
    format!("{KEY}{suffix}")
}

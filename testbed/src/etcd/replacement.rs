//! Another member in the place of one that is gone for good.

use anyhow::{Context, Result};

use super::{Etcd, HEALTHY_WITHIN};
use crate::deadline::eventually;

impl Etcd {
    /// Replaces a member as an administrator does whose machine is gone for good: it is killed and removed from the cluster; another
    /// one under its name and addresses is added as a learner, and promoted when it has caught up. The others need a quorum.
    ///
    /// # Errors
    /// When the cluster refuses a step for 30 seconds, or the new one has not caught up in as many.
    pub async fn replace(&self, member: usize) -> Result<()> {
        let gone = &self.members[member];
        let (name, address) = gone.identity();
        // Neither the one that goes nor a learner answers.
        let others = self
            .members
            .iter()
            .filter(|other| other.identity() != gone.identity());
        let others: Vec<_> = others.map(super::Member::endpoint).collect();
        let others = format!("--endpoints={}", others.join(","));
        let run = async |args: &[&str]| {
            let args = [&[others.as_str()], args].concat();
            self.etcdctl(&args).await?.success()
        };
        let id = async || {
            let list = run(&["member", "list"]).await?;
            id_of(&list, name).with_context(|| format!("no member {name} has started: {list}"))
        };

        let old = id().await?;
        gone.kill()?;
        // It may have been the leader.
        eventually("the others to agree again", HEALTHY_WITHIN, async || {
            run(&["get", "nothing"]).await
        })
        .await?;
        // They refuse it until they have noticed that it is gone.
        eventually("a cluster that lets it go", HEALTHY_WITHIN, async || {
            run(&["member", "remove", &old]).await
        })
        .await?;
        let address = format!("--peer-urls={address}");
        eventually(
            "a cluster that takes a member",
            HEALTHY_WITHIN,
            async || run(&["member", "add", name, &address, "--learner"]).await,
        )
        .await?;
        gone.join()?;
        let new = eventually("the learner", HEALTHY_WITHIN, id).await?;
        eventually(
            "the learner to have caught up",
            HEALTHY_WITHIN,
            async || run(&["member", "promote", &new]).await,
        )
        .await?;
        gone.healthy().await
    }
}

/// The id of the member that started under a name, in lines as `8e9e05c52164694d, started, etcd-0, http://…`.
fn id_of(list: &str, name: &str) -> Option<String> {
    list.lines().find_map(|line| {
        let mut words = line.split(", ");
        let (id, _state, of) = (words.next()?, words.next()?, words.next()?);
        (of == name).then(|| id.to_owned())
    })
}

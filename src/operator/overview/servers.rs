//! What the members of etcd tell of themselves.

use std::future::pending;

use tokio::time::timeout;

use super::report::Server;
use crate::etcd::{Connection, Fault};
use crate::operator::publish::keys::KeyStore;

/// A connection to each member: the one that is in use for all else, and one to each other member, kept as long as they answer, for a
/// login costs etcd more than the question.
pub(super) struct Servers {
    store: KeyStore,
    members: Vec<Connection>,
}

impl Servers {
    pub(super) fn new(store: KeyStore) -> Self {
        Self {
            store,
            members: Vec::new(),
        }
    }

    /// Asks each member, one after the other. Whoever may not be asked, or does not answer in time, is a fault, and no more than that.
    pub(super) async fn ask(&mut self) -> Vec<Result<Server, Fault>> {
        self.follow();
        let mut told = Vec::new();
        for member in &self.members {
            let answer = timeout(self.store.deadline(), ask(member)).await;
            told.push(answer.unwrap_or(Err(Fault::Timeout)));
        }
        if told.iter().any(Result::is_err) {
            self.members.clear();
        }
        told
    }

    fn follow(&mut self) {
        let current = self.store.link().current();
        if self.members.first().is_some_and(|first| first.is(&current)) {
            return;
        }
        self.members = vec![current];
        for _ in 1..self.store.link().options().endpoints.len() {
            let next = self.members.last().map(Connection::next);
            self.members.extend(next);
        }
    }

    /// Waits until another connection is in use, and lets go of these: they may show an earlier certificate or login.
    pub(super) async fn outdated(&mut self) {
        match self.members.first() {
            Some(first) => self.store.link().exchanged(first).await,
            None => pending().await,
        }
        self.members.clear();
    }
}

async fn ask(member: &Connection) -> Result<Server, Fault> {
    let mut maintenance = member.client().await?.maintenance_client();
    let status = maintenance
        .status()
        .await
        .map_err(|error| Fault::of(&error))?;
    let quota = status.db_size_quota();
    Ok(Server {
        version: status.version().to_owned(),
        database_bytes: status.db_size(),
        quota_bytes: (quota > 0).then_some(quota),
        is_full: status
            .errors()
            .iter()
            .any(|error| error.contains("NOSPACE")),
    })
}

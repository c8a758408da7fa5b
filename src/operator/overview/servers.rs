//! What the members of etcd tell of themselves.

use tokio::time::timeout;

use super::report::Server;
use crate::etcd::{Connection, Fault};
use crate::operator::publish::keys::KeyStore;

/// A connection to each member, kept as long as it answers: a login costs etcd more than the question.
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
        if self.members.is_empty() {
            let mut connection = self.store.link().current();
            for _ in 0..connection.options().endpoints.len() {
                connection = connection.next();
                self.members.push(connection.clone());
            }
        }
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

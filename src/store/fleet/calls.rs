//! The calls of a session, each under its deadline. Each is safe to repeat: the record is this proxy's alone.

use std::sync::Arc;

use etcd_client::{GetOptions, PutOptions};

use crate::document::LeaseReading;
use crate::etcd::{Connection, Fault, grant, lease_reading, repeat, revoke, within};
use crate::fleet::{SESSION_SECS, parse_window};

impl Connection {
    /// Reads the announced window; `None` where there is none. From whichever member answers: a window that is a little old does.
    pub(super) async fn read_window(self, key: Arc<str>) -> Result<Option<u64>, Fault> {
        let deadline = self.options().timings.unary_timeout;
        let answer = repeat(self.options(), || async {
            let client = self.client().await?;
            let options = GetOptions::new().with_serializable();
            within(deadline, client.kv_client().get(&*key, Some(options))).await
        })
        .await?;
        Ok(answer.kvs().first().and_then(|kv| parse_window(kv.value())))
    }

    /// Grants the session's lease. Not repeated: the second try would find the first one's.
    pub(super) async fn begin_session(self, lease: i64) -> Result<(), Fault> {
        let deadline = self.options().timings.unary_timeout;
        let client = self.client().await?;
        grant(&client, deadline, lease, SESSION_SECS)
            .await
            .map(drop)
    }

    /// Asks how much is left of it.
    pub(super) async fn session_left(self, lease: i64) -> Result<LeaseReading, Fault> {
        let deadline = self.options().timings.unary_timeout;
        repeat(self.options(), || async {
            let client = self.client().await?;
            lease_reading(&client, deadline, lease).await
        })
        .await
    }

    /// Refreshes it: one question and its answer, on a stream of their own.
    pub(super) async fn refresh_session(self, lease: i64) -> Result<(), Fault> {
        let deadline = self.options().timings.unary_timeout;
        repeat(self.options(), || async {
            let client = self.client().await?;
            within(deadline, client.lease_client().keep_alive(lease)).await
        })
        .await
        .map(drop)
    }

    /// Writes the record, on the session's lease.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one plain put of the reading end: a proxy's own record, which no other process writes"
    )]
    pub(super) async fn put_record(
        self,
        key: Arc<str>,
        value: Vec<u8>,
        lease: i64,
    ) -> Result<(), Fault> {
        let deadline = self.options().timings.unary_timeout;
        repeat(self.options(), || async {
            let client = self.client().await?;
            let options = PutOptions::new().with_lease(lease);
            let mut kv = client.kv_client();
            within(deadline, kv.put(&*key, value.clone(), Some(options))).await
        })
        .await
        .map(drop)
    }

    /// Revokes the lease, and the record goes with it.
    pub(super) async fn end_session(self, lease: i64) -> Result<(), Fault> {
        let deadline = self.options().timings.unary_timeout;
        let client = self.client().await?;
        revoke(&client, deadline, lease).await
    }
}

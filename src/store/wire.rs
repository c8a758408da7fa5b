//! The calls to etcd, each under its deadline, and the answers in the protocol's words.

use std::sync::Arc;

use etcd_client::{KeyValue, ResponseHeader, WatchOptions, WatchResponse, WatchStream};

use super::protocol::{Event, Happened, Header, Message, Value};
use crate::document::MAX_DOCUMENT_BYTES;
use crate::etcd::{Connection, Fault, lease_reading, repeat, within};

/// A message may be this large: several revisions of the largest document catch up in one message, and what is larger
/// than that is read instead.
const MESSAGE_BYTES: usize = 4 * MAX_DOCUMENT_BYTES;

/// What the store asks. It is safe to repeat every call here, and each is repeated where another member may answer.
impl Connection {
    /// Reads the key; linearizably, as every read is that does not ask for less.
    pub(super) async fn read(self, key: Arc<str>) -> Result<(Header, Option<Value>), Fault> {
        let deadline = self.options().timings.unary_timeout;
        let answer = repeat(self.options(), || async {
            let client = self.client().await?;
            let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_BYTES);
            within(deadline, kv.get(&*key, None)).await
        })
        .await?;
        let header = answer.header().map(header_of).ok_or(Fault::Other)?;
        Ok((header, answer.kvs().first().map(value_of)))
    }

    /// Asks how much is left of a lease.
    pub(super) async fn ask_lease(self, id: i64) -> Happened {
        let deadline = self.options().timings.unary_timeout;
        let answered = repeat(self.options(), || async {
            let client = self.client().await?;
            lease_reading(&client, deadline, id).await
        });
        match answered.await {
            Ok(reading) => Happened::Lease(id, reading),
            Err(fault) => Happened::LeaseFailed(fault),
        }
    }

    /// Opens a watch of the key from a revision. Both halves of the stream stay together: without the sender
    /// etcd ends the watch.
    pub(super) async fn watch(self, key: Arc<str>, from: i64) -> Result<WatchStream, Fault> {
        let deadline = self.options().timings.unary_timeout;
        repeat(self.options(), || async {
            let client = self.client().await?;
            let mut watch = client
                .watch_client()
                .max_decoding_message_size(MESSAGE_BYTES);
            let options = WatchOptions::new().with_start_revision(from);
            within(deadline, watch.watch(&*key, Some(options))).await
        })
        .await
    }
}

/// A message of a watch; `None` for one without a header, which etcd never sends.
pub(super) fn message_of(response: &WatchResponse, key: &str) -> Option<Message> {
    let header = response.header().map(header_of)?;
    let cancelled = if response.compact_revision() != 0 {
        Some(Fault::Compacted)
    } else {
        response
            .canceled()
            .then(|| Fault::of_reason(response.cancel_reason()))
    };
    let events = response
        .events()
        .iter()
        .filter_map(etcd_client::Event::kv)
        .map(|kv| Event {
            ours: kv.key() == key.as_bytes(),
            mod_revision: kv.mod_revision(),
            // Not by the event's type: reading that panics where it is one that the client does not know. A deletion
            // is what resets the version to 0.
            value: (kv.version() > 0).then(|| value_of(kv)),
        })
        .collect();
    Some(Message {
        header,
        created: response.created(),
        cancelled,
        events,
    })
}

fn header_of(header: &ResponseHeader) -> Header {
    Header {
        cluster: header.cluster_id(),
        revision: header.revision(),
    }
}

fn value_of(kv: &KeyValue) -> Value {
    Value {
        lease: kv.lease(),
        mod_revision: kv.mod_revision(),
        bytes: kv.value().into(),
    }
}

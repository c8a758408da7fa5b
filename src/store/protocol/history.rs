//! The protocol's half about another history: a restored, wiped or exchanged etcd, which one answer alone never proves.

use osproxy_core::Instant;

use super::{Header, Next, Protocol, Read, Taken, Tell, Value};

impl Protocol {
    /// A linearizable read is strange where it contradicts what was known when it was sent.
    pub(super) fn is_strange(&self, header: Header, floor: i64, value: Option<&Value>) -> bool {
        let Some(cluster) = self.cluster else {
            return false;
        };
        let rewritten = match (&self.taken, value) {
            (Taken::Value(taken), Some(value)) => {
                value.mod_revision <= taken.mod_revision && value != taken
            }
            (Taken::Absence(at), Some(value)) => value.mod_revision <= *at,
            (Taken::Value(taken), None) => header.revision <= taken.mod_revision,
            (Taken::Absence(_), None) | (Taken::Nothing, _) => false,
        };
        // An answer from before the latest event is no contradiction: both were under way.
        header.cluster != cluster
            || header.revision < floor
            || (rewritten && header.revision >= self.known)
    }

    pub(super) fn is_second_witness(&self, header: Header) -> bool {
        self.doubt.is_some_and(|first| {
            first.cluster == header.cluster && first.revision <= header.revision
        })
    }

    /// Keeps what is applied, closes the watch, and asks again in a while.
    pub(super) fn doubt(&mut self, now: Instant, header: Header, next: &mut Vec<Next>) {
        self.tell(Tell::Doubted(header), next);
        self.close(false, next);
        self.doubt = Some(header);
        self.read = Read::At(now.saturating_add(self.pace.doubt));
    }
}

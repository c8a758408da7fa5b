//! What the conditions of a directive say, and of what Events are sent, by the words that people and machines look for; pure.
//!
//! Only what comes from elsewhere is not here: a refusal has [its own words](crate::resource::Reason), and so has a document that is
//! [held](crate::operator::publish::Held).

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";
pub(super) const UNKNOWN: &str = "Unknown";

/// What a condition of a directive says by itself; which condition that is, and whether it holds, follow from it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConditionReason {
    /// The directive is what a directive can be.
    Valid,
    /// It is in the document at the key.
    InTheDocument,
    /// It is rightly not in the document: not yet, not any more, or suspended.
    NotNeeded,
    /// It is valid and in time, and the document has no room for it within the operator's limits.
    NoRoom,
    /// It was refused, so it is not published. The condition `Accepted` says why.
    NotAccepted,
    /// The document has not been compared with etcd yet.
    NotCompared,
    /// It is on.
    InForce,
    /// It starts later, by its `activeFrom`.
    Scheduled,
    /// It has ended by its own time.
    Expired,
    /// It is held back by `suspend`.
    Suspended,
    /// It is in the document, and a proxy refuses that.
    RefusedByProxies,
    /// Every proxy that reports is current up to the publication in which the directive last changed.
    Applied,
    /// A proxy refused the document, and goes on with the last one that it took.
    ProxiesRejecting,
    /// A proxy has been behind for longer than it should.
    ProxiesLagging,
    /// Published, and not all proxies have said so yet.
    ProxiesPending,
    /// No proxy says anything, so nobody knows.
    NoProxiesReporting,
    /// The record of a proxy cannot be read, and all others have the directive.
    ProxiesUnreadable,
}

impl ConditionReason {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::Valid,
        Self::InTheDocument,
        Self::NotNeeded,
        Self::NoRoom,
        Self::NotAccepted,
        Self::NotCompared,
        Self::InForce,
        Self::Scheduled,
        Self::Expired,
        Self::Suspended,
        Self::RefusedByProxies,
        Self::Applied,
        Self::ProxiesRejecting,
        Self::ProxiesLagging,
        Self::ProxiesPending,
        Self::NoProxiesReporting,
        Self::ProxiesUnreadable,
    ];

    /// The condition that says it.
    #[must_use]
    pub fn condition(self) -> &'static str {
        self.words().0
    }

    /// The condition's status then.
    #[must_use]
    pub fn status(self) -> &'static str {
        self.words().1
    }

    /// The condition's reason then: one CamelCase word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.words().2
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Valid => ("Accepted", TRUE, "Valid"),
            Self::InTheDocument => ("Published", TRUE, "Published"),
            Self::NotNeeded => ("Published", TRUE, "NotNeeded"),
            Self::NoRoom => ("Published", FALSE, "DocumentFull"),
            Self::NotAccepted => ("Published", FALSE, "NotAccepted"),
            Self::NotCompared => ("Published", UNKNOWN, "Pending"),
            Self::InForce => ("Ready", TRUE, "Published"),
            Self::Scheduled => ("Ready", TRUE, "Scheduled"),
            Self::Expired => ("Ready", TRUE, "Expired"),
            Self::Suspended => ("Ready", TRUE, "Suspended"),
            Self::RefusedByProxies => ("Ready", FALSE, "ProxiesRejecting"),
            Self::Applied => ("Applied", TRUE, "Applied"),
            Self::ProxiesRejecting => ("Applied", FALSE, "ProxiesRejecting"),
            Self::ProxiesLagging => ("Applied", FALSE, "ProxiesLagging"),
            Self::ProxiesPending => ("Applied", UNKNOWN, "Pending"),
            Self::NoProxiesReporting => ("Applied", UNKNOWN, "NoProxiesReporting"),
            Self::ProxiesUnreadable => ("Applied", UNKNOWN, "ProxiesUnreadable"),
        }
    }
}

/// Of what an Event is sent.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventReason {
    /// It came into the document, or came back.
    Published,
    /// Every proxy that reports has it, for the first time.
    Applied,
    /// It has ended by its own time.
    Expired,
    /// It is refused; the note says what is wrong, where, and what is allowed. Again where it was changed and is still wrong.
    Rejected,
    /// Somebody else wrote or deleted the document; it is put right.
    DocumentChanged,
    /// The key holds a document that this release did not write, and nobody adopted it.
    ForeignValue,
    /// Another release owns the key.
    OwnedByAnother,
    /// A person paused the publishing.
    Paused,
    /// The pause is over.
    Resumed,
    /// The operator's clock and the API server's differ.
    ClocksDiffer,
    /// The definition in the cluster lacks something that this operator knows.
    DefinitionOutdated,
}

impl EventReason {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Published,
        Self::Applied,
        Self::Expired,
        Self::Rejected,
        Self::DocumentChanged,
        Self::ForeignValue,
        Self::OwnedByAnother,
        Self::Paused,
        Self::Resumed,
        Self::ClocksDiffer,
        Self::DefinitionOutdated,
    ];

    /// The Event's reason: one CamelCase word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "Published",
            Self::Applied => "Applied",
            Self::Expired => "Expired",
            Self::Rejected => "Rejected",
            Self::DocumentChanged => "DocumentChanged",
            Self::ForeignValue => "ForeignValue",
            Self::OwnedByAnother => "OwnedByAnother",
            Self::Paused => "Paused",
            Self::Resumed => "Resumed",
            Self::ClocksDiffer => "ClocksDiffer",
            Self::DefinitionOutdated => "DefinitionOutdated",
        }
    }

    /// Whether it is something to look at.
    #[must_use]
    pub fn is_warning(self) -> bool {
        !matches!(
            self,
            Self::Published | Self::Applied | Self::Expired | Self::Resumed
        )
    }

    /// Whether it is about one directive; otherwise it is about the release, and stands at its Deployment.
    #[must_use]
    pub fn is_about_a_directive(self) -> bool {
        matches!(
            self,
            Self::Published | Self::Applied | Self::Expired | Self::Rejected
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_is_counted_and_none_is_said_of_two_things() {
        let words: BTreeSet<_> = ConditionReason::ALL.map(ConditionReason::words).into();
        let events: BTreeSet<_> = EventReason::ALL.map(EventReason::word).into();
        // Each has one line of this kind, which the compiler asks for.
        let source = include_str!("reason.rs");
        let lines = |of: &str| source.matches(of).count();
        assert_eq!(words.len(), lines(" => (\""));
        assert_eq!(events.len(), lines(" => \""));
    }
}

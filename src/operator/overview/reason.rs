//! What the conditions of the `DiagnosticsFleet` say, by the words that people and machines look for; pure.
//!
//! Only a document that is [held](crate::operator::publish::Held) has its words elsewhere.

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";
pub(super) const UNKNOWN: &str = "Unknown";

/// What a condition of the fleet says by itself; which condition that is, and whether it holds, follow from it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FleetReason {
    /// etcd answers.
    Reachable,
    /// etcd cannot be used; the message says why.
    Unreachable,
    /// etcd has not been asked yet.
    NotAsked,
    /// The key says what the directives say.
    InSync,
    /// The directives cannot be read from the API server.
    DirectivesUnseen,
    /// Another release owns the key.
    OwnedByAnother,
    /// It cannot be read who owns the key.
    OwnerUnreadable,
    /// Nobody leads yet, so nobody has compared the two.
    NotCompared,
    /// Without etcd nobody can say what stands at the key.
    KeyUnseen,
    /// The document hangs on the lease of its publication, and goes with its last directive.
    OnItsLease,
    /// There is no document, and so none that could stay for ever.
    NoDocument,
    /// The document does not hang on the lease of a publication: somebody else wrote it.
    NotOnALease,
    /// Without etcd nobody can say on what the document hangs.
    LeaseUnseen,
    /// Less than four fifths of etcd's room are taken.
    Enough,
    /// Four fifths of etcd's room are taken, or more.
    AlmostFull,
    /// etcd has raised the alarm NOSPACE, and refuses to write.
    NoSpace,
    /// etcd does not tell how much room it has: that is new in 3.6.
    RoomNotTold,
    /// Every member is of a version that is advised.
    Advised,
    /// A member is of a version with known faults.
    Outdated,
    /// etcd does not tell its version.
    VersionNotTold,
    /// No clock is off by more than 5 s.
    Agree,
    /// The operator's clock differs from the API server's.
    OperatorsClock,
    /// The clock of a proxy is off.
    ProxysClock,
    /// The definition of the directives has everything that this operator knows.
    DefinitionCurrent,
    /// It lacks something that this operator knows, so less is checked when a directive is applied.
    DefinitionOlder,
    /// It drops what it does not know, so that nothing is published.
    DefinitionPrunes,
    /// The operator may not look at it.
    DefinitionUnseen,
    /// Every proxy that reports is current.
    ProxiesCurrent,
    /// A proxy refuses the document.
    ProxiesRejecting,
    /// A proxy is not current, and had its time.
    ProxiesLagging,
    /// Some have not said yet that they are current, and are still in their time.
    ProxiesInTime,
    /// No proxy reports.
    NoProxiesReporting,
}

impl FleetReason {
    /// Every one, those of a condition together.
    pub const ALL: [Self; 32] = [
        Self::Reachable,
        Self::Unreachable,
        Self::NotAsked,
        Self::InSync,
        Self::DirectivesUnseen,
        Self::OwnedByAnother,
        Self::OwnerUnreadable,
        Self::NotCompared,
        Self::KeyUnseen,
        Self::OnItsLease,
        Self::NoDocument,
        Self::NotOnALease,
        Self::LeaseUnseen,
        Self::Enough,
        Self::AlmostFull,
        Self::NoSpace,
        Self::RoomNotTold,
        Self::Advised,
        Self::Outdated,
        Self::VersionNotTold,
        Self::Agree,
        Self::OperatorsClock,
        Self::ProxysClock,
        Self::DefinitionCurrent,
        Self::DefinitionOlder,
        Self::DefinitionPrunes,
        Self::DefinitionUnseen,
        Self::ProxiesCurrent,
        Self::ProxiesRejecting,
        Self::ProxiesLagging,
        Self::ProxiesInTime,
        Self::NoProxiesReporting,
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
            Self::Reachable => ("EtcdReachable", TRUE, "Reachable"),
            Self::Unreachable => ("EtcdReachable", FALSE, "EtcdUnavailable"),
            Self::NotAsked => ("EtcdReachable", UNKNOWN, "Pending"),
            Self::InSync => ("KeyInSync", TRUE, "InSync"),
            Self::DirectivesUnseen => ("KeyInSync", FALSE, "DirectivesUnseen"),
            Self::OwnedByAnother => ("KeyInSync", FALSE, "OwnedByAnother"),
            Self::OwnerUnreadable => ("KeyInSync", FALSE, "OwnerUnreadable"),
            Self::NotCompared => ("KeyInSync", UNKNOWN, "Pending"),
            Self::KeyUnseen => ("KeyInSync", UNKNOWN, "EtcdUnavailable"),
            Self::OnItsLease => ("LeaseSound", TRUE, "OnItsLease"),
            Self::NoDocument => ("LeaseSound", TRUE, "NoDocument"),
            Self::NotOnALease => ("LeaseSound", FALSE, "NotOnALease"),
            Self::LeaseUnseen => ("LeaseSound", UNKNOWN, "EtcdUnavailable"),
            Self::Enough => ("SpaceLeft", TRUE, "Enough"),
            Self::AlmostFull => ("SpaceLeft", FALSE, "AlmostFull"),
            Self::NoSpace => ("SpaceLeft", FALSE, "NoSpace"),
            Self::RoomNotTold => ("SpaceLeft", UNKNOWN, "NotTold"),
            Self::Advised => ("VersionAdvised", TRUE, "Advised"),
            Self::Outdated => ("VersionAdvised", FALSE, "Outdated"),
            Self::VersionNotTold => ("VersionAdvised", UNKNOWN, "NotTold"),
            Self::Agree => ("ClocksAgree", TRUE, "Agree"),
            Self::OperatorsClock => ("ClocksAgree", FALSE, "OperatorsClock"),
            Self::ProxysClock => ("ClocksAgree", FALSE, "ProxysClock"),
            Self::DefinitionCurrent => ("DefinitionCurrent", TRUE, "Current"),
            Self::DefinitionOlder => ("DefinitionCurrent", FALSE, "Older"),
            Self::DefinitionPrunes => ("DefinitionCurrent", FALSE, "Prunes"),
            Self::DefinitionUnseen => ("DefinitionCurrent", UNKNOWN, "Forbidden"),
            Self::ProxiesCurrent => ("ProxiesCurrent", TRUE, "Current"),
            Self::ProxiesRejecting => ("ProxiesCurrent", FALSE, "ProxiesRejecting"),
            Self::ProxiesLagging => ("ProxiesCurrent", FALSE, "ProxiesLagging"),
            Self::ProxiesInTime => ("ProxiesCurrent", UNKNOWN, "Pending"),
            Self::NoProxiesReporting => ("ProxiesCurrent", UNKNOWN, "NoProxiesReporting"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_is_counted_and_none_is_said_of_two_things() {
        let words: BTreeSet<_> = FleetReason::ALL.map(FleetReason::words).into();
        // Each has one line of this kind, which the compiler asks for.
        let lines = include_str!("reason.rs").matches(" => (\"").count();
        assert_eq!(words.len(), lines);
    }
}

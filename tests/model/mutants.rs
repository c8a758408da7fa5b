//! The table of wrong protocols: what each does wrong, in which scene, and the promise that it breaks.

use stateright::HasDiscoveries;

use crate::machine::{EVENTUALLY_RIGHT, Mutant, Promise};
use crate::scenes::{self, Found, SCENES};

/// A wrong protocol and what must catch it.
pub(crate) struct Wrong {
    /// The switch in the model.
    pub(crate) mutant: Mutant,
    /// What it does wrong.
    what: &'static str,
    /// Where it shows.
    scene: &'static str,
    /// The promise that it breaks.
    pub(crate) breaks: &'static str,
}

const REPLICAS: &str = "two replicas";
const PEOPLE: &str = "people meddle";
const RELEASES: &str = "two releases";
const STRETCH: &str = "reader, leases stretch";
const BEHIND: &str = "reader, clock behind";

const fn wrong(
    mutant: Mutant,
    what: &'static str,
    scene: &'static str,
    breaks: &'static str,
) -> Wrong {
    Wrong {
        mutant,
        what,
        scene,
        breaks,
    }
}

/// All of them.
pub(crate) const MUTANTS: &[Wrong] = &[
    wrong(
        Mutant::NoLeaderCompare,
        "the fence does not compare the leader key",
        REPLICAS,
        Promise::NeverTwoWriters.name(),
    ),
    wrong(
        Mutant::LeadsOutOfTurn,
        "a candidate leads before its turn",
        REPLICAS,
        Promise::NeverTwoWriters.name(),
    ),
    wrong(
        Mutant::DeletesUnfenced,
        "a deletion goes without the fence",
        REPLICAS,
        Promise::NeverTwoWriters.name(),
    ),
    wrong(
        Mutant::NoDocumentCompare,
        "the fence does not compare the document",
        PEOPLE,
        Promise::NeverUnseen.name(),
    ),
    wrong(
        Mutant::NoOwnerCompare,
        "the fence does not compare the owner",
        RELEASES,
        Promise::NeverAnothersKey.name(),
    ),
    wrong(
        Mutant::NoPauseCompare,
        "the fence does not compare the pause",
        PEOPLE,
        Promise::PauseHolds.name(),
    ),
    wrong(
        Mutant::RetriesAmbiguous,
        "a lost answer does not end the leadership",
        REPLICAS,
        Promise::WithdrawnStaysAway.name(),
    ),
    wrong(
        Mutant::DoesNotList,
        "a new leader does not list the resources again",
        REPLICAS,
        Promise::WithdrawnStaysAway.name(),
    ),
    wrong(
        Mutant::PublishesBeforeTheList,
        "a new leader publishes before its first list",
        REPLICAS,
        Promise::NeverBlank.name(),
    ),
    wrong(
        Mutant::SharesItsLease,
        "the document hangs on the election lease",
        REPLICAS,
        Promise::NeverBlank.name(),
    ),
    wrong(
        Mutant::LeaseEndsWithTheFirst,
        "the document's lease ends with its first directive",
        STRETCH,
        Promise::NeverBlank.name(),
    ),
    wrong(
        Mutant::DoesNotWatch,
        "a leader does not watch the keys",
        PEOPLE,
        EVENTUALLY_RIGHT,
    ),
    wrong(
        Mutant::ClaimsWhatIsForeign,
        "a claim does not compare that there is no document",
        PEOPLE,
        Promise::ForeignUntouched.name(),
    ),
    wrong(
        Mutant::AdoptsUnseen,
        "an adoption does not compare the revision that was seen",
        PEOPLE,
        Promise::ForeignUntouched.name(),
    ),
    wrong(
        Mutant::CountsEndsAnew,
        "a republish counts the ends anew",
        STRETCH,
        Promise::NeverLonger.name(),
    ),
    wrong(
        Mutant::NeverEnds,
        "a reader does not count the ends",
        STRETCH,
        Promise::NeverLonger.name(),
    ),
    wrong(
        Mutant::AgesByLeaseAlone,
        "a reader takes the age from the lease alone",
        STRETCH,
        Promise::NeverLonger.name(),
    ),
    wrong(
        Mutant::AgesByWallAlone,
        "a reader takes the age from the wall clock alone",
        BEHIND,
        Promise::NeverLonger.name(),
    ),
    wrong(
        Mutant::LeaseIsKeptAlive,
        "the document's lease is kept alive",
        BEHIND,
        Promise::NeverLonger.name(),
    ),
    wrong(
        Mutant::BlanksOnLoss,
        "a reader that loses its connection lets go of the document",
        STRETCH,
        Promise::NeverBlank.name(),
    ),
    wrong(
        Mutant::BelievesLowerRevisions,
        "a reader takes an event that is older than what it has read",
        STRETCH,
        Promise::NeverWider.name(),
    ),
];

/// Explores the mutant's scene until the promise breaks that it should.
pub(crate) fn hunt(wrong: &Wrong) -> Found {
    let scene = SCENES.iter().find(|scene| scene.name == wrong.scene);
    let mut machine = scene.expect("a scene of this name").machine(false);
    machine.mutant = Some(wrong.mutant);
    machine.heals = wrong.breaks == EVENTUALLY_RIGHT;
    scenes::run(machine, 1, HasDiscoveries::AnyOf([wrong.breaks].into()))
}

/// Its row of the table.
pub(crate) fn row(wrong: &Wrong, found: &Found) -> String {
    let steps = found.broken.get(wrong.breaks).map_or(0, Vec::len);
    format!(
        "| {} | {} | {} | {} | {steps} |",
        wrong.what, wrong.scene, wrong.breaks, found.states
    )
}

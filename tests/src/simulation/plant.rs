//! Bugs that are planted to see that the checkers find them: a rule of the protocol taken away, or a prank of our own
//! upon the place or upon an actor.

use repo::protocol::Rule;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The protocols run without this rule.
    Rule(Rule),
    /// Something that no rule speaks of.
    Prank(Prank),
}

/// A bug of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prank {
    /// The place loses a pack some time after it showed it.
    LosesPacks,
    /// The place alters an entry some time after it showed it.
    AltersEntries,
    /// A backup puts the content of one file under the name of another.
    MixesFiles,
    /// A point counts as acknowledged whatever the commit said.
    BelievesCommits,
    /// A restore gives what it could read and says nothing of the rest.
    HidesDamage,
    /// Somebody deletes a pack that is needed.
    DeletesPacks,
    /// Somebody writes other bytes under the name of a pack.
    OverwritesPacks,
    /// Somebody forgets points whom nobody asked to.
    ForgetsInSecret,
    /// Whoever forgets a point forgets the one whose id comes next.
    ForgetsNeighbours,
    /// A sweep writes again what it deleted, under the same name.
    WritesAgain,
    /// A sweep gives up sessions that are old by its own wall clock.
    ExpiresByClock,
}

impl Prank {
    /// All of them.
    pub const ALL: [Prank; 11] = [
        Prank::LosesPacks,
        Prank::AltersEntries,
        Prank::MixesFiles,
        Prank::BelievesCommits,
        Prank::HidesDamage,
        Prank::DeletesPacks,
        Prank::OverwritesPacks,
        Prank::ForgetsInSecret,
        Prank::ForgetsNeighbours,
        Prank::WritesAgain,
        Prank::ExpiresByClock,
    ];
}

impl Plant {
    /// The bug of this name, as `Plant::name` spells it.
    pub fn parse(name: &str) -> Option<Plant> {
        let rules = Rule::ALL.into_iter().map(Plant::Rule);
        rules.chain(Prank::ALL.into_iter().map(Plant::Prank)).find(|plant| plant.name() == name)
    }

    /// What people call it.
    pub fn name(&self) -> String {
        match self {
            Plant::Rule(rule) => format!("{rule:?}"),
            Plant::Prank(prank) => format!("{prank:?}"),
        }
    }
}

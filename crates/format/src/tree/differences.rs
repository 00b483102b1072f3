//! Where two trees differ: both are walked side by side, and a node that is the same chunk in both is never opened.
//!
//! Nodes are canonical, so equal parts are equal nodes however the trees came about, and what is read are the nodes
//! around the differences. Of two unequal nodes the one that starts first is opened, then the higher one: what was
//! passed in one tree can equal nothing that is still to come in the other. Where a node is lost in one tree, its
//! paths are passed over in the other too: nobody knows whether they differ.

use super::{Child, Entry, Load, Next, Walk};

/// What one tree has and the other has not, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the old tree has it.
    Removed(Entry),
    /// Only the new tree has it.
    Added(Entry),
    /// Both have the path, and something of the entry differs: old, new.
    Changed(Box<(Entry, Entry)>),
}

/// The differences of two trees in path order. A node that cannot be read gives one error, and the comparison goes on
/// behind it.
pub struct Differences<L> {
    old: Walk<L>,
    new: Walk<L>,
    /// Whether the last error was about the new tree.
    failed_new: bool,
}

/// What is to be done next.
#[derive(Clone, Copy)]
enum Act {
    End,
    Same,
    Removed,
    Added,
    Both,
    OpenOld,
    OpenNew,
    OpenBoth,
}

impl<L: Load> Differences<L> {
    /// Compares what two walks that have not begun would give.
    pub fn new(old: Walk<L>, new: Walk<L>) -> Differences<L> {
        Differences { old, new, failed_new: false }
    }

    /// The node that the last error was about; see [`Walk::missing`].
    pub fn missing(&self) -> Option<&Child> {
        if self.failed_new { self.new.missing() } else { self.old.missing() }
    }

    fn open_old(&mut self) -> Result<(), L::Error> {
        let opened = self.old.open();
        if opened.is_err() {
            self.failed_new = false;
            self.new.pass_to(self.old.goes_on_at().as_ref());
        }
        opened
    }

    fn open_new(&mut self) -> Result<(), L::Error> {
        let opened = self.new.open();
        if opened.is_err() {
            self.failed_new = true;
            self.old.pass_to(self.new.goes_on_at().as_ref());
        }
        opened
    }

    fn both(&mut self) -> Option<Difference> {
        let (old, new) = (self.old.take_entry()?, self.new.take_entry()?);
        (old != new).then(|| Difference::Changed(Box::new((old, new))))
    }
}

impl<L: Load> Iterator for Differences<L> {
    type Item = Result<Difference, L::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (mut found, mut opened) = (None, Ok(()));
            match decide(self.old.peek(), self.new.peek()) {
                Act::End => return None,
                Act::Removed => found = self.old.take_entry().map(Difference::Removed),
                Act::Added => found = self.new.take_entry().map(Difference::Added),
                Act::Both => found = self.both(),
                Act::Same => {
                    self.old.pass_over();
                    self.new.pass_over();
                }
                Act::OpenOld => opened = self.open_old(),
                Act::OpenNew => opened = self.open_new(),
                Act::OpenBoth => opened = self.open_old().and_then(|()| self.open_new()),
            }
            if let Err(error) = opened {
                return Some(Err(error));
            }
            if let Some(found) = found {
                return Some(Ok(found));
            }
        }
    }
}

fn decide(old: Option<Next<'_>>, new: Option<Next<'_>>) -> Act {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (old, new) {
        (None, None) => Act::End,
        (Some(Next::Entry(_)), None) => Act::Removed,
        (None, Some(Next::Entry(_))) => Act::Added,
        (Some(Next::Node { .. }), None) => Act::OpenOld,
        (None, Some(Next::Node { .. })) => Act::OpenNew,
        (Some(Next::Entry(old)), Some(Next::Entry(new))) => match old.path.cmp(&new.path) {
            Less => Act::Removed,
            Equal => Act::Both,
            Greater => Act::Added,
        },
        (Some(Next::Entry(old)), Some(Next::Node { first, .. })) if old.path < *first => Act::Removed,
        (Some(Next::Entry(_)), Some(Next::Node { .. })) => Act::OpenNew,
        (Some(Next::Node { first, .. }), Some(Next::Entry(new))) if new.path < *first => Act::Added,
        (Some(Next::Node { .. }), Some(Next::Entry(_))) => Act::OpenOld,
        (
            Some(Next::Node { reference: old, first: old_first, level: old_level }),
            Some(Next::Node { reference: new, first: new_first, level: new_level }),
        ) => match old_first.cmp(new_first).then(new_level.cmp(&old_level)) {
            _ if old.chunk == new.chunk => Act::Same,
            Less => Act::OpenOld,
            Equal => Act::OpenBoth,
            Greater => Act::OpenNew,
        },
    }
}

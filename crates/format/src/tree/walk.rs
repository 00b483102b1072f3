//! Entries back in path order, going down only where they are asked for.
//!
//! A node is believed only as far as it agrees with its parent: level, first path, sums, and that it ends before its
//! neighbour begins. So a walk never goes in circles and never gives a path twice, whatever it is fed. A node that
//! cannot be read gives one error, and the walk goes on behind it: damage stays where it is.

use super::{Child, Entry, Load, Node, decode_node};
use crate::cbor::Malformed;
use crate::limit::TREE_DEPTH_MAX;
use crate::path::TreePath;
use crate::reference::Reference;

/// The entries of a point in path order; see [`Walk::seek`] and [`Walk::under`] for a part of them.
pub struct Walk<L> {
    load: L,
    root: Reference,
    is_open: bool,
    stack: Vec<Inner>,
    leaf: std::vec::IntoIter<Entry>,
    leaf_end: Option<TreePath>,
    /// Nothing before this is given.
    from: TreePath,
    /// Nothing outside this is given.
    under: TreePath,
    missing: Option<Child>,
}

/// What a walk meets.
#[derive(Clone, Copy, Debug)]
pub enum Next<'w> {
    /// A node that is not open.
    Node {
        /// The chunk that is the node.
        reference: &'w Reference,
        /// The first path in it; of the root, the first that is wanted.
        first: &'w TreePath,
        /// 0 for a leaf; the root counts as higher than all until it is opened.
        level: u8,
    },
    /// An entry of an open leaf.
    Entry(&'w Entry),
}

/// An open inner node.
struct Inner {
    level: u8,
    children: Vec<Child>,
    next: usize,
    /// The first path behind the node; `None` at the end of the tree.
    end: Option<TreePath>,
}

impl<L: Load> Walk<L> {
    /// A walk over all entries below the root node.
    pub fn new(load: L, root: Reference) -> Walk<L> {
        Walk {
            load,
            root,
            is_open: false,
            stack: Vec::new(),
            leaf: Vec::new().into_iter(),
            leaf_end: None,
            from: TreePath::root(),
            under: TreePath::root(),
            missing: None,
        }
    }

    /// Only the entry at `path` and what lies below it.
    pub fn under(mut self, path: TreePath) -> Walk<L> {
        self.under = path;
        self.seek(&self.from.clone());
        self
    }

    /// Goes on, forwards or backwards, with the first entry at `path` or behind it. Reads nothing by itself, and keeps
    /// the inner nodes that are still of use.
    pub fn seek(&mut self, path: &TreePath) {
        self.from = path.max(&self.under).clone();
        if self.leaf_covers_from() {
            return;
        }
        self.leaf = Vec::new().into_iter();
        while self.stack.len() > 1 && self.stack.last().is_some_and(|node| !node.covers(&self.from)) {
            self.stack.pop();
        }
        match self.stack.last_mut() {
            Some(node) => node.next = node.child_with(&self.from),
            None => self.is_open = false,
        }
    }

    /// The node that the last error was about, as its parent describes it: what is lost behind it. `None` before any
    /// error, and where it was the root.
    pub fn missing(&self) -> Option<&Child> {
        self.missing.as_ref()
    }

    fn leaf_covers_from(&self) -> bool {
        self.leaf.as_slice().first().is_some_and(|entry| entry.path <= self.from)
            && self.leaf_end.as_ref().is_none_or(|end| self.from < *end)
    }

    /// What comes next, with nothing read for it. Whoever knows a node from elsewhere may [`Walk::pass_over`] it.
    pub fn peek(&mut self) -> Option<Next<'_>> {
        self.settle();
        if let Some(entry) = self.leaf.as_slice().first() {
            return Some(Next::Entry(entry));
        }
        if !self.is_open {
            return Some(Next::Node { reference: &self.root, first: &self.from, level: TREE_DEPTH_MAX });
        }
        let node = self.stack.last()?;
        let Child { first, reference, .. } = node.children.get(node.next)?;
        Some(Next::Node { reference, first, level: node.level.saturating_sub(1) })
    }

    /// Passes over what [`Walk::peek`] shows: an entry, or a node with all that lies below it.
    pub fn pass_over(&mut self) {
        if self.leaf.next().is_some() {
            return;
        }
        match self.stack.last_mut() {
            Some(node) if self.is_open => node.next = node.next.saturating_add(1),
            _ => self.is_open = true,
        }
    }

    /// Opens the node that [`Walk::peek`] shows; one that cannot be opened is passed over.
    pub fn open(&mut self) -> Result<(), L::Error> {
        if !self.is_open {
            self.is_open = true;
            self.missing = None;
            return self.open_root();
        }
        let Some((child, level, end)) = self.stack.last_mut().and_then(Inner::take_child) else {
            return Ok(());
        };
        let opened = self.open_child(&child, level, end);
        if opened.is_err() {
            self.missing = Some(child);
        }
        opened
    }

    /// The entry that [`Walk::peek`] shows.
    pub(super) fn take_entry(&mut self) -> Option<Entry> {
        self.leaf.next()
    }

    /// The first path behind the node that was passed over or could not be opened; `None` where that was the last.
    pub(super) fn goes_on_at(&self) -> Option<TreePath> {
        let node = self.stack.last()?;
        node.children.get(node.next).map(|child| &child.first).or(node.end.as_ref()).cloned()
    }

    /// Passes over all before `path`; without one, over everything.
    pub(super) fn pass_to(&mut self, path: Option<&TreePath>) {
        let Some(path) = path else {
            self.is_open = true;
            return self.stop();
        };
        let is_before = match self.peek() {
            Some(Next::Node { first, .. }) => first < path,
            Some(Next::Entry(entry)) => entry.path < *path,
            None => false,
        };
        if is_before {
            self.seek(path);
        }
    }

    /// Leaves behind entries and nodes that are done or not wanted.
    fn settle(&mut self) {
        while self.leaf.as_slice().first().is_some_and(|entry| entry.path < self.from) {
            self.leaf.next();
        }
        if let Some(entry) = self.leaf.as_slice().first() {
            if !entry.path.starts_with(&self.under) {
                self.stop();
            }
            return;
        }
        while self.stack.len() > 1 && self.stack.last().is_some_and(|node| node.is_done()) {
            self.stack.pop();
        }
        let next = self.stack.last().and_then(|node| node.children.get(node.next));
        if next.is_some_and(|child| child.first > self.under && !child.first.starts_with(&self.under)) {
            self.stop();
        }
    }

    /// Leaves everything behind, but for what a seek may need again.
    fn stop(&mut self) {
        self.leaf = Vec::new().into_iter();
        self.stack.truncate(1);
        self.stack.iter_mut().for_each(|node| node.next = node.children.len());
    }

    fn open_root(&mut self) -> Result<(), L::Error> {
        let node = decode_node(&self.load.load(&self.root)?)?;
        self.enter(node, None);
        Ok(())
    }

    fn open_child(&mut self, child: &Child, level: u8, end: Option<TreePath>) -> Result<(), L::Error> {
        let node = decode_node(&self.load.load(&child.reference)?)?;
        check(&node, child, level, end.as_ref()).map_err(|why| Malformed::new("tree node", why))?;
        self.enter(node, end);
        Ok(())
    }

    fn enter(&mut self, node: Node, end: Option<TreePath>) {
        match node {
            Node::Leaf(entries) => (self.leaf, self.leaf_end) = (entries.into_iter(), end),
            Node::Inner { level, children } => {
                let mut node = Inner { level, children, next: 0, end };
                node.next = node.child_with(&self.from);
                self.stack.push(node);
            }
        }
    }
}

/// Whether a node is what its parent says.
fn check(node: &Node, child: &Child, level: u8, end: Option<&TreePath>) -> Result<(), &'static str> {
    let Some((first, last)) = node.ends() else {
        return Err("a leaf without entries");
    };
    let rules = [
        (node.level() == level, "not of the level that its parent says"),
        (*first == child.first, "does not start with the path that its parent says"),
        (end.is_none_or(|end| last < end), "reaches into its neighbour"),
        (node.totals() == child.totals, "does not have the sums that its parent says"),
    ];
    rules.iter().try_for_each(|&(holds, why)| if holds { Ok(()) } else { Err(why) })
}

impl Inner {
    fn is_done(&self) -> bool {
        self.next >= self.children.len()
    }

    fn covers(&self, path: &TreePath) -> bool {
        self.children.first().is_some_and(|child| child.first <= *path)
            && self.end.as_ref().is_none_or(|end| path < end)
    }

    /// The child in which `path` is or would be.
    fn child_with(&self, path: &TreePath) -> usize {
        self.children.partition_point(|child| child.first <= *path).saturating_sub(1)
    }

    /// The next child, its level, and the first path behind it.
    fn take_child(&mut self) -> Option<(Child, u8, Option<TreePath>)> {
        let child = self.children.get(self.next)?.clone();
        self.next = self.next.saturating_add(1);
        let neighbour = self.children.get(self.next).map(|child| &child.first);
        Some((child, self.level.saturating_sub(1), neighbour.or(self.end.as_ref()).cloned()))
    }
}

impl<L: Load> Iterator for Walk<L> {
    type Item = Result<Entry, L::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.peek()? {
                Next::Entry(_) => return self.take_entry().map(Ok),
                Next::Node { .. } => {
                    if let Err(error) = self.open() {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

/// The entry at `path`, reading one node per level.
///
/// # Errors
/// Those of `load`, and [`Malformed`] where a node on the way is.
pub fn lookup<L: Load>(load: L, root: Reference, path: &TreePath) -> Result<Option<Entry>, L::Error> {
    match Walk::new(load, root).under(path.clone()).next() {
        Some(Ok(entry)) if entry.path == *path => Ok(Some(entry)),
        Some(Err(error)) => Err(error),
        _ => Ok(None),
    }
}

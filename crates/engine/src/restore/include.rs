//! What a restore was asked for: patterns of whole paths, and the parts of the tree in which they can match.
//!
//! A pattern that begins with plain names can match only below them, so only that part is read: one folder of a million
//! files costs what the folder costs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use format::path::TreePath;
use format::reference::Reference;
use format::tree::{Child, Entry, Walk};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use repo::Reader;

use super::Nodes;
use crate::error::Error;

/// What gives a name more than one meaning.
const GLOB_SIGNS: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// Which entries are wanted: everything, if no pattern was given.
pub(crate) struct Include(Vec<Pattern>);

struct Pattern {
    typed: String,
    globs: GlobSet,
    /// Everything that matches lies here or below.
    below: TreePath,
    matched: AtomicBool,
}

impl Include {
    pub(crate) fn new(globs: &[String]) -> Result<Include, Error> {
        let bad = |error: globset::Error| Error::Request(format!("include pattern: {error}"));
        let mut patterns = Vec::new();
        for typed in globs {
            let glob = typed.trim_start_matches("./").trim_matches('/');
            if glob.is_empty() || glob == "." {
                return Err(Error::Request(format!(
                    "`{typed}` is no pattern: without one everything is restored"
                )));
            }
            let mut set = GlobSetBuilder::new();
            for form in [glob.to_owned(), format!("{glob}/**")] {
                set.add(GlobBuilder::new(&form).literal_separator(true).build().map_err(bad)?);
            }
            let globs = set.build().map_err(bad)?;
            let (typed, below) = (typed.clone(), literal_part(glob));
            patterns.push(Pattern { typed, globs, below, matched: AtomicBool::new(false) });
        }
        Ok(Include(patterns))
    }

    /// Walks the parts of a tree in which wanted entries can lie; the rest is not read.
    pub(crate) fn walk<'a, 'r>(&self, reader: &'a Reader<'r>, root: Reference) -> Chosen<'a, 'r> {
        let walk = |part| Walk::new(Nodes(reader), root).under(part);
        let mut walks: VecDeque<_> = self.parts().into_iter().map(walk).collect();
        Chosen { now: walks.pop_front().expect("there is at least one part"), later: walks }
    }

    /// The paths below which everything wanted lies, in order, none below another.
    fn parts(&self) -> Vec<TreePath> {
        let mut parts: Vec<TreePath> = self.0.iter().map(|pattern| pattern.below.clone()).collect();
        if parts.is_empty() {
            parts.push(TreePath::root());
        }
        parts.sort();
        parts.dedup_by(|part, above| part.starts_with(above));
        parts
    }

    pub(crate) fn matches(&self, path: &TreePath) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(path.as_bytes());
        let mut any = self.0.is_empty();
        for pattern in self.0.iter().filter(|pattern| pattern.globs.is_match(path)) {
            pattern.matched.store(true, Ordering::Relaxed);
            any = true;
        }
        any
    }

    /// Patterns that nothing matched so far.
    pub(super) fn unmatched(&self) -> Vec<String> {
        let none = self.0.iter().filter(|pattern| !pattern.matched.load(Ordering::Relaxed));
        none.map(|pattern| pattern.typed.clone()).collect()
    }
}

/// The names that a pattern begins with and that have no signs in them.
fn literal_part(glob: &str) -> TreePath {
    let names: Vec<&str> = glob.split('/').take_while(|name| !name.contains(GLOB_SIGNS)).collect();
    TreePath::new(names.join("/").as_bytes()).unwrap_or_else(|_| TreePath::root())
}

/// Entries of the parts of a tree that a pattern can mean, in path order.
pub(crate) struct Chosen<'a, 'r> {
    now: Walk<Nodes<'a, 'r>>,
    later: VecDeque<Walk<Nodes<'a, 'r>>>,
}

impl Chosen<'_, '_> {
    /// What the last error was about; see [`Walk::missing`].
    pub(super) fn missing(&self) -> Option<&Child> {
        self.now.missing()
    }
}

impl Iterator for Chosen<'_, '_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.now.next() {
                return Some(entry);
            }
            self.now = self.later.pop_front()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_that_a_pattern_can_mean_are_walked() {
        let rows: [(&[&str], &[&str]); 8] = [
            (&[], &[""]),
            (&["a/b"], &["a/b"]),
            (&["a/*.txt", "a/b"], &["a"]),
            (&["x/y", "a/b?/c"], &["a", "x/y"]),
            (&["**/a", "b"], &[""]),
            (&["a/{b,c}", "ab"], &["a", "ab"]),
            (&["a\\*b/c"], &[""]),
            (&["/a/b/", "./a/bc"], &["a/b", "a/bc"]),
        ];
        for (globs, parts) in rows {
            let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            let found = Include::new(&globs).unwrap().parts();
            let wanted: Vec<TreePath> =
                parts.iter().map(|part| TreePath::new(part.as_bytes()).unwrap()).collect();
            assert_eq!(found, wanted, "{globs:?}");
        }
    }
}

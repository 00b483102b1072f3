//! What gets its last touch when all else is done: directories their times, flagged things their flags, deepest first.
//!
//! It is remembered as it is met, up to a bound; where there is more of it, the tree is walked a second time instead.

use format::meta::Meta;
use format::path::TreePath;
use format::tree::Entry;
use repo::Reader;

use super::{Include, Request};

#[derive(Default)]
pub(super) struct Later {
    kept: Vec<(TreePath, Meta)>,
    most: usize,
    is_short: bool,
}

impl Later {
    pub(super) fn new(most: usize) -> Later {
        Later { most, ..Later::default() }
    }

    pub(super) fn add(&mut self, path: &TreePath, meta: &Meta) {
        if self.kept.len() < self.most {
            self.kept.push((path.clone(), meta.clone()));
        } else {
            (self.kept, self.is_short) = (Vec::new(), true);
            self.most = 0;
        }
    }

    /// Calls `act` with each, what lies in a directory before the directory itself. `is_meant` tells them from other
    /// entries, where not all were remembered.
    pub(super) fn deepest_first(
        mut self,
        (reader, request, include): (&Reader<'_>, &Request, &Include),
        is_meant: impl Fn(&Entry) -> bool,
        mut act: impl FnMut(&TreePath, &Meta),
    ) {
        if !self.is_short {
            self.kept.sort_unstable_by(|one, other| other.0.cmp(&one.0));
            return self.kept.iter().for_each(|(path, meta)| act(path, meta));
        }
        let mut above: Vec<Entry> = Vec::new();
        // What cannot be read was named the first time.
        for entry in include.walk(reader, request.point.point.root).flatten() {
            while let Some(left) = above.pop_if(|above| !entry.path.starts_with(&above.path)) {
                act(&left.path, &left.meta);
            }
            if include.matches(&entry.path) && is_meant(&entry) {
                above.push(entry);
            }
        }
        above.iter().rev().for_each(|left| act(&left.path, &left.meta));
    }
}

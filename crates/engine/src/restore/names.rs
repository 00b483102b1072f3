//! Files of several names: the first in path order is written, the others are linked to it when it is whole.
//!
//! Nothing in a point says which name is the last, so each first name is remembered until the end: its path and about 60
//! bytes more for each such file, and the same for each further name.

use std::collections::HashMap;

use format::path::TreePath;
use format::tree::Entry;

use super::files::Files;
use crate::error::Problem;

#[derive(Default)]
pub(super) struct Names {
    first: HashMap<u64, TreePath>,
    more: Vec<(u64, TreePath)>,
}

impl Names {
    /// Whether this is a further name of something that has one already; it gets it in the end.
    pub(super) fn is_further(&mut self, entry: &Entry) -> bool {
        let Some(link) = entry.meta.link else { return false };
        let further = self.first.contains_key(&link);
        if further {
            self.more.push((link, entry.path.clone()));
        } else {
            self.first.insert(link, entry.path.clone());
        }
        further
    }

    /// Gives the files their further names; their content is there.
    pub(super) fn link(self, files: &Files<'_, '_>) {
        let mut report = files.report();
        let lost: HashMap<TreePath, bool> =
            report.problems.iter().map(|problem| (problem.path.clone(), problem.damaged)).collect();
        for (link, path) in self.more {
            let first = self.first.get(&link).expect("a further name comes after the first");
            if let Some(damaged) = lost.get(first).copied() {
                let what = format!("it is another name of {first}, which is not back");
                report.problems.push(Problem { path, what, damaged });
                continue;
            }
            match link_one(files, first, &path) {
                Ok(()) => report.files += 1,
                Err(error) => report.problems.push(Problem::new(&path, error)),
            }
        }
    }
}

fn link_one(files: &Files<'_, '_>, first: &TreePath, path: &TreePath) -> Result<(), source::Error> {
    if let Some(parent) = path.parent() {
        files.target.directory(&parent)?;
    }
    files.target.hard_link(first, path)
}

//! The project's own files as text, for the tests that read the tree: trace rows and manners.
//!
//! Every file below the workspace root counts, committed or not, so that a test speaks before the commit
//! does. Build output and git's own folder are left out; links are not followed. Bytes that are no text are
//! replaced.

use std::fs;
use std::path::{Path, PathBuf};

/// One file: its path from the workspace root, parts joined with `/`, and what it says.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The workspace root.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("package `tests` lies in the workspace root").to_owned()
}

/// All files of the tree, in path order.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree can be listed").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("an entry of the tree has a type");
        if kind.is_dir() && !is_left_out(root, &path) {
            walk(root, &path, found);
        } else if kind.is_file() {
            found.extend(read(root, &path));
        }
    }
}

fn is_left_out(root: &Path, folder: &Path) -> bool {
    folder == root.join("target") || folder.file_name().is_some_and(|name| name == ".git")
}

/// Nothing if the file went away since it was listed: a colleague or another test may be at work.
fn read(root: &Path, path: &Path) -> Option<File> {
    let bytes = fs::read(path).ok()?;
    let inside = path.strip_prefix(root).expect("the walk stays below the root");
    Some(File::new(&inside.to_string_lossy(), &String::from_utf8_lossy(&bytes)))
}

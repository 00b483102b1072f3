//! What a folder holds, in a form that two folders, or one folder at two times, can be compared in.
//!
//! All that a backup has to bring back counts: names in raw bytes, types, modes, owners, times to the nanosecond,
//! content, targets, and which names are one file.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Path below the top, in raw bytes, to what is there. The top itself has the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<Vec<u8>, Entry>);

/// What a backup has to bring back of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds of the last change of content.
    pub mtime: (i64, i64),
    /// Content of a file, target of a link.
    pub content: Vec<u8>,
    /// The first name of a file that has several.
    pub same_as: Option<Vec<u8>>,
}

impl Listing {
    /// What a folder holds now.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn of(top: &Path) -> Listing {
        let (mut found, mut firsts) = (Listing::default(), HashMap::new());
        list(top, top, &mut found, &mut firsts);
        found
    }

    /// Without the attributes of the top itself, for where only what lies in it is restored.
    pub fn without_top(mut self) -> Listing {
        self.0.remove(&Vec::new());
        self
    }

    /// What differs, one line for each name.
    pub fn differences(&self, other: &Listing) -> Vec<String> {
        let gone = self.0.keys().filter(|path| !other.0.contains_key(*path));
        let mut lines: Vec<String> = gone.map(|path| format!("{}: missing", path.escape_ascii())).collect();
        for (path, there) in &other.0 {
            let what = self.0.get(path).map_or("should not be there".to_owned(), |here| here.against(there));
            if !what.is_empty() {
                lines.push(format!("{}: {what}", path.escape_ascii()));
            }
        }
        lines
    }
}

impl Entry {
    fn against(&self, other: &Entry) -> String {
        let rows = [
            ("mode", self.mode != other.mode),
            ("owner", self.owner != other.owner),
            ("time", self.mtime != other.mtime),
            ("content", self.content != other.content),
            ("hard links", self.same_as != other.same_as),
        ];
        rows.iter().filter(|row| row.1).map(|row| row.0).collect::<Vec<_>>().join(", ")
    }
}

fn list(top: &Path, path: &Path, found: &mut Listing, firsts: &mut HashMap<(u64, u64), Vec<u8>>) {
    let meta = fs::symlink_metadata(path).expect("what was listed is there");
    let name = path.strip_prefix(top).expect("the walk stays below its top").as_os_str().as_bytes().to_vec();
    let content = match () {
        () if meta.is_symlink() => {
            fs::read_link(path).expect("a link can be read").as_os_str().as_bytes().to_vec()
        }
        () if meta.is_file() => fs::read(path).expect("a file can be read"),
        () => Vec::new(),
    };
    let shared = !meta.is_dir() && meta.nlink() > 1;
    let first = firsts.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone()).clone();
    let entry = Entry {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content,
        same_as: shared.then_some(first),
    };
    found.0.insert(name, entry);
    if meta.is_dir() {
        let mut below: Vec<_> = fs::read_dir(path)
            .expect("a folder can be listed")
            .map(|e| e.expect("an entry").path())
            .collect();
        below.sort();
        below.iter().for_each(|path| list(top, path, found, firsts));
    }
}

/// What `rsync` would do to make `copy` what `original` is, access lists and attributes too; nothing if there is no rsync.
///
/// # Panics
///
/// If rsync fails.
pub fn rsync_differences(original: &Path, copy: &Path) -> Option<String> {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--checksum", "--delete", "--itemize-changes", "--modify-window=-1"]);
    let done = rsync.arg(original.join("")).arg(copy.join("")).output().ok()?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

//! The small data sets that other tests back up: the same on every machine, and with every oddity in them.
//!
//! If the script made them differently from run to run, or quietly left an oddity out, the tests that rely on
//! them would prove less than they say.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

/// Path, in raw bytes, to what a backup has to bring back of it.
type Listing = BTreeMap<Vec<u8>, Entry>;

/// What a backup has to bring back. `content` is that of a file, or the target of a link.
#[derive(PartialEq)]
struct Entry {
    mode: u32,
    mtime: (i64, i64),
    links: u64,
    content: Vec<u8>,
}

impl Entry {
    fn of(path: &Path, meta: &Metadata) -> Self {
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Self { mode: meta.mode(), mtime, links: meta.nlink(), content: content(path, meta) }
    }

    fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// True if size, mode and time say that nothing changed, and something did.
    fn fools(&self, old: &Self) -> bool {
        let cheap = |entry: &Self| (entry.mode, entry.mtime, entry.links, entry.content.len());
        cheap(self) == cheap(old) && self.content != old.content
    }
}

fn corpora(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    Command::new(script).args(arguments).output().expect("tests/corpora runs; it needs python3")
}

fn make(folder: &Path, names: &[&str]) {
    let folder = folder.to_str().expect("the temporary folder has a plain name");
    let done = corpora(&[["--scale", "small", folder].as_slice(), names].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn listing(top: &Path) -> Listing {
    let mut found = Listing::new();
    list(top, top, &mut found);
    found
}

fn list(top: &Path, path: &Path, found: &mut Listing) {
    let meta = fs::symlink_metadata(path).expect("what was listed is there");
    let name = path.strip_prefix(top).expect("the walk stays below its top").as_os_str().as_bytes().to_vec();
    found.insert(name, Entry::of(path, &meta));
    if meta.is_dir() {
        for entry in fs::read_dir(path).expect("a folder can be listed") {
            list(top, &entry.expect("an entry can be read").path(), found);
        }
    }
}

fn content(path: &Path, meta: &Metadata) -> Vec<u8> {
    if meta.is_symlink() {
        fs::read_link(path).expect("a link can be read").as_os_str().as_bytes().to_vec()
    } else if meta.is_file() {
        fs::read(path).expect("a file can be read")
    } else {
        Vec::new()
    }
}

#[test]
fn small_data_sets_are_the_same_each_time() {
    let (one, two) = (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    make(one.path(), &["tree2", "image2"]);
    make(two.path(), &["tree2", "image2"]);
    for name in ["tree", "tree2", "image", "image2"] {
        assert!(listing(&one.path().join(name)) == listing(&two.path().join(name)), "{name} differs");
    }
}

#[test]
fn the_small_tree_has_every_oddity() {
    let room = tempfile::tempdir().expect("room");
    make(room.path(), &["tree"]);
    let tree = listing(&room.path().join("tree"));
    let count = |is: fn(&Entry) -> bool| tree.values().filter(|entry| is(entry)).count();
    assert!(count(Entry::is_file) > 3000, "files");
    assert!(count(Entry::is_link) >= 8, "symbolic links");
    assert_eq!(count(|entry| entry.is_file() && entry.links == 4), 8, "names of hard links");
    assert!(count(|entry| entry.is_file() && entry.content.is_empty()) > 300, "empty files");
    assert!(count(|entry| entry.mode & 0o7000 != 0) >= 4, "set-user-id, set-group-id, sticky");
    assert_eq!(count(|entry| entry.mtime.0 < 0), 1, "a time before 1970");
    assert!(tree.keys().any(|path| path.contains(&b'\n')), "a name with a line end");
    assert!(tree.keys().any(|path| std::str::from_utf8(path).is_err()), "a name that is not UTF-8");
    assert!(
        tree.keys().any(|path| path.rsplit(|&b| b == b'/').any(|name| name.len() == 255)),
        "a longest name"
    );
    assert!(tree.keys().any(|path| path.iter().filter(|&&b| b == b'/').count() >= 40), "a deep folder");
}

#[test]
fn a_day_changes_little_and_fools_size_and_time() {
    let room = tempfile::tempdir().expect("room");
    make(room.path(), &["tree2"]);
    let (before, after) = (listing(&room.path().join("tree")), listing(&room.path().join("tree2")));
    let same = after.iter().filter(|(path, entry)| before.get(*path) == Some(entry)).count();
    assert!(same * 10 > after.len() * 9, "{same} of {} are unchanged", after.len());
    let fooled = after.iter().filter(|(path, entry)| before.get(*path).is_some_and(|old| entry.fools(old)));
    assert_eq!(fooled.count(), 1);
}

#[test]
fn a_wrong_request_is_refused_with_what_there_is() {
    let room = tempfile::tempdir().expect("room");
    let folder = room.path().to_str().expect("the temporary folder has a plain name");
    let done = corpora(&["--scale", "small", folder, "trees"]);
    assert_eq!(done.status.code(), Some(4));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("no data set is called trees; there are tree tree2"), "{said}");
    assert_eq!(fs::read_dir(room.path()).expect("the folder is there").count(), 0);
}

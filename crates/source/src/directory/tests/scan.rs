//! The walk hands out every name once, in order, whatever happens to the tree meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use format::meta::Kind;
use proptest::prelude::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};

use super::super::folder::OPEN_MAX;
use super::*;
use crate::Error;

#[test]
fn a_directory_is_walked_in_path_order_from_its_own_entry() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    for name in ["a/b/c", "a b", "a-b", "ab", "a/z"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let found = entries(scan_of(&[dir.path()]));
    assert_eq!(paths(&found), [&b""[..], b"a", b"a/b", b"a/b/c", b"a/z", b"a b", b"a-b", b"ab"]);
    assert_eq!(entry(&found, b"a/b").meta.kind, Kind::Directory);
    assert_eq!((entry(&found, b"a b").meta.size, content(entry(&found, b"a b"))), (3, b"a b".to_vec()));
}

/// Names that sort differently as strings, as paths and as bytes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"ab -.\n\x01\xff"[..]), 1..10)
        .prop_filter("a name", |name| name != b"." && name != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_whole_and_in_order(
        files in prop::collection::vec(prop::collection::vec(name(), 1..5), 0..40)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut made = BTreeSet::from([TreePath::root()]);
        for components in files {
            let (file, above) = components.split_last().unwrap();
            let above = path(&above.join(&b'/'));
            let place = dir.path().join(os(above.as_bytes()));
            if fs::create_dir_all(&place).is_err() || fs::write(place.join(os(file)), "x").is_err() {
                continue;
            }
            made.insert(above.join(file).unwrap());
            made.extend(std::iter::successors(Some(above), TreePath::parent));
        }
        // What was made before a name turned out to be taken is there too.
        let found = entries(scan_of(&[dir.path()]));
        let walked: Vec<TreePath> = found.into_iter().map(|found| found.path).collect();
        prop_assert!(walked.is_sorted_by(|a, b| a < b), "{walked:?}");
        prop_assert!(made.is_subset(&walked.iter().cloned().collect()));
        let mut unexpected = walked.iter().filter(|path| !made.contains(path));
        prop_assert!(unexpected.all(|path| dir.path().join(os(path.as_bytes())).is_dir()));
    }
}

#[test]
fn any_name_that_linux_allows_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let long = [b'x'; 255];
    let names: [&[u8]; 5] = [b"\n\t\x1b[2J", b"\xff\xfe", b" ", b"a\\b*?", &long];
    names.iter().for_each(|name| fs::write(dir.path().join(os(name)), name).unwrap());
    let found = entries(scan_of(&[dir.path()]));
    assert_eq!(found.len(), 1 + names.len());
    for name in names {
        assert_eq!(content(entry(&found, name)), name);
    }
    assert!(entry(&found, b"\xff\xfe").shown().ends_with("/\\xff\\xfe"));
}

fn descend(at: impl AsFd, name: &[u8]) -> OwnedFd {
    openat(at, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// Directories below each other, each with a file that says how deep it is.
fn chain(dir: &Path, depth: usize) {
    let mut at = descend(CWD, dir.as_os_str().as_bytes());
    for level in 0..depth {
        let file = openat(&at, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        rustix::io::write(file, level.to_string().as_bytes()).unwrap();
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = descend(at, b"d");
    }
}

#[test]
fn a_chain_of_3000_directories_needs_few_descriptors_and_all_of_it_can_be_read() {
    let dir = Deep(tempfile::tempdir().unwrap());
    chain(dir.0.path(), 3_000);
    let found = entries(scan_of(&[dir.0.path()]));
    assert_eq!(found.len(), 2 * 3_000 + 1);
    assert!(
        found.last().is_some_and(|found| found.path.as_bytes() == b"f"),
        "f comes after d and all below it"
    );
    let deepest = found.iter().map(|found| found.path.as_bytes().len()).max().unwrap();
    assert!(deepest > 4_096, "longer than the kernel takes: {deepest}");
    let files: Vec<&Found> = found.iter().filter(|found| found.meta.kind == Kind::File).collect();
    for file in files.iter().step_by(100).chain(files.iter().rev().step_by(70)) {
        assert_eq!(content(file), (file.path.components().count() - 1).to_string().as_bytes());
    }
    let open = files.iter().filter(|file| file.folder.is_open()).count();
    assert!(open <= OPEN_MAX + 1, "{open} directories are open");
}

#[test]
fn a_path_that_no_point_can_hold_is_named_and_the_walk_goes_on() {
    let dir = Deep(tempfile::tempdir().unwrap());
    fs::create_dir(dir.0.path().join("zz")).unwrap();
    let mut above = TreePath::root();
    let mut at = descend(CWD, dir.0.path().as_os_str().as_bytes());
    let name = [b'd'; 255];
    while let Ok(below) = above.join(&name) {
        mkdirat(&at, &name[..], Mode::RWXU).unwrap();
        (at, above) = (descend(at, &name), below);
    }
    mkdirat(&at, &name[..], Mode::RWXU).unwrap();
    let items: Vec<Item> = scan_of(&[dir.0.path()]).collect();
    let others: Vec<&Item> = items.iter().filter(|item| !matches!(item, Item::Entry(_))).collect();
    let [Item::Problem(problem)] = others.as_slice() else { panic!("{others:?}") };
    assert!(matches!(problem.error, Error::Unnamable { .. }) && problem.path == above, "{problem:?}");
    assert!(matches!(items.last(), Some(Item::Entry(found)) if found.path == path(b"zz")));
}

#[test]
fn every_kind_of_name_is_what_it_is_and_sockets_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    symlink("nowhere\n\\", place("dangling")).unwrap();
    symlink("..", place("link-up")).unwrap();
    mknodat(CWD, place("pipe"), FileType::Fifo, 0o644.into(), 0).unwrap();
    let _listening = UnixListener::bind(place("socket")).unwrap();
    let items: Vec<Item> = scan_of(&[dir.path()]).collect();
    let (found, others): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| matches!(item, Item::Entry(_)));
    let socket = Skipped { path: path(b"socket"), reason: Reason::Socket };
    assert!(matches!(others.as_slice(), [Item::Skipped(skipped)] if *skipped == socket), "{others:?}");
    let found = entries_of(found);
    assert_eq!(paths(&found), [&b""[..], b"dangling", b"link-up", b"pipe"]);
    let link = &entry(&found, b"dangling").meta;
    assert_eq!((link.kind, &*link.target, link.size), (Kind::Symlink, &b"nowhere\n\\"[..], 0));
    assert_eq!(entry(&found, b"pipe").meta.kind, Kind::Fifo);
    assert!(matches!(entry(&found, b"pipe").open(), Err(Error::NotAFile { .. })));
    assert!(matches!(entry(&found, b"link-up").open(), Err(Error::NotAFile { .. })));
}

fn entries_of(items: Vec<Item>) -> Vec<Found> {
    let found =
        items.into_iter().filter_map(|item| if let Item::Entry(found) = item { Some(found) } else { None });
    found.collect()
}

#[test]
fn a_device_is_known_by_its_number() {
    let found = entries(scan_of(&[Path::new("/dev/null")]));
    let null = &found[0];
    assert_eq!((null.meta.kind, null.meta.device), (Kind::CharDevice, rustix::fs::makedev(1, 3)));
}

#[test]
fn names_of_one_file_share_a_number_taken_from_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::create_dir_all(place("a")).unwrap();
    fs::write(place("z"), "shared").unwrap();
    fs::hard_link(place("z"), place("a/first")).unwrap();
    fs::hard_link(place("z"), place("m")).unwrap();
    fs::write(place("own"), "own").unwrap();
    let links = || {
        let found = entries(scan_of(&[dir.path()]));
        ["a/first", "m", "z", "own"].map(|name| entry(&found, name.as_bytes()).meta.link)
    };
    let first = u64::from_le_bytes(*blake3::hash(b"a/first").as_bytes().first_chunk().unwrap());
    assert_eq!(links(), [Some(first), Some(first), Some(first), None]);
    fs::hard_link(place("own"), place("a/other")).unwrap();
    assert_eq!(links()[..3], [Some(first); 3], "other files come and go");
}

#[test]
fn owners_times_and_modes_are_those_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, "content").unwrap();
    let found = entries(scan_of(&[dir.path()]));
    let (found, known) = (entry(&found, b"f"), fs::metadata(&file).unwrap());
    let meta = &found.meta;
    assert_eq!((meta.mode, meta.uid, meta.gid), (known.mode() & 0o7777, known.uid(), known.gid()));
    assert_eq!((meta.mtime.seconds, i64::from(meta.mtime.nanos)), (known.mtime(), known.mtime_nsec()));
    assert_eq!((found.identity.ctime.seconds, found.identity.inode), (known.ctime(), known.ino()));
    assert_eq!((found.identity.device, u64::from(found.identity.links)), (known.dev(), known.nlink()));
    if known.uid() == 0 {
        assert_eq!(meta.user.as_deref(), Some(&b"root"[..]));
    }
}

#[test]
fn what_is_excluded_is_left_out_with_all_below_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["keep/cache", "cache/deep", "build", "x"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    for name in ["keep/a.tmp", "keep/a", "cache/deep/f", "build/o", "x/build"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let globs = ["*.tmp", "/cache", "build/"].map(str::to_owned);
    let excludes = Excludes::new(&globs, &[]).unwrap();
    let selection = Selection { excludes, ..selection(&[dir.path()]) };
    let found = kept(scan(&selection, &World::real()).unwrap());
    assert_eq!(paths(&found), [&b""[..], b"keep", b"keep/a", b"keep/cache", b"x", b"x/build"]);
}

#[test]
fn a_warm_tree_of_20000_files_is_walked_and_its_rate_printed() {
    const FOLDERS: usize = 200;
    const FILES: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..FOLDERS {
        let place = dir.path().join(format!("folder-{folder:03}"));
        fs::create_dir(&place).unwrap();
        (0..FILES).for_each(|file| fs::write(place.join(format!("file-{file:05}.txt")), "").unwrap());
    }
    let world = World::real();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = world.monotonic();
        let count = scan_of(&[dir.path()]).count();
        best = best.min(world.monotonic() - start);
        assert_eq!(count, 1 + FOLDERS + FOLDERS * FILES);
    }
    let each = best.as_secs_f64() * 1e6 / (FOLDERS * FILES) as f64;
    println!("scan: {:.0} files per second, {each:.2} us each", 1e6 / each);
}

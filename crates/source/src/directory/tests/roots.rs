//! What the user may name, and where it stands in the point.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;

use format::meta::Kind;
use world::{Remedied, Remedy};

use super::*;
use crate::Error;

/// The absolute place of `name`, as it stands in a point of several roots.
fn inside(dir: &Path, name: &str) -> Vec<u8> {
    dir.join(name).as_os_str().as_bytes()[1..].to_vec()
}

/// Paths at and below `dir`, relative to it, in a point of several roots.
fn below(found: &[Found], dir: &Path) -> Vec<String> {
    let here = path(inside(dir, "").strip_suffix(b"/").unwrap());
    let start = here.as_bytes().len() + 1;
    let below = found.iter().filter(|found| found.path.starts_with(&here) && found.path != here);
    below.map(|found| String::from_utf8_lossy(&found.path.as_bytes()[start..]).into_owned()).collect()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["one/inner", "two", "three"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    for name in ["one/inner/f", "one/g", "two/h", "two/not", "three/not"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    dir
}

#[test]
fn a_file_alone_is_the_root_of_its_point() {
    let dir = tree();
    let found = entries(scan_of(&[&dir.path().join("two/h")]));
    assert_eq!((paths(&found), found[0].meta.kind), (vec![&b""[..]], Kind::File));
    assert_eq!(content(&found[0]), b"two/h");
    assert_eq!(found[0].shown(), dir.path().join("two/h").to_str().unwrap());
}

#[test]
fn a_single_link_is_followed_since_its_name_is_not_kept() {
    let dir = tree();
    symlink("one", dir.path().join("current")).unwrap();
    symlink("one/g", dir.path().join("file")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    let found = entries(scan_of(&[&dir.path().join("current")]));
    assert_eq!(paths(&found), [&b""[..], b"g", b"inner", b"inner/f"]);
    assert_eq!(content(&entries(scan_of(&[&dir.path().join("file")]))[0]), b"one/g");
    let error = scan(&selection(&[&dir.path().join("dangling")]), &World::real()).err();
    assert!(matches!(error, Some(Error::Root { .. })), "{error:?}");
}

#[test]
fn several_roots_stand_under_their_absolute_paths_and_each_is_walked_once() {
    let dir = tree();
    let place = |name: &str| dir.path().join(name);
    let roots =
        [place("two/h"), place("one/inner"), place("one"), place("one/./inner/f"), place("two/../one")];
    let found = entries(scan_of(&roots.each_ref().map(PathBuf::as_path)));
    assert_eq!(below(&found, dir.path()), ["one", "one/g", "one/inner", "one/inner/f", "two", "two/h"]);
    assert!(found[0].path.is_root() && found.is_sorted_by(|a, b| a.path < b.path));
    assert_eq!(content(entry(&found, &inside(dir.path(), "one/g"))), b"one/g");
    let (kept, known) =
        (&entry(&found, &inside(dir.path(), "two")).meta, fs::metadata(place("two")).unwrap());
    assert_eq!(
        (kept.mode, kept.mtime.seconds),
        (known.mode() & 0o7777, known.mtime()),
        "real metadata on the way"
    );
}

#[test]
fn a_link_among_several_roots_is_kept_as_a_link_unless_it_ends_in_a_slash() {
    let dir = tree();
    symlink("one", dir.path().join("link")).unwrap();
    symlink("one", dir.path().join("slashed")).unwrap();
    let slashed = PathBuf::from(format!("{}/slashed/", dir.path().display()));
    let found = entries(scan_of(&[&dir.path().join("link"), &slashed]));
    let expected = ["link", "slashed", "slashed/g", "slashed/inner", "slashed/inner/f"];
    assert_eq!(below(&found, dir.path()), expected);
    assert_eq!(entry(&found, &inside(dir.path(), "link")).meta.kind, Kind::Symlink);
}

#[test]
fn links_on_the_way_to_roots_are_followed_under_the_names_that_were_typed() {
    let dir = tree();
    symlink("one", dir.path().join("link")).unwrap();
    let found = entries(scan_of(&[&dir.path().join("link/inner"), &dir.path().join("link/g")]));
    assert_eq!(below(&found, dir.path()), ["link", "link/g", "link/inner", "link/inner/f"]);
    assert_eq!(content(entry(&found, &inside(dir.path(), "link/inner/f"))), b"one/inner/f");
}

#[test]
fn a_root_behind_a_link_inside_another_root_is_not_lost_silently() {
    let dir = tree();
    symlink("../three", dir.path().join("one/link")).unwrap();
    let items: Vec<Item> = scan_of(&[&dir.path().join("one"), &dir.path().join("one/link/not")]).collect();
    let at = path(&inside(dir.path(), "one/link"));
    let entry = items.iter().position(|item| matches!(item, Item::Entry(found) if found.path == at)).unwrap();
    let Item::Problem(problem) = &items[entry + 1] else { panic!("{:?}", items[entry + 1]) };
    assert!(matches!(problem.error, Error::BehindLink { .. }) && problem.path == at);
}

#[test]
fn what_cannot_be_a_root_is_an_error_at_the_start() {
    let dir = tree();
    let place = |name: &str| dir.path().join(name);
    let _listening = UnixListener::bind(place("socket")).unwrap();
    let refused = |roots: &[&Path]| scan(&selection(roots), &World::real()).err().expect("no such root");
    assert!(matches!(refused(&[]), Error::NoRoots));
    for missing in [place("missing"), place("one/g/x"), PathBuf::new()] {
        assert!(matches!(refused(&[&missing]), Error::Root { .. }), "{missing:?}");
        assert!(matches!(refused(&[&place("one"), &missing]), Error::Root { .. }), "{missing:?}");
    }
    assert!(matches!(refused(&[&place("socket")]), Error::SocketRoot { .. }));
    assert!(matches!(refused(&[&place("socket"), &place("one")]), Error::SocketRoot { .. }));
    assert_eq!(refused(&[&place("missing")]).remedy(), Remedy::Correct);
}

#[test]
fn what_is_named_is_never_excluded() {
    let dir = tree();
    let excludes = Excludes::new(&["inner".to_owned(), "g".to_owned()], &[]).unwrap();
    let roots = [dir.path().join("one"), dir.path().join("one/inner")];
    let selection = Selection { excludes, ..selection(&roots.each_ref().map(PathBuf::as_path)) };
    let found = kept(scan(&selection, &World::real()).unwrap());
    assert_eq!(below(&found, dir.path()), ["one", "one/inner", "one/inner/f"]);
}

/// A walk of `roots` on one file system, where only `proc` of the names in `/` is not excluded.
fn walk_of_proc(roots: &[&Path]) -> Vec<Found> {
    let others = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let globs: Vec<String> = others.filter(|name| name != "proc").map(|name| format!("/{name}")).collect();
    let excludes = Excludes::new(&globs, &[]).unwrap();
    let selection = Selection { excludes, one_file_system: true, ..selection(roots) };
    kept(scan(&selection, &World::real()).unwrap())
}

#[test]
fn a_walk_of_one_file_system_keeps_the_place_of_another_but_not_what_is_in_it() {
    assert_eq!(paths(&walk_of_proc(&[Path::new("/")])), [&b""[..], b"proc"]);
}

#[test]
fn another_file_system_is_walked_where_a_root_was_named_in_it() {
    let found = walk_of_proc(&[Path::new("/"), Path::new("/proc/sys/kernel/ostype")]);
    let expected = [&b""[..], b"proc", b"proc/sys", b"proc/sys/kernel", b"proc/sys/kernel/ostype"];
    assert_eq!(paths(&found), expected);
    assert_eq!(content(&found[4]), b"Linux\n");
}

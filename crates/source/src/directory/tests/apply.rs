//! Writing a tree back, by every way down that the machine has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use format::meta::{Kind, Meta};
use world::{Remedied, Remedy};

use super::super::apply::LONG_BYTES;
use super::*;
use crate::Error;

/// Everything below `dir` as it is compared: path, metadata, content.
fn state(dir: &Path) -> Vec<(TreePath, Meta, Vec<u8>)> {
    let read = |found: Found| {
        let bytes = if found.meta.kind == Kind::File { content(&found) } else { Vec::new() };
        (found.path, found.meta, bytes)
    };
    entries(scan_of(&[dir])).into_iter().map(read).collect()
}

/// Writes `state` back in the order that the engine keeps.
fn restore(target: &Target, state: &[(TreePath, Meta, Vec<u8>)]) -> Vec<Shortfall> {
    let mut shortfalls = Vec::new();
    let mut groups = std::collections::HashMap::new();
    for (path, meta, bytes) in state {
        if let Some(first) = meta.link.and_then(|link| groups.insert(link, path)) {
            target.hard_link(first, path).unwrap();
            groups.insert(meta.link.unwrap(), first);
            continue;
        }
        match meta.kind {
            Kind::Directory => target.directory(path).unwrap(),
            Kind::Symlink => target.symlink(path, &meta.target).unwrap(),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => target.special(path, meta).unwrap(),
            Kind::File => {
                let sink = target.file(path, meta.size).unwrap();
                sink.write_at(0, bytes).unwrap();
                shortfalls.extend(sink.finish(meta).unwrap());
            }
        }
        if !matches!(meta.kind, Kind::Directory | Kind::File) {
            shortfalls.extend(target.metadata(path, meta).unwrap());
        }
    }
    for (path, meta, _) in state.iter().rev().filter(|(_, meta, _)| meta.kind == Kind::Directory) {
        shortfalls.extend(target.metadata(path, meta).unwrap());
    }
    target.sync().unwrap();
    shortfalls
}

/// Of a long file what is not whole does not look like it, and another run goes on with it.
#[test]
fn a_long_file_stands_beside_its_place_until_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let meta = Meta { mode: 0o640, ..Meta::new(Kind::File) };
    for name in [&b"below/disk.img"[..], &[b'n'; 250]] {
        let (path, size) = (TreePath::new(name).unwrap(), LONG_BYTES);
        let whole = dir.path().join(os(name));
        let target = |existing| {
            let target = Target::open(dir.path(), existing, Ownership::Mine).unwrap();
            target.keeping_parts("4451b6".to_owned())
        };
        let begun = target(Existing::Replace).file(&path, size).unwrap();
        begun.write_at(5, b"begun").unwrap();
        let part = dir.path().join(os(begun.part().unwrap().as_bytes()));
        assert!(!whole.exists() && part.metadata().unwrap().len() == size);
        // Another run leaves what this one has in hand alone.
        assert!(target(Existing::Differences).take_up(&path, size).unwrap().is_none());
        let other = target(Existing::Replace).file(&path, size).unwrap();
        assert!(other.part().is_none() && other.finish(&meta).is_ok() && part.exists());
        fs::remove_file(&whole).unwrap();
        drop(begun);
        let anew = target(Existing::Replace).file(&path, size).unwrap();
        anew.write_at(0, b"anew").unwrap();
        drop(anew);
        let left = target(Existing::Differences).take_up(&path, size).unwrap().unwrap();
        let mut there = [1; 10];
        assert_eq!((left.read_at(0, &mut there).unwrap(), &there), (10, b"anew\0\0\0\0\0\0"));
        assert!(left.is_old() && left.discard().is_ok() && part.exists(), "it is not ours to remove");
        left.finish(&meta).unwrap();
        assert!(whole.metadata().unwrap().len() == size && !part.exists());
        target(Existing::Replace).file(&path, size).unwrap().discard().unwrap();
        let replaced = target(Existing::Replace).file(&path, size).unwrap();
        fs::remove_file(&part).unwrap();
        fs::write(&part, "of somebody else").unwrap();
        assert!(replaced.finish(&meta).is_err() && whole.metadata().unwrap().len() == size);
        fs::remove_file(&part).unwrap();
        assert!(whole.exists() && !part.exists());
    }
}

/// A tree with one of everything that needs no right of its own.
fn everything() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::create_dir_all(place("closed/in it")).unwrap();
    fs::write(place("closed/in it/f"), vec![7; 100_000]).unwrap();
    fs::write(place("empty"), "").unwrap();
    fs::write(dir.path().join(os(b"\xff\n")), "odd name").unwrap();
    fs::hard_link(place("empty"), place("second")).unwrap();
    symlink("../..", place("up")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place("pipe"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    for (name, mode) in
        [("empty", 0o4751), ("closed/in it/f", 0o400), ("closed/in it", 0o1700), ("closed", 0o500)]
    {
        fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let old = Meta { mtime: time(-86_400 * 365 * 30, 123_456_789), ..Meta::new(Kind::Symlink) };
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let old = Meta { uid: own.0, gid: own.1, ..old };
    let told = target(dir.path(), Way::Steps, Existing::Replace).metadata(&path(b"up"), &old).unwrap();
    assert_eq!(told, [], "a link's own time");
    dir
}

fn time(seconds: i64, nanos: u32) -> format::meta::FileTime {
    format::meta::FileTime { seconds, nanos }
}

/// Lets a temporary directory with closed directories in it be removed by its owner.
fn unlock(dir: &Path) {
    fs::set_permissions(dir.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let source = everything();
    let before = state(source.path());
    for way in ways() {
        let into = tempfile::tempdir().unwrap();
        let told = restore(&target(into.path(), way, Existing::Refuse), &before);
        assert_eq!(told, [], "{way:?}");
        assert_eq!(state(into.path()), before, "{way:?}");
        unlock(into.path());
    }
    unlock(source.path());
}

#[test]
fn what_is_there_gives_way_where_that_was_asked_for() {
    let source = tempfile::tempdir().unwrap();
    for name in ["dir/below", "file", "link"] {
        fs::create_dir_all(source.path().join(name).parent().unwrap()).unwrap();
        fs::write(source.path().join(name), "new").unwrap();
    }
    let before = state(source.path());
    for way in ways() {
        let into = tempfile::tempdir().unwrap();
        let place = |name: &str| into.path().join(name);
        symlink("/nowhere", place("dir")).unwrap();
        fs::create_dir(place("file")).unwrap();
        symlink("keep", place("link")).unwrap();
        fs::write(place("keep"), "kept").unwrap();
        let told = restore(&target(into.path(), way, Existing::Replace), &before);
        assert_eq!(told, []);
        assert_eq!(fs::read(place("keep")).unwrap(), b"kept");
        fs::remove_file(place("keep")).unwrap();
        let names = |state: Vec<(TreePath, Meta, Vec<u8>)>| {
            state.into_iter().map(|(path, meta, bytes)| (path, meta.kind, bytes)).collect::<Vec<_>>()
        };
        assert_eq!(names(state(into.path())), names(before.clone()), "{way:?}");
    }
}

#[test]
fn a_target_must_be_empty_or_absent_unless_it_may_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str, existing| Target::open(&dir.path().join(name), existing, Ownership::ByName);
    open("new/below", Existing::Refuse).unwrap();
    assert_eq!(fs::metadata(dir.path().join("new/below")).unwrap().mode() & 0o777, 0o700);
    fs::create_dir(dir.path().join("new/below/lost+found")).unwrap();
    open("new/below", Existing::Refuse).expect("a new file system is as good as empty");
    let refused = open("new", Existing::Refuse).err().expect("it holds something");
    assert!(matches!(&refused, Error::TargetNotEmpty { .. }), "{refused}");
    assert_eq!(refused.remedy(), Remedy::Correct);
    open("new", Existing::Replace).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(open("file/below", Existing::Replace), Err(Error::Target { .. })));
    assert!(matches!(open("file", Existing::Refuse), Err(Error::TargetHolds { .. })));
    assert!(open("file", Existing::Replace).unwrap().onto().is_some(), "content can be written onto it");
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"");
}

#[test]
fn what_is_made_is_closed_to_others_until_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Refuse);
    target.directory(&path(b"a/b")).unwrap();
    let sink = target.file(&path(b"a/b/f"), 10).unwrap();
    target.special(&path(b"p"), &Meta::new(Kind::Fifo)).unwrap();
    let mode = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!(["a", "a/b", "a/b/f", "p"].map(mode), [0o700, 0o700, 0o600, 0o600]);
    drop(sink);
}

#[test]
fn a_file_is_written_in_any_order_and_put_aside_without_a_descriptor() {
    for way in ways() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path(), way, Existing::Refuse);
        let sink = target.file(&path(b"f"), 12).unwrap();
        sink.write_at(8, b"last").unwrap();
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"\0\0\0\0\0\0\0\0last");
        let parked = sink.park();
        let sink = target.reopen(&parked).unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| sink.write_at(0, b"fir").unwrap());
            threads.spawn(|| sink.write_at(3, b"st").unwrap());
        });
        assert_eq!(sink.path(), &path(b"f"));
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"first\0\0\0last");
    }
}

#[test]
fn a_part_can_be_taken_back_but_nothing_else_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Refuse);
    target.file(&path(b"f"), 5).unwrap().discard().unwrap();
    assert!(!dir.path().join("f").exists());
    let sink = target.file(&path(b"f"), 5).unwrap();
    fs::rename(dir.path().join("f"), dir.path().join("moved")).unwrap();
    fs::write(dir.path().join("f"), "another").unwrap();
    assert!(matches!(sink.discard(), Err(Error::Replaced { .. })));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"another");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    for way in ways() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path(), way, Existing::Refuse);
        drop(target.file(&path(b"f"), 1).unwrap());
        let fifo = Meta::new(Kind::Fifo);
        target.directory(&path(b"d")).unwrap();
        target.directory(&path(b"d")).expect("a directory may be made twice");
        let refused = [
            target.file(&path(b"f"), 1).err(),
            target.directory(&path(b"f")).err(),
            target.directory(&path(b"f/below")).err(),
            target.symlink(&path(b"f"), b"x").err(),
            target.hard_link(&path(b"d"), &path(b"f")).err(),
            target.hard_link(&path(b"f"), &path(b"f")).err(),
            target.special(&path(b"f"), &fifo).err(),
            target.file(&path(b"d"), 1).err(),
        ];
        for (row, error) in refused.iter().enumerate() {
            assert!(matches!(error, Some(Error::Obstacle { .. } | Error::System { .. })), "{row}: {error:?}");
        }
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), [0], "untouched");
    }
}

#[test]
fn a_full_directory_never_gives_way_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Replace);
    target.directory(&path(b"d/below")).unwrap();
    assert!(matches!(target.file(&path(b"d"), 1), Err(Error::Obstacle { .. })));
    assert!(dir.path().join("d/below").is_dir());
    drop(target.file(&path(b"f"), 1).unwrap());
    assert!(
        target.hard_link(&path(b"f"), &path(b"f")).is_err(),
        "a file is not removed to link it to itself"
    );
    assert!(dir.path().join("f").exists());
}

#[test]
fn paths_longer_than_the_kernel_takes_are_written() {
    for way in ways() {
        let dir = Deep(tempfile::tempdir().unwrap());
        let target = target(dir.0.path(), way, Existing::Refuse);
        let deep = path(&[[b'x'; 200]; 50].join(&b'/'));
        target.directory(&deep).unwrap();
        let file = deep.join(b"f").unwrap();
        let meta = Meta { size: 4, ..own(Meta::new(Kind::File)) };
        let sink = target.file(&file, 4).unwrap();
        sink.write_at(0, b"deep").unwrap();
        assert_eq!(target.reopen(&sink.park()).unwrap().finish(&meta).unwrap(), []);
        assert_eq!(target.metadata(&deep, &own(Meta::new(Kind::Directory))).unwrap(), []);
        let found = entries(scan_of(&[dir.0.path()]));
        assert_eq!(content(entry(&found, file.as_bytes())), b"deep", "{way:?}");
    }
}

/// `meta` as it is for what this process makes.
fn own(meta: Meta) -> Meta {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Meta { uid, gid, ..meta }
}

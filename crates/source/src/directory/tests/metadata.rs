//! Owners, modes and times on the way back: given where that is allowed, told where not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use format::meta::{FileTime, Kind, Meta};

use super::*;
use crate::Error;

fn own(kind: Kind) -> Meta {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Meta { uid, gid, ..Meta::new(kind) }
}

fn finished(meta: &Meta, ownership: Ownership) -> (tempfile::TempDir, Vec<Shortfall>) {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), Existing::Refuse, ownership).unwrap();
    let sink = target.file(&path(b"f"), 3).unwrap();
    sink.write_at(0, b"abc").unwrap();
    let told = sink.finish(meta).unwrap();
    (dir, told)
}

fn missed(told: &[Shortfall]) -> Vec<Attribute> {
    assert!(told.iter().all(|shortfall| shortfall.path == path(b"f") && !shortfall.why.is_empty()));
    told.iter().map(|shortfall| shortfall.what).collect()
}

#[test]
fn setuid_survives_a_change_of_owner_and_is_withheld_where_the_owner_differs() {
    let meta = Meta { mode: 0o6755, uid: 1, gid: 1, ..Meta::new(Kind::File) };
    let (dir, told) = finished(&meta, Ownership::ByNumber);
    let known = fs::metadata(dir.path().join("f")).unwrap();
    if is_root() {
        assert_eq!(told, []);
        assert_eq!((known.uid(), known.gid(), known.mode() & 0o7777), (1, 1, 0o6755));
    } else {
        assert_eq!(missed(&told), [Attribute::Owner, Attribute::Group, Attribute::Mode]);
        assert_eq!(known.mode() & 0o7777, 0o755);
    }
}

#[test]
fn an_owner_is_known_by_name_first_and_by_number_where_asked() {
    let meta = Meta { uid: 54_321, gid: 54_321, user: Some(b"root"[..].into()), ..Meta::new(Kind::File) };
    let meta = Meta { group: Some(b"no such group"[..].into()), ..meta };
    for (ownership, uid) in [(Ownership::ByName, 0), (Ownership::ByNumber, 54_321)] {
        let (dir, told) = finished(&meta, ownership);
        let known = fs::metadata(dir.path().join("f")).unwrap();
        if is_root() {
            assert_eq!((told, known.uid(), known.gid()), (vec![], uid, 54_321));
        } else {
            assert_eq!(missed(&told), [Attribute::Owner, Attribute::Group]);
        }
    }
}

#[test]
fn what_is_to_be_ours_gets_nobody_elses_owner_and_none_of_their_rights() {
    let meta = Meta { uid: 54_321, gid: 54_321, mode: 0o6755, ..Meta::new(Kind::File) };
    let (dir, told) = finished(&meta, Ownership::Mine);
    let known = fs::metadata(dir.path().join("f")).unwrap();
    assert_eq!((known.uid(), known.mode() & 0o7777), (rustix::process::geteuid().as_raw(), 0o755));
    assert_eq!(missed(&told), [Attribute::Mode], "bits that are left out are named");
}

#[test]
fn a_number_that_means_nobody_is_not_passed_off_as_set() {
    let (_dir, told) = finished(&Meta { uid: u32::MAX, ..own(Kind::File) }, Ownership::ByNumber);
    assert_eq!(missed(&told), [Attribute::Owner]);
}

#[test]
fn times_keep_their_nanoseconds_or_it_is_told() {
    let days = 86_400;
    let rows = [
        (0, 0),
        (1_700_000_000, 123_456_789),
        (-1, 999_999_999),
        (-days * 365 * 60, 1),
        (days * 366 * 300, 999_999_999),
        (days * 366 * 1_000, 5),
        (i64::MAX, 0),
        (i64::MIN, 7),
    ];
    let mut kept = 0;
    for (seconds, nanos) in rows {
        let mtime = FileTime { seconds, nanos };
        let (dir, told) = finished(&Meta { mtime, ..own(Kind::File) }, Ownership::ByNumber);
        let is = entry(&entries(scan_of(&[dir.path()])), b"f").meta.mtime;
        let expected: &[Attribute] = if is == mtime { &[] } else { &[Attribute::Mtime] };
        assert_eq!(missed(&told), expected, "{mtime:?} became {is:?}");
        kept += usize::from(is == mtime);
    }
    assert!(kept >= 2, "times of today are kept everywhere");
}

#[test]
fn a_time_that_would_mean_something_else_to_the_system_is_not_set() {
    for nanos in [1_000_000_000, (1 << 30) - 1, (1 << 30) - 2, u32::MAX] {
        let (_dir, told) =
            finished(&Meta { mtime: FileTime { seconds: 5, nanos }, ..own(Kind::File) }, Ownership::ByNumber);
        assert_eq!(missed(&told), [Attribute::Mtime], "{nanos}");
    }
}

#[test]
fn mode_bits_above_the_known_ones_are_ignored() {
    let (dir, told) = finished(&Meta { mode: 0o170_640, ..own(Kind::File) }, Ownership::ByNumber);
    assert_eq!((told, fs::metadata(dir.path().join("f")).unwrap().mode()), (vec![], 0o100_640));
}

#[test]
fn metadata_goes_only_to_what_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Refuse);
    target.directory(&path(b"d")).unwrap();
    drop(target.file(&path(b"f"), 0).unwrap());
    target.symlink(&path(b"l"), b"f").unwrap();
    let rows = [
        ("d", Kind::File),
        ("f", Kind::Directory),
        ("l", Kind::Fifo),
        ("f", Kind::Symlink),
        ("d", Kind::Fifo),
    ];
    for (name, kind) in rows {
        let set = target.metadata(&path(name.as_bytes()), &Meta { mode: 0o777, ..own(kind) });
        assert!(matches!(set, Err(Error::Replaced { .. })), "{name} as {kind:?}: {set:?}");
    }
    assert!(target.metadata(&path(b"l"), &own(Kind::File)).is_err(), "a link is not followed to a file");
    assert!(target.metadata(&path(b"none"), &own(Kind::File)).is_err());
    assert_eq!(fs::metadata(dir.path().join("f")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_pipe_gets_its_mode_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Refuse);
    let meta = Meta { mode: 0o642, mtime: FileTime { seconds: 1_000, nanos: 7 }, ..own(Kind::Fifo) };
    target.special(&path(b"p"), &meta).unwrap();
    assert_eq!(target.metadata(&path(b"p"), &meta).unwrap(), []);
    let found = entries(scan_of(&[dir.path()]));
    let kept = &entry(&found, b"p").meta;
    assert_eq!((kept.kind, kept.mode, kept.mtime), (Kind::Fifo, meta.mode, meta.mtime));
}

#[test]
fn devices_come_back_for_root_and_are_refused_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), Way::Steps, Existing::Refuse);
    for (name, kind) in [("c", Kind::CharDevice), ("b", Kind::BlockDevice)] {
        let meta = Meta { device: rustix::fs::makedev(241, 70_000), mode: 0o660, ..own(kind) };
        let made = target.special(&path(name.as_bytes()), &meta);
        if is_root() {
            made.unwrap();
            assert_eq!(target.metadata(&path(name.as_bytes()), &meta).unwrap(), []);
            let kept = entry(&entries(scan_of(&[dir.path()])), name.as_bytes()).meta.clone();
            assert_eq!((kept.kind, kept.device, kept.mode), (kind, meta.device, 0o660));
        } else {
            assert!(matches!(made, Err(Error::System { .. })), "{name}");
        }
    }
}

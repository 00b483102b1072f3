//! Everything that a file has beside its content comes back: attributes, access lists, capabilities, flags, holes, special
//! files; and what an ordinary user cannot set is named.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, IFlags, Mode, StatxFlags, XattrFlags, ioctl_getflags, ioctl_setflags, lgetxattr,
    llistxattr, lsetxattr, makedev, mknodat, statx,
};
use tests::files::below;
use tests::listing::{Listing, rsync_differences};
use tests::odd;
use tests::seawall::Machine;

/// Version 2, read for the group 4711, all for the owner, mask read.
const ACL: [u8; 44] = acl();

const fn acl() -> [u8; 44] {
    let rows: [(u16, u16, u32); 5] =
        [(0x01, 7, u32::MAX), (0x04, 0, u32::MAX), (0x08, 4, 4711), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let mut bytes = [0; 44];
    bytes[0] = 2;
    let mut row = 0;
    while row < rows.len() {
        let (tag, rights, id) = rows[row];
        let at = 4 + row * 8;
        bytes[at] = tag.to_le_bytes()[0];
        bytes[at + 2] = rights.to_le_bytes()[0];
        let id = id.to_le_bytes();
        (bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]) = (id[0], id[1], id[2], id[3]);
        row += 1;
    }
    bytes
}

/// `cap_net_bind_service=ep`, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What [`Listing`] leaves out, a line for each thing of each name.
fn rest(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, entry) in Listing::of(top).0 {
        let shown = String::from_utf8(name.clone()).unwrap();
        let path = if name.is_empty() { top.to_owned() } else { top.join(&shown) };
        let mut names = vec![0; 65536];
        let length = llistxattr(&path, &mut names[..]).unwrap();
        let mut held: Vec<&[u8]> = names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        held.sort_unstable();
        for attribute in held {
            let mut value = vec![0; 65536];
            let length = lgetxattr(&path, attribute, &mut value[..]).unwrap();
            lines.push(format!("{shown}: {} {:?}", attribute.escape_ascii(), &value[..length]));
        }
        let said = statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL).unwrap();
        let flags = rustix::fs::StatxAttributes::IMMUTABLE
            | rustix::fs::StatxAttributes::APPEND
            | rustix::fs::StatxAttributes::NODUMP;
        lines.push(format!(
            "{shown}: mode {:o} device {} flags {:?}",
            entry.mode,
            fs::symlink_metadata(&path).unwrap().rdev(),
            said.stx_attributes & flags
        ));
    }
    lines
}

/// Takes the flags away in the end, or the folder could not be removed.
struct Flagged(Vec<PathBuf>);

impl Drop for Flagged {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Ok(file) = fs::File::open(path) {
                let _ = ioctl_setflags(&file, IFlags::empty());
            }
        }
    }
}

const FLAGGED: [(&str, IFlags); 4] = [
    ("immutable", IFlags::IMMUTABLE),
    ("append", IFlags::APPEND),
    ("nodump", IFlags::NODUMP),
    ("folder", IFlags::IMMUTABLE),
];

/// Sets the flags; `false` where the file system has none.
fn set_flags(top: &Path) -> bool {
    FLAGGED.iter().all(|(name, flag)| {
        let file = fs::File::open(top.join(name)).unwrap();
        let before = ioctl_getflags(&file).unwrap_or(IFlags::empty());
        ioctl_setflags(&file, before | *flag).is_ok()
    })
}

fn flagged(tops: &[PathBuf]) -> Flagged {
    Flagged(tops.iter().flat_map(|top| FLAGGED.iter().map(|(name, _)| top.join(name))).collect())
}

/// Sets an attribute; `false` where the file system has none such.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
}

fn make(top: &Path) -> Vec<&'static str> {
    fs::create_dir(top).unwrap();
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(&odd::noise(7, 1 << 20), 20 << 20).unwrap();
    for name in
        ["user", "many", "acl", "capable", "setuid", "immutable", "append", "nodump", "linked", "forbidding"]
    {
        fs::write(top.join(name), name).unwrap();
    }
    fs::hard_link(top.join("linked"), top.join("linked-too")).unwrap();
    fs::create_dir_all(top.join("folder/below")).unwrap();
    fs::write(top.join("folder/below/file"), "x").unwrap();
    fs::create_dir(top.join("heirs")).unwrap();
    symlink("user", top.join("link")).unwrap();
    mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    mknodat(CWD, top.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
        .unwrap();
    mknodat(CWD, top.join("loop"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(7, 99))
        .unwrap();
    std::os::unix::fs::chown(top.join("setuid"), Some(12_345), Some(54_321)).unwrap();
    fs::set_permissions(top.join("setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    attributes(top)
}

/// Sets attributes and answers what the file system cannot keep.
fn attributes(top: &Path) -> Vec<&'static str> {
    let many = (0..40).all(|n| set(&top.join("many"), &format!("user.attribute-{n:02}"), &odd::noise(n, 40)));
    let done = [
        ("user attributes", set(&top.join("user"), "user.note", b"a note") && many),
        ("user attributes of folders", set(&top.join("heirs"), "user.empty", b"")),
        (
            "trusted attributes",
            set(&top.join("link"), "trusted.of-link", b"l") && set(&top.join("fifo"), "trusted.x", b""),
        ),
        ("an attribute of a file that forbids writing", set(&top.join("forbidding"), "user.x", b"x")),
        ("access lists", set(&top.join("acl"), "system.posix_acl_access", &ACL)),
        ("default access lists", set(&top.join("heirs"), "system.posix_acl_default", &ACL)),
        ("capabilities", set(&top.join("capable"), "security.capability", &CAPABILITY)),
        ("an attribute of a file with two names", set(&top.join("linked"), "user.shared", b"s")),
    ];
    fs::set_permissions(top.join("forbidding"), fs::Permissions::from_mode(0o400)).unwrap();
    // Made after its folder gives access lists away, so it has inherited one.
    fs::write(top.join("heirs/heir"), "h").unwrap();
    done.into_iter().filter(|(_, done)| !done).map(|(what, _)| what).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What the usual programs say of a tree, run in it, as people compare two of them.
const DUMPS: [&[&str]; 4] = [
    &["getcap", "-r", "."],
    &["lsattr", "-a", "-R", "."],
    &["getfacl", "-R", "-p", "--numeric", "."],
    &["find", ".", "-printf", "%p %y %m %U %G %s %T@ %l %n\n"],
];

/// The lines of one of them in order; flags that the file system sets by itself are left out.
fn dump(words: &[&str], top: &Path) -> Option<Vec<String>> {
    let done = std::process::Command::new(words[0]).args(&words[1..]).current_dir(top).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = |line: &str| match line.split_once(' ') {
        Some((flags, name)) if words[0] == "lsattr" => format!("{} {name}", flags.replace(['e', 'I'], "-")),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    if words[0] != "getfacl" {
        lines.sort();
    }
    Some(lines)
}

/// As `rsync` and the programs that show access lists, capabilities and flags see it, and no larger than it was.
fn assert_same_to_others(tree: &Path, out: &Path) {
    for words in DUMPS {
        match (dump(words, tree), dump(words, out)) {
            (Some(truth), Some(copy)) => {
                assert!(!truth.is_empty(), "{words:?} shows something: {truth:?}");
                assert_eq!(copy, truth, "{words:?}");
            }
            _ => tests::skipped(&format!("{}: it is not installed, so it compared nothing", words[0])),
        }
    }
    match rsync_differences(tree, out) {
        Some(said) => assert_eq!(said, ""),
        None => tests::skipped("rsync: it is not installed, so it compared no metadata"),
    }
    let blocks = |top: &Path| -> u64 {
        let sizes = below(top).into_iter().map(|path| fs::symlink_metadata(path).unwrap().blocks());
        sizes.sum()
    };
    assert!(blocks(out) * 100 <= blocks(tree) * 101, "{} blocks of {}", blocks(out), blocks(tree));
}

#[test]
fn whatever_root_can_set_comes_back() {
    const NAME: &str = "whatever_root_can_set_comes_back";
    if !is_root() {
        return tests::skipped(&format!("{NAME}: only root may make devices and trusted attributes"));
    }
    let machine = Machine::with_repository();
    let (tree, out, again) = (machine.at("tree"), machine.at("out"), machine.at("again"));
    let missing = make(&tree);
    let _flags = flagged(&[tree.clone(), out.clone(), again.clone()]);
    let has_flags = set_flags(&tree);
    for what in missing.iter().copied().chain((!has_flags).then_some("flags")) {
        tests::skipped(&format!("{what}: the file system of the temporary folder has none"));
    }
    let kept = machine.json(&["backup", "tree"]);
    assert_eq!(kept["problems"].as_array().unwrap().len(), 0, "{kept}");
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(rest(&out), rest(&tree));
    assert_eq!(Listing::of(&out).differences(&Listing::of(&tree)), Vec::<String>::new());
    assert_same_to_others(&tree, &out);
    // Attributes of what has not changed come from memory.
    let kept = machine.json(&["backup", "tree"]);
    assert_eq!(kept["bytes_new"], 0, "{kept}");
    machine.done(&["restore", "latest", "--into", "again"]);
    assert_eq!(rest(&again), rest(&tree));
}

#[test]
fn a_change_of_an_attribute_alone_is_kept() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "content").unwrap();
    if !set(&machine.at("tree/file"), "user.a", b"1") {
        return tests::skipped(
            "a_change_of_an_attribute_alone_is_kept: the file system has no user attributes",
        );
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    machine.done(&["backup", "tree"]);
    assert!(set(&machine.at("tree/file"), "user.a", b"2"));
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(rest(&machine.at("out")), rest(&machine.at("tree")));
}

#[test]
fn an_access_list_that_the_target_gives_away_is_not_taken_for_ours() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::create_dir(machine.at("tree/folder")).unwrap();
    fs::write(machine.at("tree/folder/file"), "content").unwrap();
    fs::create_dir(machine.at("out")).unwrap();
    if !set(&machine.at("out"), "system.posix_acl_default", &ACL) {
        return tests::skipped(
            "an_access_list_that_the_target_gives_away_is_not_taken_for_ours: there are none here",
        );
    }
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(rest(&machine.at("out")), rest(&machine.at("tree")));
}

#[test]
fn holes_stay_holes_and_are_not_read() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let (mib, gib) = (1 << 20, 1_u64 << 30);
    let sparse = fs::File::create(machine.at("tree/sparse")).unwrap();
    sparse.set_len(4 * gib).unwrap();
    for piece in 0..16 {
        sparse.write_all_at(&odd::noise(piece, mib), piece * 200 * (1 << 20) + 12_345).unwrap();
    }
    fs::File::create(machine.at("tree/hole")).unwrap().set_len(gib).unwrap();
    let small = fs::File::create(machine.at("tree/small")).unwrap();
    small.set_len(3 << 20).unwrap();
    small.write_all_at(b"in the middle", 1 << 20).unwrap();
    let ends = fs::File::create(machine.at("tree/ends-in-a-hole")).unwrap();
    ends.write_all_at(&odd::noise(99, 100_000), 0).unwrap();
    ends.set_len(20 << 20).unwrap();
    fs::write(machine.at("tree/zeros"), vec![0; 2 << 20]).unwrap();
    if fs::metadata(machine.at("tree/sparse")).unwrap().blocks() * 512 > gib {
        return tests::skipped("holes_stay_holes_and_are_not_read: the file system makes no holes");
    }
    let kept = machine.json(&["backup", "tree"]);
    let (logical, new) = (kept["bytes_logical"].as_u64().unwrap(), kept["bytes_new"].as_u64().unwrap());
    assert!(logical > 5 * gib && new < 20 << 20, "{kept}");
    machine.done(&["restore", "latest", "--into", "out"]);
    for name in ["sparse", "hole", "small", "ends-in-a-hole", "zeros"] {
        let (from, to) = (machine.at("tree").join(name), machine.at("out").join(name));
        let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
        assert!(
            blocks(&to) * 100 <= blocks(&from) * 101 + 800,
            "{name}: {} of {}",
            blocks(&to),
            blocks(&from)
        );
        let same = std::process::Command::new("cmp").arg(&from).arg(&to).status().unwrap();
        assert!(same.success(), "{name}");
    }
}

#[test]
fn an_ordinary_user_is_told_what_could_not_be_set() {
    const NAME: &str = "an_ordinary_user_is_told_what_could_not_be_set";
    if !is_root() {
        return tests::skipped(&format!("{NAME}: only root can make what an ordinary user cannot"));
    }
    let machine = Machine::with_repository();
    make(&machine.at("tree"));
    machine.done(&["backup", "tree"]);
    let nobody = 65_534;
    fs::set_permissions(machine.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["nobody-state", "nobody-out"] {
        fs::create_dir(machine.at(name)).unwrap();
        std::os::unix::fs::chown(machine.at(name), Some(nobody), Some(nobody)).unwrap();
    }
    let key = machine.at("nobody-key");
    fs::copy(machine.key_file(), &key).unwrap();
    std::os::unix::fs::chown(&key, Some(nobody), Some(nobody)).unwrap();
    let readable =
        std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(machine.repository()).status();
    assert!(readable.unwrap().success());
    let program = machine.at("seawall");
    fs::copy(tests::seawall::program(), &program).unwrap();
    let as_nobody = |into: &str, more: &[&str]| {
        let words =
            [&["restore", "latest", "--into", into, "--json", "--key-file", "nobody-key"], more].concat();
        let mut command = std::process::Command::new(&program);
        command.args(&words).current_dir(machine.at("")).env_clear().env("HOME", "/nonexistent");
        command.env("SEAWALL_STATE", machine.at("nobody-state")).env("SEAWALL_REPO", machine.repository());
        tests::seawall::Said::of(&words, command.uid(nobody).gid(nobody).output().unwrap())
    };
    let mine = as_nobody("nobody-out/mine", &["--no-owner", "--include", "user", "--include", "acl"]);
    assert_eq!(mine.code, 0, "nothing is missing of what was asked for: {mine}");
    assert_eq!(fs::metadata(machine.at("nobody-out/mine/user")).unwrap().uid(), nobody);
    let said = as_nobody("nobody-out/tree", &[]);
    assert_eq!(said.code, 2, "{said}");
    assert!(said.err.contains("--no-owner"), "{said}");
    let document = said.json();
    let named = |list: &str, path: &str| {
        let found = document[list].as_array().unwrap().iter().find(|one| one["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is not among the {list}: {said}"))["what"].to_string()
    };
    assert!(named("shortfalls", "setuid").contains("owner"));
    assert!(
        named("shortfalls", "capable").contains("security.capability")
            || named("shortfalls", "capable").contains("owner")
    );
    assert!(named("problems", "null").contains("ermitted"));
    assert_eq!(fs::read(machine.at("nobody-out/tree/setuid")).unwrap(), b"setuid");
    assert_eq!(
        fs::metadata(machine.at("nobody-out/tree/setuid")).unwrap().mode() & 0o7000,
        0,
        "no bits without their owner"
    );
}

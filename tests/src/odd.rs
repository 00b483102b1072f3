//! A small tree with every oddity that a backup of files meets, and the parts to make others. Content is the same
//! each time.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Bytes that cannot be made smaller, by a seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Gives a name, not what it leads to, its time of change.
///
/// # Panics
///
/// If the name is not there.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a new tree takes what is put into it");
}

/// Makes it; `top` must not exist.
///
/// # Panics
///
/// If it cannot be made.
pub fn make(top: &Path) {
    fs::create_dir(top).expect("a new tree takes what is put into it");
    let write = |name: &str, content: &[u8]| {
        fs::write(top.join(name), content).expect("a new tree takes what is put into it")
    };
    write("plain", b"plain\n");
    write("empty", b"");
    write("large", &noise(20, 20 << 20));
    write("zeros", &vec![0; 3 << 20]);
    names(top);
    links(top);
    folders(top);
    times_and_modes(top);
}

fn names(top: &Path) {
    let longest = vec![b'n'; 255];
    let odd: [&[u8]; 8] = [
        b"line\nend",
        b"\xff\xfe not UTF-8",
        " blank ".as_bytes(),
        b"-dash",
        b"*?[x]",
        b"back\\slash",
        b"\x01\x7f",
        &longest,
    ];
    for name in odd {
        fs::write(top.join(OsStr::from_bytes(name)), name).expect("a new tree takes what is put into it");
    }
}

fn links(top: &Path) {
    fs::create_dir(top.join("links")).expect("a new tree takes what is put into it");
    fs::write(top.join("links/one"), noise(1, 200_000)).expect("a new tree takes what is put into it");
    for name in ["links/two", "zz-three"] {
        fs::hard_link(top.join("links/one"), top.join(name)).expect("a new tree takes what is put into it");
    }
    for (target, name) in [
        ("one", "links/to-file"),
        ("/", "links/to-root"),
        ("no/such", "links/to-nothing"),
        (".", "links/loop"),
    ] {
        symlink(target, top.join(name)).expect("a new tree takes what is put into it");
    }
    fs::hard_link(top.join("links/to-file"), top.join("links/to-file-too"))
        .expect("a new tree takes what is put into it");
}

fn folders(top: &Path) {
    let mut deep = top.join("deep");
    for level in 0..60 {
        deep.push(format!("level-{level}"));
    }
    fs::create_dir_all(&deep).expect("a new tree takes what is put into it");
    fs::write(deep.join("bottom"), "bottom").expect("a new tree takes what is put into it");
    fs::create_dir(top.join("nothing-in-it")).expect("a new tree takes what is put into it");
    // In path order `a` stands before what lies in it, and `a.b` after that, though `.` sorts before `/`.
    fs::create_dir_all(top.join("order/a")).expect("a new tree takes what is put into it");
    for name in ["order/a/x", "order/a.b", "order/a-b", "order/ab"] {
        fs::write(top.join(name), name).expect("a new tree takes what is put into it");
    }
}

fn times_and_modes(top: &Path) {
    for mode in [0o000, 0o400, 0o777, 0o4755, 0o2755, 0o1644] {
        let path = top.join(format!("mode-{mode:o}"));
        fs::write(&path, "m").expect("a new tree takes what is put into it");
        // A mode that forbids its owner to read would be a problem to report for anybody but root.
        let mode = if mode == 0 && !rustix::process::geteuid().is_root() { 0o444 } else { mode };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .expect("a new tree takes what is put into it");
    }
    fs::set_permissions(top.join("nothing-in-it"), fs::Permissions::from_mode(0o1777))
        .expect("a new tree takes what is put into it");
    set_time(&top.join("plain"), -86_400 * 365 * 20, 1);
    set_time(&top.join("empty"), 0, 0);
    set_time(&top.join("links/to-nothing"), 1_000_000_000, 999_999_999);
    set_time(&top.join("nothing-in-it"), -1, 500_000_000);
    set_time(&top.join("order"), 4_102_444_800, 123_456_789);
    set_time(top, 1_234_567_890, 987_654_321);
}

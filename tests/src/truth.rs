//! What a point holds, in lines that need no program to be read: what kept repositories are compared with for ever.
//!
//! A line for each name, in order: the path, the mode in octal, the time of change, the length, the BLAKE3 of the content or where
//! a link points, the first name of a file that has several, and attributes that everybody may set. Owners are left out, as
//! not everybody may give files away.

use std::fmt::Write;
use std::path::Path;

use format::id::Hash;
use rustix::fs::{lgetxattr, llistxattr};

use crate::listing::Listing;

/// The lines of what lies in a folder.
///
/// # Panics
///
/// If it cannot be read.
pub fn lines(top: &Path) -> String {
    let mut lines = String::new();
    for (name, entry) in Listing::of(top).0 {
        let path = if name.is_empty() { top.to_owned() } else { top.join(as_path(&name)) };
        let content = match entry.mode & 0o170_000 {
            0o100_000 => Hash::of(&entry.content).to_string(),
            0o120_000 => entry.content.escape_ascii().to_string(),
            _ => "-".to_owned(),
        };
        let first = entry.same_as.map_or("-".to_owned(), |first| first.escape_ascii().to_string());
        let (seconds, nanoseconds) = entry.mtime;
        writeln!(
            lines,
            "{:?}\t{:o}\t{seconds}.{nanoseconds:09}\t{}\t{content}\t{first}\t{}",
            name.escape_ascii().to_string(),
            entry.mode,
            entry.content.len(),
            attributes(&path).join(" ")
        )
        .expect("text takes lines");
    }
    lines
}

fn as_path(name: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name))
}

fn attributes(path: &Path) -> Vec<String> {
    let mut names = vec![0; 65_536];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut names: Vec<&[u8]> =
        names[..length].split(|b| *b == 0).filter(|n| n.starts_with(b"user.")).collect();
    names.sort_unstable();
    let mut value = vec![0; 65_536];
    let value = |name: &[u8]| {
        let length = lgetxattr(path, name, &mut value[..]).expect("what is listed has a value");
        format!("{}={}", name.escape_ascii(), value[..length].escape_ascii())
    };
    names.into_iter().map(value).collect()
}

//! A disk with little room: a file system of its own in memory, where this user may mount one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What fills the rest of a disk.
const FILLER: &str = "filler";

/// Bytes that a file of one byte takes.
const PAGE: u64 = 4096;

/// A file system with little room; unmounted when dropped, and then its folder is removed.
#[derive(Debug)]
pub struct Small(TempDir);

impl Small {
    /// A disk of so many bytes; none where this user may not mount.
    ///
    /// # Panics
    ///
    /// If there is no temporary folder to be had.
    pub fn mounted(bytes: u64) -> Option<Small> {
        let at =
            tempfile::Builder::new().prefix("seawall-disk-").tempdir().expect("there is room for a test");
        let options = format!("size={bytes}");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "seawall-test"]).arg(at.path()).output();
        done.is_ok_and(|output| output.status.success()).then_some(Small(at))
    }

    /// Gives it so many bytes from now on.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn grow(&self, bytes: u64) {
        let options = format!("remount,size={bytes}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "whoever mounted it may change it");
    }

    /// A name on it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills it but for so many bytes, in pages; what filled it before goes first.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn leave(&self, bytes: u64) {
        self.clear();
        let mut filler = File::create(self.at(FILLER)).expect("a disk takes a file");
        let (page, mut filled) = ([1; PAGE as usize], 0);
        let full = loop {
            match filler.write_all(&page) {
                Ok(()) => filled += PAGE,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        filler.set_len(filled.saturating_sub(bytes.next_multiple_of(PAGE))).expect("a file can be cut");
    }

    /// Removes what fills it.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn clear(&self) {
        match fs::remove_file(self.at(FILLER)) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

//! A disk with little room: a file system of its own in memory, where this user may mount one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What fills the rest of a disk, and what takes its names.
const FILLER: &str = "filler";
const NAMES: &str = "names";

/// Names that a disk has.
const NAMES_MAX: u64 = 600;

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
        let options = format!("size={bytes},nr_inodes={NAMES_MAX}");
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
        let (piece, mut filled) = (vec![1; 64 * PAGE as usize], 0);
        let full = loop {
            match filler.write(&piece) {
                Ok(written) => filled += written as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        filler.set_len(filled.saturating_sub(bytes.next_multiple_of(PAGE))).expect("a file can be cut");
    }

    /// Takes all names for files and folders but so many; what took them before goes first.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn leave_names(&self, names: usize) {
        self.clear();
        let folder = self.at(NAMES);
        fs::create_dir(&folder).expect("a disk takes a folder");
        let name = |number: usize| folder.join(number.to_string());
        let (taken, full) = (0..)
            .find_map(|number| Some((number, File::create(name(number)).err()?)))
            .expect("names come to an end");
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        (0..names.min(taken)).for_each(|number| fs::remove_file(name(number)).expect("it was made just now"));
    }

    /// Removes what fills it.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn clear(&self) {
        for gone in [fs::remove_file(self.at(FILLER)), fs::remove_dir_all(self.at(NAMES))] {
            assert!(gone.as_ref().map_or_else(|e| e.kind() == ErrorKind::NotFound, |()| true), "{gone:?}");
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

//! Disks to test with: files that are images, and loop devices over them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::odd;
use tests::seawall::Machine;

pub(crate) const BLOCK: u64 = 64 << 10;

/// Runs a program of the system.
pub(crate) fn run(program: &str, words: &[&str]) -> Output {
    Command::new(program).args(words).output().unwrap_or_else(|why| panic!("{program}: {why}"))
}

/// Runs what must succeed, and gives what it printed.
pub(crate) fn done(program: &str, words: &[&str]) -> String {
    let output = run(program, words);
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn same_files(one: &Path, other: &Path) -> bool {
    run("cmp", &[text(one), text(other)]).status.success()
}

/// A loop device, gone when dropped.
pub(crate) struct Loop(PathBuf);

impl Loop {
    /// Over a file; `None`, said for `test`, where this machine does not give one.
    pub(crate) fn over(test: &str, file: &Path) -> Option<Loop> {
        let made = Command::new("losetup").args(["--find", "--show", text(file)]).output();
        let why = match made {
            Ok(output) if output.status.success() => {
                let name = String::from_utf8(output.stdout).unwrap();
                return Some(Loop(PathBuf::from(name.trim())));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(why) => why.to_string(),
        };
        tests::skipped(&format!("{test}: no loop device: {why}"));
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn name(&self) -> &str {
        text(&self.0)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let gone = run("losetup", &["--detach", text(&self.0)]);
        assert!(gone.status.success() || std::thread::panicking());
    }
}

/// Makes a file of `size` bytes that holds nothing yet.
pub(crate) fn empty(path: &Path, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

pub(crate) fn write(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Makes an image of blocks that differ, with a hole and a run of zeros, and an odd end.
pub(crate) fn image(path: &Path, blocks: u64) {
    empty(path, blocks * BLOCK + 1000);
    let third = blocks / 3 * BLOCK;
    write(path, 0, &odd::noise(blocks, usize::try_from(third).unwrap()));
    write(path, 2 * third, &odd::noise(blocks + 1, usize::try_from(third).unwrap()));
    write(path, 2 * third, &[0; 2 * 65536]);
    write(path, blocks * BLOCK, &[7; 1000]);
}

pub(crate) fn number(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"))
}

/// Asserts that a backup stored so many bytes of content, and besides only nodes of the tree.
pub(crate) fn assert_new(told: &Value, content: u64) {
    let new = number(told, "bytes_new");
    assert!((content..content + BLOCK / 2).contains(&new), "{content} bytes are new: {told}");
}

/// The point that a backup made.
pub(crate) fn point(told: &Value) -> String {
    told["point"].as_str().unwrap().to_owned()
}

/// Restores a point of one file, whose name this is, and compares.
pub(crate) fn assert_comes_back(machine: &Machine, point: &str, name: &str, truth: &Path) {
    let out = machine.at(&format!("out-{point}"));
    machine.done(&["restore", point, "--into", text(&out)]);
    assert!(same_files(&out.join(name), truth), "{point} is not {}", truth.display());
    fs::remove_dir_all(out).unwrap();
}

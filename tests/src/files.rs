//! Files of a repository as tests handle them: found, copied, damaged.

use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder, in order.
///
/// # Panics
///
/// If it cannot be read.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("its names can be read").path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Copies a folder with all below it.
///
/// # Panics
///
/// If it cannot be copied.
pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room for a folder");
    for entry in fs::read_dir(from).expect("the folder can be listed") {
        let entry = entry.expect("its names can be read");
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        if here.is_dir() {
            copy_all(&here, &there);
        } else {
            fs::copy(here, there).expect("a file can be copied");
        }
    }
}

/// The largest pack of a repository.
///
/// # Panics
///
/// If there is none.
pub fn largest_pack(repository: &Path) -> PathBuf {
    let size = |path: &PathBuf| fs::metadata(path).expect("it is there").len();
    below(&repository.join("packs")).into_iter().max_by_key(size).expect("there are packs")
}

/// Flips a bit at each of these places.
///
/// # Panics
///
/// If the file is shorter, or cannot be changed.
pub fn flip(path: &Path, places: impl IntoIterator<Item = usize>) {
    let mut bytes = fs::read(path).expect("the file can be read");
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(path, bytes).expect("the file can be written");
}

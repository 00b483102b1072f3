//! A backup and a restore as users run them, from the first look at the source to the last sync, and the comparison of
//! what came back with the source.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use repo::Repo;
use source::directory::Ownership;
use world::{Step, World};

use super::{Source, local};
use crate::backup::{self, backup};
use crate::error::Error;
use crate::restore::{self, restore};

/// Differences that are named; one is bad enough.
const NAMED_MAX: usize = 10;

/// Bytes that are compared at a time.
const COMPARED_BYTES: usize = 1 << 20;

/// What one backup or one restore took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Bytes of the source.
    pub bytes: u64,
    /// Time on the wall.
    pub time: Duration,
    /// What all cores together spent on it.
    pub cpu: Duration,
    /// The most memory that the process held meanwhile, in bytes, where the system tells.
    pub peak_bytes: Option<u64>,
}

impl Run {
    /// Bytes of the source a second.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64()
    }
}

/// A backup, and the restore of what it made.
#[derive(Debug)]
pub struct Whole {
    /// Threads that worked.
    pub cores: usize,
    /// The backup.
    pub backup: Run,
    /// The restore.
    pub restore: Run,
    /// Bytes that were stored.
    pub stored_bytes: u64,
    /// What came back other than it was; the first ten.
    pub differing: Vec<String>,
}

/// Backs `source` up into an empty repository with so many threads, restores it into the folder `into`, which it removes
/// again, and compares.
pub fn whole(repo: &Repo, source: &Source, into: &Path, cores: usize) -> Result<Whole, Error> {
    let world = repo.world();
    let request = backup::Request::of("bench", &source.folder, cores);
    let (made, backed_up) = measured(world, source.bytes, || backup(repo, request))?;
    repo.refresh()?;
    let point = repo.find_point(&made.point.to_string(), None)?;
    let request = restore::Request::of(point, into.to_owned(), Ownership::ByName, cores);
    let (restored, brought_back) = measured(world, source.bytes, || restore(repo, &request))?;
    let mut differing = compare(world, &source.folder, into)?;
    let told = made.problems.iter().chain(&restored.problems);
    differing.extend(told.take(NAMED_MAX).map(|problem| format!("{}: {}", problem.path, problem.what)));
    fs::remove_dir_all(into).map_err(local("remove", into))?;
    let (backup, restore, stored_bytes) = (backed_up, brought_back, made.sizes.bytes_stored);
    Ok(Whole { cores, backup, restore, stored_bytes, differing })
}

fn measured<T>(world: &World, bytes: u64, act: impl FnOnce() -> Result<T, Error>) -> Result<(T, Run), Error> {
    let is_fresh = fs::write("/proc/self/clear_refs", "5").is_ok();
    let (begun, cpu) = (world.monotonic(), world.cpu());
    let made = act()?;
    let time = world.monotonic().saturating_sub(begun);
    let cpu = world.cpu().saturating_sub(cpu);
    Ok((made, Run { bytes, time, cpu, peak_bytes: is_fresh.then(peak).flatten() }))
}

/// The most memory that this process held since it last asked to count anew.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What is not the same in two folders: names and contents.
fn compare(world: &World, source: &Path, restored: &Path) -> Result<Vec<String>, Error> {
    world.report(Step::Phase("comparing"));
    let (mut differing, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let (here, there) = (names(&source.join(&folder))?, names(&restored.join(&folder))?);
        for name in there.iter().filter(|name| here.binary_search(name).is_err()) {
            differing.push(format!("{}: it was not there before", folder.join(name).display()));
        }
        for name in here {
            if differing.len() >= NAMED_MAX {
                return Ok(differing);
            }
            if world.is_stopped() {
                return Err(Error::Stopped);
            }
            let path = folder.join(name);
            let (old, new) = (source.join(&path), restored.join(&path));
            let is_folder = old.is_dir();
            if is_folder && new.is_dir() {
                folders.push(path);
            } else if is_folder || !new.is_file() || !is_same(&old, &new)? {
                differing.push(format!("{}: it is not what it was", path.display()));
            }
        }
    }
    Ok(differing)
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, Error> {
    let listed = fs::read_dir(folder).map_err(local("list", folder))?;
    let names: Result<Vec<_>, _> = listed.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names.map_err(local("list", folder))?;
    names.sort_unstable();
    Ok(names)
}

fn is_same(one: &Path, other: &Path) -> Result<bool, Error> {
    let mut a = File::open(one).map_err(local("read", one))?;
    let mut b = File::open(other).map_err(local("read", other))?;
    let length = |file: &File, path| file.metadata().map(|meta| meta.len()).map_err(local("read", path));
    if length(&a, one)? != length(&b, other)? {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let read = a.read(&mut here).map_err(local("read", one))?;
        let room = there.get_mut(..read).unwrap_or_default();
        if b.read_exact(room).is_err() || here.get(..read) != Some(&*room) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

//! Where it is measured: a folder for what is read and restored, and below the place one for what is stored.
//!
//! Both get a name that was never there before and that says what they are. They are removed here, by listing what is
//! in them and nothing else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use format::id::hex;
use storage::{KeyPrefix, Location};

use crate::context::Context;
use crate::error::Error;
use crate::show;

/// Names of the repositories below the place: the one for all cores, and the one for one.
pub(super) const ALL: &str = "all";
pub(super) const ONE: &str = "one";

/// Room that is left alone.
const SPARE_BYTES: u64 = 256 << 20;

/// What was made for the measurement.
pub(super) struct Site {
    scratch: PathBuf,
    /// Where it is stored: what was asked for, or the scratch folder.
    to: Location,
    name: String,
    is_temporary: bool,
}

/// How much data there is room for, and where there is the least.
pub(super) struct Room {
    pub(super) bytes: u64,
    place: PathBuf,
    times: u64,
    free: u64,
}

impl Room {
    /// Why so much does not fit.
    pub(super) fn refuse(&self, asked: u64) -> Error {
        let (place, system) = (self.place.display(), file_system(&self.place));
        let (need, free) =
            (show::size(asked.saturating_mul(self.times).saturating_add(SPARE_BYTES)), show::size(self.free));
        let system = system.map(|system| format!(" ({system})")).unwrap_or_default();
        Error::Request(format!(
            "no room: {} of data need {need} in {place}{system}, where {free} are free; a smaller --size needs less",
            show::size(asked)
        ))
    }
}

impl Site {
    /// Makes the folders.
    pub(super) fn make(context: &Context, to: Option<&OsStr>) -> Result<Site, Error> {
        let name = format!("seawall-bench-{}-may-be-deleted", hex(&context.world.chance().bytes::<8>()));
        let place = to.map(place_typed).transpose()?;
        let scratch = std::env::temp_dir().join(&name);
        let make = |path: &Path| {
            fs::DirBuilder::new().mode(0o700).create(path).map_err(Error::local("make the folder", path))
        };
        make(&scratch)?;
        let to =
            place.clone().map_or_else(|| scratch.join("repository").into(), |place| beneath(&place, &name));
        let site = Site { scratch, to, name, is_temporary: place.is_none() };
        if let Some(path) = site.to.as_local()
            && let Err(error) = make(path)
        {
            let _ = fs::remove_dir(&site.scratch);
            return Err(error);
        }
        Ok(site)
    }

    /// A folder for data.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The folder for what this host knows of a repository.
    pub(super) fn state(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("state-{name}"))
    }

    /// Where a repository goes.
    pub(super) fn place(&self, name: &str) -> Location {
        beneath(&self.to, name)
    }

    /// Where it is stored, for people: without the name that will be gone.
    pub(super) fn shown(&self) -> String {
        match &self.to {
            _ if self.is_temporary => std::env::temp_dir().display().to_string(),
            Location::Local(path) => path.parent().unwrap_or(path).display().to_string(),
            other => other.to_string().replacen(&format!("/{}", self.name), "", 1),
        }
    }

    /// The file system that it is stored on, if it is one.
    pub(super) fn stored_on(&self) -> Option<String> {
        if self.is_temporary {
            return file_system(&std::env::temp_dir());
        }
        file_system(self.to.as_local()?.parent()?)
    }

    /// Where data is read from and restored to, and the file system there.
    pub(super) fn scratch(&self) -> (PathBuf, Option<String>) {
        let above = std::env::temp_dir();
        let system = file_system(&above);
        (above, system)
    }

    /// How much data there is room for: it lies there itself, and what is restored; and what is stored, twice as what
    /// each stage makes comes beside it, but then nothing is restored.
    pub(super) fn room_for(&self) -> Result<Room, Error> {
        let stored = self.to.as_local().and_then(Path::parent).map(Path::to_owned);
        let is_same = stored.as_ref().is_some_and(|path| device(path) == device(&self.scratch));
        let scratch = room(&self.scratch, if is_same { 3 } else { 2 })?;
        match stored.filter(|_| !is_same) {
            Some(stored) => {
                let there = room(&stored, 2)?;
                Ok(if there.bytes < scratch.bytes { there } else { scratch })
            }
            None => Ok(scratch),
        }
    }

    /// Removes what was stored in one of the repositories.
    pub(super) fn clear_place(&self, context: &Context, name: &str) -> Result<(), Error> {
        let place = self.place(name);
        if let Some(path) = place.as_local() {
            return remove(path);
        }
        let io = context.io_at(&place)?;
        for object in io.list(&KeyPrefix::all())? {
            io.delete(&object.key)?;
        }
        Ok(())
    }

    /// Removes everything; where that fails, says what lies where.
    pub(super) fn clear(&self, context: &Context) -> Result<(), String> {
        let mut lies = Vec::new();
        for name in [ALL, ONE] {
            if let Err(error) = self.clear_place(context, name) {
                lies.push(format!("{}: {}", self.place(name), error.sentence()));
            }
        }
        for folder in self.to.as_local().into_iter().chain([self.scratch.as_path()]) {
            if let Err(error) = remove(folder) {
                lies.push(format!("{}: {}", folder.display(), error.sentence()));
            }
        }
        match lies.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "what was made for the measurement could not be removed; nobody needs it: {}",
                lies.join("; ")
            )),
        }
    }
}

/// The place that was named. A directory must be there: one that is made because of a typing error would not be missed.
fn place_typed(typed: &OsStr) -> Result<Location, Error> {
    let place: Location = match typed.to_str() {
        Some(text) => text.parse()?,
        None => PathBuf::from(typed).into(),
    };
    match place.as_local() {
        Some(path) if !path.is_dir() => {
            Err(Error::Request(format!("--to: there is no directory {}", path.display())))
        }
        Some(path) => Ok(std::path::absolute(path).map_err(Error::local("find", path))?.into()),
        None => Ok(place),
    }
}

fn beneath(place: &Location, name: &str) -> Location {
    let mut place = place.clone();
    match &mut place {
        Location::Local(path) => path.push(name),
        Location::S3(bucket) | Location::Gcs(bucket) | Location::Azure(bucket) => {
            let slash = if bucket.prefix.is_empty() { "" } else { "/" };
            bucket.prefix = format!("{}{slash}{name}", bucket.prefix);
        }
    }
    place
}

/// Removes a folder of ours with all that is in it; one that is gone is no error.
fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::local("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.dev())
}

fn room(path: &Path, times: u64) -> Result<Room, Error> {
    let told =
        rustix::fs::statvfs(path).map_err(|errno| Error::local("look at the room in", path)(errno.into()))?;
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    Ok(Room {
        bytes: free.saturating_sub(SPARE_BYTES) / times,
        place: path.parent().unwrap_or(path).to_owned(),
        times,
        free,
    })
}

/// The kind of file system that a path is on, as the system calls it.
fn file_system(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    of_mounts(&mounts, &path)
}

/// Of the mount points that lead to the path the longest, and of equal ones the last, counts.
fn of_mounts(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let (before, after) = line.split_once(" - ")?;
        let (point, kind) = (before.split(' ').nth(4)?, after.split(' ').next()?);
        if path.starts_with(point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_below_a_place_keeps_all_else() {
        for (place, expected) in [
            ("/srv", "/srv/x"),
            ("s3://b", "s3://b/x"),
            ("s3://b/p?endpoint=http://h:1&region=r", "s3://b/p/x?endpoint=http://h:1&region=r"),
            ("az://c/p?account=a", "az://c/p/x?account=a"),
        ] {
            assert_eq!(beneath(&place.parse().unwrap(), "x").to_string(), expected);
        }
    }

    #[test]
    fn the_nearest_mount_tells_the_file_system() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /dev/shm rw shared:3 - tmpfs tmpfs rw\n\
                      3 1 0:6 / /dev rw - devtmpfs x rw\n4 1 8:2 / / rw - xfs /dev/b rw\n";
        for (path, kind) in
            [("/dev/shm/a", "tmpfs"), ("/dev/null", "devtmpfs"), ("/device", "xfs"), ("/", "xfs")]
        {
            assert_eq!(of_mounts(mounts, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
    }
}

//! Where the server of the tests keeps objects: in memory, or as files beneath a directory that outlive it.
//!
//! One lock holds the index, and a condition is checked under it, so of racing writers exactly one wins. An
//! object's file is its key with `@` after the last component: so `a` and `a/b` can both exist, as they can
//! in S3.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified_ns: i64,
    bytes: Where,
}

#[derive(Clone, Debug)]
enum Where {
    Memory(Bytes),
    File(PathBuf),
}

/// What must hold for a write to happen.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Always,
    Absent,
    /// The object has this tag; any object without one.
    Tag(Option<String>),
}

/// Why something is not done.
#[derive(Debug)]
pub(super) enum Refusal {
    NoBucket,
    NoObject,
    Condition,
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Refusal {
        Refusal::Io(e)
    }
}

type Bucket = BTreeMap<String, Kept>;

#[derive(Debug)]
pub(super) struct Shelf {
    directory: Option<PathBuf>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    stored: AtomicU64,
}

impl Shelf {
    pub(super) fn open(directory: Option<&Path>) -> io::Result<Shelf> {
        let shelf = Shelf {
            directory: directory.map(Path::to_owned),
            buckets: Mutex::default(),
            stored: AtomicU64::new(0),
        };
        if let Some(directory) = directory {
            fs::create_dir_all(directory.join(".incoming"))?;
            for entry in fs::read_dir(directory)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    let bucket = found_in(&directory.join(&name))?;
                    shelf.buckets().insert(name, bucket);
                }
            }
        }
        Ok(shelf)
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().expect("no holder of this lock panics")
    }

    pub(super) fn add_bucket(&self, name: &str) -> io::Result<()> {
        if let Some(directory) = &self.directory {
            fs::create_dir_all(directory.join(name))?;
        }
        self.buckets().entry(name.to_owned()).or_default();
        Ok(())
    }

    pub(super) fn bucket_names(&self) -> Vec<String> {
        self.buckets().keys().cloned().collect()
    }

    pub(super) fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        condition: &Condition,
        modified_ns: i64,
    ) -> Result<Kept, Refusal> {
        let number = self.stored.fetch_add(1, Ordering::Relaxed);
        let etag = format!("{modified_ns:016x}{number:016x}");
        let size = bytes.len() as u64;
        let staged = self.staged(number, &bytes)?;
        let mut buckets = self.buckets();
        let objects = buckets.get_mut(bucket).ok_or(Refusal::NoBucket)?;
        let there = objects.get(key).map(|kept| &kept.etag);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => there.is_none(),
            Condition::Tag(wanted) => {
                there.is_some_and(|tag| wanted.as_ref().is_none_or(|wanted| wanted == tag))
            }
        };
        if !holds {
            return Err(Refusal::Condition);
        }
        let bytes = match staged.zip(self.directory.as_ref()) {
            None => Where::Memory(bytes),
            Some((staged, directory)) => Where::File(published(&staged, &directory.join(bucket), key)?),
        };
        let kept = Kept { size, etag, modified_ns, bytes };
        objects.insert(key.to_owned(), kept.clone());
        Ok(kept)
    }

    fn staged(&self, number: u64, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(".incoming").join(number.to_string());
        fs::write(&path, bytes)?;
        Ok(Some(path))
    }

    pub(super) fn find(&self, bucket: &str, key: &str) -> Result<Kept, Refusal> {
        let buckets = self.buckets();
        let objects = buckets.get(bucket).ok_or(Refusal::NoBucket)?;
        objects.get(key).cloned().ok_or(Refusal::NoObject)
    }

    /// Removes an object if it is there.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> Result<(), Refusal> {
        let mut buckets = self.buckets();
        let objects = buckets.get_mut(bucket).ok_or(Refusal::NoBucket)?;
        if let Some(Kept { bytes: Where::File(path), .. }) = objects.remove(key) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// The keys from `after` (exclusive) on that begin with `prefix`, in order.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: &str,
    ) -> Result<Vec<(String, Kept)>, Refusal> {
        use std::ops::Bound;
        let buckets = self.buckets();
        let objects = buckets.get(bucket).ok_or(Refusal::NoBucket)?;
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let from = objects.range::<str, _>((start, Bound::Unbounded));
        let ours = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(ours.map(|(key, kept)| (key.clone(), kept.clone())).collect())
    }
}

impl Kept {
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        match &self.bytes {
            Where::Memory(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
            Where::File(path) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                fs::File::open(path)?.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes.into())
            }
        }
    }
}

/// Gives a staged file the name of its key.
fn published(staged: &Path, bucket: &Path, key: &str) -> io::Result<PathBuf> {
    let path = bucket.join(format!("{key}@"));
    fs::create_dir_all(path.parent().expect("it lies in the bucket"))?;
    fs::rename(staged, &path)?;
    Ok(path)
}

/// What an earlier server left in a bucket's directory.
fn found_in(directory: &Path) -> io::Result<Bucket> {
    let mut objects = Bucket::new();
    let mut dirs = vec![directory.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).expect("it was found beneath").to_string_lossy();
            let Some(key) = name.strip_suffix('@') else { continue };
            let meta = path.metadata()?;
            let modified_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
            let etag = format!("{modified_ns:016x}{:016x}", meta.ino());
            let kept = Kept { size: meta.len(), etag, modified_ns, bytes: Where::File(path.clone()) };
            objects.insert(key.to_owned(), kept);
        }
    }
    Ok(objects)
}

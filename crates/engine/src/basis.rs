//! What this host remembers of a point it made: every entry with its content and what tells whether it changed.
//!
//! Inode and ctime mean something on this machine only, so they are kept here and not in the repository. The file is a
//! cache: it names its point, ends with its own hash, and whatever is wrong with it means that everything is read again.
//! Files that were touched within the last clock tick before they were read are never believed unchanged.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use format::id::{PackId, PointId};
use format::meta::{FileTime, Kind, Meta};
use format::tree::{Entry, decode_entry, encode_entry};
use source::directory::Found;

const MAGIC: &[u8; 16] = b"seawall basis 4\n";

/// Longest record; an entry is at most a node long.
const RECORD_BYTES_MAX: u32 = 1 << 20;

/// Bits of what is remembered of a file.
const SETTLED: u8 = 1;
const IMAGE: u8 = 2;

/// A file in more packs is read again each time: 32 TiB of new data.
const PACKS_MAX: u32 = 1 << 20;

/// By which a file is known again on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    inode: u64,
    ctime: FileTime,
    settled: bool,
    /// Whether its content was cut as that of an image.
    image: bool,
    /// All packs that the content lies in, where the entry itself does not name them.
    packs: Vec<PackId>,
}

impl Seen {
    /// What a walk that began at `scan_start` saw.
    pub(crate) fn of(found: &Found, scan_start: FileTime) -> Seen {
        Seen {
            inode: found.identity.inode,
            ctime: found.identity.ctime,
            settled: found.settled(scan_start),
            image: found.image,
            packs: Vec::new(),
        }
    }
}

impl Seen {
    /// The same, with all packs that the content lies in.
    pub(crate) fn with_packs(self, packs: Vec<PackId>) -> Seen {
        Seen { packs, ..self }
    }
}

/// One entry as it was.
struct Remembered {
    entry: Entry,
    seen: Seen,
}

/// A remembered point, read along with a walk in the same order.
pub(crate) struct Basis {
    input: BufReader<File>,
    left: u64,
    next: Option<Remembered>,
}

impl Basis {
    /// Opens what is remembered of `point`; `None` if it is not that, or not whole.
    pub(crate) fn open(path: &Path, point: PointId) -> Option<Basis> {
        let mut file = File::open(path).ok()?;
        let left = whole(&mut file, point)?;
        let mut basis = Basis { input: BufReader::with_capacity(1 << 18, file), left, next: None };
        basis.advance();
        Some(basis)
    }

    /// The point that a file remembers, if it is one of these files.
    pub(crate) fn point_in(path: &Path) -> Option<PointId> {
        Some(head_of(&mut File::open(path).ok()?)?.0)
    }

    /// Which run of its source made a file, if it is one of these files.
    pub(crate) fn run_in(path: &Path) -> Option<u32> {
        Some(head_of(&mut File::open(path).ok()?)?.1)
    }

    /// The entry of a file that has not changed since, the packs that it does not name itself, and whether it was cut as it
    /// would be cut now. Paths must be asked for in order.
    pub(crate) fn unchanged(&mut self, found: &Found) -> Option<(Entry, Vec<PackId>, bool)> {
        while self.next.as_ref().is_some_and(|next| next.entry.path < found.path) {
            self.advance();
        }
        let same = |old: &mut Remembered| {
            let (was, is) = (&old.entry.meta, &found.meta);
            old.entry.path == found.path
                && old.seen.settled
                && (old.seen.image || !found.image)
                && (was.kind, was.size, was.mtime) == (is.kind, is.size, is.mtime)
                && (old.seen.inode, old.seen.ctime) == (found.identity.inode, found.identity.ctime)
                && is.kind == Kind::File
        };
        let old = self.next.take_if(same)?;
        self.advance();
        // A change of an attribute would have changed the ctime.
        let meta = Meta { xattrs: old.entry.meta.xattrs, ..found.meta.clone() };
        let entry = Entry { path: old.entry.path, meta, content: old.entry.content };
        Some((entry, old.seen.packs, old.seen.image == found.image))
    }

    fn advance(&mut self) {
        self.next = self.read_record();
    }

    fn read_record(&mut self) -> Option<Remembered> {
        const HEAD: u64 = 4 + 8 + 8 + 4 + 1 + 4;
        let mut head = [0; HEAD as usize];
        if self.left < HEAD {
            return None;
        }
        self.input.read_exact(&mut head).ok()?;
        let (length, rest) = head.split_first_chunk::<4>()?;
        let (inode, rest) = rest.split_first_chunk::<8>()?;
        let (seconds, rest) = rest.split_first_chunk::<8>()?;
        let (nanos, rest) = rest.split_first_chunk::<4>()?;
        let (settled, count) = rest.split_first_chunk::<1>()?;
        let (length, count) = (u32::from_le_bytes(*length), u32::from_le_bytes(*count.first_chunk()?));
        if length > RECORD_BYTES_MAX || count > PACKS_MAX {
            return None;
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes).ok()?;
        let mut packs = vec![0; count as usize * 32];
        self.input.read_exact(&mut packs).ok()?;
        self.left = self.left.checked_sub(HEAD + u64::from(length) + packs.len() as u64)?;
        Some(Remembered {
            entry: decode_entry(&bytes).ok()?,
            seen: Seen {
                inode: u64::from_le_bytes(*inode),
                ctime: FileTime { seconds: i64::from_le_bytes(*seconds), nanos: u32::from_le_bytes(*nanos) },
                settled: settled[0] & SETTLED != 0,
                image: settled[0] & IMAGE != 0,
                packs: packs.as_chunks::<32>().0.iter().map(|id| PackId(*id)).collect(),
            },
        })
    }
}

/// Bytes before the first record: magic, point, run.
const HEAD_BYTES: u64 = 16 + 16 + 4;

/// The point and the run that a file is of.
fn head_of(file: &mut File) -> Option<(PointId, u32)> {
    let mut head = [0; HEAD_BYTES as usize];
    file.read_exact(&mut head).ok()?;
    let (point, run) = head.strip_prefix(MAGIC)?.split_first_chunk()?;
    Some((PointId(*point), u32::from_le_bytes(run.try_into().ok()?)))
}

/// The length of the records, if the file is of this point and ends with its hash. Leaves it at the first record.
fn whole(file: &mut File, point: PointId) -> Option<u64> {
    if head_of(file)?.0 != point {
        return None;
    }
    file.rewind().ok()?;
    let mut head = [0; HEAD_BYTES as usize];
    file.read_exact(&mut head).ok()?;
    let length = file.metadata().ok()?.len().checked_sub(HEAD_BYTES + 32)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    let mut buffer = vec![0; 1 << 18];
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        let part = buffer.get_mut(..want)?;
        file.read_exact(part).ok()?;
        hasher.update(part);
        left -= want as u64;
    }
    let mut hash = [0; 32];
    file.read_exact(&mut hash).ok()?;
    file.seek(SeekFrom::Start(HEAD_BYTES)).ok()?;
    (hasher.finalize().as_bytes() == &hash).then_some(length)
}

/// Writes what is to be remembered of a point while it is made. Errors are kept: a cache that cannot be written is not
/// there next time, and nothing else.
pub(crate) struct Recorder {
    part: PathBuf,
    output: Option<BufWriter<Hashed>>,
}

/// A file and the hash of what was written to it; what comes in long pieces is hashed fast.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Recorder {
    /// Starts a record of `point` beside `path`.
    pub(crate) fn start(path: &Path, point: PointId, run: u32) -> Recorder {
        let part = path.with_extension(format!("part{}", std::process::id()));
        let mut recorder = Recorder { output: create(&part), part };
        recorder.write(&[MAGIC, point.as_bytes(), &run.to_le_bytes()]);
        recorder
    }

    /// Remembers an entry.
    pub(crate) fn push(&mut self, entry: &Entry, seen: &Seen) {
        let bytes = encode_entry(entry);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let count = u32::try_from(seen.packs.len()).unwrap_or(u32::MAX);
        if length > RECORD_BYTES_MAX || count > PACKS_MAX {
            return;
        }
        let packs: Vec<u8> = seen.packs.iter().flat_map(|pack| *pack.as_bytes()).collect();
        self.write(&[
            &length.to_le_bytes(),
            &seen.inode.to_le_bytes(),
            &seen.ctime.seconds.to_le_bytes(),
            &seen.ctime.nanos.to_le_bytes(),
            &[(u8::from(seen.settled) * SETTLED) | (u8::from(seen.image) * IMAGE)],
            &count.to_le_bytes(),
            &bytes,
            &packs,
        ]);
    }

    /// Puts the record in its place, under each of these names; answers whether it is under one of them.
    pub(crate) fn finish(mut self, paths: &[PathBuf]) -> bool {
        let Some(output) = self.output.take() else { return false };
        let done = output.into_inner().is_ok_and(|mut hashed| {
            let hash = hashed.hasher.finalize();
            hashed.file.write_all(hash.as_bytes()).is_ok()
        });
        let mut kept = false;
        for path in paths.iter().filter(|_| done) {
            let copy = path.with_extension(format!("link{}", std::process::id()));
            kept |= std::fs::hard_link(&self.part, &copy).and_then(|()| std::fs::rename(&copy, path)).is_ok();
        }
        let _ = std::fs::remove_file(&self.part);
        kept
    }

    fn write(&mut self, parts: &[&[u8]]) {
        let Some(output) = &mut self.output else { return };
        if parts.iter().any(|part| output.write_all(part).is_err()) {
            self.output = None;
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// A record that was begun and not finished is of no use.
impl Drop for Recorder {
    fn drop(&mut self) {
        if self.output.take().is_some() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

fn create(part: &Path) -> Option<BufWriter<Hashed>> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(part.parent()?).ok()?;
    let file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part).ok()?;
    Some(BufWriter::with_capacity(1 << 18, Hashed { file, hasher: blake3::Hasher::new() }))
}

/// Where the records of a source are: of its newest point, and of its newest full one.
pub(crate) struct Places {
    /// The newest point.
    pub(crate) last: PathBuf,
    /// The newest full point.
    pub(crate) full: PathBuf,
}

impl Places {
    pub(crate) fn of(state: &repo::State, source: &str) -> Places {
        let name = format!("{:.32}", format::id::Hash::of(source.as_bytes()).to_string());
        let dir = state.path("basis");
        Places { last: dir.join(format!("{name}.last")), full: dir.join(format!("{name}.full")) }
    }
}

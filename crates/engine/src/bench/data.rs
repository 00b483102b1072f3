//! The data that is measured with: made up, the same bytes each time, or copied from a directory.
//!
//! It lies in a folder of its own and is on the disk before anything is measured, so that the system does not write it
//! meanwhile.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use format::meta::Kind;
use rayon::prelude::*;
use source::directory::{Found, Item, Selection, scan};
use world::{Chance, Step, World};

use super::local;
use crate::error::Error;

/// Bytes that one thread makes up or copies at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Words that lines of the made-up log are put together from.
const WORDS: u64 = 3000;

/// What to measure with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// One file that nothing makes smaller.
    Random,
    /// One file of log lines, no two of them alike.
    Text,
    /// The regular files of a directory.
    Directory(PathBuf),
}

/// Data that is ready.
#[derive(Debug)]
pub struct Source {
    /// Where it lies.
    pub folder: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files of the directory that could not be read, and were left out.
    pub unreadable: u64,
}

/// Makes up or copies at most `size` bytes into `folder`, which must not exist yet. Of a directory the first files in path
/// order are taken, the last one in part.
pub fn prepare(world: &World, data: &Data, size: u64, folder: &Path) -> Result<Source, Error> {
    world.report(Step::Phase("preparing data"));
    fs::create_dir(folder).map_err(local("make", folder))?;
    let mut source = Source { folder: folder.to_owned(), files: 0, bytes: 0, unreadable: 0 };
    match data {
        Data::Random => make(world, &folder.join("random"), size, &random)?,
        Data::Text => {
            let words = words();
            make(world, &folder.join("text.log"), size, &|piece, into| log_lines(&words, piece, into))?;
        }
        Data::Directory(dir) => copy_all(world, dir, size, &mut source)?,
    }
    if !matches!(data, Data::Directory(_)) {
        (source.files, source.bytes) = (1, size);
    }
    if source.bytes == 0 {
        return Err(Error::Request("there is no content to measure with: no file, or all are empty".into()));
    }
    Ok(source)
}

/// Fills a file piece by piece, on all cores.
fn make(world: &World, path: &Path, size: u64, fill: &(dyn Fn(u64, &mut [u8]) + Sync)) -> Result<(), Error> {
    let file = File::create_new(path).map_err(local("make", path))?;
    world.report(Step::Expect { items: 1, bytes: size });
    (0..size.div_ceil(PIECE_BYTES)).into_par_iter().try_for_each(|number| {
        if world.is_stopped() {
            return Err(Error::Stopped);
        }
        let from = number * PIECE_BYTES;
        let length = PIECE_BYTES.min(size - from);
        let mut piece = vec![0; usize::try_from(length).expect("a piece is small")];
        fill(number, &mut piece);
        file.write_all_at(&piece, from).map_err(local("write", path))?;
        world.report(Step::Done { items: 0, bytes: length });
        Ok(())
    })?;
    file.sync_all().map_err(local("write", path))
}

/// Chance that is the same in each run, so that figures can be compared.
fn chance(what: &str, number: u64) -> Chance {
    let mut key = [0; 32];
    let seed = what.bytes().chain(number.to_le_bytes());
    key.iter_mut().zip(seed).for_each(|(to, from)| *to = from);
    Chance::from_key(key)
}

fn random(number: u64, into: &mut [u8]) {
    let mut chance = chance("random", number);
    for part in into.chunks_mut(4096) {
        part.copy_from_slice(&chance.bytes::<4096>()[..part.len()]);
    }
}

fn words() -> Vec<String> {
    let mut chance = chance("words", 0);
    let mut letter = move || char::from(b'a' + u8::try_from(chance.below(26)).expect("26 fit into a byte"));
    (0..WORDS).map(|word| (0..3 + word % 7).map(|_| letter()).collect()).collect()
}

/// Numbers that are as good as chance for lines of a log, and quickly had: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Lines with time, host, request, size and duration; the piece's number is in each, so none comes twice.
fn log_lines(words: &[String], number: u64, into: &mut [u8]) {
    const VERBS: [&str; 3] = ["GET", "PUT", "HEAD"];
    const STATES: [u16; 6] = [200, 200, 200, 204, 404, 503];
    let (mut dice, mut lines, mut line) = (Dice(number << 32), Vec::with_capacity(into.len() + 128), 0_u64);
    let pick = |dice: &mut Dice, count: usize| usize::try_from(dice.below(count as u64)).unwrap_or(0);
    while lines.len() < into.len() {
        let request = (number << 15) + line;
        let second = 1_750_000_000 + request * 3 / 10;
        let (node, verb, state) = (dice.below(32), VERBS[pick(&mut dice, 3)], STATES[pick(&mut dice, 6)]);
        let path = [(); 3].map(|()| words[pick(&mut dice, words.len())].as_str());
        let (bytes, took) = (dice.below(1 << 20), dice.below(50_000));
        let [a, b, c] = path;
        writeln!(
            lines,
            "{second} node-{node:02} {verb} /{a}/{b}/{c} {state} {bytes} B {}.{:02} ms #{request}",
            took / 100,
            took % 100
        )
        .expect("memory takes what is written");
        line += 1;
    }
    into.copy_from_slice(&lines[..into.len()]);
}

/// Copies files until `size` is reached.
fn copy_all(world: &World, dir: &Path, size: u64, source: &mut Source) -> Result<(), Error> {
    let never = vec![source.folder.clone()];
    let selection = Selection { never, ..Selection::of(vec![dir.to_owned()]) };
    for item in scan(&selection, world)? {
        if world.is_stopped() {
            return Err(Error::Stopped);
        }
        if source.bytes == size {
            break;
        }
        match item {
            Item::Entry(found) if found.meta.kind == Kind::File => {
                copy(world, &found, size - source.bytes, source)?
            }
            Item::Entry(found) if found.meta.kind == Kind::Directory && !found.path.is_root() => {
                let made = source.folder.join(OsStr::from_bytes(found.path.as_bytes()));
                fs::create_dir(&made).map_err(local("make", &made))?;
            }
            Item::Problem(_) => source.unreadable += 1,
            Item::Entry(_) | Item::Skipped(_) => {}
        }
    }
    Ok(())
}

/// Copies at most `most` bytes of a file; one that cannot be read is counted, and what was copied of it stays.
fn copy(world: &World, found: &Found, most: u64, source: &mut Source) -> Result<(), Error> {
    let Ok(reader) = found.open() else {
        source.unreadable += 1;
        return Ok(());
    };
    let path = source.folder.join(OsStr::from_bytes(found.path.as_bytes()));
    let mut file = File::create_new(&path).map_err(local("make", &path))?;
    let mut buffer = vec![0; usize::try_from(PIECE_BYTES.min(found.meta.size).min(most)).unwrap_or(1)];
    let (mut at, end) = (0, found.meta.size.min(most));
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
        let room = buffer.get_mut(..want).unwrap_or_default();
        match reader.read_at(at, room) {
            Ok(0) => break,
            Ok(read) => {
                file.write_all(&room[..read]).map_err(local("write", &path))?;
                at += read as u64;
            }
            Err(_) => {
                source.unreadable += 1;
                break;
            }
        }
    }
    source.files += 1;
    source.bytes += at;
    world.report(Step::Done { items: 1, bytes: at });
    Ok(())
}

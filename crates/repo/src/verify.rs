//! Proving that a point can be brought back; the levels are those of the glossary.
//!
//! L0: every pack that the point needs is there with the right size. L1: and every byte of them hashes to what the log
//! says. L2: the tree is whole, every chunk lies where its reference says, by id and length, the frame lists that sweeps
//! rely on agree with the tree, and the log up to the point has no gap. L2 reads the tree, not the content. A verdict is
//! written down as a fact whatever it says.

use std::collections::{BTreeMap, BTreeSet};

use format::fact::{Fact, Verified};
use format::id::{Hash, PackId};
use format::limit::RUN_BYTES_MAX;
use format::reference::{FrameId, FrameSet, Reference};
use format::session::Purpose;
use format::tree::{Content, Part, Walk, content_parts, decode_content};

use storage::ObjectKey;

use crate::error::Error;
use crate::fold::{Finding, PointRecord};
use crate::layout;
use crate::reader::Reader;
use crate::repo::Repo;
use crate::session::Session;

/// How much is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Objects are there, with the right size.
    L0,
    /// Every byte of them was hashed.
    L1,
    /// The tree is whole and leads to what is there.
    L2,
}

impl Level {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Level::L0 => 0,
            Level::L1 => 1,
            Level::L2 => 2,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, in sentences; the point can be brought back if there are none.
    pub problems: Vec<String>,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Verdict {
    fn tell(&mut self, what: impl ToString) {
        let what = what.to_string();
        if !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }
}

const NOT_AS_LOGGED: &str = "it does not hash to what the log says";

/// Proves a point at one level, and writes the verdict down where this host may write.
pub fn verify(repo: &Repo, point: &PointRecord, level: Level) -> Result<Verdict, Error> {
    let session = announce(repo, point)?;
    let reader = Reader::new(repo)?;
    let mut check = Check { repo, reader: &reader, verdict: Verdict::default() };
    check.run(point, level)?;
    let verdict = check.verdict;
    if let Some(mut session) = session {
        let fact = Fact::Verified(Verified {
            point: point.point.id,
            level: level.number(),
            region: repo.io.region_name().to_owned(),
            time: repo.world.now_ns(),
            problems: verdict.problems.len() as u64,
            objects: verdict.objects,
            bytes: verdict.bytes,
        });
        session.commit(vec![fact], Vec::new(), BTreeSet::new(), true)?;
    }
    Ok(verdict)
}

/// Looks at the chunk index, which only backups need: runs that are not there, or whose bytes (from L1 on) are not those
/// that the log names. Problems are sentences.
pub fn verify_index(repo: &Repo, level: Level) -> Result<Verdict, Error> {
    let (fold, io) = (repo.fold(), &repo.io);
    let mut verdict = Verdict::default();
    let listed: BTreeMap<ObjectKey, u64> =
        io.list(&layout::runs())?.into_iter().map(|object| (object.key, object.size)).collect();
    let mut whole = Vec::new();
    let mut hashes = BTreeMap::new();
    for (id, record) in &fold.runs {
        let key = layout::run(record.of.0, record.of.1, *id);
        match listed.get(&key) {
            Some(size) if *size == record.size => {
                verdict.objects += 1;
                hashes.insert(key.clone(), record.hash);
                whole.push((key, *size));
            }
            Some(size) => {
                verdict.tell(io.damaged(&key, format!("it has {size} bytes instead of {}", record.size)))
            }
            None => verdict.tell(io.damaged(&key, "it is not there")),
        }
    }
    if level == Level::L0 {
        return Ok(verdict);
    }
    let mut failed = None;
    io.get_each(whole, RUN_BYTES_MAX, |key, bytes| match bytes {
        Ok(bytes) if Hash::of(&bytes) == hashes[&key] => verdict.bytes += bytes.len() as u64,
        Ok(_) => verdict.tell(io.damaged(&key, NOT_AS_LOGGED)),
        Err(error) if error.is_about_object() => verdict.tell(error),
        Err(error) => drop(failed.get_or_insert(error)),
    });
    failed.map_or(Ok(verdict), Err)
}

/// A session, so that no sweep takes the point from under the check; without a right to write there is none.
fn announce<'r>(repo: &'r Repo, point: &PointRecord) -> Result<Option<Session<'r>>, Error> {
    let signer = match repo.enrolled_signer() {
        Ok(signer) => signer,
        Err(Error::NotAllowed { .. } | Error::Keys(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let roots = BTreeSet::from([point.point.id]);
    Session::open(repo, signer, Purpose::Read, roots).map(Some)
}

struct Check<'a, 'r> {
    repo: &'r Repo,
    reader: &'a Reader<'r>,
    verdict: Verdict,
}

impl Check<'_, '_> {
    fn run(&mut self, point: &PointRecord, level: Level) -> Result<(), Error> {
        let needed = self.closure(point)?;
        match level {
            Level::L0 => self.sizes(&needed),
            Level::L1 => self.hashes(&needed),
            Level::L2 => {
                self.sizes(&needed)?;
                self.tree(point, &needed)?;
                self.log(point);
                Ok(())
            }
        }
    }

    fn problem(&mut self, what: impl ToString) {
        self.verdict.tell(what);
    }

    /// A damaged object is a problem, anything else ends the check.
    fn tolerate<T>(&mut self, outcome: Result<T, Error>) -> Result<Option<T>, Error> {
        use world::{Remedied, Remedy};
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.remedy() == Remedy::Repair => {
                self.problem(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All frames that the point needs, by the lists in the directories alone.
    fn closure(&mut self, point: &PointRecord) -> Result<BTreeSet<FrameId>, Error> {
        let mut needed = BTreeSet::new();
        let mut open = vec![point.point.root.frame()];
        while let Some(frame) = open.pop() {
            if !needed.insert(frame) {
                continue;
            }
            let located = self.reader.locate(frame);
            if let Some((_, found)) = self.tolerate(located)? {
                open.extend(found.refs.iter().filter(|frame| !needed.contains(frame)));
            }
        }
        Ok(needed)
    }

    /// Packs in which the needed frames lie.
    fn packs(&mut self, needed: &BTreeSet<FrameId>) -> Result<BTreeMap<PackId, u64>, Error> {
        let mut packs = BTreeMap::new();
        for frame in needed {
            let located = self.reader.locate(*frame);
            if let Some((pack, _)) = self.tolerate(located)?
                && let Some(id) = layout::parse_pack(pack.key.as_str())
            {
                packs.insert(id, pack.size);
            }
        }
        Ok(packs)
    }

    /// Opening a directory has already compared the size with the log.
    fn sizes(&mut self, needed: &BTreeSet<FrameId>) -> Result<(), Error> {
        let packs = self.packs(needed)?;
        self.verdict.objects += packs.len() as u64;
        Ok(())
    }

    fn hashes(&mut self, needed: &BTreeSet<FrameId>) -> Result<(), Error> {
        let (fold, io) = (self.repo.fold(), &self.repo.io);
        for (pack, size) in self.packs(needed)? {
            let key = layout::pack(pack);
            let fetched = io.get_small(&key, size).map_err(|e| io.missing(e, &key));
            let Some(bytes) = self.tolerate(fetched)? else { continue };
            self.verdict.objects += 1;
            self.verdict.bytes += bytes.len() as u64;
            match fold.packs.get(&pack) {
                Some(record) if Hash::of(&bytes) == record.hash => {}
                Some(_) => self.problem(io.damaged(&key, NOT_AS_LOGGED)),
                None => self.problem(io.damaged(&key, "no entry of the log brings it")),
            }
        }
        Ok(())
    }

    /// Walks the tree: nodes are checked by id, references against directories, frame lists against the tree.
    fn tree(&mut self, point: &PointRecord, needed: &BTreeSet<FrameId>) -> Result<(), Error> {
        let reader = self.reader;
        let mut led_to = FrameSet::default();
        led_to.insert(point.point.root.frame());
        for entry in Walk::new(reader, point.point.root) {
            let Some(entry) = self.tolerate(entry)? else { continue };
            for extent in content_parts(reader, &entry) {
                let Some(extent) = self.tolerate(extent)? else { break };
                if let Some(reference) = extent.chunk {
                    self.reference(&reference, &entry.path.to_string())?;
                    led_to.insert(reference.frame());
                }
            }
            self.content_nodes(&entry.content, &mut led_to)?;
        }
        for frame in led_to.iter().filter(|frame| !needed.contains(frame)) {
            self.problem(format!(
                "the frame lists do not name frame {} of pack {}",
                frame.ordinal, frame.pack
            ));
        }
        Ok(())
    }

    fn content_nodes(&mut self, content: &Content, led_to: &mut FrameSet) -> Result<(), Error> {
        let Content::Parts { depth, parts } = content else { return Ok(()) };
        let mut open: Vec<(u8, Part)> = parts.iter().map(|part| (*depth, *part)).collect();
        while let Some((depth, part)) = open.pop() {
            let Part::Node { reference, covers } = part else { continue };
            led_to.insert(reference.frame());
            let loaded = self.reader.chunk(&reference);
            let Some(bytes) = self.tolerate(loaded)? else { continue };
            let depth = depth.saturating_sub(1);
            let inner = decode_content(&bytes, depth, covers).map_err(Error::from);
            open.extend(self.tolerate(inner)?.unwrap_or_default().into_iter().map(|part| (depth, part)));
        }
        Ok(())
    }

    fn reference(&mut self, reference: &Reference, path: &str) -> Result<(), Error> {
        let located = self.reader.locate(reference.frame());
        let Some((_, frame)) = self.tolerate(located)? else { return Ok(()) };
        let mut offset = 0;
        let listed = frame.chunks.iter().any(|(id, length)| {
            let here = (offset, *length, *id) == (reference.offset, reference.length, reference.chunk);
            offset += length;
            here
        });
        if !listed && self.reader.substitute(reference).is_none() {
            self.problem(format!("{path}: its content is not where its reference leads"));
        }
        Ok(())
    }

    /// The chain of the point itself must be whole.
    fn log(&mut self, point: &PointRecord) {
        let chain = (point.entry.writer, point.entry.session);
        let fold = self.repo.fold();
        for finding in &fold.findings {
            let at = match finding {
                Finding::Missing { before: entry, .. }
                | Finding::Forked(entry)
                | Finding::Reordered(entry)
                | Finding::NotGranted(entry)
                | Finding::Stranger(entry)
                | Finding::Unseen { entry, .. }
                | Finding::Changed { entry, .. }
                | Finding::Contradicted { entry, .. }
                | Finding::NotAllowed { entry, .. }
                | Finding::Malformed { entry, .. } => entry,
            };
            if (at.writer, at.session) == chain {
                self.problem(finding);
            }
        }
    }
}

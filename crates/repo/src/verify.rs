//! Proving that a point can be brought back; the levels are those of the glossary. The highest, L3, is done by those who can
//! bring it back; here it is written down.
//!
//! L0: every pack that the point needs is there with the right size. L1: and every byte of them hashes to what the log
//! says. L2: the tree is whole, every chunk lies where its reference says, by id and length, the frame lists that sweeps
//! rely on agree with the tree, and the log up to the point has no gap. L2 reads the tree, not the content. A verdict is
//! written down as a fact whatever it says.

use std::collections::{BTreeMap, BTreeSet};

use format::fact::{Fact, Verified};
use format::id::{Hash, PackId};
use format::limit::{ENTRY_BYTES_MAX, RUN_BYTES_MAX};
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

/// The number of the level above those: the point was brought back into a scratch place and looked at there.
pub const L3: u8 = 3;

/// How much is proved without bringing the point back.
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
    /// What is wrong with objects that the point leans on, and does it no harm.
    pub notes: Vec<String>,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The point was forgotten while it was looked at, so that a sweep may have taken what it needs: this verdict says nothing.
    pub is_forgotten: bool,
    /// Why problems were not written into the history, if so: no backup knows of them then, and none heals them.
    pub unwritten: Option<String>,
}

impl Verdict {
    /// Notes something that is wrong, once.
    pub fn tell(&mut self, what: impl ToString) {
        let what = what.to_string();
        if !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }
}

const NOT_AS_LOGGED: &str = "it does not hash to what the log says";

/// Proves points one after the other; what one of them has hashed is not hashed again for the next.
pub struct Verifier<'r> {
    repo: &'r Repo,
    reader: Reader<'r>,
    /// Packs that were hashed, and what is wrong with them.
    hashed: BTreeMap<PackId, Option<String>>,
}

impl<'r> Verifier<'r> {
    /// Looks at the repository as it is now.
    pub fn new(repo: &'r Repo) -> Result<Verifier<'r>, Error> {
        Ok(Verifier { repo, reader: Reader::new(repo)?, hashed: BTreeMap::new() })
    }

    /// Proves a point at one level, and writes the verdict down where this host may write. Nobody is let in to say that all is
    /// well; whoever holds the root key is, to say what is wrong, as the next backup must not rely on it.
    pub fn verify(&mut self, point: &PointRecord, level: Level) -> Result<Verdict, Error> {
        self.look(point, level, level.number(), Verdict::default())
    }

    /// Proves a point at L3, by the same rules: what L2 looks at, and beside it what bringing the point back has `shown`.
    pub fn prove(&mut self, point: &PointRecord, shown: Verdict) -> Result<Verdict, Error> {
        self.look(point, Level::L2, L3, shown)
    }

    fn look(
        &mut self,
        point: &PointRecord,
        level: Level,
        proves: u8,
        verdict: Verdict,
    ) -> Result<Verdict, Error> {
        let repo = self.repo;
        let mut session = announce(repo, point)?;
        let before = self.reader.fetched();
        let mut check =
            Check { repo, reader: &self.reader, hashed: &mut self.hashed, bad: BTreeMap::new(), verdict };
        let (outcome, mut verdict) = (check.run(point, level), check.verdict);
        if let (Err(error), Some(session)) = (&outcome, &mut session) {
            session.leave(error);
        }
        outcome?;
        verdict.bytes += self.reader.fetched().saturating_sub(before);
        self.write_down(point, proves, session, verdict)
    }

    fn write_down(
        &self,
        point: &PointRecord,
        level: u8,
        mut session: Option<Session<'_>>,
        mut verdict: Verdict,
    ) -> Result<Verdict, Error> {
        let repo = self.repo;
        if !verdict.problems.is_empty() && is_forgotten(repo, point)? {
            if let Some(session) = &mut session {
                session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true)?;
            }
            return Ok(Verdict { is_forgotten: true, ..Verdict::default() });
        }
        let session = match session {
            None if !verdict.problems.is_empty() => match announce_damage(repo, point) {
                Ok(session) => Some(session),
                Err(why) => {
                    verdict.unwritten = Some(why);
                    None
                }
            },
            session => session,
        };
        if let Some(mut session) = session {
            let fact = Fact::Verified(Verified {
                point: point.point.id,
                level,
                region: repo.io.region_name().to_owned(),
                time: repo.world.now_ns(),
                problems: verdict.problems.len() as u64,
                objects: verdict.objects,
                bytes: verdict.bytes,
            });
            match session.commit(vec![fact], Vec::new(), BTreeSet::new(), true) {
                // What was found is more than that it could not be written down.
                Err(error) if !verdict.problems.is_empty() => verdict.unwritten = Some(error.to_string()),
                written => written?,
            }
        }
        Ok(verdict)
    }
}

/// Whether the point is not wanted any more.
fn is_forgotten(repo: &Repo, point: &PointRecord) -> Result<bool, Error> {
    let fold = repo.refresh()?;
    Ok(!fold.points.get(&point.point.id).is_some_and(|record| record.is_live_in(repo.io.region_name())))
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

/// Reads every entry of the log again, from L1 on: this host keeps what it once read, so it would notice last that the
/// region lost it. Problems are sentences.
pub fn verify_log(repo: &Repo, level: Level) -> Result<Verdict, Error> {
    let (io, mut verdict) = (&repo.io, Verdict::default());
    if level == Level::L0 {
        return Ok(verdict);
    }
    let entries = io.list(&layout::log())?.into_iter().map(|object| (object.key, object.size)).collect();
    let mut failed = None;
    io.get_each(entries, ENTRY_BYTES_MAX as u64, |key, bytes| {
        let Some((_, hash)) = layout::parse_entry(key.as_str()) else { return };
        match bytes {
            Ok(bytes) if Hash::of(&bytes) == hash => {
                verdict.objects += 1;
                verdict.bytes += bytes.len() as u64;
            }
            Ok(_) => verdict.tell(io.damaged(&key, "it does not hash to its name")),
            Err(error) if error.is_about_object() => verdict.tell(error),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    });
    failed.map_or(Ok(verdict), Err)
}

/// Looks at what no point needs, and whoever opens the repository, adds to it or sweeps it does: key slots, and the objects that
/// say who is at work and what sweeps condemned. Problems are sentences.
pub fn verify_rest(repo: &Repo) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    repo.damaged_slots()?.into_iter().for_each(|problem| verdict.tell(problem));
    repo.unread()?.into_iter().for_each(|problem| verdict.tell(problem));
    Ok(verdict)
}

/// A session of a host that may not have been let in yet, which it is now if the root key is at hand; or why there is none.
fn announce_damage<'r>(repo: &'r Repo, point: &PointRecord) -> Result<Session<'r>, String> {
    if repo.only_reads() {
        return Err("this program only reads".to_owned());
    }
    let signer = repo.must_have_newest_keys().and_then(|()| repo.enrolled_signer());
    let roots = BTreeSet::from([point.point.id]);
    signer
        .and_then(|signer| Session::open(repo, signer, Purpose::Read, roots))
        .map_err(|error| error.to_string())
}

/// A session, so that no sweep takes the point from under the check. A host that was not let in, or may not write, looks
/// without one, and lets nobody in for it.
fn announce<'r>(repo: &'r Repo, point: &PointRecord) -> Result<Option<Session<'r>>, Error> {
    let signer = match repo.known_signer() {
        Ok(Some(signer)) => signer,
        Ok(None) | Err(Error::Local { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    // A verdict is not sealed under keys that were given up.
    if repo.must_have_newest_keys().is_err() {
        return Ok(None);
    }
    let roots = BTreeSet::from([point.point.id]);
    match Session::open(repo, signer, Purpose::Read, roots) {
        Err(Error::Storage(storage::Error::Denied { .. } | storage::Error::Full { .. })) => Ok(None),
        opened => opened.map(Some),
    }
}

struct Check<'a, 'r> {
    repo: &'r Repo,
    reader: &'a Reader<'r>,
    hashed: &'a mut BTreeMap<PackId, Option<String>>,
    /// Packs that something is wrong with: whether the point needs what is lost is asked in the end.
    bad: BTreeMap<PackId, String>,
    verdict: Verdict,
}

impl Check<'_, '_> {
    fn run(&mut self, point: &PointRecord, level: Level) -> Result<(), Error> {
        let needed = self.closure(point)?;
        let packs = self.packs(&needed)?;
        self.verdict.objects += packs.len() as u64;
        match level {
            Level::L0 => {}
            Level::L1 => self.hash_all(&packs)?,
            Level::L2 => {
                self.tree(point, &needed)?;
                self.log(point);
            }
        }
        if self.bad.is_empty() { Ok(()) } else { self.read_what_is_in_bad_packs(point, level) }
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

    /// What cannot be had from the pack of its origin makes that pack a bad one; anything but damage ends the check.
    fn suspect<T>(&mut self, pack: PackId, outcome: Result<T, Error>) -> Result<Option<T>, Error> {
        use world::{Remedied, Remedy};
        match outcome {
            Err(error) if error.remedy() == Remedy::Repair => {
                self.bad.entry(pack).or_insert_with(|| error.to_string());
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// All frames that the point needs, by the lists in the directories alone. Opening a directory compares the size of
    /// the pack with the log.
    fn closure(&mut self, point: &PointRecord) -> Result<BTreeSet<FrameId>, Error> {
        let mut needed = BTreeSet::new();
        let mut open = vec![point.point.root.frame()];
        while let Some(frame) = open.pop() {
            if !needed.insert(frame) {
                continue;
            }
            let located = self.reader.locate(frame);
            if let Some((_, found)) = self.suspect(frame.pack, located)? {
                open.extend(found.refs.iter().filter(|frame| !needed.contains(frame)));
            }
        }
        Ok(needed)
    }

    /// Packs in which the needed frames lie, and their sizes.
    fn packs(&mut self, needed: &BTreeSet<FrameId>) -> Result<BTreeMap<PackId, u64>, Error> {
        let mut packs = BTreeMap::new();
        for frame in needed {
            let located = self.reader.locate(*frame);
            if let Some((pack, _)) = self.suspect(frame.pack, located)?
                && let Some(id) = layout::parse_pack(pack.key.as_str())
            {
                packs.insert(id, pack.size);
            }
        }
        Ok(packs)
    }

    fn hash_all(&mut self, packs: &BTreeMap<PackId, u64>) -> Result<(), Error> {
        for (pack, size) in packs {
            let wrong = match self.hashed.get(pack) {
                Some(known) => known.clone(),
                None => {
                    let wrong = self.hash(*pack, *size)?;
                    self.hashed.insert(*pack, wrong.clone());
                    wrong
                }
            };
            if let Some(wrong) = wrong {
                self.bad.entry(*pack).or_insert(wrong);
            }
        }
        Ok(())
    }

    /// Hashes a pack, and answers what is wrong with it, both times that it is read.
    fn hash(&mut self, pack: PackId, size: u64) -> Result<Option<String>, Error> {
        match self.hash_once(pack, size)? {
            Some(_) => self.hash_once(pack, size),
            None => Ok(None),
        }
    }

    fn hash_once(&mut self, pack: PackId, size: u64) -> Result<Option<String>, Error> {
        let (fold, io, key) = (self.repo.fold(), &self.repo.io, layout::pack(pack));
        let bytes = match io.get_small(&key, size).map_err(|error| io.missing(error, &key)) {
            Ok(bytes) => bytes,
            Err(error) if error.is_about_object() => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        self.verdict.bytes += bytes.len() as u64;
        Ok(match fold.packs.get(&pack) {
            Some(record) if Hash::of(&bytes) == record.hash => None,
            Some(_) => Some(io.damaged(&key, NOT_AS_LOGGED).to_string()),
            None => Some(io.damaged(&key, "no entry of the log brings it").to_string()),
        })
    }

    /// Something is wrong with packs that the point leans on. Whether it can be brought back all the same, as what it
    /// needs of them is whole or was stored again, only reading tells: all of it, as a restore would.
    fn read_what_is_in_bad_packs(&mut self, point: &PointRecord, level: Level) -> Result<(), Error> {
        let mut lost: BTreeMap<PackId, (u64, String)> = BTreeMap::new();
        let mut others = BTreeMap::new();
        let reader = self.reader;
        for entry in Walk::new(reader, point.point.root) {
            let Some(entry) = self.tolerate(entry)? else { continue };
            for extent in content_parts(reader, &entry) {
                let Some(extent) = self.tolerate(extent)? else { break };
                let Some(reference) = extent.chunk else { continue };
                let Some(bad) = self.bad_pack_of(&reference, &mut others)? else { continue };
                let read = reader.chunk(&reference);
                if self.is_lost(read)? {
                    let path = entry.path.to_string();
                    lost.entry(bad).or_insert((0, path)).0 += 1;
                    break;
                }
            }
        }
        if level == Level::L1 {
            self.hash_what_lists_did_not_name(&others)?;
        }
        let unread = !self.verdict.problems.is_empty();
        for (pack, why) in std::mem::take(&mut self.bad) {
            match lost.get(&pack) {
                Some((1, first)) => self.problem(format!("{why}; 1 file is lost with it: {first}")),
                Some((files, first)) => {
                    self.problem(format!("{why}; {files} files are lost with it, the first is {first}"));
                }
                // Where part of the tree is gone, nobody can tell what else was needed.
                None if unread => self.problem(why),
                None => {
                    self.verdict.notes.push(format!("{why}; all that this point needs of it can be read"))
                }
            }
        }
        Ok(())
    }

    /// The bad pack that this chunk is to be had from, if it is: where a sweep moved it to, or the one that it was stored in.
    /// Other packs are noted with their sizes: frame lists that do not open name nothing, so they may be new.
    fn bad_pack_of(
        &mut self,
        reference: &Reference,
        others: &mut BTreeMap<PackId, u64>,
    ) -> Result<Option<PackId>, Error> {
        let located = self.reader.locate(reference.frame());
        let place = located.as_ref().ok().and_then(|(pack, _)| layout::parse_pack(pack.key.as_str()));
        let mut at_hand = place.into_iter().chain([reference.pack]);
        if let Some(bad) = at_hand.find(|pack| self.bad.contains_key(pack)) {
            return Ok(Some(bad));
        }
        let Some((pack, _)) = self.suspect(reference.pack, located)? else { return Ok(Some(reference.pack)) };
        others.insert(place.unwrap_or(reference.pack), pack.size);
        Ok(None)
    }

    /// Packs that only the tree led to, because the lists that name them are damaged.
    fn hash_what_lists_did_not_name(&mut self, packs: &BTreeMap<PackId, u64>) -> Result<(), Error> {
        for (pack, size) in packs {
            if !self.hashed.contains_key(pack) {
                let wrong = self.hash(*pack, *size)?;
                self.hashed.insert(*pack, wrong.clone());
                wrong.into_iter().for_each(|wrong| self.problem(wrong));
            }
        }
        Ok(())
    }

    fn is_lost<T>(&self, read: Result<T, Error>) -> Result<bool, Error> {
        use world::{Remedied, Remedy};
        match read {
            Ok(_) => Ok(false),
            Err(error) if error.remedy() == Remedy::Repair => Ok(true),
            Err(error) => Err(error),
        }
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
        let unlisted = |frame: &FrameId| !needed.contains(frame) && self.bad.is_empty();
        let unlisted: Vec<FrameId> = led_to.iter().filter(unlisted).collect();
        for frame in unlisted {
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
        let Some((_, frame)) = self.suspect(reference.pack, located)? else { return Ok(()) };
        let mut offset = 0;
        let listed = frame.chunks.iter().any(|(id, length)| {
            let here = (offset, *length, *id) == (reference.offset, reference.length, reference.chunk.half());
            offset += length;
            here
        });
        if !listed && self.reader.substitutes(reference).is_empty() {
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

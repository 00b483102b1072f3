//! What points need: every frame under their roots, by the lists in sealed directories alone. No content is read, so whoever
//! opens directories can mark.
//!
//! Frames are marked by identity, origin pack and ordinal, in one bit each. A frame's list is read where it lies: in its
//! origin, or where a `moved` fact says. Each directory is read once, many at a time. A damaged chunk that was stored again
//! is needed together with its substitute. Where a needed frame is nowhere, what lies under it is unknown; then there is no
//! answer at all, as whoever deletes by it would take what is needed, unless it was stored again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use format::id::{PackId, PointId, SessionId};
use format::key::Bundle;
use format::pack::{Directory, TAIL_BYTES, Tail};
use format::reference::{FrameId, FrameSet, Reference};

use crate::error::Error;
use crate::fold::Fold;
use crate::io::Wanted;
use crate::layout;
use crate::protocol::{Mark, Sweeps};
use crate::reader::GRID;
use crate::repo::Repo;
use crate::stated::Real;

/// Bytes of directories in flight.
const FLIGHT_BYTES_MAX: u64 = 32 << 20;

/// How often a directory or a pack is read that is not as it should be.
pub(crate) const READS_MAX: u32 = 3;

/// A set of frames, by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    packs: BTreeMap<PackId, Vec<u64>>,
}

impl Marked {
    /// Whether the frame was not in the set before.
    fn insert(&mut self, frame: FrameId) -> bool {
        let (word, bit) = (frame.ordinal as usize / 64, 1 << (frame.ordinal % 64));
        let words = self.packs.entry(frame.pack).or_default();
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let before = words[word];
        words[word] |= bit;
        before & bit == 0
    }

    /// Packs that frames of the set were sealed into.
    pub(crate) fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.keys().copied()
    }

    /// The frames that were sealed into this pack.
    pub(crate) fn frames_of(&self, pack: PackId) -> impl Iterator<Item = FrameId> {
        let words = self.packs.get(&pack).map(Vec::as_slice).unwrap_or_default();
        (0u32..).zip(words).flat_map(move |(at, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| FrameId { pack, ordinal: at * 64 + bit })
        })
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = FrameId> {
        self.packs().flat_map(|pack| self.frames_of(pack))
    }
}

/// What a pack holds, as far as sweeps look at it.
pub(crate) struct Contents {
    frames: Vec<(FrameId, u32)>,
    refs: HashMap<FrameId, FrameSet>,
}

impl Contents {
    fn of(directory: Directory) -> Contents {
        let (mut frames, mut refs) = (Vec::with_capacity(directory.frames.len()), HashMap::new());
        let Directory { origins, frames: listed } = directory;
        for frame in listed {
            let Some(origin) = origins.get(frame.origin) else { continue };
            let id = FrameId { pack: origin.pack, ordinal: frame.ordinal };
            frames.push((id, frame.stored_length));
            refs.insert(id, frame.refs);
        }
        refs.retain(|_, refs| !refs.is_empty());
        frames.sort_unstable();
        Contents { frames, refs }
    }

    /// Bytes that the frame takes, if it is here.
    pub(crate) fn bytes_of(&self, frame: &FrameId) -> Option<u64> {
        let at = self.frames.binary_search_by_key(frame, |(id, _)| *id).ok()?;
        self.frames.get(at).map(|(_, bytes)| u64::from(*bytes))
    }

    /// Bytes that all frames take.
    pub(crate) fn bytes(&self) -> u64 {
        self.frames.iter().map(|(_, bytes)| u64::from(*bytes)).sum()
    }
}

/// What points may lack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayLack {
    Nothing,
    /// What sweeps condemned, each place of it.
    Condemned,
}

/// Why a pack cannot be looked into.
enum Closed {
    /// It is not there.
    Absent,
    /// It is there, or may be, and does not read: nobody knows what it holds.
    Unread(String),
}

/// Reads directories, each once, or as often as it takes if one does not read.
pub(crate) struct Marker<'r> {
    repo: &'r Repo,
    fold: Arc<Fold>,
    known: HashMap<PackId, Result<Contents, Closed>>,
    substitutes: BTreeMap<FrameId, Vec<FrameId>>,
    /// What sweeps condemned, as far as whoever asks has seen it.
    sweeps: Arc<Sweeps<Real>>,
    requests: u64,
}

impl<'r> Marker<'r> {
    pub(crate) fn new(repo: &'r Repo) -> Marker<'r> {
        let mut marker = Marker {
            repo,
            fold: Arc::default(),
            known: HashMap::new(),
            substitutes: BTreeMap::new(),
            sweeps: Arc::default(),
            requests: 0,
        };
        marker.take(repo.fold());
        marker
    }

    fn take(&mut self, fold: Arc<Fold>) {
        self.substitutes.clear();
        for (lost, instead) in &fold.substitutes {
            self.substitutes.entry(lost.frame()).or_default().extend(instead.iter().map(Reference::frame));
        }
        self.fold = fold;
    }

    /// Requests that were needed so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// What a pack holds, if it was looked into.
    pub(crate) fn contents(&self, pack: PackId) -> Option<&Contents> {
        self.known.get(&pack)?.as_ref().ok()
    }

    /// Whether the pack was looked into and does not read, so that nobody knows what it holds.
    pub(crate) fn is_unread(&self, pack: PackId) -> bool {
        matches!(self.known.get(&pack), Some(Err(Closed::Unread(_))))
    }

    /// Looks into the pack again when it is asked for next.
    pub(crate) fn forget(&mut self, pack: PackId) {
        self.known.remove(&pack);
    }

    /// Every frame that these points need.
    ///
    /// # Errors
    /// [`Error::Unmarked`] where a frame of them is nowhere.
    pub(crate) fn mark(&mut self, points: &BTreeSet<PointId>) -> Result<Marked, Error> {
        self.renew();
        if !self.substitutes.is_empty() {
            self.sweeps = Arc::new(self.repo.stated_sweeps(true)?);
        }
        let mut marked = Marked::default();
        self.add(&mut marked, points, MayLack::Nothing)?;
        Ok(marked)
    }

    /// Every frame that is needed. Of points that are not live, but roots of sessions at work, something may be swept: then the
    /// session gives such a root up, or has never looked at it. What is left of it is marked all the same, and so is what is
    /// left of points that nobody acknowledged.
    pub(crate) fn mark_needed(&mut self, mark: &Mark<Real>) -> Result<Marked, Error> {
        self.renew();
        self.sweeps = mark.sweeps.clone();
        let (live, roots) = mark.points.iter().copied().partition(|point| self.must_be_whole(mark, point));
        let mut marked = Marked::default();
        let added = match self.add(&mut marked, &live, MayLack::Nothing) {
            Err(Error::Unmarked { .. }) if live.iter().any(|point| !self.is_wanted(point)) => {
                return Err(Error::Raced(
                    "points were forgotten and swept while this sweep looked at them".into(),
                ));
            }
            Ok(()) => self.add(&mut marked, &roots, MayLack::Condemned),
            failed => failed,
        };
        match added {
            Err(Error::Unmarked { .. }) if self.repo.stated_sweeps(true)?.parts() != mark.sweeps.parts() => {
                Err(Error::Raced("another sweep condemned what this one looked at".into()))
            }
            added => added.map(|()| marked),
        }
    }

    fn is_wanted(&self, point: &PointId) -> bool {
        self.fold.points.get(point).is_some_and(|record| record.is_live_in(self.repo.io.region_name()))
    }

    /// Whether nothing of the point can have been swept: it is live, and what made it or brought it back was not given up.
    fn must_be_whole(&self, mark: &Mark<Real>, point: &PointId) -> bool {
        let record = self.fold.points.get(point);
        mark.logs.is_live(point) && record.is_some_and(|record| !self.fold.may_lack(record))
    }

    fn renew(&mut self) {
        self.take(self.repo.fold());
        // A pack that was not there may be in another place by now.
        self.known.retain(|_, known| known.is_ok());
    }

    fn add(&mut self, marked: &mut Marked, points: &BTreeSet<PointId>, lack: MayLack) -> Result<(), Error> {
        let roots = points.iter().filter_map(|point| self.fold.points.get(point));
        let mut open: Vec<FrameId> = roots.map(|record| record.point.root.frame()).collect();
        open.retain(|frame| marked.insert(*frame));
        while !open.is_empty() {
            let found = self.follow(open, lack)?;
            open = found.into_iter().filter(|frame| marked.insert(*frame)).collect();
        }
        Ok(())
    }

    /// The frames that these refer to.
    fn follow(&mut self, open: Vec<FrameId>, lack: MayLack) -> Result<Vec<FrameId>, Error> {
        let substitutes = self.substitutes_of(&open)?;
        let mut found = substitutes.values().flatten().copied().collect();
        let mut nowhere = self.take_all_refs(open, &mut found)?;
        if !nowhere.is_empty() && self.look_again(&nowhere)? {
            nowhere = self.take_all_refs(nowhere, &mut found)?;
        }
        // What does not read is not gone.
        let is_gone = |frame: &FrameId| {
            lack == MayLack::Condemned
                && self.is_condemned(*frame)
                && !self.places(*frame).any(|place| self.is_unread(place))
        };
        let is_fine = |frame: &FrameId| substitutes.contains_key(frame) || is_gone(frame);
        match nowhere.iter().find(|frame| !is_fine(frame)) {
            Some(frame) => Err(self.unmarked(*frame)),
            None => Ok(found),
        }
    }

    /// What was stored again in the place of these frames, for those that have any. What a session stored that was given up
    /// may be gone, and was never counted on: then it is not among them. Nor is what sweeps took while nothing needed it: then
    /// whoever needs these frames now relies on them themselves.
    fn substitutes_of(&mut self, frames: &[FrameId]) -> Result<BTreeMap<FrameId, Vec<FrameId>>, Error> {
        let given_up: BTreeSet<SessionId> = self.fold.expired.iter().map(|(_, session)| *session).collect();
        let is_doubtful =
            |frame: &FrameId| given_up.contains(&frame.pack.session()) || self.is_condemned(*frame);
        let of = |frame: &FrameId| Some((*frame, self.substitutes.get(frame)?.clone()));
        let mut all: BTreeMap<FrameId, Vec<FrameId>> = frames.iter().filter_map(of).collect();
        let doubtful: BTreeSet<FrameId> =
            all.values().flatten().filter(|frame| is_doubtful(frame)).copied().collect();
        self.load(doubtful.iter().flat_map(|frame| self.places(*frame)).collect())?;
        let holds = |frame: &FrameId, place| match self.known.get(&place) {
            Some(Ok(contents)) => contents.bytes_of(frame).is_some(),
            Some(Err(Closed::Unread(_))) => true,
            Some(Err(Closed::Absent)) | None => false,
        };
        let counts = |frame: &FrameId| {
            !doubtful.contains(frame) || self.places(*frame).any(|place| holds(frame, place))
        };
        all.values_mut().for_each(|instead| instead.retain(counts));
        all.retain(|_, instead| !instead.is_empty());
        Ok(all)
    }

    /// Reads the lists of these frames, each in its first place that has it, and answers which are in none.
    fn take_all_refs(
        &mut self,
        mut left: Vec<FrameId>,
        found: &mut Vec<FrameId>,
    ) -> Result<Vec<FrameId>, Error> {
        let mut nowhere = Vec::new();
        for place in 0.. {
            if left.is_empty() {
                break;
            }
            let at: Vec<Option<PackId>> = left.iter().map(|frame| self.places(*frame).nth(place)).collect();
            self.load(at.iter().flatten().copied().collect())?;
            let mut next = Vec::new();
            for (frame, pack) in left.into_iter().zip(at) {
                match pack {
                    None => nowhere.push(frame),
                    Some(pack) if self.take_refs(&frame, pack, found) => {}
                    Some(_) => next.push(frame),
                }
            }
            left = next;
        }
        Ok(nowhere)
    }

    fn take_refs(&self, frame: &FrameId, place: PackId, found: &mut Vec<FrameId>) -> bool {
        let Some(contents) = self.contents(place).filter(|contents| contents.bytes_of(frame).is_some())
        else {
            return false;
        };
        found.extend(contents.refs.get(frame).into_iter().flat_map(FrameSet::iter));
        true
    }

    /// Reads the log again, as a sweep may have moved these frames; whether any of them has a place more.
    fn look_again(&mut self, frames: &[FrameId]) -> Result<bool, Error> {
        let before: Vec<usize> = frames.iter().map(|frame| self.places(*frame).count()).collect();
        self.take(self.repo.refresh()?);
        Ok(frames.iter().zip(before).any(|(frame, before)| self.places(*frame).count() > before))
    }

    /// Whether sweeps condemned every place of the frame.
    fn is_condemned(&self, frame: FrameId) -> bool {
        self.places(frame).all(|place| self.sweeps.is_condemned(&place))
    }

    fn unmarked(&self, frame: FrameId) -> Error {
        let why = match self.known.get(&frame.pack) {
            Some(Err(Closed::Absent)) => "it is not there".to_owned(),
            Some(Err(Closed::Unread(why))) => why.clone(),
            _ => format!("it does not hold frame {}", frame.ordinal),
        };
        Error::Unmarked { object: layout::pack(frame.pack).to_string(), place: self.repo.io.place(), why }
    }

    fn places(&self, frame: FrameId) -> impl Iterator<Item = PackId> {
        let region = self.repo.io.region_name().to_owned();
        let moved = self.fold.moved.get(&(region, frame.pack, frame.ordinal));
        std::iter::once(frame.pack).chain(moved.into_iter().flatten().copied())
    }

    /// Reads the directories of these packs that were not read yet: one request each, a second one for long ones. What does
    /// not read is read again, as bytes are lost on their way more often than at rest.
    pub(crate) fn load(&mut self, mut packs: BTreeSet<PackId>) -> Result<(), Error> {
        packs.retain(|pack| !self.known.contains_key(pack));
        for _ in 0..READS_MAX {
            packs.iter().for_each(|pack| drop(self.known.remove(pack)));
            self.load_once(&packs)?;
            packs.retain(|pack| self.is_unread(*pack));
            if packs.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn load_once(&mut self, packs: &BTreeSet<PackId>) -> Result<(), Error> {
        let sized = packs.iter().filter_map(|pack| Some((*pack, self.fold.packs.get(pack)?.size)));
        let ends =
            sized.map(|(pack, size)| ((pack, size), layout::pack(pack), size.saturating_sub(GRID)..size));
        let mut long = Vec::new();
        self.fetch(ends.collect(), |bundle, (pack, size), end| {
            let tail = Tail::decode(end)?;
            let range = tail.directory_range(size)?;
            let Some(at) = range.start.checked_sub(size.saturating_sub(end.len() as u64)) else {
                long.push(((pack, (size, tail)), layout::pack(pack), range));
                return Ok(None);
            };
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let sealed = end.get(at..end.len().saturating_sub(TAIL_BYTES)).unwrap_or_default();
            tail.open_directory(pack, bundle, size, sealed).map(Some)
        })?;
        self.fetch(long, |bundle, (pack, (size, tail)), sealed| {
            tail.open_directory(pack, bundle, size, sealed).map(Some)
        })
    }

    fn fetch<T: Send + 'static>(
        &mut self,
        wanted: Vec<Wanted<(PackId, T)>>,
        mut read: impl FnMut(&Bundle, (PackId, T), &[u8]) -> Result<Option<Directory>, format::Error>,
    ) -> Result<(), Error> {
        self.requests += wanted.len() as u64;
        let (io, bundle, known) = (&self.repo.io, &self.repo.bundle, &mut self.known);
        let mut failed = None;
        io.get_ranges(wanted, FLIGHT_BYTES_MAX, |tag: (PackId, T), bytes| {
            let pack = tag.0;
            match bytes.map(|bytes| read(bundle, tag, &bytes)) {
                Ok(Ok(Some(directory))) => drop(known.insert(pack, Ok(Contents::of(directory)))),
                Ok(Ok(None)) => {}
                Ok(Err(error @ format::Error::NoKey(_))) => drop(failed.get_or_insert(Error::Keys(error))),
                Ok(Err(error)) => drop(known.insert(pack, Err(Closed::Unread(error.to_string())))),
                Err(error) if is_absent(&error) => drop(known.insert(pack, Err(Closed::Absent))),
                Err(error) if error.is_about_object() => {
                    drop(known.insert(pack, Err(Closed::Unread(error.to_string()))))
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Storage(error) if error.is_not_found())
}

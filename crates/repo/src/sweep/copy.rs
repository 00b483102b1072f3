//! Moving sealed frames into new packs, without a key that reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use format::compress::Effort;
use format::entry::Brought;
use format::id::{Hash, PackId};
use format::limit::{FRAME_BYTES_MAX, PACK_BYTES_MAX, PACK_BYTES_TARGET};
use format::pack::{ContentKind, Frame, Limits, Origin, PackBuilder, Tail, Workbench};
use format::reference::FrameId;

use super::{ENTRY_ROOM, Sweep};
use crate::error::Error;
use crate::layout;
use crate::protocol::{Reply, SessionObject};
use crate::reader::GRID;
use crate::session::RENEWAL;
use crate::stated::{Chain, Piece, Real};

/// Bytes of one request for neighbouring frames.
const RANGE_BYTES_MAX: u64 = 8 << 20;

/// Where frames may be found.
type Places = BTreeMap<Piece, BTreeSet<PackId>>;

/// Frames of one pack that are to be moved, in the order of their places.
type Source = Vec<(FrameId, Frame, Origin)>;

/// A pack that is being filled, and what is in it.
struct Filling {
    builder: PackBuilder,
    kind: ContentKind,
    frames: BTreeSet<Piece>,
    /// Bytes of these frames.
    bytes: u64,
}

impl Sweep<'_> {
    /// Fills one pack with as many of these frames as belong into one.
    pub(super) fn copy(&mut self, session: Chain, frames: &Places) -> Result<Reply<Real>, Error> {
        self.renew_if_due(session)?;
        self.stores(self.room_for(frames));
        let mut vanished = BTreeSet::new();
        let mut filling: Option<Filling> = None;
        for (pack, wanted) in self.by_place(frames, &mut vanished)? {
            if !self.fill(session, pack, &wanted, &mut filling)? {
                break;
            }
        }
        let Some(filling) = filling.filter(|filling| !filling.frames.is_empty()) else {
            return Ok(Reply::Copied { pack: None, frames: BTreeSet::new(), vanished });
        };
        let pack = self.store(filling.builder)?;
        self.done.moved.0 += filling.frames.len() as u64;
        self.done.moved.1 += filling.bytes;
        Ok(Reply::Copied { pack: Some(pack), frames: filling.frames, vanished })
    }

    /// Room that is enough for the rest, as each copy that is announced frees what it was made of: that for one pack, or for
    /// all that is left with its directory, and for what is said of it.
    fn room_for(&self, frames: &Places) -> u64 {
        let bytes = |(piece, places): (&Piece, &BTreeSet<PackId>)| match piece {
            Piece::Frame(frame) => places
                .iter()
                .find_map(|pack| self.marker.contents(*pack)?.bytes_of(frame))
                .unwrap_or_default(),
            Piece::Pack(_) => 0,
        };
        let left: u64 = frames.iter().map(bytes).sum();
        let pack = (left + left / 8).min(PACK_BYTES_TARGET as u64);
        pack + 8 * ENTRY_ROOM
    }

    /// Whoever copies for long shows that it is still at work.
    fn renew_if_due(&mut self, session: Chain) -> Result<(), Error> {
        let now = self.repo.world.monotonic();
        let Some((_, renewal, renewed)) = self.held else { return Ok(()) };
        if now.saturating_sub(renewed) < RENEWAL {
            return Ok(());
        }
        let covers = self.repo.stated_sweeps(true)?.parts();
        let object = SessionObject { session, renewal, roots: BTreeSet::new(), covers };
        self.stores(ENTRY_ROOM);
        self.repo.announce(self.signer(), format::session::Purpose::Sweep, &object)?;
        self.held = Some((session.session, renewal.saturating_add(1), now));
        Ok(())
    }

    /// Groups frames by the first of their places that has them.
    fn by_place(
        &mut self,
        frames: &Places,
        vanished: &mut BTreeSet<Piece>,
    ) -> Result<BTreeMap<PackId, BTreeSet<FrameId>>, Error> {
        self.marker.load(frames.values().flatten().copied().collect())?;
        let mut by_place: BTreeMap<PackId, BTreeSet<FrameId>> = BTreeMap::new();
        for (piece, places) in frames {
            let Piece::Frame(frame) = piece else { continue };
            let holds = |pack: &&PackId| {
                self.marker.contents(**pack).is_some_and(|contents| contents.bytes_of(frame).is_some())
            };
            match places.iter().find(holds) {
                Some(place) => drop(by_place.entry(*place).or_default().insert(*frame)),
                None => drop(vanished.insert(*piece)),
            }
        }
        Ok(by_place)
    }

    /// Moves frames of one pack; whether there is room for more.
    fn fill(
        &mut self,
        session: Chain,
        pack: PackId,
        wanted: &BTreeSet<FrameId>,
        filling: &mut Option<Filling>,
    ) -> Result<bool, Error> {
        let Some(source) = self.source(pack, wanted)? else {
            // It vanished since its directory was read: whoever asks again will not find it either.
            self.marker.forget(pack);
            return Ok(true);
        };
        let Some(kind) = source.first().map(|(_, _, origin)| origin.kind) else { return Ok(true) };
        let filled = match filling {
            Some(filled) => filled,
            none => none.insert(self.empty(session, kind)),
        };
        let (mut taken, mut room) = (Vec::new(), true);
        let mut bytes = filled.builder.len();
        for (id, frame, origin) in source.iter().filter(|(_, _, origin)| origin.kind == filled.kind) {
            bytes = bytes.saturating_add(frame.stored_length as usize);
            room = filled.builder.has_room_for_moved(frame) && bytes < PACK_BYTES_TARGET;
            let empty = filled.frames.is_empty() && taken.is_empty();
            if !(room || empty) {
                break;
            }
            taken.push((*id, frame, origin));
        }
        let Some(fetched) = self.fetch(pack, &taken)? else {
            self.marker.forget(pack);
            return Ok(true);
        };
        for (id, frame, origin) in taken {
            let Some(sealed) = fetched.get(&frame.place) else { continue };
            let wrong = Error::object(layout::pack(pack), self.repo.io.place());
            filled.builder.carry(frame, origin, sealed).map_err(wrong)?;
            filled.frames.insert(Piece::Frame(id));
            filled.bytes += sealed.len() as u64;
        }
        Ok(room)
    }

    fn empty(&mut self, session: Chain, kind: ContentKind) -> Filling {
        let (repo, chance) = (self.repo, &mut self.chance);
        let id = PackId::new(session.session, chance.bytes());
        let place = (repo.genesis.id, repo.bundle.domain, repo.bundle.newest());
        let limits = Limits { frame_bytes: FRAME_BYTES_MAX, pack_bytes: PACK_BYTES_TARGET };
        let builder = PackBuilder::new(place, kind, id, limits, chance);
        Filling { builder, kind, frames: BTreeSet::new(), bytes: 0 }
    }

    /// The whole directory of a pack, and where in it the frames are; `None` if the pack is not there.
    fn source(&self, pack: PackId, wanted: &BTreeSet<FrameId>) -> Result<Option<Source>, Error> {
        let (io, key) = (&self.repo.io, layout::pack(pack));
        let (end, size) = match io.get_tail(&key, GRID) {
            Ok(end) => end,
            Err(Error::Storage(error)) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = || {
            let tail = Tail::decode(&end)?;
            let range = tail.directory_range(size)?;
            Ok((tail, range))
        };
        let wrong = || Error::object(key.clone(), io.place());
        let (tail, range) = read().map_err(wrong())?;
        let sealed = io.get_range(&key, range)?;
        let directory = tail.open_directory(pack, &self.repo.bundle, size, &sealed).map_err(wrong())?;
        let mut frames = Source::new();
        for id in wanted {
            if let Some(frame) = directory.find(*id)
                && let Some(origin) = directory.origin(frame)
            {
                frames.push((*id, frame.clone(), origin.clone()));
            }
        }
        frames.sort_by_key(|(_, frame, _)| frame.place);
        Ok(Some(frames))
    }

    /// The sealed bytes of these frames, by their place; `None` if the pack is not there any more.
    fn fetch(
        &self,
        pack: PackId,
        frames: &[(FrameId, &Frame, &Origin)],
    ) -> Result<Option<BTreeMap<u64, bytes::Bytes>>, Error> {
        let (io, key) = (&self.repo.io, layout::pack(pack));
        let mut fetched = BTreeMap::new();
        for range in joined(frames.iter().map(|(_, frame, _)| frame.range())) {
            let bytes = match io.get_range(&key, range.clone()) {
                Ok(bytes) => bytes,
                Err(Error::Storage(error)) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            for (_, frame, _) in frames {
                let at = frame.range();
                if range.start <= at.start && at.end <= range.end {
                    let (from, to) = (at.start - range.start, at.end - range.start);
                    let sealed = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                    fetched.extend(sealed.map(|(from, to)| (frame.place, bytes.slice(from..to))));
                }
            }
        }
        Ok(Some(fetched))
    }

    fn store(&mut self, builder: PackBuilder) -> Result<PackId, Error> {
        let world = self.repo.world.clone();
        let mut bench = Workbench::new(Effort::Level(1), Box::new(move || world.chance().bytes()));
        let finished = builder.finish(&mut bench).map_err(Error::object("a new pack", "memory"))?;
        let (key, bytes) = (layout::pack(finished.id), finished.object.into_bytes());
        let brought = Brought { name: key.to_string(), size: bytes.len() as u64, hash: finished.hash };
        self.repo.io.put(&key, bytes.into())?;
        self.stored.insert(finished.id, brought);
        Ok(finished.id)
    }

    /// Whether the pack holds these frames: byte for byte as it was stored, if it is our own; by its directory if it is
    /// somebody else's.
    pub(super) fn read_back(&mut self, pack: PackId, frames: &BTreeSet<Piece>) -> Result<bool, Error> {
        if let Some(stored) = self.stored.get(&pack) {
            return match self.repo.io.get_small(&layout::pack(pack), PACK_BYTES_MAX) {
                Ok(bytes) => Ok(Hash::of(&bytes) == stored.hash),
                Err(error) if error.is_about_object() => Ok(false),
                Err(error) => Err(error),
            };
        }
        self.marker.forget(pack);
        self.marker.load(BTreeSet::from([pack]))?;
        let contents = self.marker.contents(pack);
        let holds = |piece: &Piece| match piece {
            Piece::Frame(frame) => contents.is_some_and(|contents| contents.bytes_of(frame).is_some()),
            Piece::Pack(_) => false,
        };
        Ok(frames.iter().all(holds))
    }
}

/// Neighbouring ranges as one; they come in order.
fn joined(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end && range.end - last.start <= RANGE_BYTES_MAX => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

//! Moving sealed frames into new packs, without a key that reads them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use format::compress::Effort;
use format::entry::Brought;
use format::id::{Hash, PackId};
use format::limit::{FRAME_BYTES_MAX, PACK_BYTES_MAX, PACK_BYTES_TARGET};
use format::pack::{ContentKind, Frame, Limits, Origin, PackBuilder, Tail, Workbench};
use format::reference::FrameId;

use super::{ENTRY_ROOM, Sweep};
use crate::error::Error;
use crate::layout;
use crate::mark::READS_MAX;
use crate::protocol::{Reply, SessionObject};
use crate::session::RENEWAL;
use crate::stated::{Chain, Piece, Real};

/// Where frames may be found.
type Places = BTreeMap<Piece, BTreeSet<PackId>>;

/// Frames by the pack that they are moved from.
type ByPlace = BTreeMap<PackId, BTreeSet<FrameId>>;

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

/// What came of moving frames from one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    All,
    /// There is no room for more.
    NoRoom,
    /// The pack is not there, or is spared.
    Gone,
}

impl Sweep<'_> {
    /// Fills one pack with as many of these frames as belong into one.
    pub(super) fn copy(&mut self, session: Chain, frames: &Places) -> Result<Reply<Real>, Error> {
        self.renew_if_due(session)?;
        self.stores(self.room_for(frames));
        let mut filling: Option<Filling> = None;
        let vanished = loop {
            let taken = filling.as_ref().map(|filling| filling.frames.clone()).unwrap_or_default();
            let (by_place, vanished) = self.by_place(frames, &taken)?;
            let mut outcome = Fill::All;
            for (pack, wanted) in by_place {
                match self.fill(session, pack, &wanted, &mut filling)? {
                    Fill::All => {}
                    Fill::Gone => outcome = Fill::Gone,
                    Fill::NoRoom => {
                        outcome = Fill::NoRoom;
                        break;
                    }
                }
            }
            // What was to come from a pack that is gone may lie elsewhere.
            if outcome != Fill::Gone {
                break vanished;
            }
        };
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

    /// Groups frames that were not taken yet by the first of their places that has them; those that no place has. A place
    /// that does not read may have them, and is spared.
    fn by_place(
        &mut self,
        frames: &Places,
        taken: &BTreeSet<Piece>,
    ) -> Result<(ByPlace, BTreeSet<Piece>), Error> {
        let is_usable = |pack: &&PackId| !self.gone.contains(pack);
        self.marker.load(frames.values().flatten().filter(is_usable).copied().collect())?;
        let (mut by_place, mut vanished) = (ByPlace::new(), BTreeSet::new());
        for (piece, places) in frames.iter().filter(|(piece, _)| !taken.contains(piece)) {
            let Piece::Frame(frame) = piece else { continue };
            let holds = |pack: &&PackId| {
                self.marker.contents(**pack).is_some_and(|contents| contents.bytes_of(frame).is_some())
            };
            match places.iter().filter(is_usable).find(holds) {
                Some(place) => drop(by_place.entry(*place).or_default().insert(*frame)),
                None => {
                    vanished.insert(*piece);
                    let unread = places.iter().filter(|pack| self.marker.is_unread(**pack));
                    self.spared.extend(unread);
                }
            }
        }
        Ok((by_place, vanished))
    }

    /// Moves frames of one pack.
    fn fill(
        &mut self,
        session: Chain,
        pack: PackId,
        wanted: &BTreeSet<FrameId>,
        filling: &mut Option<Filling>,
    ) -> Result<Fill, Error> {
        let Some((bytes, source)) = self.source(pack, wanted)? else {
            // It vanished since its directory was read, or is spared.
            self.gone.insert(pack);
            return Ok(Fill::Gone);
        };
        let Some(kind) = source.first().map(|(_, _, origin)| origin.kind) else { return Ok(Fill::All) };
        let filled = match filling {
            Some(filled) => filled,
            none => none.insert(self.empty(session, kind)),
        };
        for (id, frame, origin) in source.iter().filter(|(_, _, origin)| origin.kind == filled.kind) {
            let length = filled.builder.len().saturating_add(frame.stored_length as usize);
            let has_room = filled.builder.has_room_for_moved(frame) && length < PACK_BYTES_TARGET;
            if !(has_room || filled.frames.is_empty()) {
                return Ok(Fill::NoRoom);
            }
            let wrong = || Error::object(layout::pack(pack), self.repo.io.place());
            let (from, to) = (usize::try_from(frame.range().start), usize::try_from(frame.range().end));
            let sealed =
                from.ok().zip(to.ok()).and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default();
            filled.builder.carry(frame, origin, sealed).map_err(wrong())?;
            filled.frames.insert(Piece::Frame(*id));
            filled.bytes += sealed.len() as u64;
        }
        Ok(Fill::All)
    }

    fn empty(&mut self, session: Chain, kind: ContentKind) -> Filling {
        let (repo, chance) = (self.repo, &mut self.chance);
        let id = PackId::new(session.session, chance.bytes());
        let place = (repo.genesis.id, repo.bundle.domain, repo.bundle.newest());
        let limits = Limits { frame_bytes: FRAME_BYTES_MAX, pack_bytes: PACK_BYTES_TARGET };
        let builder = PackBuilder::new(place, kind, id, limits, chance);
        Filling { builder, kind, frames: BTreeSet::new(), bytes: 0 }
    }

    /// Where in a pack these frames are; none of them if it is not there, or is to be spared.
    fn source(&mut self, pack: PackId, wanted: &BTreeSet<FrameId>) -> Result<Option<(Bytes, Source)>, Error> {
        let Some(bytes) = self.whole(pack)? else { return Ok(None) };
        let size = bytes.len() as u64;
        let read = || {
            let tail = Tail::decode(&bytes)?;
            let range = tail.directory_range(size)?;
            let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
            let sealed =
                from.ok().zip(to.ok()).and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default();
            tail.open_directory(pack, &self.repo.bundle, size, sealed)
        };
        let directory = read().map_err(Error::object(layout::pack(pack), self.repo.io.place()))?;
        let mut frames = Source::new();
        for id in wanted {
            if let Some(frame) = directory.find(*id)
                && let Some(origin) = directory.origin(frame)
            {
                frames.push((*id, frame.clone(), origin.clone()));
            }
        }
        frames.sort_by_key(|(_, frame, _)| frame.place);
        Ok(Some((bytes, frames)))
    }

    /// A pack as it was stored. Whoever moves frames cannot open them, so what was flipped on its way, or rotted, would be
    /// moved as it is, and the good bytes would be deleted: the whole pack is compared with the hash that its writer
    /// stated, twice if it has to be. A pack that is another one each time is spared: its frames stay where they are, and
    /// it is named.
    fn whole(&mut self, pack: PackId) -> Result<Option<Bytes>, Error> {
        if let Some((_, bytes)) = self.whole.as_ref().filter(|(read, _)| *read == pack) {
            return Ok(Some(bytes.clone()));
        }
        let stated = self.repo.fold().packs.get(&pack).map(|record| record.hash);
        let mut before = None;
        for _ in 0..READS_MAX {
            let bytes = match self.repo.io.get_small(&layout::pack(pack), PACK_BYTES_MAX) {
                Ok(bytes) => bytes,
                Err(Error::Storage(error)) if error.is_not_found() => return Ok(None),
                Err(error) if error.is_about_object() => break,
                Err(error) => return Err(error),
            };
            let hash = Hash::of(&bytes);
            // What no entry brings, no point needs; where it is asked for all the same, it has to come twice alike.
            if stated.or(before) == Some(hash) {
                self.whole = Some((pack, bytes.clone()));
                return Ok(Some(bytes));
            }
            before = Some(hash);
        }
        self.spared.insert(pack);
        Ok(None)
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

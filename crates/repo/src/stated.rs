//! The region in the words of [`crate::protocol`]: what its log, its session objects and its sweeps state.
//!
//! Only what counts is stated: entries that this host alone remembers, and facts that their writer may not state, are
//! left out. Session objects and condemned parts count whoever wrote them, as long as they are whole and of this life of the
//! region; a part of somebody who may not maintain keeps everybody from relying on its packs, and deletes none. An object of
//! either kind that does not read ends the question: what it says is not known, so nothing may rest on it.

mod kept;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use format::fact::Fact;
use format::id::{Incarnation, PackId, PointId, SessionId, WriterId};
use format::limit::{ENTRY_BYTES_MAX, SMALL_OBJECT_BYTES_MAX};
use format::reference::FrameId;
use format::session::{PartId, Session as SessionRecord, SweepPart};
use storage::ObjectKey;

use crate::error::Error;
use crate::fold::Fold;
use crate::layout;
use crate::log::LogEntry;
use crate::protocol::{self, Ids, Logs, Sessions, Sweeps};
use crate::repo::Repo;
use kept::{Kept, Read, Reading};

/// What was read of the objects that this module states.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    sessions: Kept<SessionRecord>,
    parts: Kept<SweepPart>,
}

/// The ids of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Real {}

/// A session, and whose it is: anybody could write another one's id into a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Chain {
    pub(crate) writer: WriterId,
    pub(crate) session: SessionId,
}

/// What is referred to. Sessions speak of whole packs as long as they can, so as not to remember each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Piece {
    /// Every frame that was sealed into this pack, where it was sealed.
    Pack(PackId),
    /// One frame, wherever it is.
    Frame(FrameId),
}

impl Piece {
    pub(crate) fn origin(&self) -> PackId {
        match self {
            Piece::Pack(pack) => *pack,
            Piece::Frame(frame) => frame.pack,
        }
    }
}

impl Ids for Real {
    type Point = PointId;
    type Session = Chain;
    type Pack = PackId;
    type Frame = Piece;
    type Part = PartId;
    type Uploader = SessionId;

    fn uploader(pack: &PackId) -> SessionId {
        pack.session()
    }

    fn uploads_as(session: &Chain) -> SessionId {
        session.session
    }

    fn origin(piece: &Piece) -> PackId {
        piece.origin()
    }
}

/// A condemned part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) record: Arc<SweepPart>,
    /// Whether its writer may maintain.
    pub(crate) by_maintainer: bool,
}

impl Repo {
    /// The log as it was last read. Closures of points are not spelled out.
    pub(crate) fn stated_logs(&self) -> Logs<Real> {
        self.stated_logs_after(None)
    }

    /// Of what lies behind an entry only: what a listing from an offset would give, for those who prove that it is not enough.
    pub(crate) fn stated_logs_after(&self, after: Option<&protocol::EntryId<Real>>) -> Logs<Real> {
        self.region_log(|entries, fold| {
            let life = life_of(&fold, self.io.region_name());
            let here = Here { repo: self, root: self.root(), fold: &fold, life };
            let behind = |entry: &protocol::Entry<Real>| after.is_none_or(|after| entry.id > *after);
            let mut logs = Logs::default();
            for entry in entries.filter_map(|entry| here.entry(entry)).filter(behind) {
                logs.add(&entry);
            }
            logs
        })
    }

    /// All session objects of this life of the region, but for those of sessions that are over and do not read.
    pub(crate) fn announced(&self) -> Result<Vec<Arc<SessionRecord>>, Error> {
        let (fold, region) = (self.fold(), self.io.region_name());
        let mut announced = all_read(self.read_sessions()?)?;
        let life = life_of(&fold, region);
        announced.retain(|record| record.region == region && record.incarnation == life);
        announced.sort_by_key(|record| (record.writer, record.session, record.number));
        Ok(announced)
    }

    fn read_sessions(&self) -> Result<Read<SessionRecord>, Error> {
        let (io, fold) = (&self.io, self.fold());
        let read = |key: &ObjectKey, bytes: Result<Bytes, Error>| {
            let wrong = Error::object(key.clone(), io.place());
            let record = SessionRecord::decode(&bytes?, &self.genesis.id).map_err(wrong)?;
            self.is_named(key, &layout::session(record.writer, record.session, record.number), record)
        };
        let is_ours = |name: &str| layout::parse_session(name).is_some();
        let reading = Reading { is_ours, most: SMALL_OBJECT_BYTES_MAX as u64, read };
        let excused = |key: &ObjectKey, error: &Error| is_gone(error) || is_over(&fold, key);
        self.statements.sessions.all(io, &layout::sessions(), &reading, excused)
    }

    fn read_parts(&self) -> Result<Read<SweepPart>, Error> {
        let io = &self.io;
        let read = |key: &ObjectKey, bytes: Result<Bytes, Error>| {
            let wrong = Error::object(key.clone(), io.place());
            let record = SweepPart::decode(&bytes?, &self.genesis.id).map_err(wrong)?;
            self.is_named(key, &layout::sweep_part(record.id()), record)
        };
        let is_ours = |name: &str| layout::parse_sweep_part(name).is_some();
        let reading = Reading { is_ours, most: ENTRY_BYTES_MAX as u64, read };
        self.statements.parts.all(io, &layout::sweeps(), &reading, |_, _| false)
    }

    /// What is wrong with session objects and with parts of sweeps that do not read, and should.
    ///
    /// # Errors
    /// Of the region.
    pub(crate) fn unread(&self) -> Result<Vec<Error>, Error> {
        let (sessions, parts) = (self.read_sessions()?.1, self.read_parts()?.1);
        sessions.into_iter().chain(parts).map(|e| if e.is_about_object() { Ok(e) } else { Err(e) }).collect()
    }

    fn is_named<T>(&self, key: &ObjectKey, named: &ObjectKey, object: T) -> Result<T, Error> {
        if named == key { Ok(object) } else { Err(self.io.damaged(key, "it is the object of another name")) }
    }

    /// Who is at work.
    pub(crate) fn stated_sessions(&self) -> Result<Sessions<Real>, Error> {
        let objects: Vec<_> = self.announced()?.iter().map(|record| stated_session(record)).collect();
        Ok(Sessions::of(&objects))
    }

    /// All parts of sweeps of this life of the region.
    pub(crate) fn parts(&self) -> Result<Vec<Part>, Error> {
        let (fold, region) = (self.fold(), self.io.region_name());
        let mut parts = all_read(self.read_parts()?)?;
        let life = life_of(&fold, region);
        parts.retain(|record| record.incarnation == life && record.region == region);
        let by_maintainer = |record: &SweepPart| fold.may_maintain(record.writer, self.root());
        Ok(parts.into_iter().map(|record| Part { by_maintainer: by_maintainer(&record), record }).collect())
    }

    /// What is condemned: by whomever, for those who refer; by maintainers, for those who delete.
    pub(crate) fn stated_sweeps(&self, by_maintainers: bool) -> Result<Sweeps<Real>, Error> {
        let parts = self.parts()?.into_iter().filter(|part| part.by_maintainer || !by_maintainers);
        Ok(Sweeps::of(parts.map(|part| (part.record.id(), part.record.packs.iter().copied().collect()))))
    }
}

/// The objects, if each of them reads.
fn all_read<T>((objects, unread): Read<T>) -> Result<Vec<Arc<T>>, Error> {
    unread.into_iter().next().map_or(Ok(objects), Err)
}

/// What every entry of one log is stated with.
struct Here<'a> {
    repo: &'a Repo,
    root: WriterId,
    fold: &'a Fold,
    life: Incarnation,
}

impl Here<'_> {
    fn entry(&self, entry: &LogEntry) -> Option<protocol::Entry<Real>> {
        let clear = &entry.clear;
        let counted = self.fold.counted(entry, self.root)?;
        let session = Chain { writer: clear.writer, session: clear.session };
        let id = protocol::EntryId { session, sequence: u64::from(clear.number) };
        Some(protocol::Entry {
            maintainer: self.fold.may_maintain(clear.writer, self.root),
            local: clear.local.is_some(),
            brings: clear.brings.iter().filter_map(|b| layout::parse_pack(&b.name)).collect(),
            ends: counted.contains(&Fact::End),
            facts: counted.iter().flat_map(|fact| self.facts(&id, fact)).collect(),
            id,
        })
    }

    /// Liveness is the fold's to say, so that holds, pins and regions mean the same everywhere: here a point is forgotten, or was
    /// and lives again, or never was.
    fn facts(&self, id: &protocol::EntryId<Real>, fact: &Fact) -> Vec<protocol::Fact<Real>> {
        let region = self.repo.io.region_name();
        match fact {
            Fact::Point(point) => {
                let commit = protocol::Fact::Commit { point: point.id, frames: BTreeSet::new() };
                let live = self.fold.points.get(&point.id).is_some_and(|record| record.is_live_in(region));
                let was_forgotten = !live || self.fold.was_ever_forgotten(&point.id);
                let forget = was_forgotten.then_some(protocol::Fact::Forget { point: point.id });
                let undo = protocol::Fact::Undo { point: point.id, forgets: BTreeSet::from([id.clone()]) };
                std::iter::once(commit).chain(forget).chain((live && was_forgotten).then_some(undo)).collect()
            }
            Fact::Acknowledged => vec![protocol::Fact::Acknowledged],
            Fact::Expired(expired) if expired.region == region => {
                let session = Chain { writer: expired.writer, session: expired.session };
                vec![protocol::Fact::Expired { session }]
            }
            Fact::Moved(moved) if moved.region == region && moved.incarnation == self.life => {
                moved.frames.iter().flat_map(moves).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn moves((origin, ordinals, to): &(PackId, Vec<u32>, PackId)) -> Vec<protocol::Fact<Real>> {
    let frame = |&ordinal: &u32| Piece::Frame(FrameId { pack: *origin, ordinal });
    ordinals.iter().map(|ordinal| protocol::Fact::Moved { frame: frame(ordinal), pack: *to }).collect()
}

fn stated_session(record: &SessionRecord) -> protocol::SessionObject<Real> {
    protocol::SessionObject {
        session: Chain { writer: record.writer, session: record.session },
        renewal: record.number,
        roots: record.roots.iter().copied().collect(),
        covers: record.covers.iter().copied().collect(),
    }
}

pub(crate) fn life_of(fold: &Fold, region: &str) -> Incarnation {
    fold.regions.get(region).copied().unwrap_or(Incarnation([0; 16]))
}

/// It was listed a moment ago: its session is over, and a sweep took it away.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Storage(error) if error.is_not_found())
}

fn is_over(fold: &Fold, key: &ObjectKey) -> bool {
    layout::parse_session(key.as_str()).is_some_and(|(writer, session, _)| fold.is_over(&(writer, session)))
}

#[cfg(test)]
mod tests;

//! The effects of a sweep, carried out over objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use format::fact::{Fact, Moved};
use format::id::{Hash, PackId, SessionId, WriterId};
use format::session::{PartId, Purpose, SweepPart};
use storage::ObjectKey;

use super::{Doomed, ENTRY_ROOM, Sweep, add};
use crate::error::Error;
use crate::layout;
use crate::protocol::{self, Effect, List, Mark, Name, Needed, Object, Reply};
use crate::repo::{Link, Said};
use crate::stated::{Chain, Piece, Real};

/// Bytes that a frame which was moved takes in an entry, at most.
const FRAME_ROOM: u64 = 64;

impl Sweep<'_> {
    /// Carries out one effect. What goes wrong is kept for whoever reports it.
    pub(super) fn perform(&mut self, effect: Effect<Real, ()>) -> Reply<Real> {
        match self.try_perform(effect) {
            Ok(reply) => reply,
            Err(error) => {
                self.failed.get_or_insert(error);
                Reply::Failed
            }
        }
    }

    fn try_perform(&mut self, effect: Effect<Real, ()>) -> Result<Reply<Real>, Error> {
        Ok(match effect {
            Effect::List(List::Logs { after }) => {
                self.repo.refresh()?;
                self.repo.must_be_faultless()?;
                self.repo.must_see_all()?;
                Reply::Logs(Arc::new(self.repo.stated_logs_after(after.as_ref())))
            }
            Effect::List(List::Sessions) => Reply::Sessions(Arc::new(self.repo.stated_sessions()?)),
            Effect::List(List::Sweeps) => Reply::Sweeps(Arc::new(self.repo.stated_sweeps(true)?)),
            Effect::List(List::Packs) => Reply::Packs(Arc::new(self.list_packs()?)),
            Effect::Put(Object::Session(object)) => self.announce(&object)?,
            Effect::Put(Object::Entry(entry)) => self.state(&entry)?,
            Effect::Put(Object::Part { part, packs }) => self.condemn(part, packs)?,
            Effect::Mark(mark) => Reply::Marked(Arc::new(self.needed(&mark)?)),
            Effect::Copy { session, frames } => self.copy(session, &frames)?,
            Effect::ReadBack { pack, frames } => Reply::Held(self.read_back(pack, &frames)?),
            Effect::NewSession => {
                let (writer, session) =
                    (WriterId::of(&self.signer().public()), SessionId(self.chance.bytes()));
                Reply::Session(Chain { writer, session })
            }
            _ => Reply::Failed,
        })
    }

    fn announce(&mut self, object: &protocol::SessionObject<Real>) -> Result<Reply<Real>, Error> {
        self.stores(ENTRY_ROOM);
        self.repo.announce(self.signer(), Purpose::Sweep, object)?;
        let renewed = self.repo.world.monotonic();
        self.held = Some((object.session.session, object.renewal.saturating_add(1), renewed));
        Ok(Reply::Done)
    }

    fn needed(&mut self, mark: &Mark<Real>) -> Result<Needed<Real>, Error> {
        let marked = self.marker.mark_needed(mark)?;
        let mut needed = Needed { staying: BTreeSet::new(), others: BTreeSet::new() };
        for pack in marked.packs() {
            if mark.stays(&pack) {
                needed.staying.insert(pack);
            } else {
                needed.others.extend(marked.frames_of(pack).map(Piece::Frame));
            }
        }
        Ok(needed)
    }

    fn condemn(&mut self, part: PartId, packs: BTreeSet<PackId>) -> Result<Reply<Real>, Error> {
        let record = SweepPart {
            repo: self.repo.genesis.id,
            writer: WriterId::of(&self.signer().public()),
            public_key: self.signer().public(),
            region: self.repo.io.region_name().to_owned(),
            incarnation: self.repo.incarnation(),
            number: part.number,
            sweep: part.sweep,
            part: part.part,
            packs: packs.into_iter().collect(),
            time: self.repo.logical_time(),
        };
        let bytes = record.seal(self.signer()).into_bytes();
        self.stores(bytes.len() as u64);
        self.repo.io.put_seen(&layout::sweep_part(part), bytes.into())?;
        Ok(Reply::Done)
    }

    /// The entry that announces copies and ends the session.
    fn state(&mut self, entry: &protocol::Entry<Real>) -> Result<Reply<Real>, Error> {
        let mut frames: BTreeMap<(PackId, PackId), Vec<u32>> = BTreeMap::new();
        for fact in &entry.facts {
            if let protocol::Fact::Moved { frame: Piece::Frame(frame), pack } = fact {
                frames.entry((frame.pack, *pack)).or_default().push(frame.ordinal);
            }
        }
        let mut facts = Vec::new();
        if !frames.is_empty() {
            let frames = frames.into_iter().map(|((from, to), ordinals)| (from, ordinals, to)).collect();
            let region = self.repo.io.region_name().to_owned();
            facts.push(Fact::Moved(Moved { region, incarnation: self.repo.incarnation(), frames }));
        }
        facts.push(Fact::End);
        let brings = entry.brings.iter().filter_map(|pack| self.stored.get(pack)).cloned().collect();
        let number = u32::try_from(entry.id.sequence).expect("a sweep's session has few entries");
        let link = Link { session: entry.id.session.session, number, previous: Hash::NONE };
        let said = Said { brings, deps: Vec::new(), local: Some(self.repo.io.region_name().to_owned()) };
        let mut chance = self.repo.world.chance();
        self.stores(ENTRY_ROOM + FRAME_ROOM * entry.facts.len() as u64);
        self.repo.append(self.signer(), link, &facts, said, &mut chance)?;
        self.held = None;
        Ok(Reply::Done)
    }

    /// Deletes these, many at once.
    pub(super) fn delete(&mut self, names: &BTreeSet<Name<Real>>) -> Reply<Real> {
        match self.try_delete(names) {
            Ok(()) => Reply::Done,
            Err(error) => {
                self.failed.get_or_insert(error);
                Reply::Failed
            }
        }
    }

    fn try_delete(&mut self, names: &BTreeSet<Name<Real>>) -> Result<(), Error> {
        let doomed = self.doomed(names)?;
        let (mut gone, mut failed) = (Vec::new(), None);
        let keys = doomed.iter().map(|(key, _)| key.clone()).collect();
        self.repo.io.delete_each(keys, |at, outcome| match outcome {
            Ok(()) => gone.extend(doomed[at].1),
            Err(error) => drop(failed.get_or_insert(error)),
        });
        for pack in gone {
            if let Some(size) = self.sizes.remove(&pack) {
                add(&mut self.done.deleted, size);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The objects of these names. Packs that are not there need no request.
    fn doomed(&mut self, names: &BTreeSet<Name<Real>>) -> Result<Doomed, Error> {
        let there = self.list_packs()?;
        let packs = names.iter().filter_map(|name| match name {
            Name::Pack(pack) if there.contains(pack) && !self.spared.contains(pack) => {
                Some((layout::pack(*pack), Some(*pack)))
            }
            _ => None,
        });
        let mut doomed: Doomed = packs.collect();
        let is_over = |key: &ObjectKey| {
            layout::parse_session(key.as_str())
                .is_some_and(|(writer, session, _)| names.contains(&Name::Session(Chain { writer, session })))
        };
        if names.iter().any(|name| matches!(name, Name::Session(_))) {
            let sessions = self.repo.io.list(&layout::sessions())?.into_iter().map(|object| object.key);
            doomed.extend(sessions.filter(is_over).map(|key| (key, None)));
        }
        Ok(doomed)
    }
}

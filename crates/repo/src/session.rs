//! A session as production runs it: the machine of [`crate::protocol`] decides, this file carries out its effects.
//!
//! Every effect is done before its reply is handed on: an object counts as written once it was read back, a list is
//! complete and begins after it was asked for. Frames are asked for by their origin pack, which is coarser than the
//! protocol needs and so errs towards storing again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use format::entry::{Brought, EntryId};
use format::fact::{Fact, Grant};
use format::id::{Hash, Incarnation, PackId, PointId, SessionId, WriterId};
use format::limit::ENTRY_BYTES_MAX;
use format::seal::Signer;
use format::session::{PartId, Purpose, Session as SessionRecord, SweepPart};
use world::Chance;

use crate::error::Error;
use crate::fold::Fold;
use crate::layout;
use crate::log::LogEntry;
use crate::protocol::{
    self, Arrived, Effect, Ids, Known, List, Logs, Object, Reference as Verdict, Refusal, Reply, Rules,
    Sweeps,
};
use crate::repo::{Link, Repo, Said};

/// A session is renewed this often, so that a sweeper sees it at work.
const RENEWAL: Duration = Duration::from_secs(3600);

/// The ids of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Real {}

impl Ids for Real {
    type Point = PointId;
    type Session = SessionId;
    type Pack = PackId;
    type Frame = PackId;
    type Part = PartId;

    fn uploader(pack: &PackId) -> SessionId {
        pack.session()
    }

    fn origin(frame: &PackId) -> PackId {
        *frame
    }
}

/// A session at work in one region.
pub(crate) struct Session<'r> {
    repo: &'r Repo,
    signer: Signer,
    purpose: Purpose,
    incarnation: Incarnation,
    machine: protocol::Session<Real>,
    known: Option<Known<Real>>,
    link: Link,
    asked: HashMap<PackId, bool>,
    renewed: Duration,
    chance: Chance,
    next: Option<(Vec<Fact>, Said)>,
    repeat: Option<(storage::ObjectKey, Hash, bytes::Bytes)>,
}

impl<'r> Session<'r> {
    /// Announces a session that relies on `roots`, then reads the region.
    pub(crate) fn open(
        repo: &'r Repo,
        signer: Signer,
        purpose: Purpose,
        roots: BTreeSet<PointId>,
    ) -> Result<Session<'r>, Error> {
        let mut chance = repo.world.chance();
        let id = SessionId(chance.bytes());
        let (machine, effect) = protocol::Session::open(Rules::all(), id, roots, purpose != Purpose::Write);
        let mut session = Session {
            repo,
            signer,
            purpose,
            incarnation: repo.incarnation(),
            machine,
            known: None,
            link: Link { session: id, number: 0, previous: Hash::NONE },
            asked: HashMap::new(),
            renewed: repo.world.monotonic(),
            chance,
            next: None,
            repeat: None,
        };
        match session.drive(effect)? {
            Arrived::Open(known) => session.known = Some(known),
            arrived => return Err(unexpected(&arrived)),
        }
        Ok(session)
    }

    /// Its id, and the first half of the ids of its packs.
    pub(crate) fn id(&self) -> SessionId {
        self.link.session
    }

    /// Roots that hold: what lies under them stays while the session runs.
    pub(crate) fn accepted(&self) -> &BTreeSet<PointId> {
        self.machine.accepted()
    }

    /// Whether frames of this pack may be referred to.
    pub(crate) fn may_refer(&mut self, pack: PackId) -> Result<bool, Error> {
        if let Some(answer) = self.asked.get(&pack) {
            return Ok(*answer);
        }
        let known = self.known.as_ref().expect("an open session knows its region");
        let answer = match self.machine.refer(known, &pack) {
            Verdict::Use => true,
            Verdict::Store => false,
            Verdict::Outdated => return Err(Error::Raced("the session was renewed meanwhile".into())),
        };
        self.asked.insert(pack, answer);
        Ok(answer)
    }

    /// An upload begins.
    pub(crate) fn uploading(&mut self, pack: PackId) {
        self.machine.uploading(pack, [pack]);
    }

    /// The upload was seen in the region.
    pub(crate) fn stored(&mut self, pack: PackId) {
        self.machine.stored(&pack);
        self.asked.insert(pack, true);
    }

    /// Renews the session if it is time.
    pub(crate) fn renew_if_due(&mut self) -> Result<(), Error> {
        let now = self.repo.world.monotonic();
        if now.saturating_sub(self.renewed) < RENEWAL {
            return Ok(());
        }
        let effect = self.machine.renew().map_err(refused)?;
        match self.drive(effect)? {
            Arrived::Renewed(known) => {
                (self.known, self.renewed) = (Some(known), now);
                self.asked.clear();
                Ok(())
            }
            arrived => Err(unexpected(&arrived)),
        }
    }

    /// Writes an entry with these facts and objects; `relies` are the packs that a point among the facts refers to. The
    /// entry counts when this returns.
    pub(crate) fn commit(
        &mut self,
        facts: Vec<Fact>,
        brings: Vec<Brought>,
        relies: BTreeSet<PackId>,
        last: bool,
    ) -> Result<(), Error> {
        let mut stated: Vec<protocol::Fact<Real>> = facts.iter().filter_map(|f| stated(f, &relies)).collect();
        if last {
            stated.push(protocol::Fact::Acknowledged);
        }
        let deps = self.deps(&relies, &facts);
        let local = (self.purpose != Purpose::Write).then(|| self.repo.io.region_name().to_owned());
        let mut facts = facts;
        if last {
            facts.extend([Fact::Acknowledged, Fact::End]);
        }
        self.next = Some((facts, Said { brings, deps, local }));
        let effect = self.machine.commit(stated, last).map_err(refused)?;
        match self.drive(effect)? {
            Arrived::Acknowledged | Arrived::Ended => Ok(()),
            arrived => Err(unexpected(&arrived)),
        }
    }

    /// Per chain whose packs or points this entry leans on, its last needed entry.
    fn deps(&self, relies: &BTreeSet<PackId>, facts: &[Fact]) -> Vec<EntryId> {
        let fold = self.repo.fold();
        let packs = relies.iter().filter_map(|pack| fold.packs.get(pack)).map(|record| record.entry);
        let bases = facts.iter().filter_map(|fact| match fact {
            Fact::Point(point) => fold.points.get(&point.basis?).map(|basis| basis.entry),
            _ => None,
        });
        let mut last: HashMap<(WriterId, SessionId), u32> = HashMap::new();
        for entry in packs.chain(bases).filter(|entry| entry.session != self.id()) {
            let number = last.entry((entry.writer, entry.session)).or_default();
            *number = (*number).max(entry.number);
        }
        let mut deps: Vec<EntryId> =
            last.into_iter().map(|((writer, session), number)| EntryId { writer, session, number }).collect();
        deps.sort_unstable();
        deps
    }

    fn drive(&mut self, mut effect: Effect<Real, Arrived<Real>>) -> Result<Arrived<Real>, Error> {
        loop {
            let reply = match effect {
                Effect::Done(arrived) => return Ok(arrived),
                Effect::List(List::Logs { .. }) => {
                    self.repo.refresh()?;
                    Reply::Logs(std::sync::Arc::new(self.repo.stated_logs()))
                }
                Effect::List(List::Sweeps) => Reply::Sweeps(std::sync::Arc::new(self.sweeps()?)),
                Effect::Put(Object::Session(object)) => {
                    self.put_session(&object)?;
                    Reply::Done
                }
                Effect::Put(Object::Entry(entry)) => {
                    self.put_entry(&entry)?;
                    Reply::Done
                }
                Effect::StoreAgain(packs) => {
                    return Err(Error::Raced(format!(
                        "a sweep condemned {} packs that this session had begun to use",
                        packs.len()
                    )));
                }
                _ => Reply::Failed,
            };
            effect = self.machine.step(reply);
        }
    }

    fn put_session(&self, object: &protocol::SessionObject<Real>) -> Result<(), Error> {
        let record = SessionRecord {
            repo: self.repo.genesis.id,
            writer: WriterId::of(&self.signer.public()),
            public_key: self.signer.public(),
            session: object.session,
            number: object.renewal,
            region: self.repo.io.region_name().to_owned(),
            incarnation: self.incarnation,
            purpose: self.purpose,
            roots: object.roots.iter().copied().collect(),
            covers: object.covers.iter().copied().collect(),
            time: self.repo.logical_time(),
        };
        let key = layout::session(record.writer, record.session, record.number);
        self.repo.io.put_seen(&key, record.seal(&self.signer).into_bytes().into())
    }

    /// Writes the entry that was prepared; the same bytes again if it is repeated.
    fn put_entry(&mut self, entry: &protocol::Entry<Real>) -> Result<(), Error> {
        let (key, hash, bytes) = match self.repeat.take() {
            Some(made) => made,
            None => {
                let (facts, said) = self.next.take().expect("an entry is prepared before it is asked for");
                debug_assert_eq!(
                    u64::from(self.link.number),
                    entry.id.sequence,
                    "the machine counts as we do"
                );
                self.repo.entry(&self.signer, self.link, &facts, said, &mut self.chance)
            }
        };
        self.repeat = Some((key.clone(), hash, bytes.clone()));
        self.repo.io.put_seen(&key, bytes)?;
        self.repeat = None;
        self.link.number = self.link.number.saturating_add(1);
        self.link.previous = hash;
        Ok(())
    }

    fn sweeps(&self) -> Result<Sweeps<Real>, Error> {
        let io = &self.repo.io;
        let mut parts = Vec::new();
        for (key, bytes) in io.get_listed(&layout::sweeps(), ENTRY_BYTES_MAX as u64)? {
            let part =
                SweepPart::decode(&bytes?, &self.repo.genesis.id).map_err(Error::object(key, io.place()))?;
            if part.incarnation == self.incarnation {
                parts.push((part.id(), part.packs.into_iter().collect()));
            }
        }
        Ok(Sweeps::of(parts))
    }
}

impl Repo {
    /// The log in the words of the protocol. Closures are not spelled out: sessions here never ask for what lies under
    /// their roots.
    fn stated_logs(&self) -> Logs<Real> {
        let (log, fold) = (self.log(), self.fold());
        let entries: Vec<protocol::Entry<Real>> =
            log.entries.values().map(|e| stated_entry(e, &fold)).collect();
        Logs::of(&entries)
    }
}

fn stated_entry(entry: &LogEntry, fold: &Fold) -> protocol::Entry<Real> {
    let clear = &entry.clear;
    let facts: Vec<Fact> =
        clear.facts.iter().chain(&entry.facts).filter_map(|raw| Fact::decode(raw.clone()).ok()).collect();
    let rights = fold.writers.get(&clear.writer).map_or(0, |w| w.grant.rights);
    protocol::Entry {
        id: protocol::EntryId { session: clear.session, sequence: u64::from(clear.number) },
        maintainer: rights & Grant::MAINTAIN != 0,
        local: clear.local.is_some(),
        brings: clear.brings.iter().filter_map(|b| layout::parse_pack(&b.name)).collect(),
        ends: facts.contains(&Fact::End),
        facts: facts.iter().filter_map(|fact| stated(fact, &BTreeSet::new())).collect(),
    }
}

fn stated(fact: &Fact, relies: &BTreeSet<PackId>) -> Option<protocol::Fact<Real>> {
    match fact {
        Fact::Point(point) => Some(protocol::Fact::Commit { point: point.id, frames: relies.clone() }),
        Fact::Acknowledged => Some(protocol::Fact::Acknowledged),
        Fact::Expired(expired) => Some(protocol::Fact::Expired { session: expired.session }),
        Fact::Forget(forget) => forget.points.first().map(|point| protocol::Fact::Forget { point: *point }),
        _ => None,
    }
}

fn unexpected(arrived: &Arrived<Real>) -> Error {
    Error::Raced(match arrived {
        Arrived::CommitAgain => {
            "a sweep gave this session up as silent before its work counted; what it stored is \
                                 found and used by the next run"
                .into()
        }
        Arrived::Failed => {
            "the region did not answer as it should while the session changed its state".into()
        }
        _ => "the session is not where it should be".into(),
    })
}

fn refused(refusal: Refusal) -> Error {
    Error::Raced(match refusal {
        Refusal::Busy => "the session is busy".into(),
        Refusal::Unreferenced => "the point refers to a pack that this session did not ask for".into(),
    })
}

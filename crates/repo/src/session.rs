//! A session as production runs it: the machine of [`crate::protocol`] decides, this file carries out its effects.
//!
//! Every effect is done before its reply is handed on: an object counts as written once it was read back, a list is
//! complete and begins after it was asked for. Frames are asked for by their origin pack as long as that stays, so as not to
//! remember each of them. For a session that is dropped before its end sweeps wait until somebody lets it expire.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use format::entry::{Brought, EntryId};
use format::fact::{Expired, Fact};
use format::id::{Hash, PackId, PointId, SessionId, WriterId};
use format::seal::Signer;
use format::session::Purpose;
use world::Chance;

use crate::alive::Alive;
use crate::error::Error;
use crate::layout;
use crate::mark::Marker;
use crate::protocol::{
    self, Arrived, Effect, Known, List, Logs, Object, Reference as Verdict, Refusal, Reply,
};
use crate::repo::{Link, Repo, Said};
use crate::stated::{Chain, Piece, Real};

/// A session is renewed this often, so that a sweeper sees it at work.
pub(crate) const RENEWAL: Duration = Duration::from_secs(3600);

/// And it looks this often whether a sweep waits for its renewal.
const LOOK: Duration = Duration::from_secs(120);

/// A session at work in one region.
pub(crate) struct Session<'r> {
    repo: &'r Repo,
    signer: Signer,
    purpose: Purpose,
    machine: protocol::Session<Real>,
    known: Option<Known<Real>>,
    link: Link,
    asked: HashMap<Piece, bool>,
    renewed: Duration,
    looked: Duration,
    parts_listed: Option<usize>,
    chance: Chance,
    alive: Option<Alive>,
    /// What of the log did not read before the session was announced, and so says nothing of it.
    bad_before: BTreeSet<String>,
    /// Whether what it says is to count when the region was read behind its entry.
    is_acknowledging: bool,
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
        let chain = Chain { writer: WriterId::of(&signer.public()), session: id };
        let bad_before = repo.bad_objects();
        // An expiry may lie among what does not read; then nobody reads expiries in another one's place.
        let seen = if bad_before.is_empty() { repo.seen_in_region(&roots) } else { BTreeSet::new() };
        let (machine, effect) = protocol::Session::open(repo.rules, chain, roots, purpose != Purpose::Write);
        let machine = machine.having_seen(seen);
        // Who may not give a session up need not know which of them died.
        let alive = repo.must_maintain(&signer).ok().and_then(|()| Alive::begin(repo, id));
        let mut session = Session {
            repo,
            signer,
            purpose,
            machine,
            known: None,
            link: Link { session: id, number: 0, previous: Hash::NONE },
            asked: HashMap::new(),
            renewed: repo.world.monotonic(),
            looked: repo.world.monotonic(),
            parts_listed: None,
            chance,
            alive,
            bad_before,
            is_acknowledging: false,
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

    /// Whether this may be referred to.
    pub(crate) fn may_refer(&mut self, piece: Piece) -> Result<bool, Error> {
        if let Some(answer) = self.asked.get(&piece) {
            return Ok(*answer);
        }
        let known = self.known.as_ref().expect("an open session knows its region");
        let answer = match self.machine.refer(known, &piece) {
            Verdict::Use => true,
            Verdict::Store => false,
            Verdict::Outdated => return Err(Error::Raced("the session was renewed meanwhile".into())),
        };
        self.asked.insert(piece, answer);
        Ok(answer)
    }

    /// Whether a sweep condemned this pack before the region was read last.
    pub(crate) fn is_condemned(&self, pack: PackId) -> bool {
        self.known.as_ref().is_some_and(|known| known.sweeps.is_condemned(&pack))
    }

    /// An upload begins.
    pub(crate) fn uploading(&mut self, pack: PackId) {
        self.machine.uploading(pack, [Piece::Pack(pack)]);
    }

    /// The upload was seen in the region.
    pub(crate) fn stored(&mut self, pack: PackId) {
        self.machine.stored(&pack);
        self.asked.insert(Piece::Pack(pack), true);
    }

    /// Renews the session if it is time, or if a sweep waits for it.
    pub(crate) fn renew_if_due(&mut self) -> Result<(), Error> {
        let now = self.repo.world.monotonic();
        if now.saturating_sub(self.renewed) < RENEWAL && !self.is_waited_for(now)? {
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

    /// Whether something was condemned since the session looked last.
    fn is_waited_for(&mut self, now: Duration) -> Result<bool, Error> {
        if now.saturating_sub(self.looked) < LOOK {
            return Ok(false);
        }
        self.looked = now;
        let listed = self.repo.io.list(&layout::sweeps())?.len();
        let known = || self.known.as_ref().map_or(0, |known| known.sweeps.parts().len());
        let before = self.parts_listed.replace(listed).unwrap_or_else(known);
        Ok(listed != before)
    }

    /// Writes an entry with these facts and objects; `relies` is what a point among the facts refers to. The
    /// entry counts when this returns.
    pub(crate) fn commit(
        &mut self,
        facts: Vec<Fact>,
        brings: Vec<Brought>,
        relies: BTreeSet<Piece>,
        last: bool,
    ) -> Result<(), Error> {
        let mut stated: Vec<protocol::Fact<Real>> = facts.iter().flat_map(|f| asks(f, &relies)).collect();
        if last {
            stated.push(protocol::Fact::Acknowledged);
        }
        let deps = self.deps(&relies, &facts);
        let local = (self.purpose != Purpose::Write).then(|| self.repo.io.region_name().to_owned());
        let mut facts = facts;
        if last {
            facts.extend([Fact::Acknowledged, Fact::End]);
        }
        let said = facts.clone();
        self.next = Some((facts, Said { brings, deps, local }));
        self.is_acknowledging = last || !stated.is_empty();
        let effect = self.machine.commit(stated, last).map_err(refused)?;
        match self.drive(effect)? {
            Arrived::Acknowledged => Ok(()),
            Arrived::Ended => {
                self.alive.take().into_iter().for_each(Alive::end);
                Ok(())
            }
            arrived => {
                if arrived == Arrived::CommitAgain {
                    self.repo.withdraw(&self.signer, &said);
                    self.alive.take().into_iter().for_each(Alive::end);
                }
                Err(unexpected(&arrived))
            }
        }
    }

    /// Per chain whose packs or points this entry leans on, its last needed entry.
    fn deps(&self, relies: &BTreeSet<Piece>, facts: &[Fact]) -> Vec<EntryId> {
        let fold = self.repo.fold();
        let packs =
            relies.iter().filter_map(|piece| fold.packs.get(&piece.origin())).map(|record| record.entry);
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

    /// Says that it is over, after something went wrong that is told in its place. Where the region does not answer, nobody
    /// waits for that once more.
    pub(crate) fn leave(&mut self, after: &Error) {
        if !after.is_about_place() {
            let _ = self.commit(Vec::new(), Vec::new(), BTreeSet::new(), true);
        }
    }

    fn drive(&mut self, mut effect: Effect<Real, Arrived<Real>>) -> Result<Arrived<Real>, Error> {
        loop {
            let reply = match effect {
                Effect::Done(arrived) => return Ok(arrived),
                Effect::List(List::Logs { .. }) => {
                    self.repo.refresh()?;
                    if self.known.is_none() || self.is_acknowledging {
                        self.must_read_all()?;
                    }
                    Reply::Logs(Arc::new(self.logs()?))
                }
                Effect::List(List::Sweeps) => Reply::Sweeps(Arc::new(self.repo.stated_sweeps(false)?)),
                Effect::Put(Object::Session(object)) => {
                    self.repo.announce(&self.signer, self.purpose, &object)?;
                    Reply::Done
                }
                Effect::Put(Object::Entry(entry)) => {
                    self.put_entry(&entry)?;
                    Reply::Done
                }
                // What was condemned is not stored again here: the sweep waits for this session.
                Effect::StoreAgain(_) => {
                    let known = self.known.as_ref().expect("only an open session is renewed");
                    effect = self.machine.renew_as_it_was(known).map_err(refused)?;
                    continue;
                }
                _ => Reply::Failed,
            };
            effect = self.machine.step(reply);
        }
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

    /// Refuses a log of which something new does not read: it may say that this session was given up.
    fn must_read_all(&self) -> Result<(), Error> {
        match self.repo.bad_objects().difference(&self.bad_before).next() {
            None => Ok(()),
            Some(object) => Err(Error::Raced(format!(
                "{object} cannot be read, and it may say that a sweep gave this session up before its work counted; what \
                 was stored is found and used by the next run"
            ))),
        }
    }

    /// The log, in which everything is spelled out that the roots of a session need to be accepted. Where that cannot be found
    /// out, there is a frame among it that has no place.
    fn logs(&self) -> Result<Logs<Real>, Error> {
        let mut logs = self.repo.stated_logs();
        if self.known.is_some() {
            return Ok(logs);
        }
        let unsure: Vec<PointId> = self.machine.unsure(&logs).copied().collect();
        for root in unsure {
            let mut marker = Marker::new(self.repo);
            let frames = match marker.mark(&BTreeSet::from([root])) {
                Ok(marked) => marked.frames().map(Piece::Frame).collect(),
                Err(Error::Unmarked { .. }) => BTreeSet::from([Piece::Pack(PackId::new(self.id(), [0; 16]))]),
                Err(error) => return Err(error),
            };
            logs.spell_out(&root, frames);
        }
        Ok(logs)
    }
}

/// What a fact asks of the session that states it.
fn asks(fact: &Fact, relies: &BTreeSet<Piece>) -> Vec<protocol::Fact<Real>> {
    let undo = |point| protocol::Fact::Undo { point, forgets: BTreeSet::new() };
    match fact {
        Fact::Point(point) => vec![protocol::Fact::Commit { point: point.id, frames: relies.clone() }],
        Fact::Acknowledged => vec![protocol::Fact::Acknowledged],
        Fact::Expired(Expired { writer, session, .. }) => {
            vec![protocol::Fact::Expired { session: Chain { writer: *writer, session: *session } }]
        }
        Fact::Undo(undone) => undone.points.iter().map(|(point, _)| undo(*point)).collect(),
        Fact::Pin(pin) => vec![protocol::Fact::Hold { point: pin.point }],
        Fact::Hold(hold) => hold.point.map(|point| protocol::Fact::Hold { point }).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn unexpected(arrived: &Arrived<Real>) -> Error {
    Error::Raced(match arrived {
        Arrived::CommitAgain => {
            "this session was given up before its work counted, by a sweep that saw no sign of life or by `session \
             expire`; what it stored is found and used by the next run, unless a sweep took it"
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

#[cfg(test)]
mod tests;

//! Deleting what nothing needs, beside whoever is at work: condemn, wait, copy what turned out to be needed, delete.
//!
//! The machines of [`crate::protocol`] decide; here their effects are carried out. A sweep needs the catalog key, by which
//! directories open, and the right to maintain; it reads no content. It refuses to begin on a history that shows faults, as
//! what is lost of a history may be what keeps a point. Killed at any moment, it is run again: what was condemned stays
//! condemned, what was copied and not announced is an orphan of the next one. On a full disk it deletes all that can be
//! deleted without storing anything before, and tries again what found no room as long as that frees some.

mod copy;
mod effects;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use format::entry::Brought;
use format::id::{PackId, SessionId, SweepId, WriterId};
use format::limit::ENTRY_BYTES_MAX;
use format::seal::Signer;
use format::session::PartId;
use storage::ObjectKey;
use world::Chance;

use crate::error::Error;
use crate::fold::Finding;
use crate::layout;
use crate::mark::{Marked, Marker};
use crate::protocol::{Condemn, Condemned, Effect, Finish, Finished, Mark, Silence, Tidy};
use crate::repo::Repo;
use crate::stated::{Chain, Piece, Real};
use crate::verify::Level;

/// Packs that one part condemns: its object stays under the size of an entry.
const PART_PACKS_MAX: usize = ENTRY_BYTES_MAX / 40;

/// Room for a session object or for an entry without a list: more than such a one has.
const ENTRY_ROOM: u64 = 4096;

/// How long a sweep sleeps before it looks again whether sessions have ended.
const POLL: Duration = Duration::from_secs(5);

/// How a sweep works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Packs of whose bytes less than so many hundredths are needed are repacked.
    pub repack_below: u32,
    /// Bytes that repacking may copy in one sweep.
    pub repack_bytes_max: u64,
    /// How long it waits for sessions at work.
    pub wait: Duration,
    /// A session that is silent for so long, while this sweep looks on without a break, is given up.
    pub expire_after: Duration,
}

/// What a sweep would do; counts are packs, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Packs in the region, and their sizes.
    pub packs: (u64, u64),
    /// Those that nothing needs.
    pub unneeded: (u64, u64),
    /// Among them those that no point ever needed: of backups that did not come to their end.
    pub orphans: (u64, u64),
    /// Those of sessions that are at work, which stay.
    pub under_way: (u64, u64),
    /// Those that only sessions at work still need, of points that were forgotten.
    pub for_sessions: (u64, u64),
    /// Those condemned before and still there.
    pub condemned: (u64, u64),
    /// Those to be repacked, and their sizes.
    pub repacked: (u64, u64),
    /// Bytes that repacking copies.
    pub copied: u64,
    /// Bytes that the region has fewer in the end.
    pub freed: u64,
    /// Requests that it takes, about.
    pub requests: u64,
    /// Points that are forgotten and whose packs may go.
    pub forgotten: u64,
    /// Live points that nobody has verified at L2: what their writers left out of their frame lists would be deleted.
    pub unverified: u64,
    repack: BTreeSet<PackId>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.unneeded.0 + self.condemned.0 + self.repacked.0 == 0
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Packs that were condemned now, and their sizes.
    pub condemned: (u64, u64),
    /// Packs that were deleted, and their sizes.
    pub deleted: (u64, u64),
    /// Frames that were copied, and their sizes.
    pub moved: (u64, u64),
    /// Packs that are not as they were stored, and hold what is needed: they stay, condemned, until that is stored again.
    pub spared: BTreeSet<PackId>,
    /// Packs that are left because only sessions at work need them, of points that were forgotten, and their sizes.
    pub for_sessions: (u64, u64),
    /// Sessions that were given up, as silent or as those of processes of this host that died.
    pub expired: Vec<(WriterId, SessionId)>,
    /// Sessions that it waited for in vain: what is condemned is deleted by a later sweep. Where nothing is, it waits for
    /// nobody.
    pub waits_for: Vec<(WriterId, SessionId)>,
}

/// A sweep of one region.
pub struct Sweep<'r> {
    repo: &'r Repo,
    /// Whoever only plans lets nobody in.
    signer: Option<Signer>,
    options: Options,
    marker: Marker<'r>,
    chance: Chance,
    sizes: BTreeMap<PackId, u64>,
    /// Packs that this sweep stored, as its entry will bring them.
    stored: BTreeMap<PackId, Brought>,
    /// Bytes of what it tried to store last before something failed.
    room: u64,
    /// The session in which it copies, its number of the next renewal, and when it was renewed.
    held: Option<(SessionId, u32, Duration)>,
    /// The pack that frames are moved from, as it was stored.
    whole: Option<(PackId, Bytes)>,
    /// Packs that are not as they were stored: they stay.
    spared: BTreeSet<PackId>,
    /// Packs from which nothing can be moved any more.
    gone: BTreeSet<PackId>,
    silence: Silence<Real>,
    began_to_wait: Option<Duration>,
    /// Packs that are condemned and were there.
    condemned: u64,
    done: Swept,
    failed: Option<Error>,
}

impl<'r> Sweep<'r> {
    /// Looks whether this host may sweep, and whether the history is whole.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] without the right to maintain, [`Error::Keys`] without the catalog key,
    /// [`Error::FaultyHistory`] where the history shows faults, [`Error::ClosedHistory`] where some of it does not open.
    pub fn new(repo: &'r Repo, options: Options) -> Result<Sweep<'r>, Error> {
        repo.allow("sweep")?;
        repo.must_have_newest_keys()?;
        if repo.bundle.newest().catalog.is_none() {
            return Err(Error::Keys(format::Error::NoKey("opening directories, which a sweep has to do,")));
        }
        if let Some(signer) = repo.known_signer()? {
            repo.must_maintain(&signer)?;
        }
        if repo.must_be_faultless().is_err() {
            // What did not read when the history was read last may read by now.
            repo.refresh()?;
        }
        repo.must_be_faultless()?;
        repo.must_see_all()?;
        Ok(Sweep {
            repo,
            signer: None,
            options,
            marker: Marker::new(repo),
            chance: repo.world.chance(),
            sizes: BTreeMap::new(),
            stored: BTreeMap::new(),
            room: 0,
            held: None,
            whole: None,
            spared: BTreeSet::new(),
            gone: BTreeSet::new(),
            silence: Silence::new(options.expire_after),
            began_to_wait: None,
            condemned: 0,
            done: Swept::default(),
            failed: None,
        })
    }

    /// What it would do, as the region is now.
    ///
    /// # Errors
    /// [`Error::Unmarked`] where nobody knows what points need.
    pub fn plan(&mut self) -> Result<Plan, Error> {
        let repo = self.repo;
        let packs = self.list_packs()?;
        repo.refresh()?;
        let (logs, sessions) = (repo.stated_logs(), repo.stated_sessions()?);
        let sweeps = repo.stated_sweeps(true)?;
        let running = sessions.iter().filter(|(session, _)| !logs.is_over(session));
        let roots = running.flat_map(|(_, standing)| standing.roots.iter().copied());
        let live = logs.points().map(|(point, _)| *point).filter(|point| logs.is_live(point));
        let points: BTreeSet<_> = roots.chain(live).collect();
        let listed: BTreeSet<PackId> =
            packs.iter().copied().filter(|pack| !sweeps.is_condemned(pack)).collect();
        let mark = Mark {
            points: std::sync::Arc::new(points),
            logs: std::sync::Arc::new(logs),
            sweeps: std::sync::Arc::new(sweeps),
            listed: Some(std::sync::Arc::new(listed)),
        };
        let marked = self.marker.mark_needed(&mark)?;
        let mut plan = self.planned(&packs, &mark, &marked);
        plan.for_sessions = self.for_sessions(&mark, &marked)?;
        Ok(plan)
    }

    /// Packs that nothing would need if nobody were at work, and their sizes.
    fn for_sessions(&mut self, mark: &Mark<Real>, marked: &Marked) -> Result<(u64, u64), Error> {
        let live: BTreeSet<_> =
            mark.points.iter().copied().filter(|point| mark.logs.is_live(point)).collect();
        let mut packs = (0, 0);
        if live.len() < mark.points.len() {
            let mark = Mark { points: live.into(), ..mark.clone() };
            let without = self.marker.mark_needed(&mark)?;
            let needed = self.needed_bytes(&mark, &without);
            let only = self.needed_bytes(&mark, marked).into_keys().filter(|pack| !needed.contains_key(pack));
            only.for_each(|pack| add(&mut packs, self.sizes.get(&pack).copied().unwrap_or_default()));
        }
        Ok(packs)
    }

    fn planned(&self, packs: &BTreeSet<PackId>, mark: &Mark<Real>, marked: &Marked) -> Plan {
        let mut plan = Plan::default();
        let needed = self.needed_bytes(mark, marked);
        let over = mark.logs.uploaders_over();
        let mut sparse = Vec::new();
        for pack in packs {
            let size = self.sizes.get(pack).copied().unwrap_or_default();
            add(&mut plan.packs, size);
            let brought = mark.logs.is_brought(pack);
            match needed.get(pack) {
                _ if mark.sweeps.is_condemned(pack) => add(&mut plan.condemned, size),
                Some(live) => sparse.push((*pack, size, *live)),
                None if !brought && !over.contains(&pack.session()) => add(&mut plan.under_way, size),
                None => {
                    add(&mut plan.unneeded, size);
                    if !brought {
                        add(&mut plan.orphans, size);
                    }
                }
            }
        }
        self.choose_sparse(sparse, &mut plan);
        plan.forgotten = mark.logs.points().filter(|(point, _)| !mark.logs.is_live(point)).count() as u64;
        plan.unverified = self.unverified();
        let gone = plan.unneeded.1 + plan.condemned.1 + plan.repacked.1;
        plan.freed = gone.saturating_sub(plan.copied);
        plan.requests = self.marker.requests() + plan.unneeded.0 + plan.condemned.0 + 3 * plan.repacked.0;
        plan
    }

    fn unverified(&self) -> u64 {
        let (fold, region) = (self.repo.fold(), self.repo.io.region_name());
        let live = fold.points.values().filter(|record| record.is_live_in(region));
        let verified = |level: u8| level >= Level::L2.number();
        live.filter(|record| !record.verified.iter().any(|v| v.region == region && verified(v.level))).count()
            as u64
    }

    /// Per pack the bytes of needed frames that have their one place there.
    fn needed_bytes(&self, mark: &Mark<Real>, marked: &Marked) -> BTreeMap<PackId, u64> {
        let mut needed: BTreeMap<PackId, u64> = BTreeMap::new();
        for origin in marked.packs() {
            for frame in marked.frames_of(origin) {
                if let Some(place) = mark.keeper(&Piece::Frame(frame)) {
                    let bytes = self.marker.contents(place).and_then(|contents| contents.bytes_of(&frame));
                    *needed.entry(place).or_default() += bytes.unwrap_or_default();
                }
            }
        }
        needed
    }

    /// Those packs first that free most for each byte that is copied.
    fn choose_sparse(&self, sparse: Vec<(PackId, u64, u64)>, plan: &mut Plan) {
        let share = |pack: PackId, live: u64| {
            let all = self.marker.contents(pack).map_or(0, |contents| contents.bytes());
            live.saturating_mul(1000).checked_div(all).unwrap_or(1000)
        };
        let mut sparse: Vec<_> =
            sparse.into_iter().map(|(pack, size, live)| (share(pack, live), pack, size, live)).collect();
        sparse.sort_unstable();
        for (_, pack, size, live) in
            sparse.into_iter().take_while(|(share, ..)| *share < u64::from(self.options.repack_below) * 10)
        {
            if plan.copied.saturating_add(live) > self.options.repack_bytes_max {
                break;
            }
            add(&mut plan.repacked, size);
            plan.copied += live;
            plan.repack.insert(pack);
        }
    }

    /// Condemns what nothing needs and what the plan repacks, then deletes all that was ever condemned, if those at work end
    /// or renew in time.
    ///
    /// # Errors
    /// [`Error::NoRoom`] where something had to be stored first and there is no room for it, also after all was deleted
    /// that could be.
    pub fn apply(mut self, plan: &Plan) -> Result<Swept, Error> {
        let signer = self.repo.enrolled_signer()?;
        self.repo.must_maintain(&signer)?;
        (self.signer, self.condemned) = (Some(signer), plan.condemned.0);
        self.done.for_sessions = plan.for_sessions;
        let mut condemned = false;
        loop {
            let deleted = self.done.deleted.0;
            match self.go_on(plan, &mut condemned) {
                Ok(()) => return Ok(self.done),
                Err(error) if is_full(&error) && self.done.deleted.0 > deleted => {}
                Err(error) => return Err(self.without_room(error)),
            }
        }
    }

    /// What was condemned before is deleted also where there is no room to condemn more: that makes some.
    fn go_on(&mut self, plan: &Plan, condemned: &mut bool) -> Result<(), Error> {
        if !*condemned {
            match self.give_up_gone().and_then(|()| self.condemn_packs(plan)) {
                Ok(()) => *condemned = true,
                Err(error) if is_full(&error) => return self.finish().and(Err(error)),
                Err(error) => return Err(error),
            }
        }
        self.finish()
    }

    /// Remembers how much is to be stored now.
    fn stores(&mut self, bytes: u64) {
        if self.failed.is_none() {
            self.room = bytes;
        }
    }

    fn without_room(&self, error: Error) -> Error {
        match error {
            Error::Storage(source @ storage::Error::Full { .. }) => {
                Error::NoRoom { source, bytes: self.room, deleted: self.done.deleted.0 }
            }
            error => error,
        }
    }

    fn condemn_packs(&mut self, plan: &Plan) -> Result<(), Error> {
        let part = self.next_part()?;
        let (mut condemn, mut effect) =
            Condemn::begin(self.repo.rules, part, plan.repack.clone(), PART_PACKS_MAX);
        let condemned = loop {
            match effect {
                Effect::Done(Condemned::Packs(packs)) => break packs,
                Effect::Done(Condemned::Failed) => return Err(self.failure()),
                effect_ => {
                    let reply = self.perform(effect_.map(|_| ()));
                    effect = condemn.step(reply);
                }
            }
        };
        self.condemned = plan.condemned.0.saturating_add(condemned.len() as u64);
        for pack in condemned {
            add(&mut self.done.condemned, self.sizes.get(&pack).copied().unwrap_or_default());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        let (mut finish, mut effect) = Finish::<Real>::begin(self.repo.rules, Tidy::PacksAndSessions);
        let mut has_looked = false;
        loop {
            if self.repo.world.is_stopped() {
                return Err(Error::GivenUp);
            }
            if finish.is_waiting() && matches!(effect, Effect::List(crate::protocol::List::Logs { .. })) {
                let is_idle = self.condemned == 0;
                if std::mem::replace(&mut has_looked, true) && (is_idle || !self.wait_a_little()?) {
                    let waiting = finish.waiting().iter().filter(|_| !is_idle);
                    self.done.waits_for = waiting.map(|chain| (chain.writer, chain.session)).collect();
                    return Ok(());
                }
                self.expire_silent(Some(finish.waiting()))?;
            }
            let reply = match effect {
                Effect::Done(Finished::Swept { .. }) => {
                    self.done.spared.extend(&self.spared);
                    return Ok(());
                }
                Effect::Done(Finished::Failed) => return Err(self.failure()),
                Effect::Delete(name) => {
                    let mut names = finish.take_deletions();
                    names.insert(name);
                    self.delete(&names)
                }
                effect_ => self.perform(effect_.map(|_| ())),
            };
            effect = finish.step(reply);
        }
    }

    fn failure(&mut self) -> Error {
        self.failed
            .take()
            .unwrap_or_else(|| Error::Raced("the region did not answer as it should to a sweep".into()))
    }

    /// Whether to go on waiting.
    fn wait_a_little(&mut self) -> Result<bool, Error> {
        let now = self.repo.world.monotonic();
        let since = *self.began_to_wait.get_or_insert(now);
        let left = self.options.wait.saturating_sub(now.saturating_sub(since));
        if left.is_zero() {
            return Ok(false);
        }
        self.repo.io.sleep(&self.repo.world, left.min(POLL));
        Ok(true)
    }

    /// Gives up whoever is at work no more, and looks again at what those who are left keep.
    fn give_up_gone(&mut self) -> Result<(), Error> {
        self.stores(ENTRY_ROOM);
        let dead = self.repo.give_up_dead()?;
        self.done.expired.extend(dead);
        self.give_up_silent()?;
        if !self.done.expired.is_empty() {
            self.done.for_sessions = self.plan()?.for_sessions;
        }
        Ok(())
    }

    /// Where there is time for it, watches those at work before anything is condemned: what only the dead rely on is needed
    /// until they are given up.
    fn give_up_silent(&mut self) -> Result<(), Error> {
        let (began, limit) = (self.repo.world.monotonic(), self.options.expire_after);
        if self.options.wait < limit {
            return Ok(());
        }
        loop {
            self.repo.refresh()?;
            let watched = self.repo.world.monotonic().saturating_sub(began);
            let running = self.expire_silent(None)?;
            if running == 0 || watched >= limit {
                return Ok(());
            }
            if self.repo.world.is_stopped() {
                return Err(Error::GivenUp);
            }
            self.repo.io.sleep(&self.repo.world, limit.saturating_sub(watched).min(POLL));
        }
    }

    /// Gives up those that were silent for long enough, among those waited for if they are given; how many are left.
    fn expire_silent(&mut self, waiting: Option<&BTreeSet<Chain>>) -> Result<usize, Error> {
        let (logs, sessions) = (self.repo.stated_logs(), self.repo.stated_sessions()?);
        let silent = self.silence.observe(self.repo.world.monotonic(), &logs, &sessions);
        let running = sessions.iter().filter(|(session, _)| !logs.is_over(session)).count();
        let silent: Vec<Chain> = silent
            .into_iter()
            .filter(|chain| waiting.is_none_or(|waiting| waiting.contains(chain)))
            .collect();
        self.stores(ENTRY_ROOM);
        for chain in &silent {
            self.repo.expire(self.signer(), (chain.writer, chain.session))?;
            self.done.expired.push((chain.writer, chain.session));
        }
        Ok(running.saturating_sub(silent.len()))
    }

    fn signer(&self) -> &Signer {
        self.signer.as_ref().expect("whoever acts has a signer")
    }

    fn next_part(&mut self) -> Result<PartId, Error> {
        let last = self.repo.parts()?.into_iter().map(|part| part.record.number).max();
        let number = last.map_or(1, |last| last.saturating_add(1));
        Ok(PartId { number, sweep: SweepId(self.chance.bytes()), part: 0 })
    }

    fn list_packs(&mut self) -> Result<BTreeSet<PackId>, Error> {
        let listed = self.repo.io.list(&layout::packs())?;
        let packs = listed.into_iter().filter_map(|o| Some((layout::parse_pack(o.key.as_str())?, o.size)));
        self.sizes = packs.collect();
        Ok(self.sizes.keys().copied().collect())
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Storage(storage::Error::Full { .. }))
}

fn add(to: &mut (u64, u64), size: u64) {
    to.0 += 1;
    to.1 += size;
}

impl Repo {
    /// Refuses whoever may not forget, sweep and repair.
    pub(crate) fn must_maintain(&self, signer: &Signer) -> Result<(), Error> {
        let writer = WriterId::of(&signer.public());
        if self.fold().may_maintain(writer, self.root()) {
            return Ok(());
        }
        Err(Error::NotAllowed { writer, act: "forget, sweep or repair: it was let in only to add" })
    }

    /// Refuses a history that shows faults: what is lost of it may be what keeps a point.
    pub(crate) fn must_be_faultless(&self) -> Result<(), Error> {
        let faults = self.history_damage();
        match faults.first() {
            None => Ok(()),
            Some(first) => Err(Error::FaultyHistory {
                place: self.io.place(),
                first: first.clone(),
                faults: faults.len(),
            }),
        }
    }
}

impl Repo {
    /// Refuses where an entry that counts says something that the keys at hand do not open: it may be what keeps a point, as
    /// of another domain.
    fn must_see_all(&self) -> Result<(), Error> {
        let fold = self.fold();
        match fold.closed.first() {
            None => Ok(()),
            Some(first) => Err(Error::ClosedHistory {
                place: self.io.place(),
                first: Finding::place(first),
                entries: fold.closed.len(),
            }),
        }
    }
}

/// Objects to be deleted, with the packs among them.
type Doomed = Vec<(ObjectKey, Option<PackId>)>;

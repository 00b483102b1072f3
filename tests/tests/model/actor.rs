//! Drivers of the step functions, as the model runs them: who asks for what, in which order, and where they
//! may choose. An actor does one thing to the store at a time and may stop for ever before any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use repo::protocol::{
    Act, Arrived, Condemn, Condemned, End, Fact, Finish, Finished, List, Object, Reference, Replicate,
    Replicated, Restore, Restored, Revive, Revived, Rules, Session, Tidy, forget, is_acknowledged, may_feed,
};

use super::ids::{Effect, Entry, Frame, Pack, Reply, Tiny, entry_id};

/// One thing done to the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Do {
    Effect(Effect),
    PutPack {
        pack: Pack,
        frames: BTreeSet<Frame>,
    },
    /// Copies as `Effect::Copy`, into this pack.
    CopyInto {
        pack: Pack,
        frames: BTreeMap<Frame, BTreeSet<Pack>>,
        from: u8,
    },
    /// Nothing.
    Skip,
    /// Expires some running session; every one is tried.
    ExpireAny {
        by: u8,
        among: Rc<BTreeSet<u8>>,
    },
    /// Condemns these packs; only what is there.
    CondemnThese {
        part: u8,
        packs: BTreeSet<Pack>,
    },
}

/// When a move makes sense at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    Always,
    /// A sweep waits for a renewal that covers more than this.
    Uncovered(BTreeSet<u8>),
}

/// One thing that an actor may do next.
#[derive(Clone, Debug)]
pub struct Move {
    pub actor: Actor,
    pub region: u8,
    pub act: Do,
    pub when: When,
}

/// What one session of a writer does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    pub session: u8,
    pub roots: BTreeSet<u8>,
    /// Frames that the point needs, if they may be referred to; stored again otherwise.
    pub wants: Vec<Frame>,
    /// How many frames of its own it stores.
    pub new: u8,
    pub point: u8,
    /// The commit entry ends the session.
    pub single: bool,
    pub renewals: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// The real first half.
    Condemn { part: u8, repack: BTreeSet<Pack> },
    /// Any of these sets, whatever a fold would say.
    CondemnAny { part: u8, sets: Vec<BTreeSet<Pack>> },
    /// The real second half.
    Finish(Tidy),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errand {
    Forget { session: u8, point: u8 },
    Revive { session: u8, act: Act, point: u8 },
}

/// Where a writer stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    Start,
    Waits(Do),
    Choose,
    Upload { pack: Pack },
    Replace { pack: Pack, old: Vec<Frame> },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    rules: Rules,
    jobs: Rc<Vec<Job>>,
    job: usize,
    session: Option<Session<Tiny>>,
    have: Vec<Frame>,
    packs: u8,
    renewals: u8,
    asked: bool,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::large_enum_variant, reason = "a world holds two of these")]
enum Work {
    Idle,
    Condemn(Condemn<Tiny>, Do),
    Choose(u8, Vec<BTreeSet<Pack>>),
    Writing,
    Finish(Box<Finish<Tiny>>, Do),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sweeper {
    rules: Rules,
    tasks: Rc<Vec<Task>>,
    task: usize,
    sessions: Rc<Vec<u8>>,
    used: usize,
    copies: u8,
    work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keeper {
    rules: Rules,
    errands: Rc<Vec<Errand>>,
    errand: usize,
    revive: Option<(Revive<Tiny>, Do)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Writer(Writer),
    Sweeper(Sweeper),
    Keeper(Keeper),
    Restorer(Rules, u8, u8, Option<(Box<Restore<Tiny>>, Do)>),
    Expirer { by: u8, left: u8, among: Rc<BTreeSet<u8>> },
    Announcer(Option<Entry>),
    Replicator(Replicator),
    Feeder(Feeder),
    Over,
}

/// One actor and what the world knows of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    pub kind: Kind,
    /// Where it works.
    pub region: u8,
    /// Points whose commit it acknowledged in each region, as bits.
    pub acknowledged: [u64; 2],
    /// Points whose undo or hold it acknowledged, as bits.
    pub revived: u64,
    /// A restore found a frame nowhere.
    pub damage: Option<u8>,
    /// The first page of a list of logs, while the second is outstanding.
    pub page: Option<Rc<BTreeSet<Entry>>>,
}

fn plain<Outcome>(effect: repo::protocol::Effect<Tiny, Outcome>) -> Result<Do, Outcome> {
    let mut outcome = None;
    let effect = effect.map(|done| outcome = Some(done));
    outcome.map_or(Ok(Do::Effect(effect)), Err)
}

impl Actor {
    fn of(kind: Kind) -> Self {
        Self { kind, region: 0, acknowledged: [0; 2], revived: 0, damage: None, page: None }
    }

    pub fn writer(rules: Rules, jobs: Vec<Job>) -> Self {
        Self::of(Kind::Writer(Writer {
            rules,
            jobs: Rc::new(jobs),
            job: 0,
            session: None,
            have: Vec::new(),
            packs: 0,
            renewals: 0,
            asked: false,
            at: At::Start,
        }))
    }

    pub fn sweeper(rules: Rules, tasks: Vec<Task>, sessions: Vec<u8>) -> Self {
        let mut sweeper = Sweeper {
            rules,
            tasks: Rc::new(tasks),
            task: 0,
            sessions: Rc::new(sessions),
            used: 0,
            copies: 0,
            work: Work::Idle,
        };
        sweeper.next_task();
        Self::of(Kind::Sweeper(sweeper))
    }

    pub fn keeper(rules: Rules, errands: Vec<Errand>) -> Self {
        Self::of(Kind::Keeper(Keeper { rules, errands: Rc::new(errands), errand: 0, revive: None }))
    }

    pub fn restorer(rules: Rules, session: u8, point: u8) -> Self {
        Self::of(Kind::Restorer(rules, session, point, None))
    }

    pub fn expirer(by: u8, times: u8, among: &[u8]) -> Self {
        Self::of(Kind::Expirer { by, left: times, among: Rc::new(among.iter().copied().collect()) })
    }

    pub fn announcer(entry: Entry) -> Self {
        Self::of(Kind::Announcer(Some(entry)))
    }

    pub fn in_region(self, region: u8) -> Self {
        Self { region, ..self }
    }

    pub fn replicator(rules: Rules, runs: Vec<(u8, u8, BTreeSet<u8>)>) -> Self {
        Self::of(Kind::Replicator(Replicator { rules, runs: Rc::new(runs), run: 0, copies: 0, work: None }))
    }

    pub fn feeder(rules: Rules, session: u8, entries: u8) -> Self {
        Self::of(Kind::Feeder(Feeder { rules, session, entries, entry: 0, region: 0, at: Feeding::Begin }))
    }

    /// May stay where it is for ever without being stuck.
    pub fn may_rest(&self) -> bool {
        matches!(self.kind, Kind::Over | Kind::Expirer { .. })
    }

    pub fn is_waiting(&self) -> bool {
        matches!(&self.kind, Kind::Sweeper(Sweeper { work: Work::Finish(finish, _), .. }) if finish.is_waiting())
    }

    /// The session that is open, and the roots it relies on, as bits.
    pub fn rooted(&self) -> Option<(u8, u64)> {
        let session = match &self.kind {
            Kind::Writer(writer) => writer.session.as_ref()?,
            Kind::Keeper(keeper) => keeper.revive.as_ref()?.0.session(),
            Kind::Restorer(_, _, _, Some((restore, _))) => restore.session(),
            Kind::Replicator(replicator) => replicator.work.as_ref()?.0.source(),
            _ => return None,
        };
        Some((*session.id(), session.accepted().iter().map(|point| 1 << point).sum()))
    }

    /// What it may do next.
    pub fn moves(&self) -> Vec<Move> {
        match &self.kind {
            Kind::Writer(writer) => writer.moves(self),
            Kind::Sweeper(sweeper) => sweeper.moves(self),
            Kind::Keeper(keeper) => keeper.moves(self),
            Kind::Restorer(rules, session, point, None) => {
                let (restore, effect) = Restore::begin(*rules, *session, *point);
                let act = plain(effect).expect("a restore begins with an effect");
                let begun = Kind::Restorer(*rules, *session, *point, Some((Box::new(restore), act.clone())));
                vec![self.to(begun, act)]
            }
            Kind::Restorer(_, _, _, Some((_, act))) => vec![self.to(self.kind.clone(), act.clone())],
            Kind::Expirer { left: 0, .. } | Kind::Over | Kind::Announcer(None) => Vec::new(),
            Kind::Expirer { by, left, among } => {
                let act = Do::ExpireAny { by: *by, among: among.clone() };
                vec![self.to(Kind::Expirer { by: by + 1, left: left - 1, among: among.clone() }, act)]
            }
            Kind::Replicator(replicator) => replicator.moves(self),
            Kind::Feeder(feeder) => feeder.moves(self),
            Kind::Announcer(Some(entry)) => {
                let act = Do::Effect(Effect::Put(Object::Entry(entry.clone())));
                vec![self.to(Kind::Announcer(None), act)]
            }
        }
    }

    fn to(&self, kind: Kind, act: Do) -> Move {
        Move { actor: Self { kind, ..self.clone() }, region: self.region, act, when: When::Always }
    }

    /// Goes on with what came of its move.
    pub fn reply(mut self, reply: Reply) -> Self {
        let kind = std::mem::replace(&mut self.kind, Kind::Over);
        self.kind = match kind {
            Kind::Writer(writer) => writer.reply(reply, &mut self.acknowledged[0]),
            Kind::Sweeper(sweeper) => sweeper.reply(reply),
            Kind::Keeper(keeper) => keeper.reply(reply, &mut self.revived),
            Kind::Restorer(rules, session, point, Some((mut restore, _))) => match plain(restore.step(reply))
            {
                Ok(act) => Kind::Restorer(rules, session, point, Some((restore, act))),
                Err(Restored::Finished { damaged }) => {
                    self.damage = (!damaged.is_empty()).then_some(session);
                    Kind::Over
                }
                Err(_) => Kind::Over,
            },
            Kind::Announcer(_) => Kind::Over,
            Kind::Replicator(replicator) => replicator.reply(reply, &mut self.acknowledged[1]),
            Kind::Feeder(feeder) => feeder.reply(&reply, &mut self.acknowledged),
            other => other,
        };
        self
    }
}

impl Writer {
    fn moves(&self, actor: &Actor) -> Vec<Move> {
        match &self.at {
            At::Start => self.start(actor).into_iter().collect(),
            At::Waits(act) => self.waits(actor, act),
            At::Choose => self.choose(actor),
            At::Upload { pack } => self.upload(actor, *pack),
            At::Replace { pack, old } => {
                let frames =
                    (0..old.len()).map(|n| Frame(*pack, u8::try_from(n).expect("few frames"))).collect();
                self.waits(actor, &Do::PutPack { pack: *pack, frames })
            }
        }
    }

    fn start(&self, actor: &Actor) -> Option<Move> {
        let job = self.jobs.get(self.job)?;
        let (session, effect) = Session::open(self.rules, job.session, job.roots.clone(), false);
        let act = plain(effect).ok()?;
        let writer = Self { session: Some(session), at: At::Waits(act.clone()), ..self.clone() };
        Some(actor.to(Kind::Writer(writer), act))
    }

    /// While the session does something, the driver may try to commit all the same.
    fn waits(&self, actor: &Actor, act: &Do) -> Vec<Move> {
        let mut moves = vec![actor.to(Kind::Writer(self.clone()), act.clone())];
        let mut eager = self.clone();
        let fact = eager.fact();
        let session = eager.session.as_mut().expect("a session is at work");
        if !self.asked && !session.is_idle() && session.commit(vec![fact], self.job().single).is_err() {
            eager.asked = eager.session != self.session;
            if eager.asked {
                moves.push(actor.to(Kind::Writer(eager), act.clone()));
            }
        }
        moves
    }

    fn job(&self) -> &Job {
        &self.jobs[self.job]
    }

    fn fact(&self) -> Fact<Tiny> {
        Fact::Commit { point: self.job().point, frames: self.have.iter().copied().collect() }
    }

    fn choose(&self, actor: &Actor) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut commits = self.clone();
        let (fact, single) = (self.fact(), self.job().single);
        let session = commits.session.as_mut().expect("a session is open");
        if let Ok(effect) = session.commit(vec![fact], single) {
            let act = plain(effect).expect("a commit is an effect");
            commits.asked = true;
            commits.at = At::Waits(act.clone());
            moves.push(actor.to(Kind::Writer(commits), act));
        }
        if self.renewals < self.job().renewals {
            let mut renews = self.clone();
            let session = renews.session.as_mut().expect("a session is open");
            let covers = session.covers().clone();
            if let Ok(effect) = session.renew() {
                let act = plain(effect).expect("a renewal is an effect");
                renews.renewals += 1;
                renews.at = At::Waits(act.clone());
                moves.push(Move { when: When::Uncovered(covers), ..actor.to(Kind::Writer(renews), act) });
            }
        }
        moves
    }

    fn upload(&self, actor: &Actor, pack: Pack) -> Vec<Move> {
        let frames = self.have.iter().filter(|frame| frame.0 == pack).copied().collect();
        let mut moves = vec![actor.to(Kind::Writer(self.clone()), Do::PutPack { pack, frames })];
        moves.extend(self.choose(actor).into_iter().filter(|m| m.when == When::Always));
        moves
    }

    fn reply(self, reply: Reply, acknowledged: &mut u64) -> Kind {
        match self.at.clone() {
            At::Upload { pack } => self.uploaded(pack, &reply),
            At::Replace { pack, old } => self.replaced(pack, &old, acknowledged),
            _ => self.step(reply, acknowledged),
        }
    }

    fn uploaded(mut self, pack: Pack, reply: &Reply) -> Kind {
        let session = self.session.as_mut().expect("uploads belong to a session");
        if *reply == Reply::Failed {
            let fresh = Pack(pack.0, self.packs);
            let name = session.rename(pack, fresh);
            self.packs += 1;
            self.have.iter_mut().filter(|frame| frame.0 == pack).for_each(|frame| frame.0 = name);
            if name != pack {
                session
                    .uploading(name, self.have.iter().filter(|f| f.0 == name).copied().collect::<Vec<_>>());
            }
            self.at = At::Upload { pack: name };
        } else {
            session.stored(&pack);
            self.at = At::Choose;
        }
        Kind::Writer(self)
    }

    fn replaced(self, pack: Pack, old: &[Frame], acknowledged: &mut u64) -> Kind {
        let by: BTreeMap<Frame, Frame> = old
            .iter()
            .enumerate()
            .map(|(n, f)| (*f, Frame(pack, u8::try_from(n).expect("few frames"))))
            .collect();
        let mut writer = self;
        for frame in &mut writer.have {
            *frame = by.get(frame).copied().unwrap_or(*frame);
        }
        writer.step(Reply::Stored(by), acknowledged)
    }

    fn step(mut self, reply: Reply, acknowledged: &mut u64) -> Kind {
        let session = self.session.as_mut().expect("a reply belongs to a session");
        match plain(session.step(reply)) {
            Ok(Do::Effect(Effect::StoreAgain(lost))) => {
                let pack = Pack(self.job().session, self.packs);
                self.packs += 1;
                self.at = At::Replace { pack, old: lost.into_iter().collect() };
                Kind::Writer(self)
            }
            Ok(act) => {
                self.at = At::Waits(act);
                Kind::Writer(self)
            }
            Err(arrived) => self.arrived(&arrived, acknowledged),
        }
    }

    fn arrived(mut self, arrived: &Arrived<Tiny>, acknowledged: &mut u64) -> Kind {
        match arrived {
            Arrived::Open(known) => self.take_references(known),
            Arrived::Renewed(_) => {
                self.at = At::Choose;
                Kind::Writer(self)
            }
            Arrived::Acknowledged => {
                *acknowledged |= 1 << self.job().point;
                let session = self.session.as_mut().expect("a session is open");
                let effect = session.end().expect("nothing is outstanding behind an acknowledgement");
                self.at = At::Waits(plain(effect).expect("an end is an effect"));
                Kind::Writer(self)
            }
            Arrived::Ended => {
                *acknowledged |= 1 << self.job().point;
                self.next_job()
            }
            Arrived::CommitAgain => self.next_job(),
            Arrived::Failed => Kind::Over,
        }
    }

    fn next_job(self) -> Kind {
        if self.job + 1 == self.jobs.len() {
            return Kind::Over;
        }
        let job = self.job + 1;
        let fresh = Actor::writer(self.rules, Vec::new());
        match fresh.kind {
            Kind::Writer(writer) => Kind::Writer(Self { jobs: self.jobs, job, ..writer }),
            _ => Kind::Over,
        }
    }

    fn take_references(mut self, known: &repo::protocol::Known<Tiny>) -> Kind {
        let job = self.jobs[self.job].clone();
        let session = self.session.as_mut().expect("a session is open");
        let mut own = Vec::new();
        for frame in &job.wants {
            match session.refer(known, frame) {
                Reference::Use => self.have.push(*frame),
                _ => own.push(*frame),
            }
        }
        let stored = own.len() + usize::from(job.new);
        self.at = At::Choose;
        if stored > 0 {
            let pack = Pack(job.session, self.packs);
            self.packs += 1;
            let frames: Vec<Frame> =
                (0..stored).map(|n| Frame(pack, u8::try_from(n).expect("few frames"))).collect();
            self.have.extend(&frames);
            session.uploading(pack, frames);
            self.at = At::Upload { pack };
        }
        Kind::Writer(self)
    }
}

impl Sweeper {
    fn next_task(&mut self) -> bool {
        let Some(task) = self.tasks.get(self.task).cloned() else { return false };
        self.task += 1;
        self.work = match task {
            Task::Condemn { part, repack } => {
                let (condemn, effect) = Condemn::begin(self.rules, part, repack);
                Work::Condemn(condemn, plain(effect).expect("condemning begins with a list"))
            }
            Task::CondemnAny { part, sets } => Work::Choose(part, sets),
            Task::Finish(tidy) => {
                let (mut finish, effect) = Finish::begin(self.rules, tidy);
                match self.with_session(&mut finish, plain(effect)) {
                    Some(Ok(act)) => Work::Finish(Box::new(finish), act),
                    _ => Work::Idle,
                }
            }
        };
        true
    }

    fn moves(&self, actor: &Actor) -> Vec<Move> {
        match &self.work {
            Work::Idle | Work::Writing => Vec::new(),
            Work::Condemn(_, act) | Work::Finish(_, act) => {
                vec![actor.to(Kind::Sweeper(self.clone()), self.name(actor, act))]
            }
            Work::Choose(part, sets) => sets
                .iter()
                .map(|packs| {
                    let writing = Self { work: Work::Writing, ..self.clone() };
                    let act = Do::CondemnThese { part: *part, packs: packs.clone() };
                    actor.to(Kind::Sweeper(writing), act)
                })
                .collect(),
        }
    }

    fn name(&self, actor: &Actor, act: &Do) -> Do {
        match act {
            Do::Effect(Effect::Copy { session, frames }) => {
                Do::CopyInto { pack: Pack(*session, self.copies), frames: frames.clone(), from: actor.region }
            }
            other => other.clone(),
        }
    }

    fn reply(mut self, reply: Reply) -> Kind {
        let done = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Condemn(mut condemn, _) => match plain(condemn.step(reply)) {
                Ok(act) => {
                    self.work = Work::Condemn(condemn, act);
                    return Kind::Sweeper(self);
                }
                Err(outcome) => outcome != Condemned::Failed,
            },
            Work::Finish(finish, act) => return self.reply_to_finish(*finish, &act, reply),
            _ => true,
        };
        self.go_on(done)
    }

    fn go_on(mut self, done: bool) -> Kind {
        if done && self.next_task() { Kind::Sweeper(self) } else { Kind::Over }
    }

    /// Draws a session where one is asked for; there are only so many.
    fn with_session(
        &mut self,
        finish: &mut Finish<Tiny>,
        effect: Result<Do, Finished<Tiny>>,
    ) -> Option<Result<Do, Finished<Tiny>>> {
        if effect != Ok(Do::Effect(Effect::NewSession)) {
            return Some(effect);
        }
        let session = *self.sessions.get(self.used)?;
        self.used += 1;
        Some(plain(finish.step(Reply::Session(session))))
    }

    fn reply_to_finish(mut self, mut finish: Finish<Tiny>, act: &Do, reply: Reply) -> Kind {
        if matches!(act, Do::Effect(Effect::Copy { .. })) {
            self.copies += 1;
        }
        let effect = plain(finish.step(reply));
        let Some(effect) = self.with_session(&mut finish, effect) else { return Kind::Over };
        match effect {
            Ok(act) => {
                self.work = Work::Finish(Box::new(finish), act);
                Kind::Sweeper(self)
            }
            Err(outcome) => self.go_on(matches!(outcome, Finished::Swept { .. })),
        }
    }
}

impl Keeper {
    fn moves(&self, actor: &Actor) -> Vec<Move> {
        if let Some((_, act)) = &self.revive {
            return vec![actor.to(Kind::Keeper(self.clone()), act.clone())];
        }
        match self.errands.get(self.errand) {
            None => Vec::new(),
            Some(Errand::Forget { session, point }) => {
                let entry = forget(entry_id(*session, 0), *point);
                vec![actor.to(Kind::Keeper(self.clone()), Do::Effect(Effect::Put(Object::Entry(entry))))]
            }
            Some(Errand::Revive { session, act, point }) => {
                let (revive, effect) = Revive::begin(self.rules, *session, *act, *point);
                let act = plain(effect).expect("an undo begins with an effect");
                let begun = Self { revive: Some((revive, act.clone())), ..self.clone() };
                vec![actor.to(Kind::Keeper(begun), act)]
            }
        }
    }

    fn reply(mut self, reply: Reply, revived: &mut u64) -> Kind {
        if let Some((mut revive, _)) = self.revive.take() {
            match plain(revive.step(reply)) {
                Ok(act) => {
                    self.revive = Some((revive, act));
                    return Kind::Keeper(self);
                }
                Err(Revived::Yes) => *revived |= self.revives(),
                Err(_) => {}
            }
        } else {
            *revived &= !self.forgets();
        }
        self.errand += 1;
        if self.errand == self.errands.len() { Kind::Over } else { Kind::Keeper(self) }
    }
}

impl Keeper {
    fn forgets(&self) -> u64 {
        match self.errands[self.errand] {
            Errand::Forget { point, .. } => 1 << point,
            Errand::Revive { .. } => 0,
        }
    }

    fn revives(&self) -> u64 {
        match self.errands[self.errand] {
            Errand::Revive { point, .. } => 1 << point,
            Errand::Forget { .. } => 0,
        }
    }
}

/// Runs of replication, one after the other, from the first region to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicator {
    rules: Rules,
    /// Sessions at both ends, and the points to bring.
    runs: Rc<Vec<(u8, u8, BTreeSet<u8>)>>,
    run: usize,
    copies: u8,
    work: Option<(Box<Replicate<Tiny>>, u8, Do)>,
}

impl Replicator {
    fn moves(&self, actor: &Actor) -> Vec<Move> {
        if let Some((_, region, act)) = &self.work {
            let act = match act {
                Do::Effect(Effect::Copy { session, frames }) => {
                    Do::CopyInto { pack: Pack(*session, self.copies), frames: frames.clone(), from: 0 }
                }
                other => other.clone(),
            };
            return vec![Move { region: *region, ..actor.to(Kind::Replicator(self.clone()), act) }];
        }
        let (source, target, points) = self.runs[self.run].clone();
        let (replicate, (end, effect)) = Replicate::begin(self.rules, source, target, points);
        let act = plain(effect).expect("a replication begins with an effect");
        let begun = Self { work: Some((Box::new(replicate), number(end), act)), ..self.clone() };
        begun.moves(actor)
    }

    fn reply(mut self, reply: Reply, counted: &mut u64) -> Kind {
        let Some((mut replicate, _, act)) = self.work.take() else { return Kind::Over };
        self.copies += u8::from(matches!(act, Do::Effect(Effect::Copy { .. })));
        let (end, effect) = replicate.step(reply);
        match plain(effect) {
            Ok(act) => self.work = Some((replicate, number(end), act)),
            Err(outcome) => {
                if outcome == Replicated::Done {
                    *counted |= replicate.source().accepted().iter().map(|point| 1 << point).sum::<u64>();
                }
                self.run += 1;
                self.copies = 0;
                if self.run == self.runs.len() {
                    return Kind::Over;
                }
            }
        }
        Kind::Replicator(self)
    }
}

fn number(end: End) -> u8 {
    match end {
        End::Source => 0,
        End::Target => 1,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Feeding {
    Begin,
    Storing,
    Checking,
    Looking(bool),
    Writing,
    LookingAgain,
    Away,
}

/// A writer that brings each entry into both regions by itself, where it may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Feeder {
    rules: Rules,
    session: u8,
    entries: u8,
    entry: u8,
    region: u8,
    at: Feeding,
}

impl Feeder {
    fn pack(&self) -> Pack {
        Pack(self.session, self.entry)
    }

    fn frames(&self) -> BTreeSet<Frame> {
        BTreeSet::from([Frame(self.pack(), 0)])
    }

    fn entry(&self) -> Entry {
        let commit = Fact::Commit { point: self.entry + 1, frames: self.frames() };
        Entry {
            id: entry_id(self.session, u64::from(self.entry)),
            maintainer: false,
            local: false,
            brings: BTreeSet::from([self.pack()]),
            facts: vec![commit],
            ends: false,
        }
    }

    fn moves(&self, actor: &Actor) -> Vec<Move> {
        let to = |at, act| Move {
            region: self.region,
            ..actor.to(Kind::Feeder(Self { at, ..self.clone() }), act)
        };
        let store = Do::PutPack { pack: self.pack(), frames: self.frames() };
        let check = Do::Effect(Effect::ReadBack { pack: self.pack(), frames: self.frames() });
        let logs = Do::Effect(Effect::List(List::logs()));
        match self.at {
            Feeding::Begin if self.region == 1 => {
                vec![to(Feeding::Storing, store), to(Feeding::Away, Do::Skip)]
            }
            Feeding::Begin => vec![to(Feeding::Storing, store)],
            Feeding::Storing => vec![to(Feeding::Checking, check)],
            Feeding::Looking(_) | Feeding::LookingAgain => vec![to(self.at, logs)],
            Feeding::Writing => {
                vec![to(Feeding::Writing, Do::Effect(Effect::Put(Object::Entry(self.entry()))))]
            }
            Feeding::Checking | Feeding::Away => Vec::new(),
        }
    }

    fn reply(mut self, reply: &Reply, counted: &mut [u64; 2]) -> Kind {
        let id = entry_id(self.session, u64::from(self.entry));
        match (self.at, reply) {
            (Feeding::Storing, _) => {}
            (Feeding::Checking, Reply::Held(held)) => self.at = Feeding::Looking(*held),
            (Feeding::Looking(held), Reply::Logs(logs)) if may_feed(self.rules, logs, &id, held) => {
                self.at = Feeding::Writing;
            }
            (Feeding::Writing, _) => self.at = Feeding::LookingAgain,
            (Feeding::LookingAgain, Reply::Logs(logs)) => {
                let bit = u64::from(is_acknowledged(&[logs], &id, 1));
                counted[usize::from(self.region)] |= bit << (self.entry + 1);
                return self.go_on();
            }
            _ => return self.go_on(),
        }
        Kind::Feeder(self)
    }

    fn go_on(self) -> Kind {
        let (entry, region) = if self.region == 0 { (self.entry, 1) } else { (self.entry + 1, 0) };
        if entry == self.entries {
            return Kind::Over;
        }
        Kind::Feeder(Self { entry, region, at: Feeding::Begin, ..self })
    }
}

/// Whether the act is this list.
pub fn is_list(act: &Do, which: &List<Tiny>) -> bool {
    matches!(act, Do::Effect(Effect::List(list)) if list == which)
}

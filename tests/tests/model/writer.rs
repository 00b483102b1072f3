//! A writer: one session after the other, each with what it refers to, stores and commits; while a session is at
//! work the writer may try to commit all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use repo::protocol::{Arrived, Fact, Known, List, Reference, Rules, Session};

use super::actor::{Actor, Do, Kind, Move, When, plain};
use super::ids::{Effect, Frame, Pack, Reply, Tiny};

/// What one session of a writer does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    pub session: u8,
    pub roots: BTreeSet<u8>,
    /// It lists logs before it opens its session, and takes expiries behind what it saw for those of the roots' writers.
    pub looks: bool,
    /// Frames that the point needs, if they may be referred to; stored again otherwise.
    pub wants: Vec<Frame>,
    /// How many frames of its own it stores.
    pub new: u8,
    pub point: u8,
    /// The commit entry ends the session.
    pub single: bool,
    pub renewals: u8,
    /// Where something was condemned that it refers to, its renewal covers nothing more, and nothing is stored again.
    pub stubborn: bool,
    /// Entries that it may write before its point, each bringing what is stored so far.
    pub brings: u8,
}

/// Where a writer stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    Start,
    Looked(BTreeSet<u8>),
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
    /// What it knows, where it has to know it later.
    known: Option<Known<Tiny>>,
    have: Vec<Frame>,
    packs: u8,
    renewals: u8,
    brings: u8,
    bringing: bool,
    /// The upload that goes on while an entry brings what is stored so far.
    upload: Option<Pack>,
    asked: bool,
    at: At,
}

impl Writer {
    pub fn new(rules: Rules, jobs: Rc<Vec<Job>>, job: usize) -> Self {
        Self {
            rules,
            jobs,
            job,
            session: None,
            known: None,
            have: Vec::new(),
            packs: 0,
            renewals: 0,
            brings: 0,
            bringing: false,
            upload: None,
            asked: false,
            at: At::Start,
        }
    }

    pub fn session(&self) -> Option<&Session<Tiny>> {
        self.session.as_ref()
    }

    pub fn moves(&self, actor: &Actor) -> Vec<Move> {
        match &self.at {
            At::Start if self.jobs.get(self.job).is_some_and(|job| job.looks) => {
                vec![actor.to(Kind::Writer(self.clone()), Do::Effect(Effect::List(List::logs())))]
            }
            At::Start => self.start(actor, BTreeSet::new()).into_iter().collect(),
            At::Looked(seen) => self.start(actor, seen.clone()).into_iter().collect(),
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

    fn start(&self, actor: &Actor, seen: BTreeSet<u8>) -> Option<Move> {
        let job = self.jobs.get(self.job)?;
        let (session, effect) = Session::open(self.rules, job.session, job.roots.clone(), false);
        let (session, act) = (session.having_seen(seen), plain(effect).ok()?);
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
        if self.brings < self.job().brings {
            let mut brings = self.clone();
            let session = brings.session.as_mut().expect("a session is open");
            if let Ok(effect) = session.commit(Vec::new(), false) {
                let act = plain(effect).expect("an entry is an effect");
                (brings.brings, brings.bringing, brings.asked) = (self.brings + 1, true, true);
                brings.upload = if let At::Upload { pack } = self.at { Some(pack) } else { None };
                brings.at = At::Waits(act.clone());
                moves.push(actor.to(Kind::Writer(brings), act));
            }
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

    pub fn reply(self, reply: Reply, acknowledged: &mut u64) -> Kind {
        match self.at.clone() {
            At::Start => self.looked(&reply),
            At::Upload { pack } => self.uploaded(pack, &reply),
            At::Replace { pack, old } => self.replaced(pack, &old, acknowledged),
            _ => self.step(reply, acknowledged),
        }
    }

    fn looked(mut self, reply: &Reply) -> Kind {
        let Reply::Logs(logs) = reply else { return Kind::Over };
        let seen = self.job().roots.iter().filter(|root| logs.point(root).is_some());
        self.at = At::Looked(seen.copied().collect());
        Kind::Writer(self)
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
            Ok(Do::Effect(Effect::StoreAgain(_))) if self.known.is_some() => {
                let known = self.known.as_ref().expect("it was looked at");
                let effect = session.renew_as_it_was(known).expect("it was asked to store again");
                self.at = At::Waits(plain(effect).expect("a renewal is an effect"));
                Kind::Writer(self)
            }
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
            Arrived::Renewed(known) => {
                self.known = self.job().stubborn.then(|| known.clone());
                self.at = At::Choose;
                Kind::Writer(self)
            }
            Arrived::Acknowledged if self.bringing => {
                (self.bringing, self.asked) = (false, false);
                self.at = self.upload.take().map_or(At::Choose, |pack| At::Upload { pack });
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
        Kind::Writer(Self::new(self.rules, self.jobs, self.job + 1))
    }

    fn take_references(mut self, known: &Known<Tiny>) -> Kind {
        let job = self.jobs[self.job].clone();
        self.known = job.stubborn.then(|| known.clone());
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

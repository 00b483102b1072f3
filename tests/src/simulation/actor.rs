//! What an actor does in each of its lives: it takes up the state that it has, opens the repository, and does what its
//! part asks for, until it is done or dies in the middle of a call.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use format::fact::PointKind;
use format::id::RepoId;
use format::key::Bundle;
use repo::protocol::Rules;
use repo::verify::{Level, Verifier};
use repo::{Error, Io, Opening, Reader, Repo, Secret, audit};
use storage::{Faulty, Patience, Region, Retrying, Store};
use world::{Chance, World};

use super::acts::{self, Damage};
use super::journal::Journal;
use super::keep::Keeper;
use super::place::{Death, Gate};
use super::plan::{Life, Memory, Part, Plan, Role};
use super::plant::{Plant, Prank};
use super::source::Source;
use super::stage::{Actor, HostClock, Stage, stream};
use super::sweeper::Sweeper;
use crate::files::copy_all;

/// What all actors of a history share.
pub(super) struct Cast {
    /// The plan.
    pub plan: Plan,
    /// Where they wait for their turns.
    pub stage: Arc<Stage>,
    /// What the checkers know.
    pub journal: Arc<Journal>,
    /// Each one's way to the place, with its faults.
    pub ways: BTreeMap<Actor, Arc<Faulty>>,
    /// The keys.
    pub bundle: Bundle,
    /// Where the hosts keep their states, each in a folder of its number.
    pub states: PathBuf,
}

impl Cast {
    /// The repository.
    pub(super) fn repo(&self) -> RepoId {
        self.bundle.repo
    }

    /// The folder of an actor's state.
    pub(super) fn state(&self, actor: Actor) -> PathBuf {
        self.states.join(actor.to_string())
    }

    /// A world whose chance is that of one life.
    pub(super) fn world(&self, role: &Role, life: u64) -> World {
        let clock = HostClock { stage: self.stage.clone(), actor: role.actor, ahead_ns: role.ahead_ns };
        let mut seeds = stream(self.plan.seed, "world", role.actor as u64 * 1000 + life);
        World::simulated(seeds.below(u64::MAX), Arc::new(clock))
    }
}

/// A host as the acts of an actor see it.
pub(super) struct Host<'h> {
    /// What all share.
    pub cast: &'h Cast,
    /// Who it is.
    pub actor: Actor,
    /// The repository, opened with all keys.
    pub repo: &'h Repo,
    /// The bug that is planted here, if one is.
    pub plant: Option<Plant>,
}

impl Host<'_> {
    /// What the checkers know.
    pub(super) fn journal(&self) -> &Journal {
        &self.cast.journal
    }

    /// Does nothing for so long.
    pub(super) fn pause(&self, time: Duration) {
        if !time.is_zero() {
            self.cast.stage.pause(self.actor, time);
        }
    }

    /// Whether this bug is planted.
    pub(super) fn plays(&self, prank: Prank) -> bool {
        self.plant == Some(Plant::Prank(prank))
    }
}

/// What an actor can do, one act at a time. What it remembers between acts is what the host remembers.
pub(super) trait Acting: Send {
    /// Does the next thing.
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error>;

    /// The state of the host is another one than this actor left.
    fn lose_memory(&mut self) {}
}

/// The acting of a part.
fn acting(part: Part, seed: u64, actor: Actor) -> Box<dyn Acting> {
    match part {
        Part::Writer => Box::new(Writer(Source::of(seed, actor))),
        Part::Restorer => Box::new(Restorer),
        Part::Verifier => Box::new(VerifierPart),
        Part::Keeper => Box::new(Keeper::default()),
        Part::Sweeper => Box::new(Sweeper),
        Part::Auditor => Box::new(Auditor),
    }
}

/// Makes points of a source that changes in between.
struct Writer(Source);

impl Acting for Writer {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        self.0.change(chance);
        let kind = match chance.below(6) {
            0 => Some(PointKind::Full),
            1 => Some(PointKind::Differential),
            _ => None,
        };
        let pauses = [0; 3].map(|_| leisure(chance));
        acts::backup(host, &mut self.0, kind, pauses).map(drop)
    }

    fn lose_memory(&mut self) {
        self.0.remembered = None;
    }
}

/// How long somebody at work does nothing: often not at all or some seconds, now and then minutes or an hour.
fn leisure(chance: &mut Chance) -> Duration {
    let most = match chance.below(12) {
        0..5 => 1,
        5..9 => 40,
        9..11 => 300,
        _ => 3600,
    };
    Duration::from_secs(chance.below(most))
}

/// A point of those that are live, drawn by chance: often the newest of some source, upon which others build.
pub(super) fn some_point(host: &Host<'_>, chance: &mut Chance) -> Result<Option<repo::PointRecord>, Error> {
    let fold = host.repo.refresh()?;
    let live = fold.live(None);
    let lot = usize::try_from(chance.below(live.len() as u64)).expect("a history has few points");
    let drawn = live.get(lot).copied();
    let newest = drawn.and_then(|record| fold.newest(Some(&record.point.source), i64::MAX, &BTreeSet::new()));
    Ok(if chance.below(2) == 0 { newest } else { drawn }.cloned())
}

/// Brings points back and compares them with what their writers know.
struct Restorer;

impl Acting for Restorer {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        let Some(record) = some_point(host, chance)? else { return Ok(()) };
        let hides = host.plays(Prank::HidesDamage);
        let damage = if hides { Damage::Hidden } else { Damage::Told };
        let guard = host.repo.guard(BTreeSet::from([record.point.id]))?;
        if guard.unprotected().is_none() {
            host.journal().relies(host.actor, BTreeSet::from([record.point.id]));
        }
        host.pause(leisure(chance));
        let read =
            Reader::new(host.repo).and_then(|reader| acts::restore(&reader, record.point.root, damage));
        host.journal().released(host.actor);
        guard.leave();
        let files = read?;
        let journal = host.journal();
        match journal.point(&record.point.id) {
            Some(made) if *made.files == files => journal.count(|counts| counts.restores += 1),
            Some(_) => {
                journal.break_rule(format!("point {} came back otherwise than it was", record.point.id))
            }
            None => journal.break_rule(format!("point {} was never made", record.point.id)),
        }
        Ok(())
    }
}

/// Verifies points.
struct VerifierPart;

impl Acting for VerifierPart {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        let Some(record) = some_point(host, chance)? else { return Ok(()) };
        let level = [Level::L0, Level::L1, Level::L2][usize::try_from(chance.below(3)).expect("below 3")];
        Verifier::new(host.repo)?.verify(&record, level)?;
        host.journal().count(|counts| counts.verifications += 1);
        Ok(())
    }
}

/// Checks the history with public keys alone.
struct Auditor;

impl Acting for Auditor {
    fn act(&mut self, host: &Host<'_>, _: &mut Chance) -> Result<(), Error> {
        audit(host.repo.io(), Some(host.cast.repo()))?;
        host.journal().count(|counts| counts.audits += 1);
        Ok(())
    }
}

/// Steps that a history must have at least.
pub(super) const STEPS_MIN: u64 = 200;
/// Acts after which even the one who goes on stops.
const ACTS_MAX: u64 = 40;

/// Plays all lives of a role; the repository as the last one has it, if it did not die.
pub(super) fn play(cast: &Cast, role: &Role) -> Option<Repo> {
    let mut acting = acting(role.part, cast.plan.seed, role.actor);
    let mut last = None;
    for (life, number) in role.lives.iter().zip(0..) {
        drop(last.take());
        cast.stage.pause(role.actor, life.before);
        prepare(cast, role, life, &mut *acting);
        let is_last = number + 1 == role.lives.len() as u64;
        last = Scene { cast, role, life, number, is_last }.play(&mut *acting);
    }
    last
}

/// Puts the state into its place that a life begins with.
fn prepare(cast: &Cast, role: &Role, life: &Life, acting: &mut dyn Acting) {
    let (state, older) = (cast.state(role.actor), older(cast, role.actor));
    match life.memory {
        Memory::Older if older.exists() => {
            replace(&older, &state);
            acting.lose_memory();
            cast.journal.count(|counts| counts.old_states += 1);
        }
        Memory::CloneOf(other) if cast.state(other).exists() => {
            replace(&cast.state(other), &state);
            acting.lose_memory();
            cast.journal.count(|counts| counts.clones += 1);
        }
        _ => {}
    }
    fs::create_dir_all(&state).expect("room for a folder");
    let goes_back = role.lives.iter().any(|life| life.memory == Memory::Older);
    if goes_back {
        replace(&state, &older);
    }
}

fn older(cast: &Cast, actor: Actor) -> PathBuf {
    cast.states.join(format!("{actor}-older"))
}

fn replace(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("a folder of our own");
    }
    copy_all(from, to);
}

struct Scene<'c> {
    cast: &'c Cast,
    role: &'c Role,
    life: &'c Life,
    number: u64,
    is_last: bool,
}

impl Scene<'_> {
    fn play(&self, acting: &mut dyn Acting) -> Option<Repo> {
        let Scene { cast, role, life, number, .. } = *self;
        let world = cast.world(role, number);
        let lot = role.actor as u64 * 1000 + number;
        let pace = stream(cast.plan.seed, "pace", lot);
        let gate = self.gate(pace, life.death);
        let io = self.io(&gate, &world);
        let mut chance = stream(cast.plan.seed, "acts", lot);
        let mut repo = None;
        let mut done = 0;
        while !gate.is_dead() && self.wants_more(done) {
            done += 1;
            if self.has_anything_been_deleted() {
                cast.ways[&role.actor].set_odds(cast.plan.odds_later.clone());
            }
            let outcome = match &repo {
                None => self.open(&io, &world).map(|opened| repo = Some(opened)),
                Some(repo) => {
                    let host = Host { cast, actor: role.actor, repo, plant: cast.plan.plant };
                    acting.act(&host, &mut chance)
                }
            };
            self.report(outcome);
            cast.stage.pause(role.actor, Duration::from_secs(chance.below(role.rest_max)));
        }
        if gate.is_dead() {
            self.leave_state_as_it_was(repo);
            return None;
        }
        repo
    }

    /// One more than its acts, as opening is the first.
    fn wants_more(&self, done: u64) -> bool {
        let lacks = || match self.role.part {
            Part::Sweeper => !self.has_anything_been_deleted(),
            _ => self.cast.stage.steps() < STEPS_MIN,
        };
        let is_to_die = self.life.death.is_some();
        let goes_on = self.role.goes_on && done < ACTS_MAX;
        done <= self.life.acts || (goes_on && (is_to_die || self.is_last && lacks()))
    }

    fn has_anything_been_deleted(&self) -> bool {
        self.cast.journal.counts().deletions > 0
    }

    fn gate(&self, pace: Chance, death: Option<Death>) -> Arc<Gate> {
        let cast = self.cast;
        let way = cast.ways[&self.role.actor].clone();
        let image = (cast.state(self.role.actor), self.image());
        let gate = Gate::new(way, (&cast.stage, &cast.journal), self.role.actor, (pace, death));
        Arc::new(gate.keeping_image(image))
    }

    /// The state at the moment of death.
    fn image(&self) -> PathBuf {
        self.cast.states.join(format!("{}-image", self.role.actor))
    }

    fn io(&self, gate: &Arc<Gate>, world: &World) -> Io {
        let gate: Arc<dyn Store> = gate.clone();
        let store: Arc<dyn Store> = match self.role.is_patient {
            true => Arc::new(Retrying::new(gate, Patience::default(), world)),
            false => gate,
        };
        Io::on_one_thread(Region::new("home", store))
    }

    fn open(&self, io: &Io, world: &World) -> Result<Repo, Error> {
        let cast = self.cast;
        let opened = Repo::open(Opening {
            world: world.clone(),
            io: io.clone(),
            state: &cast.state(self.role.actor),
            secret: Secret::Bundle(Box::new(cast.bundle.clone())),
            trust: Some(cast.repo()),
            host: format!("host-{}", self.role.actor),
        })?;
        Ok(match cast.plan.plant {
            Some(Plant::Rule(rule)) => opened.under(Rules::all().without(rule)),
            _ => opened,
        })
    }

    fn report(&self, outcome: Result<(), Error>) {
        let cast = self.cast;
        match outcome {
            Ok(()) => cast.stage.note(self.role.actor, "an act is done"),
            Err(error) => {
                let folder = cast.states.display().to_string();
                cast.journal.count(|counts| counts.failures += 1);
                cast.journal.released(self.role.actor);
                let said = error.to_string().replace(&folder, "STATE");
                cast.stage.note(self.role.actor, &format!("an act fails: {said}"));
            }
        }
    }

    /// Nobody closed any file: the next life finds what lay there when this one died.
    fn leave_state_as_it_was(&self, repo: Option<Repo>) {
        drop(repo);
        let image = self.image();
        if image.exists() {
            replace(&image, &self.cast.state(self.role.actor));
        }
    }
}

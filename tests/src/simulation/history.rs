//! One history from its plan to its verdict.
//!
//! A founder makes the repository before anything can go wrong. Then every actor plays on a thread of its own, one at a
//! time. When the last one has left, the faults end, and the checkers look.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use format::genesis::ChunkSizes;
use format::id::Hash;
use format::key::{Bundle, KeyFile, Lock, Unlock};
use repo::{Io, Opening, Repo, Secret};
use storage::{Faulty, Memory, Region, Store};
use world::{SimulatedClock, World};

use super::actor::{self, Cast};
use super::checks::{self, Left};
use super::counts::Counts;
use super::journal::Journal;
use super::place::Truth;
use super::plan::{Plan, Role};
use super::prelude;
use super::stage::{Actor, BEGINNING_NS, HostClock, Stage, stream};

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// BLAKE3 over the trace.
    pub trace: Hash,
    /// The trace itself, if it was to be kept.
    pub lines: Vec<String>,
    /// What happened.
    pub counts: Counts,
    /// What does not hold, in the order in which it was found.
    pub broken: Vec<String>,
}

/// Plays a history, with all that it leaves on disk below `room`.
pub fn play(plan: &Plan, room: &Path, keep_lines: bool) -> Outcome {
    let states = tempfile::tempdir_in(room).expect("room for the states of some hosts");
    let journal = Arc::new(Journal::default());
    let appear: Vec<(Actor, Duration)> = plan.roles.iter().map(|role| (role.actor, Duration::ZERO)).collect();
    let stage = Arc::new(Stage::new(&appear, plan.steps_max, keep_lines));
    let truth = found(plan, &stage, &journal, states.path());
    let cast = Cast {
        plan: plan.clone(),
        ways: plan.roles.iter().map(|role| (role.actor, way(plan, role, &stage, &truth.0))).collect(),
        stage,
        journal,
        bundle: truth.1,
        states: states.path().to_owned(),
    };
    prelude::play(&cast, &truth.0);
    let left = perform(&cast);
    end(&cast, &truth.0, &left);
    let (trace, lines) = cast.stage.trace();
    Outcome { trace, lines, counts: cast.journal.counts(), broken: cast.journal.broken() }
}

/// The place with a new repository in it, and its keys.
fn found(plan: &Plan, stage: &Arc<Stage>, journal: &Arc<Journal>, states: &Path) -> (Arc<Truth>, Bundle) {
    let seed = stream(plan.seed, "founder", 0).below(u64::MAX);
    let world = World::simulated(seed, Arc::new(SimulatedClock::at(BEGINNING_NS)));
    let clock = HostClock { stage: stage.clone(), actor: 0, ahead_ns: 0 };
    let memory = Memory::new("simulation", &World::simulated(0, Arc::new(clock)));
    let truth = Arc::new(Truth::new(memory, journal, plan.plant));
    let state = states.join("founder");
    let key = KeyFile::fresh(&mut world.chance());
    let opening = Opening {
        io: Io::on_one_thread(Region::new("home", truth.clone())),
        world,
        state: &state,
        secret: Secret::Unlock(Unlock::KeyFile(key.clone())),
        trust: None,
        host: "founder".to_owned(),
    };
    let sizes = ChunkSizes { generation: 0, min: 64 << 10, normal: 128 << 10, max: 1 << 20 };
    let repo = Repo::create(opening, &Lock::KeyFile(key), "founder", sizes);
    let bundle =
        repo.expect("nothing goes wrong before the history begins").bundle().clone().keeping_opened();
    journal.hand_keys(&bundle);
    (truth, bundle)
}

/// An actor's way to the place. It outlives the actor's lives, as writes that are under way do.
fn way(plan: &Plan, role: &Role, stage: &Arc<Stage>, truth: &Arc<Truth>) -> Arc<Faulty> {
    let clock = HostClock { stage: stage.clone(), actor: role.actor, ahead_ns: 0 };
    let seed = stream(plan.seed, "faults", role.actor as u64).below(u64::MAX);
    let way = Faulty::new(truth.clone(), plan.odds.clone(), &World::simulated(seed, Arc::new(clock)));
    if let (0, (verb, fault)) = (role.actor, plan.sure) {
        way.order(verb, fault);
    }
    Arc::new(way)
}

/// Lets everybody play; what those who live still have open.
fn perform(cast: &Cast) -> BTreeMap<Actor, Repo> {
    let left = std::thread::scope(|scope| {
        let start = |role| (role, scope.spawn(move || perform_role(cast, role)));
        let playing: Vec<_> = cast.plan.roles.iter().map(start).collect();
        cast.stage.begin();
        let ended = playing.into_iter().map(|(role, thread): (&Role, _)| {
            let repo: Option<Repo> = thread.join().expect("panics were caught");
            Some((role.actor, repo?))
        });
        ended.flatten().collect()
    });
    cast.stage.end();
    left
}

fn perform_role(cast: &Cast, role: &Role) -> Option<Repo> {
    cast.stage.enter(role.actor);
    let played = catch_unwind(AssertUnwindSafe(|| actor::play(cast, role)));
    let left = played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        cast.journal.break_rule(format!("actor {} panics: {}", role.actor, said.unwrap_or_default()));
        None
    });
    cast.stage.leave();
    left
}

/// Calls until every write that is under way has arrived.
const LATE_CALLS_MAX: u32 = 9;

/// Ends the faults and looks.
fn end(cast: &Cast, truth: &Arc<Truth>, left: &BTreeMap<Actor, Repo>) {
    for way in cast.ways.values() {
        count_faults(cast, way);
        way.set_odds(BTreeMap::new());
        (0..LATE_CALLS_MAX).for_each(|_| arrive(way));
    }
    let steps = cast.stage.steps();
    cast.journal.count(|counts| (counts.histories, counts.steps) = (1, steps));
    checks::all(&Left { cast, truth, living: left });
}

fn count_faults(cast: &Cast, way: &Faulty) {
    let met = way.met();
    cast.journal.count(|counts| {
        met.iter().for_each(|(_, fault)| *counts.faults.entry(*fault).or_default() += 1);
    });
}

fn arrive(way: &Arc<Faulty>) {
    let store: Arc<dyn Store> = way.clone();
    let _ = Io::on_one_thread(Region::new("home", store)).size(&repo::layout::genesis());
}

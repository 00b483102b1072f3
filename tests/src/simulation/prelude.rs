//! What lies in the repository before a history begins: points of every writer's source, some of them forgotten, so that
//! from the first step on there is something to delete and something that is needed beside it.
//!
//! Nothing fails yet and nobody else is there. The hosts go on from the states that they have here.

use std::sync::Arc;
use std::time::Duration;

use format::fact::PointKind;
use repo::{Error, Io, Opening, Repo, Secret};
use storage::{Region, Store};
use world::{SimulatedClock, World};

use super::actor::{Cast, Host};
use super::place::Truth;
use super::plan::{Part, Role};
use super::source::Source;
use super::stage::{BEGINNING_NS, happens, stream};
use super::{acts, keep};

/// Points that each source begins with.
const POINTS: u64 = 2;

/// Of a thousand points that are not the newest of their source, so many are forgotten at once.
const FORGOTTEN: u64 = 600;

/// Makes the points; what goes wrong here is a fault of the code under test.
pub(super) fn play(cast: &Cast, truth: &Arc<Truth>) {
    let writers = cast.plan.roles.iter().filter(|role| role.part == Part::Writer);
    for role in writers {
        if let Err(error) = begin_source(cast, truth, role) {
            cast.journal.break_rule(format!("a host is stopped before any fault began: {error}"));
        }
    }
}

fn begin_source(cast: &Cast, truth: &Arc<Truth>, role: &Role) -> Result<(), Error> {
    let mut chance = stream(cast.plan.seed, "prelude", role.actor as u64);
    let clock = SimulatedClock::at(BEGINNING_NS.saturating_add(role.ahead_ns));
    let world = World::simulated(chance.below(u64::MAX), Arc::new(clock));
    let store: Arc<dyn Store> = truth.clone();
    let state = cast.state(role.actor);
    std::fs::create_dir_all(&state).expect("room for a folder");
    let repo = Repo::open(Opening {
        world,
        io: Io::on_one_thread(Region::new("home", store)),
        state: &state,
        secret: Secret::Bundle(Box::new(cast.bundle.clone())),
        trust: Some(cast.repo()),
        host: format!("host-{}", role.actor),
    })?;
    let host = Host { cast, actor: role.actor, repo: &repo, plant: None };
    let mut source = Source::of(cast.plan.seed, role.actor);
    let mut points = Vec::new();
    for number in 0..POINTS {
        let kind = (number == 0).then_some(PointKind::Full);
        points.push(acts::backup(&host, &mut source, kind, [Duration::ZERO; 3])?);
        source.change(&mut chance);
        repo.refresh()?;
    }
    points.pop();
    for point in points {
        // Something is there to be swept in any case.
        if happens(&mut chance, FORGOTTEN) || role.actor == 0 {
            keep::forget(&host, point)?;
        }
    }
    Ok(())
}

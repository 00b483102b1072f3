//! The simulation: a fixed set of histories keeps what was promised, the same seed gives the same history, and bugs that
//! are planted are found.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]
#![allow(clippy::print_stdout, reason = "a test says what it played")]

use std::sync::Arc;
use std::time::Duration;

use format::genesis::ChunkSizes;
use format::key::{KeyFile, Lock, Unlock};
use repo::protocol::Rule;
use repo::{Io, Opening, Repo, Secret};
use storage::{Fault, Faulty, Memory, Odds, Region, Verb};
use tests::simulation::{Cut, FAULTS, Orders, Plan, Plant, Prank, Run, play, room, shrink};
use world::{SimulatedClock, World};

/// Histories of the plain run: about a minute on two cores.
const HISTORIES: u64 = 300;

fn orders(seed: u64, histories: u64, plant: Option<Plant>) -> Orders {
    Orders { seed, histories, time_max: Duration::MAX, jobs: 2, plant }
}

#[test]
fn what_was_acknowledged_comes_back_whatever_happened() {
    let run = Run::of(&orders(1, HISTORIES, None), &|_, _| ());
    println!("{}\ntime {:.1} s", run.counts, run.time.as_secs_f64());
    if let Some((seed, outcome)) = run.broken {
        let shrunk = shrink(seed, None, &room());
        panic!("seed {seed}: {:#?}\n{}", outcome.broken, shrunk.outcome.lines.join("\n"));
    }
    assert_eq!(run.counts.missing(&FAULTS), Vec::<String>::new(), "never happened");
    assert_eq!(run.thin, Vec::<u64>::new(), "histories without 200 steps, a death, a fault or a deletion");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1000..1020 {
        let [first, again] = [0, 1].map(|_| play(&Plan::draw(seed, None), &room(), true));
        let differs = first.lines.iter().zip(&again.lines).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.trace, first.counts), (again.trace, again.counts), "seed {seed}");
    }
}

/// Rules whose absence histories show, and the first seed that does.
const RULES: [(Rule, u64); 12] = [
    (Rule::SessionBeforeReading, 70),
    (Rule::RootsAreChecked, 79),
    (Rule::AcknowledgeAfterExpiries, 3),
    (Rule::ExpiryVoidsNothing, 7),
    (Rule::FinishWaits, 13),
    (Rule::FinishFoldsAfterWaiting, 13),
    (Rule::CondemnedIsNoPlace, 3),
    (Rule::CopyBeforeDelete, 3),
    (Rule::ReadBackBeforeAnnounce, 6),
    (Rule::AnnounceBeforeDelete, 18),
    (Rule::FailedListStops, 250),
    (Rule::RevivedIsChecked, 27_013),
];

/// The pranks that not every history shows, and the first seed that does.
const PRANKS: [(Prank, u64); 4] = [
    (Prank::LosesPacks, 4),
    (Prank::BelievesCommits, 3),
    (Prank::HidesDamage, 25),
    (Prank::ExpiresByClock, 29),
];

#[test]
fn each_bug_that_is_planted_is_found() {
    let pranks = Prank::ALL.into_iter().map(|prank| {
        let seed = PRANKS.iter().find(|(other, _)| *other == prank).map_or(1, |(_, seed)| *seed);
        (Plant::Prank(prank), seed)
    });
    let rules = RULES.into_iter().map(|(rule, seed)| (Plant::Rule(rule), seed));
    for (plant, seed) in pranks.chain(rules) {
        let run = Run::of(&orders(seed, 1, Some(plant)), &|_, _| ());
        let (seed, outcome) = run.broken.unwrap_or_else(|| panic!("{} was not found", plant.name()));
        println!("{}: seed {seed}, {} steps: {}", plant.name(), outcome.counts.steps, outcome.broken[0]);
        let sound = Run::of(&orders(seed, 1, None), &|_, _| ());
        assert!(sound.broken.is_none(), "the history breaks without the bug: {:?}", sound.broken);
    }
}

#[test]
fn a_history_that_breaks_is_cut_down_to_what_breaks_it() {
    let plant = Some(Plant::Prank(Prank::MixesFiles));
    let (seed, outcome) = Run::of(&orders(1, 60, plant), &|_, _| ()).broken.unwrap();
    let shrunk = shrink(seed, plant, &room());
    assert!(!shrunk.outcome.broken.is_empty());
    assert!(shrunk.cut.actors.len() >= 2 && shrunk.cut != Cut::default(), "{:?}", shrunk.cut);
    assert!(shrunk.outcome.counts.steps < outcome.counts.steps / 2, "{}", shrunk.outcome.counts.steps);
}

/// What was read before a refresh failed must be new to whoever refreshes again: the catalog hears of it only then.
#[test]
fn an_entry_that_was_read_before_a_refresh_failed_is_not_missed_by_the_next() {
    let world = World::simulated(1, Arc::new(SimulatedClock::at(1_000_000_000)));
    let memory = Arc::new(Memory::new("one", &world));
    let faulty = Arc::new(Faulty::new(memory.clone(), Odds::new(), &world));
    let states = tempfile::tempdir().unwrap();
    let key = KeyFile::fresh(&mut world.chance());
    let hosts = ["founder", "first", "second", "watcher"].map(|host| states.path().join(host));
    let opening = |number: usize| Opening {
        world: world.clone(),
        io: Io::on_one_thread(match number {
            3 => Region::new("home", faulty.clone()),
            _ => Region::new("home", memory.clone()),
        }),
        state: &hosts[number],
        secret: Secret::Unlock(Unlock::KeyFile(key.clone())),
        trust: None,
        host: format!("host-{number}"),
    };
    let sizes = ChunkSizes { generation: 0, min: 1 << 14, normal: 1 << 16, max: 1 << 18 };
    Repo::create(opening(0), &Lock::KeyFile(key.clone()), "key", sizes).unwrap();
    let watcher = Repo::open(opening(3)).unwrap();
    for host in 1..3 {
        Repo::open(opening(host)).unwrap().may_add("source").unwrap();
    }
    faulty.order(Verb::GetRange, Fault::Slow);
    faulty.order(Verb::GetRange, Fault::Before);
    watcher.refresh().unwrap_err();
    watcher.refresh().unwrap();
    assert_eq!(watcher.fold().writers.len(), 3);
    assert_eq!(watcher.check_catalog().unwrap(), Vec::<String>::new());
}

//! Simulated worlds repeat, the machine's does not.

use super::*;
use rand_core::Rng;

#[test]
fn a_simulated_world_repeats_from_its_seed() {
    let draw = |seed| {
        let world = World::simulated(seed, Arc::new(SimulatedClock::at(0)));
        (world.chance().next_u64(), world.chance().next_u64())
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert_ne!(draw(7).0, draw(7).1, "forks differ");
}

#[test]
fn real_streams_differ() {
    let world = World::real();
    assert_ne!(world.chance().bytes::<32>(), world.chance().bytes::<32>());
}

#[test]
fn a_simulated_clock_moves_only_when_told() {
    let clock = Arc::new(SimulatedClock::at(1_000));
    let world = World::simulated(1, clock.clone());
    assert_eq!(world.now_ns(), 1_000);
    clock.pass(Duration::from_nanos(5));
    clock.set(3);
    assert_eq!((world.now_ns(), world.monotonic()), (3, Duration::from_nanos(5)));
}

#[test]
fn the_machine_clock_is_after_2025_and_never_goes_back() {
    let world = World::real();
    assert!(world.now_ns() > 1_735_000_000_000_000_000);
    let first = world.monotonic();
    assert!(world.monotonic() >= first);
}

#[test]
fn work_costs_time_of_a_core() {
    let world = World::real();
    let (begun, spent) = (world.monotonic(), world.cpu());
    let mut chance = world.chance();
    while world.cpu() - spent < Duration::from_millis(20) {
        std::hint::black_box(chance.bytes::<4096>());
    }
    assert!(world.monotonic() - begun > Duration::from_millis(1));
    let clock = Arc::new(SimulatedClock::at(0));
    clock.pass(Duration::from_secs(3));
    assert_eq!(World::simulated(1, clock).cpu(), Duration::from_secs(3));
}

#[test]
fn below_stays_below() {
    let mut chance = Chance::from_key([3; 32]);
    assert!((0..1_000).all(|n| chance.below(n + 1) <= n));
    assert_eq!(chance.below(0), 0);
}

#[test]
fn a_stop_reaches_every_clone() {
    let world = World::real();
    let clone = world.clone();
    assert!(!clone.is_stopped());
    world.stop();
    assert!(clone.is_stopped());
}

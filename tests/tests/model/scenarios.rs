//! The scenarios: small worlds that together hold every role, each explored to its end.

use repo::protocol::{Act, Rules, Tidy};

use super::actor::Actor;
use super::ids::{Fact, Pack, set};
use super::keeper::Errand;
use super::scenario::{Coarse, Faults, LastSweep, Pages, Scenario, entry, old, region};
use super::store::Region;
use super::sweeper::Task;
use super::writer::Job;

const P0: Pack = Pack(0, 0);
const P1: Pack = Pack(0, 1);
const FINISH: Task = Task::Finish(Tidy::PacksAndSessions);
const FINISH_PACKS: Task = Task::Finish(Tidy::Packs);

fn job(session: u8, point: u8) -> Job {
    let none = Vec::new();
    Job {
        session,
        roots: set(&[]),
        looks: false,
        wants: none,
        new: 0,
        point,
        single: true,
        renewals: 0,
        stubborn: false,
        brings: 0,
    }
}

fn job_of_new(session: u8, point: u8) -> Job {
    Job { new: 1, ..job(session, point) }
}

fn base(name: &'static str, bounds: &str, packs: u8, actors: Vec<Actor>) -> Scenario {
    Scenario {
        name,
        bounds: bounds.to_owned(),
        regions: vec![region(packs)],
        acknowledged: [1, 0],
        roots_watched: true,
        closed: false,
        actors,
        coarse: Coarse::FINE,
        faults: Faults::default(),
        last_sweep: LastSweep::AtRest,
    }
}

fn any(part: u8, sets: &[&[Pack]]) -> Task {
    Task::CondemnAny { part, sets: sets.iter().map(|packs| set(packs)).collect() }
}

fn forget(session: u8, point: u8) -> Errand {
    Errand::Forget { session, point }
}

fn undo(session: u8, point: u8) -> Errand {
    Errand::Revive { session, act: Act::Undo, point }
}

fn hold(session: u8, point: u8) -> Errand {
    Errand::Revive { session, act: Act::Hold, point }
}

/// A basis, a forgetting, a sweep that repacks: every step of its own.
pub fn basis(rules: Rules) -> Scenario {
    let writer = Job { roots: set(&[0]), wants: vec![old(0)], single: false, renewals: 1, ..job(1, 1) };
    let actors = vec![
        Actor::writer(rules, vec![writer]),
        Actor::sweeper(rules, vec![any(0, &[&[P0], &[P0, P1]]), FINISH], vec![10, 11]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::restorer(rules, 25, 0),
        Actor::expirer(30, 1, &[1, 10, 25]),
    ];
    let bounds = "1 writer with a basis and a renewal, 2 packs, 1 sweeper that condemns anything, forgetter, \
                  restorer, 1 expiry; stopping anywhere";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("basis", bounds, 2, actors) }
}

/// References without a root, checked and renewed.
pub fn sharing(rules: Rules) -> Scenario {
    let shares = Job { wants: vec![old(0)], renewals: 1, ..job(1, 1) };
    let again = Job { roots: set(&[1]), wants: vec![old(0)], ..job(2, 2) };
    let actors = vec![
        Actor::writer(rules, vec![shares, again]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P0], &[Pack(1, 0)]]), FINISH], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1, 2]),
    ];
    let bounds =
        "1 writer with 2 sessions that shares without a root, 1 renewal, 2 sweepers, forgetter, 1 expiry";
    Scenario { coarse: Coarse { reading: true, ..Coarse::FINE }, ..base("sharing", bounds, 1, actors) }
}

/// One renewal after the other, each covering what was condemned so far.
pub fn renewing(rules: Rules) -> Scenario {
    let shares = Job { wants: vec![old(0)], renewals: 2, ..job(1, 1) };
    let actors = vec![
        Actor::writer(rules, vec![shares]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH_PACKS], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[Pack(1, 0)]]), FINISH_PACKS], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0)]),
    ];
    base("renewing", "1 writer that shares without a root, 2 renewals, 2 sweepers, forgetter", 1, actors)
}

/// Renewals that cover nothing more, as what was condemned is not stored again.
pub fn insisting(rules: Rules) -> Scenario {
    let shares = Job { wants: vec![old(0)], new: 1, renewals: 2, stubborn: true, brings: 1, ..job(1, 1) };
    let actors = vec![
        Actor::writer(rules, vec![shares]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH_PACKS], vec![10, 11]),
        Actor::sweeper(rules, vec![any(1, &[&[Pack(1, 0)], &[P0, Pack(1, 0)]]), FINISH_PACKS], vec![12, 13]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1]),
    ];
    let bounds = "1 writer that shares without a root, stores and brings, 2 renewals that store nothing again, 2 sweepers, \
                  forgetter, 1 expiry";
    base("insisting", bounds, 1, actors)
}

/// Entries that bring packs before the point that needs them: from then on they may be condemned.
pub fn bringing(rules: Rules) -> Scenario {
    let writer = Job { wants: vec![old(0)], new: 1, renewals: 1, brings: 1, ..job(1, 1) };
    let actors = vec![
        Actor::writer(rules, vec![writer]),
        Actor::sweeper(rules, vec![Task::Condemn { part: 0, repack: set(&[]) }, FINISH], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P0], &[Pack(1, 0)]]), FINISH], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1]),
    ];
    let bounds =
        "1 writer that shares, stores, brings and then commits, 1 renewal, 2 sweepers, forgetter, 1 expiry";
    base("bringing", bounds, 1, actors)
}

/// Lists that are not of one moment.
pub fn paged(rules: Rules, pages: Pages) -> Scenario {
    let writer = Job { roots: set(&[0]), wants: vec![old(0)], ..job(1, 1) };
    let again = Job { wants: vec![old(0)], ..job(2, 2) };
    let actors = vec![
        Actor::writer(rules, vec![writer, again]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10]),
        Actor::sweeper(rules, vec![FINISH], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1, 2]),
    ];
    let bounds = "1 writer with 2 sessions, 2 sweepers, forgetter, 1 expiry; logs are listed in two pages";
    let coarse = Coarse { pages: Some(pages), waiting: false, ..Coarse::FINE };
    Scenario { coarse, ..base("paged", bounds, 1, actors) }
}

pub fn paged_low(rules: Rules) -> Scenario {
    paged(rules, Pages::LowFirst(20))
}

pub fn paged_high(rules: Rules) -> Scenario {
    Scenario { name: "paged backwards", ..paged(rules, Pages::HighFirst(20)) }
}

/// A root that nobody acknowledged, and whose expiries the session reads itself.
pub fn witnessing(rules: Rules, pages: Option<Pages>) -> Scenario {
    let shares = Job { wants: vec![old(0)], ..job(1, 1) };
    let again = Job { roots: set(&[1]), looks: true, wants: vec![old(0)], ..job(2, 2) };
    let actors = vec![
        Actor::writer(rules, vec![shares]),
        Actor::writer(rules, vec![again]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1, 2]),
    ];
    let bounds = "1 writer that shares without a root, another one whose basis is that point, 1 sweeper, forgetter, \
                  1 expiry; logs are listed at once or in two pages";
    let coarse = Coarse { pages, waiting: false, ..Coarse::FINE };
    Scenario { coarse, ..base("witnessing", bounds, 1, actors) }
}

pub fn witnessing_low(rules: Rules) -> Scenario {
    witnessing(rules, Some(Pages::LowFirst(20)))
}

pub fn witnessing_high(rules: Rules) -> Scenario {
    witnessing(rules, Some(Pages::HighFirst(20)))
}

pub fn witnessing_at_once(rules: Rules) -> Scenario {
    witnessing(rules, None)
}

/// New data and expiry: what is acknowledged counts, whoever expired when.
pub fn expiry(rules: Rules) -> Scenario {
    let first = Job { new: 1, ..job(1, 1) };
    let second = Job { new: 1, ..job(2, 2) };
    let actors = vec![
        Actor::writer(rules, vec![first, second]),
        Actor::sweeper(rules, vec![Task::Condemn { part: 0, repack: set(&[]) }, FINISH], vec![10]),
        Actor::sweeper(rules, vec![Task::Condemn { part: 1, repack: set(&[P0]) }, FINISH], vec![12]),
        Actor::expirer(30, 2, &[1, 2]),
    ];
    let bounds = "1 writer with 2 sessions of new data, 2 sweepers that fold before they condemn, 2 expiries";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("expiry", bounds, 1, actors) }
}

/// Forget, undo, hold.
pub fn undoing(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::keeper(rules, vec![forget(20, 0), undo(21, 0), forget(22, 0), hold(23, 0)]),
        Actor::sweeper(rules, vec![Task::Condemn { part: 0, repack: set(&[]) }, FINISH], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P0], &[P0, P1]]), FINISH], vec![12]),
        Actor::expirer(30, 1, &[21, 23, 10]),
    ];
    let bounds = "forget, undo, forget, hold; 2 packs, 2 sweepers, 1 expiry";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("undoing", bounds, 2, actors) }
}

/// What was brought back by a session that was given up is brought back again, and leaned on.
pub fn reviving_again(rules: Rules) -> Scenario {
    let leans = Job { roots: set(&[0]), wants: vec![old(0)], new: 1, ..job(1, 1) };
    let actors = vec![
        Actor::keeper(rules, vec![forget(20, 0), undo(21, 0), hold(23, 0)]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10]),
        Actor::writer(rules, vec![leans]),
        Actor::expirer(30, 1, &[21]),
    ];
    let bounds = "forget, undo, hold; 1 writer that leans on the point, 1 sweeper, 1 expiry of the undo";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("reviving_again", bounds, 1, actors) }
}

/// Sweepers that move the same frames, and a restore that follows them.
pub fn moving(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10, 11]),
        Actor::sweeper(rules, vec![any(1, &[&[Pack(10, 0)], &[P0]]), FINISH], vec![12, 13]),
        Actor::restorer(rules, 25, 0),
        Actor::expirer(30, 1, &[10, 12]),
    ];
    let bounds =
        "2 sweepers that move one frame to a second and third place, restorer, 1 expiry of a sweeper";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("moving", bounds, 1, actors) }
}

/// A sweep that deletes session objects while another folds.
pub fn two_folds(rules: Rules) -> Scenario {
    let writer = Job { roots: set(&[0]), wants: vec![old(0)], ..job(1, 1) };
    let actors = vec![
        Actor::writer(rules, vec![writer]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10]),
        Actor::sweeper(rules, vec![FINISH], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0)]),
    ];
    base(
        "two folds",
        "1 writer with a basis, 2 sweepers, one of which condemns nothing, forgetter",
        1,
        actors,
    )
}

/// A store that fails lists, loses copies and does not say whether it stored.
pub fn faults(rules: Rules) -> Scenario {
    let writer = Job { roots: set(&[0]), wants: vec![old(0)], new: 1, ..job(1, 1) };
    let again = Job { wants: vec![old(0)], new: 1, ..job(2, 2) };
    let actors = vec![
        Actor::writer(rules, vec![writer, again]),
        Actor::sweeper(rules, vec![any(0, &[&[P0], &[Pack(1, 0)]]), FINISH], vec![10, 11]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::expirer(30, 1, &[1]),
    ];
    let faults = Faults { failed_lists: 1, unknown_puts: 1, lost_copies: 1, ..Faults::default() };
    let bounds = "1 writer with 2 sessions, 1 sweeper, forgetter, 1 expiry; 1 list fails, 1 upload of unknown \
                  outcome, 1 copy lost";
    Scenario { faults, ..base("faults", bounds, 1, actors) }
}

/// A disk that has no room for copies, or for one only.
pub fn full(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::sweeper(rules, vec![any(0, &[&[P0], &[P0, P1]]), FINISH], vec![10, 11]),
        Actor::sweeper(rules, vec![any(1, &[&[Pack(10, 0)], &[P1]]), FINISH], vec![12, 13]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::restorer(rules, 25, 0),
        Actor::expirer(30, 1, &[10, 12]),
    ];
    let faults = Faults { failed_copies: 2, ..Faults::default() };
    let bounds = "2 packs, 2 sweepers that move what others moved, forgetter, restorer, 1 expiry of a sweeper; 2 copies find \
                  no room, or only for one frame";
    Scenario { faults, ..base("full", bounds, 2, actors) }
}

/// What sweepers are to copy does not read for a while.
pub fn misreading(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::sweeper(rules, vec![any(0, &[&[P0], &[P0, P1]]), FINISH], vec![10, 11]),
        Actor::sweeper(rules, vec![any(1, &[&[Pack(10, 0)], &[P1]]), FINISH], vec![12, 13]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::restorer(rules, 25, 0),
    ];
    let faults = Faults { misreads: 2, ..Faults::default() };
    let bounds = "2 packs, 2 sweepers that move what others moved, forgetter, restorer; 2 copies find nothing that reads";
    Scenario { faults, ..base("misreading", bounds, 2, actors) }
}

/// Somebody announces a place that is none.
pub fn hearsay(rules: Rules) -> Scenario {
    let lie = Fact::Moved { frame: old(0), pack: Pack(40, 0) };
    let actors = vec![
        Actor::announcer(entry(40, 0, set(&[Pack(40, 0)]), vec![lie], true)),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH], vec![10, 11]),
        Actor::sweeper(rules, vec![any(1, &[&[P0], &[Pack(10, 0)]]), FINISH], vec![12, 13]),
        Actor::restorer(rules, 25, 0),
    ];
    base("hearsay", "a false announcement by no maintainer, 2 sweepers, restorer", 1, actors)
}

/// All roles at once. With `more`, the first writer goes on from its first point.
pub fn together_with(rules: Rules, more: bool) -> Scenario {
    let first = Job { roots: set(&[0]), wants: vec![old(0)], ..job(1, 1) };
    let from_first = Job { roots: set(&[1]), wants: vec![old(0)], ..job(2, 2) };
    let second = if more { from_first } else { job_of_new(2, 2) };
    let pausing = Job { wants: vec![old(1)], ..job(3, 3) };
    let actors = vec![
        Actor::writer(rules, vec![first, second]),
        Actor::writer(rules, vec![pausing, job_of_new(4, 4)]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH_PACKS], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P1, Pack(10, 0)]]), FINISH_PACKS], vec![12]),
        Actor::keeper(rules, vec![forget(20, 0), undo(21, 0)]),
        Actor::restorer(rules, 25, 0),
        Actor::expirer(30, 1, &[3]),
    ];
    let bounds = "2 writers with 2 sessions each, 2 packs and what is stored and moved (a frame has up to 3 places), \
                  2 sweepers, forget and undo, restorer, 1 expiry of a pausing writer";
    let coarse = Coarse { expirable: 1 << 3, ..Coarse::ALL };
    Scenario { coarse, last_sweep: LastSweep::Never, ..base("together", bounds, 2, actors) }
}

/// A restore of a point that is forgotten and swept meanwhile.
pub fn restoring(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::restorer(rules, 25, 0),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::sweeper(rules, vec![any(0, &[&[P0], &[P0, P1]]), FINISH], vec![10]),
        Actor::sweeper(rules, vec![Task::Condemn { part: 1, repack: set(&[]) }, FINISH], vec![12]),
        Actor::expirer(30, 1, &[10]),
    ];
    let bounds = "restorer, forgetter, 2 packs, 2 sweepers, 1 expiry of a sweeper";
    Scenario { last_sweep: LastSweep::Everywhere, ..base("restoring", bounds, 2, actors) }
}

/// Two regions; the source forgets and sweeps meanwhile, the target sweeps.
pub fn replication(rules: Rules) -> Scenario {
    let writer = Job { roots: set(&[0]), wants: vec![old(0)], new: 1, single: false, ..job(1, 1) };
    let actors = vec![
        Actor::replicator(rules, vec![(40, 41, set(&[0])), (42, 43, set(&[0, 1]))]),
        Actor::writer(rules, vec![writer]),
        Actor::keeper(rules, vec![forget(20, 0)]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH_PACKS], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P0]]), FINISH_PACKS], vec![12]).in_region(1),
    ];
    let bounds = "2 regions; 1 replicator with 2 runs, 1 writer, forgetter and sweeper at the source, 1 sweeper at \
                  the target";
    Scenario {
        regions: vec![region(1), Region::default()],
        closed: true,
        coarse: Coarse { expirable: 0, ..Coarse::ALL },
        ..base("replication", bounds, 1, actors)
    }
}

/// A replication that expires at the target, and one that loses copies.
pub fn interrupted(rules: Rules) -> Scenario {
    let runs = vec![(40, 41, set(&[0])), (42, 43, set(&[0]))];
    let actors = vec![
        Actor::replicator(rules, runs),
        Actor::keeper(rules, vec![forget(20, 0), undo(21, 0)]),
        Actor::sweeper(rules, vec![any(0, &[&[P0]]), FINISH_PACKS], vec![10]),
        Actor::sweeper(rules, vec![any(1, &[&[P0]]), FINISH], vec![12]).in_region(1),
        Actor::expirer(30, 1, &[40, 41]).in_region(1),
    ];
    let bounds = "2 regions; 1 replicator with 2 runs, forget and undo and sweep at the source, sweep at the target, \
                  1 expiry at the target, 1 copy lost";
    Scenario {
        regions: vec![region(1), Region::default()],
        faults: Faults { lost_copies: 1, ..Faults::default() },
        coarse: Coarse { copying: false, expirable: 1 << 41, ..Coarse::ALL },
        ..base("interrupted", bounds, 1, actors)
    }
}

/// A writer that counts on two regions, one of which is away for a while.
pub fn counting(rules: Rules) -> Scenario {
    let actors = vec![
        Actor::feeder(rules, 1, 3),
        Actor::replicator(rules, vec![(40, 41, set(&[0, 1, 2])), (42, 43, set(&[0, 1, 2]))]),
    ];
    let bounds = "2 regions; 1 writer of 3 entries for both, the second region away at any of them; 1 replicator with \
                  2 runs; 1 upload lost";
    Scenario {
        regions: vec![region(1), Region::default()],
        closed: true,
        last_sweep: LastSweep::Never,
        faults: Faults { lost_puts: 1, ..Faults::default() },
        ..base("counting", bounds, 1, actors)
    }
}

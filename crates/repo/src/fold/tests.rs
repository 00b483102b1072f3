//! The fold depends on the set of entries alone, and names whatever is wrong with it.

use std::collections::BTreeSet;

use format::id::HoldId;
use proptest::prelude::*;

use super::made::*;
use super::*;

fn fold(chains: &[&Chain]) -> Fold {
    Fold::of(chains.iter().flat_map(|chain| &chain.entries), writer(ROOT))
}

fn no_findings(fold: &Fold) -> bool {
    fold.findings.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_repetition_changes_the_fold(
        (log, shuffled) in log().prop_flat_map(|log| {
            let twice: Vec<LogEntry> = log.iter().chain(&log).cloned().collect();
            (Just(log), Just(twice).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(Fold::of(&log, writer(ROOT)), Fold::of(&shuffled, writer(ROOT)));
    }

    #[test]
    fn an_opened_copy_counts_before_a_closed_one(log in log(), which in any::<prop::sample::Index>()) {
        let mut closed = which.get(&log).clone();
        (closed.facts, closed.closed) = (Vec::new(), true);
        let with: Vec<LogEntry> = std::iter::once(closed).chain(log.iter().cloned()).collect();
        prop_assert_eq!(Fold::of(&with, writer(ROOT)), Fold::of(&log, writer(ROOT)));
    }

    #[test]
    fn holds_and_pins_keep_what_they_are_of(log in log()) {
        let fold = Fold::of(&log, writer(ROOT));
        for (id, record) in &fold.points {
            let of_point = fold.holds.values().any(|held| held.hold.point == Some(*id));
            if of_point || record.pinned_until == Some(i64::MAX) {
                prop_assert!(record.is_live() && record.is_live_in("here"));
            }
            let of_source = fold.holds.values().filter(|held| held.hold.source.as_ref() == Some(&record.point.source));
            prop_assert_eq!(record.is_held(), of_point || of_source.clone().count() > 0);
            for held in of_source {
                let counts = record.forgotten_by.iter().chain(record.forgotten_in.values().flatten());
                prop_assert!(counts.clone().all(|entry| fold.forgettings[entry].stated < held.stated));
            }
        }
    }

    #[test]
    fn another_hold_or_pin_ends_no_life(log in log()) {
        let before = Fold::of(&log, writer(ROOT));
        let more = Chain::of(ROOT, 9).saying([hold_of(9, "a"), hold(8, 1), pin(2, None), pin(3, Some(4))]);
        let after = Fold::of(log.iter().chain(&more.entries), writer(ROOT));
        let live = |fold: &Fold| -> BTreeSet<_> {
            fold.points.iter().filter(|(_, p)| p.is_live_in("here")).map(|(id, _)| *id).collect()
        };
        prop_assert!(live(&before).is_subset(&live(&after)));
    }

    #[test]
    fn who_was_never_let_in_changes_nothing_but_what_is_known_of_the_log(log in log()) {
        let facts = [point(1, "a"), forget(2, None), release(1), Fact::End, unknown(&["sweep"])];
        let stranger = Chain::of(99, 0).saying_with(facts, |clear| {
            clear.brings = vec![pack(1, 77)];
            clear.heads = log.iter().map(head_of).collect();
        });
        let with = Fold::of(log.iter().chain(&stranger.entries), writer(ROOT));
        let mut without = Fold::of(&log, writer(ROOT));
        without.findings.insert(Finding::Stranger(stranger.id(0)));
        without.heads.insert((writer(99), session(0)), stranger.head());
        prop_assert_eq!(with, without);
    }
}

#[test]
fn the_root_needs_no_grant_and_others_do() {
    let (root, host) = (Chain::of_root(&[]).saying([point(1, "a")]), Chain::of(1, 0).saying([point(2, "a")]));
    let fold = fold(&[&root, &host]);
    assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1)]);
    assert_eq!(fold.findings, BTreeSet::from([Finding::Stranger(host.id(0))]));
}

#[test]
fn a_grant_by_a_writer_that_is_not_the_root_is_refused_and_reported() {
    let root = Chain::of_root(&[1]);
    let host = Chain::of(1, 0).saying([grant(2, 7, None, 5), revoke(1, &[])]);
    let other = Chain::of(2, 0).saying([point(1, "a")]);
    let fold = fold(&[&root, &host, &other]);
    assert!(fold.points.is_empty() && fold.writers[&writer(1)].revoked.is_none());
    let refused = |what| Finding::NotAllowed { entry: host.id(0), what };
    let expected = [refused("grant"), refused("revocation"), Finding::Stranger(other.id(0))];
    assert_eq!(fold.findings, BTreeSet::from(expected));
}

#[test]
fn a_point_of_a_source_outside_the_grant_is_refused() {
    let root = Chain::of(ROOT, 0).saying([grant(1, Grant::ADD, Some(&["a"]), 1)]);
    let host = Chain::of(1, 0).saying([point(1, "a"), point(2, "b")]);
    let fold = fold(&[&root, &host]);
    assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1)]);
    let finding = Finding::NotAllowed { entry: host.id(0), what: "point of this source" };
    assert_eq!(fold.findings, BTreeSet::from([finding]));
}

#[test]
fn each_fact_needs_its_right() {
    let rows: &[(Fact, u32)] = &[
        (point(1, "a"), Grant::ADD),
        (forget(1, None), Grant::MAINTAIN),
        (undo(1, &[]), Grant::MAINTAIN),
        (pin(1, None), Grant::MAINTAIN),
        (hold(1, 1), Grant::MAINTAIN),
        (release(1), Grant::MAINTAIN),
        (expired(2, 0), Grant::MAINTAIN),
        (moved(1, 1, 2), Grant::MAINTAIN),
        (region(1), Grant::ADMINISTER),
        (feature(1), Grant::ADMINISTER),
    ];
    for (fact, right) in rows {
        for rights in 1..8_u32 {
            let root = Chain::of(ROOT, 0).saying([grant(1, rights, None, 1)]);
            let host = Chain::of(1, 0).saying([fact.clone()]);
            let refused = !no_findings(&fold(&[&root, &host]));
            assert_eq!(refused, rights & right == 0, "{fact:?} with rights {rights}");
        }
    }
}

#[test]
fn the_newest_grant_counts_whatever_chain_it_is_in_and_the_lesser_of_one_moment() {
    let older = Chain::of(ROOT, 9).saying([grant(1, 7, None, 1)]);
    let newer = Chain::of(ROOT, 1).saying([grant(1, Grant::ADD, None, 2)]);
    assert_eq!(fold(&[&older, &newer]).writers[&writer(1)].grant.rights, Grant::ADD);
    let same = Chain::of(ROOT, 1).saying([grant(1, Grant::ADD, None, 1)]);
    assert_eq!(fold(&[&older, &same]).writers[&writer(1)].grant.rights, Grant::ADD);
}

#[test]
fn entries_after_the_last_that_a_revocation_names_do_not_count() {
    let host = Chain::of(1, 0).saying([point(1, "a")]).saying([point(2, "a")]).saying([point(3, "a")]);
    let root = Chain::of_root(&[1]).saying([revoke(1, &[(0, 1, host.entries[1].hash)])]);
    let fold = fold(&[&root, &host]);
    assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1), point_id(2)]);
    assert_eq!(fold.findings, BTreeSet::from([Finding::NotGranted(host.id(2))]));
    assert!(!fold.unnamed.contains(&host.id(2)), "what does not count needs no witness");
}

#[test]
fn sessions_that_a_revocation_does_not_name_do_not_count() {
    let named = Chain::of(1, 0).saying([point(1, "a")]);
    let other = Chain::of(1, 1).saying([point(2, "a")]);
    let root = Chain::of_root(&[1]).saying([revoke(1, &[(0, 0, named.entries[0].hash)])]);
    let fold = fold(&[&root, &named, &other]);
    assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1)]);
}

#[test]
fn whoever_stole_a_revoked_key_cannot_write_another_history_up_to_the_named_entry() {
    let host = Chain::of(1, 0).saying([point(1, "a")]).saying([point(2, "a")]);
    let forged = Chain::of(1, 0).saying([point(3, "a")]).saying([point(4, "a")]);
    let root = Chain::of_root(&[1]).saying([revoke(1, &[(0, 1, host.entries[1].hash)])]);
    let fold = fold(&[&root, &host, &forged]);
    assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1), point_id(2)]);
    assert!(fold.findings.contains(&Finding::Forked(host.id(1))));
}

#[test]
fn of_two_revocations_only_what_both_leave_counts_and_no_later_grant_helps() {
    let host = Chain::of(1, 0).saying([point(1, "a")]).saying([point(2, "a")]);
    let side = Chain::of(1, 1).saying([point(3, "a")]);
    let (first, second) = (host.entries[0].hash, host.entries[1].hash);
    let strict = revoke(1, &[(0, 0, first)]);
    let mild = revoke(1, &[(0, 1, second), (1, 0, side.entries[0].hash)]);
    for (one, two) in [(&strict, &mild), (&mild, &strict)] {
        let root = Chain::of_root(&[1]).saying([one.clone()]).saying([two.clone(), grant(1, 7, None, 99)]);
        let fold = fold(&[&root, &host, &side]);
        assert_eq!(fold.points.keys().copied().collect::<Vec<_>>(), [point_id(1)]);
    }
}

#[test]
fn a_revocation_of_a_writer_that_is_let_in_later_holds() {
    let root = Chain::of(ROOT, 0).saying([revoke(1, &[])]).saying([grant(1, 7, None, 5)]);
    let host = Chain::of(1, 0).saying([point(1, "a")]);
    assert!(fold(&[&root, &host]).points.is_empty());
}

#[test]
fn a_forgetting_that_the_undo_has_not_seen_still_counts() {
    let root = Chain::of_root(&[1, 2]).saying([point(1, "a")]);
    let (one, two) = (Chain::of(1, 0).saying([forget(1, None)]), Chain::of(2, 0).saying([forget(1, None)]));
    let undone = Chain::of(1, 1).saying([undo(1, &[one.id(0)])]);
    let forgotten = fold(&[&root, &one, &two, &undone]);
    assert_eq!(forgotten.points[&point_id(1)].forgotten_by, BTreeSet::from([two.id(0)]));
    assert!(forgotten.live(None).is_empty());
    let undone = Chain::of(1, 1).saying([undo(1, &[one.id(0), two.id(0)])]);
    assert_eq!(fold(&[&root, &one, &two, &undone]).live(Some("a")).len(), 1);
}

#[test]
fn a_point_forgotten_in_one_region_is_wanted_in_the_others() {
    let root = Chain::of_root(&[1]).saying([point(1, "a")]).saying([forget(1, Some(&["here"]))]);
    let state = fold(&[&root]);
    let record = &state.points[&point_id(1)];
    assert!(record.is_live() && !record.is_live_in("here") && record.is_live_in("there"));
    let undone = root.clone().saying([undo(1, &[root.id(2)])]);
    assert!(fold(&[&undone]).points[&point_id(1)].is_live_in("here"));
}

/// A point with these moments: what it is true for and when it began, and when it was finished.
fn point_at(id: u8, source: &str, begun: i64, finished: i64) -> Fact {
    let Fact::Point(made) = point(id, source) else { panic!("a point") };
    Fact::Point(Box::new(Point { as_of: begun, begun, finished, ..*made }))
}

#[test]
fn a_point_whose_session_was_given_up_is_doubtful_until_its_tree_was_read() {
    let doubtful = |chains: &[&Chain]| {
        let fold = fold(chains);
        fold.is_doubtful(&fold.points[&point_id(2)], "here")
    };
    let (root, host) = (Chain::of_root(&[1]), Chain::of(1, 7).saying([point_at(2, "a", 30, 40)]));
    assert!(!doubtful(&[&root, &host]));
    let expired = root.saying([expired(1, 7)]);
    assert!(doubtful(&[&expired, &host]));
    let hashed = expired.saying([verified(2, 1, 60, 0)]);
    assert!(doubtful(&[&hashed, &host]), "what was hashed need not be all");
    assert!(!doubtful(&[&hashed.saying([verified(2, 2, 70, 0)]), &host]));
}

#[test]
fn a_point_that_only_given_up_sessions_brought_back_is_doubtful() {
    let root = Chain::of_root(&[1]).saying([point_at(2, "a", 30, 40)]).saying([forget(2, None)]);
    let doubtful = |chains: &[&Chain]| {
        let fold = fold(chains);
        assert!(fold.points[&point_id(2)].is_live());
        fold.is_doubtful(&fold.points[&point_id(2)], "here")
    };
    let undone = Chain::of(1, 7).saying([undo(2, &[root.id(2)])]);
    assert!(!doubtful(&[&root, &undone]));
    let given_up = root.clone().saying([expired(1, 7)]);
    assert!(doubtful(&[&given_up, &undone]));
    let held = Chain::of(1, 8).saying([hold(1, 2)]);
    assert!(!doubtful(&[&given_up, &undone, &held]), "who held it looked at all of it");
    let again = given_up.saying([forget(2, None)]);
    let later = Chain::of(1, 9).saying([undo(2, &[again.id(4)])]);
    assert!(doubtful(&[&again, &undone, &later]), "the first forgetting was taken back in vain");
    let in_vain = again.clone().saying([expired(1, 9)]);
    let first = Chain::of(1, 6).saying([undo(2, &[root.id(2)])]);
    assert!(!doubtful(&[&again, &first, &later]));
    assert!(doubtful(&[&in_vain, &first, &later]), "the second was");
}

#[test]
fn a_point_of_a_clock_that_was_ahead_is_not_the_newest() {
    const FAR: i64 = 1_000_000;
    let root = Chain::of_root(&[1])
        .saying([point_at(1, "a", 10, 20)])
        .saying([point_at(2, "a", FAR, FAR + 10)])
        .saying([point_at(9, "b", FAR, FAR + 10)]);
    let ahead = fold(&[&root]);
    let newest = |fold: &Fold, latest| fold.newest(Some("a"), latest, &BTreeSet::new()).map(|p| p.point.id);
    assert_eq!(newest(&ahead, i64::MAX), Some(point_id(2)), "nothing tells yet that it was ahead");
    let later = root.clone().saying([point_at(3, "a", 30, 40)]);
    let known = fold(&[&later]);
    assert_eq!(newest(&known, i64::MAX), Some(point_id(3)));
    assert_eq!(newest(&known, FAR + 1), Some(point_id(3)), "nor is it for a moment that has not come");
    assert_eq!(newest(&known, 25), Some(point_id(1)));
    assert_eq!(
        known.newest(Some("b"), i64::MAX, &BTreeSet::new()).map(|p| p.point.id),
        Some(point_id(9)),
        "another source"
    );
    assert_eq!(known.live(Some("a")).len(), 3, "it is there all the same");
    let slow = root.saying([point_at(4, "a", 30, FAR + 20)]);
    assert_eq!(newest(&fold(&[&slow]), i64::MAX), Some(point_id(2)), "both ran at once");
}

#[test]
fn what_is_said_of_a_point_counts_before_the_point_is_known() {
    let first = Chain::of_root(&[]).saying([forget(1, None), pin(1, Some(2)), verified(1, 2, 9, 0)]);
    let then = Chain::of(ROOT, 1).saying([point(1, "a")]);
    let fold = fold(&[&first, &then]);
    let record = &fold.points[&point_id(1)];
    assert_eq!((record.forgotten_by.len(), record.pinned_until, record.verified.len()), (1, Some(2), 1));
}

/// A root that states these, one entry each, at the times 2, 3, ...
fn told(facts: impl IntoIterator<Item = Fact>) -> Chain {
    facts.into_iter().fold(Chain::of_root(&[]), |root, fact| root.saying([fact]))
}

/// Whether point 1 of source a is wanted once these were stated, one entry each, at the times 3, 4, ...
fn lives(facts: impl IntoIterator<Item = Fact>) -> bool {
    fold(&[&told(std::iter::once(point(1, "a")).chain(facts))]).points[&point_id(1)].is_live()
}

#[test]
fn hold_beats_pin_beats_forget() {
    assert!(!lives([forget(1, None)]));
    assert!(lives([hold(1, 1), forget(1, None)]) && lives([forget(1, None), hold(1, 1)]));
    assert!(!lives([hold(1, 1), forget(1, None), release(1)]), "released, it is as if it had never been");
    assert!(lives([hold(1, 1), hold(2, 1), forget(1, None), release(1)]), "another hold still holds");
    assert!(lives([pin(1, Some(5)), forget(1, None)]), "stated at 4, before the pin ends");
    assert!(!lives([pin(1, Some(4)), forget(1, None)]), "the pin has ended");
    assert!(lives([forget(1, None), pin(1, Some(4))]) && !lives([forget(1, None), pin(1, Some(3))]));
    assert!(lives([forget(1, None), pin(1, None)]) && lives([pin(1, Some(2)), hold(1, 1), forget(1, None)]));
    assert!(!lives([hold(1, 2), pin(2, None), forget(1, None)]), "of another point");
}

#[test]
fn a_hold_on_a_source_overrules_what_is_forgotten_from_then_on() {
    assert!(lives([hold_of(3, "a"), forget(1, None)]) && !lives([hold_of(3, "b"), forget(1, None)]));
    assert!(!lives([forget(1, None), hold_of(3, "a")]), "it may be swept by then");
    assert!(
        lives([forget(1, None), hold_of(3, "a"), hold(1, 1)]),
        "unless the point itself was kept with it"
    );
    let together = told([point(1, "a")]).saying([forget(1, None), hold_of(3, "a")]);
    assert!(fold(&[&together]).points[&point_id(1)].is_live(), "in doubt it is kept");
    let later = told([hold_of(3, "a"), point(1, "a"), forget(1, None)]);
    let record = &fold(&[&later]).points[&point_id(1)];
    assert!(record.is_live() && record.is_held(), "points that came later too");
    assert_eq!(record.overruled, BTreeSet::from([later.id(3)]));
    assert_eq!(record.forgettings(), record.overruled);
}

#[test]
fn a_hold_on_a_source_brings_nothing_back_that_a_clock_far_ahead_forgot_before_it() {
    let root = told([point(1, "a")]);
    let held = Chain::of(ROOT, 1).saying([hold_of(3, "a")]);
    let day = 24 * 3600 * 1_000_000_000;
    let forgotten_at = |time| {
        let late = Chain::of(ROOT, 2).saying_with([forget(1, None)], |clear| clear.time.time = time);
        !fold(&[&root, &held, &late]).points[&point_id(1)].is_live()
    };
    assert!(!forgotten_at(2) && !forgotten_at(day), "whoever forgot may not have seen the hold");
    assert!(forgotten_at(2 * day), "it may be swept by now");
}

#[test]
fn what_a_pin_or_hold_overrules_in_one_region_it_overrules_there() {
    let root = told([point(1, "a"), hold(1, 1), forget(1, Some(&["here"]))]);
    assert!(fold(&[&root]).points[&point_id(1)].is_live_in("here"));
    assert!(!fold(&[&root.saying([release(1)])]).points[&point_id(1)].is_live_in("here"));
}

#[test]
fn holds_of_a_source_and_its_points_that_one_entry_stated_are_released_together() {
    let root = told([point(1, "a"), hold(5, 1)]).saying([hold_of(3, "a"), hold(1, 1), hold(2, 2)]);
    let fold = fold(&[&root]);
    let ids = |numbers: &[u8]| numbers.iter().map(|n| HoldId([*n; 16])).collect::<BTreeSet<_>>();
    assert_eq!(fold.hold_group(HoldId([3; 16])), ids(&[1, 2, 3]));
    assert_eq!((fold.hold_group(HoldId([1; 16])), fold.hold_group(HoldId([9; 16]))), (ids(&[1]), ids(&[])));
    assert_eq!(fold.points[&point_id(1)].held_by, ids(&[1, 3, 5]));
}

#[test]
fn what_was_forgotten_is_listed_with_when_and_why() {
    let root = told([point(1, "a"), point(2, "b"), forget(1, None), forget(2, None)]);
    let state = fold(&[&root.clone().saying([undo(2, &[root.id(4)])])]);
    assert_eq!(state.forgotten(None).iter().map(|p| p.point.id).collect::<Vec<_>>(), [point_id(1)]);
    assert!(state.forgotten(Some("b")).is_empty());
    let told = &state.forgettings[&root.id(3)];
    assert_eq!((told.stated.time, &told.reasons), (4, &BTreeSet::from(["old".to_owned()])));
}

#[test]
fn clocks_that_were_ahead_are_found_without_comparing_each_with_each() {
    const FAR: i64 = 1_000_000;
    let far = point_at(1, "a", FAR, FAR + 1);
    let root =
        told([far, point_at(2, "a", 10, 20), point_at(3, "b", FAR, FAR + 1), point_at(4, "a", FAR, FAR + 1)]);
    assert_eq!(
        fold(&[&root]).ahead(),
        BTreeSet::from([point_id(1)]),
        "the last one runs long after all others"
    );
}

#[test]
fn the_longest_pin_counts() {
    let root = Chain::of_root(&[]).saying([point(1, "a"), pin(1, Some(5)), pin(1, Some(9)), pin(1, Some(7))]);
    assert_eq!(fold(&[&root]).points[&point_id(1)].pinned_until, Some(9));
    assert_eq!(fold(&[&root.saying([pin(1, None)])]).points[&point_id(1)].pinned_until, Some(i64::MAX));
}

#[test]
fn a_hold_lasts_until_its_release_whichever_arrives_first() {
    let root = Chain::of_root(&[]).saying([hold(1, 1), hold(2, 1)]);
    let released = Chain::of(ROOT, 1).saying([release(1)]);
    assert_eq!(fold(&[&root]).holds.len(), 2);
    assert_eq!(fold(&[&released, &root]).holds.keys().copied().collect::<Vec<_>>(), [HoldId([2; 16])]);
}

#[test]
fn nobody_says_anew_what_a_hold_a_point_or_a_pack_is() {
    let root = Chain::of_root(&[1])
        .saying_with([point(1, "a"), hold(1, 1)], |clear| clear.brings = vec![pack(1, 5)]);
    let agreeing =
        Chain::of(ROOT, 1).saying_with([point(1, "a"), hold(1, 1)], |clear| clear.brings = vec![pack(1, 5)]);
    let same = fold(&[&root, &agreeing]);
    assert!(no_findings(&same), "{:?}", same.findings);
    let later =
        Chain::of(ROOT, 1).saying_with([point(1, "b"), hold(1, 2)], |clear| clear.brings = vec![pack(1, 6)]);
    let fold = fold(&[&root, &later]);
    let contradicts = |what| Finding::Contradicted { entry: later.id(0), what };
    let expected = ["point", "hold", "pack"].map(contradicts);
    assert_eq!(fold.findings, BTreeSet::from(expected));
    assert_eq!(fold.points[&point_id(1)].point.source, "a");
    assert_eq!(fold.holds[&HoldId([1; 16])].hold.point, Some(point_id(1)));
    assert_eq!(fold.packs[&pack_id(1)].size, 5);
}

#[test]
fn a_writer_brings_no_run_in_the_name_of_another() {
    let root = Chain::of_root(&[1]);
    let host = Chain::of(1, 0).saying_with([], |clear| clear.brings = vec![run(1, 1), run(2, 2)]);
    let fold = fold(&[&root, &host]);
    assert_eq!(fold.runs.keys().copied().collect::<Vec<_>>(), [RunId([1; 16])]);
    assert_eq!(fold.runs[&RunId([1; 16])].of, (writer(1), session(1)));
    assert_eq!(fold.findings, BTreeSet::from([Finding::Contradicted { entry: host.id(0), what: "run" }]));
}

#[test]
fn nobody_ends_the_session_of_another() {
    let root = Chain::of_root(&[1, 2]);
    let victim = Chain::of(1, 5).saying([point(1, "a")]);
    let thief = Chain::of(2, 5).saying([Fact::End]);
    let fold = fold(&[&root, &victim, &thief]);
    assert_eq!(fold.ended, BTreeSet::from([(writer(2), session(5))]));
}

#[test]
fn the_root_alone_states_keys_and_the_highest_number_is_the_newest() {
    let root = Chain::of_root(&[1]).saying([generation(65_600, 2), generation(0, 1)]);
    let host = Chain::of(1, 0).saying([generation(70_000, 3)]);
    let fold = fold(&[&root, &host]);
    let Fact::Domain(newest) = generation(65_600, 2) else { unreachable!() };
    assert_eq!(fold.newest_keys(newest.domain), Some(&newest));
    assert_eq!(fold.newest_keys(format::id::DomainId([2; 16])), None);
    let finding = Finding::NotAllowed { entry: host.id(0), what: "generation of keys" };
    assert_eq!(fold.findings, BTreeSet::from([finding]));
}

#[test]
fn of_two_that_state_a_generation_otherwise_one_counts_whatever_comes_first() {
    let (first, second) =
        (Chain::of(ROOT, 0).saying([generation(9, 1)]), Chain::of(ROOT, 1).saying([generation(9, 2)]));
    let there = fold(&[&first, &second]);
    assert_eq!(there.domains, fold(&[&second, &first]).domains);
    assert_eq!(there.domains.len(), 1);
    let finding = Finding::Contradicted { entry: second.id(0), what: "generation of keys" };
    assert_eq!(there.findings, BTreeSet::from([finding]));
}

#[test]
fn an_expiry_names_writer_and_session() {
    let root = Chain::of_root(&[]).saying([expired(1, 5)]);
    assert_eq!(fold(&[&root]).expired, BTreeSet::from([(writer(1), session(5))]));
}

#[test]
fn the_life_of_a_region_that_was_stated_last_counts_whatever_chain_it_is_in() {
    let old = Chain::of(ROOT, 9).saying([region(1)]);
    let new = Chain::of(ROOT, 1).saying_with([region(2)], |clear| clear.time.time = 50);
    assert_eq!(fold(&[&old, &new]).regions["here"], Incarnation([2; 16]));
}

#[test]
fn places_in_an_earlier_life_of_a_region_are_void() {
    let root = Chain::of_root(&[]).saying([region(1), moved(1, 1, 2), moved(1, 1, 3)]);
    let there = fold(&[&root]);
    let places = &there.moved[&("here".to_owned(), pack_id(1), 2)];
    assert_eq!(*places, BTreeSet::from([pack_id(2), pack_id(3)]));
    assert!(fold(&[&root.saying([region(2)])]).moved.is_empty());
}

/// Two hosts may heal the same chunk, and one of them may be given up before its packs are counted: the other one's stays.
#[test]
fn all_substitutes_of_a_chunk_count() {
    let root = Chain::of_root(&[1, 2]);
    let (lost, one, other) = (reference(1, 1), reference(2, 1), reference(3, 1));
    let hosts = [(1, one), (2, other)].map(|(host, by)| Chain::of(host, 0).saying([substitute(lost, by)]));
    let fold = fold(&[&root, &hosts[0], &hosts[1]]);
    assert_eq!(fold.substitutes, BTreeMap::from([(lost, BTreeSet::from([one, other]))]));
}

#[test]
fn a_substitute_is_of_the_same_content() {
    let root = Chain::of_root(&[1]);
    let (lost, good, bad) = (reference(1, 1), reference(2, 1), reference(2, 2));
    let host = Chain::of(1, 0).saying([substitute(lost, good)]).saying([substitute(good, bad)]);
    let fold = fold(&[&root, &host]);
    assert_eq!(fold.substitutes, BTreeMap::from([(lost, BTreeSet::from([good]))]));
    let finding = Finding::NotAllowed { entry: host.id(1), what: "substitute with other content" };
    assert_eq!(fold.findings, BTreeSet::from([finding]));
}

#[test]
fn unknown_facts_and_features_forbid_the_verbs_that_they_name() {
    let rows: &[(Fact, &[&str], &[&str])] = &[
        (unknown(&["sweep"]), &["sweep"], &["write", "restore"]),
        (unknown(&[]), &[], &["write", "restore", "sweep"]),
        (feature(0), &[], &["write", "restore", "forget", "sweep", "promote"]),
        (feature(1), &["write", "forget", "sweep", "promote"], &["restore"]),
        (feature(2), &["restore", "write", "forget", "sweep", "promote"], &[]),
        (feature(3), &["sweep"], &["write", "restore", "forget", "promote"]),
    ];
    for (fact, forbidden, allowed) in rows {
        let fold = fold(&[&Chain::of_root(&[]).saying([fact.clone()])]);
        assert!(forbidden.iter().all(|verb| fold.forbids(verb).is_some()), "{fact:?}");
        assert!(allowed.iter().all(|verb| fold.forbids(verb).is_none()), "{fact:?}");
    }
}

#[test]
fn a_critical_fact_that_does_not_decode_is_reported_and_forbids_what_it_names() {
    let broken = RawFact { bytes: vec![0xff], ..point(1, "a").encode() };
    let mut root = Chain::of_root(&[]).saying([]);
    root.entries[1].facts = vec![broken];
    let fold = fold(&[&root]);
    assert!(matches!(fold.findings.first(), Some(Finding::Malformed { entry, .. }) if *entry == root.id(1)));
    assert!(fold.forbids("sweep").is_some() && fold.forbids("restore").is_none());
}

#[test]
fn a_fact_in_the_wrong_part_of_its_entry_does_not_count() {
    let misplaced = Chain::of_root(&[]).saying_with([], |clear| clear.facts = vec![point(1, "a").encode()]);
    let mut sealed = Chain::of(ROOT, 1).saying([]);
    sealed.entries[0].facts = vec![Fact::End.encode()];
    let fold = fold(&[&misplaced, &sealed]);
    assert!(fold.points.is_empty() && fold.ended.is_empty());
    assert_eq!(fold.findings.len(), 2);
}

#[test]
fn missing_entries_are_counted_and_what_follows_is_used() {
    let root = Chain::of_root(&[]).saying([point(1, "a")]).saying([point(2, "a")]).saying([point(3, "a")]);
    let mut cut = root.clone();
    cut.entries.drain(1..3);
    let fold = fold(&[&cut]);
    assert_eq!(fold.findings, BTreeSet::from([Finding::Missing { before: root.id(3), count: 2 }]));
    assert!(fold.points.contains_key(&point_id(3)));
}

#[test]
fn a_chain_without_its_beginning_is_noticed() {
    let mut cut = Chain::of_root(&[]).saying([point(1, "a")]);
    cut.entries.remove(0);
    let finding = Finding::Missing { before: cut.id(1), count: 1 };
    assert_eq!(fold(&[&cut]).findings, BTreeSet::from([finding]));
}

#[test]
fn an_entry_that_does_not_follow_the_one_before_it_is_named() {
    let root = Chain::of_root(&[]).saying_with([point(1, "a")], |clear| clear.previous = Hash([1; 32]));
    assert_eq!(fold(&[&root]).findings, BTreeSet::from([Finding::Reordered(root.id(1))]));
    let first = Chain::of(ROOT, 0).saying_with([], |clear| clear.previous = Hash([1; 32]));
    assert_eq!(fold(&[&first]).findings, BTreeSet::from([Finding::Reordered(first.id(0))]));
}

#[test]
fn two_entries_in_one_place_are_a_fork_and_both_are_used() {
    let root = Chain::of_root(&[]);
    let (one, two) = (root.clone().saying([point(1, "a")]), root.clone().saying([point(2, "a")]));
    let fold = fold(&[&one, &two]);
    assert_eq!(fold.findings, BTreeSet::from([Finding::Forked(root.id(1))]));
    assert_eq!(fold.points.len(), 2);
}

#[test]
fn an_entry_that_somebody_saw_and_that_is_gone_is_unseen() {
    let host = Chain::of(1, 0).saying([point(1, "a")]);
    let root = Chain::of_root(&[1]).saying_with([], |clear| {
        clear.heads = vec![host.head()];
        clear.deps = vec![Chain::of(1, 1).id(3)];
    });
    let unseen = |entry| Finding::Unseen { entry, named_by: root.id(1) };
    assert_eq!(fold(&[&root]).findings, BTreeSet::from([unseen(host.id(0)), unseen(Chain::of(1, 1).id(3))]));
    assert_eq!(fold(&[&root, &host]).findings, BTreeSet::from([unseen(Chain::of(1, 1).id(3))]));
}

#[test]
fn an_entry_that_is_another_than_the_one_somebody_saw_is_changed() {
    let (seen, here) = (Chain::of(1, 0).saying([point(1, "a")]), Chain::of(1, 0).saying([point(2, "a")]));
    let root = Chain::of_root(&[1]).saying_with([], |clear| clear.heads = vec![seen.head()]);
    let finding = Finding::Changed { entry: here.id(0), named_by: root.id(1) };
    assert_eq!(fold(&[&root, &here]).findings, BTreeSet::from([finding]));
}

#[test]
fn entries_after_the_last_that_another_chain_names_are_unnamed() {
    let host = Chain::of(1, 0).saying([]).saying([]);
    let seen = host.head();
    let host = host.saying([]).saying([]);
    let root = Chain::of_root(&[1]).saying_with([], |clear| clear.heads = vec![seen]);
    let fold = fold(&[&root, &host]);
    assert!(no_findings(&fold), "{:?}", fold.findings);
    assert_eq!(fold.unnamed, BTreeSet::from([root.id(0), root.id(1), host.id(2), host.id(3)]));
}

#[test]
fn a_stranger_vouches_for_nothing_and_raises_no_alarm() {
    let root = Chain::of_root(&[1]);
    let stranger = Chain::of(9, 0).saying_with([], |clear| {
        clear.heads = vec![root.head(), Chain::of(1, 0).saying([]).head()];
    });
    let fold = fold(&[&root, &stranger]);
    assert_eq!(fold.unnamed, BTreeSet::from([root.id(0)]));
    assert_eq!(fold.findings, BTreeSet::from([Finding::Stranger(stranger.id(0))]));
}

#[test]
fn numbers_at_the_end_of_their_range_do_no_harm() {
    let far = Chain::of(ROOT, 0).saying_with([], |clear| {
        clear.number = u32::MAX;
        clear.heads =
            vec![Head { writer: writer(1), session: session(0), number: u32::MAX, hash: Hash::NONE }];
    });
    let revoking = Chain::of_root(&[1]).saying([revoke(1, &[(0, u32::MAX, Hash::NONE)])]);
    let fold =
        fold(&[&far, &Chain::of(ROOT, 3).saying([revoke(2, &[(0, u32::MAX, Hash([3; 32]))])]), &revoking]);
    assert!(fold.findings.iter().any(|f| matches!(f, Finding::Missing { .. })));
}

#[test]
fn findings_read_as_sentences() {
    let entry = Chain::of(1, 2).id(3);
    let shown = format!("{:.8}/02020202/3", writer(1).to_string());
    let contradicted = Finding::Contradicted { entry, what: "pack" };
    assert_eq!(
        contradicted.to_string(),
        format!("entry {shown} does not agree with another one about a pack")
    );
    let missing = Finding::Missing { before: entry, count: 2 };
    assert_eq!(missing.to_string(), format!("2 entries are missing before entry {shown}"));
}

#[test]
fn only_the_root_says_what_helps_to_restore() {
    let hash = Hash([5; 32]);
    let name = layout::rescue("seawall-0.1.0-x86_64", hash, "").unwrap().to_string();
    let bringing = |name: &str, hash, size| {
        let brought = format::entry::Brought { name: name.to_owned(), size, hash };
        move |clear: &mut format::entry::Clear| clear.brings = vec![brought]
    };
    let root = Chain::of_root(&[1]).saying_with([], bringing(&name, hash, 9));
    let host = Chain::of(1, 0).saying_with([], bringing(&name.replace("x86_64", "evil"), hash, 9));
    let fold = fold(&[&root, &host]);
    let found: Vec<(&String, u64, Hash)> = fold.rescue.iter().map(|(n, r)| (n, r.size, r.hash)).collect();
    assert_eq!(found, [(&name, 9, hash)]);
    let what = "object that helps to restore";
    assert_eq!(fold.findings, BTreeSet::from([Finding::NotAllowed { entry: host.id(0), what }]));

    let other = Chain::of_root(&[]).saying_with([], bringing(&name, Hash([6; 32]), 9));
    let fold = Fold::of(&other.entries, writer(ROOT));
    assert!(fold.rescue.is_empty(), "its name holds another hash");
    assert_eq!(fold.findings.len(), 1);
}

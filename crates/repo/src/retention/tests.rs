//! What is kept by the calendar and by guards, whatever the order of points and whatever their clocks said.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

fn ns(rfc3339: &str) -> i64 {
    i64::try_from(rfc3339.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
}

/// Central Europe and a place whose clocks are put back by one hour at one minute past midnight.
fn zones() -> [TimeZone; 3] {
    let europe = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let newfoundland = TimeZone::posix("NST3:30NDT,M4.1.0/0:01,M10.5.0/0:01").unwrap();
    [TimeZone::UTC, europe, newfoundland]
}

fn europe() -> TimeZone {
    zones()[1].clone()
}

fn id(number: usize) -> PointId {
    PointId((number as u128).to_be_bytes())
}

fn at(number: usize, as_of: i64) -> Candidate<'static> {
    Candidate {
        id: id(number),
        source: "a",
        as_of,
        stored: as_of,
        tags: &[],
        pinned_until: None,
        is_held: false,
        is_damaged: false,
        is_doubtful: false,
        is_proven: false,
        is_ahead: false,
    }
}

fn times(times: &[&str]) -> Vec<Candidate<'static>> {
    times.iter().enumerate().map(|(number, time)| at(number, ns(time))).collect()
}

/// Pins end and points grow old only after all times that tests use.
fn no_guard() -> Guard {
    Guard { now: i64::MAX, least: 0, young_since: i64::MAX }
}

fn rules(text: &str) -> Keep {
    let mut keep = Keep::default();
    for rule in text.split_whitespace() {
        let (name, value) = rule.split_once('=').unwrap();
        let period = match name {
            "last" => {
                keep.last = value.parse().ok();
                continue;
            }
            "within" => {
                keep.within = value.parse().ok();
                continue;
            }
            "tag" => {
                let (key, value) = value.split_once(':').unwrap();
                keep.tags.insert((key.to_owned(), value.to_owned()));
                continue;
            }
            "hourly" => Period::Hour,
            "daily" => Period::Day,
            "weekly" => Period::Week,
            "monthly" => Period::Month,
            "yearly" => Period::Year,
            _ => panic!("{name}"),
        };
        keep.periods.insert(period, value.parse().unwrap());
    }
    keep
}

/// The numbers of the points that rules keep; guards that nothing can switch off are left out.
fn kept(text: &str, points: &[Candidate<'_>], zone: &TimeZone) -> Vec<usize> {
    let plan = plan(&rules(text), no_guard(), points, zone).unwrap();
    let by_rule = |point: &&Candidate<'_>| plan[&point.id].iter().any(|reason| !reason.is_guard());
    points.iter().filter(by_rule).map(|point| u128::from_be_bytes(point.id.0) as usize).collect()
}

fn check(rows: &[(&str, &[&str], &[usize])], zone: &TimeZone) {
    for (text, moments, expected) in rows {
        assert_eq!(kept(text, &times(moments), zone), *expected, "{text} of {moments:?}");
    }
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods() {
    let days =
        &["2026-01-01T01:00:00Z", "2026-01-01T09:00:00Z", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"];
    check(
        &[
            ("last=2", days, &[2, 3]),
            ("last=9", days, &[0, 1, 2, 3]),
            ("daily=2", days, &[2, 3]),
            ("daily=3", days, &[1, 2, 3]),
            ("daily=4", days, &[0, 1, 2, 3]),
            ("hourly=1", days, &[3]),
            ("monthly=1", days, &[3]),
            ("yearly=2", days, &[0, 3]),
            ("within=3d", days, &[2, 3]),
            ("within=4d", days, &[1, 2, 3]),
            ("within=1h", days, &[3]),
            ("last=1 daily=2", days, &[2, 3]),
            ("last=1", &[], &[]),
        ],
        &TimeZone::UTC,
    );
}

#[test]
fn weeks_are_those_of_the_iso_calendar_over_new_year() {
    let moments = &[
        "2026-12-27T12:00:00Z", // Sunday of week 52
        "2026-12-28T12:00:00Z", // Monday of week 53
        "2026-12-31T12:00:00Z",
        "2027-01-03T12:00:00Z", // Sunday of week 53 of 2026
        "2027-01-04T12:00:00Z", // Monday of week 1
    ];
    check(
        &[
            ("weekly=1", moments, &[4]),
            ("weekly=2", moments, &[3, 4]),
            ("weekly=3", moments, &[0, 3, 4]),
            ("yearly=2", moments, &[2, 4]),
        ],
        &TimeZone::UTC,
    );
}

#[test]
fn days_begin_by_the_time_zone() {
    let moments = &["2026-07-01T21:30:00Z", "2026-07-01T22:30:00Z", "2026-07-02T21:30:00Z"];
    check(&[("daily=1", moments, &[2]), ("daily=2", moments, &[1, 2])], &TimeZone::UTC);
    let [_, europe, _] = zones();
    check(&[("daily=1", moments, &[2]), ("daily=2", moments, &[0, 2])], &europe);
}

#[test]
fn the_hour_that_comes_twice_counts_twice_and_the_one_that_is_left_out_not_at_all() {
    let back =
        &["2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z", "2026-10-25T02:10:00Z"];
    let forth = &["2026-03-29T00:10:00Z", "2026-03-29T00:50:00Z", "2026-03-29T01:10:00Z"];
    let rows: &[(&str, &[&str], &[usize])] =
        &[("hourly=3", back, &[1, 2, 3]), ("daily=1", back, &[3]), ("hourly=2", forth, &[1, 2])];
    check(rows, &europe());
}

#[test]
fn days_that_alternate_where_clocks_are_put_back_over_midnight_are_two() {
    let [.., newfoundland] = zones();
    let moments = &[
        "2026-10-25T02:20:00Z", // 23:50 on Saturday
        "2026-10-25T02:30:30Z", // 00:00:30 on Sunday, then the clock is put back to 23:01
        "2026-10-25T02:40:00Z", // 23:10 on Saturday
    ];
    check(&[("daily=1", moments, &[1]), ("daily=2", moments, &[1, 2])], &newfoundland);
}

#[test]
fn leap_days_have_a_year_before_and_after() {
    let moments =
        &["2023-02-27T00:00:00Z", "2023-02-28T00:00:00Z", "2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"];
    check(
        &[
            ("within=1y", moments, &[1, 2, 3]),
            ("daily=2", moments, &[2, 3]),
            ("within=12mo", moments, &[1, 2, 3]),
        ],
        &TimeZone::UTC,
    );
    let year: Distance = "1y".parse().unwrap();
    assert_eq!(year.after(ns("2024-02-29T00:00:00Z"), &TimeZone::UTC), ns("2025-02-28T00:00:00Z"));
}

#[test]
fn a_day_back_is_a_day_of_the_calendar_and_24_hours_are_24_hours() {
    let noon = ns("2026-03-29T10:00:00Z");
    let before = |text: &str| text.parse::<Distance>().unwrap().before(noon, &europe());
    assert_eq!((before("1d"), before("24h")), (noon - 23 * HOUR, noon - 24 * HOUR));
}

#[test]
fn the_tags_of_a_point_keep_it_and_each_pair_counts_by_itself() {
    let tier = [("tier".to_owned(), "1".to_owned()), ("end".to_owned(), "year".to_owned())];
    let mut points = vec![at(0, 1), at(1, 2), at(2, 3)];
    points[0].tags = &tier;
    assert_eq!(kept("tag=end:year last=1", &points, &TimeZone::UTC), [0, 2]);
    assert_eq!(kept("tag=tier:2 last=1", &points, &TimeZone::UTC), [2]);
}

#[test]
fn rules_that_keep_nothing_are_refused() {
    let plan = |text: &str, points: &[Candidate<'_>]| plan(&rules(text), no_guard(), points, &TimeZone::UTC);
    assert_eq!(plan("", &[at(0, 1)]), Err(Refused::Nothing));
    assert_eq!(plan("", &[]), Err(Refused::Nothing));
    assert_eq!(plan("tag=a:b", &[at(0, 1)]), Err(Refused::NothingOf("a".to_owned())));
    assert!(plan("tag=a:b", &[]).is_ok() && plan("last=1", &[at(0, 1)]).is_ok());
}

#[test]
fn a_damaged_point_fills_no_place_where_a_sound_one_can() {
    let mut points = times(&[
        "2026-01-01T01:00:00Z",
        "2026-01-01T09:00:00Z",
        "2026-01-02T01:00:00Z",
        "2026-01-02T09:00:00Z",
    ]);
    points[3].is_damaged = true;
    assert_eq!(kept("daily=1", &points, &TimeZone::UTC), [2]);
    assert_eq!(kept("last=1", &points, &TimeZone::UTC), [2]);
    points[2].is_damaged = true;
    assert_eq!(kept("daily=1", &points, &TimeZone::UTC), [3], "none of that day is sound");
    assert_eq!(kept("daily=3", &points, &TimeZone::UTC), [0, 1, 3]);
    assert_eq!(kept("last=3", &points, &TimeZone::UTC), [0, 1, 3], "the sound ones first");
    let guarded = guards(no_guard(), &points);
    assert_eq!(guarded[&id(1)], BTreeSet::from([Reason::NewestRestorable]));
    points.iter_mut().for_each(|point| point.is_damaged = true);
    assert_eq!(guards(no_guard(), &points)[&id(3)], BTreeSet::from([Reason::NewestRestorable]));
}

/// It may be the newest that somebody was told to have, or lack what a sweep took: nobody knows before it is verified.
#[test]
fn a_doubtful_point_neither_goes_nor_takes_the_place_of_another() {
    let mut points = times(&["2026-01-01T01:00:00Z", "2026-01-02T01:00:00Z", "2026-01-02T09:00:00Z"]);
    points[2].is_doubtful = true;
    assert_eq!(kept("last=1", &points, &TimeZone::UTC), [1]);
    assert_eq!(kept("daily=1", &points, &TimeZone::UTC), [1]);
    let guarded = guards(no_guard(), &points);
    assert_eq!(guarded[&id(2)], BTreeSet::from([Reason::Doubtful]));
    assert_eq!(guarded[&id(1)], BTreeSet::from([Reason::NewestRestorable]));
    points[2].is_damaged = true;
    assert!(guards(no_guard(), &points).get(&id(2)).is_none_or(BTreeSet::is_empty), "whoever looked knows");
}

#[test]
fn guards_keep_what_rules_would_not() {
    let guard = Guard { now: 50, least: 2, young_since: 4 };
    let mut points: Vec<Candidate<'_>> = (0..8).map(|number| at(number, number as i64)).collect();
    points[0].is_held = true;
    points[1].pinned_until = Some(51);
    points[2].pinned_until = Some(50);
    points[3].is_proven = true;
    points[4].stored = 5;
    (points[7].is_ahead, points[7].stored) = (true, 0);
    (5..7).for_each(|number| points[number].stored = 4);
    let reasons = guards(guard, &points);
    use Reason as R;
    let rows: [&[R]; 8] = [
        &[R::Held],
        &[R::Pinned],
        &[],
        &[R::NewestProven],
        &[R::Young],
        &[R::Least],
        &[R::Least, R::NewestRestorable],
        &[R::Ahead],
    ];
    for (number, expected) in rows.into_iter().enumerate() {
        assert_eq!(reasons[&id(number)], expected.iter().copied().collect(), "point {number}");
    }
}

#[test]
fn points_ten_years_ahead_neither_push_out_others_nor_go_themselves() {
    let now = ns("2026-11-22T00:00:00Z");
    let mut points: Vec<Candidate<'_>> =
        (0..40).map(|number| at(number, now - number as i64 * DAY)).collect();
    let text = "last=3 daily=7 monthly=2 within=5d";
    let before = kept(text, &points, &TimeZone::UTC);
    for number in 40..50 {
        points.push(Candidate { is_ahead: true, ..at(number, now + 10 * YEAR + number as i64 * DAY) });
    }
    assert_eq!(kept(text, &points, &TimeZone::UTC), before);
    let plan = plan(&rules(text), no_guard(), &points, &TimeZone::UTC).unwrap();
    assert!((40..50).all(|number| plan[&id(number)] == BTreeSet::from([Reason::Ahead])));
}

#[test]
fn years_of_hourly_points_are_thinned_as_the_rules_say() {
    let first = ns("2021-01-01T00:30:00Z");
    let points: Vec<Candidate<'_>> =
        (0..52_600).map(|number| at(number, first + number as i64 * HOUR)).collect();
    let text = "hourly=48 daily=30 weekly=20 monthly=36 yearly=5";
    for zone in zones() {
        let plan = plan(&rules(text), no_guard(), &points, &zone).unwrap();
        let count = |reason| plan.values().filter(|reasons| reasons.contains(&reason)).count();
        let periods = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];
        assert_eq!(periods.map(|period| count(Reason::Of(period))), [48, 30, 20, 36, 5]);
        let all = plan.values().filter(|reasons| !reasons.is_empty()).count();
        assert!((100..=139).contains(&all), "{all} are kept");
    }
}

#[test]
fn lengths_of_time_are_read_as_they_are_written() {
    let noon = ns("2026-11-22T12:00:00Z");
    let rows = [
        ("6h", "2026-11-22T06:00:00Z"),
        ("30d", "2026-10-23T12:00:00Z"),
        ("2w", "2026-11-08T12:00:00Z"),
        ("3mo", "2026-08-22T12:00:00Z"),
        ("1y", "2025-11-22T12:00:00Z"),
        ("1y6mo", "2025-05-22T12:00:00Z"),
        (" 1d12h ", "2026-11-21T00:00:00Z"),
    ];
    for (typed, expected) in rows {
        let distance: Distance = typed.parse().unwrap();
        assert_eq!(distance.before(noon, &TimeZone::UTC), ns(expected), "{typed}");
        assert_eq!(distance.to_string().parse(), Ok(distance), "{typed}");
    }
    for bad in
        ["", "0d", "d", "30", "-1d", "1m", "1 d", "4294967296h", "1d2", "400000000y400000000y", "ä", "1ä"]
    {
        assert_eq!(bad.parse::<Distance>(), Err(NoDistance(bad.to_owned())), "{bad}");
    }
    let ages: Distance = "4000000000h".parse().unwrap();
    assert_eq!((ages.before(noon, &TimeZone::UTC), ages.after(noon, &TimeZone::UTC)), (i64::MIN, i64::MAX));
    let long: Distance = "400y".parse().unwrap();
    assert_eq!((long.before(noon, &TimeZone::UTC), long.after(noon, &TimeZone::UTC)), (i64::MIN, i64::MAX));
}

fn candidate(number: usize) -> impl Strategy<Value = Candidate<'static>> {
    let span = prop_oneof![4 => 0..60 * DAY, 2 => 0..3 * YEAR, 1 => Just(7 * DAY), 1 => any::<i64>()];
    let base = ns("2026-10-20T00:00:00Z");
    let flags = vec(proptest::bool::weighted(0.15), 4);
    let tags: [&'static [(String, String)]; 2] =
        [&[], Box::leak(Box::new([("k".to_owned(), "v".to_owned())]))];
    let pin = proptest::option::weighted(0.1, any::<i64>());
    (span, 0..3_usize, 0..2_usize, flags, pin, any::<i64>()).prop_map(
        move |(span, source, tag, flags, pin, stored)| Candidate {
            source: ["a", "b", "c"][source],
            stored,
            tags: tags[tag],
            pinned_until: pin,
            is_held: flags[0],
            is_damaged: flags[1],
            is_doubtful: false,
            is_proven: flags[2],
            is_ahead: flags[3],
            ..at(number, base.saturating_sub(span))
        },
    )
}

fn candidates() -> impl Strategy<Value = Vec<Candidate<'static>>> {
    (0..40_usize).prop_flat_map(|count| (0..count).map(candidate).collect::<Vec<_>>())
}

fn keep() -> impl Strategy<Value = Keep> {
    let count = || (1..9_u32).prop_map(|n| NonZeroU32::new(n).unwrap());
    let period = prop_oneof![
        Just(Period::Hour),
        Just(Period::Day),
        Just(Period::Week),
        Just(Period::Month),
        Just(Period::Year)
    ];
    let within = prop_oneof![Just("1d"), Just("2w"), Just("1y"), Just("3mo2d7h")];
    let last = proptest::option::of(count());
    (last, btree_map(period, count(), 0..4), proptest::option::of(within), any::<bool>()).prop_map(
        |(last, periods, within, tag)| Keep {
            last,
            periods,
            within: within.map(|text| text.parse().unwrap()),
            tags: tag.then(|| ("k".to_owned(), "v".to_owned())).into_iter().collect(),
        },
    )
}

fn guard() -> impl Strategy<Value = Guard> {
    (any::<i64>(), 0..4_u32, any::<i64>()).prop_map(|(now, least, young_since)| Guard {
        now,
        least,
        young_since,
    })
}

fn case() -> impl Strategy<Value = (Vec<Candidate<'static>>, Keep, Guard, TimeZone)> {
    (candidates(), keep(), guard(), (0..3_usize).prop_map(|number| zones()[number].clone()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_points_are_named_does_not_matter(
        ((points, keep, guard, zone), shuffled) in case().prop_flat_map(|case| {
            let points = case.0.clone();
            (Just(case), Just(points).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(plan(&keep, guard, &points, &zone), plan(&keep, guard, &shuffled, &zone));
    }

    #[test]
    fn planning_again_what_was_kept_keeps_all_of_it((points, keep, guard, zone) in case()) {
        if let Ok(first) = plan(&keep, guard, &points, &zone) {
            let left: Vec<Candidate<'_>> = points.into_iter().filter(|p| !first[&p.id].is_empty()).collect();
            let again = plan(&keep, guard, &left, &zone).unwrap();
            prop_assert!(again.values().all(|reasons| !reasons.is_empty()));
            prop_assert!(left.iter().all(|p| again[&p.id].is_superset(&first[&p.id])));
        }
    }

    #[test]
    fn guards_hold_whatever_the_rules((points, keep, guard, zone) in case()) {
        let Ok(plan) = plan(&keep, guard, &points, &zone) else { return Ok(()) };
        let kept = |p: &Candidate<'_>| !plan[&p.id].is_empty();
        for point in &points {
            let must = point.is_held
                || point.is_ahead
                || point.pinned_until.is_some_and(|until| until > guard.now)
                || point.stored > guard.young_since;
            prop_assert!(!must || kept(point), "{point:?}");
        }
        for source in ["a", "b", "c"] {
            let of: Vec<&Candidate<'_>> = points.iter().filter(|p| p.source == source).collect();
            let sound = |p: &&&Candidate<'_>| !p.is_damaged && !p.is_ahead;
            let there = of.iter().filter(sound).count();
            let left = of.iter().filter(sound).filter(|p| kept(p)).count();
            prop_assert!(left >= there.min(guard.least.max(1) as usize));
            prop_assert!(of.is_empty() || of.iter().any(|p| kept(p)), "something of each source stays");
            let newest = of.iter().filter(sound).max_by_key(|p| (p.as_of, p.stored, p.id));
            prop_assert!(newest.is_none_or(|p| kept(p)));
            let proven = of.iter().filter(sound).filter(|p| p.is_proven).max_by_key(|p| (p.as_of, p.stored, p.id));
            prop_assert!(proven.is_none_or(|p| kept(p)));
        }
    }

    #[test]
    fn points_of_clocks_that_were_ahead_change_nothing_for_others((points, keep, guard, zone) in case()) {
        let placed: Vec<Candidate<'_>> = points.iter().filter(|p| !p.is_ahead).cloned().collect();
        if let (Ok(all), Ok(without)) = (plan(&keep, guard, &points, &zone), plan(&keep, guard, &placed, &zone)) {
            for point in placed.iter().filter(|p| points.iter().any(|q| q.source == p.source && !q.is_damaged)) {
                let rules = |plan: &Reasons| -> BTreeSet<Reason> {
                    plan[&point.id].iter().filter(|reason| !reason.is_guard()).copied().collect()
                };
                prop_assert_eq!(rules(&all), rules(&without));
            }
        }
    }
}

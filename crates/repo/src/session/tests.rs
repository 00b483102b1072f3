//! A session that cannot read what others say does not believe that they say nothing.

use format::fact::{Forget, Undo};
use storage::{Fault, Verb};

use super::*;
use crate::fold::made::{point, point_id};
use crate::trial::Place;

/// What was expired behind the back of a session, and read wrongly by it, is not acknowledged; what was only misread once
/// stops nobody.
#[test]
fn an_expiry_that_could_not_be_read_is_not_an_expiry_that_is_not_there() {
    for fault in [Fault::Short, Fault::Flipped] {
        for misread in [1, 2] {
            let place = Place::new();
            let (sweeper, (victim, faulty)) = (place.host("sweeper"), place.unlucky_host("victim"));
            let signer = victim.enrolled_signer().unwrap();
            let mut session = Session::open(&victim, signer, Purpose::Write, BTreeSet::new()).unwrap();
            sweeper.refresh().unwrap();
            sweeper.expire_session(&session.id().to_string()).unwrap();
            // Its own entry, the sweeper's grant and the expiry are new to it.
            (0..3 * misread).for_each(|_| faulty.order(Verb::GetRange, fault));
            let ended = session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true);
            assert!(matches!(ended, Err(Error::Raced(_))), "{fault:?} {misread}: {ended:?}");
        }
    }
}

#[test]
fn what_is_misread_once_is_read_again() {
    let place = Place::new();
    let (other, (host, faulty)) = (place.host("other"), place.unlucky_host("host"));
    let signer = host.enrolled_signer().unwrap();
    let mut session = Session::open(&host, signer, Purpose::Write, BTreeSet::new()).unwrap();
    other.enrolled_signer().unwrap();
    faulty.order(Verb::GetRange, Fault::Flipped);
    session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true).unwrap();
    assert_eq!(host.history_damage(), Vec::<String>::new());
}

/// Somebody else's entry that lay there damaged before the session began says nothing of it.
#[test]
fn an_old_entry_that_is_damaged_stops_no_session() {
    let place = Place::new();
    let (other, host) = (place.host("other"), place.host("host"));
    other.enrolled_signer().unwrap();
    let listed = host.io().list(&layout::log()).unwrap();
    let entries = host.log();
    let is_new = |key: &storage::ObjectKey| {
        layout::parse_entry(key.as_str()).is_some_and(|place| !entries.entries.contains_key(&place))
    };
    let key = listed.into_iter().map(|object| object.key).find(is_new).unwrap();
    let mut bytes = host.io().get(&key).unwrap().to_vec();
    bytes[30] ^= 1;
    place.memory.tamper(&key, Some(bytes.into()));
    host.refresh().unwrap();
    assert_eq!(host.history_damage().len(), 1);
    let signer = host.enrolled_signer().unwrap();
    let mut session = Session::open(&host, signer, Purpose::Write, BTreeSet::new()).unwrap();
    session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true).unwrap();
}

/// Two hosts may bring one point back at once. That one of them was given up takes nothing from the other, who was told that
/// it counts.
#[test]
fn whoever_is_given_up_takes_back_no_point_that_another_brought_back() {
    let place = Place::new();
    let (given_up, other) = (place.host("given_up"), place.host("other"));
    let (own, signer) = (given_up.enrolled_signer().unwrap(), other.enrolled_signer().unwrap());
    let state = |fact: Fact| {
        let link = Link { session: SessionId(place.world.chance().bytes()), number: 0, previous: Hash::NONE };
        other.append(&signer, link, &[fact, Fact::End], Said::default(), &mut place.world.chance()).unwrap();
        EntryId { writer: WriterId::of(&signer.public()), session: link.session, number: 0 }
    };
    state(point(2, "a"));
    let points = vec![point_id(2)];
    let forgotten = state(Fact::Forget(Forget { points, regions: None, reason: String::new() }));
    let undo = Fact::Undo(Undo { points: vec![(point_id(2), vec![forgotten])] });
    state(undo.clone());
    given_up.refresh().unwrap();
    given_up.withdraw(&own, &[undo]);
    assert!(other.refresh().unwrap().points[&point_id(2)].is_live());
}

/// Whoever brings a point back may have been given up, so that parts of it are swept: nobody takes it for whole unlooked at.
#[test]
fn a_point_that_was_brought_back_in_vain_is_looked_at_before_it_is_relied_on() {
    let place = Place::new();
    let host = place.host("host");
    let signer = host.enrolled_signer().unwrap();
    let state = |facts: &[Fact]| {
        let link = Link { session: SessionId(place.world.chance().bytes()), number: 0, previous: Hash::NONE };
        host.append(&signer, link, facts, Said::default(), &mut place.world.chance()).unwrap();
        host.refresh().unwrap();
        EntryId { writer: WriterId::of(&signer.public()), session: link.session, number: 0 }
    };
    // None of their packs is there.
    let roots = BTreeSet::from([point_id(1), point_id(2)]);
    state(&[point(1, "a"), point(2, "a"), Fact::Acknowledged, Fact::End]);
    let points = vec![point_id(2)];
    let forgotten =
        state(&[Fact::Forget(Forget { points, regions: None, reason: String::new() }), Fact::End]);
    state(&[Fact::Undo(Undo { points: vec![(point_id(2), vec![forgotten])] }), Fact::End]);
    assert!(roots.iter().all(|id| host.fold().points[id].is_live()));
    let kept = host.pin(&roots, None).unwrap();
    assert_eq!(
        kept.points,
        BTreeSet::from([point_id(1)]),
        "nobody looks at a point that was never forgotten"
    );
    assert_eq!(kept.gone, BTreeSet::from([point_id(2)]));
}

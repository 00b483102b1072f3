//! What the model does not need: clocks, refusals, and that folds do not care about order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Small;

impl Ids for Small {
    type Point = u8;
    type Session = u8;
    type Pack = (u8, u8);
    type Frame = (u8, u8, u8);
    type Part = u8;
    type Uploader = u8;

    fn uploader(pack: &(u8, u8)) -> u8 {
        pack.0
    }

    fn uploads_as(session: &u8) -> u8 {
        *session
    }

    fn origin(frame: &(u8, u8, u8)) -> (u8, u8) {
        (frame.0, frame.1)
    }
}

fn entry(session: u8, sequence: u64, facts: Vec<Fact<Small>>) -> Entry<Small> {
    let id = EntryId { session, sequence };
    Entry { id, maintainer: false, local: false, brings: BTreeSet::new(), facts, ends: false }
}

fn commit(session: u8, point: u8, frame: (u8, u8, u8)) -> Entry<Small> {
    let facts = vec![Fact::Commit { point, frames: BTreeSet::from([frame]) }];
    Entry { brings: BTreeSet::from([(frame.0, frame.1)]), ..entry(session, 0, facts) }
}

fn object(session: u8, renewal: u32) -> SessionObject<Small> {
    SessionObject { session, renewal, roots: BTreeSet::new(), covers: BTreeSet::new() }
}

/// A session that read these logs and these condemned packs.
fn opened(logs: Logs<Small>, condemned: &[(u8, u8)]) -> (Session<Small>, Known<Small>) {
    let (mut session, _) = Session::open(Rules::all(), 9, BTreeSet::new(), false);
    session.step(Reply::Done);
    session.step(Reply::Logs(Arc::new(logs)));
    let sweeps = Sweeps::of([(0, condemned.iter().copied().collect())]);
    match session.step(Reply::Sweeps(Arc::new(sweeps))) {
        Effect::Done(Arrived::Open(known)) => (session, known),
        other => panic!("a session that was read is open, not {other:?}"),
    }
}

#[test]
fn a_fold_does_not_depend_on_the_order_of_arrival() {
    let forgets = BTreeSet::from([EntryId { session: 2, sequence: 0 }]);
    let mut entries = [
        commit(1, 1, (1, 0, 0)),
        entry(2, 0, vec![Fact::Forget { point: 1 }]),
        entry(3, 0, vec![Fact::Undo { point: 1, forgets }]),
        entry(4, 0, vec![Fact::Moved { frame: (1, 0, 0), pack: (4, 0) }]),
        entry(1, 1, vec![Fact::Acknowledged]),
    ];
    let forwards = Logs::of(&entries);
    entries.reverse();
    assert_eq!(forwards, Logs::of(&entries));
    assert!(forwards.is_live(&1) && forwards.is_acknowledged(&1));
    assert_eq!(forwards.places(&(1, 0, 0)), BTreeSet::from([(1, 0), (4, 0)]));
}

#[test]
fn an_undo_takes_back_only_the_forgetting_that_it_saw() {
    let forgets = BTreeSet::from([EntryId { session: 2, sequence: 0 }]);
    let entries = [
        commit(1, 1, (1, 0, 0)),
        entry(2, 0, vec![Fact::Forget { point: 1 }]),
        entry(3, 0, vec![Fact::Undo { point: 1, forgets }]),
        entry(2, 1, vec![Fact::Forget { point: 1 }]),
    ];
    assert!(Logs::of(&entries[..3]).is_live(&1));
    assert!(!Logs::of(&entries).is_live(&1));
}

#[test]
fn a_released_hold_holds_nothing() {
    let hold = EntryId { session: 3, sequence: 0 };
    let entries = [
        commit(1, 1, (1, 0, 0)),
        entry(2, 0, vec![Fact::Forget { point: 1 }]),
        entry(3, 0, vec![Fact::Hold { point: 1 }]),
        entry(3, 1, vec![Fact::Release { hold }]),
    ];
    assert!(Logs::of(&entries[..3]).is_live(&1));
    assert!(!Logs::of(&entries).is_live(&1));
}

#[test]
fn a_condemned_frame_is_stored_again() {
    let logs = Logs::of(&[commit(1, 1, (1, 0, 0))]);
    let (mut session, known) = opened(logs.clone(), &[]);
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Use);
    let (mut session, known) = opened(logs, &[(1, 0)]);
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Store);
}

#[test]
fn what_was_known_before_a_renewal_is_outdated() {
    let logs = Logs::of(&[commit(1, 1, (1, 0, 0))]);
    let (mut session, known) = opened(logs, &[]);
    session.renew().expect("nothing is outstanding");
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Outdated);
    assert_eq!(session.commit(Vec::new(), false), Err(Refusal::Busy));
}

#[test]
fn a_renewal_that_covers_nothing_more_leaves_references_as_they_are() {
    let logs = Logs::of(&[commit(1, 1, (1, 0, 0)), commit(2, 2, (2, 0, 0))]);
    let (mut session, known) = opened(logs.clone(), &[]);
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Use);
    assert_eq!(session.renew_as_it_was(&known), Err(Refusal::Busy));
    session.renew().expect("nothing is outstanding");
    session.step(Reply::Logs(Arc::new(logs)));
    let sweeps = Sweeps::of([(7, BTreeSet::from([(1, 0)]))]);
    let effect = session.step(Reply::Sweeps(Arc::new(sweeps)));
    assert_eq!(effect, Effect::StoreAgain(BTreeSet::from([(1, 0, 0)])));
    let object = SessionObject { session: 9, renewal: 1, roots: BTreeSet::new(), covers: BTreeSet::new() };
    assert_eq!(session.renew_as_it_was(&known), Ok(Effect::Put(Object::Session(object))));
    let Effect::Done(Arrived::Renewed(known)) = session.step(Reply::Done) else { panic!("it was written") };
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Use);
    let frames = BTreeSet::from([(1, 0, 0)]);
    assert!(session.commit(vec![Fact::Commit { point: 3, frames }], true).is_ok());
}

#[test]
fn a_session_vouches_for_nothing_that_it_did_not_refer_to() {
    let (mut session, _) = opened(Logs::of(&[commit(1, 1, (1, 0, 0))]), &[]);
    let fact = Fact::Commit { point: 2, frames: BTreeSet::from([(1, 0, 0)]) };
    assert_eq!(session.commit(vec![fact], true), Err(Refusal::Unreferenced));
}

#[test]
fn a_failed_effect_can_be_asked_for_again() {
    let (mut session, effect) = Session::<Small>::open(Rules::all(), 9, BTreeSet::new(), false);
    assert_eq!(session.step(Reply::Failed), Effect::Done(Arrived::Failed));
    assert_eq!(session.again(), effect);
}

#[test]
fn only_unbroken_silence_lets_a_session_expire() {
    let limit = Duration::from_secs(100);
    let at = Duration::from_secs;
    let mut silence = Silence::new(limit);
    let logs = Logs::default();
    let seen = |renewal| Sessions::of(&[object(1, 0), object(1, renewal)]);
    assert!(silence.observe(at(0), &logs, &seen(0)).is_empty());
    assert!(silence.observe(at(99), &logs, &seen(0)).is_empty());
    assert!(silence.observe(at(100), &logs, &seen(1)).is_empty(), "it renewed");
    assert!(silence.observe(at(199), &logs, &seen(1)).is_empty());
    assert_eq!(silence.observe(at(200), &logs, &seen(1)), BTreeSet::from([1]));
    let ended = Logs::of(&[Entry { ends: true, ..entry(1, 0, Vec::new()) }]);
    assert!(silence.observe(at(300), &ended, &seen(1)).is_empty(), "it ended");
}

#[test]
fn a_commit_counts_where_enough_regions_hold_its_entry() {
    let there = Logs::of(&[commit(1, 1, (1, 0, 0))]);
    let id = EntryId { session: 1, sequence: 0 };
    assert!(is_acknowledged(&[&there, &Logs::default()], &id, 1));
    assert!(!is_acknowledged(&[&there, &Logs::default()], &id, 2));
}

#[test]
fn references_wait_for_their_point_whatever_entries_come_before_it() {
    let logs = Logs::of(&[commit(1, 1, (1, 0, 0))]);
    let (mut session, known) = opened(logs.clone(), &[]);
    assert_eq!(session.refer(&known, &(1, 0, 0)), Reference::Use);
    session.uploading((9, 0), [(9, 0, 0)]);
    session.stored(&(9, 0));
    assert!(session.commit(Vec::new(), false).is_ok());
    session.step(Reply::Done);
    assert_eq!(session.step(Reply::Logs(Arc::new(logs.clone()))), Effect::Done(Arrived::Acknowledged));
    let point = Fact::Commit { point: 2, frames: BTreeSet::from([(1, 0, 0), (9, 0, 0)]) };
    assert!(session.commit(vec![point.clone()], false).is_ok(), "what was referred to still is");
    session.step(Reply::Done);
    session.step(Reply::Logs(Arc::new(logs)));
    assert_eq!(session.commit(vec![point], true), Err(Refusal::Unreferenced), "a point uses them up");
}

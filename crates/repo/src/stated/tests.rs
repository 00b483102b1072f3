//! What others write under names that are not theirs states nothing in somebody else's place.

use std::collections::BTreeSet;

use format::fact::Fact;
use format::id::{Hash, SweepId};
use format::seal::Signer;
use format::session::Purpose;
use zeroize::Zeroizing;

use super::*;
use crate::protocol::SessionObject;
use crate::repo::{Link, Said};
use crate::session::Session;
use crate::trial::Place;

#[test]
fn an_end_in_the_chain_of_another_writer_ends_no_session() {
    let place = Place::new();
    let (victim, forger, looks) = (place.host("victim"), place.host("forger"), place.host("looks"));
    let signer = victim.enrolled_signer().unwrap();
    let writer = WriterId::of(&signer.public());
    let mut session = Session::open(&victim, signer, Purpose::Write, BTreeSet::new()).unwrap();
    let forges = forger.enrolled_signer().unwrap();
    let link = Link { session: session.id(), number: 0, previous: Hash::NONE };
    forger.append(&forges, link, &[Fact::End], Said::default(), &mut place.world.chance()).unwrap();
    looks.refresh().unwrap();
    let chain = Chain { writer, session: session.id() };
    assert!(!looks.stated_logs().is_over(&chain));
    assert!(looks.stated_sessions().unwrap().get(&chain).is_some());
    assert_eq!(looks.at_work().unwrap().iter().filter(|one| !one.is_over).count(), 1);
    session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true).unwrap();
    looks.refresh().unwrap();
    assert!(looks.stated_logs().is_over(&chain));
}

#[test]
fn a_part_of_somebody_who_may_not_maintain_binds_writers_and_deletes_nothing() {
    let place = Place::new();
    let host = place.host("host");
    let stranger = Signer::from_seed(&Zeroizing::new([7; 32]));
    let pack = PackId::new(SessionId([1; 16]), [2; 16]);
    let record = SweepPart {
        repo: host.id(),
        writer: WriterId::of(&stranger.public()),
        public_key: stranger.public(),
        region: "home".to_owned(),
        incarnation: host.incarnation(),
        number: 1,
        sweep: SweepId([3; 16]),
        part: 0,
        packs: vec![pack],
        time: host.logical_time(),
    };
    let bytes = record.seal(&stranger).into_bytes();
    host.io().put(&layout::sweep_part(record.id()), bytes.clone().into()).unwrap();
    assert!(host.stated_sweeps(false).unwrap().is_condemned(&pack));
    assert!(!host.stated_sweeps(true).unwrap().is_condemned(&pack));
    let other = PartId { part: 1, ..record.id() };
    host.io().put(&layout::sweep_part(other), bytes.into()).unwrap();
    assert!(host.stated_sweeps(true).is_err(), "a copy under another name is no part");
}

#[test]
fn a_session_object_that_does_not_read_says_nothing_and_hides_nobody_until_its_session_is_over() {
    let place = Place::new();
    let (host, looks) = (place.host("host"), place.host("looks"));
    let signer = host.enrolled_signer().unwrap();
    let chain = Chain { writer: WriterId::of(&signer.public()), session: SessionId([5; 16]) };
    let object =
        SessionObject { session: chain, renewal: 0, roots: BTreeSet::new(), covers: BTreeSet::new() };
    host.announce(&signer, Purpose::Write, &object).unwrap();
    assert!(host.stated_sessions().unwrap().get(&chain).is_some());
    let key = layout::session(chain.writer, chain.session, 0);
    let mut bytes = host.io().get(&key).unwrap().to_vec();
    bytes[40] ^= 1;
    place.memory.tamper(&key, Some(bytes.into()));
    looks.refresh().unwrap();
    assert!(looks.stated_sessions().is_err());
    assert!(host.stated_sessions().unwrap().get(&chain).is_some(), "what was read once does not change");
    host.expire(&signer, (chain.writer, chain.session)).unwrap();
    looks.refresh().unwrap();
    assert!(looks.stated_sessions().unwrap().get(&chain).is_none());
}

/// Whatever else lies there, as a file manager leaves it, stops nobody; what bears a name of ours and does not read does.
#[test]
fn a_file_that_is_none_of_ours_says_nothing() {
    let place = Place::new();
    let host = place.host("host");
    let junk = || bytes::Bytes::from_static(b"junk");
    for name in ["sweeps/desktop.ini", "sweeps/old/1", "sessions/thumbs.db"] {
        host.io().put(&storage::ObjectKey::new(name).unwrap(), junk()).unwrap();
    }
    assert!(host.parts().unwrap().is_empty() && host.announced().unwrap().is_empty());
    assert!(host.unread().unwrap().is_empty());
    let part = layout::sweep_part(PartId { number: 1, sweep: SweepId([3; 16]), part: 0 });
    let session = layout::session(WriterId([1; 16]), SessionId([2; 16]), 0);
    host.io().put(&part, junk()).unwrap();
    host.io().put(&session, junk()).unwrap();
    assert!(host.parts().is_err() && host.announced().is_err());
    assert_eq!(host.unread().unwrap().len(), 2);
}

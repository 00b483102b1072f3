//! What a later program may write is read as far as the format promises: records with further elements, with what is known of
//! them; numbers that were not given out, each told apart from damage.

use minicbor::{Encode, Encoder};
use zeroize::Zeroizing;

use crate::Error;
use crate::cbor::with_one_more;
use crate::entry::{Clear, Entry, EntryId, LogicalTime};
use crate::fact::*;
use crate::genesis::{ChunkSizes, Genesis};
use crate::id::*;
use crate::key::{Argon2Cost, KeyFile, Lock, Slot, SlotLabel, Unlock};
use crate::object::{HEAD_BYTES, ObjectKind};
use crate::pack::tests::{Seeded, bundle};
use crate::reference::Reference;
use crate::seal::Signer;
use crate::session::{PartId, Purpose, Session, SweepPart};

/// Every signed object ends with one.
const SIGNATURE_BYTES: usize = 64;

fn signer() -> Signer {
    Signer::from_seed(&Zeroizing::new([6; 32]))
}

/// A signed object of one record, with another record in it.
fn resigned(object: &[u8], context: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (head, rest) = object.split_at(HEAD_BYTES);
    let mut changed = [head, &change(&rest[..rest.len() - SIGNATURE_BYTES])].concat();
    signer().sign(context, &mut changed);
    changed
}

/// The record with another number at this place, counted in bytes.
fn with_number(record: &[u8], at: usize, number: u8) -> Vec<u8> {
    let mut changed = record.to_vec();
    changed[at] = number;
    changed
}

fn genesis() -> (Genesis, Vec<u8>) {
    let sizes = ChunkSizes { generation: 0, min: 1 << 14, normal: 1 << 16, max: 1 << 18 };
    let (genesis, sealed) = Genesis::create(&signer(), 7, [2; 32], sizes, DomainId([3; 16]), "home");
    (genesis, sealed.into_bytes())
}

#[test]
fn a_longer_genesis_is_read() {
    let (genesis, bytes) = genesis();
    let longer = Genesis::decode(&resigned(&bytes, "seawall 1 genesis", with_one_more)).unwrap();
    assert_eq!(Genesis { id: genesis.id, ..longer.clone() }, genesis);
    assert_ne!(longer.id, genesis.id, "the id covers what is not known too");
}

/// Each is somewhere else in the record: its version, its suites, its blocks, its limits.
#[test]
fn a_genesis_of_another_kind_is_neither_read_nor_called_damaged() {
    let (_, bytes) = genesis();
    let record = &bytes[HEAD_BYTES..bytes.len() - SIGNATURE_BYTES];
    let find = |bytes: &[u8]| record.windows(bytes.len()).position(|part| part == bytes).unwrap();
    let (suites, block) = (find(&[0x81, 1, 0x84]) + 1, find(&[0x1a, 0, 1, 0, 0, 0x83]) + 1);
    let (frame, pack) = (find(&[0x1a, 0, 0x10, 0, 0]) + 1, find(&[0x1a, 0x10, 0, 0, 0]) + 1);
    for (at, number, says) in [
        (1, 9, "version 9"),
        (suites, 2, "suites [2]"),
        (block, 1, "blocks of images"),
        (frame, 1, "of up to 262144, 17825792 and"),
        (pack, 0x20, "and 536870912 bytes"),
    ] {
        let changed = resigned(&bytes, "seawall 1 genesis", |record| with_number(record, at, number));
        let error = Genesis::decode(&changed).unwrap_err();
        assert!(error.is_of_later_program() && error.to_string().contains(says), "{says}: {error}");
    }
}

fn slot(lock: &Lock) -> Vec<u8> {
    let about = SlotLabel { slot: SlotId([3; 16]), region: None, label: "first".into(), created: 5 };
    Slot::seal(&bundle(), lock, about, &signer(), &mut Seeded::new(1)).unwrap().into_bytes()
}

#[test]
fn a_longer_slot_opens() {
    let file = KeyFile::fresh(&mut Seeded::new(2));
    let bytes = resigned(&slot(&Lock::KeyFile(file.clone())), "seawall 1 slot", with_one_more);
    let slot = Slot::decode(&bytes, &RepoId([1; 32]), &signer().public()).unwrap();
    assert!(slot.open(&Unlock::KeyFile(file)).is_ok());
}

#[test]
fn a_slot_of_a_later_kind_is_named_by_its_number_whatever_its_parameters_are() {
    let cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let bytes = slot(&Lock::Passphrase(Zeroizing::new("words".to_owned()), cost));
    // Before the kind stand a repository, a domain and a slot.
    let kind = 1 + 34 + 17 + 17;
    let parameters_are_a_text = |record: &[u8]| {
        let after = &record[kind + 1 + 39..];
        [&record[..kind], &[7], &minicbor::to_vec("any").unwrap(), after].concat()
    };
    for change in
        [&parameters_are_a_text as &dyn Fn(&[u8]) -> Vec<u8>, &|record| with_number(record, kind, 7)]
    {
        let changed = resigned(&bytes, "seawall 1 slot", change);
        let error = Slot::decode(&changed, &RepoId([1; 32]), &signer().public()).unwrap_err();
        assert_eq!(error, Error::Unknown { what: "a key slot", which: "kind 7".to_owned() });
    }
}

#[test]
fn longer_sessions_and_sweep_parts_are_read_and_a_later_purpose_is_one() {
    let (writer, public_key) = (WriterId::of(&signer().public()), signer().public());
    let (repo, region, incarnation) = (RepoId([1; 32]), "home".to_owned(), Incarnation([4; 16]));
    let time = LogicalTime { time: 7, counter: 8 };
    for purpose in [Purpose::Read, Purpose::Other(17)] {
        let session = Session {
            repo,
            writer,
            public_key,
            session: SessionId([2; 16]),
            number: 3,
            region: region.clone(),
            incarnation,
            purpose,
            roots: vec![PointId([5; 16])],
            covers: vec![PartId { number: 1, sweep: SweepId([6; 16]), part: 0 }],
            time,
        };
        let longer = resigned(session.seal(&signer()).as_bytes(), "seawall 1 session", with_one_more);
        assert_eq!(Session::decode(&longer, &repo), Ok(session));
    }
    let packs = vec![PackId([7; 32])];
    let (number, sweep) = (1, SweepId([6; 16]));
    let part =
        SweepPart { repo, writer, public_key, region, incarnation, number, sweep, part: 2, packs, time };
    let longer = resigned(part.seal(&signer()).as_bytes(), "seawall 1 sweep", with_one_more);
    assert_eq!(SweepPart::decode(&longer, &repo), Ok(part));
}

#[test]
fn a_longer_clear_part_of_an_entry_is_read() {
    let clear = Clear {
        repo: RepoId([1; 32]),
        writer: WriterId::of(&signer().public()),
        session: SessionId([3; 16]),
        number: 0,
        previous: Hash::NONE,
        time: LogicalTime { time: 1, counter: 2 },
        epoch: 0,
        public_key: signer().public(),
        regions: vec!["home".into()],
        brings: Vec::new(),
        deps: Vec::new(),
        heads: Vec::new(),
        facts: vec![Fact::End.encode()],
        local: Some("home".into()),
    };
    let longer = with_one_more(&minicbor::to_vec(&clear).unwrap());
    let length = u32::try_from(longer.len()).unwrap().to_le_bytes();
    let mut bytes = [&ObjectKind::Entry.head()[..], &length, &longer, &[0; 4]].concat();
    signer().sign("seawall 1 entry", &mut bytes);
    assert_eq!(Entry::decode(&bytes, &RepoId([1; 32])).unwrap().clear, clear);
}

fn every_fact() -> Vec<Fact> {
    let (point, pack, region) = (PointId([1; 16]), PackId([2; 32]), "home".to_owned());
    let (writer, session, incarnation) = (WriterId([3; 16]), SessionId([4; 16]), Incarnation([5; 16]));
    let (hold, reason) = (HoldId([6; 16]), "why".to_owned());
    let reference = Reference { pack, ordinal: 1, offset: 2, length: 3, chunk: ChunkId([7; 32]) };
    let keys = DomainKeys {
        domain: DomainId([8; 16]),
        generation: 1,
        data_public: vec![9; 1216],
        catalog_public: vec![10; 1216],
    };
    let made = Point {
        id: point,
        source: "a".to_owned(),
        host: "b".to_owned(),
        kind: PointKind::Full,
        basis: None,
        as_of: 1,
        begun: 2,
        finished: 3,
        paths: Vec::new(),
        root: reference,
        sizes: Sizes::default(),
        problems: 0,
        problem_list: Vec::new(),
        tags: Vec::new(),
        cutter: 0,
        program: "c".to_owned(),
        amplification: 1000,
    };
    let verified =
        Verified { point, level: 1, region: region.clone(), time: 1, problems: 0, objects: 2, bytes: 3 };
    vec![
        Fact::Grant(Grant { public_key: [1; 32], name: "host".into(), rights: 1, sources: None, time: 5 }),
        Fact::Revoke(Revoke { writer, counts: vec![(session, 1, Hash([2; 32]))], reason: reason.clone() }),
        Fact::Domain(keys),
        Fact::End,
        Fact::Expired(Expired { writer, session, region: region.clone() }),
        Fact::Moved(Moved { region: region.clone(), incarnation, frames: vec![(pack, vec![1], pack)] }),
        Fact::Feature(Feature { name: "parity".to_owned(), effect: 3 }),
        Fact::Region(RegionFact { name: region, incarnation }),
        Fact::Acknowledged,
        Fact::Point(Box::new(made)),
        Fact::Forget(Forget { points: vec![point], regions: None, reason: reason.clone() }),
        Fact::Undo(Undo { points: vec![(point, vec![EntryId { writer, session, number: 1 }])] }),
        Fact::Pin(Pin { point, until: Some(5) }),
        Fact::Hold(Hold { hold, point: Some(point), source: None, reason }),
        Fact::Release(Release { hold }),
        Fact::Verified(verified),
        Fact::Substitute(Substitute { chunks: vec![(reference, reference)] }),
    ]
}

/// A record with one element more is known; the same type in a higher version is not, and is kept as it is.
#[test]
fn longer_facts_are_read_and_those_of_a_higher_version_are_kept() {
    let facts = every_fact();
    assert_eq!(facts.len(), 17, "every type of section 9");
    for fact in facts {
        let raw = fact.encode();
        let longer = RawFact { bytes: with_one_more(&raw.bytes), ..raw.clone() };
        assert_eq!(Fact::decode(longer), Ok(fact.clone()), "{fact:?}");
        let behind = RawFact { bytes: [&raw.bytes[..], b"and more"].concat(), ..raw.clone() };
        assert_eq!(Fact::decode(behind), Ok(fact));
        let higher = RawFact { version: 1, bytes: vec![0xff], ..raw };
        assert_eq!(Fact::decode(higher.clone()), Ok(Fact::Unknown(higher)));
    }
}

/// The kinds of points have no number to spare: one that is not known makes the fact unreadable, and being critical it then
/// forbids what it names.
#[test]
fn a_later_kind_of_point_does_not_pass_for_one_that_is_known() {
    let Some(Fact::Point(point)) = every_fact().into_iter().find(|fact| matches!(fact, Fact::Point(_)))
    else {
        panic!("points are facts")
    };
    let raw = Fact::Point(point).encode();
    let mut encoder = Encoder::new(Vec::new());
    PointKind::Full.encode(&mut encoder, &mut ()).unwrap();
    assert_eq!(encoder.into_writer(), [0]);
    let kind = 1 + 17 + 2 + 2;
    assert_eq!(raw.bytes[kind], 0);
    assert!(Fact::decode(RawFact { bytes: with_number(&raw.bytes, kind, 9), ..raw }).is_err());
}

#[test]
fn a_longer_bundle_opens_and_one_of_a_higher_version_says_so() {
    let text = |bytes: &[u8]| format!("seawall-bundle-1 {} {:.8}", hex(bytes), Hash::of(bytes).to_string());
    let plain = bundle().write_only(Zeroizing::new([1; 32])).to_text();
    let record = from_hex(plain.split(' ').nth(1).unwrap()).unwrap();
    let longer = crate::key::Bundle::from_text(&text(&with_one_more(&record))).unwrap();
    assert_eq!(longer.to_text(), plain);
    let error = crate::key::Bundle::from_text(&text(&with_number(&record, 1, 9))).err().unwrap();
    assert!(error.is_of_later_program() && error.to_string().contains("version 9"), "{error}");
}

//! Entries come back as they were made, and not after a change.

use super::*;
use crate::fact::{Fact, Forget, Grant, NAMESPACE};
use crate::id::PointId;
use crate::pack::tests::{Seeded, bundle};
use proptest::prelude::*;
use zeroize::Zeroizing;

fn clear(signer: &Signer) -> Clear {
    let grant = Grant { public_key: [1; 32], name: "host".into(), rights: 1, sources: None, time: 5 };
    Clear {
        repo: RepoId([1; 32]),
        writer: WriterId::of(&signer.public()),
        session: SessionId([3; 16]),
        number: 0,
        previous: Hash::NONE,
        time: LogicalTime { time: 1, counter: 2 },
        epoch: 0,
        public_key: signer.public(),
        regions: vec!["home".into()],
        brings: vec![Brought { name: "packs/00/a".into(), size: 5, hash: Hash::of(b"a") }],
        deps: Vec::new(),
        heads: Vec::new(),
        facts: vec![Fact::Grant(grant).encode(), Fact::End.encode()],
        local: None,
    }
}

fn facts() -> Vec<RawFact> {
    let forget = Forget { points: vec![PointId([7; 16])], regions: None, reason: "old".into() };
    let future = RawFact {
        namespace: "elsewhere".into(),
        kind: 99,
        version: 7,
        critical: vec!["sweep".into()],
        bytes: vec![0xff, 0x00],
    };
    vec![Fact::Forget(forget).encode(), future]
}

fn entry() -> (Vec<u8>, Bundle) {
    let (signer, bundle) = (Signer::from_seed(&Zeroizing::new([6; 32])), bundle());
    let place = (bundle.domain, bundle.newest());
    let (hash, sealed) = Entry::create(&clear(&signer), &facts(), place, &signer, &mut Seeded::new(1));
    assert_eq!(hash, Hash::of(sealed.as_bytes()));
    (sealed.into_bytes(), bundle)
}

#[test]
fn an_entry_comes_back_with_facts_that_nobody_here_knows() {
    let (bytes, bundle) = entry();
    let entry = Entry::decode(&bytes, &RepoId([1; 32])).unwrap();
    let known = |raw: &[RawFact]| raw.iter().cloned().map(|r| Fact::decode(r).unwrap()).collect::<Vec<_>>();
    let clear = known(&entry.clear.facts);
    assert!(matches!(clear[..], [Fact::Grant(_), Fact::End]));
    let raw = entry.sealed_facts(&bundle).unwrap();
    let sealed = known(&raw);
    assert!(matches!(sealed[..], [Fact::Forget(_), Fact::Unknown(_)]));
    assert_eq!(raw, facts());
    assert_eq!(sealed.iter().map(Fact::encode).collect::<Vec<_>>(), facts());
    assert_eq!(clear[0].encode().namespace, NAMESPACE);
}

#[test]
fn an_entry_is_signed_and_sealed_over_every_byte() {
    let (bytes, _) = entry();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Entry::decode(&changed, &RepoId([1; 32])).is_err(), "byte {at}");
    }
    assert_eq!(Entry::decode(&bytes, &RepoId([2; 32])), Err(Error::Foreign(WHAT)));
}

#[test]
fn without_the_catalog_key_the_clear_part_still_reads() {
    let (bytes, bundle) = entry();
    let entry = Entry::decode(&bytes, &RepoId([1; 32])).unwrap();
    let less = bundle.write_only(Zeroizing::new([1; 32]));
    assert_eq!(entry.sealed_facts(&less), Err(Error::NoKey("reading facts")));
    assert_eq!(entry.clear.facts.len(), 2);
}

#[test]
fn small_entries_of_different_content_have_the_same_size() {
    let (signer, bundle) = (Signer::from_seed(&Zeroizing::new([6; 32])), bundle());
    let place = (bundle.domain, bundle.newest());
    let size = |facts: &[RawFact]| {
        Entry::create(&clear(&signer), facts, place, &signer, &mut Seeded::new(1)).1.as_bytes().len()
    };
    assert_eq!(size(&facts()), size(&facts()[..1]));
}

proptest! {
    #[test]
    fn hostile_entries_never_panic(bytes: Vec<u8>, at in 0usize..3000, cut in 0usize..3000) {
        let (good, _) = entry();
        let repo = RepoId([1; 32]);
        let _ = Entry::decode(&bytes, &repo);
        let mut mixed = good[..cut.min(good.len())].to_vec();
        mixed.splice(at.min(mixed.len()).., bytes);
        let _ = Entry::decode(&mixed, &repo);
    }

    #[test]
    fn hostile_facts_never_panic(kind in 0u32..50, bytes: Vec<u8>) {
        let raw = RawFact { namespace: NAMESPACE.into(), kind, version: 0, critical: vec![], bytes };
        let _ = Fact::decode(raw);
    }
}

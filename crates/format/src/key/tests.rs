//! Each secret opens what was sealed for it, and nothing else does.

use proptest::prelude::*;

use super::*;

pub(crate) struct Counting(pub(crate) u64);

impl rand_core::TryRng for Counting {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|n| n as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 += 1;
        Ok(u64::from_le_bytes(*blake3::hash(&self.0.to_le_bytes()).as_bytes().first_chunk().unwrap()))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for part in bytes.chunks_mut(8) {
            let n = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&n[..part.len()]);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Counting {}

fn bundle(rng: &mut Counting) -> Bundle {
    Bundle {
        repo: RepoId([1; 32]),
        domain: DomainId([2; 16]),
        generations: vec![Generation::fresh(0, rng), Generation::fresh(1, rng)],
        root: Some(fresh(rng)),
        writer: None,
    }
}

fn about() -> SlotLabel {
    SlotLabel { slot: SlotId([3; 16]), region: None, label: "first".into(), created: 5 }
}

const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn words(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[test]
fn each_kind_of_secret_opens_its_slot_and_no_other() {
    let mut rng = Counting(0);
    let bundle = bundle(&mut rng);
    let root = Signer::from_seed(bundle.root.as_ref().unwrap());
    let (file, other) = (KeyFile::fresh(&mut rng), KeyFile::fresh(&mut rng));
    let recipient = KemSecret::from_seed(fresh(&mut rng));
    let locks = [
        Lock::KeyFile(file.clone()),
        Lock::Passphrase(words("correct horse"), CHEAP),
        Lock::Recipient(recipient.public()),
    ];
    let unlocks = [
        Unlock::KeyFile(file),
        Unlock::Passphrase(words("correct horse")),
        Unlock::Recipient(recipient),
        Unlock::KeyFile(other),
        Unlock::Passphrase(words("wrong horse")),
        Unlock::Recipient(KemSecret::from_seed(fresh(&mut rng))),
    ];
    for (l, lock) in locks.iter().enumerate() {
        let sealed = Slot::seal(&bundle, lock, about(), &root, &mut rng).unwrap();
        let slot = Slot::decode(sealed.as_bytes(), &bundle.repo, &root.public()).unwrap();
        for (u, unlock) in unlocks.iter().enumerate() {
            match slot.open(unlock) {
                Ok(opened) => {
                    assert_eq!(l, u);
                    assert_eq!(opened.encode(), bundle.encode());
                }
                Err(error) => {
                    assert_ne!(l, u);
                    assert_eq!(error, Error::WrongKey(WHAT));
                }
            }
        }
    }
}

#[test]
fn a_slot_of_another_repository_or_root_is_refused() {
    let mut rng = Counting(0);
    let bundle = bundle(&mut rng);
    let root = Signer::from_seed(bundle.root.as_ref().unwrap());
    let lock = Lock::KeyFile(KeyFile::fresh(&mut rng));
    let bytes = Slot::seal(&bundle, &lock, about(), &root, &mut rng).unwrap().into_bytes();
    let elsewhere = Slot::decode(&bytes, &RepoId([9; 32]), &root.public()).err();
    assert_eq!(elsewhere, Some(Error::Foreign(WHAT)));
    assert!(matches!(Slot::decode(&bytes, &bundle.repo, &[8; 32]), Err(Error::BadSignature(_))));
    for cut in [0, 5, 12, bytes.len() - 1] {
        assert!(Slot::decode(&bytes[..cut], &bundle.repo, &root.public()).is_err());
    }
}

#[test]
fn a_slot_says_for_which_recipient_it_is() {
    let mut rng = Counting(0);
    let bundle = bundle(&mut rng);
    let root = Signer::from_seed(bundle.root.as_ref().unwrap());
    let public = KemSecret::from_seed(fresh(&mut rng)).public();
    let locks = [Lock::Recipient(public.clone()), Lock::KeyFile(KeyFile::fresh(&mut rng))];
    let said = locks.map(|lock| {
        let sealed = Slot::seal(&bundle, &lock, about(), &root, &mut rng).unwrap();
        Slot::decode(sealed.as_bytes(), &bundle.repo, &root.public()).unwrap().recipient().cloned()
    });
    assert_eq!(said, [Some(public), None]);
}

proptest! {
    #[test]
    fn a_slot_with_any_bit_changed_is_refused(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        kind in 0..3,
    ) {
        let mut rng = Counting(0);
        let bundle = bundle(&mut rng);
        let root = Signer::from_seed(bundle.root.as_ref().unwrap());
        let lock = match kind {
            0 => Lock::KeyFile(KeyFile::fresh(&mut rng)),
            1 => Lock::Passphrase(words("w"), CHEAP),
            _ => Lock::Recipient(KemSecret::from_seed(fresh(&mut rng)).public()),
        };
        let mut bytes = Slot::seal(&bundle, &lock, about(), &root, &mut rng).unwrap().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Slot::decode(&bytes, &bundle.repo, &root.public()).is_err());
    }

    #[test]
    fn parameters_of_any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..2500),
        kind in 0..9_u8,
    ) {
        if let Ok((_, parameters)) = Parameters::of(kind, &Verbatim(bytes.clone())) {
            prop_assert_eq!(bytes, minicbor::to_vec(&parameters).unwrap());
        }
    }

    #[test]
    fn parameters_of_a_recipient_hold_a_key_and_nothing_else(
        key in proptest::collection::vec(any::<u8>(), 1210..1220),
        enc in prop_oneof![4 => Just(1120_usize), 1 => 1115..1125_usize],
    ) {
        let valid = key.len() == 1216 && enc == 1120 && KemPublic::from_bytes(&key).is_ok();
        let mut bytes = Vec::new();
        minicbor::Encoder::new(&mut bytes).array(2).unwrap().bytes(&key).unwrap().bytes(&vec![0; enc]).unwrap();
        prop_assert_eq!(Parameters::of(2, &Verbatim(bytes)).is_ok(), valid);
    }
}

fn numbers(bundle: &Bundle) -> Vec<u32> {
    bundle.generations.iter().map(|generation| generation.number).collect()
}

#[test]
fn bundles_that_were_renewed_apart_come_together_by_number() {
    let mut rng = Counting(0);
    let full = bundle(&mut rng);
    let with = |number: u32, rng: &mut Counting| {
        let mut bundle = full.clone();
        bundle.generations.push(Generation::fresh(number, rng));
        bundle
    };
    let (first, second) = (with(70_000, &mut rng), with(66_000, &mut rng));
    let together = first.clone().merged(second.clone());
    assert_eq!(numbers(&together), [0, 1, 66_000, 70_000]);
    assert_eq!(together.newest().data_public, first.newest().data_public);
    assert_eq!(second.merged(together.clone()).encode(), together.encode());
}

#[test]
fn a_bundle_with_a_generation_twice_is_refused_and_order_does_not_matter() {
    let mut bundle = bundle(&mut Counting(0));
    bundle.generations.reverse();
    assert_eq!(numbers(&Bundle::decode(&bundle.encode()).unwrap()), [0, 1]);
    bundle.generations[0].number = 0;
    assert!(Bundle::decode(&bundle.encode()).is_err());
}

#[test]
fn numbers_of_generations_rise_and_differ_when_two_are_made_at_once() {
    let mut rng = Counting(0);
    let (mut highest, mut seen) = (0, std::collections::BTreeSet::new());
    for count in 1..100 {
        let next = Generation::number_after(highest, &mut rng).unwrap();
        assert!(next > highest && next >> 16 == count);
        highest = next;
        seen.insert(Generation::number_after(70_000, &mut rng).unwrap());
    }
    assert!(seen.len() > 90 && seen.iter().all(|number| number >> 16 == 2));
    assert_eq!(Generation::number_after(u32::MAX, &mut rng), None);
    assert_eq!(Generation::number_after(0xffff_0000, &mut rng), None);
}

/// What a slot says in the clear, the root signed; what it holds must agree.
#[test]
fn a_slot_says_the_newest_generation_that_it_holds() {
    let mut rng = Counting(0);
    let bundle = bundle(&mut rng);
    let root = Signer::from_seed(bundle.root.as_ref().unwrap());
    let file = KeyFile::fresh(&mut rng);
    let sealed = Slot::seal(&bundle, &Lock::KeyFile(file.clone()), about(), &root, &mut rng).unwrap();
    let mut slot = Slot::decode(sealed.as_bytes(), &bundle.repo, &root.public()).unwrap();
    assert_eq!(slot.generation(), 1);
    slot.record.generation = Some(2);
    assert!(matches!(slot.open(&Unlock::KeyFile(file.clone())), Err(Error::Malformed(_))));
    slot.record.generation = None;
    assert!(slot.generation() == 0 && slot.open(&Unlock::KeyFile(file)).is_err());
}

#[test]
fn a_write_only_bundle_survives_its_file_without_the_keys_for_reading() {
    let mut rng = Counting(0);
    let full = bundle(&mut rng);
    let less = Bundle::from_text(&full.write_only(fresh(&mut rng)).to_text()).unwrap();
    let keys = less.newest();
    assert!(keys.data.is_none() && keys.catalog.is_none() && keys.index.is_none() && less.root.is_none());
    assert_eq!(keys.data_public, full.newest().data_public);
    assert_eq!(numbers(&less), [1], "older keys are of no use to it");
    assert!(keys.chunk_key().is_ok() && less.writer.is_some());
}

#[test]
fn a_key_file_with_a_typing_error_says_so() {
    let text = KeyFile::fresh(&mut Counting(1)).to_text().to_string();
    let commented = format!("# keep a copy elsewhere\n\n{text}");
    assert_eq!(KeyFile::from_text(&commented).unwrap().to_text().to_string(), text);
    let at = text.find(' ').unwrap() + 1;
    let wrong = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    let mut typo = text.clone();
    typo.replace_range(at..at + 1, wrong);
    let error = KeyFile::from_text(&typo).err().unwrap().to_string();
    assert!(error.contains("typing error"), "{error}");
    for bad in ["", "# only words", "seawall-key-1 ab", "hello a b", &text.replace("key", "kay")] {
        assert!(KeyFile::from_text(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_hostile_slot_cannot_ask_for_endless_memory() {
    let dear = Argon2Cost { memory_kib: u32::MAX, passes: 1, lanes: 1 };
    assert!(dear.check().is_err());
    assert!(Argon2Cost::DEFAULT.check().is_ok());
}

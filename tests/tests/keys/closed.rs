//! That old keys do not open what is new is asked of the format itself, with a program that refuses nothing: each pack,
//! entry and run is tried with every old key, also under the number of the new ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use format::entry::Entry;
use format::genesis::Genesis;
use format::key::{Bundle, Generation, KeyFile, Slot, Unlock};
use format::pack::{Tail, chunk_id};
use format::run::Run;

use super::renewed::{Renewed, slot_files};
use super::*;

fn genesis(machine: &Machine) -> Genesis {
    Genesis::decode(&fs::read(machine.repository().join("format")).unwrap()).unwrap()
}

fn bundle(machine: &Machine, key: &str, slot: &Path) -> Result<Bundle, format::Error> {
    let genesis = genesis(machine);
    let slot = Slot::decode(&fs::read(slot).unwrap(), &genesis.id, &genesis.root_public).unwrap();
    let file = KeyFile::from_text(&fs::read_to_string(machine.at(key)).unwrap()).unwrap();
    slot.open(&Unlock::KeyFile(file))
}

/// The bundle, pretending that its oldest keys are those of `number`.
fn pretending(bundle: &Bundle, number: u32) -> Bundle {
    let oldest = Generation { number, ..bundle.generations[0].clone() };
    Bundle { generations: vec![oldest], ..bundle.clone() }
}

fn objects(machine: &Machine, folder: &str) -> BTreeSet<PathBuf> {
    let top = machine.repository().join(folder);
    let names = Listing::of(&top).0.into_keys().map(|name| top.join(String::from_utf8(name).unwrap()));
    names.filter(|path| path.is_file()).collect()
}

fn open_pack(bytes: &[u8], bundle: &Bundle) -> Result<format::pack::Directory, format::Error> {
    let tail = Tail::decode(bytes)?;
    let range = tail.directory_range(bytes.len() as u64)?;
    let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
    let directory = tail.open_directory(tail.pack, bundle, bytes.len() as u64, &bytes[start..end])?;
    for origin in &directory.origins {
        format::pack::FrameOpener::new(origin, tail.repo, tail.domain, bundle)?;
    }
    Ok(directory)
}

#[test]
fn old_keys_open_nothing_that_was_written_after_a_renewal() {
    let mut renewed = Renewed::new();
    let folders = ["packs", "log", "runs"];
    let before = folders.map(|folder| objects(&renewed.machine, folder));
    let content = odd::noise(9, 1000);
    fs::write(renewed.machine.at("tree/short"), &content).unwrap();
    renewed.renew_and_back_up(2);
    let machine = &renewed.machine;
    let old = bundle(machine, "old.key", &machine.at("old.slot")).unwrap();
    assert_eq!(old.generations.len(), 1);
    let slots = slot_files(machine);
    assert!(slots.iter().all(|slot| bundle(machine, "old.key", slot).is_err()));
    let new = slots.iter().find_map(|slot| bundle(machine, "new.key", slot).ok()).unwrap();
    assert_eq!(new.generations.len(), 3);
    let number = new.newest().number;
    let seeds = |bundle: &Bundle| -> BTreeSet<[u8; 32]> {
        let of = |g: &Generation| {
            let seeds = [g.data.as_ref().unwrap().seed(), g.catalog.as_ref().unwrap().seed()];
            [**seeds[0], **seeds[1], **g.chunk.as_ref().unwrap(), **g.index.as_ref().unwrap()]
        };
        bundle.generations.iter().flat_map(of).collect()
    };
    assert_eq!(seeds(&new).len(), 12, "no two keys are the same");

    let fresh: Vec<Vec<Vec<u8>>> = folders
        .iter()
        .zip(&before)
        .map(|(folder, before)| {
            objects(machine, folder).difference(before).map(|path| fs::read(path).unwrap()).collect()
        })
        .collect();
    let [packs, entries, runs] = &fresh[..] else { panic!("three folders") };
    assert!(packs.len() >= 2 && !entries.is_empty() && !runs.is_empty());
    let lies = pretending(&old, number);
    let wrong = |error: Option<format::Error>| matches!(error, Some(format::Error::WrongKey(_)));
    let closed = |error: Option<format::Error>| matches!(error, Some(format::Error::NoKey(_)));
    let mut named = BTreeSet::new();
    for pack in packs {
        assert!(closed(open_pack(pack, &old).err()) && wrong(open_pack(pack, &lies).err()));
        named.extend(open_pack(pack, &new).unwrap().entries().map(|entry| entry.chunk));
    }
    for run in runs {
        assert!(closed(Run::open(run, &old).err()) && wrong(Run::open(run, &lies).err()));
        assert!(!Run::open(run, &new).unwrap().is_empty());
    }
    let repo = genesis(machine).id;
    let mut sealed = 0;
    for entry in entries {
        let entry = Entry::decode(entry, &repo).unwrap();
        if entry.has_sealed_facts() {
            assert!(closed(entry.sealed_facts(&old).err()) && wrong(entry.sealed_facts(&lies).err()));
            assert!(!entry.sealed_facts(&new).unwrap().is_empty());
            sealed += 1;
        }
    }
    assert!(sealed > 0, "the point is sealed");

    // Nor can its holder ask whether known content is among what is new: it has another name. So short a file is one chunk.
    let has = |key: &Bundle| named.contains(&chunk_id(key.newest().chunk_key().unwrap(), &content).half());
    assert!(has(&new) && !has(&old));
}

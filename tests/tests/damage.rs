//! Damage is a normal input: every kind of object, cut, flipped, deleted, swapped and repeated, and what each command
//! then says.
//!
//! Whatever is damaged: no command panics; what is restored with exit code 0 is right to the byte; where something
//! that is needed is missing, a command says so; and a full backup that succeeds on what is left restores.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use tests::files::{below, copy_all};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::{Machine, Said};

const KINDS: [Kind; 7] =
    [Kind::Format, Kind::Slot, Kind::PackData, Kind::PackTree, Kind::Run, Kind::Entry, Kind::Session];

const DAMAGES: [Damage; 5] = [Damage::Cut, Damage::Flip, Damage::Delete, Damage::Swap, Damage::Repeat];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Format,
    Slot,
    PackData,
    PackTree,
    Run,
    Entry,
    Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// The last third is gone.
    Cut,
    /// One bit in the middle is another.
    Flip,
    Delete,
    /// Two objects have each other's content.
    Swap,
    /// The same bytes once more, under another name.
    Repeat,
}

/// A repository with three points that is copied and damaged.
struct Original {
    machine: Machine,
    other: Machine,
    /// Points, oldest first, and what each holds.
    points: Vec<(String, Listing)>,
    /// Objects that each backup brought.
    brought: Vec<Vec<PathBuf>>,
}

impl Original {
    fn new() -> Self {
        let (machine, other) = (Machine::with_repository(), Machine::with_repository());
        fs::create_dir(machine.at("tree")).unwrap();
        let mut original = Self { machine, other, points: Vec::new(), brought: Vec::new() };
        original.point("a", 400_000);
        original.point("note", 10);
        original.point("b", 500_000);
        original
    }

    fn point(&mut self, name: &str, length: usize) {
        fs::write(self.machine.at("tree").join(name), odd::noise(length as u64, length)).unwrap();
        let before = files(&self.machine.repository());
        let said = self.machine.json(&["backup", "tree"]);
        let after = files(&self.machine.repository());
        self.brought.push(after.into_iter().filter(|path| !before.contains(path)).collect());
        let point = said["point"].as_str().unwrap().to_owned();
        self.points.push((point, Listing::of(&self.machine.at("tree"))));
    }

    /// The object of a kind to be damaged, and another one.
    fn objects(&self, kind: Kind) -> (PathBuf, PathBuf) {
        let all = files(&self.machine.repository());
        let of = |backup: usize, folder: &str| -> PathBuf {
            self.brought[backup].iter().rfind(|path| path.starts_with(folder)).unwrap().clone()
        };
        let packs = |backup: usize, largest: bool| -> PathBuf {
            let size = |path: &&PathBuf| fs::metadata(self.machine.repository().join(path)).unwrap().len();
            let packs = self.brought[backup].iter().filter(|path| path.starts_with("packs"));
            if largest { packs.max_by_key(size) } else { packs.min_by_key(size) }.unwrap().clone()
        };
        let slot = || all.iter().find(|path| path.starts_with("keys")).unwrap().clone();
        match kind {
            Kind::Format => ("format".into(), "format".into()),
            Kind::Slot => (slot(), slot()),
            Kind::PackData => (packs(0, true), packs(2, true)),
            Kind::PackTree => (packs(1, false), packs(2, false)),
            Kind::Run => (of(0, "runs"), of(2, "runs")),
            Kind::Entry => (of(1, "log"), of(2, "log")),
            Kind::Session => (of(1, "sessions"), of(2, "sessions")),
        }
    }
}

/// All files below `top`, as paths from there, sorted.
fn files(top: &Path) -> Vec<PathBuf> {
    below(top).iter().map(|path| path.strip_prefix(top).unwrap().to_owned()).collect()
}

/// A copy of the machine, damaged. What it knows of the repository is copied or not.
fn damaged(original: &Original, kind: Kind, damage: Damage, knows: bool) -> Machine {
    let machine = Machine::new();
    let names =
        if knows { &["home", "state", "tree", "repository"][..] } else { &["home", "tree", "repository"] };
    names.iter().for_each(|name| copy_all(&original.machine.at(name), &machine.at(name)));
    let (target, other) = original.objects(kind);
    harm(original, &machine.repository(), &target, &other, damage);
    machine
}

fn harm(original: &Original, repository: &Path, target: &Path, other: &Path, damage: Damage) {
    let place = repository.join(target);
    let mut bytes = fs::read(&place).unwrap();
    match damage {
        Damage::Cut => fs::write(&place, &bytes[..bytes.len() * 2 / 3]).unwrap(),
        Damage::Flip => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            fs::write(&place, bytes).unwrap();
        }
        Damage::Delete => fs::remove_file(&place).unwrap(),
        Damage::Swap if target == other => {
            // There is one in each repository, so it is that of another.
            let strangers = files(&original.other.repository());
            let folder = target.components().next().unwrap();
            let stranger = strangers.iter().find(|path| path.starts_with(folder)).unwrap();
            fs::copy(original.other.repository().join(stranger), &place).unwrap();
        }
        Damage::Swap => {
            fs::write(&place, fs::read(repository.join(other)).unwrap()).unwrap();
            fs::write(repository.join(other), bytes).unwrap();
        }
        Damage::Repeat => {
            let name = place.file_name().unwrap().to_str().unwrap();
            let last = if name.ends_with('0') { '1' } else { '0' };
            fs::write(place.with_file_name(format!("{}{last}", &name[..name.len() - 1])), bytes).unwrap();
        }
    }
}

/// What the commands said about one damage.
#[derive(Default)]
struct Told {
    row: String,
    wrong: Vec<String>,
    loud: bool,
    codes: Vec<i32>,
}

impl Told {
    fn note(&mut self, column: &str, said: &Said) -> i32 {
        self.row += &format!("  {column} {}", said.code);
        // A message is loud enough for a script only as an exit code.
        self.loud |= said.code != 0;
        self.codes.push(said.code);
        said.code
    }
}

fn tell(original: &Original, kind: Kind, damage: Damage) -> Told {
    let mut told =
        Told { row: format!("{:<9} {:<7}", format!("{kind:?}"), format!("{damage:?}")), ..Told::default() };
    let machine = damaged(original, kind, damage, true);
    let listed = machine.run(&["points", "--json"]);
    let all_there = told.note("points", &listed) == 0
        && original.points.iter().all(|(point, _)| String::from_utf8_lossy(&listed.out).contains(point));
    told.note("log", &machine.run(&["log", "--verify"]));
    for level in ["L1", "L2"] {
        let said = machine.run(&["verify", "--level", level]);
        // Damage that harms no point is told, though no script must act on it.
        told.loud |= said.err.contains("all that this point needs of it can be read");
        told.note(level, &said);
    }
    let fresh = damaged(original, kind, damage, false);
    let mut missing = !all_there;
    for (number, (point, truth)) in original.points.iter().enumerate() {
        let out = format!("out{number}");
        let said = fresh.run(&["restore", point, "--into", &out]);
        let same = said.code == 0 && Listing::of(&fresh.at(&out)).differences(truth).is_empty();
        if told.note(if number == 0 { "restore" } else { "" }, &said) == 0 && !same {
            told.wrong.push(format!("point {number} was restored wrong with exit code 0: {said}"));
        }
        missing |= !same;
    }
    full_backup(&machine, &mut told);
    let harmless = damage == Damage::Repeat || kind == Kind::Session;
    if !told.loud && (missing || !harmless) {
        told.wrong.push("no command said anything".to_owned());
    }
    // A wrong key is a wrong request; a damaged slot is not, and neither is a point that is lost with its entry.
    let is_lost = matches!(kind, Kind::Slot | Kind::Entry | Kind::PackData | Kind::PackTree);
    if is_lost && told.codes.contains(&4) {
        told.wrong.push("damage was told as a wrong request".to_owned());
    }
    told
}

/// A full backup trusts nothing that it does not read back, so where it succeeds, its point restores.
fn full_backup(machine: &Machine, told: &mut Told) {
    let said = machine.run(&["backup", "tree", "--kind", "full", "--json"]);
    let loud = told.loud;
    if told.note("full", &said) != 0 {
        return;
    }
    let point = said.json()["point"].as_str().unwrap().to_owned();
    let restored = machine.run(&["restore", &point, "--into", "again"]);
    told.note("and back", &restored);
    told.loud = loud;
    let truth = Listing::of(&machine.at("tree"));
    if restored.code != 0 || !Listing::of(&machine.at("again")).differences(&truth).is_empty() {
        told.wrong.push(format!("a full backup succeeded and does not restore: {restored}"));
    }
}

#[test]
fn every_damage_is_told_and_no_wrong_byte_is_restored() {
    let original = Original::new();
    let told: Vec<Told> = std::thread::scope(|threads| {
        let rows = KINDS.map(|kind| {
            let original = &original;
            threads.spawn(move || DAMAGES.map(|damage| tell(original, kind, damage)))
        });
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    told.iter().for_each(|told| println!("{}", told.row));
    let wrong: Vec<String> =
        told.iter().flat_map(|told| told.wrong.iter().map(|why| format!("{}\n{why}", told.row))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Objects that were not damaged say nothing, so that what the table shows is the damage.
#[test]
fn what_is_whole_is_told_to_be_whole() {
    let original = Original::new();
    for words in [
        &["log", "--verify"][..],
        &["verify", "--level", "L1"],
        &["verify", "--level", "L2"],
        &["catalog", "check"],
    ] {
        original.machine.done(words);
    }
    for (number, (point, truth)) in original.points.iter().enumerate() {
        let out = format!("out{number}");
        original.machine.done(&["restore", point, "--into", &out]);
        assert_eq!(Listing::of(&original.machine.at(&out)).differences(truth), Vec::<String>::new());
    }
}

//! The repository that is harmed: of two hosts, with every kind of object, swept once, and small enough to be copied ten thousand
//! times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::harm::Kind;
use crate::files::{below, copy_all};
use crate::listing::Listing;
use crate::odd;
use crate::seawall::Machine;

/// A repository, its hosts, and what its points hold.
pub(super) struct Original {
    host: Machine,
    /// Hosts that the paths above and below lead to.
    _others: [Machine; 2],
    /// Live points, oldest first, and what each holds.
    pub points: Vec<(String, Listing)>,
    /// Entries that were written last, so that no other one leans on them.
    pub unseen: Vec<PathBuf>,
    objects: BTreeMap<Kind, Vec<PathBuf>>,
    foreign: BTreeMap<Kind, Vec<PathBuf>>,
}

/// What the source of the first host is called, so that it is the same one on every copy.
pub(super) const SOURCE: &str = "files";

impl Original {
    /// Makes it.
    pub(super) fn new() -> Original {
        let host = Machine::with_repository();
        let second = Machine::with_key_of(&host);
        let mut points = Vec::new();
        first_state(&host.at("tree"));
        let first = backup(&host, SOURCE).0;
        fs::remove_file(host.at("tree/goes")).expect("it was written");
        fs::write(host.at("tree/comes"), odd::noise(3, 200_000)).expect("there is room");
        points.push(backup(&host, SOURCE));
        fs::create_dir(second.at("tree")).expect("there is room");
        fs::write(second.at("tree/same"), odd::noise(1, 300_000)).expect("there is room");
        fs::write(second.at("tree/own"), odd::noise(4, 90_000)).expect("there is room");
        points.push(backup(&second, "second"));
        host.done(&["forget", "--apply", &first]);
        host.done(&["sweep", "--apply", "--repack-below", "100", "--wait", "0"]);
        host.done(&["hold", &points[1].0, "--reason", "trial"]);
        fs::write(host.at("passphrase"), "correct horse\n").expect("there is room");
        host.done(&["key", "add", "--new-passphrase-file", "passphrase"]);
        fs::write(host.at("tree/last"), odd::noise(5, 70_000)).expect("there is room");
        points.push(backup(&host, SOURCE));
        // A session for each point, one after the other: nobody comes after the last of them.
        let before = below(&host.repository());
        host.done(&["verify", &points[2].0]);
        let unseen = relative(&host.repository(), |path| !before.contains(path)).collect();
        let other = Machine::with_repository();
        first_state(&other.at("tree"));
        let forgotten = backup(&other, "other").0;
        fs::remove_dir_all(other.at("tree")).expect("it was made");
        fs::create_dir(other.at("tree")).expect("there is room");
        backup(&other, "other");
        other.done(&["forget", "--apply", &forgotten]);
        other.done(&["sweep", "--apply", "--wait", "0"]);
        backup(&other, "other");
        let (objects, foreign) = (objects(&host.repository()), objects(&other.repository()));
        let top = other.repository();
        let foreign = foreign
            .into_iter()
            .map(|(kind, paths)| (kind, paths.iter().map(|path| top.join(path)).collect()))
            .collect();
        Original { host, _others: [second, other], points, unseen, objects, foreign }
    }

    /// All objects of a kind.
    pub(super) fn objects(&self, kind: Kind) -> &[PathBuf] {
        self.objects.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// All objects of a kind of another repository, with their whole paths.
    pub(super) fn foreign(&self, kind: Kind) -> &[PathBuf] {
        self.foreign.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// A copy of the first host, which remembers the repository or has never seen it.
    pub(super) fn copy(&self, remembers: bool) -> Machine {
        let machine = Machine::new();
        let names = if remembers { &["home", "state", "tree"][..] } else { &["home", "tree"] };
        names.iter().for_each(|name| copy_all(&self.host.at(name), &machine.at(name)));
        link_all(&self.host.repository(), &machine.repository());
        machine
    }
}

/// What a backup made, and what it must bring back.
fn backup(machine: &Machine, source: &str) -> (String, Listing) {
    let made = machine.json(&["backup", "tree", "--source", source]);
    let point = made["point"].as_str().expect("an id is text").to_owned();
    (point, Listing::of(&machine.at("tree")))
}

fn first_state(top: &Path) {
    fs::create_dir_all(top.join("folder/deep")).expect("there is room");
    let write = |name: &str, bytes: &[u8]| fs::write(top.join(name), bytes).expect("there is room");
    write("stays", &odd::noise(1, 300_000));
    write("goes", &odd::noise(2, 150_000));
    write("empty", b"");
    write("tiny", b"tiny");
    write("folder/text", &b"all work and no play\n".repeat(2_000));
    for number in 0..60_u64 {
        write(&format!("folder/deep/{number}"), &odd::noise(100 + number, 900));
    }
    fs::hard_link(top.join("stays"), top.join("folder/second name")).expect("there is room");
    symlink("../stays", top.join("folder/link")).expect("there is room");
    let sparse = fs::File::create(top.join("sparse")).expect("there is room");
    sparse.set_len(400_000).expect("there is room");
}

/// Objects by kind, those that were stored first before the others, so that the same number is the same object in each making of
/// a repository.
fn objects(repository: &Path) -> BTreeMap<Kind, Vec<PathBuf>> {
    let mut objects: BTreeMap<Kind, Vec<PathBuf>> = BTreeMap::new();
    let mut all: Vec<PathBuf> = relative(repository, |_| true).collect();
    let stored = |path: &PathBuf| fs::metadata(repository.join(path)).and_then(|meta| meta.modified()).ok();
    all.sort_by_key(|path| (stored(path), path.clone()));
    for path in all {
        if let Some(kind) = Kind::of(&path) {
            objects.entry(kind).or_default().push(path);
        }
    }
    objects
}

/// Paths of what is wanted, from the repository's top.
fn relative(repository: &Path, wanted: impl Fn(&PathBuf) -> bool) -> impl Iterator<Item = PathBuf> {
    let all = below(repository).into_iter().filter(move |path| wanted(path));
    all.map(move |path| path.strip_prefix(repository).expect("it lies below").to_owned())
}

/// The same files once more under another folder: no object is ever written over, so each repository can lose its own.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("the folder can be listed") {
        let entry = entry.expect("its names can be read");
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        if here.is_dir() {
            link_all(&here, &there);
        } else {
            fs::hard_link(here, there).expect("a file can have two names");
        }
    }
}

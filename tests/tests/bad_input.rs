//! Bad input through the whole program: regions that refuse, fail and lie, disks without room, sources that change or
//! cannot be read, repositories made to do harm, signals, races.
//!
//! What is asked of each: the promised exit code; one message that says what and where, and one hint; nothing lost; and
//! once the fault is gone, the next backup succeeds and every point that was ever acknowledged restores to the byte.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

#[path = "bad_input/codes.rs"]
mod codes;
#[path = "bad_input/hostile.rs"]
mod hostile;
#[path = "bad_input/local.rs"]
mod local;
#[path = "bad_input/remote.rs"]
mod remote;
#[path = "bad_input/sources.rs"]
mod sources;
#[path = "bad_input/together.rs"]
mod together;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tests::listing::Listing;
use tests::odd;
use tests::s3::Server;
use tests::seawall::{Machine, Said, program};

/// A machine with a tree, and all points of it that were acknowledged.
struct House {
    machine: Machine,
    /// Points, oldest first, and what each holds.
    points: Vec<(String, Listing)>,
    changes: u64,
}

impl House {
    /// With a repository in a folder, and one point in it.
    fn local() -> House {
        House::on(Machine::new())
    }

    /// With a repository in a bucket, and one point in it.
    fn remote(server: &Server) -> House {
        House::on(Machine::with_s3(server))
    }

    fn on(machine: Machine) -> House {
        machine.done(&["init"]);
        let mut house = House::bare(machine);
        house.keep();
        house
    }

    /// With a tree, and no repository yet.
    fn bare(machine: Machine) -> House {
        fs::create_dir_all(machine.at("tree/folder")).unwrap();
        fs::write(machine.at("tree/large"), odd::noise(1, 3_000_000)).unwrap();
        let mut house = House { machine, points: Vec::new(), changes: 0 };
        house.change();
        house
    }

    /// Changes what a backup has to notice: new content of a few kilobytes, and of a few bytes.
    fn change(&mut self) {
        self.changes += 1;
        let name = format!("tree/folder/{}", self.changes);
        fs::write(self.machine.at(&name), odd::noise(100 + self.changes, 70_000)).unwrap();
        fs::write(self.machine.at("tree/note"), format!("change {}\n", self.changes)).unwrap();
    }

    fn truth(&self) -> Listing {
        Listing::of(&self.machine.at("tree"))
    }

    /// Keeps the tree, which must succeed.
    fn keep(&mut self) {
        let kept = self.machine.json(&["backup", "tree"]);
        assert_eq!(kept["problems"], serde_json::json!([]));
        self.points.push((kept["point"].as_str().unwrap().to_owned(), self.truth()));
    }

    /// Changes the tree and keeps it, which succeeds or not; what is acknowledged must come back later.
    fn try_to_keep(&mut self, more: &[&str]) -> Said {
        self.change();
        let said = self.machine.run(&[&["backup", "tree", "--json"], more].concat());
        if said.code == 0 {
            self.points.push((said.json()["point"].as_str().unwrap().to_owned(), self.truth()));
        }
        said
    }

    /// Nothing is lost: the next backup succeeds, the points are those that were acknowledged, and all of them restore.
    fn is_whole(&mut self) {
        self.change();
        self.keep();
        let known: Vec<&String> = self.points.iter().map(|(point, _)| point).collect();
        assert_eq!(self.machine.points().iter().collect::<Vec<_>>(), known);
        self.machine.done(&["verify", "--level", "L1"]);
        self.points.iter().for_each(|(point, truth)| assert_restores(&self.machine, point, truth));
    }
}

/// Restores `point` into a new folder, and compares.
fn assert_restores(machine: &Machine, point: &str, truth: &Listing) {
    let name = format!("out-{}", fs::read_dir(machine.at("")).unwrap().count());
    machine.done(&["restore", point, "--into", &name]);
    assert_eq!(Listing::of(&machine.at(&name)).differences(truth), Vec::<String>::new(), "{point}");
    fs::remove_dir_all(machine.at(&name)).unwrap();
}

/// Asserts the exit code, and that one error with one hint was told in which each of these is said.
fn assert_told(said: &Said, code: i32, says: &[&str]) {
    assert_eq!(said.code, code, "{said}");
    for head in ["error:", "hint:"] {
        assert_eq!(said.err.lines().filter(|line| line.starts_with(head)).count(), 1, "{head} {said}");
    }
    says.iter().for_each(|part| assert!(said.err.contains(part), "{part:?} is not in: {said}"));
}

const NOBODY: u32 = 65_534;

/// Makes all below `path` belong to somebody who may not read everything; for root, who may.
fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

/// Runs the program as somebody who is not root, from a copy of his own. What he shall own must be his already.
fn as_nobody(machine: &Machine, words: &[&str]) -> Said {
    let copy = machine.at("program");
    if !copy.exists() {
        fs::copy(program(), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ours = machine.command(words);
    let mut command = Command::new(&copy);
    command.args(words).current_dir(machine.at("")).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Said::of(words, command.output().unwrap())
}

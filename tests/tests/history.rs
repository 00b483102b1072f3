//! Random histories: files change in every way that could fool a comparison, and points of every kind are made
//! between; backups are killed, the catalog and all local state are lost. Every point that was committed then
//! restores exactly as the tree was at its moment.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tests::listing::Listing;
use tests::seawall::Machine;

/// How long new histories are begun.
const BUDGET: Duration = Duration::from_secs(60);

const KINDS: [&str; 3] = ["incremental", "differential", "full"];

/// What happens next. Files are numbered; some numbers lie in folders.
#[derive(Clone, Debug)]
enum Step {
    Write {
        file: usize,
        length: usize,
        fill: u8,
    },
    /// Other bytes, as many as before; the time of change is put back.
    Fool {
        file: usize,
        fill: u8,
    },
    /// A point, and at once other bytes, as many as before: size and perhaps time stay the same.
    PointThenEdit {
        file: usize,
        fill: u8,
    },
    RenameOver {
        from: usize,
        to: usize,
    },
    Link {
        from: usize,
        to: usize,
    },
    /// One of the names of a file becomes a file of its own, with the same content and times.
    Split {
        file: usize,
    },
    Delete {
        file: usize,
    },
    /// A folder becomes a link, and a link a folder.
    Swap {
        folder: usize,
    },
    Point {
        kind: usize,
    },
    DropCatalog,
    DropState,
    Kill {
        share: u32,
    },
}

const FILES: usize = 9;
const FOLDERS: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let (file, fill) = (0..FILES, any::<u8>());
    let length = prop_oneof![Just(0), 1..100usize, 1000..9000usize, 100_000..400_000usize];
    prop_oneof![
        4 => (file.clone(), length, fill).prop_map(|(file, length, fill)| Step::Write { file, length, fill }),
        2 => (file.clone(), fill).prop_map(|(file, fill)| Step::Fool { file, fill }),
        2 => (file.clone(), fill).prop_map(|(file, fill)| Step::PointThenEdit { file, fill }),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::RenameOver { from, to }),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Link { from, to }),
        2 => file.clone().prop_map(|file| Step::Split { file }),
        1 => file.prop_map(|file| Step::Delete { file }),
        2 => (0..FOLDERS).prop_map(|folder| Step::Swap { folder }),
        5 => (0..KINDS.len()).prop_map(|kind| Step::Point { kind }),
        1 => Just(Step::DropCatalog),
        1 => Just(Step::DropState),
        1 => (0..100u32).prop_map(|share| Step::Kill { share }),
    ]
}

/// A tree that changes, and what it was at each point.
struct History {
    machine: Machine,
    kept: BTreeMap<String, Listing>,
    usual: Duration,
}

impl History {
    fn new() -> Self {
        let machine = Machine::with_repository();
        fs::create_dir(machine.at("tree")).unwrap();
        let mut history = Self { machine, kept: BTreeMap::new(), usual: Duration::ZERO };
        for file in 0..FILES {
            history.write(file, 1000 * file, 1);
        }
        history.point(None);
        history
    }

    fn path(&self, file: usize) -> PathBuf {
        let top = self.machine.at("tree");
        if file < 5 {
            top.join(format!("f{file}"))
        } else {
            self.folder(file % FOLDERS).join(format!("f{file}"))
        }
    }

    fn folder(&self, folder: usize) -> PathBuf {
        self.machine.at(&format!("tree/d{folder}"))
    }

    fn write(&self, file: usize, length: usize, fill: u8) {
        let path = self.path(file);
        let folder = path.parent().unwrap();
        if folder.is_symlink() {
            return;
        }
        fs::create_dir_all(folder).unwrap();
        fs::write(path, content(length, fill)).unwrap();
    }

    fn is_there(&self, file: usize) -> bool {
        let path = self.path(file);
        !path.parent().unwrap().is_symlink() && path.is_file()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { file, length, fill } => self.write(file, length, fill),
            Step::Fool { file, fill } if self.is_there(file) => fool(&self.path(file), fill),
            Step::PointThenEdit { file, fill } if self.is_there(file) => {
                let length = fs::metadata(self.path(file)).unwrap().len();
                self.write(file, length as usize, fill.wrapping_add(1));
                self.point(None);
                self.write(file, length as usize, fill);
                self.point(None);
            }
            Step::RenameOver { from, to } if self.is_there(from) && self.has_folder(to) => {
                fs::rename(self.path(from), self.path(to)).unwrap();
            }
            Step::Link { from, to } if from != to && self.is_there(from) && self.has_folder(to) => {
                let _ = fs::remove_file(self.path(to));
                fs::hard_link(self.path(from), self.path(to)).unwrap();
            }
            Step::Split { file } if self.is_there(file) => split(&self.path(file)),
            Step::Delete { file } if self.is_there(file) => fs::remove_file(self.path(file)).unwrap(),
            Step::Swap { folder } => swap(&self.folder(folder)),
            Step::Point { kind } => self.point(Some(KINDS[kind])),
            Step::DropCatalog => self.drop_catalog(),
            Step::DropState => drop(fs::remove_dir_all(self.machine.at("state"))),
            Step::Kill { share } => self.kill(share),
            _ => {}
        }
    }

    fn has_folder(&self, file: usize) -> bool {
        let path = self.path(file);
        let folder = path.parent().unwrap();
        folder.is_dir() && !folder.is_symlink()
    }

    fn point(&mut self, kind: Option<&str>) {
        let begin = Instant::now();
        let words = ["backup", "tree", "--kind", kind.unwrap_or("incremental")];
        let said = self.machine.json(if kind.is_some() { &words } else { &words[..2] });
        self.usual = begin.elapsed();
        assert_eq!(said["changed"].as_array().unwrap().len(), 0, "nothing changes meanwhile");
        self.kept.insert(said["point"].as_str().unwrap().to_owned(), Listing::of(&self.machine.at("tree")));
    }

    fn drop_catalog(&self) {
        let Ok(folders) = fs::read_dir(self.machine.at("state")) else { return };
        folders.flatten().for_each(|folder| {
            let _ = fs::remove_file(folder.path().join("catalog.sqlite"));
        });
    }

    /// Whether it came to its commit or not, the tree is the same; so a point that is there is of this tree.
    fn kill(&mut self, share: u32) {
        let mut child = self.machine.start(&["backup", "tree"]);
        std::thread::sleep(self.usual * share / 90);
        child.kill().unwrap();
        child.wait().unwrap();
        let now = Listing::of(&self.machine.at("tree"));
        for point in self.machine.points() {
            self.kept.entry(point).or_insert_with(|| now.clone());
        }
    }

    /// What does not come back as it was.
    fn check(&self) -> Result<(), TestCaseError> {
        let points = self.machine.points();
        prop_assert_eq!(points.len(), self.kept.len(), "points that are listed");
        for (number, (point, truth)) in self.kept.iter().enumerate() {
            let out = format!("out{number}");
            let said = self.machine.run(&["restore", point, "--into", &out]);
            prop_assert_eq!(said.code, 0, "{}", said);
            let differences = Listing::of(&self.machine.at(&out)).differences(truth);
            prop_assert!(differences.is_empty(), "point {point}: {differences:#?}");
        }
        Ok(())
    }
}

fn content(length: usize, fill: u8) -> Vec<u8> {
    (0..length).map(|at| ((at as u64 * 0x9e37_79b9) >> 7) as u8 ^ fill ^ (at >> 12) as u8).collect()
}

fn set_time(path: &Path, meta: &fs::Metadata) {
    use std::os::unix::fs::MetadataExt;
    let time = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn fool(path: &Path, fill: u8) {
    let meta = fs::metadata(path).unwrap();
    fs::write(path, content(meta.len() as usize, fill)).unwrap();
    set_time(path, &meta);
}

fn split(path: &Path) {
    let (meta, copy) = (fs::metadata(path).unwrap(), path.with_extension("new"));
    fs::copy(path, &copy).unwrap();
    set_time(&copy, &meta);
    fs::rename(copy, path).unwrap();
}

fn swap(folder: &Path) {
    if folder.is_symlink() {
        fs::remove_file(folder).unwrap();
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("f6"), "after the link").unwrap();
    } else {
        let _ = fs::remove_dir_all(folder);
        symlink("f0", folder).unwrap();
    }
}

#[test]
fn every_committed_point_restores_exactly_whatever_happened_around_it() {
    let begin = Instant::now();
    let config =
        Config { cases: 40, max_shrink_time: 60_000, failure_persistence: None, ..Config::default() };
    let mut histories = 0;
    let counted = std::cell::Cell::new((0, 0));
    let outcome = TestRunner::new(config).run(&proptest::collection::vec(step(), 6..24), |steps| {
        if begin.elapsed() > BUDGET && counted.get().0 > 0 {
            return Ok(());
        }
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        history.check()?;
        let (cases, points) = counted.get();
        counted.set((cases + 1, points + history.kept.len()));
        Ok(())
    });
    histories += counted.get().0;
    println!("{histories} histories with {} points in {:?}", counted.get().1, begin.elapsed());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

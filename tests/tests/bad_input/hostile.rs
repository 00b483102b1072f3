//! A repository made to do harm, by somebody who holds its keys: trees that lead out, lengths that lie, names that are
//! none.
//!
//! Whatever it holds: nothing is written outside the target, no verb panics, what is wrong is named, the exit code is
//! never 0, and what is right beside it comes back.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;

use format::compress::Effort;
use format::fact::{Point, PointKind, Sizes};
use format::meta::{Kind, Meta};
use format::pack::ContentKind;
use format::path::TreePath;
use format::reference::{FrameSet, Reference};
use format::tree::{Builder, Content, Entry, Part, encode_entry};
use repo::{Error, Reuse, Style, Worker, Writer};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;
use world::World;

/// What a hostile point is made with.
struct Forge<'w, 'r> {
    data: Worker<'w, 'r>,
    tree: Worker<'w, 'r>,
    writer: &'w Writer<'r>,
    world: &'w World,
}

impl Forge<'_, '_> {
    fn chunk(&mut self, content: &[u8]) -> Reference {
        self.data.save(content, &FrameSet::default()).unwrap()
    }

    /// A tree of these entries, as the builder makes it.
    fn tree(&mut self, mut entries: Vec<Entry>) -> Reference {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut builder: Builder<&mut Worker<'_, '_>> = Builder::new(self.writer.chunk_key(), &mut self.tree);
        entries.iter().for_each(|entry| builder.push(entry).unwrap());
        builder.finish().unwrap().0
    }

    /// A tree of one leaf with one entry that no builder takes.
    fn leaf(&mut self, bytes: &[u8]) -> Reference {
        self.tree.save(bytes, &FrameSet::default()).unwrap()
    }
}

/// Commits a point whose tree `make` forges; gives its id.
fn forged(machine: &Machine, make: impl FnOnce(&mut Forge<'_, '_>) -> Reference) -> Result<String, Error> {
    let repo = machine.opened(World::real(), "evil-state");
    let writer =
        Writer::open(&repo, BTreeSet::new(), Style { effort: Effort::Standard, reuse: Reuse::Trusted })?;
    let (data, tree) = (writer.worker(ContentKind::Data), writer.worker(ContentKind::Tree));
    let mut forge = Forge { data, tree, writer: &writer, world: repo.world() };
    let root = make(&mut forge);
    forge.data.finish()?;
    forge.tree.finish()?;
    let now = repo.world().now_ns();
    let point = Point {
        id: repo.fresh_point(),
        source: "evil".to_owned(),
        host: "evil".to_owned(),
        kind: PointKind::Full,
        basis: None,
        as_of: now,
        begun: now,
        finished: now,
        paths: Vec::new(),
        root,
        sizes: Sizes::default(),
        problems: 0,
        problem_list: Vec::new(),
        tags: Vec::new(),
        cutter: repo.genesis().chunks.generation,
        program: "evil".to_owned(),
        amplification: 1000,
    };
    let id = point.id.to_string();
    writer.commit(point)?;
    Ok(id)
}

/// Whoever embeds the library may forget to ask whether it was told to stop.
#[test]
fn a_point_whose_uploads_were_given_up_cannot_be_committed() {
    let machine = Machine::with_repository();
    let stopped = forged(&machine, |forge| {
        let mut entries = Vec::new();
        for number in 0..40 {
            if number == 20 {
                forge.world.stop();
            }
            let chunk = forge.chunk(&odd::noise(number, 1_000_000));
            entries.push(of_parts(&format!("f{number}"), &[Part::Chunk(chunk)]));
        }
        forge.tree(entries)
    });
    assert!(matches!(stopped, Err(Error::GivenUp)), "{stopped:?}");
    assert_eq!(machine.points(), Vec::<String>::new());
}

fn entry(path: &str, kind: Kind, content: Content) -> Entry {
    let size = match &content {
        Content::None => 0,
        Content::Inline(bytes) => bytes.len() as u64,
        Content::Parts { parts, .. } => parts.iter().map(Part::covers).sum(),
    };
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let meta = Meta { size, uid, gid, ..Meta::new(kind) };
    Entry { path: TreePath::new(path.as_bytes()).unwrap(), meta, content }
}

fn file(path: &str, content: &[u8]) -> Entry {
    entry(path, Kind::File, Content::Inline(content.into()))
}

fn of_parts(path: &str, parts: &[Part]) -> Entry {
    entry(path, Kind::File, Content::Parts { depth: 0, parts: parts.to_vec() })
}

fn link(path: &str, target: &str) -> Entry {
    let mut entry = entry(path, Kind::Symlink, Content::None);
    entry.meta.target = target.as_bytes().into();
    entry
}

fn folder(path: &str) -> Entry {
    entry(path, Kind::Directory, Content::None)
}

/// The bytes of a leaf with one file, in which the name `NAME` is replaced by another of the same length.
fn leaf_named(name: &[u8; 4]) -> Vec<u8> {
    let mut bytes = encode_entry(&file("NAME", b"evil"));
    let at = bytes.windows(4).position(|part| part == b"NAME").unwrap();
    bytes[at..at + 4].copy_from_slice(name);
    bytes
}

const GOOD: &[u8] = b"what is right beside it";

/// A machine with a repository that holds hostile points, and a folder beside the targets that nobody may touch.
struct Den {
    machine: Machine,
    points: Vec<String>,
}

impl Den {
    fn new() -> Den {
        let machine = Machine::with_repository();
        fs::create_dir(machine.at("outside")).unwrap();
        fs::write(machine.at("outside/mine"), "mine").unwrap();
        Den { machine, points: Vec::new() }
    }

    /// What is there beside the targets.
    fn surroundings(&self) -> (Vec<OsString>, Listing) {
        let names = fs::read_dir(self.machine.at("")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut others: Vec<OsString> =
            names.filter(|name| !name.as_encoded_bytes().starts_with(b"out-")).collect();
        others.sort();
        (others, Listing::of(&self.machine.at("outside")))
    }

    /// Forges a point with one thing wrong: that is told with this code and these words, and the file `good` beside it
    /// comes back.
    fn check(&mut self, what: &str, told: (i32, &str), make: impl FnOnce(&mut Forge<'_, '_>) -> Reference) {
        self.check_restores(what, told, Some(GOOD), make);
    }

    /// Forges a point of which nothing can come back, and which is told to be damaged.
    fn check_lost(&mut self, what: &str, says: &str, make: impl FnOnce(&mut Forge<'_, '_>) -> Reference) {
        self.check_restores(what, (3, says), None, make);
    }

    /// Restores a forged point both ways, and asserts what must hold whatever it is.
    fn check_restores(
        &mut self,
        what: &str,
        (code, says): (i32, &str),
        good: Option<&[u8]>,
        make: impl FnOnce(&mut Forge<'_, '_>) -> Reference,
    ) {
        let machine = &self.machine;
        let point = forged(machine, make).unwrap();
        let before = self.surroundings();
        let out = format!("out-{}", self.points.len());
        for existing in ["refuse", "replace"] {
            let said = machine.run(&["restore", &point, "--into", &out, "--existing", existing]);
            assert_eq!(said.code, code, "{what}, {existing}: {said}");
            assert!(said.err.contains(says), "{what}: {says:?} is not in: {said}");
            assert!(self.surroundings() == before, "{what}: {said}");
            let found = fs::read(machine.at(&out).join("good")).ok();
            assert_eq!(found.as_deref(), good, "{what}: {said}");
        }
        for words in [&["ls", &point][..], &["restore", &point, "--dry-run", "--into", "never"]] {
            let said = machine.run(words);
            assert!((0..=4).contains(&said.code), "{what}: {said}");
        }
        self.points.push(point);
    }
}

/// Verbs that look at all points go on past the hostile ones, and what is wrong with one source is nothing to another.
impl Drop for Den {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for words in [&["find", "*"][..], &["verify", "--level", "L1"], &["verify", "--level", "L2"]] {
            let said = self.machine.run(words);
            assert!((0..=4).contains(&said.code), "{said}");
        }
        assert_eq!(self.machine.points(), self.points);
        let house = crate::House::bare(std::mem::take(&mut self.machine));
        let point = house.machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
        crate::assert_restores(&house.machine, &point, &house.truth());
    }
}

#[test]
fn what_lies_below_a_link_is_not_written_through_it() {
    let mut den = Den::new();
    let outside = den.machine.at("outside").to_str().unwrap().to_owned();
    for target in [&outside, "../outside", "/"] {
        den.check(target, (3, "a/mine"), |forge| {
            forge.tree(vec![folder(""), link("a", target), file("a/mine", b"evil"), file("good", GOOD)])
        });
    }
    den.check("folders", (3, "a/folder"), |forge| {
        let below = [folder("a/folder"), file("a/folder/x", b"evil"), link("a/link", "mine")];
        forge.tree([vec![folder(""), link("a", &outside), file("good", GOOD)], below.into()].concat())
    });
    den.check("below a file", (3, "a/mine"), |forge| {
        forge.tree(vec![folder(""), file("a", b"evil"), file("a/mine", b"evil"), file("good", GOOD)])
    });
}

#[test]
fn names_that_lead_out_or_are_none_are_damage() {
    let mut den = Den::new();
    for name in [b"../x", b"a/..", b"/etc", b"a//b", b"a/./", b"NU\0L"] {
        den.check_lost(&name.escape_ascii().to_string(), "cannot be read from here on", |forge| {
            forge.leaf(&leaf_named(name))
        });
    }
}

#[test]
fn lengths_that_lie_are_damage() {
    let noise = odd::noise(1, 50_000);
    type Lie = fn(Reference) -> Reference;
    let rows: [(&str, Lie); 4] = [
        ("longer", |r| Reference { length: r.length + 1, ..r }),
        ("shorter", |r| Reference { length: r.length - 1, ..r }),
        ("elsewhere", |r| Reference { offset: r.offset + 1, ..r }),
        ("another frame", |r| Reference { ordinal: 77, ..r }),
    ];
    let mut den = Den::new();
    for (what, lie) in rows {
        den.check(what, (3, "not restored: bad"), |forge| {
            let bad = of_parts("bad", &[Part::Chunk(lie(forge.chunk(&noise)))]);
            forge.tree(vec![folder(""), bad, file("good", GOOD)])
        });
    }
    den.check_lost("far", "cannot be read from here on", |forge| {
        let far = Reference { offset: u32::MAX, length: u32::MAX, ..forge.chunk(&noise) };
        forge.tree(vec![folder(""), of_parts("bad", &[Part::Chunk(far)]), file("good", GOOD)])
    });
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_damage() {
    let mut den = Den::new();
    for (what, size) in [("bigger", 60_000), ("smaller", 1), ("endless", u64::MAX)] {
        den.check_lost(what, "cannot be read from here on", |forge| {
            let chunk = forge.chunk(&odd::noise(1, 50_000));
            let mut lie = of_parts("bad", &[Part::Chunk(chunk)]);
            lie.meta.size = size;
            forge.leaf(&encode_entry(&lie))
        });
    }
}

#[test]
fn a_file_of_more_zeros_than_a_disk_can_count_is_named() {
    Den::new().check("zeros", (2, "not restored: bad"), |forge| {
        let bad = of_parts("bad", &[Part::Zeros(u64::MAX)]);
        forge.tree(vec![folder(""), bad, file("good", GOOD)])
    });
}

#[test]
fn a_root_that_is_no_tree_is_damage() {
    let mut den = Den::new();
    den.check_lost("content for a tree", "cannot be read from here on", |forge| forge.chunk(GOOD));
    den.check_lost("nothing", "cannot be read from here on", |forge| Reference {
        ordinal: 9,
        ..forge.chunk(GOOD)
    });
    den.check_lost("a file for a root", "contradicts itself", |forge| {
        forge.tree(vec![file("", b"evil"), file("good", GOOD)])
    });
}

#[test]
fn a_file_is_never_written_through_what_stood_there_before() {
    let machine = Machine::with_repository();
    fs::write(machine.at("mine"), "mine").unwrap();
    let point = forged(&machine, |forge| {
        let chunk = forge.chunk(&odd::noise(1, 50_000));
        forge.tree(vec![folder(""), of_parts("large", &[Part::Chunk(chunk)]), file("small", b"evil")])
    })
    .unwrap();
    fs::create_dir(machine.at("out")).unwrap();
    for name in ["large", "small"] {
        std::os::unix::fs::symlink("../mine", machine.at("out").join(name)).unwrap();
    }
    machine.done(&["restore", &point, "--into", "out", "--existing", "replace"]);
    for name in ["large", "small"] {
        fs::remove_file(machine.at("out").join(name)).unwrap();
        fs::hard_link(machine.at("mine"), machine.at("out").join(name)).unwrap();
    }
    machine.done(&["restore", &point, "--into", "out", "--existing", "replace"]);
    assert_eq!(fs::read(machine.at("mine")).unwrap(), b"mine");
    assert_eq!(fs::metadata(machine.at("mine")).unwrap().nlink(), 1);
}

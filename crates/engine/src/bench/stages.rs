//! Each stage alone: how many bytes a second one core brings through it.
//!
//! One thread takes the source piece by piece through one stage after the other, each timed by itself: a piece is what a
//! worker of a backup takes, a frame where frames are meant, a pack where packs are. What a restore does with a pack is
//! done to each as soon as it is full. Chunks are looked up in the index of a repository that holds all of them, but what
//! comes twice in the source is compressed and stored once, as in a backup. The place is measured at the end with packs
//! that were made here, with as many requests in flight as a backup and a restore have.

mod output;
mod packing;
mod place;
mod reading;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use format::compress::Effort;
use repo::{Repo, Reuse, Style, Writer};
use world::{Step, World};

use super::{Source, local};
use crate::error::Error;
use packing::Line;
use reading::{Reading, Unit};

pub use place::{Rates, probe};

/// The most bytes that are stored and fetched to measure the place: enough for many requests in a row.
const PLACE_BYTES_MAX: u64 = 512 << 20;

/// One stage, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// What it does.
    pub name: &'static str,
    /// Bytes that go through it, as it meets them, when all of the source is backed up or restored.
    pub bytes: u64,
    /// Those of them that it was measured with.
    pub measured_bytes: u64,
    /// How long that took on the wall.
    pub time: Duration,
    /// What the cores spent on it.
    pub cpu: Duration,
}

impl Stage {
    /// Bytes a second; 0 where nothing goes through it.
    pub fn rate(&self) -> f64 {
        if self.measured_bytes == 0 { 0.0 } else { self.measured_bytes as f64 / self.time.as_secs_f64() }
    }

    /// What one core would spend on all bytes that go through it, in seconds.
    pub fn core_seconds(&self) -> f64 {
        match self.measured_bytes {
            0 => 0.0,
            measured => self.cpu.as_secs_f64() * self.bytes as f64 / measured as f64,
        }
    }
}

/// All stages.
#[derive(Clone, Debug)]
pub struct Stages {
    /// Those of a backup, in order.
    pub backup: Vec<Stage>,
    /// Those of a restore, in order.
    pub restore: Vec<Stage>,
}

impl Stages {
    /// The stage that waits for the place when a backup is made.
    pub const STORE: &'static str = "store";
    /// The stage that waits for the place when a point is restored.
    pub const FETCH: &'static str = "fetch";
}

/// What one stage has cost so far.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    bytes: u64,
    time: Duration,
    cpu: Duration,
}

impl Spent {
    /// Does `act`, which brings so many bytes through the stage.
    fn on<T>(&mut self, world: &World, bytes: usize, act: impl FnOnce() -> T) -> T {
        let (begun, cpu) = (world.monotonic(), world.cpu());
        let made = act();
        self.time += world.monotonic().saturating_sub(begun);
        self.cpu += world.cpu().saturating_sub(cpu);
        self.bytes += bytes as u64;
        made
    }

    /// The stage of this name, if `through` bytes go through it in all.
    fn stage(&self, name: &'static str, through: u64) -> Stage {
        Stage { name, bytes: through, measured_bytes: self.bytes, time: self.time, cpu: self.cpu }
    }

    /// The stage of this name; it was measured with everything.
    fn whole(&self, name: &'static str) -> Stage {
        self.stage(name, self.bytes)
    }
}

/// Measures every stage on `source`. `repo` holds a point of it already, at best; what is stored there is removed again, and
/// so is the folder `into`, which must not exist yet.
pub fn stages(repo: &Repo, source: &Source, into: &Path) -> Result<Stages, Error> {
    let world = repo.world();
    world.report(Step::Phase("measuring each stage"));
    world.report(Step::Expect { items: source.files, bytes: source.bytes });
    let style = Style { effort: Effort::Standard, reuse: Reuse::Trusted };
    let writer = Writer::open(repo, BTreeSet::new(), style)?;
    let taken = through(repo, &writer, source, into);
    // The session ends in any case; of two failures the first one is told.
    let ended = writer.abandon().map_err(Error::from);
    let line = taken.and_then(|line| ended.map(|()| line))?;
    fs::remove_dir_all(into).map_err(local("remove", into))?;
    let (read, spent, packs) = line;
    world.report(Step::Phase("measuring the place"));
    let (store, fetch) = place::measure(repo, packs.material, packs.bytes.min(PLACE_BYTES_MAX))?;
    Ok(Stages {
        backup: vec![
            read.whole("read"),
            spent.cut.whole("cut"),
            spent.name.whole("name"),
            spent.find.whole("look up"),
            spent.compress.whole("compress"),
            spent.seal.whole("seal"),
            spent.again.whole("open again and compare"),
            spent.hash.whole("hash of the pack"),
            store.stage(Stages::STORE, packs.bytes),
        ],
        restore: vec![
            fetch.stage(Stages::FETCH, packs.bytes),
            spent.open.whole("open"),
            spent.decompress.whole("decompress"),
            spent.check.whole("check names"),
            spent.write.whole("write"),
        ],
    })
}

/// What [`through`] gives: the cost of reading, that of all other stages, and packs for the place.
type Taken = (Spent, packing::Costs, packing::Packs);

/// Takes the source through all stages that need no place.
fn through<'r>(repo: &'r Repo, writer: &Writer<'r>, source: &Source, into: &Path) -> Result<Taken, Error> {
    let world = repo.world();
    let mut line = Line::new(repo, writer, into)?;
    let mut reading = Reading::start(source, world)?;
    let (mut read, mut unit) = (Spent::default(), Unit::default());
    loop {
        let more = read.on(world, 0, || reading.fill(&mut unit))?;
        if !more {
            break;
        }
        read.bytes += unit.fresh as u64;
        reading.carry(line.take(&mut unit)?);
        world.report(Step::Done { items: unit.files.len() as u64, bytes: unit.fresh as u64 });
        if world.is_stopped() {
            return Err(Error::Stopped);
        }
    }
    let (costs, packs) = line.finish()?;
    Ok((read, costs, packs))
}

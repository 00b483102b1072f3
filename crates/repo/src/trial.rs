//! For tests: a region in memory that fails on order, and hosts that look into it.

use std::path::Path;
use std::sync::Arc;

use format::genesis::ChunkSizes;
use format::key::{KeyFile, Lock, Unlock};
use storage::{Faulty, Memory, Odds, Region, Store};
use tempfile::TempDir;
use world::{SimulatedClock, World};

use crate::io::Io;
use crate::repo::{Opening, Repo, Secret};

/// A region in memory, and hosts that look into it.
pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) memory: Arc<Memory>,
    key: KeyFile,
    states: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let world = World::simulated(1, Arc::new(SimulatedClock::at(1_000_000_000)));
        let (memory, key) = (Arc::new(Memory::new("one", &world)), KeyFile::fresh(&mut world.chance()));
        let place = Place { world, memory, key, states: tempfile::tempdir().unwrap() };
        let sizes = ChunkSizes { generation: 0, min: 1 << 14, normal: 1 << 16, max: 1 << 18 };
        let state = place.states.path().join("founder");
        let lock = Lock::KeyFile(place.key.clone());
        Repo::create(place.opening(&state, place.memory.clone()), &lock, "key", sizes).unwrap();
        place
    }

    fn opening<'s>(&self, state: &'s Path, store: Arc<dyn Store>) -> Opening<'s> {
        Opening {
            world: self.world.clone(),
            io: Io::on_one_thread(Region::new("home", store)),
            state,
            secret: Secret::Unlock(Unlock::KeyFile(self.key.clone())),
            trust: None,
            host: "host".to_owned(),
        }
    }

    /// A host with a state of its own.
    pub(crate) fn host(&self, name: &str) -> Repo {
        self.host_by(name, self.memory.clone())
    }

    /// A host whose way to the region fails when it is told to.
    pub(crate) fn unlucky_host(&self, name: &str) -> (Repo, Arc<Faulty>) {
        let faulty = Arc::new(Faulty::new(self.memory.clone(), Odds::new(), &self.world));
        (self.host_by(name, faulty.clone()), faulty)
    }

    fn host_by(&self, name: &str, store: Arc<dyn Store>) -> Repo {
        Repo::open(self.opening(&self.states.path().join(name), store)).unwrap()
    }
}

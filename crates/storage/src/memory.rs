//! A store in memory: for tests and for simulation, where it is the true place under a faulty one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use world::World;

use crate::store::{act, checked_len};
use crate::{Error, KeyPrefix, Listed, ObjectKey, Place, Store, Verb};

/// Objects in a map; time stamps come from the world.
#[derive(Debug)]
pub struct Memory {
    place: Place,
    world: World,
    objects: Mutex<BTreeMap<ObjectKey, (Bytes, i64)>>,
}

impl Memory {
    /// An empty store that messages call `name`.
    pub fn new(name: &str, world: &World) -> Memory {
        let place = Place::new(&format!("memory:{name}"));
        Memory { place, world: world.clone(), objects: Mutex::default() }
    }

    /// Replaces the bytes of an object behind everybody's back, as a failing disk would; `None` removes it.
    pub fn tamper(&self, key: &ObjectKey, bytes: Option<Bytes>) {
        let now_ns = self.world.now_ns();
        match bytes {
            Some(bytes) => self.objects().insert(key.clone(), (bytes, now_ns)),
            None => self.objects().remove(key),
        };
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, (Bytes, i64)>> {
        self.objects.lock().expect("no holder of this lock panics")
    }

    fn find(&self, verb: Verb, key: &ObjectKey) -> Result<Bytes, Error> {
        match self.objects().get(key) {
            Some((bytes, _)) => Ok(bytes.clone()),
            None => Err(Error::NotFound { act: act(&self.place, verb, key) }),
        }
    }
}

#[async_trait]
impl Store for Memory {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.tamper(key, Some(bytes));
        Ok(())
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let now_ns = self.world.now_ns();
        let mut objects = self.objects();
        let (there, _) = objects.entry(key.clone()).or_insert_with(|| (bytes.clone(), now_ns));
        if *there == bytes { Ok(()) } else { Err(Error::Exists { act: act(&self.place, Verb::Create, key) }) }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        self.find(Verb::Get, key)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let whole = self.find(Verb::GetRange, key)?;
        checked_len(&range, whole.len() as u64, || act(&self.place, Verb::GetRange, key))?;
        Ok(whole.slice(range.start as usize..range.end as usize))
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        let whole = self.find(Verb::GetTail, key)?;
        let size = whole.len() as u64;
        Ok((whole.slice(size.saturating_sub(bytes) as usize..), size))
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        Ok(self.find(Verb::Size, key)?.len() as u64)
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        let objects = self.objects();
        let beneath = objects.iter().filter(|(key, _)| prefix.covers(key));
        let listed = beneath.map(|(key, (bytes, modified_ns))| Listed {
            key: key.clone(),
            size: bytes.len() as u64,
            modified_ns: *modified_ns,
        });
        Ok(listed.collect())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.objects().remove(key);
        Ok(())
    }
}

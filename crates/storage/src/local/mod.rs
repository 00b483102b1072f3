//! A directory as a store: each object is a file, named by its key.
//!
//! A new object is written beside the tree under a hidden name, synced, moved to its name in one step, and
//! then the directories that lead to it are synced: after a crash an object is there whole or not at all, and
//! what was acknowledged is there. A repository begins with `create`, which makes the root. If the root
//! vanishes later, or is empty again (an unmounted disk), writing says so instead of starting a second
//! repository on the disk beneath.

mod disk;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use world::World;

use crate::{Error, KeyPrefix, Listed, ObjectKey, Place, Store};
use disk::{Disk, Existing};

/// Objects as files beneath one directory; files have mode 0600, directories 0700.
#[derive(Debug)]
pub struct Local {
    disk: Arc<Disk>,
}

impl Local {
    /// The store at the absolute path `root`, which may not exist yet. Nothing is touched by this.
    pub fn at(root: &Path, world: &World) -> Local {
        Local { disk: Arc::new(Disk::new(root, world)) }
    }

    /// Runs `work` where it may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let disk = self.disk.clone();
        match tokio::runtime::Handle::try_current() {
            Err(_) => work(&disk),
            Ok(runtime) => match runtime.spawn_blocking(move || work(&disk)).await {
                Ok(result) => result,
                Err(ended) => std::panic::resume_unwind(ended.into_panic()),
            },
        }
    }
}

#[async_trait]
impl Store for Local {
    fn place(&self) -> &Place {
        self.disk.place()
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let key = key.clone();
        self.run(move |disk| disk.store(&key, &bytes, Existing::Replace)).await
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let key = key.clone();
        self.run(move |disk| disk.store(&key, &bytes, Existing::Compare)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        let key = key.clone();
        self.run(move |disk| disk.read(&key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let key = key.clone();
        self.run(move |disk| disk.read_range(&key, range)).await
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        let key = key.clone();
        self.run(move |disk| disk.read_tail(&key, bytes)).await
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        let key = key.clone();
        self.run(move |disk| disk.size(&key)).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        let prefix = prefix.clone();
        self.run(move |disk| disk.list(&prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let key = key.clone();
        self.run(move |disk| disk.delete(&key)).await
    }
}

#[cfg(test)]
mod tests;

//! Small objects of one kind that are looked at again and again, each read once: what stands under a name never changes.
//!
//! What does not read is asked for a second time at once, as it may have been flipped or cut on its way, and is never kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use storage::{KeyPrefix, ObjectKey};

use crate::error::Error;
use crate::io::Io;

/// What was read.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<BTreeMap<ObjectKey, Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Mutex::default())
    }
}

/// How an object is read, and of what size at most.
pub(super) struct Reading<R> {
    pub(super) most: u64,
    pub(super) read: R,
}

impl<T> Kept<T> {
    /// All objects beneath `prefix` as they are listed now, in the order of their names.
    ///
    /// # Errors
    /// Of the listing, and the first of an object that does not read, unless it is excused.
    pub(super) fn all(
        &self,
        io: &Io,
        prefix: &KeyPrefix,
        reading: &Reading<impl Fn(&ObjectKey, Result<Bytes, Error>) -> Result<T, Error>>,
        is_excused: impl Fn(&ObjectKey, &Error) -> bool,
    ) -> Result<Vec<Arc<T>>, Error> {
        let listed: BTreeMap<ObjectKey, u64> =
            io.list(prefix)?.into_iter().map(|object| (object.key, object.size)).collect();
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        kept.retain(|key, _| listed.contains_key(key));
        let mut failed = BTreeMap::new();
        for _ in 0..2 {
            failed.clear();
            let unread = listed.iter().filter(|(key, _)| !kept.contains_key(key));
            let unread = unread.map(|(key, size)| (key.clone(), *size)).collect();
            io.get_each(unread, reading.most, |key, bytes| match (reading.read)(&key, bytes) {
                Ok(object) => drop(kept.insert(key, Arc::new(object))),
                Err(error) if is_excused(&key, &error) => {}
                Err(error) => drop(failed.insert(key, error)),
            });
            if !failed.values().any(Error::is_about_object) {
                break;
            }
        }
        match failed.into_values().next() {
            None => Ok(kept.values().cloned().collect()),
            Some(error) => Err(error),
        }
    }
}

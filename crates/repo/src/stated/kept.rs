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

/// Which names are those of such objects, how one is read, and of what size at most. Nobody of ours writes other names there:
/// they say nothing.
pub(super) struct Reading<R> {
    pub(super) is_ours: fn(&str) -> bool,
    pub(super) most: u64,
    pub(super) read: R,
}

/// Objects in the order of their names, and what is wrong with each that does not read.
pub(super) type Read<T> = (Vec<Arc<T>>, Vec<Error>);

impl<T> Kept<T> {
    /// All objects beneath `prefix` as they are listed now, and what is wrong with those that do not read and are not
    /// excused.
    ///
    /// # Errors
    /// Of the listing.
    pub(super) fn all(
        &self,
        io: &Io,
        prefix: &KeyPrefix,
        reading: &Reading<impl Fn(&ObjectKey, Result<Bytes, Error>) -> Result<T, Error>>,
        is_excused: impl Fn(&ObjectKey, &Error) -> bool,
    ) -> Result<Read<T>, Error> {
        let listed = io.list(prefix)?.into_iter().filter(|object| (reading.is_ours)(object.key.as_str()));
        let listed: BTreeMap<ObjectKey, u64> = listed.map(|object| (object.key, object.size)).collect();
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
        Ok((kept.values().cloned().collect(), failed.into_values().collect()))
    }
}

//! The trait that every place of objects has, and nothing more than the repository needs.
//!
//! Objects are write-once and their names unique. So an overwrite only ever repeats the same bytes, every
//! verb may be tried again after a failure, and no verb rests on conditional writes. The one exception is
//! `create`, which looks before and after.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Act, Error, KeyPrefix, ObjectKey, Place, Verb};

/// One object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored, by the store's clock, in UTC nanoseconds since 1970.
    pub modified_ns: i64,
}

/// A place that keeps objects.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Where this is, for messages.
    fn place(&self) -> &Place;

    /// Stores an object, whole and durable once this is `Ok`. Repeating it with the same bytes is harmless.
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error>;

    /// Stores an object unless other bytes lie there ([`Error::Exists`]); the same bytes count as stored. A
    /// repository begins with this: it makes a missing local directory, while `put` refuses a missing or
    /// empty one. Of two at the same moment one wins where the store has conditional writes; elsewhere at
    /// least one of them is told.
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error>;

    /// The whole object, exactly as long as the store says it is.
    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error>;

    /// Exactly these bytes of the object; [`Error::OutOfRange`] if it does not have them all. An empty range
    /// asks nothing of the store and is always empty.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error>;

    /// The last `bytes` bytes of the object, or all of a smaller one, and the object's size.
    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error>;

    /// The size of the object in bytes.
    async fn size(&self, key: &ObjectKey) -> Result<u64, Error>;

    /// All objects beneath `prefix`, sorted by key. Complete, or an error: never empty because a place is
    /// missing. Names that no [`ObjectKey`] can have are not ours and are left out.
    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error>;

    /// Removes an object; gone once this is `Ok`, also if it was gone before.
    async fn delete(&self, key: &ObjectKey) -> Result<(), Error>;
}

/// A place of the repository under the name that people gave it.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name, as in `eu-1`.
    pub name: String,
    /// The way to it.
    pub store: Arc<dyn Store>,
}

impl Region {
    /// Names a store.
    pub fn new(name: &str, store: Arc<dyn Store>) -> Region {
        Region { name: name.to_owned(), store }
    }

    /// Where the region is, without secrets.
    pub fn url(&self) -> &Place {
        self.store.place()
    }
}

/// Doing `verb` to `object` in `place`; errors begin with it.
pub(crate) fn act(place: &Place, verb: Verb, object: impl ToString) -> Box<Act> {
    Box::new(Act { verb, object: object.to_string(), place: place.clone() })
}

/// How many bytes `range` has; [`Error::OutOfRange`] if it ends before it starts or after `size`.
pub(crate) fn checked_len(range: &Range<u64>, size: u64, act: impl Fn() -> Box<Act>) -> Result<u64, Error> {
    match range.end.checked_sub(range.start) {
        Some(len) if range.end <= size => Ok(len),
        _ => Err(Error::OutOfRange { act: act(), asked: range.clone(), size }),
    }
}

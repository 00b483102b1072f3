//! Stores around a store. Each adds one thing (retry, limit, measure, fail, record) and passes the same
//! suite.
//!
//! A wrapper sees every verb as one value, a [`Call`], and gives one [`Answer`]; so it is a single function,
//! and what it does for one verb it does for all.

mod faulty;
mod limited;
mod measured;
mod recorded;
mod retrying;

pub use faulty::{Fault, Faulty, Odds};
pub use limited::{Limited, Limits};
pub use measured::{Measured, Measures, Tally};
pub use recorded::{Recorded, Taken};
pub use retrying::{Patience, Retrying};

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Act, Error, KeyPrefix, Listed, ObjectKey, Place, Store, Verb};

/// One verb with what it is done to.
#[derive(Clone, Debug)]
pub(crate) enum Call<'a> {
    Put(&'a ObjectKey, Bytes),
    Create(&'a ObjectKey, Bytes),
    Get(&'a ObjectKey),
    GetRange(&'a ObjectKey, Range<u64>),
    GetTail(&'a ObjectKey, u64),
    Size(&'a ObjectKey),
    List(&'a KeyPrefix),
    Delete(&'a ObjectKey),
}

/// What a verb gave.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    Bytes(Bytes),
    Tail(Bytes, u64),
    Size(u64),
    Listing(Vec<Listed>),
}

impl Call<'_> {
    pub(crate) fn verb(&self) -> Verb {
        match self {
            Call::Put(..) => Verb::Put,
            Call::Create(..) => Verb::Create,
            Call::Get(_) => Verb::Get,
            Call::GetRange(..) => Verb::GetRange,
            Call::GetTail(..) => Verb::GetTail,
            Call::Size(_) => Verb::Size,
            Call::List(_) => Verb::List,
            Call::Delete(_) => Verb::Delete,
        }
    }

    /// The key, or for a listing none.
    pub(crate) fn key(&self) -> Option<&ObjectKey> {
        match self {
            Call::List(_) => None,
            Call::Put(key, _) | Call::Create(key, _) | Call::GetRange(key, _) | Call::GetTail(key, _) => {
                Some(key)
            }
            Call::Get(key) | Call::Size(key) | Call::Delete(key) => Some(key),
        }
    }

    /// The key or prefix as messages show it.
    pub(crate) fn object(&self) -> String {
        match self {
            Call::List(prefix) => prefix.to_string(),
            other => other.key().map(ObjectKey::to_string).unwrap_or_default(),
        }
    }

    /// Bytes that go to the place.
    pub(crate) fn bytes_up(&self) -> u64 {
        match self {
            Call::Put(_, bytes) | Call::Create(_, bytes) => bytes.len() as u64,
            _ => 0,
        }
    }

    pub(crate) fn act(&self, place: &Place) -> Box<Act> {
        crate::store::act(place, self.verb(), self.object())
    }

    /// Does it.
    pub(crate) async fn perform(self, store: &dyn Store) -> Result<Answer, Error> {
        Ok(match self {
            Call::Put(key, bytes) => store.put(key, bytes).await.map(|()| Answer::Done)?,
            Call::Create(key, bytes) => store.create(key, bytes).await.map(|()| Answer::Done)?,
            Call::Get(key) => Answer::Bytes(store.get(key).await?),
            Call::GetRange(key, range) => Answer::Bytes(store.get_range(key, range).await?),
            Call::GetTail(key, bytes) => {
                let (tail, size) = store.get_tail(key, bytes).await?;
                Answer::Tail(tail, size)
            }
            Call::Size(key) => Answer::Size(store.size(key).await?),
            Call::List(prefix) => Answer::Listing(store.list(prefix).await?),
            Call::Delete(key) => store.delete(key).await.map(|()| Answer::Done)?,
        })
    }
}

impl Answer {
    /// Bytes that came from the place.
    pub(crate) fn bytes_down(&self) -> u64 {
        match self {
            Answer::Bytes(bytes) | Answer::Tail(bytes, _) => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// A wrapper: what it holds, and what it does about a call.
#[async_trait]
pub(crate) trait Layer: Send + Sync + std::fmt::Debug {
    fn inner(&self) -> &Arc<dyn Store>;

    /// Answers `call`, with the kind of answer that its verb has.
    async fn call(&self, call: Call<'_>) -> Result<Answer, Error>;
}

const MATCHED: &str = "an answer has the kind of its call";

#[async_trait]
impl<L: Layer> Store for L {
    fn place(&self) -> &Place {
        self.inner().place()
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.call(Call::Put(key, bytes)).await.map(drop)
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.call(Call::Create(key, bytes)).await.map(drop)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        match self.call(Call::Get(key)).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => unreachable!("{MATCHED}"),
        }
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        match self.call(Call::GetRange(key, range)).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => unreachable!("{MATCHED}"),
        }
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        match self.call(Call::GetTail(key, bytes)).await? {
            Answer::Tail(bytes, size) => Ok((bytes, size)),
            _ => unreachable!("{MATCHED}"),
        }
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        match self.call(Call::Size(key)).await? {
            Answer::Size(size) => Ok(size),
            _ => unreachable!("{MATCHED}"),
        }
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        match self.call(Call::List(prefix)).await? {
            Answer::Listing(listed) => Ok(listed),
            _ => unreachable!("{MATCHED}"),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.call(Call::Delete(key)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;

//! Buckets and containers as stores: S3 and what speaks its protocol, Google Cloud Storage, Azure.
//!
//! The `object_store` library signs and sends; its own retries are off, ours are around. Nothing that comes
//! back is taken on trust: a body is as long as it was promised, a range is the range that was asked for, a
//! listing ends where the server says so. A creation looks before it writes and looks again after, whatever
//! the server promised about conditions: some ignore them, some report our own repeated request as a clash,
//! some refuse them.

#[cfg(feature = "alone")]
mod alone;
mod build;
mod courier;
mod credentials;
mod meaning;
mod proxies;
mod signed;
mod way;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, PutMode, PutOptions, PutPayload};
use world::World;

use crate::store::{act, checked_len};
use crate::{Act, Buffers, Error, KeyPrefix, Listed, ObjectKey, Place, Store, Verb};
use courier::{SILENCE_MAX, listening, within};
use signed::Signed;
use way::Way;

pub(crate) use build::open;

/// A store behind HTTP.
#[derive(Debug)]
pub(crate) struct Cloud {
    signed: Signed,
    way: Arc<Way>,
    buffers: Buffers,
    /// Where our keys begin: empty, or ends with a slash.
    prefix: String,
    place: Place,
    world: World,
    /// Azure has no ranges that count from the end.
    tails: bool,
}

/// How much of a promised body is reserved before it comes.
const RESERVED_BYTES_MAX: u64 = 64 << 20;

/// Longest time for one page of a listing.
const PAGE_MAX: Duration = Duration::from_secs(120);

/// Why a listing ended early.
enum Stopped {
    Answer(object_store::Error),
    Silence,
}

impl Cloud {
    fn act(&self, verb: Verb, object: impl ToString) -> Box<Act> {
        act(&self.place, verb, object)
    }

    fn path(&self, key: &ObjectKey) -> Path {
        Path::parse(format!("{}{key}", self.prefix)).expect("a checked key after a checked prefix is a path")
    }

    /// Asks for an object or a part of it; the answer's head has come, its body not yet.
    async fn ask(&self, verb: Verb, key: &ObjectKey, options: GetOptions) -> Result<GetResult, Error> {
        let path = self.path(key);
        let (answer, heard) = self
            .signed
            .ask(|store| {
                let (path, options) = (path.clone(), options.clone());
                async move { listening(store.get_opts(&path, options)).await }
            })
            .await;
        answer.map_err(|e| meaning::of(self.act(verb, key), e, heard))
    }

    /// The body of an answer, exactly as long as its head promised.
    async fn body(&self, verb: Verb, key: &ObjectKey, answer: GetResult) -> Result<Bytes, Error> {
        let promised = answer.range.end - answer.range.start;
        let mut body = self.buffers.take(promised.min(RESERVED_BYTES_MAX) as usize);
        let mut stream = answer.into_stream();
        let silence_max = SILENCE_MAX + self.way.silence_max();
        let cut = |got: usize, detail: String| {
            Err(Error::CutShort { act: self.act(verb, key), promised, got: got as u64, detail })
        };
        loop {
            match within(&self.world, silence_max, stream.next()).await {
                None => return cut(body.len(), format!("silence for {} s", silence_max.as_secs())),
                Some(Some(Err(e))) => return cut(body.len(), courier::chain(&e)),
                Some(Some(Ok(more))) => {
                    body.extend_from_slice(&more);
                    // What is not read yet fills the line's buffers, and the server waits.
                    if let Some(down) = &self.way.meters.down {
                        down.pay(&self.world, more.len() as u64).await;
                    }
                }
                Some(None) if body.len() as u64 == promised => return Ok(self.buffers.lend(body)),
                Some(None) => return cut(body.len(), "the body ended".to_owned()),
            }
            if body.len() as u64 > promised {
                return cut(body.len(), "more came than was promised".to_owned());
            }
        }
    }

    /// Why a range was not given: the object is too small for it, or the server failed with `e`.
    async fn beyond(&self, key: &ObjectKey, range: Range<u64>, e: Error) -> Error {
        let act = self.act(Verb::GetRange, key);
        match (self.size(key).await, e) {
            (Err(e), _) => e,
            (Ok(size), _) if range.end > size => Error::OutOfRange { act, asked: range, size },
            (Ok(_), Error::OutOfRange { .. }) => {
                let detail = "it refuses a range that the object has".to_owned();
                Error::Unavailable { act, detail }
            }
            (Ok(_), e) => e,
        }
    }

    async fn write(&self, verb: Verb, key: &ObjectKey, bytes: &Bytes, mode: PutMode) -> Result<(), Error> {
        let payload = PutPayload::from_bytes(bytes.clone());
        let options = PutOptions { mode, ..PutOptions::default() };
        let path = self.path(key);
        let (answer, heard) = self
            .signed
            .ask(|store| {
                let (path, payload, options) = (path.clone(), payload.clone(), options.clone());
                async move { listening(store.put_opts(&path, payload, options)).await }
            })
            .await;
        answer.map(drop).map_err(|e| meaning::of(self.act(verb, key), e, heard))
    }

    /// Whether exactly these bytes lie there; none if nothing does.
    async fn holds(&self, key: &ObjectKey, bytes: &Bytes) -> Result<Option<bool>, Error> {
        let answer = match self.ask(Verb::Create, key, GetOptions::default()).await {
            Ok(answer) => answer,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e),
        };
        if answer.meta.size != bytes.len() as u64 {
            return Ok(Some(false));
        }
        Ok(Some(self.body(Verb::Create, key, answer).await? == bytes))
    }

    async fn list_beneath(&self, store: &dyn ObjectStore, beneath: &Path) -> Result<Vec<Listed>, Stopped> {
        let mut listed = Vec::new();
        let mut stream = store.list((!beneath.as_ref().is_empty()).then_some(beneath));
        loop {
            let next = within(&self.world, PAGE_MAX, stream.next()).await.ok_or(Stopped::Silence)?;
            let Some(meta) = next.transpose().map_err(Stopped::Answer)? else { return Ok(listed) };
            let ours = meta.location.as_ref().strip_prefix(&self.prefix).map(ObjectKey::new);
            if let Some(Ok(key)) = ours {
                let modified_ns = meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
                listed.push(Listed { key, size: meta.size, modified_ns });
            }
        }
    }

    /// Writes only where nothing lies, as far as the server can. Being told that something does is no error
    /// here.
    async fn write_new(&self, key: &ObjectKey, bytes: &Bytes) -> Result<(), Error> {
        match self.write(Verb::Create, key, bytes, PutMode::Create).await {
            Err(Error::Exists { .. }) => Ok(()),
            Err(Error::Refused { .. }) => self.write(Verb::Create, key, bytes, PutMode::Overwrite).await,
            written => written,
        }
    }
}

#[async_trait]
impl Store for Cloud {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.write(Verb::Put, key, &bytes, PutMode::Overwrite).await
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        if self.holds(key, &bytes).await?.is_none() {
            self.write_new(key, &bytes).await?;
        }
        match self.holds(key, &bytes).await? {
            Some(true) => Ok(()),
            Some(false) => Err(Error::Exists { act: self.act(Verb::Create, key) }),
            None => {
                let detail = "it reported a clash, or that it was done, but nothing is there".to_owned();
                Err(Error::Unavailable { act: self.act(Verb::Create, key), detail })
            }
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        let answer = self.ask(Verb::Get, key, GetOptions::default()).await?;
        self.body(Verb::Get, key, answer).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.start >= range.end {
            checked_len(&range, u64::MAX, || self.act(Verb::GetRange, key))?;
            return Ok(Bytes::new());
        }
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
        let answer = match self.ask(Verb::GetRange, key, options).await {
            Err(e) if meaning::doubts_the_range(&e) => return Err(self.beyond(key, range, e).await),
            answer => answer?,
        };
        checked_len(&range, answer.meta.size, || self.act(Verb::GetRange, key))?;
        self.body(Verb::GetRange, key, answer).await
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        if self.tails && bytes > 0 {
            let options = GetOptions::new().with_range(Some(GetRange::Suffix(bytes)));
            match self.ask(Verb::GetTail, key, options).await {
                // An empty object has no end that a range could begin at, and servers disagree on how to say
                // it.
                Err(e) if meaning::doubts_the_range(&e) => {}
                answer => {
                    let answer = answer?;
                    let size = answer.meta.size;
                    return Ok((self.body(Verb::GetTail, key, answer).await?, size));
                }
            }
        }
        let size = self.size(key).await?;
        let tail = self.get_range(key, size.saturating_sub(bytes)..size).await?;
        Ok((tail, size))
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        match self.ask(Verb::Size, key, GetOptions::new().with_head(true)).await {
            // An answer to HEAD cannot say why it refuses; that to a read of one byte can.
            Err(Error::Denied { .. } | Error::Refused { .. }) => {
                let byte = GetOptions::new().with_range(Some(GetRange::Bounded(0..1)));
                Ok(self.ask(Verb::Size, key, byte).await?.meta.size)
            }
            answer => Ok(answer?.meta.size),
        }
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        let beneath = format!("{}{prefix}", self.prefix, prefix = prefix.as_str());
        let beneath = Path::parse(beneath.trim_end_matches('/')).expect("a checked prefix is a path");
        let beneath = &beneath;
        let (listed, heard) = self
            .signed
            .ask(|store| async move { listening(self.list_beneath(&*store, beneath)).await })
            .await;
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(Stopped::Answer(e)) => return Err(meaning::of(self.act(Verb::List, prefix), e, heard)),
            Err(Stopped::Silence) => {
                let detail = format!("silence for {} s", PAGE_MAX.as_secs());
                return Err(Error::Unavailable { act: self.act(Verb::List, prefix), detail });
            }
        };
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let path = self.path(key);
        let (answer, heard) = self
            .signed
            .ask(|store| {
                let one = futures::stream::iter([Ok(path.clone())]).boxed();
                async move {
                    let work = store.delete_stream(one).collect::<Vec<_>>();
                    let (answers, heard) = listening(work).await;
                    (answers.into_iter().find_map(Result::err).map_or(Ok(()), Err), heard)
                }
            })
            .await;
        match answer {
            Ok(()) => Ok(()),
            Err(e) => match meaning::of(self.act(Verb::Delete, key), e, heard) {
                Error::NotFound { .. } => Ok(()),
                e => Err(e),
            },
        }
    }
}

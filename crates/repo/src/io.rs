//! The one border between threads and asynchronous storage.
//!
//! Everything else in this crate and above is plain code on plain threads. Here a call waits for the store on a small
//! runtime of its own, many reads run at once within a limit, and uploads run behind the caller within a budget of
//! bytes: whoever is too fast waits. An upload counts only after the store was asked again and named the right size.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use storage::{KeyPrefix, Listed, ObjectKey, Region, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use world::World;

use crate::error::Error;

/// Requests in flight at once: one per 85 to 90 MB/s is what object stores advise, and this hides 50 ms of latency.
const REQUESTS_MAX: usize = 32;

/// Bytes of uploads in flight: four packs, so that two workers never wait for each other's.
const UPLOAD_BYTES_MAX: usize = 128 << 20;

/// A request to stop is seen within this time.
const STOP_SEEN: Duration = Duration::from_millis(100);

/// Granularity of that budget; a semaphore counts in 32 bits.
const GRAIN: usize = 4 << 10;

/// A region as plain threads use it. Cheap to clone.
#[derive(Clone)]
pub struct Io {
    runtime: Arc<Runtime>,
    region: Region,
}

impl Io {
    /// The way to `region`.
    pub fn new(region: Region) -> Io {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("seawall-io")
            .enable_all()
            .build()
            .expect("a machine that runs this program can start two threads");
        Io { runtime: Arc::new(runtime), region }
    }

    /// The way to `region` for a simulation: every request runs on the thread that asks for it, and while it waits. One
    /// after the other, in the same order each time.
    pub fn on_one_thread(region: Region) -> Io {
        let runtime = Builder::new_current_thread().build();
        Io {
            runtime: Arc::new(
                runtime.expect("a runtime without threads and drivers takes nothing but memory"),
            ),
            region,
        }
    }

    /// The region's name.
    pub fn region_name(&self) -> &str {
        &self.region.name
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        self.region.url().to_string()
    }

    /// See [`Store::get`].
    pub fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        Ok(self.runtime.block_on(self.store().get(key))?)
    }

    /// See [`Store::get_range`].
    pub fn get_range(&self, key: &ObjectKey, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
        Ok(self.runtime.block_on(self.store().get_range(key, range))?)
    }

    /// See [`Store::get_tail`].
    pub fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        Ok(self.runtime.block_on(self.store().get_tail(key, bytes))?)
    }

    /// See [`Store::size`].
    pub fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        Ok(self.runtime.block_on(self.store().size(key))?)
    }

    /// See [`Store::list`].
    pub fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        Ok(self.runtime.block_on(self.store().list(prefix))?)
    }

    /// See [`Store::create`].
    pub fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.store().create(key, bytes))?)
    }

    /// See [`Store::delete`].
    pub fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.store().delete(key))?)
    }

    /// See [`Store::put`].
    pub fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.store().put(key, bytes))?)
    }

    /// Deletes many objects at once; `each` is told of every one, by its index, in any order.
    pub fn delete_each(&self, objects: Vec<ObjectKey>, mut each: impl FnMut(usize, Result<(), Error>)) {
        let one = |(at, key): (usize, ObjectKey)| async move { (at, self.store().delete(&key).await) };
        let mut going = stream::iter(objects.into_iter().enumerate()).map(one).buffer_unordered(REQUESTS_MAX);
        while let Some((at, outcome)) = self.runtime.block_on(going.next()) {
            each(at, outcome.map_err(Error::from));
        }
    }

    /// Waits for so long, or until the world is to stop.
    pub fn sleep(&self, world: &World, time: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = world.sleep(time) => {}
                () = stopped(world) => {}
            }
        });
    }

    /// Stores an object and reads it back; different bytes are an error.
    pub fn put_seen(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.store().put(key, bytes.clone()).await?;
            match self.store().get(key).await {
                Ok(seen) if seen == bytes => Ok(()),
                Ok(_) => Err(self.not_as_stored(key, "other bytes came back")),
                Err(error) if error.is_not_found() => Err(self.not_as_stored(key, "it is not there")),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// An object of at most `most` bytes; a longer one is damage, and is not fetched.
    pub fn get_small(&self, key: &ObjectKey, most: u64) -> Result<Bytes, Error> {
        let (bytes, size) = self.get_tail(key, most)?;
        if size <= most { Ok(bytes) } else { Err(self.too_long(key, size, most)) }
    }

    /// Many whole objects at once, each with the size that it should have; `each` is called on the calling thread as they arrive, in any order. What is longer
    /// than `most` bytes is damage, and is not fetched.
    pub fn get_each(
        &self,
        objects: Vec<(ObjectKey, u64)>,
        most: u64,
        mut each: impl FnMut(ObjectKey, Result<Bytes, Error>),
    ) {
        let one = |(key, size): (ObjectKey, u64)| async move {
            let bytes = match size {
                size if size > most => Err(self.too_long(&key, size, most)),
                // No more than was said, whatever lies there by now.
                size => self.store().get_range(&key, 0..size).await.map_err(Error::from),
            };
            (key, bytes)
        };
        let mut arriving = stream::iter(objects).map(one).buffer_unordered(REQUESTS_MAX);
        while let Some((key, bytes)) = self.runtime.block_on(arriving.next()) {
            each(key, bytes);
        }
    }

    /// All objects beneath `prefix`, sorted by name; for few and small ones. See [`Io::get_each`].
    pub fn get_listed(
        &self,
        prefix: &KeyPrefix,
        most: u64,
    ) -> Result<BTreeMap<ObjectKey, Result<Bytes, Error>>, Error> {
        let mut all = BTreeMap::new();
        let listed = self.list(prefix)?.into_iter().map(|object| (object.key, object.size));
        self.get_each(listed.collect(), most, |key, bytes| drop(all.insert(key, bytes)));
        Ok(all)
    }

    /// Many ranges at once; `each` is called on the calling thread as they arrive, in any order. The bytes that are in
    /// flight or held stay under `bytes_max`, but for one range that is larger.
    pub fn get_ranges<T: Send + 'static>(
        &self,
        ranges: impl IntoIterator<Item = Wanted<T>>,
        bytes_max: u64,
        mut each: impl FnMut(T, Result<Held, Error>),
    ) {
        let mut ranges = ranges.into_iter();
        let each = |tag, bytes| {
            each(tag, bytes);
            true
        };
        self.runtime.block_on(self.arrive(async || ranges.next(), bytes_max, each));
    }

    /// As [`Io::get_ranges`], of what comes out of `ranges` as long as its other end lives and the world is not to stop;
    /// `each` answers whether to go on.
    pub fn get_fed<T: Send + 'static>(
        &self,
        ranges: Ranges<T>,
        bytes_max: u64,
        world: &World,
        each: impl FnMut(T, Result<Held, Error>) -> bool,
    ) {
        let Ranges(mut ranges) = ranges;
        let arrive = self.arrive(async || ranges.recv().await, bytes_max, each);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped(world) => {}
                () = arrive => {}
            }
        });
    }

    /// Each range is a task of its own: the runtime's threads that read from the lines also gather what they read, and
    /// nobody is woken before a range is there as a whole.
    async fn arrive<T: Send + 'static>(
        &self,
        mut next: impl AsyncFnMut() -> Option<Wanted<T>>,
        bytes_max: u64,
        mut each: impl FnMut(T, Result<Held, Error>) -> bool,
    ) {
        let grains = usize::try_from(bytes_max.div_ceil(GRAIN as u64)).unwrap_or(Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(grains.clamp(1, Semaphore::MAX_PERMITS)));
        let most = budget.available_permits();
        let (mut arriving, mut goes_on, mut more) = (JoinSet::new(), true, true);
        while goes_on && (more || !arriving.is_empty()) {
            tokio::select! {
                biased;
                Some(arrived) = arriving.join_next() => {
                    let (tag, bytes) = finished(arrived);
                    goes_on = each(tag, bytes);
                }
                wanted = next(), if more && arriving.len() < REQUESTS_MAX => match wanted {
                    Some(wanted) => drop(arriving.spawn(fetched(self.region.clone(), wanted, budget.clone(), most))),
                    None => more = false,
                },
            }
        }
    }

    /// Uploads that run behind the caller, until the world is asked to stop: then those in flight are given up, and no
    /// other begins.
    pub fn uploads(&self, world: &World) -> Uploads {
        Uploads {
            io: self.clone(),
            world: world.clone(),
            given_up: AtomicBool::new(false),
            budget: Arc::new(Semaphore::new(UPLOAD_BYTES_MAX / GRAIN)),
            tasks: Mutex::new(JoinSet::new()),
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.region.store
    }

    fn too_long(&self, key: &ObjectKey, size: u64, most: u64) -> Error {
        self.damaged(key, format!("it has {size} bytes, and no such object has more than {most}"))
    }

    /// An object that is not as it should be.
    pub(crate) fn damaged(&self, key: &ObjectKey, why: impl Into<String>) -> Error {
        Error::Damaged { object: key.to_string(), place: self.place(), why: why.into() }
    }

    /// An object that must be there, and is not, is damage.
    pub(crate) fn missing(&self, error: Error, key: &ObjectKey) -> Error {
        match error {
            Error::Storage(error) if error.is_not_found() => self.damaged(key, "it is not there"),
            error => error,
        }
    }

    fn not_as_stored(&self, key: &ObjectKey, why: &str) -> Error {
        Error::NotStored { object: key.to_string(), place: self.place(), why: why.to_owned() }
    }

    async fn put_and_look(self, key: ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let length = bytes.len() as u64;
        self.store().put(&key, bytes).await?;
        match self.store().size(&key).await {
            Ok(size) if size == length => Ok(()),
            Ok(size) => Err(self.not_as_stored(&key, &format!("it has {size} bytes instead of {length}"))),
            Err(error) if error.is_not_found() => Err(self.not_as_stored(&key, "it is not there")),
            Err(error) => Err(error.into()),
        }
    }
}

/// A range with whatever its owner needs to know it by.
pub type Wanted<T> = (T, ObjectKey, std::ops::Range<u64>);

/// Where ranges for [`Io::get_fed`] are put in, from a plain thread.
pub struct Feed<T>(mpsc::Sender<Wanted<T>>);

/// Where they come out.
pub struct Ranges<T>(mpsc::Receiver<Wanted<T>>);

/// A way for ranges on which so many may wait.
pub fn ranges<T>(ahead: usize) -> (Feed<T>, Ranges<T>) {
    let (feed, ranges) = mpsc::channel(ahead.max(1));
    (Feed(feed), Ranges(ranges))
}

impl<T> Feed<T> {
    /// Waits until there is room for a range; answers whether anybody still takes it.
    pub fn send(&self, tag: T, key: ObjectKey, range: std::ops::Range<u64>) -> bool {
        self.0.blocking_send((tag, key, range)).is_ok()
    }
}

/// Bytes that count against the budget of [`Io::get_ranges`] until they are dropped.
pub struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A range, once the budget of `most` grains has room for it.
async fn fetched<T>(
    region: Region,
    (tag, key, range): Wanted<T>,
    budget: Arc<Semaphore>,
    most: usize,
) -> (T, Result<Held, Error>) {
    let grains = usize::try_from((range.end.saturating_sub(range.start)).div_ceil(GRAIN as u64));
    let grains = u32::try_from(grains.unwrap_or(most).min(most)).unwrap_or(u32::MAX);
    let permit = budget.acquire_many_owned(grains).await.expect("the budget is never closed");
    let bytes = region.store.get_range(&key, range).await.map_err(Error::from);
    (tag, bytes.map(|bytes| Held { bytes, _permit: permit }))
}

/// What a task came to that nobody gave up.
fn finished<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

/// Uploads within one budget; see [`Io::uploads`].
pub struct Uploads {
    io: Io,
    world: World,
    given_up: AtomicBool,
    budget: Arc<Semaphore>,
    tasks: Mutex<JoinSet<Result<(), Error>>>,
}

impl Uploads {
    /// Starts an upload as soon as the budget allows; `done` runs once the object was seen in the store. An error of an
    /// earlier upload is returned here or by [`Uploads::drain`], once.
    pub fn start(
        &self,
        key: ObjectKey,
        bytes: Bytes,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        self.take_finished()?;
        let grains = bytes.len().div_ceil(GRAIN).clamp(1, UPLOAD_BYTES_MAX / GRAIN);
        let grains = u32::try_from(grains).expect("the budget fits into 32 bits");
        let Some(permit) = self.acquire(grains) else {
            self.given_up.store(true, Ordering::Relaxed);
            return Ok(());
        };
        let io = self.io.clone();
        let mut tasks = self.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn_on(
            async move {
                let outcome = io.put_and_look(key, bytes).await;
                drop(permit);
                outcome.map(|()| done())
            },
            self.io.runtime.handle(),
        );
        Ok(())
    }

    /// Waits for all uploads so far.
    pub fn drain(&self) -> Result<(), Error> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().expect("no holder of this lock panics"));
        self.io.runtime.block_on(async {
            let mut outcome = Ok(());
            loop {
                let joined = tokio::select! {
                    biased;
                    joined = tasks.join_next() => joined,
                    () = stopped(&self.world) => break,
                };
                let Some(joined) = joined else { return outcome };
                outcome = outcome.and(result(joined));
            }
            if !tasks.is_empty() {
                self.given_up.store(true, Ordering::Relaxed);
            }
            tasks.shutdown().await;
            outcome
        })
    }

    /// Refuses to go on where an upload was given up: nothing that needs it may be said to be there.
    pub fn check_complete(&self) -> Result<(), Error> {
        if self.given_up.load(Ordering::Relaxed) { Err(Error::GivenUp) } else { Ok(()) }
    }

    /// Room for an upload; none once the world is to stop.
    fn acquire(&self, grains: u32) -> Option<OwnedSemaphorePermit> {
        if self.world.is_stopped() {
            return None;
        }
        let acquire = self.budget.clone().acquire_many_owned(grains);
        self.io.runtime.block_on(async {
            tokio::select! {
                biased;
                permit = acquire => Some(permit.expect("the budget is never closed")),
                () = stopped(&self.world) => None,
            }
        })
    }

    fn take_finished(&self) -> Result<(), Error> {
        let mut tasks = self.tasks.lock().expect("no holder of this lock panics");
        while let Some(joined) = tasks.try_join_next() {
            result(joined)?;
        }
        Ok(())
    }
}

fn result(joined: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    match joined {
        Err(given_up) if given_up.is_cancelled() => Ok(()),
        joined => joined.expect("uploads do not panic"),
    }
}

/// Returns once the world is to stop.
async fn stopped(world: &World) {
    while !world.is_stopped() {
        world.sleep(STOP_SEEN).await;
        // Where time is simulated, nobody slept.
        tokio::task::yield_now().await;
    }
}

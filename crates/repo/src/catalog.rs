//! The catalog: what the log says, as SQLite tables that a person can open. Only a cache.
//!
//! It may be deleted, be garbage, or belong to something else at any time: then it is made anew from the
//! repository, and nothing is lost but time. What is read back from it is compared first: each cached entry
//! carries a BLAKE3 of its bytes, and an entry that does not match makes the whole file garbage. One thread
//! owns the connection, others hand it work; two processes may use one file at once. One rule keeps them from
//! misleading each other: *every cached entry is part of what the tables mirror*. So whoever finds all
//! entries cached may believe the tables, and an update takes out the entries that another process added
//! meanwhile; they are fetched again, which is cheap.

mod cached;
mod cell;
mod file;
mod mirror;
mod tables;
mod trouble;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use format::id::RepoId;
use rusqlite::{Connection, TransactionBehavior};

use self::cell::Row;
use self::file::Place;
use self::mirror::Difference;
use self::trouble::Trouble;
use crate::error::Error;
use crate::fold::Fold;
use crate::log::LogEntry;

/// Rows that travel to the owner together.
const BATCH_ROWS: usize = 256;

/// Batches on their way to the owner: enough that neither side waits long, few enough to be nothing in
/// memory.
const BATCHES_MAX: usize = 4;

/// What was found where the catalog should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The catalog of this repository.
    Kept,
    /// Nothing; an empty one was made.
    Fresh,
    /// Something else, and why it is of no use; it was replaced by an empty one.
    Discarded(String),
}

type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// A repository's catalog. Dropping it closes the file.
pub struct Catalog {
    place: Place,
    /// Why it could not be opened.
    lost: Option<String>,
    jobs: Option<Sender<Job>>,
    owner: Option<JoinHandle<()>>,
}

/// What the thread owns.
struct Owner {
    place: Place,
    /// `None` only if the file could not be replaced.
    connection: Option<Connection>,
    /// Serial number of the newest cached entry that this process has been told of or has told.
    seen: i64,
}

/// What the tables should hold, on its way to the owner, table by table in the order of [`tables::all`].
struct Wanted {
    tables: Vec<Receiver<Vec<Row>>>,
    /// Says that nothing was cut off.
    complete: Receiver<()>,
}

impl Catalog {
    /// Opens the catalog of `repo`, whose folder exists. A file that is damaged, of another repository, or of
    /// another version is replaced by an empty one.
    pub fn open(path: &Path, repo: RepoId) -> Result<(Catalog, Opened), Error> {
        let place = Place { path: path.to_owned(), repo };
        let (connection, opened) = place.open().map_err(|trouble| trouble.of(path))?;
        let mut owner = Owner { place: place.clone(), connection: Some(connection), seen: 0 };
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("seawall-catalog".to_owned());
        let handle = thread
            .spawn(move || inbox.into_iter().for_each(|job| job(&mut owner)))
            .map_err(|e| Trouble::Failed(e.to_string()).of(path))?;
        Ok((Catalog { place, lost: None, jobs: Some(jobs), owner: Some(handle) }, opened))
    }

    /// In the place of one that could not be opened: whatever it is asked for, the answer is why.
    pub fn lost(path: &Path, repo: RepoId, why: &Error) -> Catalog {
        let place = Place { path: path.to_owned(), repo };
        let why = match why {
            Error::Catalog { why, .. } => why.clone(),
            why => why.to_string(),
        };
        Catalog { place, lost: Some(why), jobs: None, owner: None }
    }

    /// The cached entries. [`Error::Catalog`] if one is not as it was written: then [`Catalog::rebuild`]
    /// helps.
    pub fn entries(&self) -> Result<Vec<LogEntry>, Error> {
        self.ask(Owner::entries).map_err(|trouble| trouble.of(&self.place.path))
    }

    /// Caches `added` and makes the tables those of `fold`, in one transaction that writes only what differs.
    /// `fold` must know `added` and all that [`Catalog::entries`] gave. A file that turns out to be damaged
    /// is replaced first.
    pub fn update(&self, added: &[LogEntry], fold: &Fold) -> Result<(), Error> {
        let write = || self.feed(&mut added.iter().map(cached::row), fold, Owner::write);
        let written = match write() {
            Err(Trouble::Garbage(_)) => self.ask(Owner::replace).and_then(|()| write()),
            written => written,
        };
        written.map_err(|trouble| trouble.of(&self.place.path))
    }

    /// Drops everything and writes it again.
    pub fn rebuild(&self, all: &[LogEntry], fold: &Fold) -> Result<(), Error> {
        self.ask(Owner::clear).map_err(|trouble| trouble.of(&self.place.path))?;
        self.update(all, fold)
    }

    /// Every difference between the tables and what they should hold, as sentences; none if they are equal.
    pub fn check(&self, all: &[LogEntry], fold: &Fold) -> Result<Vec<String>, Error> {
        let checked = self.feed(&mut cached::sorted(all).into_iter().map(cached::row), fold, Owner::check);
        match checked {
            Err(Trouble::Garbage(why)) => Ok(vec![format!("the file is damaged: {why}")]),
            checked => checked.map_err(|trouble| trouble.of(&self.place.path)),
        }
    }

    /// Asks the tables, at one moment and without writing.
    pub fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(|owner| owner.read(f)).map_err(|trouble| trouble.of(&self.place.path))
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owner) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.answered(&self.start(work))
    }

    fn answered<T>(&self, answer: &Receiver<Result<T, Trouble>>) -> Result<T, Trouble> {
        let why = || self.lost.clone().unwrap_or_else(|| "it is no longer open".to_owned());
        answer.recv().unwrap_or_else(|_| Err(Trouble::Failed(why())))
    }

    /// Hands `work` to the owner; what comes back is its answer, or nothing if the owner is gone.
    fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owner) -> Result<T, Trouble> + Send + 'static,
    ) -> Receiver<Result<T, Trouble>> {
        let (reply, answer) = mpsc::channel();
        let job: Job = Box::new(move |owner| drop(reply.send(work(owner))));
        if let Some(jobs) = &self.jobs {
            drop(jobs.send(job));
        }
        answer
    }

    /// Starts `work` and sends it the rows of all tables, which stay here: the owner's thread borrows
    /// nothing.
    fn feed<T: Send + 'static>(
        &self,
        entries: &mut dyn Iterator<Item = Row>,
        fold: &Fold,
        work: fn(&mut Owner, Wanted) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let (finished, complete) = mpsc::channel();
        let (senders, tables) =
            tables::all().map(|_| mpsc::sync_channel(BATCHES_MAX)).unzip::<_, _, Vec<_>, _>();
        let answer = self.start(move |owner| work(owner, Wanted { tables, complete }));
        let mirrored = tables::MIRRORED.iter().map(|table| (table.rows)(fold));
        let rows = std::iter::once(Box::new(entries) as Box<dyn Iterator<Item = Row> + '_>).chain(mirrored);
        let sent = senders.into_iter().zip(rows).all(|(sender, mut rows)| send(&sender, &mut rows));
        if sent {
            // If nobody listens any more, the answer says why.
            let _ = finished.send(());
        }
        drop(finished);
        self.answered(&answer)
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(owner) = self.owner.take() {
            drop(owner.join());
        }
    }
}

/// Sends all rows of a table; `false` if the owner wants no more of them.
fn send(sender: &SyncSender<Vec<Row>>, rows: &mut dyn Iterator<Item = Row>) -> bool {
    loop {
        let batch: Vec<Row> = rows.take(BATCH_ROWS).collect();
        if batch.is_empty() {
            return true;
        }
        if sender.send(batch).is_err() {
            return false;
        }
    }
}

impl Owner {
    fn connection(&mut self) -> Result<&mut Connection, Trouble> {
        self.connection.as_mut().ok_or_else(|| Trouble::Failed("it could not be replaced before".to_owned()))
    }

    fn entries(&mut self) -> Result<Vec<LogEntry>, Trouble> {
        let repo = self.place.repo;
        let (entries, seen) = cached::read(self.connection()?, repo)?;
        self.seen = seen;
        Ok(entries)
    }

    fn write(&mut self, wanted: Wanted) -> Result<(), Trouble> {
        let seen = self.seen;
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut feeds = wanted.tables.into_iter().map(|feed| feed.into_iter().flatten());
        if let Some(entries) = feeds.next() {
            cached::drop_after(&transaction, seen)?;
            cached::write(&transaction, entries)?;
        }
        for (table, rows) in tables::MIRRORED.iter().zip(feeds) {
            mirror::write(&transaction, table, rows)?;
        }
        whole(&wanted.complete)?;
        let seen = cached::newest(&transaction)?;
        transaction.commit()?;
        self.seen = seen;
        Ok(())
    }

    fn check(&mut self, wanted: Wanted) -> Result<Vec<String>, Trouble> {
        let transaction = self.connection()?.transaction()?;
        let mut said = file::damage(&transaction)?;
        for (table, feed) in tables::all().zip(wanted.tables) {
            let mut say = |difference: Difference| said.push(difference.sentence(table));
            mirror::compare(&transaction, table, feed.into_iter().flatten(), &mut say)?;
        }
        whole(&wanted.complete)?;
        Ok(said)
    }

    fn read<T>(&mut self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Trouble> {
        let connection = self.connection()?;
        connection.pragma_update(None, "query_only", true)?;
        let answer = connection.transaction().and_then(|moment| f(&moment));
        connection.pragma_update(None, "query_only", false)?;
        Ok(answer?)
    }

    /// Empties all tables; where even that fails, the file is replaced.
    fn clear(&mut self) -> Result<(), Trouble> {
        match self.connection().and_then(file::clear) {
            Err(Trouble::Garbage(_)) => self.replace(),
            cleared => cleared,
        }
    }

    fn replace(&mut self) -> Result<(), Trouble> {
        self.connection = None;
        self.seen = 0;
        self.connection = Some(self.place.replace()?);
        Ok(())
    }
}

/// Whether all rows arrived; if their sender gave up in the middle, nothing may be written.
fn whole(complete: &Receiver<()>) -> Result<(), Trouble> {
    complete.recv().map_err(|_| Trouble::Failed("it was given only a part of what it should hold".to_owned()))
}

#[cfg(test)]
mod tests;

//! The file: found, examined, made, replaced. It is examined before anything is changed in it, and whoever
//! replaces it holds a lock that everybody takes who opens it, so that nobody opens half of an old and half
//! of a new one. A process that has the old one open goes on with it, unharmed and unseen.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use format::id::RepoId;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::trouble::Trouble;
use super::{Opened, tables};

/// "Seaw", in the header of the file.
const APPLICATION_ID: i32 = 0x5365_6177;

/// Version of the tables and of the bytes in them; another number is another catalog, which is made anew.
const VERSION: i32 = 1;

/// How long to wait for another process that writes: it mirrors a whole log in less.
const BUSY: Duration = Duration::from_secs(30);

/// The user's alone: facts lie open in it.
const MODE: u32 = 0o600;

/// Where a catalog is and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) repo: RepoId,
}

enum Found {
    Ours,
    Nothing,
    Other(String),
}

impl Place {
    pub(super) fn open(&self) -> Result<(Connection, Opened), Trouble> {
        let _turn = self.take_turn()?;
        let mut connection = self.connect()?;
        let usable = match self.recognise(&connection)? {
            Found::Ours => prepare(&connection).map(|()| Opened::Kept),
            Found::Nothing => self.create(&mut connection).map(|()| Opened::Fresh),
            Found::Other(why) => Err(Trouble::Garbage(why)),
        };
        match usable {
            Err(Trouble::Garbage(why)) => {
                drop(connection);
                Ok((self.create_instead()?, Opened::Discarded(why)))
            }
            usable => usable.map(|opened| (connection, opened)),
        }
    }

    /// An empty catalog instead of what is there.
    pub(super) fn replace(&self) -> Result<Connection, Trouble> {
        let _turn = self.take_turn()?;
        self.create_instead()
    }

    fn take_turn(&self) -> Result<File, Trouble> {
        let path = beside(&self.path, ".lock");
        make_private(&path).map_err(Trouble::local("make", &path))?;
        let file = File::open(&path).map_err(Trouble::local("open", &path))?;
        file.lock().map_err(Trouble::local("lock", &path))?;
        Ok(file)
    }

    fn connect(&self) -> Result<Connection, Trouble> {
        make_private(&self.path).map_err(Trouble::local("make", &self.path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// What the file is, before anything in it is changed.
    fn recognise(&self, connection: &Connection) -> Result<Found, Trouble> {
        match self.look(connection).map_err(Trouble::from) {
            Err(Trouble::Garbage(why)) => Ok(Found::Other(why)),
            found => found,
        }
    }

    fn look(&self, connection: &Connection) -> rusqlite::Result<Found> {
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        let moment = connection.unchecked_transaction()?;
        let header = (pragma(&moment, "application_id")?, pragma(&moment, "user_version")?);
        let schema = schema_of(&moment)?;
        Ok(match header {
            (0, 0) if schema.is_empty() => Found::Nothing,
            (APPLICATION_ID, VERSION) if schema == tables::schema() => match repository_of(&moment)? {
                Some(repo) if repo == self.repo.to_string() => Found::Ours,
                Some(repo) => Found::Other(format!("it is that of repository {repo:.16}")),
                None => Found::Other("it does not say of which repository it is".to_owned()),
            },
            (APPLICATION_ID, VERSION) => Found::Other("somebody changed its tables".to_owned()),
            (APPLICATION_ID, version) => Found::Other(format!("its version is {version}, not {VERSION}")),
            _ => Found::Other("it is a database of another program".to_owned()),
        })
    }

    fn create(&self, connection: &mut Connection) -> Result<(), Trouble> {
        prepare(connection)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        for (_, sql) in tables::schema() {
            transaction.execute(&sql, [])?;
        }
        transaction.execute("INSERT INTO repository (id) VALUES (?1)", [self.repo.to_string()])?;
        Ok(transaction.commit()?)
    }

    /// The database goes first: while a killed replacement leaves only the files beside it, SQLite knows that
    /// those belong to nothing.
    fn create_instead(&self) -> Result<Connection, Trouble> {
        for end in ["", "-journal", "-wal", "-shm"] {
            let path = beside(&self.path, end);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Trouble::local("remove", &path)(error));
                }
                _ => {}
            }
        }
        let mut connection = self.connect()?;
        self.create(&mut connection)?;
        Ok(connection)
    }
}

/// Empties all tables but keeps them: another process may be reading, and serial numbers must not start
/// again.
pub(super) fn clear(connection: &mut Connection) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if schema_of(&transaction)? != tables::schema() || !damage(&transaction)?.is_empty() {
        return Err(Trouble::Garbage("somebody changed it".to_owned()));
    }
    for table in tables::all() {
        transaction.execute(&format!("DELETE FROM {}", table.name), [])?;
    }
    Ok(transaction.commit()?)
}

/// What SQLite itself finds wrong with the file.
pub(super) fn damage(connection: &Connection) -> Result<Vec<String>, Trouble> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>()?;
    Ok(lines
        .into_iter()
        .filter(|line| line != "ok")
        .map(|line| format!("the file is damaged: {line}"))
        .collect())
}

/// Write-ahead logging lets others read while one writes; what the last moments before a power cut lose is
/// fetched again.
fn prepare(connection: &Connection) -> Result<(), Trouble> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    Ok(connection.pragma_update(None, "synchronous", "NORMAL")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// All tables, indices, views and triggers that somebody made, with the statements that did.
fn schema_of(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let made =
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = connection.prepare(made)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn repository_of(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT id FROM repository")?;
    let mut rows = statement.query([])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Makes an empty file that only the user can read, if there is none. SQLite gives the files beside it the
/// same mode. A file that is there is not opened: closing it would drop the locks of every other connection
/// of this process.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !std::fs::metadata(path)?.is_file() {
                return Err(error);
            }
            std::fs::set_permissions(path, Permissions::from_mode(MODE))
        }
        made => made.map(drop),
    }
}

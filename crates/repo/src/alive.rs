//! Sessions of this host whose processes died: no sweep need wait for them.
//!
//! A session at work holds a lock on a file of this host's state. The system lets go of it when the process ends, however it
//! ends, so a file that nobody holds is of a session that nobody works in any more. No clock and no process number is asked.
//! A copy of the state on another machine holds no locks; what it takes for dead by that notices it behind its next commit,
//! as with every expiry, and is run again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use format::id::{SessionId, WriterId};

use crate::error::Error;
use crate::repo::Repo;

/// Where the files are.
const FOLDER: &str = "at-work";

/// Shows the other processes of this host that a session is at work, as long as it is not dropped.
pub(crate) struct Alive {
    /// Holds the lock.
    _file: File,
    path: PathBuf,
}

impl Alive {
    /// Where the state takes no file, nobody is told: somebody has to end this session by hand if its process dies.
    pub(crate) fn begin(repo: &Repo, session: SessionId) -> Option<Alive> {
        let folder = repo.state.folder(FOLDER).ok()?;
        let (path, new) = (folder.join(session.to_string()), folder.join(format!("{session}.new")));
        let file = File::create_new(&new).ok()?;
        // Whoever sees it by its name sees it locked.
        let named = file.try_lock().is_ok() && fs::rename(&new, &path).is_ok();
        if !named {
            let _ = fs::remove_file(&new);
        }
        named.then_some(Alive { _file: file, path })
    }

    /// The session is over, by its own entry.
    pub(crate) fn end(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Repo {
    /// Gives up those sessions of this host whose processes died, if this host may, and answers which.
    ///
    /// # Errors
    /// Of the region.
    pub(crate) fn give_up_dead(&self) -> Result<Vec<(WriterId, SessionId)>, Error> {
        let dead = self.dead();
        let Some(signer) = self.known_signer()?.filter(|_| !dead.is_empty()) else { return Ok(Vec::new()) };
        if self.must_maintain(&signer).is_err() || self.must_have_newest_keys().is_err() {
            return Ok(Vec::new());
        }
        // Restores of a host that was never let in are in the name of the root.
        let running = self.at_work()?.into_iter().filter(|one| !one.is_over);
        let writers: BTreeMap<SessionId, WriterId> = running.map(|one| (one.session, one.writer)).collect();
        let mut given_up = Vec::new();
        for (session, file) in dead {
            if let Some(writer) = writers.get(&session) {
                self.expire(&signer, (*writer, session))?;
                given_up.push((*writer, session));
            }
            let _ = fs::remove_file(file);
        }
        if !given_up.is_empty() {
            self.refresh()?;
        }
        Ok(given_up)
    }

    /// Files whose process let go of them, by their sessions.
    fn dead(&self) -> Vec<(SessionId, PathBuf)> {
        let entries = fs::read_dir(self.state.path(FOLDER)).into_iter().flatten().flatten();
        let session = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            Some((SessionId::parse(name.to_str().filter(|_| is_file)?).ok()?, entry.path()))
        };
        let is_dead = |path: &PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        let mut dead: Vec<_> =
            entries.filter_map(|entry| session(&entry)).filter(|(_, path)| is_dead(path)).collect();
        dead.sort_unstable();
        dead
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::trial::Place;

    #[test]
    fn a_session_is_dead_once_nobody_holds_it_and_is_nobody_elses_to_see() {
        let place = Place::new();
        let host = place.host("host");
        let (folder, session) = (host.state.path(FOLDER), SessionId([7; 16]));
        let alive = Alive::begin(&host, session).unwrap();
        assert_eq!(host.dead(), Vec::new());
        for part in [folder.parent().unwrap(), &folder] {
            assert_eq!(fs::metadata(part).unwrap().permissions().mode() & 0o777, 0o700, "{part:?}");
        }
        drop(alive);
        assert_eq!(host.dead(), [(session, folder.join(session.to_string()))]);
        Alive::begin(&host, SessionId([8; 16])).unwrap().end();
        assert_eq!(host.dead().len(), 1, "who ends leaves nothing");
    }
}

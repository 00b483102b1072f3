//! What this host keeps for itself: its signing key, which repository a location held, caches.
//!
//! All of it but the signing key can be deleted at any time. Losing the signing key only means that the host is let in
//! again as a new writer. Files are for their owner only and appear whole or not at all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use format::id::{Hash, RepoId, from_hex, hex};
use format::key::fresh;
use format::seal::Signer;
use world::World;
use zeroize::Zeroizing;

use crate::error::Error;

/// The state of one repository on this host.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
    dir: PathBuf,
}

impl State {
    /// The state of `repo` below the user's state directory `root`, which need not be there.
    pub fn at(root: &Path, repo: RepoId) -> State {
        State { root: root.to_owned(), dir: root.join(format!("{:.32}", repo.to_string())) }
    }

    /// Makes the folders.
    pub fn make(&self) -> Result<(), Error> {
        make_folder(&self.dir)
    }

    /// A folder of this repository's state, for its owner only.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.path(name);
        make_folder(&folder).map(|()| folder)
    }

    /// Removes what is kept of a repository that did not come to be.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// A file or folder of this repository's state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// This host's signer, made at its first use.
    pub fn signer(&self, world: &World) -> Result<Signer, Error> {
        let path = self.path("writer.key");
        if let Some(signer) = self.known_signer()? {
            return Ok(signer);
        }
        let seed = fresh(&mut world.chance());
        let text = Zeroizing::new(format!("seawall-writer-0 {}\n", hex(&seed[..])));
        self.make()?;
        write_whole(&path, text.as_bytes())?;
        Ok(Signer::from_seed(&seed))
    }

    /// This host's signer, if it has one.
    pub fn known_signer(&self) -> Result<Option<Signer>, Error> {
        let path = self.path("writer.key");
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(local("read", &path)(error)),
        };
        let seed = text.trim().strip_prefix("seawall-writer-0 ").and_then(from_hex);
        let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
        Ok(seed.map(|seed| Signer::from_seed(&Zeroizing::new(seed))))
    }

    /// Which repository `place` held when this host last looked; a location is trusted on first use.
    pub fn known_at(root: &Path, place: &str) -> Option<RepoId> {
        fs::read_to_string(known_file(root, place)).ok().and_then(|text| RepoId::parse(text.trim()).ok())
    }

    /// Remembers which repository `place` holds.
    pub fn remember(&self, place: &str, repo: RepoId) -> Result<(), Error> {
        if State::known_at(&self.root, place) == Some(repo) {
            return Ok(());
        }
        let file = known_file(&self.root, place);
        make_folder(file.parent().expect("the file lies in a folder"))?;
        write_whole(&file, format!("{repo}\n").as_bytes())
    }
}

/// Makes a folder for its owner only, and those above it.
fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(local("make the folder", folder))
}

fn known_file(root: &Path, place: &str) -> PathBuf {
    root.join("known").join(format!("{:.32}", Hash::of(place.as_bytes()).to_string()))
}

/// Names the act and the file for an error of the system.
pub(crate) fn local(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Local { act, path, source }
}

/// Writes a file for its owner only; a reader sees the old bytes or the new ones.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|error| {
        // Where even this fails, it is one small file more.
        let _ = fs::remove_file(&part);
        local("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_keeps_its_signer_and_what_it_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let (world, repo) = (World::real(), RepoId([7; 32]));
        let state = State::at(dir.path(), repo);
        assert!(state.known_signer().unwrap().is_none());
        let first = state.signer(&world).unwrap().public();
        assert_eq!(state.signer(&world).unwrap().public(), first);
        assert_eq!(State::known_at(dir.path(), "s3://b"), None);
        state.remember("s3://b", repo).unwrap();
        assert_eq!(State::known_at(dir.path(), "s3://b"), Some(repo));
        assert_eq!(State::known_at(dir.path(), "s3://c"), None);
    }
}

//! What every verb works with: how to speak, the world, and the way to the repository.
//!
//! Settings are looked at when they are needed, so verbs that need no repository need no settings either.

use std::sync::Arc;

use format::cutter::{GENERATION, Sizes};
use format::genesis::ChunkSizes;
use format::limit::SMALL_OBJECT_BYTES_MAX;
use repo::{Io, Opening, Repo};
use storage::Region;
use world::World;

use crate::args::Global;
use crate::error::Error;
use crate::out::Out;
use crate::progress::Watcher;
use crate::secret::Held;
use crate::settings::{self, Environment, SecretFrom, Where};
use crate::stop::{self, Orderly};
use crate::{hint, secret, show};

/// Faults of the history that every verb names; `log --verify` names all.
const DAMAGE_SHOWN: usize = 3;

/// The name of the only region that there is so far.
const REGION: &str = "home";

/// What every verb works with.
pub(crate) struct Context {
    /// How to speak.
    pub(crate) out: Out,
    /// Time, chance and progress.
    pub(crate) world: World,
    global: Global,
    environment: Environment,
    watcher: Arc<Watcher>,
    orderly: Orderly,
}

/// What `init` made.
pub(crate) struct Made {
    /// The repository.
    pub(crate) repo: Repo,
    /// The key file, if there was none.
    pub(crate) key_file: Option<std::path::PathBuf>,
}

impl Context {
    /// The context that the flags describe.
    pub(crate) fn new(global: Global) -> Context {
        let out = Out { json: global.json, quiet: global.quiet, verbose: global.verbose };
        let watcher = Arc::new(Watcher::new(out));
        let world = World::real().watched_by(watcher.clone());
        let orderly = Orderly::default();
        stop::listen(world.clone(), orderly.clone(), out);
        Context { out, world, global, environment: Environment::of_process(), watcher, orderly }
    }

    /// From now on a request to stop is left to the verb, which asks the world.
    pub(crate) fn stops_in_order(&self) {
        self.orderly.begin();
    }

    /// Ends what a person watches; what follows is the result.
    pub(crate) fn finish(&self) {
        self.watcher.finish();
    }

    /// The settings that lead to the same repository again.
    pub(crate) fn shown_flags(&self) -> String {
        settings::shown_flags(&self.global, &self.environment)
    }

    /// Opens the repository, and says what is wrong with its history.
    pub(crate) fn open(&self) -> Result<Repo, Error> {
        let repo = self.open_silently()?;
        self.tell_notices(&repo);
        Ok(repo)
    }

    /// Opens the repository, and keeps the secret that did.
    pub(crate) fn open_and_hold(&self) -> Result<(Repo, Held), Error> {
        let (repo, held) = self.open_by_secret()?;
        self.tell_notices(&repo);
        Ok((repo, held))
    }

    /// Opens the repository for a verb that itself says what is wrong.
    pub(crate) fn open_silently(&self) -> Result<Repo, Error> {
        self.open_by_secret().map(|(repo, _)| repo)
    }

    fn open_by_secret(&self) -> Result<(Repo, Held), Error> {
        let io = self.io()?;
        let held = match self.secret().and_then(|from| secret::read(&from)) {
            Err(error @ (Error::NoKeyFile(_) | Error::NoHome { .. })) if !self.is_there(&io)? => {
                self.out.detail(error);
                return Err(repo::Error::NoRepository(io.place()).into());
            }
            held => held?,
        };
        self.warn_of_open_secrets();
        let state = self.state()?;
        let opening = self.opening(io, &state, held.clone().opens())?;
        let repo = Repo::open(opening)?;
        Ok((if cfg!(feature = "write") { repo } else { repo.reading_only() }, held))
    }

    /// Opens the repository; where it is the user's own and not there yet, makes it first.
    pub(crate) fn open_or_make(&self) -> Result<Repo, Error> {
        let embedded = self.repository()?.typed.is_none();
        if !embedded || self.is_there(&self.io()?)? {
            return self.open();
        }
        // Where this host knows of one, its disk is not mounted, and another one would lie on the disk beneath.
        let place = self.io()?.place();
        if let Some(repo) = repo::State::known_at(&self.state()?, &place) {
            return Err(repo::Error::Gone { place, repo: repo.to_string() }.into());
        }
        match self.make() {
            Ok(made) => {
                let (place, fingerprint) = (made.repo.io().place(), made.repo.id());
                self.out.note(format!("made the repository {place}, whose fingerprint is {fingerprint}"));
                Ok(made.repo)
            }
            // Another backup was faster; it is the same user's, so it is the right one.
            Err(Error::Repo(repo::Error::Raced(_) | repo::Error::Occupied(_))) => self.open(),
            Err(error) => Err(error),
        }
    }

    /// Makes the repository, and a key file where there is none. The key is on the disk first.
    pub(crate) fn make(&self) -> Result<Made, Error> {
        let io = self.io()?;
        if self.is_there(&io)? {
            return Err(repo::Error::Occupied(io.place()).into());
        }
        let (held, key_file) = secret::read_or_make(&self.secret()?, &self.world)?;
        if let Some(path) = &key_file {
            self.out.warning(format!(
                "made the key file {}: keep a copy of it elsewhere. Without it nobody can read the backups, and there \
                 is no other way in",
                path.display()
            ));
        }
        let lock = held.locks()?;
        let label = format!("{} of {}", held.name(), host());
        let state = self.state()?;
        let opening = self.opening(io, &state, held.opens())?;
        let repo = Repo::create(opening, &lock, &label, chunk_sizes())?;
        self.tell_notices(&repo);
        Ok(Made { repo, key_file })
    }

    /// Makes a repository at `location` that nobody will open again: its key is kept nowhere. What this host knows of it
    /// goes into `state`.
    pub(crate) fn make_passing(
        &self,
        location: &storage::Location,
        state: &std::path::Path,
    ) -> Result<Repo, Error> {
        let io = self.io_at(location)?;
        let held = Held::KeyFile(format::key::KeyFile::fresh(&mut self.world.chance()));
        let (world, lock) = (self.world.clone(), held.locks()?);
        let opening = Opening { world, io, state, secret: held.opens(), trust: None, host: host() };
        Ok(Repo::create(opening, &lock, "a passing key", chunk_sizes())?)
    }

    /// Says if a file with a secret may be read by others on this machine.
    fn warn_of_open_secrets(&self) {
        use std::os::unix::fs::PermissionsExt;
        let file = match self.secret() {
            Ok(SecretFrom::KeyFile(path) | SecretFrom::PassphraseFile(path)) => path,
            _ => return,
        };
        let mode = std::fs::metadata(&file).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o077 != 0 {
            let (file, mode) = (file.display(), mode & 0o777);
            self.out.warning(format!(
                "others on this machine may read {file} (mode {mode:o}), and with it all backups: chmod 600 {file}"
            ));
        }
    }

    /// The way to the region.
    pub(crate) fn io(&self) -> Result<Io, Error> {
        self.io_at(&self.repository()?.location)
    }

    /// The way to a place.
    pub(crate) fn io_at(&self, location: &storage::Location) -> Result<Io, Error> {
        let network = settings::network(&self.global)?;
        let store = storage::open(location, &network, &self.world)?;
        Ok(Io::new(Region::new(REGION, store)))
    }

    /// The repository that must be there, by its fingerprint.
    pub(crate) fn trust(&self) -> Result<Option<format::id::RepoId>, Error> {
        settings::trust(self.global.trust.as_deref())
    }

    /// Where the backups themselves lie, if that is on this machine.
    pub(crate) fn own_folders(&self) -> Result<Vec<std::path::PathBuf>, Error> {
        Ok(self.repository()?.location.as_local().map(std::path::Path::to_owned).into_iter().collect())
    }

    /// The user's state directory.
    pub(crate) fn state(&self) -> Result<std::path::PathBuf, Error> {
        settings::state(&self.global, &self.environment)
    }

    fn opening<'s>(
        &self,
        io: Io,
        state: &'s std::path::Path,
        secret: repo::Secret,
    ) -> Result<Opening<'s>, Error> {
        Ok(Opening { world: self.world.clone(), io, state, secret, trust: self.trust()?, host: host() })
    }

    fn repository(&self) -> Result<Where, Error> {
        settings::repository(&self.global, &self.environment)
    }

    fn secret(&self) -> Result<SecretFrom, Error> {
        settings::secret(&self.global, &self.environment)
    }

    /// Whether a repository is there. A folder may still be missing, a bucket may not. The object is small, and an answer
    /// with a body says more about what went wrong.
    fn is_there(&self, io: &Io) -> Result<bool, Error> {
        let folder = self.repository()?.location.as_local().is_some();
        match io.get_small(&repo::layout::genesis(), SMALL_OBJECT_BYTES_MAX as u64) {
            Ok(_) => Ok(true),
            Err(repo::Error::Storage(storage::Error::NoPlace { .. })) if folder => Ok(false),
            Err(repo::Error::Storage(error)) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn tell_notices(&self, repo: &Repo) {
        repo.notices().iter().for_each(|notice| self.out.note(notice));
        if repo.can_read()
            && let Err(error) = repo.must_have_newest_keys()
        {
            let so = match error {
                repo::Error::OldKeys { .. } => "what was stored since is not shown",
                _ => "nothing can be added until that is done",
            };
            self.out.warning(format!("{error}; {so}"));
            hint::of(&error.into(), &self.shown_flags()).iter().for_each(|hint| self.out.hint(hint));
        }
        let damage = repo.history_damage();
        damage.iter().take(DAMAGE_SHOWN).for_each(|what| self.out.warning(what));
        if !damage.is_empty() {
            let faults = show::count(damage.len() as u64, "fault");
            let flags = self.shown_flags();
            self.out.warning(format!("the history shows {faults}; `seawall log --verify{flags}` names them"));
        }
    }
}

/// This host's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Threads that work.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn chunk_sizes() -> ChunkSizes {
    let sizes = Sizes::STANDARD;
    let bytes = |size: usize| u32::try_from(size).expect("chunks are at most 1 MiB long");
    ChunkSizes {
        generation: GENERATION,
        min: bytes(sizes.min()),
        normal: bytes(sizes.normal()),
        max: bytes(sizes.max()),
    }
}

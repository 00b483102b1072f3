//! A repository, opened: its keys, its log, what the log says.
//!
//! Opening goes from the trust anchor down: the genesis object must hash to the id that is trusted, slots must be signed
//! by its root, entries by writers that the root let in. A location is remembered with the repository it held, so that
//! another one in its place is noticed. Nothing is written by opening.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use format::entry::{Brought, Clear, Entry, EntryId, Head, LogicalTime};
use format::fact::{DomainKeys, Fact, Grant, RegionFact};
use format::genesis::{ChunkSizes, Genesis};
use format::id::{DomainId, Hash, Incarnation, PointId, RepoId, SessionId, SlotId, WriterId};
use format::key::{Bundle, Generation, Lock, Slot, SlotLabel, Unlock, fresh};
use format::limit::SMALL_OBJECT_BYTES_MAX;
use format::seal::Signer;
use storage::ObjectKey;
use world::{Chance, World};

use crate::catalog::{Catalog, Opened};
use crate::error::Error;
use crate::fold::{DRIFT_NS_MAX, Finding, Fold};
use crate::io::Io;
use crate::layout;
use crate::log::{Log, LogEntry, Reading, Refreshed};
use crate::protocol::Rules;
use crate::state::State;
use crate::stated::Statements;
use crate::unlock::unlock;

/// How a repository is opened.
#[derive(Clone)]
pub struct Opening<'a> {
    /// Time and chance.
    pub world: World,
    /// The region to work with.
    pub io: Io,
    /// The user's state directory.
    pub state: &'a Path,
    /// What opens the keys.
    pub secret: Secret,
    /// The repository that must be there; `None` trusts what the location held before, or what is there now.
    pub trust: Option<RepoId>,
    /// This host's name.
    pub host: String,
}

/// What opens the keys of a repository.
#[derive(Clone)]
pub enum Secret {
    /// Opens a slot.
    Unlock(Unlock),
    /// Is a bundle by itself.
    Bundle(Box<Bundle>),
}

/// An opened repository.
pub struct Repo {
    pub(crate) world: World,
    pub(crate) io: Io,
    pub(crate) genesis: Genesis,
    pub(crate) bundle: Bundle,
    pub(crate) state: State,
    pub(crate) catalog: Catalog,
    pub(crate) opened_by: Option<SlotId>,
    host: String,
    reads_only: bool,
    /// What its sessions and sweeps keep to: all there are, but in the hands of those who prove that each is needed.
    pub(crate) rules: Rules,
    view: Mutex<View>,
    pub(crate) statements: Statements,
    notices: Vec<String>,
}

struct View {
    log: Log,
    fold: Arc<Fold>,
    vanished: Vec<(EntryId, Hash)>,
    /// Why the catalog is no longer kept up, if so: it must be told of every entry, or of none any more.
    unkept: Option<Error>,
}

impl Repo {
    /// Makes a repository in an empty place and opens it. Keys first, so that a kill in between leaves nothing that
    /// looks like a repository.
    pub fn create(opening: Opening<'_>, lock: &Lock, label: &str, chunks: ChunkSizes) -> Result<Repo, Error> {
        let (world, io) = (opening.world.clone(), opening.io.clone());
        check_vacant(&io)?;
        let mut chance = world.chance();
        let root_seed = fresh(&mut chance);
        let root = Signer::from_seed(&root_seed);
        let domain = DomainId(chance.bytes());
        let (genesis, object) =
            Genesis::create(&root, world.now_ns(), chance.bytes(), chunks, domain, io.region_name());
        let generations = vec![Generation::fresh(0, &mut chance)];
        let bundle = Bundle { repo: genesis.id, domain, generations, root: Some(root_seed), writer: None };
        let slot = SlotId(chance.bytes());
        let about = SlotLabel { slot, region: None, label: label.to_owned(), created: world.now_ns() };
        let sealed = Slot::seal(&bundle, lock, about, &root, &mut chance).map_err(Error::Keys)?;
        // A host that cannot keep its own key could not end what it begins here.
        let state = State::at(opening.state, genesis.id);
        state.signer(&world)?;
        let is_lost = || {
            io.create(&layout::slot(domain, slot), sealed.into_bytes().into())?;
            match io.create(&layout::genesis(), Bytes::copy_from_slice(object.as_bytes())) {
                Err(Error::Storage(storage::Error::Exists { .. })) => Ok(true),
                created => Ok(created.and_then(|()| io.get(&layout::genesis()))? != object.as_bytes()),
            }
        };
        let is_lost: Result<bool, Error> = is_lost();
        if !matches!(is_lost, Ok(false)) {
            state.forget();
        }
        if is_lost? {
            // Our slot opens nothing that is there; one that stays is ignored.
            let _ = io.delete(&layout::slot(domain, slot));
            return Err(Error::Raced(format!("somebody else made a repository in {} just now", io.place())));
        }
        let secret = Secret::Bundle(Box::new(bundle));
        let repo = Repo::open(Opening { secret, trust: Some(genesis.id), ..opening })?;
        repo.enrol()?;
        Ok(repo)
    }

    /// Opens the repository that lies in a region.
    pub fn open(opening: Opening<'_>) -> Result<Repo, Error> {
        let repo = Repo::open_once(opening.clone())?;
        // Slots are read before the history: whoever renews the keys in between has slots by now that were not seen.
        if !matches!(repo.must_have_newest_keys(), Err(Error::OldKeys { .. } | Error::HalfRenewed(_))) {
            return Ok(repo);
        }
        // The first look is remembered by now, so what it noticed is not noticed again.
        let noticed = repo.notices;
        let mut repo = Repo::open_once(opening)?;
        repo.notices.retain(|notice| !noticed.contains(notice));
        repo.notices = noticed.into_iter().chain(repo.notices).collect();
        Ok(repo)
    }

    fn open_once(opening: Opening<'_>) -> Result<Repo, Error> {
        let Opening { world, io, state, secret, trust, host } = opening;
        let place = io.place();
        let genesis = read_genesis(&io).map_err(|error| gone(error, state, &io))?;
        let trusted = trust.or_else(|| State::known_at(state, &place));
        if let Some(expected) = trusted.filter(|expected| *expected != genesis.id) {
            return Err(Error::not_trusted(place, expected, genesis.id));
        }
        let mut notices = Vec::new();
        if trusted.is_none() {
            let first = "this is the first look at repository";
            notices.push(format!(
                "{first} {} from here: this host's state knows nothing of it, and no --trust was given to compare it with",
                genesis.id
            ));
        }
        let (bundle, opened_by) = unlock(&io, &genesis, secret, &mut notices)?;
        let state = State::at(state, genesis.id);
        let (catalog, unkept) = local_state(&state, &place, genesis.id, &mut notices);
        let view = View { log: Log::default(), fold: Arc::default(), vanished: Vec::new(), unkept };
        let view = Mutex::new(view);
        let (reads_only, rules) = (false, Rules::all());
        let mut repo = Repo {
            world,
            io,
            genesis,
            bundle,
            state,
            catalog,
            opened_by,
            host,
            reads_only,
            rules,
            view,
            statements: Statements::default(),
            notices,
        };
        repo.load_cached();
        repo.refresh()?;
        repo.notices.extend(repo.lost_catalog());
        Ok(repo)
    }

    /// That there is no catalog any more, and why, if [`Repo::notices`] does not say so.
    pub fn lost_catalog(&self) -> Option<String> {
        let said = |why: &Error| {
            format!(
                "going on without a catalog ({why}): the whole history comes from the repository, and what is lost \
                 of it is not missed"
            )
        };
        let unkept = self.view().unkept.as_ref().map(said);
        unkept.filter(|said| !self.notices.contains(said))
    }

    /// From now on a check neither announces itself nor leaves its result in the history.
    #[must_use]
    pub fn reading_only(self) -> Repo {
        Repo { reads_only: true, ..self }
    }

    /// From now on some rules are broken. Only a simulation may call this; what runs on it loses data.
    #[doc(hidden)]
    #[must_use]
    pub fn under(self, rules: Rules) -> Repo {
        Repo { rules, ..self }
    }

    /// What a person should hear about the opening.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The repository's id, which is also its trust anchor.
    pub fn id(&self) -> RepoId {
        self.genesis.id
    }

    /// Its first object.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The keys at hand.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Whether the keys at hand show points and what they hold. A host that may only add has others.
    pub fn can_read(&self) -> bool {
        let keys = self.bundle.newest();
        keys.data.is_some() && keys.catalog.is_some()
    }

    /// Refuses what needs keys that are not at hand.
    pub fn must_read(&self) -> Result<(), Error> {
        if self.can_read() { Ok(()) } else { Err(Error::Keys(format::Error::NoKey("reading"))) }
    }

    /// Time and chance.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The region.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// What this host keeps for itself.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// This host's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the log said when it was last read.
    pub fn fold(&self) -> Arc<Fold> {
        self.view().fold.clone()
    }

    /// A copy of the log as it was last read.
    pub fn log(&self) -> Log {
        self.view().log.clone()
    }

    /// Entries that this host has seen and the region no longer has.
    pub fn vanished(&self) -> Vec<(EntryId, Hash)> {
        self.view().vanished.clone()
    }

    /// Reads the log again.
    pub fn refresh(&self) -> Result<Arc<Fold>, Error> {
        let mut view = self.view();
        let reading = Reading { repo: self.genesis.id, bundle: Some(&self.bundle) };
        let Refreshed { added, vanished } = view.log.refresh(&self.io, &reading)?;
        view.vanished = vanished;
        if !added.is_empty() || view.fold.heads.is_empty() {
            view.fold = Arc::new(Fold::of(view.log.entries.values(), self.root()));
            let added: Vec<LogEntry> =
                added.iter().filter_map(|place| view.log.entries.get(place)).cloned().collect();
            if view.unkept.is_none() {
                view.unkept = self.catalog.update(&added, &view.fold).err();
            }
        }
        Ok(view.fold.clone())
    }

    /// Makes the catalog anew from the region, and what this host knows that the region has lost.
    pub fn rebuild_catalog(&self) -> Result<Arc<Fold>, Error> {
        let mut view = self.view();
        let (log, vanished) = self.read_anew(&view.log)?;
        let fold = Arc::new(Fold::of(log.entries.values(), self.root()));
        let all: Vec<LogEntry> = log.entries.values().cloned().collect();
        self.catalog.rebuild(&all, &fold)?;
        *view = View { log, fold: fold.clone(), vanished, unkept: None };
        Ok(fold)
    }

    /// Compares the catalog with what the region says; each sentence is a difference.
    pub fn check_catalog(&self) -> Result<Vec<String>, Error> {
        let (log, _) = self.read_anew(&self.view().log)?;
        let fold = Fold::of(log.entries.values(), self.root());
        let all: Vec<LogEntry> = log.entries.values().cloned().collect();
        self.catalog.check(&all, &fold)
    }

    /// The whole log from the region, and with it those entries of `known` that the region lost, which are named: each
    /// entry proves itself, and together they prove the loss.
    fn read_anew(&self, known: &Log) -> Result<(Log, Vec<(EntryId, Hash)>), Error> {
        let reading = Reading { repo: self.genesis.id, bundle: Some(&self.bundle) };
        let mut log = Log::default();
        log.refresh(&self.io, &reading)?;
        let mut vanished = Vec::new();
        for (place, entry) in &known.entries {
            if !log.entries.contains_key(place) {
                log.entries.insert(*place, entry.clone());
                vanished.push(*place);
            }
        }
        Ok((log, vanished))
    }

    /// The root's writer id.
    pub fn root(&self) -> WriterId {
        WriterId::of(&self.genesis.root_public)
    }

    /// The present life of the region.
    pub fn incarnation(&self) -> Incarnation {
        self.fold().regions.get(self.io.region_name()).copied().unwrap_or(Incarnation([0; 16]))
    }

    /// Refuses a verb that a fact forbids which this program does not know.
    pub fn allow(&self, verb: &'static str) -> Result<(), Error> {
        match self.fold().forbids(verb) {
            None => Ok(()),
            Some(raw) => {
                let fact = match Fact::decode(raw.clone()) {
                    Ok(Fact::Feature(feature)) => format!("the feature {}", feature.name),
                    _ => format!("{} type {} version {}", raw.namespace, raw.kind, raw.version),
                };
                Err(Error::UnknownFact { verb, fact })
            }
        }
    }

    /// Refuses to go on unless the keys at hand are the ones in use: those that the history states last. Keys that are not
    /// stated yet are not used either, as not everybody may have them; nor are older ones instead, or whoever hides an entry
    /// could bring them back.
    pub fn must_have_newest_keys(&self) -> Result<(), Error> {
        let (fold, newest) = (self.fold(), self.bundle.newest());
        match fold.newest_keys(self.bundle.domain) {
            None if newest.number == 0 => Ok(()),
            Some(stated) if *stated == DomainKeys::of(self.bundle.domain, newest) => Ok(()),
            Some(stated) if newest.number <= stated.generation => Err(self.old_keys()),
            _ => Err(Error::HalfRenewed(self.io.place())),
        }
    }

    /// Refuses to say which point is the newest where later ones may be sealed under keys that are not at hand.
    pub(crate) fn must_know_newest(&self) -> Result<(), Error> {
        match self.must_have_newest_keys() {
            Err(error @ Error::OldKeys { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn old_keys(&self) -> Error {
        Error::OldKeys { place: self.io.place(), write_only: !self.can_read() }
    }

    /// Whether there were other keys before those in use, so that the same content can have had another name.
    pub fn had_other_keys(&self) -> bool {
        self.bundle.newest().number > 0
    }

    /// Refuses what the history would not count: points of a source that this host was not let in for.
    pub fn may_add(&self, source: &str) -> Result<(), Error> {
        self.must_have_newest_keys()?;
        let id = WriterId::of(&self.enrolled_signer()?.public());
        let fold = self.fold();
        let sources = fold.writers.get(&id).and_then(|writer| writer.grant.sources.as_ref());
        match sources.is_none_or(|sources| sources.iter().any(|named| named == source)) {
            true => Ok(()),
            false => Err(Error::NotAllowed { writer: id, act: "add points of this source" }),
        }
    }

    /// This host's signer, let in if it was not yet and the root key is at hand.
    pub(crate) fn enrolled_signer(&self) -> Result<Signer, Error> {
        let signer = match &self.bundle.writer {
            Some(seed) => Signer::from_seed(seed),
            None => self.state.signer(&self.world)?,
        };
        let id = WriterId::of(&signer.public());
        let fold = self.seen_by_others();
        match fold.writers.get(&id) {
            Some(writer) if writer.revoked.is_some() => {
                Err(Error::NotAllowed { writer: id, act: "add anything: it was revoked" })
            }
            Some(_) => Ok(signer),
            None if self.bundle.root.is_some() => {
                self.enrol()?;
                Ok(signer)
            }
            None => Err(Error::NotAllowed { writer: id, act: "add anything: it was never let in" }),
        }
    }

    /// Whether this program writes nothing, whatever the keys allow.
    pub(crate) fn only_reads(&self) -> bool {
        self.reads_only
    }

    /// This host's signer if it was let in; nobody is let in for asking.
    pub(crate) fn known_signer(&self) -> Result<Option<Signer>, Error> {
        if self.reads_only {
            return Ok(None);
        }
        let signer = match &self.bundle.writer {
            Some(seed) => Some(Signer::from_seed(seed)),
            None => self.state.known_signer()?,
        };
        let fold = self.seen_by_others();
        let counts = |signer: &Signer| {
            let writer = fold.writers.get(&WriterId::of(&signer.public()));
            writer.is_some_and(|writer| writer.revoked.is_none())
        };
        Ok(signer.filter(counts))
    }

    /// The log as others see it: without what only this host remembers.
    fn seen_by_others(&self) -> Arc<Fold> {
        self.region_log(|_, fold| fold)
    }

    /// Which of these points the region showed in the last list.
    pub(crate) fn seen_in_region(&self, points: &BTreeSet<PointId>) -> BTreeSet<PointId> {
        let fold = self.seen_by_others();
        points.iter().filter(|point| fold.points.contains_key(point)).copied().collect()
    }

    /// Looks at the entries that the region has, and at what they say.
    pub(crate) fn region_log<T>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = &LogEntry>, Arc<Fold>) -> T,
    ) -> T {
        let view = self.view();
        if view.vanished.is_empty() {
            return look(&mut view.log.entries.values(), view.fold.clone());
        }
        let is_here = |place: &(EntryId, Hash)| !view.vanished.contains(place);
        let here = || view.log.entries.iter().filter(|(place, _)| is_here(place)).map(|(_, entry)| entry);
        let fold = Arc::new(Fold::of(here(), self.root()));
        look(&mut here(), fold)
    }

    /// Whether what this chain says counts for others too: its writer may have been shut out while it was at work.
    pub(crate) fn check_counts(&self, writer: WriterId, session: SessionId) -> Result<(), Error> {
        let fold = self.seen_by_others();
        let refused = fold.findings.iter().any(|finding| match finding {
            Finding::NotGranted(entry) | Finding::Stranger(entry) | Finding::NotAllowed { entry, .. } => {
                (entry.writer, entry.session) == (writer, session)
            }
            _ => false,
        });
        let act = "add anything: it was shut out while it was at work, and what it added does not count";
        if refused { Err(Error::NotAllowed { writer, act }) } else { Ok(()) }
    }

    /// Lets this host in, and states domain and region if nobody has yet.
    fn enrol(&self) -> Result<(), Error> {
        let seed = self.bundle.root.as_ref().ok_or(Error::Keys(format::Error::NoKey("letting a host in")))?;
        let (root, own) = (Signer::from_seed(seed), self.state.signer(&self.world)?);
        let fold = self.seen_by_others();
        let mut facts = Vec::new();
        // Where some of a history is lost or did not read, it may be what states them: nobody says so again, as a second life
        // of a region would void every session at work.
        let is_whole = self.history_damage().is_empty();
        // Later ones are stated by whoever makes them, once they are in every slot.
        if is_whole
            && let Ok(first) = self.bundle.generation(0)
            && !fold.domains.contains_key(&(self.bundle.domain, 0))
        {
            facts.push(Fact::Domain(DomainKeys::of(self.bundle.domain, first)));
        }
        if is_whole && !fold.regions.contains_key(self.io.region_name()) {
            let incarnation = Incarnation(self.world.chance().bytes());
            facts.push(Fact::Region(RegionFact { name: self.io.region_name().to_owned(), incarnation }));
        }
        facts.push(Fact::Grant(Grant {
            public_key: own.public(),
            name: self.host.clone(),
            rights: Grant::ADD | Grant::MAINTAIN | Grant::ADMINISTER,
            sources: None,
            time: self.world.now_ns(),
        }));
        self.state_as_root(&root, facts)
    }

    /// Appends a chain of one entry, signed by the root.
    pub(crate) fn state_as_root(&self, root: &Signer, mut facts: Vec<Fact>) -> Result<(), Error> {
        facts.push(Fact::End);
        let mut chance = self.world.chance();
        let session = SessionId(chance.bytes());
        let link = Link { session, number: 0, previous: Hash::NONE };
        self.append(root, link, &facts, Said::default(), &mut chance)?;
        self.refresh()?;
        Ok(())
    }

    /// Writes one entry and reads it back; gives its hash. Repeating it makes another entry, so callers keep the bytes.
    pub(crate) fn append(
        &self,
        signer: &Signer,
        link: Link,
        facts: &[Fact],
        said: Said,
        chance: &mut Chance,
    ) -> Result<Hash, Error> {
        let (key, hash, bytes) = self.entry(signer, link, facts, said, chance);
        self.io.put_seen(&key, bytes)?;
        Ok(hash)
    }

    /// The bytes and the name of an entry.
    pub(crate) fn entry(
        &self,
        signer: &Signer,
        link: Link,
        facts: &[Fact],
        said: Said,
        chance: &mut Chance,
    ) -> (ObjectKey, Hash, Bytes) {
        let fold = self.fold();
        let writer = WriterId::of(&signer.public());
        let (clear_facts, sealed): (Vec<&Fact>, Vec<&Fact>) = facts.iter().partition(|f| f.is_clear());
        let clear = Clear {
            repo: self.genesis.id,
            writer,
            session: link.session,
            number: link.number,
            previous: link.previous,
            time: self.logical_time(),
            epoch: 0,
            public_key: signer.public(),
            regions: vec![self.io.region_name().to_owned()],
            brings: said.brings,
            deps: said.deps,
            heads: unnamed_heads(&fold, link.session),
            facts: clear_facts.into_iter().map(Fact::encode).collect(),
            local: said.local,
        };
        let sealed: Vec<_> = sealed.into_iter().map(Fact::encode).collect();
        let keys = (self.bundle.domain, self.bundle.newest());
        let (hash, object) = Entry::create(&clear, &sealed, keys, signer, chance);
        (layout::entry(clear.id(), hash), hash, object.into_bytes().into())
    }

    /// Now, but after everything that was seen of clocks which are not far ahead.
    pub(crate) fn logical_time(&self) -> LogicalTime {
        let now = self.world.now_ns();
        let view = self.view();
        let believable = |t: &LogicalTime| t.time <= now.saturating_add(DRIFT_NS_MAX);
        let seen =
            view.log.entries.values().map(|e| e.clear.time).filter(believable).max().unwrap_or_default();
        if seen.time < now {
            LogicalTime { time: now, counter: 0 }
        } else {
            LogicalTime { time: seen.time, counter: seen.counter.saturating_add(1) }
        }
    }

    /// A fresh id for a point.
    pub fn fresh_point(&self) -> PointId {
        PointId(self.world.chance().bytes())
    }

    /// Names of objects of the log that did not read when it was read last.
    pub(crate) fn bad_objects(&self) -> BTreeSet<String> {
        self.view().log.bad.iter().map(|bad| bad.object.clone()).collect()
    }

    /// What is lost of the history or does not fit together, in sentences: a point may hang on it. What somebody said
    /// without the right to say it is not among them, as nothing is lost by it.
    pub fn history_damage(&self) -> Vec<String> {
        let view = self.view();
        let bad = view.log.bad.iter().map(|bad| format!("{} is damaged: {}", bad.object, bad.why));
        let found = view.fold.findings.iter().filter(|finding| finding.is_damage()).map(ToString::to_string);
        let gone =
            view.vanished.iter().map(|(id, _)| format!("{} was here before and is gone", Finding::place(id)));
        bad.chain(found).chain(gone).collect()
    }

    fn load_cached(&mut self) {
        if self.view().unkept.is_some() {
            return;
        }
        let cached = match self.catalog.entries() {
            Ok(cached) => cached,
            Err(error) => {
                let why = match error {
                    Error::Catalog { why, .. } => why,
                    error => error.to_string(),
                };
                self.notices
                    .push(format!("the catalog was damaged ({why}) and is made anew from the repository"));
                self.view().unkept = self.catalog.rebuild(&[], &Fold::default()).err();
                Vec::new()
            }
        };
        let root = self.root();
        let readable = self.bundle.newest().catalog.is_some();
        let mut view = self.view();
        let usable = cached.into_iter().filter(|entry| !(entry.closed && readable));
        view.log.entries = usable.map(|entry| ((entry.clear.id(), entry.hash), entry)).collect();
        view.fold = Arc::new(Fold::of(view.log.entries.values(), root));
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no holder of this lock panics")
    }
}

/// The place of an entry that is about to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) session: SessionId,
    pub(crate) number: u32,
    pub(crate) previous: Hash,
}

/// What an entry says beside its facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) brings: Vec<Brought>,
    pub(crate) deps: Vec<EntryId>,
    pub(crate) local: Option<String>,
}

fn unnamed_heads(fold: &Fold, own: SessionId) -> Vec<Head> {
    let unnamed = |h: &&Head| {
        let id = EntryId { writer: h.writer, session: h.session, number: h.number };
        h.session != own && fold.unnamed.contains(&id)
    };
    fold.heads.values().filter(unnamed).copied().collect()
}

fn check_vacant(io: &Io) -> Result<(), Error> {
    match io.list(&storage::KeyPrefix::all()) {
        Ok(listed) if listed.iter().all(|o| layout::slots().covers(&o.key)) => Ok(()),
        Ok(_) => Err(Error::Occupied(io.place())),
        Err(Error::Storage(storage::Error::NoPlace { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What this host keeps of the repository. Where it cannot keep anything, for want of room or of a right, the way to the data
/// must not be shut: then there is no catalog, and why is told.
fn local_state(
    state: &State,
    place: &str,
    repo: RepoId,
    notices: &mut Vec<String>,
) -> (Catalog, Option<Error>) {
    if let Err(error) = state.make().and_then(|()| state.remember(place, repo)) {
        notices.push(format!("cannot remember which repository is in {place}: {error}"));
    }
    let path = state.path("catalog.sqlite");
    match Catalog::open(&path, repo) {
        Ok((catalog, opened)) => {
            if let Opened::Discarded(why) = opened {
                notices
                    .push(format!("the catalog was not usable ({why}) and is made anew from the repository"));
            }
            (catalog, None)
        }
        Err(error) => (Catalog::lost(&path, repo, &error), Some(error)),
    }
}

/// What the absence of a repository means where there was one: it is away, or its genesis object is lost.
fn gone(error: Error, state: &Path, io: &Io) -> Error {
    let place = io.place();
    match State::known_at(state, &place) {
        Some(repo) if matches!(error, Error::NoRepository(_)) => {
            Error::Gone { place, repo: repo.to_string() }
        }
        _ => error,
    }
}

pub(crate) fn read_genesis(io: &Io) -> Result<Genesis, Error> {
    let bytes = match io.get_small(&layout::genesis(), SMALL_OBJECT_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(Error::Storage(error @ storage::Error::NoPlace { .. })) => {
            return Err(Error::NoRepository(match error {
                storage::Error::NoPlace { detail, .. } => format!("{}: {detail}", io.place()),
                _ => io.place(),
            }));
        }
        Err(Error::Storage(error)) if error.is_not_found() => {
            let lost = !io.list(&layout::slots())?.is_empty();
            let why = "it is not there, though keys of a repository are";
            return Err(if lost {
                io.damaged(&layout::genesis(), why)
            } else {
                Error::NoRepository(io.place())
            });
        }
        Err(error) => return Err(error),
    };
    Genesis::decode(&bytes).map_err(Error::object(layout::genesis(), io.place()))
}

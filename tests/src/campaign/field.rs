//! What the actors of a campaign share: the repository, the hosts, the ledger, the counters, and when it is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use format::id::Hash;
use world::Chance;

use super::Outcome;
use super::counts::{Counts, Kill};
use super::host::Host;
use super::ledger::Ledger;
use super::orders::{Orders, Place};
use super::tree::Pool;
use crate::s3::{Config, Server};
use crate::seawall::Machine;

/// Hosts that back up.
pub(super) const WRITERS: usize = 4;

/// How long each answer of the S3 server takes at least, so that requests meet.
const LATENCY_MS: u64 = 4;

pub(super) struct Field {
    pub(super) orders: Orders,
    /// The host that founded the repository; it holds the key file, and what the S3 server keeps.
    pub(super) founder: Host,
    pub(super) pool: Pool,
    /// Held alone by a sweep of which every deletion must be known to be its own, together by all other sweeps.
    pub(super) sweeping: RwLock<()>,
    server: Option<Server>,
    packs: PathBuf,
    begun: Instant,
    ledger: Mutex<Ledger>,
    counts: Mutex<Counts>,
    broken: Mutex<Vec<String>>,
    hosts: Mutex<Vec<PathBuf>>,
    stops: AtomicBool,
}

impl Field {
    pub(super) fn new(orders: &Orders) -> Field {
        let mut machine = Machine::new();
        let (server, packs) = match orders.place {
            Place::Local => (None, machine.repository().join("packs")),
            Place::S3 => {
                let directory = machine.at("server");
                let packs = directory.join("bucket/repository/packs");
                let server = Server::start(Config { directory: Some(directory), ..Config::default() });
                server.order(|orders| orders.latency_ms = LATENCY_MS);
                (Some(server), packs)
            }
        };
        meet(&mut machine, server.as_ref());
        machine.done(&["init"]);
        Field {
            orders: *orders,
            founder: Host::new("founder".to_owned(), machine),
            pool: Pool::default(),
            sweeping: RwLock::default(),
            server,
            packs,
            begun: Instant::now(),
            ledger: Mutex::default(),
            counts: Mutex::default(),
            broken: Mutex::default(),
            hosts: Mutex::default(),
            stops: AtomicBool::new(false),
        }
    }

    /// A host that has never seen the repository, but has its key.
    pub(super) fn host(&self, name: &str) -> Host {
        let mut machine = Machine::new();
        if self.server.is_none() {
            machine.set("SEAWALL_REPO", &text(&self.founder.machine.repository()));
        }
        meet(&mut machine, self.server.as_ref());
        machine.set("SEAWALL_KEY_FILE", &text(&self.founder.machine.key_file()));
        Host::new(name.to_owned(), machine)
    }

    /// The choices of one actor.
    pub(super) fn chance(&self, who: &str) -> Chance {
        Chance::from_key(Hash::of(format!("seawall campaign {} {who}", self.orders.seed).as_bytes()).0)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of this lock panics")
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.counts.lock().expect("no holder of this lock panics"));
    }

    pub(super) fn killed(&self, who: Kill) {
        self.count(|counts| counts.kill(who));
    }

    /// Whether the actors are to go on.
    pub(super) fn goes_on(&self) -> bool {
        let elapsed = self.begun.elapsed();
        if self.stops.load(Ordering::Relaxed) || elapsed >= self.orders.at_most {
            return false;
        }
        let counts = self.counts.lock().expect("no holder of this lock panics");
        let goal = self.orders.goal;
        elapsed < self.orders.at_least
            || counts.points < goal.points
            || counts.kills() < goal.kills
            || counts.killed_deleting < goal.kills_deleting
            || (goal.points > 0 && counts.is_missing())
    }

    /// Waits, unless it is over before.
    pub(super) fn rest(&self, time: Duration) {
        let since = Instant::now();
        while since.elapsed() < time && self.goes_on() {
            std::thread::sleep(Duration::from_millis(50).min(time));
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes down what must not have happened; the campaign is over then.
    pub(super) fn note(&self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            let at = self.begun.elapsed().as_secs_f64();
            self.broken
                .lock()
                .expect("no holder of this lock panics")
                .push(format!("after {at:.1} s: {what}"));
            self.stops.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// The packs that are there now. What goes meanwhile may be named or not.
    pub(super) fn packs(&self) -> BTreeSet<PathBuf> {
        let below = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        below(&self.packs).flat_map(|folder| below(&folder).collect::<Vec<_>>()).collect()
    }

    /// Bytes of all packs.
    pub(super) fn stored(&self) -> u64 {
        self.packs().iter().filter_map(|pack| Some(fs::metadata(pack).ok()?.len())).sum()
    }

    /// Keeps a host's folder beyond the host, where something broke.
    pub(super) fn leave(&self, host: Host) {
        if self.is_broken() {
            self.hosts.lock().expect("no holder of this lock panics").push(host.machine.keep());
        }
    }

    pub(super) fn finish(self) -> Outcome {
        let mut counts = self.counts.into_inner().expect("no holder of this lock panics");
        counts.time_all = self.begun.elapsed();
        let broken = self.broken.into_inner().expect("no holder of this lock panics");
        let mut kept = self.hosts.into_inner().expect("no holder of this lock panics");
        drop(self.server);
        if !broken.is_empty() {
            kept.insert(0, self.founder.machine.keep());
        }
        Outcome { counts, broken, kept }
    }
}

/// Tells a machine where the server is and how one gets in.
fn meet(machine: &mut Machine, server: Option<&Server>) {
    let Some(server) = server else { return };
    server.environment().iter().for_each(|(name, value)| machine.set(name, value));
    machine.set("SEAWALL_REPO", &server.location("bucket", "repository"));
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}

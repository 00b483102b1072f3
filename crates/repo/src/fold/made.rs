//! Log entries made by hand and by chance, for tests: no keys, no signatures, but chains that hang together
//! unless a test tears them.

use format::entry::{Brought, Clear, EntryId, Head, LogicalTime};
use format::fact::{
    DomainKeys, Expired, Fact, Feature, Forget, Grant, Hold, Moved, Pin, Point, PointKind, RawFact,
    RegionFact, Release, Revoke, Sizes, Substitute, Undo, Verified,
};
use format::id::{
    ChunkId, DomainId, Hash, HoldId, Incarnation, PackId, PointId, RepoId, RunId, SessionId, WriterId,
};
use format::reference::Reference;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::layout;
use crate::log::LogEntry;

/// The repository of all entries made here.
pub(crate) const REPO: RepoId = RepoId([7; 32]);

/// The writer that needs no grant.
pub(crate) const ROOT: u8 = 0;

pub(crate) fn key(writer: u8) -> [u8; 32] {
    [writer; 32]
}

pub(crate) fn writer(number: u8) -> WriterId {
    WriterId::of(&key(number))
}

pub(crate) fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

pub(crate) fn point_id(number: u8) -> PointId {
    PointId([number; 16])
}

pub(crate) fn pack_id(number: u8) -> PackId {
    PackId::new(session(number), [number; 16])
}

pub(crate) fn reference(pack: u8, chunk: u8) -> Reference {
    Reference { pack: pack_id(pack), ordinal: 0, offset: 0, length: 10, chunk: ChunkId([chunk; 32]) }
}

/// One session's entries, each following the one before it.
#[derive(Clone)]
pub(crate) struct Chain {
    writer: u8,
    session: u8,
    pub(crate) entries: Vec<LogEntry>,
}

impl Chain {
    pub(crate) fn of(writer: u8, session: u8) -> Chain {
        Chain { writer, session, entries: Vec::new() }
    }

    /// The root's chain 0, which lets `hosts` in with all rights for all sources.
    pub(crate) fn of_root(hosts: &[u8]) -> Chain {
        let facts: Vec<Fact> = hosts.iter().map(|host| grant(*host, 7, None, 1)).collect();
        Chain::of(ROOT, 0).saying(facts)
    }

    pub(crate) fn saying(self, facts: impl IntoIterator<Item = Fact>) -> Chain {
        self.saying_with(facts, |_| {})
    }

    /// Appends an entry whose clear part `change` may alter.
    pub(crate) fn saying_with(
        mut self,
        facts: impl IntoIterator<Item = Fact>,
        change: impl FnOnce(&mut Clear),
    ) -> Chain {
        let before = self.entries.last().map(|e| (e.clear.number + 1, e.hash, e.clear.time.time + 1));
        let (number, previous, time) = before.unwrap_or((0, Hash::NONE, 1));
        let (open, sealed): (Vec<Fact>, Vec<Fact>) = facts.into_iter().partition(Fact::is_clear);
        let mut clear = Clear {
            repo: REPO,
            writer: writer(self.writer),
            session: session(self.session),
            number,
            previous,
            time: LogicalTime { time, counter: 0 },
            epoch: 0,
            public_key: key(self.writer),
            regions: vec!["here".into()],
            brings: Vec::new(),
            deps: Vec::new(),
            heads: Vec::new(),
            facts: open.iter().map(Fact::encode).collect(),
            local: None,
        };
        change(&mut clear);
        self.entries.push(made(clear, sealed.iter().map(Fact::encode).collect()));
        self
    }

    /// The place of an entry of this chain.
    pub(crate) fn id(&self, number: u32) -> EntryId {
        EntryId { writer: writer(self.writer), session: session(self.session), number }
    }

    /// What another writer says of the newest entry when it has seen it.
    pub(crate) fn head(&self) -> Head {
        head_of(self.entries.last().unwrap())
    }
}

pub(crate) fn head_of(entry: &LogEntry) -> Head {
    let EntryId { writer, session, number } = entry.clear.id();
    Head { writer, session, number, hash: entry.hash }
}

/// An entry with the hash of its content.
pub(crate) fn made(clear: Clear, facts: Vec<RawFact>) -> LogEntry {
    let hash = Hash::of(&minicbor::to_vec((&clear, &facts)).unwrap());
    LogEntry { clear, hash, facts, closed: false }
}

pub(crate) fn grant(to: u8, rights: u32, sources: Option<&[&str]>, time: i64) -> Fact {
    let sources = sources.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Fact::Grant(Grant { public_key: key(to), name: format!("host {to}"), rights, sources, time })
}

pub(crate) fn point(id: u8, source: &str) -> Fact {
    Fact::Point(Box::new(Point {
        id: point_id(id),
        source: source.into(),
        host: "host".into(),
        kind: PointKind::Full,
        basis: None,
        as_of: i64::from(id),
        begun: 1,
        finished: 2,
        paths: vec![b"/srv".to_vec().into()],
        root: reference(id, id),
        sizes: Sizes { files: 3, bytes_logical: u64::MAX, ..Sizes::default() },
        problems: 0,
        problem_list: Vec::new(),
        tags: vec![("tier".into(), "1".into()), ("tier".into(), "2".into())],
        cutter: 0,
        program: "seawall".into(),
        amplification: 1000,
    }))
}

pub(crate) fn forget(id: u8, regions: Option<&[&str]>) -> Fact {
    let regions = regions.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Fact::Forget(Forget { points: vec![point_id(id)], regions, reason: "old".into() })
}

pub(crate) fn undo(id: u8, of: &[EntryId]) -> Fact {
    Fact::Undo(Undo { points: vec![(point_id(id), of.to_vec())] })
}

pub(crate) fn revoke(whom: u8, counts: &[(u8, u32, Hash)]) -> Fact {
    let counts = counts.iter().map(|(s, number, hash)| (session(*s), *number, *hash)).collect();
    Fact::Revoke(Revoke { writer: writer(whom), counts, reason: "lost".into() })
}

pub(crate) fn hold(id: u8, of: u8) -> Fact {
    let point = Some(point_id(of));
    Fact::Hold(Hold { hold: HoldId([id; 16]), point, source: None, reason: "court".into() })
}

pub(crate) fn hold_of(id: u8, source: &str) -> Fact {
    let source = Some(source.to_owned());
    Fact::Hold(Hold { hold: HoldId([id; 16]), point: None, source, reason: "court".into() })
}

pub(crate) fn release(id: u8) -> Fact {
    Fact::Release(Release { hold: HoldId([id; 16]) })
}

pub(crate) fn pin(id: u8, until: Option<i64>) -> Fact {
    Fact::Pin(Pin { point: point_id(id), until })
}

pub(crate) fn verified(id: u8, level: u8, time: i64, problems: u64) -> Fact {
    let (objects, bytes) = (1, u64::MAX);
    Fact::Verified(Verified {
        point: point_id(id),
        level,
        region: "here".into(),
        time,
        problems,
        objects,
        bytes,
    })
}

pub(crate) fn region(incarnation: u8) -> Fact {
    Fact::Region(RegionFact { name: "here".into(), incarnation: Incarnation([incarnation; 16]) })
}

pub(crate) fn moved(incarnation: u8, from: u8, to: u8) -> Fact {
    let frames = vec![(pack_id(from), vec![0, 2], pack_id(to))];
    Fact::Moved(Moved { region: "here".into(), incarnation: Incarnation([incarnation; 16]), frames })
}

pub(crate) fn substitute(lost: Reference, by: Reference) -> Fact {
    Fact::Substitute(Substitute { chunks: vec![(lost, by)] })
}

pub(crate) fn expired(whose: u8, which: u8) -> Fact {
    Fact::Expired(Expired { writer: writer(whose), session: session(which), region: "here".into() })
}

pub(crate) fn generation(number: u32, keys: u8) -> Fact {
    let (data_public, catalog_public) = (vec![keys; 1216], vec![keys; 1216]);
    Fact::Domain(DomainKeys { domain: DomainId([1; 16]), generation: number, data_public, catalog_public })
}

pub(crate) fn feature(effect: u8) -> Fact {
    Fact::Feature(Feature { name: "parity".into(), effect })
}

pub(crate) fn unknown(critical: &[&str]) -> Fact {
    let critical = critical.iter().map(|verb| (*verb).to_owned()).collect();
    Fact::Unknown(RawFact {
        namespace: "seawall".into(),
        kind: 4711,
        version: 0,
        critical,
        bytes: vec![0x80],
    })
}

pub(crate) fn pack(number: u8, size: u64) -> Brought {
    Brought { name: layout::pack(pack_id(number)).to_string(), size, hash: Hash([number; 32]) }
}

pub(crate) fn run(of: u8, number: u8) -> Brought {
    let name = layout::run(writer(of), session(number), RunId([number; 16]));
    Brought { name: name.to_string(), size: 9, hash: Hash([number; 32]) }
}

/// What one more entry of a random log is like.
#[derive(Clone, Debug)]
struct Step {
    chain: (u8, u8),
    tear: Tear,
    facts: Vec<Fact>,
    brings: Vec<Brought>,
    /// Which of the entries before this one it has seen, and whether it tells their hash right.
    seen: Vec<(prop::sample::Index, bool)>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Tear {
    No,
    Gap,
    Fork,
    Stranger,
}

/// Random logs of four writers with two sessions each, with gaps, forks and lies.
pub(crate) fn log() -> impl Strategy<Value = Vec<LogEntry>> {
    vec(step(), 0..24).prop_map(|steps| steps.into_iter().fold(Chain::of_root(&[1, 2, 3]).entries, grown))
}

fn grown(mut log: Vec<LogEntry>, step: Step) -> Vec<LogEntry> {
    let mut chain = Chain::of(step.chain.0, step.chain.1);
    let own = (writer(chain.writer), session(chain.session));
    chain.entries = log.iter().filter(|e| (e.clear.writer, e.clear.session) == own).cloned().collect();
    let heads = step.seen.iter().filter(|_| !log.is_empty()).map(|(which, right)| {
        let head = head_of(which.get(&log));
        if *right { head } else { Head { hash: Hash([9; 32]), ..head } }
    });
    let heads: Vec<Head> = heads.collect();
    let chain = chain.saying_with(step.facts, |clear| {
        match step.tear {
            Tear::No => {}
            Tear::Gap => clear.number += 2,
            Tear::Fork => clear.number = clear.number.saturating_sub(1),
            Tear::Stranger => clear.previous = Hash([8; 32]),
        }
        clear.deps = heads
            .iter()
            .take(1)
            .map(|h| EntryId { writer: h.writer, session: h.session, number: h.number })
            .collect();
        (clear.heads, clear.brings) = (heads, step.brings);
    });
    let mut entry = chain.entries.last().unwrap().clone();
    if step.closed {
        (entry.facts, entry.closed) = (Vec::new(), true);
    }
    log.push(entry);
    log
}

fn step() -> impl Strategy<Value = Step> {
    let tear = prop_oneof![
        6 => Just(Tear::No),
        1 => Just(Tear::Gap),
        1 => Just(Tear::Fork),
        1 => Just(Tear::Stranger),
    ];
    let seen = vec((any::<prop::sample::Index>(), proptest::bool::weighted(0.9)), 0..3);
    let brings = vec(
        prop_oneof![
            (0..6_u8, 1..3_u64).prop_map(|(n, s)| pack(n, s)),
            (0..4_u8, 0..4_u8).prop_map(|(w, n)| run(w, n))
        ],
        0..3,
    );
    ((0..4_u8, 0..2_u8), tear, vec(fact(), 0..5), brings, seen, proptest::bool::weighted(0.1)).prop_map(
        |(chain, tear, facts, brings, seen, closed)| Step { chain, tear, facts, brings, seen, closed },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let place = || (0..4_u8, 0..2_u8, 0..6_u32).prop_map(|(w, s, n)| Chain::of(w, s).id(n));
    let named = prop_oneof![Just("a"), Just("b")];
    prop_oneof![
        6 => (1..4_u8, 0..8_u32, any::<bool>(), 0..4_i64)
            .prop_map(|(to, rights, all, time)| grant(to, rights, (!all).then_some(&["a"][..]), time)),
        1 => (1..4_u8, 0..2_u8, 0..4_u32).prop_map(|(w, s, n)| revoke(w, &[(s, n, Hash([9; 32]))])),
        6 => (0..6_u8, named).prop_map(|(id, source)| point(id, source)),
        2 => (0..6_u8, any::<bool>()).prop_map(|(id, all)| forget(id, (!all).then_some(&["here"][..]))),
        2 => (0..6_u8, vec(place(), 0..3)).prop_map(|(id, of)| undo(id, &of)),
        1 => (0..6_u8, proptest::option::of(0..9_i64)).prop_map(|(id, until)| pin(id, until)),
        1 => (0..3_u8, 0..6_u8).prop_map(|(id, of)| hold(id, of)),
        1 => (3..5_u8, prop_oneof![Just("a"), Just("b")]).prop_map(|(id, source)| hold_of(id, source)),
        1 => (0..5_u8).prop_map(release),
        2 => (0..6_u8, 0..4_u8, 0..9_i64, 0..2_u64).prop_map(|(id, l, t, p)| verified(id, l, t, p)),
        1 => (0..3_u8).prop_map(region),
        1 => (0..3_u8, 0..6_u8, 0..6_u8).prop_map(|(life, from, to)| moved(life, from, to)),
        1 => (0..4_u8, 0..2_u8).prop_map(|(w, s)| expired(w, s)),
        1 => Just(Fact::End),
        1 => (0..4_u8).prop_map(feature),
        1 => (0..3_u32, 0..2_u8).prop_map(|(number, keys)| generation(number, keys)),
        1 => (0..3_u8, 0..3_u8, 0..3_u8)
            .prop_map(|(p, c, d)| substitute(reference(p, c), reference(p + 1, d))),
        1 => Just(unknown(&["sweep"])),
    ]
}

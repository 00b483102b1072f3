//! Sweeps where a place has no room, on hosts that stay open for long, and of what was stored again for nothing.

use bytes::Bytes;
use format::compress::Effort;
use format::fact::Fact;
use format::id::{Hash, PointId};
use format::pack::ContentKind;
use format::reference::{FrameSet, Reference};
use format::session::Purpose;
use storage::{Fault, Verb};

use super::*;
use crate::fold::made;
use crate::keep::Last;
use crate::retention::Guard;
use crate::session::{RENEWAL, Session};
use crate::trial::Place;
use crate::writer::{Found, Reuse, Style, Writer};

/// To give up who died takes room; what was condemned before is deleted first, where who died has looked behind that.
#[test]
fn where_a_process_died_what_was_condemned_before_is_deleted_without_room() {
    let place = Place::new();
    let (host, faulty) = place.unlucky_host("host");
    let open = |purpose| {
        let signer = host.enrolled_signer().unwrap();
        host.refresh().unwrap();
        Session::open(&host, signer, purpose, BTreeSet::new()).unwrap()
    };
    let mut over = open(Purpose::Write);
    let pack = layout::pack(PackId::new(over.id(), [1; 16]));
    host.io.put(&pack, Bytes::from_static(b"no entry names it")).unwrap();
    over.commit(Vec::new(), Vec::new(), BTreeSet::new(), true).unwrap();
    let mut dies = open(Purpose::Write);
    let options =
        Options { repack_below: 0, repack_bytes_max: 0, wait: Duration::ZERO, expire_after: Duration::MAX };
    let sweep = || {
        let mut sweep = Sweep::new(&host, options).unwrap();
        let plan = sweep.plan().unwrap();
        sweep.apply(&plan)
    };
    let did = sweep().unwrap();
    assert_eq!((did.condemned.0, did.deleted.0, did.waits_for.len()), (1, 0, 1), "it condemns, and waits");
    host.io.sleep(&host.world, RENEWAL);
    dies.renew_if_due().unwrap();
    drop(dies);
    faulty.fill(true);
    let did = sweep();
    assert!(matches!(did, Err(Error::NoRoom { deleted: 1, .. })), "{did:?}");
    faulty.fill(false);
    assert_eq!(sweep().unwrap().expired.len(), 1);
    assert!(host.io.list(&layout::packs()).unwrap().is_empty());
}

/// A process that runs for days must not refuse for all of them because of one bad answer.
#[test]
fn what_was_misread_once_stops_no_later_sweep() {
    let place = Place::new();
    place.host("writes").enrolled_signer().unwrap();
    let (host, faulty) = place.unlucky_host("sweeps");
    place.host("writes too").enrolled_signer().unwrap();
    // Entries are read twice before they count as damaged.
    (0..2).for_each(|_| faulty.order(Verb::GetRange, Fault::Flipped));
    host.refresh().unwrap();
    assert!(host.must_be_faultless().is_err(), "the misread entry is noticed");
    let options =
        Options { repack_below: 0, repack_bytes_max: 0, wait: Duration::ZERO, expire_after: Duration::MAX };
    Sweep::new(&host, options).unwrap();
}

fn writer(host: &Repo, reuse: Reuse) -> Writer<'_> {
    Writer::open(host, BTreeSet::new(), Style { effort: Effort::Level(1), reuse }).unwrap()
}

/// Bytes that make a frame of their own.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1000];
    bytes.chunks_mut(8).zip(0u64..).for_each(|(to, at)| {
        let word = Hash::of(&[seed.to_le_bytes(), at.to_le_bytes()].concat()).0;
        to.copy_from_slice(&word[..to.len()]);
    });
    bytes
}

fn stored(writer: &Writer<'_>, chunks: &[&[u8]]) -> Vec<Reference> {
    let mut worker = writer.tiny_worker(ContentKind::Data, 700);
    let store = |plain: &&[u8]| worker.store(writer.chunk_id(plain), plain, &FrameSet::default()).unwrap();
    let references = chunks.iter().map(store).collect();
    worker.finish().unwrap();
    references
}

/// Commits a point whose root refers to these.
fn commit(writer: &Writer<'_>, id: u8, references: &[Reference]) -> PointId {
    let mut worker = writer.tiny_worker(ContentKind::Tree, 700);
    let root = noise(1000 + u64::from(id));
    let refs = references.iter().map(Reference::frame).collect();
    let root = worker.store(writer.chunk_id(&root), &root, &refs).unwrap();
    worker.finish().unwrap();
    let Fact::Point(mut point) = made::point(id, "source") else { panic!("it makes points") };
    point.root = root;
    let id = point.id;
    writer.commit(*point).unwrap();
    id
}

fn forget_and_sweep(host: &Repo, points: &[PointId]) {
    let points = points.iter().copied().collect();
    host.forget(&points, "test", Guard { now: 0, least: 0, young_since: i64::MAX }, Last::MayGo).unwrap();
    let options =
        Options { repack_below: 0, repack_bytes_max: 0, wait: Duration::ZERO, expire_after: Duration::MAX };
    (0..2).for_each(|_| {
        let mut sweep = Sweep::new(host, options).unwrap();
        let plan = sweep.plan().unwrap();
        sweep.apply(&plan).unwrap();
    });
}

/// A chunk that was said to be lost and stored again, and was not needed for a while. The pack that it was said to be lost
/// in is still there, as something else in it is needed.
fn after_what_was_stored_again_was_swept(host: &Repo) -> (Reference, PointId) {
    let (kept, lost) = (noise(1), noise(2));
    let first = writer(host, Reuse::Trusted);
    let both = stored(&first, &[&kept, &lost]);
    let first = commit(&first, 1, &both);
    let second = writer(host, Reuse::Verified);
    let again = stored(&second, &[&lost]);
    second.substitute(both[1], again[0]);
    let second = commit(&second, 2, &again);
    let third = writer(host, Reuse::Trusted);
    assert!(matches!(third.find(&third.chunk_id(&kept)), Ok(Some(Found::Known(_)))));
    let third = commit(&third, 3, &both[..1]);
    forget_and_sweep(host, &[first, second]);
    let there = |reference: &Reference| host.io.size(&layout::pack(reference.pack)).is_ok();
    assert!(there(&both[0]) && !there(&again[0]));
    (both[1], third)
}

#[test]
fn what_was_said_to_be_lost_is_not_relied_on_unread() {
    let place = Place::new();
    let host = place.host("host");
    let (lost, _) = after_what_was_stored_again_was_swept(&host);
    let found = |reuse| writer(&host, reuse).find(&writer(&host, reuse).chunk_id(&noise(2)));
    let trusting = found(Reuse::Trusted);
    assert!(matches!(trusting, Ok(Some(Found::Lost(reference))) if reference == lost), "{trusting:?}");
    let reading = found(Reuse::Verified);
    assert!(matches!(reading, Ok(Some(Found::Known(reference))) if reference == lost), "{reading:?}");
}

/// Who read it back and relies on it must not stop all sweeps because what was stored for it is gone.
#[test]
fn what_is_whole_needs_no_substitute_that_was_swept() {
    let place = Place::new();
    let host = place.host("host");
    let (lost, third) = after_what_was_stored_again_was_swept(&host);
    let fourth = writer(&host, Reuse::Verified);
    assert!(matches!(fourth.find(&fourth.chunk_id(&noise(2))), Ok(Some(Found::Known(_)))));
    commit(&fourth, 4, &[lost]);
    forget_and_sweep(&host, &[third]);
    host.io.size(&layout::pack(lost.pack)).unwrap();
    host.io.delete(&layout::pack(lost.pack)).unwrap();
    let options =
        Options { repack_below: 0, repack_bytes_max: 0, wait: Duration::ZERO, expire_after: Duration::MAX };
    let plan = Sweep::new(&host, options).unwrap().plan();
    assert!(matches!(plan, Err(Error::Unmarked { .. })), "now it is lost: {plan:?}");
}

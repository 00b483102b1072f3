//! Sweeps where a place has no room, and on hosts that stay open for long.

use bytes::Bytes;
use format::session::Purpose;
use storage::{Fault, Verb};

use super::*;
use crate::session::{RENEWAL, Session};
use crate::trial::Place;

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

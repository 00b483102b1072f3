//! Every wrapper keeps the promises of a store, and each does the one thing it is for.

use super::*;
use crate::{Memory, suite};
use std::time::Duration;
use world::{SimulatedClock, World};

fn world() -> World {
    World::simulated(7, Arc::new(SimulatedClock::at(1_000_000_000)))
}

fn memory(world: &World) -> Arc<Memory> {
    Arc::new(Memory::new("test", world))
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

const HELLO: Bytes = Bytes::from_static(b"hello");

fn retrying(inner: Arc<dyn Store>, world: &World) -> Retrying {
    Retrying::new(inner, Patience::default(), world)
}

#[tokio::test]
async fn memory_and_every_wrapper_keep_the_promises() {
    let world = world();
    let base = || memory(&world) as Arc<dyn Store>;
    let limits = Limits { in_flight: 3, upload: Some(1 << 20), download: Some(1 << 20) };
    let stores: [Arc<dyn Store>; 6] = [
        base(),
        Arc::new(retrying(base(), &world)),
        Arc::new(Limited::new(base(), limits, &world)),
        Arc::new(Measured::new(base(), &world)),
        Arc::new(Faulty::new(base(), Odds::new(), &world)),
        Arc::new(Recorded::new(base())),
    ];
    for store in stores {
        suite::assert_kept(&*store).await;
        assert_eq!(suite::one_creation_wins(&*store).await, Ok(()), "{store:?}");
    }
}

#[tokio::test]
async fn retries_hide_every_fault_that_passes() {
    let world = world();
    let passing = [(Fault::Before, 150), (Fault::After, 100), (Fault::Cut, 100), (Fault::Slow, 50)];
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::from(passing), &world));
    suite::assert_kept(&retrying(faulty.clone(), &world)).await;
    for (fault, _) in passing {
        assert!(faulty.met().iter().any(|(_, met)| *met == fault), "{fault:?} never happened");
    }
}

#[tokio::test]
async fn the_suite_notices_every_lie() {
    let lies = [Fault::Lost, Fault::Torn, Fault::Short, Fault::Flipped, Fault::Behind, Fault::Unconditional];
    for lie in lies {
        let world = world();
        let store = Faulty::new(memory(&world), Odds::from([(lie, 1_000)]), &world);
        let findings = suite::check(&store).await;
        assert!(findings.iter().any(|finding| finding.broken.is_some()), "{lie:?} was not noticed");
    }
}

#[tokio::test]
async fn the_same_seed_fails_in_the_same_way() {
    let run = || async {
        let world = world();
        let odds = Odds::from([(Fault::Before, 200), (Fault::Late, 100), (Fault::Torn, 100)]);
        let faulty = Arc::new(Faulty::new(memory(&world), odds, &world));
        let store = retrying(faulty.clone(), &world);
        for n in 0..200 {
            store.put(&key(&format!("k/{n}")), HELLO).await.unwrap();
        }
        (faulty.met(), store.list(&KeyPrefix::all()).await.unwrap())
    };
    let (met, listed) = run().await;
    assert!(met.len() > 20 && (met, listed) == run().await);
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    let recorded = Arc::new(Recorded::new(faulty.clone()));
    let store = retrying(recorded.clone(), &world);
    let tries = async |fault| {
        faulty.order(Verb::Put, fault);
        let outcome = store.put(&key("a"), HELLO).await;
        (recorded.take().len(), outcome.is_ok())
    };
    assert_eq!(tries(Fault::Before).await, (2, true));
    assert_eq!(tries(Fault::After).await, (2, true));
    assert_eq!(tries(Fault::Denied).await, (1, false));
    assert_eq!(tries(Fault::Full).await, (1, false));
}

#[tokio::test]
async fn a_creation_whose_first_try_was_said_to_have_failed_is_no_clash() {
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    faulty.order(Verb::Create, Fault::After);
    retrying(faulty, &world).create(&key("format"), HELLO).await.unwrap();
}

#[tokio::test]
async fn giving_up_says_how_often_and_how_long_it_was_tried() {
    let clock = Arc::new(SimulatedClock::at(0));
    let world = World::simulated(1, clock);
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    let store = Retrying::new(retrying_arc(faulty.clone(), &world), Patience::default(), &world);
    store.put(&key("packs/a"), HELLO).await.unwrap();
    faulty.partition(true);
    let error = store.get(&key("packs/a")).await.unwrap_err();
    let Error::GaveUp { tries: 10, seconds: 5..=300, .. } = &error else { panic!("{error:?}") };
    let told = error.to_string();
    assert!(told.starts_with("read packs/a in memory:test: the place does not answer"), "{told}");
    assert!(told.contains("; tried 10 times in "), "{told}");
    assert_eq!(told.matches("tried").count(), 1, "two patiences do not multiply: {told}");
}

fn retrying_arc(inner: Arc<dyn Store>, world: &World) -> Arc<dyn Store> {
    Arc::new(retrying(inner, world))
}

#[tokio::test]
async fn tries_end_when_their_time_is_over() {
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    let patience = Patience { tries_max: 1_000, total_max: Duration::from_secs(60), ..Patience::default() };
    let store = Retrying::new(faulty.clone(), patience, &world);
    store.put(&key("a"), HELLO).await.unwrap();
    faulty.partition(true);
    let start = world.monotonic();
    let error = store.size(&key("a")).await.unwrap_err();
    assert!(world.monotonic() - start <= Duration::from_secs(60), "{error}");
    assert!(matches!(error, Error::GaveUp { tries: 4..=50, .. }), "{error}");
}

#[tokio::test]
async fn a_place_that_never_answered_is_given_up_within_seconds() {
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    faulty.partition(true);
    let store = retrying(faulty.clone(), &world);
    let start = world.monotonic();
    let error = store.get(&key("format")).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { tries: 2..=9, .. }), "{error}");
    assert!(world.monotonic() - start <= Patience::default().stranger_max, "{error}");
    faulty.partition(false);
    assert!(store.get(&key("format")).await.unwrap_err().is_not_found());
    faulty.partition(true);
    let error = store.get(&key("format")).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { tries: 10, .. }), "it has answered before: {error}");
}

#[tokio::test]
async fn whoever_asked_to_stop_waits_a_few_seconds_at_most() {
    for patience in [Patience::default(), Patience::lasting(Duration::from_secs(3_600))] {
        let world = world();
        let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
        let store = Retrying::new(faulty.clone(), patience, &world);
        store.put(&key("a"), HELLO).await.unwrap();
        faulty.partition(true);
        world.stop();
        let error = store.size(&key("a")).await.unwrap_err();
        assert!(matches!(error, Error::GaveUp { tries: 2.., seconds: 0..=5, .. }), "{error}");
    }
}

type Failure = fn(Box<Act>) -> Error;

/// A place with an error for each request, until there is none left.
#[derive(Debug)]
struct Failing(Arc<dyn Store>, std::sync::Mutex<Vec<Failure>>);

#[async_trait]
impl Layer for Failing {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.0
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let failure = self.1.lock().unwrap().pop();
        match failure {
            Some(failure) => Err(failure(call.act(self.place()))),
            None => call.perform(&*self.0).await,
        }
    }
}

fn busy(act: Box<Act>, wait: u64) -> Error {
    Error::Busy { act, wait: Some(Duration::from_secs(wait)), detail: "slow down".to_owned() }
}

fn unknown(act: Box<Act>) -> Error {
    Error::Obstructed { act, obstacle: crate::Obstacle::UnknownHost, detail: "no such host".to_owned() }
}

#[tokio::test]
async fn a_busy_place_is_left_alone_for_as_long_as_it_asks_and_a_minute_at_most() {
    for (failures, seconds) in [
        (vec![(|act| busy(act, 30)) as Failure], 30..31),
        (vec![|act| busy(act, 3_600), |act| busy(act, 3_600)], 120..122),
        (vec![|act| busy(act, 7), |act| busy(act, 0)], 7..9),
    ] {
        let world = world();
        let store = retrying(Arc::new(Failing(memory(&world), failures.into())), &world);
        let start = world.monotonic();
        store.put(&key("a"), HELLO).await.unwrap();
        let took = (world.monotonic() - start).as_secs();
        assert!(seconds.contains(&took), "{took} s, and {seconds:?} were asked for");
    }
    let world = world();
    let always = vec![(|act| busy(act, 3_600)) as Failure; 100];
    let store = retrying(Arc::new(Failing(memory(&world), always.into())), &world);
    let error = store.size(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { tries: 4..=6, seconds: 200..=300, .. }), "{error}");
}

#[tokio::test]
async fn a_host_name_that_does_not_exist_is_tried_again_only_where_it_did_or_by_who_would_rather_wait() {
    let tries = async |patience, answers_first| {
        let world = world();
        let failing = Arc::new(Failing(memory(&world), std::sync::Mutex::default()));
        let store = Retrying::new(failing.clone(), patience, &world);
        if answers_first {
            store.put(&key("a"), HELLO).await.unwrap();
        }
        *failing.1.lock().unwrap() = vec![unknown; 3];
        let outcome = store.put(&key("a"), HELLO).await;
        (outcome.is_ok(), failing.1.lock().unwrap().len())
    };
    assert_eq!(tries(Patience::default(), false).await, (false, 2));
    assert_eq!(tries(Patience::default(), true).await, (true, 0));
    assert_eq!(tries(Patience::lasting(Duration::from_secs(60)), false).await, (true, 0));
}

/// Bodies that end at these bytes, in turn.
#[derive(Debug)]
struct Cutting(Arc<dyn Store>, std::sync::Mutex<std::iter::Cycle<std::vec::IntoIter<u64>>>);

#[async_trait]
impl Layer for Cutting {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.0
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let got = match call {
            Call::Put(..) => return Ok(Answer::Done),
            _ => self.1.lock().unwrap().next().unwrap(),
        };
        Err(Error::CutShort { act: call.act(self.place()), promised: 9, got, detail: "cut".to_owned() })
    }
}

#[tokio::test]
async fn only_a_body_that_ends_at_the_same_byte_each_time_is_given_up_early() {
    for (ends, expected) in [(vec![7], 4), (vec![7, 8], 10), (vec![7, 7, 7, 8], 10), (vec![0], 10)] {
        let world = world();
        let told = format!("{ends:?}");
        let cutting = Cutting(memory(&world), std::sync::Mutex::new(ends.into_iter().cycle()));
        let store = retrying(Arc::new(cutting), &world);
        store.put(&key("a"), HELLO).await.unwrap();
        let error = store.get(&key("a")).await.unwrap_err();
        assert!(matches!(error, Error::GaveUp { tries, .. } if tries == expected), "{told}: {error}");
    }
}

#[tokio::test]
async fn a_body_that_stays_short_asks_for_repair() {
    use world::{Remedied, Remedy};
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::from([(Fault::Cut, 1_000)]), &world));
    let store = retrying(faulty, &world);
    store.put(&key("a"), HELLO).await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap_err().remedy(), Remedy::Repair);
}

#[tokio::test]
async fn a_late_write_arrives_after_it_was_said_to_have_failed() {
    let world = world();
    let faulty = Faulty::new(memory(&world), Odds::new(), &world);
    faulty.order(Verb::Put, Fault::Late);
    faulty.put(&key("a"), HELLO).await.unwrap_err();
    let mut absent = 0;
    while faulty.size(&key("a")).await.is_err() {
        absent += 1;
        assert!(absent < 10, "it never arrives");
    }
    assert_eq!(faulty.get(&key("a")).await.unwrap(), HELLO);
}

#[tokio::test]
async fn a_full_place_still_reads_and_deletes() {
    let world = world();
    let faulty = Faulty::new(memory(&world), Odds::new(), &world);
    faulty.put(&key("a"), HELLO).await.unwrap();
    faulty.fill(true);
    assert!(matches!(faulty.put(&key("b"), HELLO).await.unwrap_err(), Error::Full { .. }));
    assert_eq!(faulty.get(&key("a")).await.unwrap(), HELLO);
    faulty.delete(&key("a")).await.unwrap();
    faulty.fill(false);
    faulty.put(&key("b"), HELLO).await.unwrap();
}

#[tokio::test]
async fn uploads_and_downloads_keep_their_own_rates() {
    let world = world();
    let limits = Limits { in_flight: 8, upload: Some(1_000), download: Some(2_000) };
    let store = Limited::new(memory(&world), limits, &world);
    let seconds = async |bytes: usize| {
        let start = world.monotonic();
        store.put(&key("a"), Bytes::from(vec![0; bytes])).await.unwrap();
        let up = world.monotonic() - start;
        store.get(&key("a")).await.unwrap();
        (up.as_secs(), (world.monotonic() - start - up).as_secs())
    };
    assert_eq!(
        seconds(60_000).await,
        (60, 29),
        "a meter begins with a second saved, once the clock is that far"
    );
    assert_eq!(seconds(60_000).await, (60 - 1, 29));
}

#[derive(Debug)]
struct Crowd {
    memory: Memory,
    inside: std::sync::atomic::AtomicUsize,
    most: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Layer for Arc<Crowd> {
    fn inner(&self) -> &Arc<dyn Store> {
        unreachable!("the place is not asked for")
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        use std::sync::atomic::Ordering::SeqCst;
        let inside = 1 + self.inside.fetch_add(1, SeqCst);
        self.most.fetch_max(inside, SeqCst);
        tokio::task::yield_now().await;
        let answer = call.perform(&self.memory).await;
        self.inside.fetch_sub(1, SeqCst);
        answer
    }
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let world = world();
    let crowd = Arc::new(Crowd {
        memory: Memory::new("crowd", &world),
        inside: Default::default(),
        most: Default::default(),
    });
    let limits = Limits { in_flight: 3, ..Limits::default() };
    let store = Limited::new(Arc::new(crowd.clone()), limits, &world);
    let keys: Vec<ObjectKey> = (0..20).map(|n| key(&format!("k/{n}"))).collect();
    let puts = futures::future::join_all(keys.iter().map(|key| store.put(key, HELLO))).await;
    assert!(puts.into_iter().all(|put| put.is_ok()));
    assert_eq!(crowd.most.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test]
async fn measures_count_calls_bytes_and_time() {
    let world = world();
    let faulty = Arc::new(Faulty::new(memory(&world), Odds::new(), &world));
    let store = Measured::new(faulty.clone(), &world);
    for n in 0..3 {
        store.put(&key(&format!("k/{n}")), HELLO).await.unwrap();
    }
    for fault in [Fault::Slow, Fault::Before] {
        faulty.order(Verb::Get, fault);
    }
    store.get(&key("k/1")).await.unwrap();
    store.get(&key("k/1")).await.unwrap_err();
    store.get(&key("k/1")).await.unwrap();
    let measures = store.snapshot();
    let put = measures[&Verb::Put];
    assert_eq!((put.done, put.failed, put.bytes_up, put.bytes_down), (3, 0, 15, 0));
    let get = measures[&Verb::Get];
    assert_eq!((get.done, get.failed, get.bytes_up, get.bytes_down), (2, 1, 0, 10));
    assert!(get.shortest.is_zero() && !get.longest.is_zero() && get.mean() == Some(get.longest / 2));
    assert_eq!(Tally::default().mean(), None);
}

#[tokio::test]
async fn a_record_holds_every_call_in_order() {
    let store = Recorded::new(memory(&world()));
    store.put(&key("a"), HELLO).await.unwrap();
    store.get_range(&key("a"), 1..3).await.unwrap();
    store.size(&key("b")).await.unwrap_err();
    store.list(&KeyPrefix::all()).await.unwrap();
    let taken = |verb, object: &str, bytes, done| Taken { verb, object: object.to_owned(), bytes, done };
    let wanted = [
        taken(Verb::Put, "a", 5, true),
        taken(Verb::GetRange, "a", 2, true),
        taken(Verb::Size, "b", 0, false),
        taken(Verb::List, "", 0, true),
    ];
    assert_eq!(store.take(), wanted);
    assert_eq!(store.take(), []);
}

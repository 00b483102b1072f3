//! What every store must do, as one suite that each of them runs: the local one, the one in memory, S3 over
//! real HTTP, and every wrapper around any of them.
//!
//! It writes beneath `suite/` and removes what it wrote. A finding says what was promised and what happened
//! instead, so the suite can also judge a server that nobody has tried before.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Error, KeyPrefix, ObjectKey, Store};

/// One promise and whether it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// What happened instead; none if it was kept.
    pub broken: Option<String>,
}

type Outcome = Result<(), String>;
type Check = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

const CHECKS: &[(&str, Check)] = &[
    ("what was stored comes back", |store| Box::pin(comes_back(store))),
    ("the same object may be stored again", |store| Box::pin(may_repeat(store))),
    ("a creation spares what is there", |store| Box::pin(creation_spares(store))),
    ("what is not there is said not to be there", |store| Box::pin(absent(store))),
    ("a range is exactly what was asked for", |store| Box::pin(exact_ranges(store))),
    ("a range beyond the end is an error", |store| Box::pin(range_beyond_end(store))),
    ("a tail is the end of the object, and tells its size", |store| Box::pin(tails(store))),
    ("a listing is complete, sorted and beneath its prefix", |store| Box::pin(listings(store))),
    ("a listing shows at once what was stored and deleted", |store| Box::pin(listing_is_fresh(store))),
    ("a listing of more than a page is complete", |store| Box::pin(long_listing(store))),
    ("what was deleted is gone, and may be deleted again", |store| Box::pin(deletion(store))),
    ("many requests at once do not disturb each other", |store| Box::pin(many_at_once(store))),
];

/// Objects of the long listing: more than a page of S3, which has 1,000.
const MANY: usize = 1_050;
const AT_ONCE: usize = 32;

/// Runs all checks. [`Store::create`] is called before anything else, so a local directory is made.
pub async fn check(store: &dyn Store) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (promise, check) in CHECKS {
        let broken = async {
            store.create(&key("begun")?, Bytes::from_static(b"suite")).await.map_err(told)?;
            clear(store).await?;
            check(store).await
        };
        findings.push(Finding { promise, broken: broken.await.err() });
    }
    findings.push(Finding { promise: "everything can be removed", broken: clear(store).await.err() });
    findings
}

/// Runs all checks.
///
/// # Panics
///
/// With all broken promises, if there is one.
pub async fn assert_kept(store: &dyn Store) {
    let findings = check(store).await;
    let broken = findings.iter().filter_map(|f| Some(format!("{}: {}", f.promise, f.broken.as_ref()?)));
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{} breaks promises:\n{}", store.place(), broken.join("\n"));
}

/// Of eight creations of different objects under one name at the same moment exactly one wins. Kept apart,
/// because a store without conditional writes cannot promise it; we only ever strengthen with it.
pub async fn one_creation_wins(store: &dyn Store) -> Result<(), String> {
    let raced = key("raced")?;
    let contents: Vec<Bytes> = (0..8).map(|n| Bytes::from(vec![n; 100])).collect();
    let creations = contents.iter().map(|bytes| store.create(&raced, bytes.clone()));
    let outcomes = futures::future::join_all(creations).await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    ensure(won == 1, || format!("{won} of 8 won"))?;
    ensure(outcomes.iter().filter_map(|o| o.as_ref().err()).all(is_clash), || format!("{outcomes:?}"))?;
    let winner = outcomes.iter().position(Result::is_ok).expect("one of them won");
    let there = store.get(&raced).await.map_err(told)?;
    ensure(there == contents[winner], || "another than the winner's object is there".into())?;
    store.delete(&raced).await.map_err(told)
}

fn is_clash(e: &Error) -> bool {
    matches!(e, Error::Exists { .. })
}

fn told(e: Error) -> String {
    e.to_string()
}

fn ensure(kept: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if kept { Ok(()) } else { Err(otherwise()) }
}

fn key(name: &str) -> Result<ObjectKey, String> {
    ObjectKey::new(&format!("suite/{name}")).map_err(told)
}

fn prefix(name: &str) -> Result<KeyPrefix, String> {
    KeyPrefix::new(&format!("suite/{name}")).map_err(told)
}

/// Bytes without a period that a shifted or repeated read could hide behind.
fn content(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32 ^ len as u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<u8>>().into()
}

async fn clear(store: &dyn Store) -> Outcome {
    let listed = store.list(&prefix("")?).await.map_err(told)?;
    let gone = stream::iter(listed).map(|listed| async move { store.delete(&listed.key).await });
    gone.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map_err(told)?;
    Ok(())
}

async fn comes_back(store: &dyn Store) -> Outcome {
    for len in [0, 1, 4_095, 65_536, 1_048_577] {
        let (key, bytes) = (key(&format!("whole/{len}"))?, content(len));
        store.put(&key, bytes.clone()).await.map_err(told)?;
        let back = store.get(&key).await.map_err(told)?;
        ensure(back == bytes, || format!("{len} bytes came back as {} other ones", back.len()))?;
        let size = store.size(&key).await.map_err(told)?;
        ensure(size == len as u64, || format!("{len} bytes are said to be {size}"))?;
    }
    Ok(())
}

async fn may_repeat(store: &dyn Store) -> Outcome {
    let (key, bytes) = (key("repeated")?, content(1_000));
    for _ in 0..3 {
        store.put(&key, bytes.clone()).await.map_err(told)?;
    }
    let back = store.get(&key).await.map_err(told)?;
    ensure(back == bytes, || "other bytes came back".into())
}

async fn creation_spares(store: &dyn Store) -> Outcome {
    let (key, bytes) = (key("created")?, content(500));
    store.create(&key, bytes.clone()).await.map_err(told)?;
    store.create(&key, bytes.clone()).await.map_err(|e| format!("the same bytes again: {e}"))?;
    for other in [content(501), content(0), Bytes::from(vec![0; 500])] {
        match store.create(&key, other).await {
            Err(Error::Exists { .. }) => {}
            other => return Err(format!("other bytes under the same name: {other:?}")),
        }
    }
    let back = store.get(&key).await.map_err(told)?;
    ensure(back == bytes, || "the first object was not spared".into())
}

async fn absent(store: &dyn Store) -> Outcome {
    store.put(&key("there/here")?, content(10)).await.map_err(told)?;
    for name in ["absent", "there", "there/absent", "there/here/below", "there/her"] {
        let key = key(name)?;
        let answers = [
            store.get(&key).await.err(),
            store.get_range(&key, 0..1).await.err(),
            store.get_tail(&key, 1).await.err(),
            store.size(&key).await.err(),
        ];
        let all = answers.iter().all(|answer| answer.as_ref().is_some_and(Error::is_not_found));
        ensure(all, || format!("{name}: {answers:?}"))?;
    }
    let listed = store.list(&prefix("absent/")?).await.map_err(told)?;
    ensure(listed.is_empty(), || format!("{listed:?}"))
}

async fn exact_ranges(store: &dyn Store) -> Outcome {
    let (key, bytes) = (key("ranges")?, content(100_000));
    store.put(&key, bytes.clone()).await.map_err(told)?;
    for range in [0..1, 0..100_000, 99_999..100_000, 4_096..8_192, 33_333..77_777, 5..5] {
        let part = store.get_range(&key, range.clone()).await.map_err(told)?;
        let wanted = bytes.slice(range.start as usize..range.end as usize);
        ensure(part == wanted, || format!("{range:?}: {} other bytes came", part.len()))?;
    }
    Ok(())
}

async fn range_beyond_end(store: &dyn Store) -> Outcome {
    let (whole, empty) = (key("short")?, key("empty")?);
    store.put(&whole, content(100)).await.map_err(told)?;
    store.put(&empty, Bytes::new()).await.map_err(told)?;
    for (key, range) in [(&whole, 99..101), (&whole, 100..101), (&whole, 5_000..5_001), (&empty, 0..1)] {
        match store.get_range(key, range.clone()).await {
            Err(Error::OutOfRange { .. }) => {}
            other => return Err(format!("{key} {range:?}: {other:?}")),
        }
    }
    Ok(())
}

async fn tails(store: &dyn Store) -> Outcome {
    for len in [0, 1, 10_000] {
        let (key, bytes) = (key(&format!("tail/{len}"))?, content(len));
        store.put(&key, bytes.clone()).await.map_err(told)?;
        for asked in [0, 1, len, len + 1, 65_536] {
            let (tail, size) = store.get_tail(&key, asked as u64).await.map_err(told)?;
            let right = size == len as u64 && tail == bytes.slice(len.saturating_sub(asked)..);
            ensure(right, || format!("{asked} of {len}: {} bytes, size {size}", tail.len()))?;
        }
    }
    Ok(())
}

async fn keys_beneath(store: &dyn Store, name: &str) -> Result<Vec<String>, String> {
    let listed = store.list(&prefix(name)?).await.map_err(told)?;
    Ok(listed.into_iter().map(|listed| listed.key.to_string()).collect())
}

async fn listings(store: &dyn Store) -> Outcome {
    let names = ["l/a/1", "l/a/2", "l/a-b/1", "l/a.b", "l/b", "l/c/c/d/e/f", "l2/a"];
    for (len, name) in names.iter().enumerate() {
        store.put(&key(name)?, content(len)).await.map_err(told)?;
    }
    for (beneath, wanted) in [("", 7), ("l/", 6), ("l/a/", 2), ("l2/", 1), ("l/c/c/d/e/", 1), ("l/b/", 0)] {
        let listed = store.list(&prefix(beneath)?).await.map_err(told)?;
        let keys = keys_beneath(store, beneath).await?;
        ensure(keys.len() == wanted && keys.is_sorted(), || format!("{beneath}: {keys:?}"))?;
        for listed in listed {
            let at = names.iter().position(|name| listed.key.as_str() == format!("suite/{name}"));
            ensure(at.is_some_and(|len| len as u64 == listed.size), || format!("{listed:?}"))?;
        }
    }
    let all = store.list(&KeyPrefix::all()).await.map_err(told)?;
    let ours = all.iter().filter(|listed| listed.key.as_str().starts_with("suite/")).count();
    ensure(ours == names.len(), || format!("all objects: {ours} of {}", names.len()))
}

async fn listing_is_fresh(store: &dyn Store) -> Outcome {
    for round in 0..10 {
        let key = key(&format!("fresh/{round}"))?;
        store.put(&key, content(1)).await.map_err(told)?;
        let keys = keys_beneath(store, "fresh/").await?;
        ensure(keys == [key.as_str()], || format!("after storing {key}: {keys:?}"))?;
        store.delete(&key).await.map_err(told)?;
        let keys = keys_beneath(store, "fresh/").await?;
        ensure(keys.is_empty(), || format!("after deleting {key}: {keys:?}"))?;
    }
    Ok(())
}

async fn long_listing(store: &dyn Store) -> Outcome {
    let keys: Result<Vec<_>, _> = (0..MANY).map(|n| key(&format!("many/{:02x}/{n:05}", n % 7))).collect();
    let mut keys = keys?;
    let stored =
        stream::iter(keys.clone()).map(|key| async move { store.put(&key, Bytes::from_static(b"x")).await });
    stored.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map_err(told)?;
    keys.sort();
    let listed = store.list(&prefix("many/")?).await.map_err(told)?;
    let same = listed.iter().map(|listed| &listed.key).eq(&keys);
    ensure(same, || format!("{} of {MANY} were listed", listed.len()))
}

async fn deletion(store: &dyn Store) -> Outcome {
    let (gone, kept) = (key("deleted")?, key("deleted.not")?);
    for key in [&gone, &kept] {
        store.put(key, content(10)).await.map_err(told)?;
    }
    for _ in 0..2 {
        store.delete(&gone).await.map_err(told)?;
        let answer = store.get(&gone).await;
        ensure(answer.as_ref().is_err_and(Error::is_not_found), || format!("{answer:?}"))?;
    }
    store.delete(&key("never/was")?).await.map_err(|e| format!("what never was: {e}"))?;
    store.get(&kept).await.map(drop).map_err(|e| format!("its neighbour: {e}"))
}

async fn many_at_once(store: &dyn Store) -> Outcome {
    let work = (0..AT_ONCE).map(|n| async move {
        let (key, bytes) = (key(&format!("at-once/{n}"))?, content(100_000 + n));
        store.put(&key, bytes.clone()).await.map_err(told)?;
        let back = store.get(&key).await.map_err(told)?;
        ensure(back == bytes, || format!("{key}: other bytes came back"))?;
        let part = store.get_range(&key, 10..20 + n as u64).await.map_err(told)?;
        ensure(part == bytes.slice(10..20 + n), || format!("{key}: another range came back"))
    });
    futures::future::join_all(work).await.into_iter().collect()
}

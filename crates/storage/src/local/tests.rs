//! A directory as a store: what the suite cannot see, because it looks at the files themselves.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use world::{Remedied, Remedy};

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn store_in(dir: &tempfile::TempDir) -> Local {
    Local::at(&dir.path().join("repo"), &World::real())
}

async fn started(dir: &tempfile::TempDir) -> Local {
    let store = store_in(dir);
    store.create(&key("format"), Bytes::from_static(b"genesis")).await.unwrap();
    store
}

#[tokio::test]
async fn create_makes_the_way_to_the_root_and_put_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Local::at(&dir.path().join("a/b/repo"), &World::real());
    let refused = store.put(&key("packs/a"), Bytes::new()).await.unwrap_err();
    assert!(matches!(refused, Error::NoPlace { .. }), "{refused}");
    store.create(&key("format"), Bytes::new()).await.unwrap();
    store.put(&key("packs/a"), Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn an_empty_root_takes_nothing_but_a_creation() {
    let dir = tempfile::tempdir().unwrap();
    let store = Local::at(dir.path(), &World::real());
    let refused = store.put(&key("packs/a"), Bytes::new()).await.unwrap_err();
    assert!(matches!(&refused, Error::NoPlace { detail, .. } if detail.contains("mounted")), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and nothing was left there");
    store.create(&key("format"), Bytes::new()).await.unwrap();
    store.put(&key("packs/a"), Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn a_root_that_vanished_is_an_error_for_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    fs::remove_dir_all(dir.path().join("repo")).unwrap();
    let key = key("packs/a");
    let errors = [
        store.put(&key, Bytes::new()).await.unwrap_err(),
        store.get(&key).await.unwrap_err(),
        store.size(&key).await.unwrap_err(),
        store.list(&KeyPrefix::all()).await.unwrap_err(),
        store.list(&KeyPrefix::new("packs/").unwrap()).await.unwrap_err(),
        store.delete(&key).await.unwrap_err(),
    ];
    for e in errors {
        assert!(matches!(e, Error::NoPlace { .. }) && e.remedy() == Remedy::Correct, "{e}");
    }
}

#[tokio::test]
async fn only_the_owner_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    store.put(&key("packs/aa/x"), Bytes::from_static(b"x")).await.unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("repo"), mode("repo/packs"), mode("repo/packs/aa")), (0o700, 0o700, 0o700));
    assert_eq!((mode("repo/format"), mode("repo/packs/aa/x")), (0o600, 0o600));
}

#[tokio::test]
async fn what_a_crash_left_is_not_listed_and_is_cleaned_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    started(&dir).await;
    let incoming = dir.path().join("repo/.incoming");
    let (old, fresh) = (incoming.join("old"), incoming.join("fresh"));
    for path in [&old, &fresh] {
        fs::write(path, b"half").unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "the file must be old by the machine's clock")]
    let day_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(&old).unwrap().set_modified(day_ago).unwrap();

    let again = store_in(&dir);
    again.put(&key("packs/b"), Bytes::new()).await.unwrap();
    assert_eq!((old.exists(), fresh.exists()), (false, true));
    let listed = again.list(&KeyPrefix::all()).await.unwrap();
    assert_eq!(listed.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(), ["format", "packs/b"]);
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 1, "a finished object leaves nothing behind");
}

#[tokio::test]
async fn names_that_are_not_ours_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    let root = dir.path().join("repo");
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::write(root.join("README.txt"), b"").unwrap();
    fs::write(root.join("lost+found/a"), b"").unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    let listed = store.list(&KeyPrefix::all()).await.unwrap();
    assert_eq!(listed.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(), ["format"]);
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    store.put(&key("log/w/s/1"), Bytes::new()).await.unwrap();
    fs::remove_dir_all(dir.path().join("repo/log")).unwrap();
    store.put(&key("log/w/s/2"), Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(store.get(&key("log/w/s/2")).await.unwrap(), &b"2"[..]);
}

#[tokio::test]
async fn a_directory_is_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    store.put(&key("packs/aa/x"), Bytes::new()).await.unwrap();
    assert!(store.get(&key("packs/aa")).await.unwrap_err().is_not_found());
    assert!(store.get(&key("format/below")).await.unwrap_err().is_not_found());
}

#[test]
fn a_store_works_where_there_is_no_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let work = async {
        let store = started(&dir).await;
        store.get(&key("format")).await.unwrap()
    };
    assert_eq!(futures::FutureExt::now_or_never(work).expect("it blocks instead"), &b"genesis"[..]);
}

#[tokio::test]
async fn a_full_disk_and_a_refused_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = started(&dir).await;
    let place = store.place().clone();
    let act = || crate::store::act(&place, crate::Verb::Put, key("packs/a"));
    let meant = |errno: rustix::io::Errno| store.disk.failed(act(), dir.path(), errno.into());
    use rustix::io::Errno;
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        assert!(matches!(meant(errno), Error::Full { .. }));
    }
    for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
        assert!(matches!(meant(errno), Error::Denied { .. }));
    }
    for errno in [Errno::MFILE, Errno::STALE, Errno::TIMEDOUT] {
        assert_eq!(meant(errno).remedy(), Remedy::Retry);
    }
    let told = meant(Errno::IO).to_string();
    assert!(told.starts_with("store packs/a in ") && told.contains("Input/output error"), "{told}");
}

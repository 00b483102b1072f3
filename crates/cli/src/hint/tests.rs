//! One row per error: what a person is told to do about it, or that there is nothing more to say.

use std::io;
use std::path::PathBuf;

use format::id::{PointId, WriterId};

use super::*;

const FLAGS: &str = " --repo r";

fn check(rows: impl IntoIterator<Item = (Error, Option<&'static str>)>) {
    for (error, expected) in rows {
        let hint = of(&error, FLAGS);
        match expected {
            None => assert_eq!(hint, None, "{error}"),
            Some(part) => assert!(hint.as_ref().is_some_and(|h| h.contains(part)), "{error}: {hint:?}"),
        }
    }
}

fn system() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

fn malformed() -> format::Malformed {
    match format::key::Bundle::from_text("").err() {
        Some(format::Error::Malformed(malformed)) => malformed,
        other => panic!("{other:?}"),
    }
}

fn act() -> Box<storage::Act> {
    let place = storage::Place::new("s3://b");
    Box::new(storage::Act { verb: storage::Verb::Get, object: "x".into(), place })
}

fn local_act() -> Box<storage::Act> {
    let place = storage::Place::new("/srv/backup");
    Box::new(storage::Act { verb: storage::Verb::Put, object: "x".into(), place })
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn errors_of_the_repository() {
    use repo::Error as E;
    use repo::retention::Reason as R;
    let kept = |reason| E::Kept { point: PointId([0; 16]), reason, hold: None };
    let (place, object) = (text("p"), text("o"));
    let newer = format::Error::Newer { what: "a pack", found: 2, known: 0 };
    let path = PathBuf::from("f");
    let rows = [
        (
            E::Unmarked { object: object.clone(), place: place.clone(), why: text("gone") },
            Some("verify --repo r"),
        ),
        (
            E::FaultyHistory { place: place.clone(), first: text("gone"), faults: 2 },
            Some("log --verify --repo r"),
        ),
        (E::NoSession { asked: text("ab"), meant: 0 }, Some("session list --repo r")),
        (
            E::NoRoom {
                source: storage::Error::Full { act: act(), detail: text("x") },
                bytes: 1,
                deleted: 2,
            },
            Some("make that much space"),
        ),
        (E::Object { object: object.clone(), place: place.clone(), source: newer }, Some("later")),
        (
            E::Object {
                object: object.clone(),
                place: place.clone(),
                source: format::Error::Altered("a pack"),
            },
            Some("`seawall points --repo r`"),
        ),
        (E::Damaged { object, place: place.clone(), why: text("gone") }, Some("`seawall points --repo r`")),
        (E::Malformed(malformed()), Some("`seawall points --repo r`")),
        (E::Refused(format::tree::Refused::Endless), None),
        (E::NoRepository(place.clone()), Some("`seawall init --repo r`")),
        (E::Gone { place: place.clone(), repo: text("aa") }, Some("`seawall init --repo r`")),
        (
            E::Damaged { object: text("format"), place: place.clone(), why: text("gone") },
            Some("put that object back"),
        ),
        (E::Occupied(place.clone()), Some("--repo names another place")),
        (E::WrongKey { secret: "key file", slots: 1, place: place.clone() }, Some("--key-file")),
        (E::NotTrusted { place, expected: text("aa"), found: text("bb") }, Some("--trust bb")),
        (E::NotAllowed { writer: WriterId([0; 16]), act: "add" }, Some("`seawall writer list --repo r`")),
        (E::Keys(format::Error::NoKey("reading")), Some("administrator's key file")),
        (E::OldKeys { place: text("p"), write_only: false }, Some("`seawall points --repo r`")),
        (E::OldKeys { place: text("p"), write_only: true }, Some("`seawall key export-writer FILE")),
        (E::HalfRenewed(text("p")), Some("`seawall key renew --repo r`")),
        (E::WouldShutOut(vec![text("a")]), Some("--also-key-file")),
        (E::LastSlot(text("a")), Some("`seawall key add --repo r`")),
        (E::NoSlot(text("a")), Some("`seawall key list --repo r`")),
        (E::NoSlotOpens { secret: "key file", place: text("p"), damage: text("d") }, Some("another secret")),
        (E::LostPoint { asked: text("a"), faults: 1 }, Some("`seawall log --verify --repo r`")),
        (E::NoPoint { asked: text("a") }, Some("`seawall points --repo r`")),
        (E::PointsGone(vec![PointId([0; 16])]), Some("`seawall points --repo r`")),
        (kept(R::Held), Some("`seawall release 000000000000 --repo r`")),
        (kept(R::Pinned), Some("`seawall points --json --repo r`")),
        (kept(R::NewestRestorable), Some("--even-last")),
        (E::Ambiguous { asked: text("a"), candidates: vec![PointId([0; 16])] }, Some("more digits")),
        (E::Raced(text("x")), Some("run the same command again")),
        (E::TooFewRegions(text("x")), Some("again later")),
        (E::Local { act: "write", path: path.clone(), source: system() }, Some("--state DIR")),
        (E::Catalog { path, why: text("x") }, Some("`seawall catalog rebuild --repo r`")),
        (E::UnknownFact { verb: "sweep", fact: text("x") }, Some("later")),
    ];
    check(rows.map(|(error, hint)| (Error::Repo(error), hint)));
}

#[test]
fn what_helps_with_a_damaged_object_is_said_by_its_kind() {
    let damaged = |object| repo::Error::Damaged { object: text(object), place: text("p"), why: text("x") };
    let rows = [
        ("sweeps/1-2/3", "the next sweep says it anew"),
        ("sessions/1/2/3", "end that backup"),
        ("packs/1", "points --repo r"),
    ];
    check(rows.map(|(object, hint)| (Error::Repo(damaged(object)), Some(hint))));
}

#[test]
fn errors_of_a_place_wherever_they_come_up() {
    use storage::{Error as E, Obstacle as O};
    let obstructed = |obstacle| E::Obstructed { act: act(), obstacle, detail: text("x") };
    let rows = || {
        [
            (E::NotFound { act: act() }, None),
            (E::Exists { act: act() }, Some("--repo")),
            (E::NoPlace { act: act(), detail: text("x") }, Some("make the bucket")),
            (E::Denied { act: act(), detail: text("x") }, Some("credentials")),
            (E::Denied { act: local_act(), detail: text("x") }, Some("owns that folder")),
            (E::Unavailable { act: act(), detail: text("x") }, Some("later")),
            (E::Busy { act: act(), wait: None, detail: text("x") }, Some("--retry-for")),
            (obstructed(O::UnknownAuthority), Some("--ca-file")),
            (obstructed(O::OtherHost), Some("host name of the certificate")),
            (obstructed(O::CertificateTime), Some("new certificate")),
            (obstructed(O::BadCertificate), Some("another certificate")),
            (obstructed(O::NoTls), Some("http://")),
            (obstructed(O::Proxy), Some("NO_PROXY")),
            (obstructed(O::ProxyLogin), Some("USER:PASSWORD")),
            (obstructed(O::Clock), Some("timedatectl")),
            (obstructed(O::Expired), Some("new credentials")),
            (obstructed(O::UnknownHost), Some("correct the endpoint")),
            (E::Full { act: act(), detail: text("x") }, Some("make space")),
            (E::CutShort { act: act(), promised: 2, got: 1, detail: text("x") }, None),
            (E::OutOfRange { act: act(), asked: 0..2, size: 1 }, None),
            (E::Refused { act: act(), detail: text("x") }, None),
            (E::Local { act: act(), path: "f".into(), source: system() }, None),
            (E::BadKey { key: text("x"), why: "x" }, None),
            (E::BadLocation { location: text("x"), why: text("x") }, None),
        ]
    };
    check(rows().map(|(error, hint)| (Error::Storage(error), hint)));
    check(rows().map(|(error, hint)| (Error::Repo(repo::Error::Storage(error)), hint)));
    let gave_up = |source| E::GaveUp { tries: 3, seconds: 60, source: Box::new(source) };
    check(rows().map(|(error, hint)| (Error::Engine(engine::Error::Repo(gave_up(error).into())), hint)));
}

#[test]
fn errors_of_sources_and_targets() {
    use source::Error as E;
    let path = || text("p");
    let failed = std::process::Command::new("false").status().unwrap();
    let rows = || {
        [
            (E::NoRoots, Some("`seawall backup PATH`")),
            (E::Root { path: path(), why: system() }, Some("correct the path")),
            (E::SocketRoot { path: path() }, None),
            (E::NotAnImage { path: path() }, Some("--image")),
            (E::BehindLink { path: path() }, Some("the link leads to")),
            (E::Glob { glob: path(), why: path() }, None),
            (E::ExcludeFile { path: path(), why: system() }, None),
            (E::System { act: "open", path: path(), why: system() }, None),
            (
                E::System { act: "write", path: path(), why: io::ErrorKind::StorageFull.into() },
                Some("make space"),
            ),
            (E::Vanished { act: "open", path: path() }, None),
            (E::Replaced { act: "open", path: path() }, None),
            (E::NotAFile { path: path() }, None),
            (E::Unnamable { path: path(), why: format::path::BadPath::Nul }, None),
            (E::Target { path: path(), why: system() }, Some("write into")),
            (E::Endless { path: path(), listed: 1 }, None),
            (E::TargetNotEmpty { path: path() }, Some("--existing replace")),
            (E::TargetHolds { path: path(), what: "a file" }, Some("--existing differences")),
            (E::TargetInUse { path: path() }, Some("unmount")),
            (E::TargetTooSmall { path: path(), room: 1, size: 2 }, Some("as long")),
            (E::Obstacle { act: "make", path: path() }, None),
            (E::CommandStart { command: path(), why: system() }, None),
            (E::CommandFailed { command: path(), status: failed }, Some("run the command alone")),
            (E::HookFailed { when: "before", command: path(), status: failed }, Some("sh -c")),
            (E::StreamUnread { from: path() }, None),
            (E::Stream { from: path(), why: system() }, None),
        ]
    };
    check(rows().map(|(error, hint)| (Error::Source(error), hint)));
    check(rows().map(|(error, hint)| (Error::Engine(engine::Error::Source(error)), hint)));
}

#[test]
fn errors_of_the_engine_and_of_what_was_typed() {
    use engine::Error as E;
    check([
        (Error::Engine(E::Tree(malformed())), Some("`seawall points --repo r`")),
        (Error::Engine(E::Refused(format::tree::Refused::Endless)), None),
        (Error::Engine(E::Request(text("x"))), None),
        (Error::Engine(E::Output(text("x"), io::ErrorKind::Other)), None),
        (Error::Engine(E::Map { line: 1, why: text("x") }), Some("OFFSET LENGTH")),
        (
            Error::Engine(E::AfterToo {
                error: Box::new(E::NoPath(text("x"))),
                after: source::Error::NoRoots,
            }),
            Some("`seawall ls POINT --repo r`"),
        ),
        (Error::Engine(E::OneFile(text("x"))), Some("`seawall ls POINT --repo r`")),
        (Error::Engine(E::MapBasis(text("x"))), Some("`seawall points --repo r`")),
        (Error::Engine(E::NoPath(text("x"))), Some("`seawall ls POINT --repo r`")),
        (Error::Request(text("x")), None),
        (Error::NoHome { what: "key file", flag: "--key-file" }, Some("--key-file")),
        (Error::NoKeyFile("k".into()), Some("--passphrase-file")),
        (Error::BadKeyFile { path: "k".into(), why: malformed().into() }, Some("copy")),
        (Error::PublicKey("k".into()), Some("`seawall key recipient FILE`")),
        (Error::BadPublicKey { file: None, why: malformed().into() }, Some("`seawall key recipient FILE`")),
        (Error::NotForRescue { path: "p".into(), why: "it is not static" }, Some("./build-rescue")),
        (Error::NoTerminal, Some("--passphrase-file")),
        (Error::Interrupted, Some("run the same command again")),
        (Error::Local { act: "read", path: "k".into(), source: system() }, None),
        (Error::Output(system()), None),
    ]);
}

#[test]
fn exit_codes_follow_from_what_helps() {
    use repo::Error as E;
    let obstructed =
        |obstacle| Error::Storage(storage::Error::Obstructed { act: act(), obstacle, detail: text("x") });
    let rows = [
        (Error::Repo(E::NoRepository(text("p"))), 4),
        (Error::Repo(E::Gone { place: text("p"), repo: text("aa") }), 6),
        (Error::Repo(E::Malformed(malformed())), 3),
        (Error::Repo(E::Raced(text("x"))), 5),
        (Error::Repo(E::HalfRenewed(text("x"))), 5),
        (Error::Repo(E::OldKeys { place: text("p"), write_only: true }), 4),
        (Error::Storage(storage::Error::Unavailable { act: act(), detail: text("x") }), 6),
        (Error::Storage(storage::Error::Busy { act: act(), wait: None, detail: text("x") }), 6),
        (obstructed(storage::Obstacle::Expired), 4),
        (obstructed(storage::Obstacle::UnknownHost), 6),
        (obstructed(storage::Obstacle::ProxyLogin), 4),
        (Error::Storage(storage::Error::Full { act: act(), detail: text("x") }), 1),
        (Error::Request(text("x")), 4),
        (Error::Interrupted, 130),
    ];
    for (error, code) in rows {
        assert_eq!(error.exit_code(), code, "{error}");
    }
}

//! What to do about an error, as a command to run where there is one.
//!
//! One row per error that somebody can act on; the others say all there is to say by themselves.

use crate::error::Error;

/// A hint for `error`; `flags` lead to the repository that was asked for.
pub(crate) fn of(error: &Error, flags: &str) -> Option<String> {
    match error {
        Error::Repo(error) => of_repo(error, flags),
        Error::Engine(error) => of_engine(error, flags),
        Error::Source(error) => of_source(error),
        Error::Storage(error) => of_storage(error),
        Error::NoHome { flag, .. } => Some(format!("set HOME, or say it with {flag}")),
        Error::NoKeyFile(_) => Some(NO_KEY.to_owned()),
        Error::BadKeyFile { why: format::Error::Draft(_), .. }
        | Error::BadPublicKey { why: format::Error::Draft(_), .. } => Some(DRAFT.to_owned()),
        Error::BadKeyFile { .. } => Some("compare it with the copy that you keep elsewhere".to_owned()),
        Error::PublicKey(_) => {
            Some("name the private file that `seawall key recipient FILE` made beside that line".to_owned())
        }
        Error::BadPublicKey { .. } => {
            Some("have it printed again where the private file is: `seawall key recipient FILE`".to_owned())
        }
        Error::NotForRescue { .. } => Some(RESCUE.to_owned()),
        Error::NoTerminal => {
            Some("put the passphrase into a file and name it with --passphrase-file".to_owned())
        }
        Error::Interrupted => Some(AGAIN.to_owned()),
        Error::Cleared | Error::Request(_) | Error::Local { .. } | Error::Output(_) => None,
    }
}

const NO_KEY: &str = "name the key file of this repository with --key-file, or its passphrase with --passphrase-file or \
                      --passphrase; a new key would not open it";
const AGAIN: &str = "run the same command again: what a backup has stored is found and used; a restore goes on \
                     with --resume, or begins anew with --existing replace";
const MAP: &str = "a line of a map is OFFSET LENGTH in bytes, as `65536 4096` or `0x10000 0x1000`; without --map everything is \
                   read and compared";
const RESCUE: &str = "`./build-rescue`, run where Seawall's sources are, makes one; then `seawall rescue store --program \
                      target/seawall-rescue`";
const ADMINISTRATOR: &str = "run it with the administrator's key file: --key-file FILE";
const STATE: &str =
    "make room or give rights there, or let this host keep what it knows elsewhere: --state DIR";
const DRAFT: &str = "restore what it holds with the last program that reads version 0, then back that up into a new repository with a \
                     new key file; docs/format.md, \"Versions and upgrades\", says how that program is found";
const SWEEP_PART: &str = "it says which packs a sweep is about to delete, so nothing can be added or swept before it reads. Put it back from a copy of \
                          the repository; where there is none, and no `seawall sweep` runs anywhere, delete that object: the next sweep \
                          says it anew";
const SESSION: &str = "it says what somebody at work relies on, so nothing can be swept before it reads. Put it back from a copy of the \
                       repository; where there is none, end that backup or restore, and then delete that object";
const NEWER: &str = "use the version of seawall that wrote it, or a later one";

fn of_repo(error: &repo::Error, flags: &str) -> Option<String> {
    use repo::Error as E;
    Some(match error {
        E::Storage(error) => return of_storage(error),
        E::Object { source, .. } if source.is_of_later_program() => NEWER.to_owned(),
        E::Object { source: format::Error::Draft(_), .. } => DRAFT.to_owned(),
        E::UnknownFact { .. } | E::NoKnownSlotOpens { .. } => NEWER.to_owned(),
        E::Damaged { object, .. } if *object == repo::layout::genesis().to_string() => {
            "put that object back from a copy of the repository: nothing can be opened without it, and it never changes"
                .to_owned()
        }
        E::Unmarked { .. } | E::FaultyHistory { .. } | E::ClosedHistory { .. } => return of_sweep(error, flags),
        E::NoSession { .. } | E::NoRoom { .. } => return of_sweep(error, flags),
        E::Object { object, .. } | E::Damaged { object, .. } if object.starts_with("sweeps/") => SWEEP_PART.to_owned(),
        E::Object { object, .. } | E::Damaged { object, .. } if object.starts_with("sessions/") => SESSION.to_owned(),
        E::Object { .. } | E::Damaged { .. } | E::Malformed(_) => {
            format!("`seawall points{flags}` lists what else could be restored")
        }
        E::NoRepository(_) => format!("`seawall init{flags}` makes one, if this is the right place"),
        E::Gone { .. } => {
            format!("is its disk mounted? To begin another one there on purpose: `seawall init{flags}`")
        }
        E::Occupied(_) => format!("`seawall points{flags}` lists what it holds; --repo names another place"),
        E::WrongKey { .. } => NO_KEY.to_owned(),
        E::NotStored { .. } => {
            "nothing that depends on it was committed. A store that loses what it acknowledged must be mended, or \
             replaced: --repo names another place"
                .to_owned()
        }
        E::NoSlotOpens { .. } => {
            "another secret may have a slot that is whole: name it with --key-file or --passphrase-file"
                .to_owned()
        }
        E::LostPoint { .. } => {
            format!("`seawall log --verify{flags}` names the faults, `seawall points{flags}` lists what is there")
        }
        E::NotTrusted { found, .. } => {
            format!(
                "compare with the fingerprint that you noted; only if another repository was put there on purpose, add \
                 --trust {found}"
            )
        }
        E::NotAllowed { .. } => {
            format!(
                "`seawall writer list{flags}` lists who may write; an administrator's key file lets a new host in"
            )
        }
        E::Keys(_) => ADMINISTRATOR.to_owned(),
        E::OldKeys { .. } | E::HalfRenewed(_) | E::WouldShutOut(_) => return of_keys(error, flags),
        E::LastSlot(_) => format!("add another first: `seawall key add{flags}`"),
        E::NoSlot(_) => format!("`seawall key list{flags}` lists all slots"),
        E::NoPoint { .. } => {
            format!("`seawall points{flags}` lists all points, and with --forgotten those that were forgotten")
        }
        E::PointsGone(_) | E::Kept { .. } => return of_sweep(error, flags),
        E::Ambiguous { .. } => "type more digits of the one that is meant".to_owned(),
        E::GivenUp => AGAIN.to_owned(),
        E::Raced(_) => "nothing is lost: run the same command again".to_owned(),
        E::TooFewRegions(_) => "nothing is lost: run the same command again later".to_owned(),
        E::Catalog { .. } => {
            format!(
                "make space there if it is full. It is only a cache: delete the file, then `seawall catalog \
                 rebuild{flags}` makes it anew"
            )
        }
        E::Local { .. } => STATE.to_owned(),
        E::Refused(_) => return None,
    })
}

/// What sweeps and retention refuse.
fn of_sweep(error: &repo::Error, flags: &str) -> Option<String> {
    use repo::Error as E;
    Some(match error {
        E::Unmarked { .. } => {
            format!(
                "`seawall verify{flags}` names the points that need it. While a source still has what is lost, a full \
                 backup of it heals them; points that cannot be healed can be forgotten; then sweep again"
            )
        }
        E::FaultyHistory { .. } => {
            format!(
                "`seawall log --verify{flags}` names the faults. Put back what is missing from a copy of the repository; \
                 backups and restores go on meanwhile"
            )
        }
        E::ClosedHistory { .. } => {
            "sweep with a secret that has all keys, --key-file or --passphrase-file, or with the version of seawall that wrote \
             them, or a later one"
                .to_owned()
        }
        E::NoSession { .. } => format!("`seawall session list{flags}` lists who is at work"),
        E::NoRoom { .. } => {
            "make that much space, then run the same command again: it goes on where it stopped. With --repack-below 0 nothing \
             more is packed again"
                .to_owned()
        }
        E::PointsGone(_) => format!("`seawall points{flags}` lists what can still be restored"),
        E::Kept { point, reason, hold } => of_guard(point, *reason, hold.as_deref(), flags),
        _ => return None,
    })
}

fn of_guard(
    point: &format::id::PointId,
    reason: repo::retention::Reason,
    hold: Option<&format::fact::Hold>,
    flags: &str,
) -> String {
    use repo::retention::Reason as R;
    match reason {
        R::Held => {
            let source = hold.and_then(|hold| hold.source.as_ref());
            let what =
                source.map_or_else(|| crate::show::short(point), |s| crate::show::shell_word(s.as_ref()));
            let of = if source.is_some() { "the hold of the whole source" } else { "the hold" };
            format!("if that is yours to decide, `seawall release {what}{flags}` ends {of}")
        }
        R::Pinned => format!("`seawall points --json{flags}` says until when; pins cannot be taken back"),
        _ => "add --even-last to forget it all the same".to_owned(),
    }
}

fn of_keys(error: &repo::Error, flags: &str) -> Option<String> {
    use repo::Error as E;
    Some(match error {
        E::OldKeys { write_only: true, .. } => {
            "an administrator makes a new key for this host: `seawall key export-writer FILE --name NAME`".to_owned()
        }
        E::OldKeys { write_only: false, .. } => {
            format!(
                "use a secret that has the newest keys; with it, `seawall key add` lets this one in again. Points \
                 from before the renewal can be named by their ids: `seawall points{flags}`"
            )
        }
        E::HalfRenewed(_) => {
            format!(
                "run the same command again; if it says so once more, an administrator ends it: `seawall key \
                 renew{flags}`"
            )
        }
        E::WouldShutOut(_) => {
            "give them too, with --also-key-file FILE or --also-passphrase-file FILE, or shut their holders out with \
             --remove-others"
                .to_owned()
        }
        _ => return None,
    })
}

fn of_engine(error: &engine::Error, flags: &str) -> Option<String> {
    use engine::Error as E;
    match error {
        E::Repo(error) => of_repo(error, flags),
        E::Source(error) => of_source(error),
        E::Tree(_) => Some(format!("`seawall points{flags}` lists what else could be restored")),
        E::NoPath(_) => Some(format!("`seawall ls POINT{flags}` lists what it holds")),
        E::AfterToo { error, .. } => of_engine(error, flags),
        E::Stopped => Some(AGAIN.to_owned()),
        E::Map { .. } => Some(MAP.to_owned()),
        E::MapBasis(_) => Some(format!(
            "`seawall points{flags}` lists all points. Back it up once without --map: the next map can be relative to that point"
        )),
        E::OneFile(_) => {
            Some(format!("choose one with --include PATH; `seawall ls POINT{flags}` lists what there is"))
        }
        E::Refused(_) | E::Request(_) | E::Output(..) => None,
    }
}

fn of_source(error: &source::Error) -> Option<String> {
    use source::Error as E;
    let hint = match error {
        E::TargetNotEmpty { .. } => {
            "to go on with a restore that was interrupted: --resume; else name an empty directory, or let what is restored \
             take the place of what is there: --existing replace"
        }
        E::TargetHolds { .. } => {
            "look whether it is the right one; --existing differences then writes what differs, --existing replace everything"
        }
        E::TargetInUse { .. } => "unmount it first; `lsblk` and `findmnt` show who uses it",
        E::TargetTooSmall { .. } => {
            "name a device that is as long, or a directory: a file in it can be of any length"
        }
        E::NoRoots => "name what to keep: `seawall backup PATH`",
        E::NotAnImage { .. } => "leave --image away to keep directories and special files",
        E::Root { .. } => "correct the path, or run as a user who may read it",
        E::Target { .. } => "name a directory that is there or can be made, and that you may write into",
        E::System { why, .. } if is_full(why) => {
            "make space, then run it again; a restore goes on with --resume"
        }
        E::BehindLink { .. } => "name the path that the link leads to",
        E::HookFailed { .. } => {
            "run it alone with `sh -c` to see why it fails; it may have left something half done"
        }
        E::CommandFailed { .. } => "run the command alone to see why it fails",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_storage(error: &storage::Error) -> Option<String> {
    use storage::Error as E;
    let hint = match error {
        E::NoPlace { .. } => "make the bucket or folder first, or correct --repo",
        E::Denied { act, .. } if is_local(act) => {
            "run it as the user who owns that folder, or let this one write there"
        }
        E::Denied { .. } => "check the credentials in the environment or profile, and what they allow",
        E::Exists { .. } => "look at what is stored there; --repo names another place",
        E::Unavailable { .. } => "try again later",
        E::Busy { .. } => {
            "try again later, or let it wait longer with --retry-for 1h; what was stored is found and used"
        }
        E::Obstructed { obstacle, .. } => of_obstacle(*obstacle),
        E::Full { .. } => "make space, then run the same command again: what was stored is found and used",
        E::GaveUp { source, .. } => return of_storage(source),
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_obstacle(obstacle: storage::Obstacle) -> &'static str {
    use storage::Obstacle as O;
    match obstacle {
        O::UnknownAuthority => "name the certificate of the server's own authority: --ca-file FILE",
        O::OtherHost => {
            "put the host name of the certificate into the endpoint of --repo, or give the server a certificate for this \
             name"
        }
        O::CertificateTime => {
            "give the server a new certificate; if it is valid, set the clock of this machine: `timedatectl set-ntp true`"
        }
        O::BadCertificate => "give the server another certificate, or check what --ca-file names",
        O::NoTls => "check the port of the endpoint; where no encryption is wanted, say http:// in --repo",
        O::Proxy => "check HTTPS_PROXY and HTTP_PROXY; NO_PROXY=HOST goes around the proxy",
        O::ProxyLogin => {
            "put user and password into the proxy's URL, as in HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT; NO_PROXY=HOST \
             goes around the proxy"
        }
        O::Clock => "set the clock of this machine, as with `timedatectl set-ntp true`",
        O::Expired => {
            "get new credentials, then run the same command again: what a backup has stored is found and used; a \
             restore goes on with --resume"
        }
        O::UnknownHost => {
            "correct the endpoint in --repo; if it is right, `getent hosts HOST` says whether names are found here, and \
             --retry-for 15m waits for the network"
        }
    }
}

fn is_local(act: &storage::Act) -> bool {
    act.place.to_string().starts_with('/')
}

fn is_full(why: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(why.kind(), K::StorageFull | K::QuotaExceeded)
}

#[cfg(test)]
mod tests;

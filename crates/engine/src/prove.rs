//! The proof that a point comes back (L3): it is restored into a scratch folder, every file is read there again from the disk,
//! and what lies there is looked at as a backup would look at it.
//!
//! Nothing that the restore remembers is asked: names, kinds, lengths, owners, modes, times, targets, attributes and second names
//! are those that a scan of the folder finds. That stored data is lost is told apart from all that this place or this user
//! could not bring back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use format::meta::{Kind, Meta};
use format::path::TreePath;
use format::tree::{Entry, Walk};
use repo::{PointRecord, Reader, Repo};
use source::directory::{Existing, FLAGS, Found, Item, Ownership, Selection, Target, scan};

use crate::error::{Error, Problem};
use crate::restore::{Nodes, Request, is_damage, restore};

/// What bringing a point back showed. The point is proven if both lists are empty.
#[derive(Debug, Default)]
pub struct Proof {
    /// What is lost in the region.
    pub lost: Vec<Problem>,
    /// What is whole there, as far as that shows, and did not come back as it was.
    pub different: Vec<Problem>,
    /// Files that came back whole.
    pub files: u64,
    /// Bytes fetched from the region.
    pub bytes: u64,
}

/// Bits of a mode by which a file acts for its owner or group.
const SET_IDS: u32 = 0o6000;

/// Restores a point into the folder `scratch`, which must not be there or be empty, and looks at what came of it. Files belong to
/// their owners by number where root asks, and are else those of the user who asks. The folder holds the point afterwards;
/// [`clear`] removes it.
///
/// # Errors
/// Of the region and of the scratch place. That something is lost or different is no error.
pub fn prove(
    repo: &Repo,
    point: &PointRecord,
    scratch: &Path,
    ownership: Ownership,
    cores: usize,
) -> Result<Proof, Error> {
    let request =
        Request { read_back: true, ..Request::of(point.clone(), scratch.to_owned(), ownership, cores) };
    let restored = restore(repo, &request)?;
    let mut proof = Proof { files: restored.files, bytes: restored.fetched_bytes, ..Proof::default() };
    let (lost, missing): (Vec<Problem>, Vec<Problem>) =
        restored.problems.into_iter().partition(|problem| problem.damaged);
    proof.lost = lost;
    proof.different = missing.into_iter().chain(restored.shortfalls).collect();
    let named: BTreeSet<TreePath> = proof.different.iter().map(|problem| problem.path.clone()).collect();
    // What lies below something lost is missing with it.
    let is_lost = |path: &TreePath| proof.lost.iter().any(|lost| path.starts_with(&lost.path));
    let found = compare(repo, point, scratch, ownership)?;
    let found = found.into_iter().filter(|problem| !named.contains(&problem.path) && !is_lost(&problem.path));
    proof.different.extend(found.collect::<Vec<Problem>>());
    Ok(proof)
}

/// What is otherwise in the folder than in the point, walked side by side in path order: all but the content of files, of which
/// the length is compared. Entries that cannot be read from the region are left out.
///
/// # Errors
/// Of the region, and of a folder that cannot be listed.
pub fn compare(
    repo: &Repo,
    point: &PointRecord,
    folder: &Path,
    ownership: Ownership,
) -> Result<Vec<Problem>, Error> {
    let reader = Reader::new(repo)?;
    let mut walk = Walk::new(Nodes(&reader), point.point.root);
    let (mut next, mut found, mut links) = (next_of(&mut walk)?, Vec::new(), Links::default());
    for item in scan(&Selection::of(vec![folder.to_owned()]), repo.world())? {
        let mut there = match item {
            Item::Entry(there) => there,
            Item::Skipped(skipped) => {
                found.push(Problem::new(&skipped.path, "a backup would leave it out"));
                continue;
            }
            Item::Problem(problem) => {
                found.push(Problem::new(&problem.path, problem.error));
                continue;
            }
        };
        while let Some(entry) = next.take_if(|entry| entry.path < there.path) {
            found.push(Problem::new(&entry.path, "it is not there"));
            next = next_of(&mut walk)?;
        }
        match next.take_if(|entry| entry.path == there.path) {
            Some(entry) => {
                let wrong = against(&entry, &mut there, ownership, &mut links);
                found.extend(wrong.map(|wrong| Problem::new(&entry.path, wrong)));
                next = next_of(&mut walk)?;
            }
            // The folder itself, where the point is of one file.
            None if there.path.is_root() => {}
            None => found.push(Problem::new(&there.path, "the point does not hold it")),
        }
    }
    while let Some(entry) = next {
        found.push(Problem::new(&entry.path, "it is not there"));
        next = next_of(&mut walk)?;
    }
    Ok(found)
}

/// The next entry that can be read: what cannot was named by the restore.
fn next_of(walk: &mut Walk<Nodes<'_, '_>>) -> Result<Option<Entry>, Error> {
    loop {
        match walk.next().transpose() {
            Err(error) if is_damage(&error) => {}
            next => return next,
        }
    }
}

/// Which names are one file: numbers in the point, inodes here.
#[derive(Default)]
struct Links {
    here: BTreeMap<u64, (u64, u64)>,
}

impl Links {
    fn are_as(&mut self, meta: &Meta, there: &Found) -> bool {
        let Some(link) = meta.link else { return meta.kind != Kind::File || there.identity.links <= 1 };
        let inode = (there.identity.device, there.identity.inode);
        *self.here.entry(link).or_insert(inode) == inode
    }
}

/// What is different, in words; nothing if nothing is.
fn against(entry: &Entry, there: &mut Found, ownership: Ownership, links: &mut Links) -> Option<String> {
    let unread = match there.meta.kind {
        Kind::File => match there.open() {
            Ok(content) => content.add_attributes(&mut there.meta),
            Err(error) => Some(error),
        },
        _ => there.add_attributes(),
    };
    if let Some(error) = unread {
        return Some(error.to_string());
    }
    let is_mine = ownership == Ownership::Mine;
    // Without the right to give files away, nothing acts for somebody else.
    let mode = |meta: &Meta| match meta.kind {
        Kind::File if is_mine => meta.mode & !SET_IDS,
        // Links have no mode of their own.
        Kind::Symlink => 0,
        _ => meta.mode,
    };
    let (then, now) = (&entry.meta, &there.meta);
    let rows = [
        ("another kind", then.kind == now.kind),
        ("another length", then.size == now.size),
        ("another mode", mode(then) == mode(now)),
        ("another owner", is_mine || (then.uid, then.gid) == (now.uid, now.gid)),
        ("another time", then.mtime == now.mtime),
        ("another target", then.target == now.target),
        ("another device number", then.device == now.device),
        ("other attributes", then.xattrs == now.xattrs),
        ("other hard links", links.are_as(then, there)),
    ];
    let wrong: Vec<&str> = rows.iter().filter(|row| !row.1).map(|row| row.0).collect();
    (!wrong.is_empty()).then(|| format!("it came back with {}", wrong.join(" and ")))
}

/// Removes what a proof left, with the folder.
///
/// # Errors
/// Where something of it stays.
pub fn clear(repo: &Repo, point: &PointRecord, scratch: &Path) -> Result<(), Error> {
    if !scratch.exists() {
        return Ok(());
    }
    if let Ok(reader) = Reader::new(repo)
        && let Ok(target) = Target::open(scratch, Existing::Differences, Ownership::Mine)
    {
        // What is immutable goes only when it is not any more.
        let walk = Walk::new(Nodes(&reader), point.point.root).filter_map(Result::ok);
        for entry in walk.filter(|entry| entry.meta.xattrs.iter().any(|(name, _)| &**name == FLAGS)) {
            target.unlock(&entry.path, &entry.meta);
        }
    }
    let gone = fs::remove_dir_all(scratch).or_else(|_| {
        let_in(scratch);
        fs::remove_dir_all(scratch)
    });
    match gone {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::Request(format!("cannot remove {}: {error}", scratch.display())))
        }
        _ => Ok(()),
    }
}

/// Lets this user into all folders below, where their modes keep it out.
fn let_in(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    let below = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let_in(&entry.path());
    }
}

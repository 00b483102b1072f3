//! What is done to one object: drawn by chance, and done to its file in a repository.

use std::fs;
use std::path::{Path, PathBuf};

use world::Chance;

use super::original::Original;

/// What kinds of objects a repository has, by where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Genesis,
    Slot,
    Pack,
    Run,
    Entry,
    Session,
    Sweep,
}

/// All of them, with the folder or the file where they are.
pub(super) const KINDS: [(Kind, &str); 7] = [
    (Kind::Genesis, "format"),
    (Kind::Slot, "keys"),
    (Kind::Pack, "packs"),
    (Kind::Run, "runs"),
    (Kind::Entry, "log"),
    (Kind::Session, "sessions"),
    (Kind::Sweep, "sweeps"),
];

impl Kind {
    /// The kind of an object, by its path in the repository.
    pub(super) fn of(path: &Path) -> Option<Kind> {
        KINDS.iter().find(|(_, folder)| path.starts_with(folder)).map(|(kind, _)| *kind)
    }
}

/// What can become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// One bit is another.
    Flipped,
    /// A page, or what there is of it, is zeros.
    Zeroed,
    /// The end is gone.
    Cut,
    /// There is nothing in it.
    Emptied,
    /// More follows behind it.
    Longer,
    /// It is not there.
    Deleted,
    /// It has the bytes of another one of its kind.
    Swapped,
    /// It has the bytes of one of its kind of another repository.
    Foreign,
    /// Its bytes lie under a second name too.
    Repeated,
    /// Something that is no object of ours lies beside it.
    Strange,
}

pub(super) const WAYS: [Way; 10] = [
    Way::Flipped,
    Way::Zeroed,
    Way::Cut,
    Way::Emptied,
    Way::Longer,
    Way::Deleted,
    Way::Swapped,
    Way::Foreign,
    Way::Repeated,
    Way::Strange,
];

/// Bytes of a page as disks and file systems lose them.
const PAGE_BYTES: usize = 4096;

/// One injury.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Harm {
    /// The object, from the repository's top.
    pub path: PathBuf,
    pub kind: Kind,
    pub way: Way,
}

impl std::fmt::Display for Harm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {}", self.kind, self.way, self.path.display())
    }
}

impl Harm {
    /// Whether a host that `remembers` the repository, or one that never saw it, has to find it. A session that is over, what a
    /// sweep condemned and has deleted, and a slot of which nobody keeps a list, may go; so may an entry that nobody else had
    /// seen, where nobody remembers it. What lies there beside the objects says nothing.
    pub(super) fn must_be_found(&self, original: &Original, remembers: bool) -> bool {
        let may_go = self.way == Way::Deleted
            && (matches!(self.kind, Kind::Session | Kind::Sweep | Kind::Slot)
                || !remembers && original.unseen.contains(&self.path));
        let is_over = self.kind == Kind::Session;
        !may_go && !is_over && !matches!(self.way, Way::Repeated | Way::Strange)
    }

    /// Whether this text names the object, at least by the first digits of its id or of its session's. Of an entry that is gone
    /// nobody knows the name: what is missing without it is named.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        if self.kind == Kind::Entry && self.way == Way::Deleted && text.contains("the entry that let it in") {
            return true;
        }
        let parts = self.path.iter().rev().take(2).filter_map(|part| part.to_str());
        parts.filter(|part| self.kind == Kind::Genesis || part.len() >= 8).any(|part| {
            let first = part.get(..8).unwrap_or(part);
            text.contains(first)
        })
    }

    /// Draws an object, each kind as often as another, and harms it. Nothing comes of it where the bytes stay what they were, or
    /// where it has been harmed `already`.
    pub(super) fn inflict(
        original: &Original,
        repository: &Path,
        already: &[Harm],
        chance: &mut Chance,
    ) -> Option<Harm> {
        let (kind, _) = KINDS[below(chance, KINDS.len())];
        let of_kind = original.objects(kind);
        let path = of_kind.get(below(chance, of_kind.len()))?.clone();
        let way = WAYS[below(chance, WAYS.len())];
        if already.iter().any(|harm| harm.path == path) {
            return None;
        }
        let place = repository.join(&path);
        let before = fs::read(&place).expect("nothing but an injury takes it");
        let harm = Harm { path, kind, way };
        let after = match way {
            Way::Deleted => {
                fs::remove_file(&place).expect("it was there");
                return Some(harm);
            }
            Way::Repeated | Way::Strange => {
                harm.put_beside(&place, &before, chance);
                return Some(harm);
            }
            Way::Swapped => fs::read(repository.join(&of_kind[below(chance, of_kind.len())])).ok()?,
            Way::Foreign => {
                let foreign = original.foreign(kind);
                fs::read(foreign.get(below(chance, foreign.len()))?)
                    .expect("nobody harms the other repository")
            }
            _ => changed(way, before.clone(), chance),
        };
        if after == before {
            return None;
        }
        // The file is another one, as the repository it was copied from has its bytes too.
        fs::remove_file(&place).expect("it was there");
        fs::write(&place, after).expect("there is room for it");
        Some(harm)
    }

    fn put_beside(&self, place: &Path, bytes: &[u8], chance: &mut Chance) {
        let name = place.file_name().and_then(|name| name.to_str()).expect("names of objects are text");
        let (name, bytes) = match self.way {
            Way::Strange => {
                (["lost+found", ".DS_Store", "core", "~"][below(chance, 4)].to_owned(), vec![7; 99])
            }
            _ => (renamed(name, chance), bytes.to_vec()),
        };
        fs::write(place.with_file_name(name), bytes).expect("there is room for it");
    }
}

/// The same name with another digit somewhere.
fn renamed(name: &str, chance: &mut Chance) -> String {
    let at = below(chance, name.len());
    let other = if name.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{other}{}", &name[..at], &name[at + 1..])
}

fn changed(way: Way, mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = below(chance, bytes.len());
    match way {
        Way::Flipped if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
        Way::Zeroed => {
            let page = at / PAGE_BYTES * PAGE_BYTES;
            let end = bytes.len().min(page + PAGE_BYTES);
            bytes[page..end].fill(0);
        }
        Way::Cut => bytes.truncate(at),
        Way::Emptied => bytes.clear(),
        _ => bytes.extend(std::iter::repeat_n(chance.bytes::<1>()[0], 1 + at)),
    }
    bytes
}

/// A number below `most`, or 0 where there is none.
pub(super) fn below(chance: &mut Chance, most: usize) -> usize {
    usize::try_from(chance.below((most as u64).max(1))).unwrap_or(0)
}

//! The tables: their columns, and their rows as a fold has them. For people who open the file with `sqlite3`:
//! ids are lower-case hexadecimal, times UTC nanoseconds, sizes bytes, yes and no 1 and 0.
//!
//! Rows come sorted by key, in the order that SQLite compares: hexadecimal sorts as its bytes do.

use std::collections::{BTreeMap, BTreeSet};

use format::fact::{Grant, Verified};

use super::cell::{Cell, Row};
use crate::fold::{Fold, PointRecord, Standing};

type Rows<'f> = Box<dyn Iterator<Item = Row> + 'f>;

/// A table and where its rows come from.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Name, type, and a word for people.
    pub(super) columns: &'static [&'static str],
    /// How many of the first columns tell rows apart.
    pub(super) keys: usize,
    /// Its rows, sorted by key.
    pub(super) rows: fn(&Fold) -> Rows<'_>,
}

/// The cached entries. Their rows come from the entries themselves.
pub(super) const ENTRIES: Table = Table {
    name: "entries",
    columns: &[
        "writer TEXT NOT NULL",
        "session TEXT NOT NULL",
        "number INTEGER NOT NULL",
        "hash TEXT NOT NULL /* BLAKE3 of the object */",
        "time INTEGER NOT NULL /* UTC nanoseconds */",
        "brings INTEGER NOT NULL /* objects */",
        "facts INTEGER NOT NULL",
        "closed INTEGER NOT NULL /* 1 if there are sealed facts that no key at hand opened */",
        "digest TEXT NOT NULL /* BLAKE3 of record */",
        "record BLOB NOT NULL /* CBOR: clear part, hash, opened facts, closed */",
    ],
    keys: 4,
    rows: |_| Box::new(std::iter::empty()),
};

/// The tables that mirror a fold.
pub(super) const MIRRORED: &[Table] = &[
    Table {
        name: "writers",
        columns: &[
            "id TEXT NOT NULL",
            "name TEXT NOT NULL",
            "public_key TEXT NOT NULL",
            "may_add INTEGER NOT NULL",
            "may_maintain INTEGER NOT NULL",
            "may_administer INTEGER NOT NULL",
            "all_sources INTEGER NOT NULL /* 0: only those in grants */",
            "granted INTEGER NOT NULL /* UTC nanoseconds */",
            "revoked INTEGER NOT NULL",
            "reason TEXT /* of the revocation */",
        ],
        keys: 1,
        rows: writers,
    },
    Table {
        name: "grants",
        columns: &["writer TEXT NOT NULL", "source TEXT NOT NULL"],
        keys: 2,
        rows: grants,
    },
    Table {
        name: "sources",
        columns: &[
            "name TEXT NOT NULL",
            "points INTEGER NOT NULL /* not forgotten */",
            "forgotten INTEGER NOT NULL",
            "newest_as_of INTEGER /* of the points not forgotten, UTC nanoseconds */",
        ],
        keys: 1,
        rows: sources,
    },
    Table {
        name: "points",
        columns: &[
            "id TEXT NOT NULL",
            "source TEXT NOT NULL",
            "host TEXT NOT NULL",
            "kind TEXT NOT NULL",
            "basis TEXT",
            "as_of INTEGER NOT NULL /* UTC nanoseconds */",
            "begun INTEGER NOT NULL",
            "finished INTEGER NOT NULL",
            "files INTEGER NOT NULL",
            "directories INTEGER NOT NULL",
            "others INTEGER NOT NULL",
            "bytes_logical INTEGER NOT NULL",
            "bytes_new INTEGER NOT NULL",
            "bytes_stored INTEGER NOT NULL",
            "problems INTEGER NOT NULL",
            "amplification INTEGER NOT NULL /* bytes fetched over bytes needed, thousandths */",
            "program TEXT NOT NULL",
            "forgotten INTEGER NOT NULL",
            "pinned_until INTEGER /* UTC nanoseconds; the largest: without end */",
            "verified_level INTEGER /* highest level without problems, where no damage stands */",
            "verified_time INTEGER /* newest at that level, UTC nanoseconds */",
            "writer TEXT NOT NULL /* of the entry that made it */",
            "session TEXT NOT NULL",
            "entry INTEGER NOT NULL",
        ],
        keys: 1,
        rows: points,
    },
    Table {
        name: "forgotten_in",
        columns: &["point TEXT NOT NULL", "region TEXT NOT NULL"],
        keys: 2,
        rows: forgotten_in,
    },
    Table {
        name: "tags",
        columns: &[
            "point TEXT NOT NULL",
            "number INTEGER NOT NULL",
            "key TEXT NOT NULL",
            "value TEXT NOT NULL",
        ],
        keys: 2,
        rows: tags,
    },
    Table {
        name: "verifications",
        columns: &[
            "point TEXT NOT NULL",
            "number INTEGER NOT NULL",
            "level INTEGER NOT NULL",
            "region TEXT NOT NULL",
            "time INTEGER NOT NULL /* UTC nanoseconds */",
            "problems INTEGER NOT NULL",
            "objects INTEGER NOT NULL",
            "bytes INTEGER NOT NULL",
        ],
        keys: 2,
        rows: verifications,
    },
    Table {
        name: "holds",
        columns: &["id TEXT NOT NULL", "point TEXT", "source TEXT", "reason TEXT NOT NULL"],
        keys: 1,
        rows: holds,
    },
    Table {
        name: "packs",
        columns: &[
            "id TEXT NOT NULL",
            "uploaded_by TEXT NOT NULL /* session */",
            "size INTEGER NOT NULL",
            "hash TEXT NOT NULL /* BLAKE3 of the object */",
            "writer TEXT NOT NULL /* of the entry that brought it */",
            "session TEXT NOT NULL",
            "entry INTEGER NOT NULL",
        ],
        keys: 1,
        rows: packs,
    },
    Table {
        name: "runs",
        columns: &[
            "id TEXT NOT NULL",
            "writer TEXT NOT NULL",
            "session TEXT NOT NULL",
            "size INTEGER NOT NULL",
            "hash TEXT NOT NULL /* BLAKE3 of the object */",
        ],
        keys: 1,
        rows: runs,
    },
    Table {
        name: "regions",
        columns: &["name TEXT NOT NULL", "incarnation TEXT NOT NULL"],
        keys: 1,
        rows: regions,
    },
    Table {
        name: "sessions",
        columns: &[
            "writer TEXT NOT NULL",
            "session TEXT NOT NULL",
            "newest_entry INTEGER",
            "newest_hash TEXT",
            "ended INTEGER NOT NULL",
            "expired INTEGER NOT NULL",
        ],
        keys: 2,
        rows: sessions,
    },
];

/// Cached entries first, then the mirrored tables.
pub(super) fn all() -> impl Iterator<Item = &'static Table> {
    std::iter::once(const { &ENTRIES }).chain(MIRRORED)
}

impl Table {
    /// The names of its columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.split(' ').next().expect("a split has a first part"))
    }

    /// The part of a row that tells it apart.
    pub(super) fn key<'r>(&self, row: &'r Row) -> &'r [Cell] {
        &row[..self.keys]
    }

    fn keys(&self) -> String {
        let keys: Vec<&str> = self.names().take(self.keys).collect();
        keys.join(", ")
    }
}

/// Every table with the statement that makes it, sorted by name.
pub(super) fn schema() -> Vec<(String, String)> {
    let entries = format!(
        "CREATE TABLE entries (\n  serial INTEGER PRIMARY KEY AUTOINCREMENT,\n  {},\n  UNIQUE ({})\n) STRICT",
        ENTRIES.columns.join(",\n  "),
        ENTRIES.keys()
    );
    let repository = "CREATE TABLE repository (id TEXT NOT NULL) STRICT".to_owned();
    let mut schema = vec![("entries".to_owned(), entries), ("repository".to_owned(), repository)];
    schema.extend(MIRRORED.iter().map(|table| {
        let (name, columns, keys) = (table.name, table.columns.join(",\n  "), table.keys());
        let sql =
            format!("CREATE TABLE {name} (\n  {columns},\n  PRIMARY KEY ({keys})\n) STRICT, WITHOUT ROWID");
        (name.to_owned(), sql)
    }));
    schema.sort();
    schema
}

fn writers(fold: &Fold) -> Rows<'_> {
    Box::new(fold.writers.iter().map(|(id, writer)| {
        let grant = &writer.grant;
        let may = |right: u32| Cell::flag(grant.rights & right != 0);
        vec![
            Cell::text(id),
            Cell::text(&grant.name),
            Cell::text(format::id::hex(&grant.public_key)),
            may(Grant::ADD),
            may(Grant::MAINTAIN),
            may(Grant::ADMINISTER),
            Cell::flag(grant.sources.is_none()),
            grant.time.into(),
            Cell::flag(writer.revoked.is_some()),
            Cell::optional(writer.reason.as_ref(), Cell::text),
        ]
    }))
}

fn grants(fold: &Fold) -> Rows<'_> {
    Box::new(fold.writers.iter().flat_map(|(id, writer)| {
        let sources: BTreeSet<&String> = writer.grant.sources.iter().flatten().collect();
        sources.into_iter().map(move |source| vec![Cell::text(id), Cell::text(source)])
    }))
}

fn sources(fold: &Fold) -> Rows<'_> {
    let mut sources: BTreeMap<&str, Vec<&PointRecord>> = BTreeMap::new();
    for record in fold.points.values() {
        sources.entry(&record.point.source).or_default().push(record);
    }
    Box::new(sources.into_iter().map(|(name, records)| {
        let live = || records.iter().filter(|record| record.is_live());
        vec![
            Cell::text(name),
            Cell::size(live().count()),
            Cell::size(records.len() - live().count()),
            Cell::optional(live().map(|record| record.point.as_of).max(), Cell::from),
        ]
    }))
}

fn points(fold: &Fold) -> Rows<'_> {
    Box::new(fold.points.values().map(|record| {
        let (point, sizes, verified) = (&record.point, &record.point.sizes, level_held(&record.verified));
        vec![
            Cell::text(point.id),
            Cell::text(&point.source),
            Cell::text(&point.host),
            Cell::text(point.kind.name()),
            Cell::optional(point.basis, Cell::text),
            point.as_of.into(),
            point.begun.into(),
            point.finished.into(),
            Cell::count(sizes.files),
            Cell::count(sizes.directories),
            Cell::count(sizes.others),
            Cell::count(sizes.bytes_logical),
            Cell::count(sizes.bytes_new),
            Cell::count(sizes.bytes_stored),
            Cell::count(point.problems),
            point.amplification.into(),
            Cell::text(&point.program),
            Cell::flag(!record.is_live()),
            Cell::optional(record.pinned_until, Cell::from),
            Cell::optional(verified, |v| u32::from(v.level).into()),
            Cell::optional(verified, |v| v.time.into()),
            Cell::text(record.entry.writer),
            Cell::text(record.entry.session),
            record.entry.number.into(),
        ]
    }))
}

/// The verification to show: the newest of the highest level that found nothing, where no damage stands.
pub(super) fn level_held(verified: &[Verified]) -> Option<&Verified> {
    Standing::of(verified.iter()).best
}

fn forgotten_in(fold: &Fold) -> Rows<'_> {
    Box::new(fold.points.iter().flat_map(|(id, record)| {
        record.forgotten_in.keys().map(move |region| vec![Cell::text(id), Cell::text(region)])
    }))
}

fn tags(fold: &Fold) -> Rows<'_> {
    Box::new(fold.points.iter().flat_map(|(id, record)| {
        let tags = record.point.tags.iter().enumerate();
        tags.map(move |(number, (key, value))| {
            vec![Cell::text(id), Cell::size(number), Cell::text(key), Cell::text(value)]
        })
    }))
}

fn verifications(fold: &Fold) -> Rows<'_> {
    Box::new(fold.points.iter().flat_map(|(id, record)| {
        record.verified.iter().enumerate().map(move |(number, v)| {
            vec![
                Cell::text(id),
                Cell::size(number),
                u32::from(v.level).into(),
                Cell::text(&v.region),
                v.time.into(),
                Cell::count(v.problems),
                Cell::count(v.objects),
                Cell::count(v.bytes),
            ]
        })
    }))
}

fn holds(fold: &Fold) -> Rows<'_> {
    Box::new(fold.holds.iter().map(|(id, record)| {
        let hold = &record.hold;
        vec![
            Cell::text(id),
            Cell::optional(hold.point, Cell::text),
            Cell::optional(hold.source.as_ref(), Cell::text),
            Cell::text(&hold.reason),
        ]
    }))
}

fn packs(fold: &Fold) -> Rows<'_> {
    Box::new(fold.packs.iter().map(|(id, record)| {
        vec![
            Cell::text(id),
            Cell::text(id.session()),
            Cell::count(record.size),
            Cell::text(record.hash),
            Cell::text(record.entry.writer),
            Cell::text(record.entry.session),
            record.entry.number.into(),
        ]
    }))
}

fn runs(fold: &Fold) -> Rows<'_> {
    Box::new(fold.runs.iter().map(|(id, record)| {
        let (writer, session) = record.of;
        vec![
            Cell::text(id),
            Cell::text(writer),
            Cell::text(session),
            Cell::count(record.size),
            Cell::text(record.hash),
        ]
    }))
}

fn regions(fold: &Fold) -> Rows<'_> {
    Box::new(fold.regions.iter().map(|(name, incarnation)| vec![Cell::text(name), Cell::text(incarnation)]))
}

fn sessions(fold: &Fold) -> Rows<'_> {
    let known: BTreeSet<_> = fold.heads.keys().chain(&fold.ended).chain(&fold.expired).collect();
    Box::new(known.into_iter().map(|chain| {
        let head = fold.heads.get(chain);
        vec![
            Cell::text(chain.0),
            Cell::text(chain.1),
            Cell::optional(head, |head| head.number.into()),
            Cell::optional(head, |head| Cell::text(head.hash)),
            Cell::flag(fold.ended.contains(chain)),
            Cell::flag(fold.expired.contains(chain)),
        ]
    }))
}

//! A table gives back what was put into it, and nothing that was not.

use format::id::SessionId;
use world::Chance;

use super::*;

pub(in crate::index) fn keys(seed: u8) -> Keys {
    let generation = Generation::fresh(0, &mut Chance::from_key([seed; 32]));
    Keys { repo: RepoId([1; 32]), domain: DomainId([2; 16]), generation, world: World::real() }
}

fn pack(n: u32) -> PackId {
    PackId::new(SessionId([1; 16]), *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap())
}

/// Packs by number, sorted, and rows of chunks, each with as many places as `places` says, sorted.
fn some(rows: u32, places: impl Fn(u32) -> u32) -> (Vec<PackId>, Vec<Row>) {
    let mut packs: Vec<PackId> = (0..9).map(pack).collect();
    packs.sort_unstable();
    let mut all: Vec<Row> = (0..rows)
        .flat_map(|n| (0..places(n)).map(move |place| (n, place)))
        .map(|(n, place)| {
            let chunk = chunk(n).half();
            Row { chunk, pack: n % 9, ordinal: place, offset: n, length: 7 }
        })
        .collect();
    all.sort_unstable();
    (packs, all)
}

fn chunk(n: u32) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn small(keys: &Keys, path: PathBuf, packs: Vec<PackId>, rows: &[Row]) -> Table {
    let mut making = Making::begin(keys, Vec::new(), packs).unwrap();
    rows.iter().for_each(|row| making.push(row).unwrap());
    making.finish_small(path, vec![RunId([7; 16])]).unwrap()
}

fn places(table: &Table, chunk: &ChunkId) -> Vec<Reference> {
    let mut found = Vec::new();
    table.places(chunk, &mut found).unwrap();
    found
}

#[test]
fn what_was_put_in_is_found_and_nothing_else_however_many_rows_there_are() {
    let dir = tempfile::tempdir().unwrap();
    for rows in [0, 1, 2, 30, 31, 32, 61, 62, 63, 64, 5000] {
        let path = dir.path().join(rows.to_string());
        let (packs, all) = some(rows, |_| 1);
        let made = small(&keys(1), path.clone(), packs.clone(), &all);
        let opened = Table::open(&keys(1), path).unwrap();
        for table in [&made, &opened] {
            assert_eq!((table.len(), table.runs()), (u64::from(rows), &[RunId([7; 16])][..]));
            assert_eq!(table.packs(), packs);
            assert_eq!(table.rows().collect::<Result<Vec<_>, _>>().unwrap(), all);
            for n in 0..rows + 100 {
                let place = Row { chunk: chunk(n).half(), pack: n % 9, ordinal: 0, offset: n, length: 7 };
                let expected = (n < rows).then(|| place.reference(packs[n as usize % 9], &chunk(n)));
                assert_eq!(places(table, &chunk(n)), Vec::from_iter(expected), "{n} of {rows}");
            }
        }
    }
}

/// Rows of one chunk begin anywhere in a block, fill whole blocks, and end anywhere.
#[test]
fn a_chunk_with_places_in_several_blocks_has_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let many = |n: u32| if n.is_multiple_of(50) { 300 } else { 1 + n % 3 };
    let (packs, all) = some(500, many);
    let table = small(&keys(1), dir.path().join("t"), packs, &all);
    for n in 0..500 {
        let ordinals: Vec<u32> = places(&table, &chunk(n)).iter().map(|found| found.ordinal).collect();
        assert_eq!(ordinals, Vec::from_iter(0..many(n)), "{n}");
    }
}

/// One row at a time is added before the chunk that fills blocks, so its first row comes to stand in each place.
#[test]
fn a_chunk_is_found_wherever_in_a_block_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (packs, mut rows) = some(400, |_| 1);
    let wanted = rows.pop().unwrap();
    let id = (0..400).map(chunk).find(|id| id.half() == wanted.chunk).unwrap();
    for before in 0..rows.len().min(2 * ROWS_IN_BLOCK + 2) {
        let mut all = rows[rows.len() - before..].to_vec();
        all.extend((0..ROWS_IN_BLOCK as u32 + 1).map(|ordinal| Row { ordinal, ..wanted }));
        let table = small(&keys(1), dir.path().join("t"), packs.clone(), &all);
        assert_eq!(places(&table, &id).len(), ROWS_IN_BLOCK + 1, "{before}");
    }
}

#[test]
fn it_opens_with_its_own_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let (packs, all) = some(300, |_| 1);
    small(&keys(1), path.clone(), packs, &all);
    assert!(Table::open(&keys(1), path.clone()).is_ok());
    assert!(Table::open(&keys(2), path.clone()).is_err());
    let other = Keys { repo: RepoId([9; 32]), ..keys(1) };
    assert!(Table::open(&other, path).is_err());
}

#[test]
fn no_damage_gives_a_wrong_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let (packs, all) = some(700, |_| 1);
    small(&keys(1), path.clone(), packs, &all);
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut noticed) = (0, 0);
    let damaged = (0..whole.len()).step_by(41).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..whole.len()).step_by(333).map(|end| whole[..end].to_vec());
    for bytes in damaged.chain(cut) {
        std::fs::write(&path, &bytes).unwrap();
        let Ok(table) = Table::open(&keys(1), path.clone()) else {
            refused += 1;
            continue;
        };
        for n in 0..700 {
            let mut found = Vec::new();
            match table.places(&chunk(n), &mut found) {
                Ok(()) => assert_eq!((found.len(), found[0].offset), (1, n)),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(refused > 50 && noticed > 10_000, "{refused} {noticed}");
}

/// Two filters, and a chunk whose rows lie on both sides of where the second begins.
#[test]
fn each_million_rows_has_a_filter_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let first = BLOCKS_IN_FILTER * ROWS_IN_BLOCK;
    let row = |n: u64| {
        let mut chunk = [0; 16];
        chunk[..8].copy_from_slice(&(n << 40).to_be_bytes());
        Row { chunk, pack: 0, ordinal: 0, offset: 0, length: 1 }
    };
    // Every key is new but for those around the border.
    let numbers =
        (0..first as u64 + 1000).map(|n| if n.abs_diff(first as u64) < 2 { first as u64 } else { n });
    let rows: Vec<Row> = numbers.zip(0..).map(|(n, ordinal)| Row { ordinal, ..row(n) }).collect();
    let table = small(&keys(1), dir.path().join("t"), vec![pack(0)], &rows);
    assert_eq!(table.known.filters.len(), 2);
    let id = |n: u64| {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&row(n).chunk);
        ChunkId(id)
    };
    assert_eq!(places(&table, &id(first as u64)).len(), 3);
    for n in (0..first as u64 - 2).step_by(997).chain(first as u64 + 2..first as u64 + 1000) {
        assert_eq!(places(&table, &id(n)).len(), 1, "{n}");
    }
    let opened = Table::open(&keys(1), dir.path().join("t")).unwrap();
    assert_eq!(places(&opened, &id(first as u64)).len(), 3);
}

#[test]
fn where_no_file_can_be_written_it_stays_in_memory() {
    let (packs, all) = some(300, |_| 1);
    let table = small(&keys(1), PathBuf::from("/nowhere/at/all"), packs, &all);
    assert!((0..300).all(|n| places(&table, &chunk(n)).len() == 1));
    assert_eq!(table.rows().count(), 300);
}

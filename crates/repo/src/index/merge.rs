//! Several tables become one, row by row, so that look-ups ask few of them and memory does not grow with their length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::BufWriter;
use std::path::PathBuf;

use format::id::{PackId, RunId};

use super::row::Row;
use super::table::{self, Bad, Keys, Making, Rows, Table};

/// The table at `path` that has all rows of `tables`, each once, and stands for all their runs.
pub(super) fn merged(keys: &Keys, tables: &[&Table], path: PathBuf) -> Result<Table, Bad> {
    let begun = path.clone();
    merge(keys, tables, path).inspect_err(|_| table::discard(&begun))
}

fn merge(keys: &Keys, tables: &[&Table], path: PathBuf) -> Result<Table, Bad> {
    let (packs, numbers) = numbered(tables);
    let mut making = Making::begin(keys, BufWriter::new(table::create(&path)?), packs)?;
    let mut inputs: Vec<Input> = tables.iter().map(|table| Input(table.rows())).collect();
    let mut next = BinaryHeap::new();
    for (at, input) in inputs.iter_mut().enumerate() {
        next.extend(input.next(&numbers[at])?.map(|row| Reverse((row, at))));
    }
    // What several tables have comes one after the other, as rows are ordered by all that they say.
    let mut last = None;
    while let Some(Reverse((row, at))) = next.pop() {
        if last != Some(row) {
            making.push(&row)?;
        }
        last = Some(row);
        next.extend(inputs[at].next(&numbers[at])?.map(|row| Reverse((row, at))));
    }
    let mut runs: Vec<RunId> = tables.iter().flat_map(|table| table.runs()).copied().collect();
    runs.sort_unstable();
    runs.dedup();
    making.finish_file(path, runs)
}

/// All packs, sorted; and for each table, the new numbers of its packs. Each table numbers its packs by their order, so its
/// rows are in order under the new numbers too.
fn numbered(tables: &[&Table]) -> (Vec<PackId>, Vec<Vec<u32>>) {
    let mut packs: Vec<PackId> = tables.iter().flat_map(|table| table.packs()).copied().collect();
    packs.sort_unstable();
    packs.dedup();
    let new = |pack: &PackId| {
        let number = packs.binary_search(pack).expect("the packs of all tables are there");
        u32::try_from(number).expect("fewer than 2^32 packs")
    };
    let numbers = tables.iter().map(|table| table.packs().iter().map(new).collect()).collect();
    (packs, numbers)
}

struct Input<'t>(Rows<'t>);

impl Input<'_> {
    fn next(&mut self, numbers: &[u32]) -> Result<Option<Row>, Bad> {
        let Some(row) = self.0.next().transpose()? else { return Ok(None) };
        let pack = *numbers.get(row.pack as usize).ok_or("a row leads to no pack")?;
        Ok(Some(Row { pack, ..row }))
    }
}

//! Tables and what they should hold, compared in one pass over both, sorted by key; memory is that of the
//! differences. So it is the same work to bring a table up to date and to check it, and no earlier mistake
//! survives either.

use rusqlite::{Statement, Transaction, params_from_iter};

use super::cell::{Cell, Row};
use super::tables::Table;
use super::trouble::Trouble;

/// One row that is not as it should be.
#[derive(Debug)]
pub(super) enum Difference {
    Missing(Row),
    Extra(Row),
    Changed { found: Row, wanted: Row },
}

impl Difference {
    /// What a person reads.
    pub(super) fn sentence(&self, table: &Table) -> String {
        let name = table.name;
        match self {
            Difference::Missing(row) => format!("{name}: {} is missing", key_text(table, row)),
            Difference::Extra(row) => format!("{name}: {} should not be there", key_text(table, row)),
            Difference::Changed { found, wanted } => {
                let columns = table
                    .names()
                    .zip(found.iter().zip(wanted))
                    .filter(|(_, (found, wanted))| found != wanted);
                let columns: Vec<String> = columns
                    .map(|(column, (found, wanted))| format!("{column} is {found} and should be {wanted}"))
                    .collect();
                format!("{name}: {}: {}", key_text(table, wanted), columns.join(", "))
            }
        }
    }
}

/// Makes `table` hold `wanted`, which is sorted by key; writes only what differs.
pub(super) fn write(
    transaction: &Transaction<'_>,
    table: &Table,
    wanted: impl Iterator<Item = Row>,
) -> Result<(), Trouble> {
    let mut insert = transaction.prepare(&insert(table).replacen("INSERT", "INSERT OR REPLACE", 1))?;
    if is_empty(transaction, table)? {
        return insert_all(&mut insert, wanted);
    }
    let (mut wrong, mut right) = (Vec::new(), Vec::new());
    let mut note = |difference| match difference {
        Difference::Missing(row) | Difference::Changed { wanted: row, .. } => right.push(row),
        Difference::Extra(row) => wrong.push(row),
    };
    compare(transaction, table, wanted, &mut note)?;
    let mut delete = transaction.prepare(&delete(table))?;
    for row in wrong {
        delete.execute(params_from_iter(table.key(&row)))?;
    }
    insert_all(&mut insert, right.into_iter())
}

fn insert_all(insert: &mut Statement<'_>, rows: impl Iterator<Item = Row>) -> Result<(), Trouble> {
    for row in rows {
        insert.execute(params_from_iter(&row))?;
    }
    Ok(())
}

/// Tells `note` every difference between `table` and `wanted`, which is sorted by key.
pub(super) fn compare(
    transaction: &Transaction<'_>,
    table: &Table,
    wanted: impl Iterator<Item = Row>,
    note: &mut dyn FnMut(Difference),
) -> Result<(), Trouble> {
    let mut statement = transaction.prepare(&select(table))?;
    let mut rows = statement.query([])?;
    let mut next = || rows.next()?.map(|row| row_of(table, row)).transpose();
    let mut found = next()?;
    for wanted in wanted {
        while let Some(extra) = found.take_if(|row| table.key(row) < table.key(&wanted)) {
            note(Difference::Extra(extra));
            found = next()?;
        }
        match found.take_if(|row| table.key(row) == table.key(&wanted)) {
            None => note(Difference::Missing(wanted)),
            Some(same) => {
                if same != wanted {
                    note(Difference::Changed { found: same, wanted });
                }
                found = next()?;
            }
        }
    }
    while let Some(extra) = found {
        note(Difference::Extra(extra));
        found = next()?;
    }
    Ok(())
}

/// All columns of a row, in the order of the table.
pub(super) fn row_of(table: &Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    (0..table.columns.len()).map(|column| row.get::<_, Cell>(column)).collect()
}

/// A row's key, as a person reads it.
pub(super) fn key_text(table: &Table, row: &Row) -> String {
    let parts: Vec<String> = table.key(row).iter().map(Cell::to_string).collect();
    parts.join("/")
}

/// All rows, sorted by key.
pub(super) fn select(table: &Table) -> String {
    let columns: Vec<&str> = table.names().collect();
    let keys = columns[..table.keys].join(", ");
    format!("SELECT {} FROM {} ORDER BY {keys}", columns.join(", "), table.name)
}

pub(super) fn insert(table: &Table) -> String {
    let columns: Vec<&str> = table.names().collect();
    let places: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", table.name, columns.join(", "), places.join(", "))
}

fn delete(table: &Table) -> String {
    let keys = table.names().take(table.keys).zip(1..);
    let conditions: Vec<String> = keys.map(|(column, number)| format!("{column} = ?{number}")).collect();
    format!("DELETE FROM {} WHERE {}", table.name, conditions.join(" AND "))
}

fn is_empty(transaction: &Transaction<'_>, table: &Table) -> Result<bool, Trouble> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", table.name);
    Ok(transaction.query_row(&sql, [], |row| row.get(0))?)
}

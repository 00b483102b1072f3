//! Names of users and groups, from `/etc/passwd` and `/etc/group` as they stood when first asked for.
//!
//! The first line of a number or of a name wins, as in the C library. Accounts that only a directory service
//! knows have no name here; their numbers are kept all the same.

use std::collections::HashMap;
use std::sync::Arc;

/// Users and groups of this machine, both ways.
pub(crate) struct Accounts {
    pub(crate) users: Table,
    pub(crate) groups: Table,
}

/// Names by number and numbers by name.
#[derive(Default)]
pub(crate) struct Table {
    names: HashMap<u32, Arc<[u8]>>,
    ids: HashMap<Box<[u8]>, u32>,
}

impl Accounts {
    /// What the machine's own files say; a file that cannot be read knows nobody.
    pub(crate) fn of_this_machine() -> Accounts {
        let table = |file| Table::parse(&std::fs::read(file).unwrap_or_default());
        Accounts { users: table("/etc/passwd"), groups: table("/etc/group") }
    }
}

impl Table {
    /// Reads lines of `name:password:number:...`; other lines are passed over.
    fn parse(text: &[u8]) -> Table {
        let mut table = Table::default();
        for line in text.split(|&b| b == b'\n') {
            if let Some((name, id)) = account(line) {
                table.names.entry(id).or_insert_with(|| name.into());
                table.ids.entry(name.into()).or_insert(id);
            }
        }
        table
    }

    /// The name of number `id`.
    pub(crate) fn name(&self, id: u32) -> Option<Arc<[u8]>> {
        self.names.get(&id).cloned()
    }

    /// The number of `name`.
    pub(crate) fn id(&self, name: &[u8]) -> Option<u32> {
        self.ids.get(name).copied()
    }
}

fn account(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|&b| b == b':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let id = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    Some((name, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_number_or_a_name_wins() {
        let table = Table::parse(b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0\nroot:x:7:7\nna\xffme:x:5:\n");
        assert_eq!(table.name(0).as_deref(), Some(&b"root"[..]));
        assert_eq!((table.id(b"root"), table.id(b"toor")), (Some(0), Some(0)));
        assert_eq!(table.id(b"na\xffme"), Some(5));
    }

    #[test]
    fn lines_that_are_no_accounts_are_passed_over() {
        let table = Table::parse(b"\n# note\n+::::\n:x:1:\nx:x:minus:\nshort:x\nlast:x:9");
        assert_eq!((table.names.len(), table.id(b"last")), (1, Some(9)));
    }
}

//! Whether the chains are whole: each entry follows the one before it by number and by hash, and what entries
//! saw of other chains is there. Only entries that count are believed in what they saw, or a stranger could
//! vouch for entries that it takes away together with its own. What nobody vouches for is remembered: it is
//! all that could be cut unseen.

use std::collections::BTreeMap;

use format::entry::{EntryId, Head};
use format::id::{Hash, SessionId, WriterId};

use super::{Finding, Fold};
use crate::log::LogEntry;

impl Fold {
    /// Looks for gaps, forks and broken links in all chains, and for what entries that count have seen of
    /// others.
    pub(super) fn check_chains(
        &mut self,
        places: &BTreeMap<EntryId, Vec<&LogEntry>>,
        counts: impl Fn(&Fold, &LogEntry) -> bool,
    ) {
        let mut named: BTreeMap<(WriterId, SessionId), u32> = BTreeMap::new();
        for (id, here) in places {
            if here.len() > 1 {
                self.findings.insert(Finding::Forked(*id));
            }
            let chain = (id.writer, id.session);
            let follows = self.heads.get(&chain).map_or(0, |head| head.number + 1);
            if id.number > follows {
                self.findings.insert(Finding::Missing { before: *id, count: id.number - follows });
            }
            for entry in here {
                self.check_link(places, entry, follows);
                if counts(self, entry) {
                    self.check_names(places, entry, &mut named);
                }
            }
            let head = Head { writer: id.writer, session: id.session, number: id.number, hash: here[0].hash };
            self.heads.insert(chain, head);
        }
        let vouched =
            |id: &EntryId| named.get(&(id.writer, id.session)).is_some_and(|last| id.number <= *last);
        let counting = places.iter().filter(|(_, here)| here.iter().any(|entry| counts(self, entry)));
        let unnamed = counting.map(|(id, _)| *id).filter(|id| !vouched(id)).collect();
        self.unnamed = unnamed;
    }

    fn check_link(&mut self, places: &BTreeMap<EntryId, Vec<&LogEntry>>, entry: &LogEntry, follows: u32) {
        let id = entry.clear.id();
        if id.number != follows {
            return;
        }
        let before = id.number.checked_sub(1).and_then(|number| places.get(&EntryId { number, ..id }));
        let links = match before {
            None => entry.clear.previous == Hash::NONE,
            Some(before) => before.iter().any(|b| b.hash == entry.clear.previous),
        };
        if !links {
            self.findings.insert(Finding::Reordered(id));
        }
    }

    fn check_names(
        &mut self,
        places: &BTreeMap<EntryId, Vec<&LogEntry>>,
        entry: &LogEntry,
        named: &mut BTreeMap<(WriterId, SessionId), u32>,
    ) {
        let named_by = entry.clear.id();
        for head in &entry.clear.heads {
            let id = EntryId { writer: head.writer, session: head.session, number: head.number };
            let last = named.entry((id.writer, id.session)).or_default();
            *last = (*last).max(id.number);
            match places.get(&id) {
                None => self.findings.insert(Finding::Unseen { entry: id, named_by }),
                Some(here) if here.iter().all(|e| e.hash != head.hash) => {
                    self.findings.insert(Finding::Changed { entry: id, named_by })
                }
                Some(_) => false,
            };
        }
        for dep in entry.clear.deps.iter().filter(|dep| !places.contains_key(dep)) {
            self.findings.insert(Finding::Unseen { entry: *dep, named_by });
        }
    }
}

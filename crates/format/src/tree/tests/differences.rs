//! Two trees side by side: what differs is all found, what is equal is not read, what is lost is not guessed.

use super::*;

/// One store for the nodes of both trees, as a repository is.
fn together(old: &[Entry], new: &[Entry]) -> (Reference, Reference, Memory) {
    let (old, _, mut memory) = build(old);
    let (new, _, other) = build(new);
    memory.nodes.extend(other.nodes);
    (old, new, memory)
}

fn compare(old: &[Entry], new: &[Entry], under: &TreePath) -> Vec<Difference> {
    let (old, new, memory) = together(old, new);
    let walk = |root| Walk::new(memory.clone(), root).under(under.clone());
    Differences::new(walk(old), walk(new)).collect::<Result<_, _>>().expect("sound trees")
}

/// The same by looking every path up.
fn expected(old: &[Entry], new: &[Entry], under: &TreePath) -> Vec<Difference> {
    let by_path = |entries: &[Entry]| -> BTreeMap<TreePath, Entry> {
        let wanted = entries.iter().filter(|entry| entry.path.starts_with(under));
        wanted.map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let (old, new) = (by_path(old), by_path(new));
    let all: BTreeSet<&TreePath> = old.keys().chain(new.keys()).collect();
    let difference = |path| match (old.get(path), new.get(path)) {
        (Some(old), None) => Some(Difference::Removed(old.clone())),
        (None, Some(new)) => Some(Difference::Added(new.clone())),
        (Some(old), Some(new)) if old != new => {
            Some(Difference::Changed(Box::new((old.clone(), new.clone()))))
        }
        _ => None,
    };
    all.into_iter().filter_map(difference).collect()
}

/// `entries` with some taken out, some made anew, and a whole folder more.
fn altered(entries: &[Entry], dice: &mut Dice) -> Vec<Entry> {
    let often = 1 + dice.below(40);
    let mut all: BTreeMap<TreePath, Entry> =
        entries.iter().map(|entry| (entry.path.clone(), entry.clone())).collect();
    for entry in entries.iter().skip(1) {
        match dice.below(often * 4) {
            0 => drop(all.remove(&entry.path)),
            1 => drop(all.insert(entry.path.clone(), any_entry(entry.path.clone(), dice))),
            _ => {}
        }
    }
    for number in 0..dice.below(300) {
        let path = path(format!("usr/new-{number}").as_bytes());
        all.insert(path.clone(), any_entry(path, dice));
    }
    all.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_differs_is_what_looking_up_every_path_shows(seed: u64, count in 0usize..4000) {
        let mut dice = Dice::new(seed ^ 1);
        let old = any_entries(count, seed);
        let new = altered(&old, &mut dice);
        for under in [TreePath::root(), path(b"usr"), path(b"a/b"), path(b"no such")] {
            prop_assert_eq!(compare(&old, &new, &under), expected(&old, &new, &under), "under {}", under);
        }
    }
}

#[test]
fn trees_without_anything_in_common_or_in_them_are_compared_too() {
    let (some, other) = (any_entries(9000, 1), any_entries(2, 2));
    for (old, new) in [(&some, &other), (&other, &some), (&some, &Vec::new()), (&Vec::new(), &some)] {
        let root = TreePath::root();
        assert_eq!(compare(old, new, &root), expected(old, new, &root));
    }
}

#[test]
fn equal_trees_are_not_read_at_all_and_others_only_where_they_differ() {
    let old = any_entries(120_000, 5);
    let mut dice = Dice::new(6);
    let mut new = old.clone();
    for at in [77, 60_000, 110_000] {
        new[at] = any_entry(old[at].path.clone(), &mut dice);
    }
    let (old_root, new_root, mut memory) = together(&old, &new);
    let all = memory.nodes.len();
    let levels = levels(&memory, &old_root);
    assert_eq!(
        Differences::new(Walk::new(&mut memory.clone(), old_root), Walk::new(&mut memory.clone(), old_root))
            .count(),
        0
    );
    let mut other = memory.clone();
    let found = Differences::new(Walk::new(&mut memory, old_root), Walk::new(&mut other, new_root)).count();
    let loads = memory.loads + other.loads;
    assert_eq!(found, 3);
    assert!(loads <= 3 * 2 * (levels + 2) && loads * 5 < all, "{loads} of {all} nodes were read");
    let mut unread = memory.clone();
    unread.loads = 0;
    assert_eq!(
        Differences::new(Walk::new(&mut unread, new_root), Walk::new(&mut Memory::default(), new_root))
            .count(),
        0
    );
    assert_eq!(unread.loads, 0, "one root is one tree");
}

/// What lies in a lost node is neither removed nor added; all else is told as if nothing were lost.
#[test]
fn a_lost_node_hides_the_differences_in_it_and_makes_up_none() {
    let old = any_entries(40_000, 9);
    let new = altered(&old, &mut Dice::new(10));
    let (old_root, new_root, memory) = together(&old, &new);
    let truth = expected(&old, &new, &TreePath::root());
    let mut hidden = 0;
    for root in [old_root, new_root] {
        for (lost, _) in all_nodes(&memory, root).into_iter().step_by(29) {
            let mut damaged = memory.clone();
            damaged.nodes.remove(&lost.chunk);
            let walk = |root| Walk::new(damaged.clone(), root);
            let (found, errors): (Vec<_>, Vec<_>) =
                Differences::new(walk(old_root), walk(new_root)).partition(Result::is_ok);
            let found: Vec<_> = found.into_iter().flatten().collect();
            assert!(errors.len() <= 2, "{errors:?}");
            assert!(found.iter().all(|one| truth.contains(one)), "a difference that is none");
            assert!(found.is_sorted_by_key(|one| path_of(one).clone()));
            let gone = truth.len() - found.len();
            assert!(gone == 0 || !errors.is_empty(), "{gone} differences are missing and nothing is said");
            hidden += gone;
        }
    }
    assert!(hidden > 0, "no damage hid anything");
}

fn path_of(difference: &Difference) -> &TreePath {
    match difference {
        Difference::Removed(entry) | Difference::Added(entry) => &entry.path,
        Difference::Changed(both) => &both.0.path,
    }
}

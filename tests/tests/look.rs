//! Looking inside: what differs between points, what they cost, where a name is, without bringing anything back.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::files::below;
use tests::odd;
use tests::seawall::Machine;

fn point(machine: &Machine, words: &[&str]) -> String {
    machine.json(&[&["backup"], words].concat())["point"].as_str().unwrap().to_owned()
}

fn lines(out: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(out).lines().map(str::to_owned).collect()
}

/// Two points with every sort of difference, and names that only look different.
fn changed() -> (Machine, String, String) {
    let machine = Machine::with_repository();
    let top = machine.at("tree");
    fs::create_dir(&top).unwrap();
    for name in ["content", "same size", "mode", "time", "gone", "turns"] {
        fs::write(top.join(name), odd::noise(3, 100_000)).unwrap();
    }
    symlink("old", top.join("link")).unwrap();
    holes(&top.join("holes"), true);
    let old = point(&machine, &["tree", "--source", "t"]);
    fs::write(top.join("content"), "short").unwrap();
    let file = fs::File::options().write(true).open(top.join("same size")).unwrap();
    file.write_all_at(b"x", 70_000).unwrap();
    fs::set_permissions(top.join("mode"), fs::Permissions::from_mode(0o7777 & 0o1750)).unwrap();
    odd::set_time(&top.join("time"), 5, 6);
    fs::remove_file(top.join("gone")).unwrap();
    fs::remove_file(top.join("turns")).unwrap();
    fs::create_dir(top.join("turns")).unwrap();
    fs::write(top.join("turns/new"), "").unwrap();
    fs::remove_file(top.join("link")).unwrap();
    symlink("new", top.join("link")).unwrap();
    holes(&top.join("holes"), false);
    odd::set_time(&top, 1, 1);
    let new = point(&machine, &["tree", "--source", "t"]);
    (machine, old, new)
}

/// The same bytes, as a hole or written out.
fn holes(path: &Path, hole: bool) {
    let _ = fs::remove_file(path);
    let file = fs::File::create(path).unwrap();
    file.write_all_at(&odd::noise(4, 9001), 0).unwrap();
    if !hole {
        file.write_all_at(&vec![0; 1 << 20], 9001).unwrap();
    }
    file.write_all_at(&odd::noise(5, 300_000), 9001 + (1 << 20)).unwrap();
    odd::set_time(path, 77, 0);
}

#[test]
fn a_diff_names_each_difference_by_its_sort_and_nothing_else() {
    let (machine, old, new) = changed();
    let said = machine.done(&["diff", &old, &new, "-v"]);
    let expected = [
        "m /  (mtime)",
        "M content  (content, mtime)",
        "- gone",
        "M link  (content, mtime)",
        "m mode  (mode)",
        "M same size  (content, mtime)",
        "m time  (mtime)",
        "T turns  (type)",
        "+ turns/new",
    ];
    assert_eq!(lines(&said.out), expected, "{said}");
    assert_eq!(lines(&machine.done(&["diff", &old, &new, "turns"]).out), ["T turns", "+ turns/new"]);
    let back = machine.done(&["diff", &new, &old, "/turns/"]);
    assert_eq!(lines(&back.out), ["T turns", "- turns/new"]);
    for same in [&old, &new] {
        assert!(machine.done(&["diff", same, same]).out.is_empty());
    }
    let document = machine.json(&["diff", &old, "latest"]);
    assert_eq!(document["schema"], "diff/1");
    let counts =
        serde_json::json!({ "added": 1, "removed": 1, "content": 3, "metadata": 3, "type": 1, "unknown": 0 });
    assert_eq!(document["counts"], counts);
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&document["added"]), names(&document["removed"])),
        (vec!["turns/new".to_owned()], vec!["gone".to_owned()])
    );
    assert_eq!(document["changed"].as_array().unwrap().len(), 7);
    machine.run(&["diff", &old, &new, "no/such"]).assert_failed(4, "no/such");
    machine.run(&["diff", &old]).assert_failed(4, "POINT");
}

/// Packs that only the second backup brought, which are lost.
#[test]
fn a_diff_goes_on_behind_damage_and_says_so() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..9000 {
        fs::write(machine.at(&format!("tree/file-{number:05}")), format!("{number}")).unwrap();
    }
    let old = point(&machine, &["tree", "--source", "t"]);
    let before = packs(&machine);
    fs::write(machine.at("tree/file-00000"), "other").unwrap();
    fs::write(machine.at("tree/zz"), "new").unwrap();
    let new = point(&machine, &["tree", "--source", "t"]);
    assert!(lines(&machine.done(&["diff", &old, &new]).out).contains(&"+ zz".to_owned()));
    for pack in packs(&machine).difference(&before) {
        fs::remove_file(pack).unwrap();
    }
    let said = machine.run(&["diff", &old, &new]);
    said.assert_failed(3, "not compared");
    assert!(!lines(&said.out).iter().any(|line| line.starts_with('-')), "nothing was removed: {said}");
    let document = machine.run(&["diff", &old, &new, "--json"]);
    assert_eq!((document.code, document.json()["counts"]["removed"].as_u64()), (3, Some(0)));
    let said = machine.run(&["stats"]);
    said.assert_failed(3, "too low");
    machine.run(&["find", "file-00001"]).assert_failed(3, "not searched");
}

fn packs(machine: &Machine) -> BTreeSet<PathBuf> {
    below(&machine.repository().join("packs")).into_iter().collect()
}

/// Two sources that share a file, the second with two points that share another.
#[test]
fn stats_count_each_byte_once_and_where_it_belongs() {
    const SHARED: u64 = 900_000;
    const ONE: u64 = 500_000;
    const TWO: u64 = 700_001;
    const LATER: u64 = 41_000;
    let machine = Machine::with_repository();
    for (source, own) in [("one", ONE), ("two", TWO)] {
        fs::create_dir(machine.at(source)).unwrap();
        fs::write(machine.at(source).join("shared"), odd::noise(1, SHARED as usize)).unwrap();
        fs::write(machine.at(source).join("own"), odd::noise(own, own as usize)).unwrap();
        point(&machine, &[source, "--source", source]);
    }
    fs::write(machine.at("two/later"), odd::noise(9, LATER as usize)).unwrap();
    let last = point(&machine, &["two", "--source", "two"]);
    let stats = machine.json(&["stats"]);
    assert_eq!(stats["schema"], "stats/1");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{stats}"));
    let (all, one, two) = (&stats["all"], &stats["sources"][0], &stats["sources"][1]);
    assert_eq!((number(&all["points"]), number(&one["points"]), number(&two["points"])), (3, 1, 2));
    assert_eq!(number(&all["bytes_logical"]), 3 * SHARED + ONE + 2 * TWO + LATER);
    assert_eq!(number(&all["bytes_content"]), SHARED + ONE + TWO + LATER);
    assert_eq!(number(&one["bytes_content"]), SHARED + ONE);
    assert_eq!(number(&two["bytes_content"]), SHARED + TWO + LATER);
    assert_eq!(number(&one["bytes_only"]), ONE + number(&one["bytes_tree"]));
    assert_eq!(number(&two["bytes_only"]), TWO + LATER + number(&two["bytes_tree"]));
    let size: u64 = packs(&machine).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert_eq!(
        (number(&stats["bytes_packs"]), number(&stats["packs"])),
        (size, packs(&machine).len() as u64)
    );
    let stored = number(&all["bytes_stored"]);
    assert!(stored <= size && stored >= SHARED + ONE + TWO + LATER, "noise does not compress: {stats}");
    let factor = all["deduplication"].as_f64().unwrap();
    let expected = number(&all["bytes_logical"]) as f64 / number(&all["bytes_unique"]) as f64;
    assert!((factor - expected).abs() < 1e-9 && (0.9..1.01).contains(&all["compression"].as_f64().unwrap()));

    let alone = machine.json(&["stats", &last]);
    assert_eq!(alone["bytes_only"].as_u64(), Some(LATER + alone["bytes_tree"].as_u64().unwrap()));
    assert_eq!(alone["bytes_content"].as_u64(), Some(SHARED + TWO + LATER));
    assert!(alone["bytes_stored_only"].as_u64().unwrap() >= LATER);
    let said = machine.done(&["stats", "latest", "--source", "one"]);
    assert!(String::from_utf8_lossy(&said.out).contains("in no other point"), "{said}");
    let said = machine.done(&["stats"]);
    let columns = lines(&said.out).into_iter().filter(|line| line.starts_with("all ")).flat_map(|line| {
        line.split("  ")
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(columns.collect::<Vec<_>>().get(4).map(String::as_str), Some("-"), "{said}");
    machine.run(&["stats", "--source", "one"]).assert_failed(4, "POINT");
    assert_eq!(Machine::with_repository().json(&["stats"])["all"]["deduplication"], Value::Null);
}

#[test]
fn text_that_compresses_shows_in_the_compression_factor_only() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let text: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    fs::write(machine.at("tree/text"), text).unwrap();
    point(&machine, &["tree"]);
    let all = machine.json(&["stats"])["all"].clone();
    let (compression, deduplication) =
        (all["compression"].as_f64().unwrap(), all["deduplication"].as_f64().unwrap());
    assert!(compression > 2.0 && (0.9..1.01).contains(&deduplication), "{all}");
}

/// What is found is what listing every point shows, though parts that points share are looked at once.
#[test]
fn a_find_in_many_points_is_as_complete_as_a_listing_of_each() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..6000 {
        let folder = machine.at(&format!("tree/d{}", number % 40));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{number}")), "").unwrap();
    }
    for round in 0..4 {
        fs::write(machine.at(&format!("tree/d{}/new", round * 9)), "").unwrap();
        let _ = fs::remove_file(machine.at(&format!("tree/d{round}/f{round}")));
        point(&machine, &["tree", "--source", "t"]);
    }
    let points = machine.points();
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for point in &points {
        let listed = machine.json(&["ls", point]);
        for entry in listed["entries"].as_array().unwrap() {
            let path = entry["path"].as_str().unwrap();
            let name = path.rsplit('/').next().unwrap();
            let line = (point.clone(), path.to_owned());
            for (fits, list) in
                [name == "new", name.ends_with("12"), !path.is_empty()].into_iter().zip(&mut expected)
            {
                list.extend(fits.then(|| line.clone()));
            }
        }
    }
    for (glob, expected) in ["new", "*12", "*"].into_iter().zip(expected) {
        let found = machine.json(&["find", glob]);
        let found: Vec<(String, String)> = found["found"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["point"].as_str().unwrap().to_owned(), one["path"].as_str().unwrap().to_owned()))
            .collect();
        assert!(!expected.is_empty() && found == expected, "{glob}: {} for {}", found.len(), expected.len());
        let told = lines(&machine.done(&["find", glob]).out);
        assert_eq!(told.len(), expected.len());
    }
    assert!(machine.done(&["find", "f0"]).out.is_empty(), "it was removed before the first point");
}

#[test]
fn a_listing_to_a_depth_is_the_whole_one_without_what_lies_deeper() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    let point = point(&machine, &["tree"]);
    let paths = |words: &[&str]| -> Vec<String> {
        let listed = machine.json(&[&["ls", &point], words].concat());
        listed["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap().to_owned()).collect()
    };
    for (under, levels) in [("", "0"), ("", "1"), ("", "2"), ("deep", "3"), ("order", "1"), ("order", "9")] {
        let most =
            under.split('/').filter(|part| !part.is_empty()).count() + levels.parse::<usize>().unwrap();
        let near = |path: &String| path.split('/').filter(|part| !part.is_empty()).count() <= most;
        let expected: Vec<String> = paths(&[under]).into_iter().filter(near).collect();
        assert_eq!(paths(&[under, "--depth", levels]), expected, "{under} {levels}");
    }
}

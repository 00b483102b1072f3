//! Keeps `tests/trace/rows.toml` complete and honest.
//!
//! Every capability has exactly one row. A proven row names tests that exist; a planned row names none, so
//! that nobody claims early; a declined row says why. Whether a test proves its row is for the reader to
//! judge.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

mod tree;

/// The groups of rows and how many each has.
const GROUPS: [(char, u32); 8] =
    [('E', 10), ('S', 8), ('R', 6), ('P', 11), ('T', 5), ('X', 4), ('A', 86), ('B', 77)];

/// Longer titles are stories; the table is read at a glance.
const TITLE_CHARS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    title: String,
    status: Status,
    #[serde(default)]
    tests: Vec<String>,
    why: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Planned,
    Proven,
    Declined,
}

/// For each test function of the tree, the places it can be named by: package, folders and file, one set per
/// copy.
type Index = BTreeMap<String, Vec<BTreeSet<String>>>;

fn problems(rows: &[Row], index: &Index) -> Vec<String> {
    let mut found = id_problems(rows);
    for row in rows {
        found.extend(row_problems(row, index).into_iter().map(|what| format!("{}: {what}", row.id)));
    }
    found
}

fn id_problems(rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    let mut missing: BTreeSet<String> =
        GROUPS.iter().flat_map(|(group, last)| (1..=*last).map(move |n| format!("{group}{n}"))).collect();
    let mut seen = BTreeSet::new();
    for row in rows {
        if !seen.insert(&row.id) {
            found.push(format!("{}: a second row", row.id));
        } else if !missing.remove(&row.id) {
            found.push(format!("{}: no such row is known", row.id));
        }
    }
    found.extend(missing.into_iter().map(|id| format!("{id}: its row is missing")));
    found
}

fn row_problems(row: &Row, index: &Index) -> Vec<String> {
    let mut found = title_problems(&row.title);
    match row.status {
        Status::Planned if !row.tests.is_empty() => found.push("planned, and yet it names tests".into()),
        Status::Proven if row.tests.is_empty() => found.push("proven, and yet it names no test".into()),
        Status::Declined if row.why.as_deref().is_none_or(|why| why.trim().is_empty()) => {
            found.push("declined without a reason".into());
        }
        _ => {}
    }
    if row.status != Status::Declined && row.why.is_some() {
        found.push("a reason belongs to a declined row only".into());
    }
    found.extend(
        row.tests.iter().filter(|name| !exists(name, index)).map(|name| format!("no test is called {name}")),
    );
    found
}

fn title_problems(title: &str) -> Vec<String> {
    let is_fine =
        !title.trim().is_empty() && !title.contains('\n') && title.chars().count() <= TITLE_CHARS_MAX;
    if is_fine {
        Vec::new()
    } else {
        vec![format!("a title is one line of 1 to {TITLE_CHARS_MAX} characters")]
    }
}

/// True if `name`, spelled `place::test` with one or more places, is a test in the tree.
fn exists(name: &str, index: &Index) -> bool {
    let Some((places, test)) = name.rsplit_once("::") else { return false };
    index.get(test).is_some_and(|copies| {
        copies.iter().any(|known| places.split("::").all(|place| known.contains(place)))
    })
}

fn index(files: &[tree::File]) -> Index {
    let mut index = Index::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for test in tests_in(&file.text) {
            index.entry(test).or_default().push(places(&file.path));
        }
    }
    index
}

/// `crates/repo/src/log/tests.rs` can be named by `repo`, `src`, `log` and `tests`.
fn places(path: &str) -> BTreeSet<String> {
    let path = path.strip_prefix("crates/").unwrap_or(path);
    path.trim_end_matches(".rs").split('/').map(str::to_owned).collect()
}

fn tests_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_marked |= line == "#[test]" || line.contains("::test]") || line.contains("::test(");
        } else if let Some(name) = function_name(line) {
            if std::mem::take(&mut is_marked) {
                found.push(name.to_owned());
            }
        } else if !line.is_empty() && !line.starts_with("//") {
            is_marked = false;
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let after = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))?;
    after.split(['(', '<']).next()
}

/// What a document names in code that reads like the sentence of a test.
fn tests_named_in(text: &str) -> impl Iterator<Item = &str> {
    let is_sentence = |word: &&str| {
        word.matches('_').count() >= 3
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
    };
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_sentence)
}

/// Tests that a document names and that are not there.
fn missing<'t>(text: &'t str, index: &Index) -> Vec<&'t str> {
    let is_there =
        |name: &str| if name.contains("::") { exists(name, index) } else { index.contains_key(name) };
    tests_named_in(text).filter(|name| !is_there(name)).collect()
}

fn parse(text: &str) -> Vec<Row> {
    toml::from_str::<Table>(text).expect("the table of rows can be read").rows
}

#[test]
fn every_row_is_there_once_and_says_what_is_true() {
    let files = tree::files();
    let table = files.iter().find(|file| file.path == "tests/trace/rows.toml").expect("the table exists");
    let found = problems(&parse(&table.text), &index(&files));
    assert!(found.is_empty(), "tests/trace/rows.toml:\n  {}", found.join("\n  "));
}

#[test]
fn documents_name_tests_that_are_there() {
    let files = tree::files();
    let index = index(&files);
    for document in ["docs/incidents.md", "docs/interactions.md", "docs/simulation.md"] {
        let text = &files.iter().find(|file| file.path == document).expect("it is a document").text;
        assert!(tests_named_in(text).count() > 3, "{document}");
        assert_eq!(missing(text, &index), Vec::<&str>::new(), "{document}");
    }
}

#[test]
fn a_test_that_a_document_names_and_nobody_wrote_is_told() {
    let there = index(&[tree::File::new("crates/repo/src/log.rs", "#[test]\nfn a_cut_log_is_seen() {}\n")]);
    let text = "`repo::log::a_cut_log_is_seen`, `a_cut_log_is_seen`, `keep_newest`; `tests::log::a_cut_log_is_seen`,\n\
                `a_cut_log_is_not_seen`";
    assert_eq!(missing(text, &there), ["tests::log::a_cut_log_is_seen", "a_cut_log_is_not_seen"]);
}

#[test]
fn missing_unknown_and_double_rows_are_told() {
    let rows = parse(
        r#"rows = [
            { id = "E1", title = "a", status = "planned" },
            { id = "E1", title = "a", status = "planned" },
            { id = "A87", title = "a", status = "planned" },
        ]"#,
    );
    let found = id_problems(&rows);
    assert!(found.contains(&"E1: a second row".to_owned()));
    assert!(found.contains(&"A87: no such row is known".to_owned()));
    assert!(found.contains(&"B77: its row is missing".to_owned()));
    let known: u32 = GROUPS.iter().map(|(_, last)| last).sum();
    assert_eq!(found.len() as u32, 2 + known - 1);
}

#[test]
fn a_row_that_claims_too_much_or_explains_too_little_is_told() {
    let there = index(&[tree::File::new("crates/repo/src/log.rs", "#[test]\nfn cut_is_seen() {}\n")]);
    let cases = [
        (r#"status = "planned""#, None),
        (r#"status = "planned", tests = ["log::cut_is_seen"]"#, Some("planned, and yet it names tests")),
        (r#"status = "proven""#, Some("proven, and yet it names no test")),
        (r#"status = "proven", tests = ["log::cut_is_seen"]"#, None),
        (r#"status = "proven", tests = ["repo::log::cut_is_seen"]"#, None),
        (
            r#"status = "proven", tests = ["format::cut_is_seen"]"#,
            Some("no test is called format::cut_is_seen"),
        ),
        (r#"status = "proven", tests = ["log::cut"]"#, Some("no test is called log::cut")),
        (r#"status = "proven", tests = ["cut_is_seen"]"#, Some("no test is called cut_is_seen")),
        (r#"status = "declined""#, Some("declined without a reason")),
        (r#"status = "declined", why = " ""#, Some("declined without a reason")),
        (r#"status = "declined", why = "refused""#, None),
        (r#"status = "planned", why = "later""#, Some("a reason belongs to a declined row only")),
    ];
    for (rest, expected) in cases {
        let rows = parse(&format!("rows = [{{ id = \"E1\", title = \"a\", {rest} }}]"));
        let found = row_problems(&rows[0], &there);
        assert_eq!(found.first().map(String::as_str), expected, "{rest}");
    }
}

#[test]
fn only_functions_marked_as_tests_count_as_tests() {
    let text = "fn helper() {}\n#[test]\n/// Why.\n#[cfg(unix)]\nfn one() {}\nfn after_one() {}\n\
                #[tokio::test(flavor = \"multi_thread\")]\nasync fn two() {}\n\
                #[test]\nstruct S;\nfn three() {}\n";
    assert_eq!(tests_in(text), ["one", "two"]);
}

#[test]
fn a_title_is_one_short_line() {
    let long = "a".repeat(TITLE_CHARS_MAX + 1);
    for (title, is_fine) in [("Full backup", true), (" ", false), ("a\nb", false), (long.as_str(), false)] {
        assert_eq!(title_problems(title).is_empty(), is_fine, "{title:?}");
    }
}

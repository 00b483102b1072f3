//! Watches which crate of ours may use which.
//!
//! One secret per crate needs few arrows. A new crate or a new arrow is a design decision: it fails here
//! until it is written into the table, where a reviewer sees it. Development and build dependencies count
//! like any other.

use toml::{Table, Value};

use crate::tree::{self, File};
use crate::{Finding, expect_none};

/// Each package and what of ours it may use. The order is bottom-up: a package uses earlier ones only.
const ARROWS: [(&str, &[&str]); 9] = [
    ("world", &[]),
    ("format", &[]),
    ("storage", &["world"]),
    ("repo", &["world", "format", "storage"]),
    ("source", &["world", "format"]),
    ("engine", &["world", "format", "repo", "source"]),
    ("cli", &["world", "format", "storage", "repo", "source", "engine"]),
    ("tests", &["world", "format", "storage", "repo", "source", "engine", "cli"]),
    ("benches", &["world", "format", "storage", "repo", "source", "engine", "cli", "tests"]),
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn arrow_problems(files: &[File]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests.flat_map(manifest_problems).collect()
}

fn manifest_problems(file: &File) -> Vec<Finding> {
    let tell = |what: String| vec![Finding::new(&file.path, 0, what)];
    let Ok(manifest) = file.text.parse::<Table>() else { return tell("is not TOML".into()) };
    let Some(name) = package_name(&manifest) else { return tell("names no package".into()) };
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        return tell(format!("package {name} is not in the table of arrows"));
    };
    let used = ours_used(&manifest).into_iter().filter(|used| !allowed.contains(&used.as_str()));
    used.map(|used| Finding::new(&file.path, 0, format!("{name} may not use {used}"))).collect()
}

fn package_name(manifest: &Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// The packages of ours that a manifest names, in any section and for any target.
fn ours_used(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table).chain([manifest]);
    let sections =
        tables.flat_map(|table| SECTIONS.iter().filter_map(|section| table.get(*section)?.as_table()));
    sections.flatten().map(|(key, value)| real_name(key, value)).filter(|name| is_ours(name)).collect()
}

fn real_name(key: &str, value: &Value) -> String {
    value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()
}

fn is_ours(name: &str) -> bool {
    ARROWS.iter().any(|(known, _)| *known == name)
}

#[test]
fn crates_use_only_what_the_table_allows() {
    expect_none(&arrow_problems(&tree::files()));
}

#[test]
fn the_table_names_only_packages_that_exist_and_lists_them_bottom_up() {
    let files = tree::files();
    for (at, (name, allowed)) in ARROWS.iter().enumerate() {
        let manifest = format!("{name}/Cargo.toml");
        let exists =
            files.iter().any(|file| file.path == manifest || file.path == format!("crates/{manifest}"));
        assert!(exists, "{name} is in the table but not in the tree");
        let earlier: Vec<&str> = ARROWS[..at].iter().map(|(name, _)| *name).collect();
        assert!(allowed.iter().all(|used| earlier.contains(used)), "{name} uses what comes after it");
    }
}

#[test]
fn a_forbidden_arrow_is_seen_wherever_it_hides() {
    let cases = [
        ("[dependencies]\nworld.workspace = true", None),
        ("[dependencies]\nrepo.workspace = true", Some("storage may not use repo")),
        ("[dev-dependencies]\ntests.workspace = true", Some("storage may not use tests")),
        ("[build-dependencies]\nformat = { path = \"../format\" }", Some("storage may not use format")),
        (
            "[dependencies]\nalias = { package = \"engine\", path = \"../engine\" }",
            Some("storage may not use engine"),
        ),
        ("[target.'cfg(unix)'.dependencies]\ncli.workspace = true", Some("storage may not use cli")),
    ];
    for (rest, expected) in cases {
        let file =
            File::new("crates/storage/Cargo.toml", &format!("[package]\nname = \"storage\"\n{rest}\n"));
        let found = arrow_problems(&[file]);
        assert_eq!(found.first().map(|finding| finding.what.as_str()), expected, "{rest}");
    }
}

#[test]
fn a_crate_that_nobody_wrote_down_is_seen() {
    let found = arrow_problems(&[File::new("crates/drawer/Cargo.toml", "[package]\nname = \"drawer\"\n")]);
    assert_eq!(found[0].what, "package drawer is not in the table of arrows");
}

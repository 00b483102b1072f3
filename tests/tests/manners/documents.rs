//! Watches what documents point at and what fixtures are for: no dead relative link, no fixture that nobody
//! opens.

use std::collections::BTreeSet;

use crate::rust_text;
use crate::tree::{self, File};
use crate::{Finding, expect_none};

fn link_problems(files: &[File]) -> Vec<Finding> {
    let places = places(files);
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|file| dead_links(file, &places)).collect()
}

/// Every file and every folder of the tree; the root is the empty path.
fn places(files: &[File]) -> BTreeSet<&str> {
    let mut found = BTreeSet::from([""]);
    for file in files {
        found.insert(&file.path);
        found.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    found
}

fn dead_links(file: &File, places: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            let dead =
                targets(line).into_iter().filter(|target| !leads_somewhere(&file.path, target, places));
            found.extend(
                dead.map(|target| Finding::new(&file.path, at + 1, format!("dead link to {target}"))),
            );
        }
    }
    found
}

/// What the line links to, in a sentence or as the definition of a label, code left out.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect();
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let mut found: Vec<String> = inline.map(str::to_owned).collect();
    if prose.starts_with('[') && !prose.starts_with("[^") {
        found.extend(
            prose.split_once("]: ").and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned),
        );
    }
    found
}

fn leads_somewhere(from: &str, target: &str, places: &BTreeSet<&str>) -> bool {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    let path = target.split('#').next().unwrap_or_default();
    is_elsewhere
        || path.is_empty()
        || resolve(from, path).is_some_and(|place| places.contains(place.as_str()))
}

/// The path from the root that `target` means in the document `from`; nothing if it leaves the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn fixture_problems(files: &[File]) -> Vec<Finding> {
    let said = said_by_sources(files);
    let fixtures =
        files.iter().filter(|file| file.path.starts_with("fixtures/") && !file.path.ends_with(".md"));
    let unopened = fixtures.filter(|file| !names_of(&file.path).iter().any(|name| is_said(&said, name)));
    unopened.map(|file| Finding::new(&file.path, 0, "no test names this fixture")).collect()
}

/// The string literals of all Rust sources, and all scripts.
fn said_by_sources(files: &[File]) -> Vec<String> {
    let sources = files.iter().filter(|file| !file.path.starts_with("fixtures/"));
    sources
        .flat_map(|file| match file {
            file if file.is_rust() => rust_text::split(&file.text).strings,
            file if file.path.ends_with(".py") => vec![file.text.clone()],
            _ => Vec::new(),
        })
        .collect()
}

/// By which names a test may open a fixture: the file's own, or that of the topmost folder below the version,
/// which is opened as a whole (a repository, a family of vectors).
fn names_of(path: &str) -> Vec<&str> {
    let parts: Vec<&str> = path.split('/').skip(1).skip_while(|part| is_version(part)).collect();
    [parts.last(), parts.first()].into_iter().flatten().copied().collect()
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
}

fn is_said(said: &[String], name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    said.iter().any(|text| text.split(|c| !is_name(c)).any(|word| word == name))
}

#[test]
fn no_document_links_into_the_void() {
    expect_none(&link_problems(&tree::files()));
}

#[test]
fn every_fixture_is_opened_by_a_test() {
    expect_none(&fixture_problems(&tree::files()));
}

#[test]
fn dead_links_are_seen_and_live_ones_are_not() {
    let cases = [
        ("[a](style.md), [b](../README.md#top)", None),
        ("[a](decisions), [b](decisions/), [c](/docs/style.md)", None),
        ("[a](https://example.org/x), [b](#here), [c](mailto:a@b)", None),
        ("`[a](gone.md)`", None),
        ("```\n[a](gone.md)\n```", None),
        ("[a](gone.md)", Some("dead link to gone.md")),
        ("fine\n[a](style.md \"title\") [b](../docs/gone.md#x)", Some("dead link to ../docs/gone.md#x")),
        ("[a](../../etc)", Some("dead link to ../../etc")),
        ("[a]: gone.md", Some("dead link to gone.md")),
    ];
    for (text, expected) in cases {
        let others = ["docs/style.md", "docs/decisions/one.md", "README.md"].map(|path| File::new(path, ""));
        let mut files = vec![File::new("docs/index.md", text)];
        files.extend(others);
        let found = link_problems(&files);
        assert_eq!(found.first().map(|finding| finding.what.as_str()), expected, "{text}");
    }
}

#[test]
fn a_fixture_counts_as_opened_by_its_name_or_its_folder_only() {
    let cases = [
        ("open(\"fixtures/v0/cutter.cbor\")", true),
        ("open(folder.join(\"small-repo\"))", true),
        ("// cutter.cbor small-repo", false),
        ("open(\"fixtures/v0\")", false),
        ("open(\"cutter.cbor.part\")", false),
    ];
    for (text, is_opened) in cases {
        let source = File::new("crates/format/tests/golden.rs", text);
        let fixture = if text.contains("repo") {
            "fixtures/v0/small-repo/packs/00/aa"
        } else {
            "fixtures/v0/cutter.cbor"
        };
        let found = fixture_problems(&[source, File::new(fixture, "")]);
        assert_eq!(found.is_empty(), is_opened, "{text}");
    }
}

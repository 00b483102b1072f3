//! Watches how a source file begins, and that memory safety is given up nowhere without a written decision.

use crate::rust_text::{self, find_word, line_of};
use crate::tree::{self, File};
use crate::{Finding, expect_none};

/// Files in which the compiler's word for lifted memory safety may stand, each with its decision record.
const DECIDED: [(&str, &str); 0] = [];

const LIFTED: &str = concat!("un", "safe");

fn promise_problems(files: &[File]) -> Vec<Finding> {
    let silent = files.iter().filter(|file| file.is_rust() && !file.text.starts_with("//!"));
    silent.map(|file| Finding::new(&file.path, 1, "does not start with its promise (`//!`)")).collect()
}

fn safety_problems(files: &[File], decided: &[(&str, &str)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("crates/")) {
        if !decided.iter().any(|(path, _)| *path == file.path) {
            let code = rust_text::split(&file.text).code;
            let lines = find_word(&code, LIFTED).map(|at| line_of(&code, at));
            found.extend(
                lines.map(|line| Finding::new(&file.path, line, format!("{LIFTED} without a decision"))),
            );
        }
    }
    for (path, record) in decided {
        let exists = |wanted: &str| files.iter().any(|file| file.path == wanted);
        let is_missing = |wanted: &&&str| !exists(wanted);
        let missing = [path, record].into_iter().filter(is_missing);
        found.extend(missing.map(|gone| Finding::new(gone, 0, "is listed as decided and does not exist")));
    }
    found
}

#[test]
fn every_source_file_starts_with_its_promise() {
    expect_none(&promise_problems(&tree::files()));
}

#[test]
fn memory_safety_is_given_up_only_by_decision() {
    expect_none(&safety_problems(&tree::files(), &DECIDED));
}

#[test]
fn a_file_without_a_promise_is_seen() {
    let files =
        [File::new("crates/x/src/a.rs", "use a;\n"), File::new("crates/x/src/b.rs", "//! Holds b.\n")];
    assert_eq!(
        promise_problems(&files).iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>(),
        ["crates/x/src/a.rs"]
    );
}

#[test]
fn lifted_safety_is_seen_unless_file_and_record_exist() {
    let files = [
        File::new(
            "crates/x/src/a.rs",
            &format!("// {LIFTED}\n#![deny({LIFTED}_code)]\nlet s = \"{LIFTED}\";\n"),
        ),
        File::new("crates/x/src/b.rs", &format!("//! b\n{LIFTED} {{ go() }}\n")),
        File::new("docs/decisions/b.md", "why"),
    ];
    let bare = safety_problems(&files, &[]);
    assert_eq!(bare, [Finding::new("crates/x/src/b.rs", 2, format!("{LIFTED} without a decision"))]);
    assert_eq!(safety_problems(&files, &[("crates/x/src/b.rs", "docs/decisions/b.md")]), []);
    let undecided = safety_problems(&files, &[("crates/x/src/b.rs", "docs/decisions/c.md")]);
    assert_eq!(
        undecided,
        [Finding::new("docs/decisions/c.md", 0, "is listed as decided and does not exist")]
    );
}

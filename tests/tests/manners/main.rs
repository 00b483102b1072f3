//! Keeps the manners of the tree, so that a review can speak of other things.
//!
//! Each file beside this one watches one kind of manners: a pure check over files, a test that runs it over
//! the tree, and a test that it catches what it is for. `docs/style.md` gives the rules in words.

mod arrows;
mod documents;
mod functions;
mod leftovers;
mod rust_text;
mod sources;
#[path = "../tree/mod.rs"]
mod tree;

use std::fmt;

/// One offence and where it is. Line 0 means the whole file.
#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.what),
            line => write!(out, "{}:{line}: {}", self.path, self.what),
        }
    }
}

#[track_caller]
fn expect_none(found: &[Finding]) {
    let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} found:\n  {}", lines.len(), lines.join("\n  "));
}

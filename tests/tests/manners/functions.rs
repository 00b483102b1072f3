//! Watches functions that grow past a screen and files that grow past a sitting.
//!
//! A function may have `LINES_MAX` lines. Older sinners stand in `tests/manners/long-functions.txt` with the
//! length they had; they may shrink, never grow, and a line that is no longer needed must go, so that the
//! list only shortens.

use std::collections::BTreeMap;

use crate::rust_text::{self, find_word, is_word, line_of};
use crate::tree::{self, File};
use crate::{Finding, expect_none};

/// One screen. Nine of ten functions should stay under half of it.
const LINES_MAX: usize = 70;

/// Production files only; long tests live in a sibling `tests.rs`.
const FILE_LINES_MAX: usize = 800;

const RATCHET: &str = "tests/manners/long-functions.txt";

/// A function with a body: its name, the line it starts on and how many lines it has.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions(text: &str) -> Vec<Function> {
    let code = rust_text::split(text).code;
    find_word(&code, "fn").filter_map(|at| function_at(&code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let name: String = code[at + 2..].trim_start().chars().take_while(|&c| is_word(c)).collect();
    let end = body_end(&code[at..]).filter(|_| !name.is_empty())?;
    let (first, last) = (line_of(code, at), line_of(code, at + end));
    Some(Function { name, line: first, lines: last - first + 1 })
}

/// Where the body that follows ends; nothing for a declaration, whose `;` comes before any body.
fn body_end(code: &str) -> Option<usize> {
    let (mut depth, mut is_inside) = (0_usize, false);
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return None,
            '(' | '[' | '{' => {
                is_inside |= c == '{' && depth == 0;
                depth += 1;
            }
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && is_inside {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Allowed lengths by place, spelled `path name`. Lines that are empty or start with `#` say nothing.
fn allowances(ratchet: &str) -> BTreeMap<String, usize> {
    let lines = ratchet.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (place, length) = line.rsplit_once(' ').expect("a line of the list is `path name length`");
            (place.to_owned(), length.parse().expect("the length is a number"))
        })
        .collect()
}

fn function_problems(files: &[File], ratchet: &str) -> Vec<Finding> {
    let mut allowed = allowances(ratchet);
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for long in functions(&file.text).into_iter().filter(|function| function.lines > LINES_MAX) {
            let place = format!("{} {}", file.path, long.name);
            let finding = |what| {
                Finding::new(&file.path, long.line, format!("{} has {} lines; {what}", long.name, long.lines))
            };
            match allowed.remove(&place) {
                None => found.push(finding(format!("the most is {LINES_MAX}"))),
                Some(most) if long.lines > most => {
                    found.push(finding(format!("it had {most} and may not grow")))
                }
                Some(most) if long.lines < most => {
                    found.push(finding(format!("lower its {most} in the list")))
                }
                Some(_) => {}
            }
        }
    }
    found.extend(
        allowed.keys().map(|place| Finding::new(RATCHET, 0, format!("{place} is short now; take it out"))),
    );
    found
}

fn file_problems(files: &[File]) -> Vec<Finding> {
    let production = files.iter().filter(|file| {
        file.is_rust() && file.path.starts_with("crates/") && !file.path.ends_with("/tests.rs")
    });
    let long =
        production.map(|file| (file, file.text.lines().count())).filter(|(_, lines)| *lines > FILE_LINES_MAX);
    long.map(|(file, lines)| {
        Finding::new(&file.path, 0, format!("{lines} lines; the most is {FILE_LINES_MAX}"))
    })
    .collect()
}

#[test]
fn no_function_grows_past_a_screen() {
    let files = tree::files();
    let ratchet = files.iter().find(|file| file.path == RATCHET).expect("the list of long functions exists");
    expect_none(&function_problems(&files, &ratchet.text));
}

#[test]
fn no_file_grows_past_a_sitting() {
    expect_none(&file_problems(&tree::files()));
}

fn function_of(lines: usize) -> File {
    let body = "    step();\n".repeat(lines - 2);
    File::new("crates/x/src/a.rs", &format!("//! x\n\nfn long() {{\n{body}}}\n"))
}

#[test]
fn the_list_of_long_functions_only_shortens() {
    let cases = [
        (70, "", None),
        (71, "", Some("long has 71 lines; the most is 70")),
        (71, "crates/x/src/a.rs long 71", None),
        (80, "crates/x/src/a.rs long 75", Some("long has 80 lines; it had 75 and may not grow")),
        (75, "# why\ncrates/x/src/a.rs long 80", Some("long has 75 lines; lower its 80 in the list")),
        (30, "crates/x/src/a.rs long 80", Some("crates/x/src/a.rs long is short now; take it out")),
    ];
    for (lines, ratchet, expected) in cases {
        let found = function_problems(&[function_of(lines)], ratchet);
        assert_eq!(
            found.first().map(|finding| finding.what.as_str()),
            expected,
            "{lines} lines, list {ratchet:?}"
        );
    }
}

#[test]
fn bodies_are_measured_and_declarations_are_not() {
    let text = "trait T {\n    fn declared(&self, a: [u8; 4]) -> u8;\n}\nfn one<F: Fn(u8)>(f: fn(u8)) {\n\
                let c = '{';\n// }\nlet s = \"}\";\n}\n";
    assert_eq!(functions(text), [Function { name: "one".into(), line: 4, lines: 5 }]);
}

#[test]
fn a_file_of_many_lines_is_seen_unless_it_is_tests() {
    let text = "// line\n".repeat(FILE_LINES_MAX + 1);
    let files = ["crates/x/src/a.rs", "crates/x/src/a/tests.rs", "tests/tests/a.rs"]
        .map(|path| File::new(path, &text));
    let found = file_problems(&files);
    assert_eq!(found, [Finding::new("crates/x/src/a.rs", 0, "801 lines; the most is 800")]);
}

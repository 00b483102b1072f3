//! Watches what is left behind when work is interrupted: debugging aids, marks for later, dead code, tests
//! switched off, prints from below the command line, and paths of the machine something was written on.

use crate::rust_text::{self, find_word, line_of};
use crate::tree::{self, File};
use crate::{Finding, expect_none};

/// What may stand in no Rust code of ours.
const UNFINISHED: [&str; 4] = ["dbg!", "todo!", "unimplemented!", "#[ignore"];

/// What may stand in no comment and no script.
const MARKS: [&str; 2] = ["FIXME", "XXX"];

/// Only the command line speaks to people; everything else returns or reports.
const PRINTS: [&str; 4] = ["print!", "println!", "eprint!", "eprintln!"];

/// Whoever keeps this many lines of code in comments keeps code, not an example.
const DEAD_LINES_MIN: usize = 3;

/// Where files lie on one machine only. In pieces, so that this file does not offend itself.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/tmp/", "target"), concat!("../sha", "red/")];

fn leftover_problems(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return if is_script(file) { words(file, &file.text, &MARKS, "is left over") } else { Vec::new() };
    }
    let parts = rust_text::split(&file.text);
    let mut found = words(file, &parts.code, &UNFINISHED, "is left over");
    found.extend(words(file, &parts.comments, &MARKS, "is left over"));
    found.extend(dead_code(file, &parts.comments));
    if !may_print(&file.path) {
        found.extend(words(file, &parts.code, &PRINTS, "prints; only the command line may"));
    }
    found
}

fn words(file: &File, text: &str, words: &[&str], what: &str) -> Vec<Finding> {
    let found = words.iter().flat_map(|word| find_word(text, word).map(move |at| (word, at)));
    found.map(|(word, at)| Finding::new(&file.path, line_of(text, at), format!("{word} {what}"))).collect()
}

fn is_script(file: &File) -> bool {
    file.text.starts_with("#!") || [".sh", ".py", ".toml"].iter().any(|end| file.path.ends_with(end))
}

fn may_print(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/");
    is_test || ["crates/cli/", "tests/", "benches/"].iter().any(|start| path.starts_with(start))
}

/// Comment lines in a row that end as code does.
fn dead_code(file: &File, comments: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut run = 0;
    for (at, line) in comments.lines().map(str::trim).enumerate() {
        run = if looks_like_code(line) { run + 1 } else { 0 };
        if run == DEAD_LINES_MIN {
            found.push(Finding::new(&file.path, at + 2 - DEAD_LINES_MIN, "code in comments"));
        }
    }
    found
}

fn looks_like_code(line: &str) -> bool {
    let is_plain = line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!");
    is_plain && line.ends_with([';', '{', '}'])
}

fn machine_path_problems(file: &File) -> Vec<Finding> {
    let found = MACHINE_PATHS.iter().flat_map(|path| file.text.match_indices(path));
    let absolute = found.filter(|(at, path)| path.starts_with('.') || starts_a_path(&file.text[..*at]));
    absolute
        .map(|(at, path)| {
            Finding::new(&file.path, line_of(&file.text, at), format!("{path} is a path of one machine"))
        })
        .collect()
}

/// False where the path only goes on: `$HOME/x`, `{dir}/x`, `./x`.
fn starts_a_path(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || "_-.}*".contains(c))
}

#[test]
fn nothing_is_left_over() {
    let found: Vec<Finding> = tree::files().iter().flat_map(leftover_problems).collect();
    expect_none(&found);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let found: Vec<Finding> = tree::files().iter().flat_map(machine_path_problems).collect();
    expect_none(&found);
}

#[track_caller]
fn expect_found(path: &str, text: &str, expected: &[&str]) {
    let found: Vec<String> =
        leftover_problems(&File::new(path, text)).iter().map(Finding::to_string).collect();
    assert_eq!(found, expected, "{path}: {text:?}");
}

#[test]
fn each_leftover_is_seen_in_code_and_in_comments_only() {
    let path = "crates/x/src/a.rs";
    expect_found(path, "//! x\nlet a = dbg!(1);", &["crates/x/src/a.rs:2: dbg! is left over"]);
    expect_found(path, "todo!()", &["crates/x/src/a.rs:1: todo! is left over"]);
    expect_found(path, "unimplemented!()", &["crates/x/src/a.rs:1: unimplemented! is left over"]);
    expect_found(path, "#[ignore = \"slow\"]", &["crates/x/src/a.rs:1: #[ignore is left over"]);
    expect_found(path, "a(); // FIXME later", &["crates/x/src/a.rs:1: FIXME is left over"]);
    expect_found(path, "/* XXX */", &["crates/x/src/a.rs:1: XXX is left over"]);
    expect_found(path, "// says todo! and dbg!\nlet s = \"FIXME todo!()\"; let XXXX = 1;", &[]);
    expect_found("run.sh", "# FIXME\nmktemp a.XXXXXX\n", &["run.sh:1: FIXME is left over"]);
    expect_found("README.md", "FIXME", &[]);
}

#[test]
fn prints_are_seen_below_the_command_line() {
    for name in ["print!", "println!", "eprint!", "eprintln!"] {
        let text = format!("{name}(\"x\")");
        expect_found(
            "crates/x/src/a.rs",
            &text,
            &[&format!("crates/x/src/a.rs:1: {name} prints; only the command line may")],
        );
        for path in
            ["crates/cli/src/main.rs", "crates/x/src/a/tests.rs", "crates/x/tests/a.rs", "tests/src/lib.rs"]
        {
            expect_found(path, &text, &[]);
        }
    }
    expect_found("crates/x/src/a.rs", "writeln!(out, \"x\")", &[]);
}

#[test]
fn code_in_comments_is_seen_and_prose_is_not() {
    let path = "crates/x/src/a.rs";
    let dead = "a();\n// let b = 1;\n// if b {\n// }\nc();";
    expect_found(path, dead, &["crates/x/src/a.rs:2: code in comments"]);
    expect_found(path, "// one;\n// two;\n\n// three;", &[]);
    expect_found(path, "/// a;\n/// b;\n/// c;\n//! d;\n//! e;\n//! f;", &[]);
}

#[test]
fn paths_of_one_machine_are_seen_and_relative_ones_are_not() {
    let [folder, target, notes] = MACHINE_PATHS;
    let bad = [
        format!("cd {folder}main"),
        format!("\"{target}-x\""),
        format!("see {notes}a.md"),
        folder.to_owned(),
    ];
    for text in bad {
        assert_eq!(machine_path_problems(&File::new("a", &text)).len(), 1, "{text}");
    }
    for text in [format!("home{folder}x"), format!("{{dir}}{folder}x"), format!("..{folder}x")] {
        assert_eq!(machine_path_problems(&File::new("a", &text)), [], "{text}");
    }
}

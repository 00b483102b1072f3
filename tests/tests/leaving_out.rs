//! What a backup is told to leave out is left out, counted and named; what stands beside it is kept.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tests::odd;
use tests::seawall::Machine;

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// A machine with files of these names and contents below `tree`.
fn machine(files: &[(&str, &str)]) -> Machine {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for (name, content) in files {
        let path = machine.at("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    machine
}

/// The names that are kept, but for the root's, and how many were left out.
fn kept(machine: &Machine, options: &[&str]) -> (Vec<String>, u64) {
    let report = machine.json(&[&["backup", "tree", "--kind", "full"], options].concat());
    let listed = machine.json(&["ls", report["point"].as_str().unwrap()]);
    let paths = listed["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap().to_owned());
    (paths.filter(|path| !path.is_empty()).collect(), report["left_out"].as_u64().unwrap())
}

fn check(machine: &Machine, options: &[&str], expected: &[&str], left_out: u64) {
    let (paths, count) = kept(machine, options);
    assert_eq!(
        (paths, count),
        (expected.iter().map(|&path| path.to_owned()).collect(), left_out),
        "{options:?}"
    );
}

#[test]
fn ignore_files_count_from_their_directory_on_and_deeper_ones_win() {
    let machine = machine(&[
        (".gitignore", "*.o\n/top\nbuild/\n!/sub/kept.o\n"),
        ("top", ""),
        ("x.o", ""),
        ("build/y", ""),
        ("sub/top", ""),
        ("sub/kept.o", ""),
        ("sub/x.o", ""),
        ("sub/build", "a file"),
        ("sub/deep/.gitignore", "!*.o\ntop\n!top\n/no/**/leaf\n"),
        ("sub/deep/x.o", ""),
        ("sub/deep/top", ""),
        ("sub/deep/no/a/b/leaf", ""),
        ("sub/deep/no/a/leaves", ""),
        ("sub/deep/build/.gitignore", "!*\n"),
        ("sub/deep/build/z", ""),
    ]);
    let expected = [
        ".gitignore",
        "sub",
        "sub/build",
        "sub/deep",
        "sub/deep/.gitignore",
        "sub/deep/no",
        "sub/deep/no/a",
        "sub/deep/no/a/b",
        "sub/deep/no/a/leaves",
        "sub/deep/top",
        "sub/deep/x.o",
        "sub/kept.o",
        "sub/top",
    ];
    check(&machine, &["--exclude-ignore", ".gitignore"], &expected, 6);
    assert_eq!(kept(&machine, &[]).1, 0, "without the option it is a file like any other");
}

#[test]
fn several_ignore_files_in_one_directory_have_an_order() {
    let machine =
        machine(&[(".one", "a\nb\n"), (".two", "!a\nc\n"), ("a", ""), ("b", ""), ("c", ""), ("d", "")]);
    let options = ["--exclude-ignore", ".one", "--exclude-ignore", ".two"];
    check(&machine, &options, &[".one", ".two", "a", "d"], 2);
    let [one, first, two, second] = options;
    check(&machine, &[two, second, one, first], &[".one", ".two", "d"], 3);
}

#[test]
fn an_ignore_file_that_is_a_link_says_nothing_and_one_too_long_is_told() {
    let machine = machine(&[("rules", "x\n"), ("x", ""), ("long/x", ""), ("long/y", "")]);
    symlink("rules", machine.at("tree/.ignore")).unwrap();
    let long = format!("x\n{}", "# comment\n".repeat(120_000));
    fs::write(machine.at("tree/long/.ignore"), long).unwrap();
    let said = machine.run(&["backup", "tree", "--exclude-ignore", ".ignore"]);
    said.assert_failed(2, "long/.ignore");
    assert!(said.err.contains("follow the rules"), "{said}");
    let listed = machine.done(&["ls", "latest"]);
    let listed = String::from_utf8_lossy(&listed.out);
    assert!(listed.contains(" x\n") && listed.contains(" long/x\n"), "{listed}");
}

#[test]
fn caches_and_marked_directories_stay_with_their_mark_alone() {
    let tag = format!("{SIGNATURE}\n# made by a test\n");
    let machine = machine(&[
        ("cache/CACHEDIR.TAG", &tag),
        ("cache/a/b", ""),
        ("cache/c", ""),
        ("false/CACHEDIR.TAG", "Signature: 0000"),
        ("false/kept", ""),
        ("marked/.nobackup", ""),
        ("marked/CACHEDIR.TAG", &tag),
        ("marked/x", ""),
        ("plain/.nobackup.txt", ""),
    ]);
    fs::create_dir_all(machine.at("tree/folder/.nobackup")).unwrap();
    fs::write(machine.at("tree/folder/.nobackup/in it"), "").unwrap();
    fs::write(machine.at("tree/folder/beside"), "").unwrap();
    let unmarked = ["false", "false/CACHEDIR.TAG", "false/kept", "plain", "plain/.nobackup.txt"];
    let caches = [
        "cache",
        "cache/CACHEDIR.TAG",
        "folder",
        "folder/.nobackup",
        "folder/.nobackup/in it",
        "folder/beside",
        "marked",
        "marked/CACHEDIR.TAG",
    ];
    let sorted = |more: &[&'static str]| -> Vec<&str> {
        BTreeSet::from_iter(unmarked.iter().chain(more).copied()).into_iter().collect()
    };
    check(&machine, &["--exclude-caches"], &sorted(&caches), 4);
    let marked = [
        "cache",
        "cache/CACHEDIR.TAG",
        "cache/a",
        "cache/a/b",
        "cache/c",
        "folder",
        "folder/.nobackup",
        "folder/.nobackup/in it",
        "marked",
        "marked/.nobackup",
    ];
    check(&machine, &["--exclude-if-present", ".nobackup"], &sorted(&marked), 3);
    let both = [
        "cache",
        "cache/CACHEDIR.TAG",
        "folder",
        "folder/.nobackup",
        "folder/.nobackup/in it",
        "marked",
        "marked/.nobackup",
        "marked/CACHEDIR.TAG",
    ];
    check(&machine, &["--exclude-if-present", ".nobackup", "--exclude-caches"], &sorted(&both), 4);
}

#[test]
fn files_are_left_out_by_length_and_nothing_else_is() {
    let machine = machine(&[("empty", "")]);
    for length in [999, 1000, 1001] {
        fs::write(machine.at(&format!("tree/{length}")), odd::noise(1, length)).unwrap();
    }
    fs::File::create(machine.at("tree/sparse")).unwrap().set_len(1 << 30).unwrap();
    symlink("x".repeat(2000), machine.at("tree/link")).unwrap();
    fs::create_dir(machine.at("tree/folder")).unwrap();
    check(&machine, &["--exclude-larger-than", "1k"], &["1000", "999", "empty", "folder", "link"], 2);
    check(
        &machine,
        &["--exclude-larger-than", "1GiB"],
        &["1000", "1001", "999", "empty", "folder", "link", "sparse"],
        0,
    );
}

#[test]
fn what_was_asked_for_by_name_stays_whatever_the_rules_say() {
    let machine = machine(&[
        (".gitignore", "*\n"),
        ("a/.nobackup", ""),
        ("a/big", "0123456789"),
        ("a/b/x", ""),
        ("a/c", ""),
    ]);
    let report = machine.json(&[
        "backup",
        "tree",
        "tree/a/b",
        "tree/a/big",
        "--exclude-ignore",
        ".gitignore",
        "--exclude-if-present",
        ".nobackup",
        "--exclude-larger-than",
        "5",
    ]);
    let listed = machine.json(&["ls", report["point"].as_str().unwrap()]);
    let tree = machine.at("tree");
    let kept: Vec<String> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| {
            Path::new("/")
                .join(e["path"].as_str().unwrap())
                .strip_prefix(&tree)
                .ok()
                .map(|p| p.display().to_string())
        })
        .filter(|path| !path.is_empty())
        .collect();
    assert_eq!(kept, ["a", "a/b", "a/big"]);
}

#[test]
fn what_is_left_out_is_counted_and_named_and_wrong_requests_are_refused() {
    let machine =
        machine(&[(".gitignore", "*.o\n"), ("x.o", ""), ("sub/y.o", ""), ("z.tmp", ""), ("keep", "")]);
    let options = ["backup", "tree", "--exclude-ignore", ".gitignore", "--exclude", "*.tmp"];
    let said = machine.done(&options);
    assert!(String::from_utf8_lossy(&said.out).contains("3 names left out as asked"), "{said}");
    assert!(!said.err.contains("x.o"), "{said}");
    let said = machine.done(&[&options[..], &["-v"]].concat());
    for line in ["left out: sub/y.o: an ignore file says so", "left out: z.tmp: a pattern matches"] {
        assert!(said.err.contains(line), "{said}");
    }
    let preview = machine.json(&[&options[..], &["--dry-run"]].concat());
    assert_eq!((preview["left_out"].as_u64(), preview["files"].as_u64()), (Some(3), Some(2)));
    let none = machine.done(&["backup", "tree"]);
    assert!(!String::from_utf8_lossy(&none.out).contains("left out"), "{none}");
    machine.run(&["backup", "tree", "--exclude-ignore", "a/b"]).assert_failed(4, "without a slash");
    machine.run(&["backup", "tree", "--exclude-if-present", ""]).assert_failed(4, "a name");
    machine.run(&["backup", "tree", "--exclude-larger-than", "big"]).assert_failed(4, "10M");
    machine.run(&["backup", "--stdin", "x", "--exclude-caches"]).assert_failed(4, "--exclude-caches");
}

/// Trees and ignore files of random names and lines; what is kept must be what git itself would add.
#[test]
fn what_git_would_add_is_what_is_kept() {
    for seed in 0..2 {
        let machine = machine(&[]);
        let mut dice = Dice { bytes: odd::noise(seed + 1, 1 << 18), at: 0 };
        for case in 0..25 {
            let top = machine.at(&format!("tree/case {case}"));
            fs::create_dir(&top).unwrap();
            grow(&top, &mut dice, 3);
        }
        let Some(expected) = added_by_git(&machine) else {
            tests::skipped("what_git_would_add_is_what_is_kept: there is no git");
            return;
        };
        let (paths, left_out) = kept(&machine, &["--exclude-ignore", ".gitignore"]);
        let is_file = |path: &String| !machine.at("tree").join(path).is_dir();
        let files: BTreeSet<String> = paths.into_iter().filter(is_file).collect();
        let wrong: Vec<&String> = files.symmetric_difference(&expected).collect();
        let rules = |path: &&String| -> Vec<(String, String)> {
            let above = Path::new(path).ancestors().skip(1).map(|above| above.join(".gitignore"));
            let read = |name: &std::path::PathBuf| fs::read_to_string(machine.at("tree").join(name)).ok();
            above.filter_map(|name| read(&name).map(|text| (name.display().to_string(), text))).collect()
        };
        let rules = wrong.first().map(rules);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}, where it says {rules:?}");
        assert!(left_out > 100 && files.len() > 300, "{left_out} {}", files.len());
    }
}

struct Dice {
    bytes: Vec<u8>,
    at: usize,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.at += 2;
        usize::from(u16::from_le_bytes([self.bytes[self.at], self.bytes[self.at + 1]])) % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const NAMES: [&str; 10] = ["a", "b", "ab", "a.o", "b.o", "A", "-", "]", "!a", "#a"];

fn grow(at: &Path, dice: &mut Dice, levels: usize) {
    for name in NAMES {
        match dice.below(4) {
            0 if levels > 0 => {
                fs::create_dir(at.join(name)).unwrap();
                grow(&at.join(name), dice, levels - 1);
            }
            0 => {}
            _ => fs::write(at.join(name), "").unwrap(),
        }
    }
    if dice.below(3) > 0 {
        let lines: String = (0..dice.below(4)).map(|_| pattern(dice)).collect();
        fs::write(at.join(".gitignore"), lines).unwrap();
    }
}

fn pattern(dice: &mut Dice) -> String {
    const PIECES: [&str; 22] = [
        "a",
        "b",
        "o",
        ".",
        "*",
        "**",
        "?",
        "/",
        "/**/",
        "**/",
        "/*",
        "[ab]",
        "[!a]",
        "[a-",
        "[]-]",
        "[[:lower:]]",
        "[[:upper:]-]",
        "\\",
        "\\a",
        " ",
        "a.o",
        "*.o",
    ];
    let start = dice.pick(&["", "", "", "", "!", "!", "/", "#", "\\#", "\\!", "**/"]);
    let middle: String = (0..1 + dice.below(3)).map(|_| dice.pick(&PIECES)).collect();
    let end = dice.pick(&["", "", "", "", "/", "/", "/**", " ", "\\ ", "\r"]);
    let line = format!("{start}{middle}{end}\n");
    // Behind a literal start git takes `**` for whole names, which its manual says it is not; and it reads an escaped
    // slash in more than one way.
    let is_odd = line.match_indices("**").any(|(at, _)| at > 0 && !"/*".contains(&line[at - 1..at]));
    if is_odd || line.contains("\\/") { pattern(dice) } else { line }
}

/// The files of the machine's tree that git does not ignore, or nothing where there is no git.
fn added_by_git(machine: &Machine) -> Option<BTreeSet<String>> {
    let run = |words: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(machine.at("tree")).env("HOME", machine.at("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_DIR", machine.at("git"))
            .env("GIT_WORK_TREE", machine.at("tree"))
            .args(words)
            .output()
            .ok()
    };
    let made = run(&["init", "--quiet"])?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let listed = run(&["ls-files", "--others", "-z", "--exclude-per-directory=.gitignore"])?;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = listed.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Some(names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect())
}

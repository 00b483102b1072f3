//! What a power cut leaves of a local repository: the order in which the real program syncs, names and deletes files, as the
//! kernel saw it.
//!
//! A file system may forget whatever was not synced, and keep any part of it. So nothing may rely on a name or on bytes before
//! both are on the disk: bytes are synced before they are named, names before anything refers to them, and what was said is
//! synced before anything is deleted for it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use tests::odd;
use tests::seawall::Machine;

/// What is watched.
const CALLS: &str =
    "fsync,fdatasync,write,pwrite64,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat";

/// A call that succeeded, the files that it names, and the lines of the trace where it began and ended.
#[derive(Debug, PartialEq)]
struct Call {
    name: String,
    paths: Vec<String>,
    began: usize,
    ended: usize,
}

/// The names among the arguments of a call, in quotes; of one that takes a descriptor the path of that.
fn paths(name: &str, arguments: &str) -> Vec<String> {
    let has_descriptor = name.contains("write") || name.contains("sync");
    let marks: &[char] = if has_descriptor { &['<', '>'] } else { &['"'] };
    arguments.split(marks).skip(1).step_by(2).map(str::to_owned).collect()
}

/// The calls in a trace of many threads: one that another thread interrupts is told in two lines.
fn calls(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        if let Some(begun) = what.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (begun.to_owned(), at));
            continue;
        }
        let (whole, began) = match what.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => open.remove(thread).map(|(begun, at)| (begun + rest, at)).unwrap(),
            None => (what.to_owned(), at),
        };
        let Some((call, answer)) = whole.rsplit_once(" = ") else { continue };
        let Some((name, arguments)) = call.trim_end().split_once('(') else { continue };
        if !answer.starts_with('-') {
            calls.push(Call { name: name.to_owned(), paths: paths(name, arguments), began, ended: at });
        }
    }
    calls
}

/// The program's calls while it runs, or why they cannot be had.
fn traced(machine: &Machine, words: &[&str]) -> Result<Vec<Call>, String> {
    let (program, trace) = (machine.command(words), machine.at("trace"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-e"]).arg(format!("trace={CALLS}")).arg("-o").arg(&trace);
    strace.arg(program.get_program()).args(program.get_args());
    strace.current_dir(program.get_current_dir().unwrap()).env_clear();
    for (name, value) in program.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    strace.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let said =
        strace.stdin(Stdio::null()).output().map_err(|error| format!("strace does not run: {error}"))?;
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    if told.contains("strace: ") && told.contains("ptrace") {
        return Err(told);
    }
    assert!(said.status.success(), "{words:?}: {told}");
    Ok(calls(&fs::read_to_string(trace).unwrap()))
}

/// An object that got its name, the file that it was before, and when that name was on the disk.
struct Named<'t> {
    call: &'t Call,
    staged: &'t str,
    object: &'t str,
    settled: usize,
}

/// What became of the objects of a repository.
struct Objects<'t> {
    root: &'t str,
    calls: &'t [Call],
    named: Vec<Named<'t>>,
}

fn is_sync(call: &Call, path: &str) -> bool {
    matches!(call.name.as_str(), "fsync" | "fdatasync")
        && call.paths.first().is_some_and(|synced| synced == path)
}

/// When what was done to a name by then was on the disk.
fn settled(calls: &[Call], path: &str, then: usize) -> usize {
    let above = path.rsplit_once('/').unwrap().0;
    let synced = calls.iter().filter(|call| call.began > then && is_sync(call, above)).map(|call| call.ended);
    synced.min().unwrap_or_else(|| panic!("the name of {path} is never on the disk"))
}

impl<'t> Objects<'t> {
    /// Finds all that got a name, each of which has to reach the disk.
    fn of(root: &'t str, calls: &'t [Call]) -> Objects<'t> {
        let named = calls.iter().filter_map(|call| {
            let [staged, object] = call.paths.as_slice() else { return None };
            let is_one = call.name.starts_with("rename") || call.name.starts_with("link");
            let settled = || settled(calls, object, call.ended);
            (is_one && object.starts_with(root)).then(|| Named { call, staged, object, settled: settled() })
        });
        Objects { root, calls, named: named.collect() }
    }

    fn assert_bytes_before_names(&self) {
        for Named { call, staged, object, .. } in &self.named {
            let writes = |other: &&Call| {
                other.name.contains("write") && other.paths.first().is_some_and(|p| p == staged)
            };
            let last = self.calls.iter().filter(writes).map(|write| write.ended).max().unwrap();
            let mut syncs = self.calls.iter().filter(|sync| sync.began > last && sync.ended < call.began);
            assert!(
                syncs.any(|sync| is_sync(sync, staged)),
                "{object} has a name before its bytes are on the disk"
            );
        }
    }

    fn assert_folders_before_what_is_in_them(&self) {
        for made in self.calls.iter().filter(|call| call.name.starts_with("mkdir")) {
            let Some(folder) = made.paths.last().filter(|folder| folder.starts_with(self.root)) else {
                continue;
            };
            let inside = format!("{folder}/");
            for Named { call, object, .. } in
                self.named.iter().filter(|named| named.object.starts_with(&inside))
            {
                let settled = settled(self.calls, folder, made.ended);
                assert!(settled < call.began, "{object} is named in a folder that is not on the disk");
            }
        }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Named<'t>> {
        let folder = format!("{}/{kind}/", self.root);
        self.named.iter().filter(move |named| named.object.starts_with(&folder))
    }

    /// All of one kind that were named before one of another were on the disk by then. There are some.
    fn assert_order(&self, first: &str, then: &str) {
        let mut pairs = 0;
        for relies in self.of_kind(then) {
            for before in self.of_kind(first).filter(|before| before.call.began < relies.call.began) {
                let (it, that) = (relies.object, before.object);
                assert!(
                    before.settled < relies.call.began,
                    "{it} relies on {that}, which is not on the disk"
                );
                pairs += 1;
            }
        }
        assert!(pairs > 0, "none of {then} is behind any of {first}");
    }

    /// Nothing is deleted before all that was said is on the disk. Something is deleted.
    fn assert_said_before_deleted(&self) {
        let folder = format!("{}/packs/", self.root);
        let is_pack = |call: &&Call| call.paths.last().is_some_and(|path| path.starts_with(&folder));
        let deleted: Vec<&Call> =
            self.calls.iter().filter(|call| call.name.starts_with("unlink")).filter(is_pack).collect();
        assert!(!deleted.is_empty());
        for deletion in deleted {
            for said in self.named.iter().filter(|named| named.call.began < deletion.began) {
                assert!(said.settled < deletion.began, "{deletion:?} is not behind {}", said.object);
            }
        }
    }
}

#[test]
fn everything_is_on_the_disk_before_anything_relies_on_it() {
    const NAME: &str = "everything_is_on_the_disk_before_anything_relies_on_it";
    let machine = Machine::new();
    let root = machine.repository().to_str().unwrap().to_owned();
    fs::create_dir(machine.at("tree")).unwrap();
    let file = |number: u64| machine.at(&format!("tree/{number:02}"));
    (0..30).for_each(|number| fs::write(file(number), odd::noise(number, 200_000)).unwrap());
    let init = match traced(&machine, &["init"]) {
        Ok(calls) => calls,
        Err(why) => return tests::skipped(&format!("{NAME}: {why}")),
    };
    let init = Objects::of(&root, &init);
    init.assert_bytes_before_names();
    init.assert_folders_before_what_is_in_them();

    let backup = traced(&machine, &["backup", "tree"]).unwrap();
    let backup = Objects::of(&root, &backup);
    backup.assert_bytes_before_names();
    backup.assert_folders_before_what_is_in_them();
    ["sessions", "packs", "runs"].iter().for_each(|kind| backup.assert_order(kind, "log"));
    backup.assert_order("sessions", "packs");

    (10..30).for_each(|number| fs::remove_file(file(number)).unwrap());
    machine.done(&["backup", "tree"]);
    let first = machine.points()[0].clone();
    machine.done(&["forget", "--apply", &first]);
    let sweep = traced(&machine, &["sweep", "--apply", "--repack-below", "100"]).unwrap();
    let sweep = Objects::of(&root, &sweep);
    sweep.assert_bytes_before_names();
    sweep.assert_order("sweeps", "packs");
    sweep.assert_order("packs", "log");
    sweep.assert_said_before_deleted();
}

#[test]
fn calls_in_two_lines_are_put_together() {
    let trace = "7 fsync(5</a/b> <unfinished ...>\n8 link(\"x\", \"y\") = 0\n7 <... fsync resumed>) = 0\n\
                 8 mkdir(\"z\", 0700) = -1 EEXIST (File exists)\n";
    let call = |name: &str, paths: &[&str], began, ended| {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Call { name: name.to_owned(), paths, began, ended }
    };
    assert_eq!(calls(trace), [call("link", &["x", "y"], 1, 1), call("fsync", &["/a/b"], 0, 2)]);
}

/// A pack and an entry as they should come to be, and one thing left out.
fn told(left_out: &str) -> Vec<Call> {
    let lines = [
        "1 mkdir(\"/r/packs\", 0700) = 0",
        "1 fsync(3</r>) = 0",
        "1 write(4</r/.incoming/a>, \"\"..., 9) = 9",
        "1 fsync(4</r/.incoming/a>) = 0",
        "1 linkat(AT_FDCWD, \"/r/.incoming/a\", AT_FDCWD, \"/r/packs/a\", 0) = 0",
        "1 fsync(5</r/packs>) = 0",
        "1 write(4</r/.incoming/b>, \"\"..., 9) = 9",
        "1 fsync(4</r/.incoming/b>) = 0",
        "1 rename(\"/r/.incoming/b\", \"/r/log/b\") = 0",
        "1 fsync(5</r/log>) = 0",
        "1 unlink(\"/r/packs/c\") = 0",
        "1 fsync(6</r/packs>) = 0",
    ];
    calls(&lines.into_iter().filter(|line| *line != left_out).collect::<Vec<_>>().join("\n"))
}

fn assert_durable(left_out: &str) {
    let calls = told(left_out);
    let objects = Objects::of("/r", &calls);
    objects.assert_bytes_before_names();
    objects.assert_folders_before_what_is_in_them();
    objects.assert_order("packs", "log");
    objects.assert_said_before_deleted();
}

#[test]
fn what_is_in_order_passes() {
    assert_durable("");
}

#[test]
#[should_panic(expected = "/r/packs/a has a name before its bytes are on the disk")]
fn bytes_that_are_not_synced_are_seen() {
    assert_durable("1 fsync(4</r/.incoming/a>) = 0");
}

#[test]
#[should_panic(expected = "the name of /r/packs is never on the disk")]
fn a_folder_that_is_not_synced_is_seen() {
    assert_durable("1 fsync(3</r>) = 0");
}

#[test]
#[should_panic(expected = "the name of /r/log/b is never on the disk")]
fn a_name_that_is_not_synced_is_seen() {
    assert_durable("1 fsync(5</r/log>) = 0");
}

#[test]
#[should_panic(expected = "relies on /r/packs/a, which is not on the disk")]
fn an_entry_that_is_named_too_early_is_seen() {
    assert_durable("1 fsync(5</r/packs>) = 0");
}

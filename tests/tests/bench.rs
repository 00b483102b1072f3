//! `seawall bench` through the whole program: figures that can be true, nothing left behind, and what is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::odd;
use tests::s3::{Config, Server};
use tests::seawall::{Machine, Said};

/// Rates of a machine that others use too vary by so much from one stage to the next.
const NOISE: f64 = 1.5;

/// A stage of these small sources takes milliseconds, as a neighbour's burst does: one measurement of so many must be quiet.
const ATTEMPTS: usize = 6;

/// A machine with a place to store at, and its own folder for temporary files.
fn machine() -> Machine {
    let mut machine = Machine::new();
    for name in ["place", "tmp"] {
        fs::create_dir(machine.at(name)).unwrap();
    }
    let tmp = machine.at("tmp");
    machine.set("TMPDIR", tmp.to_str().unwrap());
    machine
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    listed
        .flat_map(
            |path| if path.is_dir() { [vec![path.clone()], files_below(&path)].concat() } else { vec![path] },
        )
        .collect()
}

fn assert_nothing_left(machine: &Machine) {
    for name in ["place", "tmp", "home", "state"] {
        assert_eq!(files_below(&machine.at(name)), Vec::<PathBuf>::new(), "{name}");
    }
    assert!(!machine.repository().exists());
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {of}"))
}

fn names(stages: &Value) -> Vec<&str> {
    stages.as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect()
}

/// Every figure is there and more than nothing.
fn assert_plausible(told: &Value) {
    assert_eq!(told["schema"], "bench/1");
    let stages = &told["stages"];
    let backup = [
        "read",
        "cut",
        "name",
        "look up",
        "compress",
        "seal",
        "open again and compare",
        "hash of the pack",
        "store",
    ];
    assert_eq!(names(&stages["backup"]), backup);
    assert_eq!(names(&stages["restore"]), ["fetch", "open", "decompress", "check names", "write"]);
    let cores = std::thread::available_parallelism().unwrap().get();
    let runs = told["runs"].as_array().unwrap();
    assert_eq!(runs.len(), if cores == 1 { 2 } else { 4 }, "{told}");
    for run in runs {
        for name in ["seconds", "cpu_seconds", "mb_per_second", "tb_per_hour", "limit_mb_per_second", "share"]
        {
            assert!(number(run, name) > 0.0, "{name}: {run}");
        }
        assert!(
            (number(run, "mb_per_second") * 0.0036 / number(run, "tb_per_hour") - 1.0).abs() < 1e-9,
            "{run}"
        );
        let share = number(run, "mb_per_second") / number(run, "limit_mb_per_second");
        assert!((number(run, "share") / share - 1.0).abs() < 1e-9, "{run}");
        let of = &stages[run["what"].as_str().unwrap()];
        for stage in of.as_array().unwrap() {
            for figure in ["bytes", "seconds", "cpu_seconds", "mb_per_second", "core_seconds"] {
                assert!(number(stage, figure) > 0.0, "{figure}: {stage}");
            }
        }
    }
}

/// What contradicts that a whole run is no faster than its stages allow, and no stage costs more than the run.
fn contradiction(told: &Value) -> Option<String> {
    told["runs"].as_array().unwrap().iter().find_map(|run| {
        let work = number(run, "cores") * number(run, "seconds");
        let stages = told["stages"][run["what"].as_str().unwrap()].as_array().unwrap();
        let costly = stages.iter().find(|stage| number(stage, "core_seconds") >= work * NOISE);
        let costly = costly.map(|stage| format!("{} costs more than all of {run}", stage["name"]));
        if number(run, "share") < NOISE { costly } else { Some(format!("faster than it can be: {run}")) }
    })
}

/// Measures until the figures fit together.
fn measured(machine: &Machine, words: &[&str]) -> Value {
    let mut said = Vec::new();
    for _ in 0..ATTEMPTS {
        let told = machine.json(words);
        assert_plausible(&told);
        match contradiction(&told) {
            Some(why) => said.push(why),
            None => return told,
        }
    }
    panic!("{ATTEMPTS} times in a row: {said:#?}");
}

#[test]
fn bench_measures_every_stage_and_the_whole_and_leaves_nothing_behind() {
    let machine = machine();
    let told = measured(&machine, &["bench", "--to", "place", "--size", "20M"]);
    assert_eq!((told["data"].as_str(), told["bytes"].as_u64()), (Some("random"), Some(20_000_000)));
    assert!(number(&told, "bytes_stored") >= 20e6, "nothing makes it smaller");
    assert!(told["to"].as_str().unwrap().ends_with("/place"), "{told}");
    assert!(told["file_system"].is_string() && told["scratch_file_system"].is_string(), "{told}");
    assert_nothing_left(&machine);
}

#[test]
fn bench_of_text_counts_what_was_compressed() {
    let machine = machine();
    let told = measured(&machine, &["bench", "--size", "8M", "--data", "text"]);
    assert!(number(&told, "bytes_stored") < 5e6, "logs become smaller: {told}");
    assert!(told["file_system"].is_string(), "{told}");
    let sealed = told["stages"]["backup"].as_array().unwrap().iter().find(|stage| stage["name"] == "seal");
    assert!(number(sealed.unwrap(), "bytes") < 5e6, "what was compressed is less to be sealed");
    assert_nothing_left(&machine);
}

#[test]
fn bench_of_a_directory_takes_its_files_and_changes_none() {
    let machine = machine();
    let data = machine.at("data");
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("large"), odd::noise(1, 9_000_000)).unwrap();
    fs::write(data.join("deep/large again"), odd::noise(1, 9_000_000)).unwrap();
    fs::write(data.join("deep/zeros"), vec![0; 100_000]).unwrap();
    fs::write(data.join("deep/er/empty"), "").unwrap();
    for file in 0..100 {
        fs::write(data.join(format!("deep/er/{file}")), odd::noise(file, 10 * file as usize)).unwrap();
    }
    let before = tests::listing::Listing::of(&data);
    let told = measured(&machine, &["bench", "--data", "data", "--size", "1GiB"]);
    assert_eq!(told["files"].as_u64(), Some(104));
    assert!(number(&told, "bytes_stored") < 12e6, "what comes twice is stored once: {told}");
    assert_eq!(tests::listing::Listing::of(&data).differences(&before), Vec::<String>::new());
    assert_nothing_left(&machine);
}

#[test]
fn bench_speaks_to_people_in_tables() {
    let machine = machine();
    let said = machine.done(&["bench", "--size", "4M", "--data", "text"]);
    let text = String::from_utf8(said.out).unwrap();
    for word in ["MB/s", "TB/h", "look up", "check names", "limit", "stages of a restore"] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    assert_nothing_left(&machine);
}

#[test]
fn bench_measures_a_bucket_and_leaves_it_as_it_was() {
    let mut machine = machine();
    let kept = machine.at("place");
    let server = Server::start(Config { directory: Some(kept.clone()), ..Config::default() });
    let empty = files_below(&kept);
    for (name, value) in server.environment() {
        machine.set(&name, &value);
    }
    let to = server.location("bucket", "some/prefix");
    let told = measured(&machine, &["bench", "--size", "8M", "--to", &to]);
    assert!(told["to"].as_str().unwrap().starts_with("s3://bucket/some/prefix?"), "{told}");
    assert_eq!(told["file_system"], Value::Null);
    let files = |paths: Vec<PathBuf>| paths.into_iter().filter(|path| path.is_file()).collect::<Vec<_>>();
    assert_eq!(files(files_below(&kept)), files(empty));
    assert_eq!(files_below(&machine.at("tmp")), Vec::<PathBuf>::new());
    machine.set("AWS_SECRET_ACCESS_KEY", "another");
    machine.run(&["bench", "--size", "8M", "--to", &to]).assert_failed(4, "denied");
    assert_eq!(files_below(&machine.at("tmp")), Vec::<PathBuf>::new());
}

#[test]
fn bench_refuses_what_it_cannot_do_before_it_does_anything() {
    let machine = machine();
    fs::write(machine.at("file"), "x").unwrap();
    fs::create_dir(machine.at("hollow")).unwrap();
    let rows: [(&[&str], i32, &str); 8] = [
        (&["--data", "noise"], 4, "noise"),
        (&["--data", "file"], 4, "file"),
        (&["--data", "hollow"], 4, "no content"),
        (&["--to", "nowhere"], 4, "there is no directory nowhere"),
        (&["--to", "file"], 4, "there is no directory file"),
        (&["--to", "ftp://host"], 4, "ftp://"),
        (&["--size", "9000000GiB"], 4, "no room"),
        (&["--size", "none"], 4, "none"),
    ];
    for (words, code, says) in rows {
        let words = [&["bench"], words].concat();
        machine.run(&words).assert_failed(code, says);
        let document = machine.run(&[&words[..], &["--json"]].concat()).json();
        assert_eq!(document["exit"], code, "{words:?}");
        assert_nothing_left(&machine);
    }
}

/// Starts the program as a terminal would, waits until it has begun to store, and interrupts it.
fn interrupted(machine: &Machine, words: &[&str]) -> Said {
    let ours = machine.command(words);
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(ours.get_program()).args(words);
    command.current_dir(machine.at("")).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let begin = Instant::now();
    let has_begun = || files_below(&machine.at("tmp")).iter().any(|path| path.ends_with("source/random"));
    while !has_begun() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    Said::of(words, child.wait_with_output().unwrap())
}

#[test]
fn bench_that_is_interrupted_leaves_nothing_behind() {
    let machine = machine();
    let said = interrupted(&machine, &["bench", "--to", "place", "--size", "300M"]);
    said.assert_failed(130, "nothing was left behind");
    assert_nothing_left(&machine);
}

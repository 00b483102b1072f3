//! A host: a machine with a state, a home and a source of its own, and the one way in which it runs the program.
//!
//! Every process has a time limit. It ends by itself, or is killed (SIGKILL) as soon as its fate says so; what it says goes
//! into files, so that no pipe can hold it up.

use std::fs::{self, File};
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::seawall::{Machine, Said};

/// A process that takes longer hangs: on a busy machine they take seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// How often it is asked whether a process has ended, and whether it is to die.
const LOOK: Duration = Duration::from_millis(3);

/// How a process ended.
pub(super) enum End {
    /// By our hand.
    Killed,
    /// By itself.
    Said(Said),
}

pub(super) struct Host {
    pub(super) name: String,
    pub(super) machine: Machine,
    runs: AtomicU64,
}

impl Host {
    pub(super) fn new(name: String, machine: Machine) -> Host {
        Host { name, machine, runs: AtomicU64::new(0) }
    }

    /// Runs it until it ends, or until `dies` answers that it is to be killed now.
    pub(super) fn run(&self, words: &[&str], mut dies: impl FnMut(Duration) -> bool) -> Result<End, String> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let files = ["out", "err"].map(|kind| self.machine.at(&format!("{number}.{kind}")));
        let [out, err] = files.each_ref().map(|path| File::create(path).expect("a host has room"));
        let mut command = self.machine.command(words);
        let begun = Instant::now();
        let mut child = command.stdout(out).stderr(err).spawn().expect("the program starts");
        let (mut killed, mut hangs) = (false, false);
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            hangs = begun.elapsed() > LONGEST;
            killed = hangs || dies(begun.elapsed());
            if killed {
                child.kill().expect("a child that was not waited for can be killed");
                break child.wait().expect("a child can be waited for");
            }
            std::thread::sleep(LOOK);
        };
        let [stdout, stderr] = files.each_ref().map(|path| fs::read(path).expect("what was said stays"));
        files.iter().for_each(|path| fs::remove_file(path).expect("what was said stays"));
        let told =
            || format!("{}: seawall {}: {}", self.name, words.join(" "), String::from_utf8_lossy(&stderr));
        if hangs {
            return Err(format!("hangs after {LONGEST:?}: {}", told()));
        }
        if killed && status.code().is_none() {
            return Ok(End::Killed);
        }
        if String::from_utf8_lossy(&stderr).contains("panicked") {
            return Err(told());
        }
        Ok(End::Said(Said::of(words, Output { status, stdout, stderr })))
    }

    /// Runs it to its end.
    pub(super) fn says(&self, words: &[&str]) -> Result<Said, String> {
        match self.run(words, |_| false)? {
            End::Said(said) => Ok(said),
            End::Killed => Err(format!("{}: seawall {} was killed by somebody", self.name, words.join(" "))),
        }
    }

    /// Runs what must end with 0.
    pub(super) fn done(&self, words: &[&str]) -> Result<Said, String> {
        let said = self.says(words)?;
        if said.code == 0 { Ok(said) } else { Err(self.wrong(&said)) }
    }

    /// That a process ended as it must not.
    pub(super) fn wrong(&self, said: &Said) -> String {
        format!("{}: {said}", self.name)
    }
}

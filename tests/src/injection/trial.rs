//! One injection: harm, then what each command says, and what of it breaks a rule.

use format::id::Hash;
use serde_json::Value;
use world::Chance;

use super::harm::Harm;
use super::original::{Original, SOURCE};
use crate::listing::Listing;
use crate::seawall::{Machine, Said};

/// What became of an injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Nothing is lost, and nobody says anything.
    Harmless,
    /// It was found, and after a full backup all points are whole.
    Healed,
    /// It was found, and what it took stays named; what is backed up afterwards comes back.
    Contained,
    /// Nothing is backed up there any more until somebody does what the hint says.
    Refused,
}

impl Fate {
    pub(super) const ALL: [Fate; 4] = [Fate::Harmless, Fate::Healed, Fate::Contained, Fate::Refused];
}

/// How an injection ended.
pub(super) struct Ended {
    pub fate: Fate,
    pub harms: Vec<Harm>,
    pub remembers: bool,
    /// Whether a sweep went through.
    pub swept: bool,
    /// Whether a full backup succeeded, and came back.
    pub backed_up: bool,
    /// Rules that it broke.
    pub broken: Vec<String>,
    /// What the commands said.
    pub told: String,
    /// Where it happened, if a rule was broken.
    pub machine: Option<Machine>,
}

/// Injuries at once, at most.
const HARMS_MAX: u64 = 3;

/// Exit codes of a program that says what is wrong; 130 and above are of signals.
const CODES: [i32; 7] = [0, 1, 2, 3, 4, 5, 6];

pub(super) fn run(original: &Original, seed: u64, number: u64) -> Ended {
    let mut chance = Chance::from_key(Hash::of(format!("seawall injection {seed} {number}").as_bytes()).0);
    let remembers = chance.below(2) == 0;
    let machine = original.copy(remembers);
    let wanted = if chance.below(2) == 0 { 1 } else { 1 + chance.below(HARMS_MAX) };
    let mut harms = Vec::new();
    while harms.len() < usize::try_from(wanted).unwrap_or(1) {
        let harm = Harm::inflict(original, &machine.repository(), &harms, &mut chance);
        harms.extend(harm);
    }
    let mut trial = Trial {
        original,
        machine,
        harms,
        remembers,
        told: String::new(),
        broken: Vec::new(),
        swept: false,
        backed_up: false,
    };
    let fate = trial.go();
    let Trial { machine, harms, told, broken, swept, backed_up, .. } = trial;
    let machine = (!broken.is_empty()).then_some(machine);
    let harmed: Vec<String> = harms.iter().map(ToString::to_string).collect();
    let told = format!("{} (remembers: {remembers})\n{told}", harmed.join("; "));
    Ended { fate, harms, remembers, swept, backed_up, broken, told, machine }
}

struct Trial<'o> {
    original: &'o Original,
    machine: Machine,
    harms: Vec<Harm>,
    remembers: bool,
    told: String,
    broken: Vec<String>,
    swept: bool,
    backed_up: bool,
}

impl Trial<'_> {
    fn go(&mut self) -> Fate {
        let found = self.verify();
        let came: Vec<bool> = (0..self.original.points.len()).map(|at| self.restores(at, "first")).collect();
        let all_came = came.iter().all(|came| *came);
        if !all_came && !found {
            self.breaks("a point did not come back, and no verification said so");
        }
        let history = self.run(&["log", "--verify"]).code != 0;
        let must_be_found = |harm: &&Harm| harm.must_be_found(self.original, self.remembers);
        let unnoticed = self.harms.iter().filter(must_be_found).all(|harm| !harm.is_named_in(&self.told));
        if unnoticed && !found && !history && self.harms.iter().any(|harm| must_be_found(&harm)) {
            self.breaks("an object was changed, and no verification said so");
        }
        self.sweep();
        for (at, _) in came.iter().enumerate().filter(|(_, came)| **came) {
            if !self.restores(at, "second") {
                self.breaks("a point came back before a sweep and not behind it");
            }
        }
        let said = self.run(&["backup", "tree", "--kind", "full", "--source", SOURCE, "--json"]);
        let Ok(made) = serde_json::from_slice::<Value>(&said.out) else {
            self.breaks("a backup said nothing to a script");
            return Fate::Refused;
        };
        let Some(point) = made["point"].as_str() else {
            if !said.err.contains("hint:") {
                self.breaks("a backup was refused without a hint");
            }
            return Fate::Refused;
        };
        self.backed_up = self.new_point_comes_back(point);
        let fate = match (found || history, self.verify()) {
            (false, false) => Fate::Harmless,
            (true, false) => Fate::Healed,
            (_, true) => Fate::Contained,
        };
        if fate != Fate::Harmless && !self.harms.iter().any(|harm| harm.is_named_in(&self.told)) {
            self.breaks("nothing that was harmed was named");
        }
        fate
    }

    /// Whether it finds anything.
    fn verify(&mut self) -> bool {
        let codes = ["L1", "L2"].map(|level| self.run(&["verify", "--level", level]).code);
        codes != [0, 0]
    }

    fn sweep(&mut self) {
        let words = ["sweep", "--apply", "--repack-below", "100", "--wait", "0"];
        self.swept = self.run(&words).code == 0;
    }

    /// Whether a point comes back whole. What comes back of it must be right.
    fn restores(&mut self, at: usize, into: &str) -> bool {
        let (point, truth) = &self.original.points[at];
        let into = format!("{into}{at}");
        let said = self.run(&["restore", point, "--into", &into]);
        self.compare(&said, &into, truth)
    }

    fn compare(&mut self, said: &Said, into: &str, truth: &Listing) -> bool {
        let out = self.machine.at(into);
        let differences = if out.exists() { Listing::of(&out).differences(truth) } else { Vec::new() };
        if said.code == 0 && !(out.exists() && differences.is_empty()) {
            self.breaks(format!("a restore ended with 0 and did not bring all back: {differences:?}"));
        }
        // What is lost is missing, and so the time of its folder may be another.
        let wrong: Vec<&String> = differences.iter().filter(|line| line.contains("content")).collect();
        if !wrong.is_empty() {
            self.breaks(format!("a restore brought wrong bytes: {wrong:?}"));
        }
        said.code == 0
    }

    fn new_point_comes_back(&mut self, point: &str) -> bool {
        let truth = Listing::of(&self.machine.at("tree"));
        let restored = self.run(&["restore", point, "--into", "new"]);
        let came = self.compare(&restored, "new", &truth);
        if !came {
            self.breaks("a full backup succeeded and does not come back");
        }
        came
    }

    /// Runs it; whatever goes wrong is told in words, with what helps.
    fn run(&mut self, words: &[&str]) -> Said {
        let output = self.machine.command(words).output().expect("the program runs");
        let said = Said::heard(words, output);
        self.told += &format!("{said}\n");
        if !CODES.contains(&said.code) || said.has_panicked() {
            self.breaks(format!("seawall {} ended with {}", words.join(" "), said.code));
        }
        if said.code != 0
            && !said.err.lines().any(|line| line.starts_with("error:") || line.starts_with("warning:"))
        {
            self.breaks(format!("seawall {} ended with {} and did not say why", words.join(" "), said.code));
        }
        said
    }

    fn breaks(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }
}

//! Who takes part in a campaign, each on a thread that runs one process after another.
//!
//! Who is to die is drawn before it starts, and when: at a moment within the time that such a process mostly takes, or,
//! of sweeps, as soon as packs vanish that were there when it began. What ends otherwise than it may breaks the campaign.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use world::Chance;

use super::counts::Kill;
use super::field::{Field, WRITERS};
use super::host::{End, Host};
use super::ledger::State;
use super::tree::{Tree, Truth, listed};
use crate::seawall::Said;

/// Points that a source keeps: the forgetter forgets more than these.
const KEPT: usize = 4;

/// A command that races so often in a row never wins.
const RACES_MAX: u32 = 6;

type Act = fn(&mut Actor<'_>) -> Result<(), String>;

/// Runs all actors until the campaign is over; answers their hosts.
pub(super) fn play(field: &Field) -> Vec<Host> {
    let roles: [(&str, Act); WRITERS + 5] = [
        ("writer-0", |actor| actor.write()),
        ("writer-1", |actor| actor.write()),
        ("writer-2", |actor| actor.write()),
        ("writer-3", |actor| actor.write()),
        ("restorer-0", |actor| actor.restore()),
        ("restorer-1", |actor| actor.restore()),
        ("forgetter", |actor| actor.forget()),
        ("sweeper-0", |actor| actor.hunt()),
        ("sweeper-1", |actor| actor.sweep()),
    ];
    let hosts = std::thread::scope(|scope| {
        let threads = roles.iter().enumerate().map(|(number, (name, act))| {
            scope.spawn(move || {
                let mut actor = Actor::new(field, name, number);
                let played = catch_unwind(AssertUnwindSafe(|| act(&mut actor)));
                field.note(played.unwrap_or_else(|_| Err(format!("{name} panicked"))));
                actor.host
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("panics were caught")).collect()
    });
    field.count(|counts| counts.time = field.elapsed());
    hosts
}

struct Actor<'f> {
    field: &'f Field,
    host: Host,
    chance: Chance,
    /// Of the hosts that write, which one.
    number: usize,
    /// How long its processes take of late.
    usual: Duration,
}

impl<'f> Actor<'f> {
    fn new(field: &'f Field, name: &str, number: usize) -> Actor<'f> {
        let (host, chance) = (field.host(name), field.chance(name));
        Actor { field, host, chance, number, usual: Duration::from_millis(400) }
    }

    /// Does nothing for a while, in milliseconds.
    fn rest(&mut self, least: u64, most: u64) {
        let wait = least + self.chance.below(most - least);
        self.field.rest(Duration::from_millis(wait));
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.chance.below(100) < percent
    }

    /// Runs a command that dies with these odds; `None` if it did.
    fn run(&mut self, words: &[&str], kill: Kill, percent: u64) -> Result<Option<Said>, String> {
        let within = u64::try_from(self.usual.as_millis()).unwrap_or(1000);
        let moment = self.happens(percent).then(|| Duration::from_millis(self.chance.below(within)));
        let begun = Instant::now();
        let end = self.host.run(words, |age| moment.is_some_and(|moment| age >= moment))?;
        let End::Said(said) = end else {
            self.field.killed(kill);
            return Ok(None);
        };
        self.usual = (self.usual * 3 + begun.elapsed()) / 4;
        Ok(Some(said))
    }

    fn raced(&self, said: &Said, times: &mut u32) -> Result<(), String> {
        self.field.count(|counts| counts.raced += 1);
        *times += 1;
        if *times < RACES_MAX { Ok(()) } else { Err(format!("races for ever: {}", self.host.wrong(said))) }
    }

    fn write(&mut self) -> Result<(), String> {
        let mut tree = Tree::new(self.host.machine.at("tree"));
        let (mut truth, mut races) = (None, 0);
        while self.field.goes_on() {
            self.rest(300, 4_000);
            let now = match truth.take() {
                Some(now) => now,
                None => {
                    tree.change(&self.field.pool, &mut self.chance);
                    Arc::new(tree.truth())
                }
            };
            let name = self.host.name.clone();
            let mut words = vec!["backup", "tree", "--json", "--source", &name];
            if self.happens(10) {
                words.extend(["--kind", "full"]);
            }
            match self.run(&words, Kill::Backup, 35)? {
                None if self.happens(50) => truth = Some(now),
                None => {}
                Some(said) if said.code == 0 => {
                    races = 0;
                    let point = text(&said.json()["point"]);
                    self.field.ledger().add(point, self.number, now);
                    self.field.count(|counts| counts.points += 1);
                }
                Some(said) if said.code == 5 => {
                    self.raced(&said, &mut races)?;
                    truth = Some(now);
                }
                Some(said) => return Err(self.host.wrong(&said)),
            }
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<(), String> {
        let mut races = 0;
        let mut again = None;
        while self.field.goes_on() {
            let Some(point) = again.take().or_else(|| self.kept_point()) else {
                self.field.rest(Duration::from_millis(200));
                continue;
            };
            let (truth, changes) = self.known(&point);
            let said = self.run(&["restore", &point, "--into", "out"], Kill::Restore, 20)?;
            let surely = self.known(&point).1 == changes;
            match said {
                None => {}
                Some(said) if said.code == 0 => {
                    self.compare(&point, &truth, &said)?;
                    races = 0;
                }
                Some(said) if said.code == 5 => {
                    self.raced(&said, &mut races)?;
                    again = surely.then_some(point);
                }
                Some(said) if said.code == 4 && !surely => {
                    self.field.count(|counts| counts.restores_too_late += 1);
                }
                Some(said) => {
                    let what = if surely { "was not forgotten" } else { "was being forgotten" };
                    return Err(format!("a point that {what}: {}", self.host.wrong(&said)));
                }
            }
            clear(&self.host);
        }
        Ok(())
    }

    fn kept_point(&mut self) -> Option<String> {
        let kept = self.field.ledger().kept();
        kept.get(self.chance.below(kept.len() as u64) as usize).cloned()
    }

    fn known(&self, point: &str) -> (Arc<Truth>, u64) {
        let ledger = self.field.ledger();
        let record = &ledger.points[point];
        (record.truth.clone(), record.changes)
    }

    fn compare(&self, point: &str, truth: &Truth, said: &Said) -> Result<(), String> {
        same(&self.host, point, truth, said)?;
        self.field.count(|counts| counts.restores += 1);
        Ok(())
    }

    fn forget(&mut self) -> Result<(), String> {
        while self.field.goes_on() {
            self.rest(50, 600);
            match self.chance.below(10) {
                0 => self.settle()?,
                1 => self.take_back_one()?,
                _ => self.forget_some()?,
            }
        }
        Ok(())
    }

    /// Forgets some points of a source that has enough of them, old or new; regrets that now and then.
    fn forget_some(&mut self) -> Result<(), String> {
        let source = self.chance.below(WRITERS as u64) as usize;
        // Of those that were taken back most stay: they must be whole at the end.
        let again = self.happens(2);
        let may_go = |state: State| state == State::Live || again && state == State::Undone;
        let mut kept = self.field.ledger().whose(|record| may_go(record.state) && record.source == source);
        // The newest of a source stays, as the program would insist.
        kept.pop();
        let mut goes = Vec::new();
        while kept.len() >= KEPT && goes.len() < 4 {
            let at = if self.happens(70) { 0 } else { self.chance.below(kept.len() as u64) as usize };
            goes.push(kept.remove(at));
        }
        if goes.is_empty() {
            return Ok(());
        }
        self.set(&goes, State::Leaving);
        let mut words = vec!["forget", "--apply"];
        words.extend(goes.iter().map(String::as_str));
        match self.run(&words, Kill::Forget, 35)? {
            None => Ok(()),
            Some(said) if said.code == 0 => {
                self.forgot(&goes);
                if self.happens(30) { self.take_back(&goes[0]) } else { Ok(()) }
            }
            Some(said) if said.code == 5 => self.raced(&said, &mut 0),
            Some(said) => Err(self.host.wrong(&said)),
        }
    }

    fn set(&self, points: &[String], state: State) {
        points.iter().for_each(|point| self.field.ledger().set(point, state));
    }

    fn forgot(&self, points: &[String]) {
        self.set(points, State::Forgotten);
        self.field.count(|counts| counts.forgotten += points.len() as u64);
    }

    /// Forgets what somebody who was killed may have forgotten, or taken back.
    fn settle(&mut self) -> Result<(), String> {
        let is_open = |state| matches!(state, State::Leaving | State::Unknown);
        let open = self.field.ledger().whose(|record| is_open(record.state));
        let Some(point) = open.into_iter().next() else { return Ok(()) };
        match self.run(&["forget", "--apply", &point], Kill::Forget, 15)? {
            None => {}
            Some(said) if said.code == 0 || said.code == 4 && said.err.contains("no point") => {
                self.forgot(&[point]);
            }
            Some(said) if said.code == 5 => self.raced(&said, &mut 0)?,
            Some(said) => return Err(self.host.wrong(&said)),
        }
        Ok(())
    }

    /// Takes back that one of the newest forgotten points was forgotten, if no sweep was faster.
    fn take_back_one(&mut self) -> Result<(), String> {
        let forgotten = self.field.ledger().of(State::Forgotten);
        let newest = &forgotten[forgotten.len().saturating_sub(4)..];
        match newest.get(self.chance.below(newest.len() as u64) as usize) {
            Some(point) => self.take_back(point),
            None => Ok(()),
        }
    }

    fn take_back(&mut self, point: &str) -> Result<(), String> {
        self.field.ledger().set(point, State::Unknown);
        match self.run(&["forget", "--undo", point, "--json"], Kill::Undo, 20)? {
            None => {}
            Some(said) if said.code == 0 && names(&said.json()["undone"], point) => {
                self.field.ledger().set(point, State::Undone);
                self.field.count(|counts| counts.undone += 1);
            }
            Some(said) if said.code == 4 && said.err.contains("gone: a sweep took") => {
                self.field.ledger().set(point, State::Gone);
                self.field.count(|counts| counts.undone_too_late += 1);
            }
            Some(said) if said.code == 5 => self.raced(&said, &mut 0)?,
            Some(said) => return Err(self.host.wrong(&said)),
        }
        Ok(())
    }

    /// Sweeps, and mostly dies as soon as it deletes.
    fn hunt(&mut self) -> Result<(), String> {
        while self.field.goes_on() {
            if self.happens(20) {
                self.sweep_once()?;
            } else {
                self.hunt_once()?;
            }
            self.rest(0, 1_000);
        }
        Ok(())
    }

    fn hunt_once(&mut self) -> Result<(), String> {
        // Alone, so that what vanishes was deleted by this sweep.
        let alone = self.field.sweeping.write().expect("no holder of this lock panics");
        let there = self.field.packs();
        let expire = format!("{}s", 2 + self.chance.below(3));
        let words = sweep_words("12s", &expire);
        let later = [0, 0, 5, 20, 60][self.chance.below(5) as usize];
        let seen: Cell<Option<Duration>> = Cell::new(None);
        let end = self.host.run(&words, |age| {
            if seen.get().is_none() && there.iter().any(|pack| !pack.exists()) {
                seen.set(Some(age));
            }
            seen.get().is_some_and(|since| age >= since + Duration::from_millis(later))
        })?;
        let outcome = match end {
            End::Killed => self.hunted(),
            End::Said(said) => self.swept(&said),
        };
        drop(alone);
        outcome
    }

    /// Counts a sweep that was killed, and looks whether it left some of what it was to delete.
    fn hunted(&self) -> Result<(), String> {
        self.field.killed(Kill::SweepDeleting);
        let plan = self.host.done(&["sweep", "--json"])?.json();
        let left = plan["plan"]["condemned"]["packs"].as_u64().unwrap_or_default();
        self.field.count(|counts| counts.killed_midway += u64::from(left > 0));
        Ok(())
    }

    /// Sweeps in all other ways; gives up a session now and then.
    fn sweep(&mut self) -> Result<(), String> {
        while self.field.goes_on() {
            self.rest(200, 2_000);
            if self.happens(25) {
                self.give_up_somebody()?;
            }
            self.sweep_once()?;
        }
        Ok(())
    }

    fn sweep_once(&mut self) -> Result<(), String> {
        let wait = ["0", "2s", "8s"][self.chance.below(3) as usize];
        let expire = format!("{}s", 3 + self.chance.below(8));
        let together = self.field.sweeping.read().expect("no holder of this lock panics");
        let said = self.run(&sweep_words(wait, &expire), Kill::Sweep, 60)?;
        drop(together);
        said.map_or(Ok(()), |said| self.swept(&said))
    }

    fn swept(&self, said: &Said) -> Result<(), String> {
        if ![0, 5].contains(&said.code) {
            return Err(self.host.wrong(said));
        }
        // Who loses a race says so and nothing else.
        let did = serde_json::from_slice::<Value>(&said.out).unwrap_or_default()["swept"].clone();
        self.field.count(|counts| {
            counts.sweeps += u64::from(said.code == 0);
            counts.sweeps_waiting += u64::from(said.code == 5);
            counts.add_swept(&did);
        });
        Ok(())
    }

    /// Gives up any session, be its process dead or alive.
    fn give_up_somebody(&mut self) -> Result<(), String> {
        let sessions = at_work(&self.host)?;
        let Some(session) = sessions.get(self.chance.below(sessions.len() as u64) as usize) else {
            return Ok(());
        };
        let said = self.host.says(&["session", "expire", session])?;
        self.field.count(|counts| counts.expired += u64::from(said.code == 0));
        // It may have ended meanwhile.
        if [0, 4, 5].contains(&said.code) { Ok(()) } else { Err(self.host.wrong(&said)) }
    }
}

/// Sessions that are not over.
pub(super) fn at_work(host: &Host) -> Result<Vec<String>, String> {
    let listed = host.done(&["session", "list", "--json"])?.json();
    let sessions = listed["sessions"].as_array().expect("sessions are a list");
    Ok(sessions.iter().filter(|s| s["state"] == "at work").map(|s| text(&s["session"])).collect())
}

/// That what was restored into `out` is what the point must bring back.
pub(super) fn same(host: &Host, point: &str, truth: &Truth, said: &Said) -> Result<(), String> {
    let differences = listed(&host.machine.at("out")).differences(&truth.listing);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("point {point} came back different: {}: {}", differences.join("; "), host.wrong(said)))
}

/// Makes room for the next restore.
pub(super) fn clear(host: &Host) {
    let out = host.machine.at("out");
    if out.exists() {
        std::fs::remove_dir_all(out).expect("what was restored can be removed");
    }
}

fn sweep_words<'w>(wait: &'w str, expire: &'w str) -> [&'w str; 9] {
    ["sweep", "--apply", "--json", "--repack-below", "80", "--wait", wait, "--expire-after", expire]
}

fn text(value: &Value) -> String {
    value.as_str().expect("an id is text").to_owned()
}

fn names(list: &Value, point: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|one| one == point))
}

//! The stage: many actors on threads of their own, of which exactly one moves at any moment.
//!
//! Whoever is about to ask the store something says how long that takes and waits until it is the first in line. The
//! line is ordered by simulated time, then by actor; so who moves when follows from the delays that the actors draw,
//! each from a stream of its own, and an actor that is left out leaves the delays of the others as they were. Time
//! passes only here, and for all actors alike: a pause of days is a long delay.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use format::id::Hash;
use world::{Chance, Clock, Cores};

/// Midnight of 1 January 2026, UTC: when every history begins.
pub(super) const BEGINNING_NS: i64 = 1_767_225_600_000_000_000;

/// A shorter sleep is a look whether something happened; no other actor moves meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Who is on the stage: a number from 0.
pub(super) type Actor = usize;

/// A stream of chance for one purpose: nothing drawn for another purpose, or for another actor, changes it.
pub(super) fn stream(seed: u64, purpose: &str, number: u64) -> Chance {
    Chance::from_key(Hash::of(format!("seawall simulation {seed} {purpose} {number}").as_bytes()).0)
}

/// Whether something happens that happens `odds` times in a thousand.
pub(super) fn happens(chance: &mut Chance, odds: u64) -> bool {
    chance.below(1000) < odds
}

/// The line of actors, the time, and the trace of what was done.
pub(super) struct Stage {
    line: Mutex<Line>,
    turns: Vec<Condvar>,
    /// Nobody waits for a turn any more: the play is over, and what follows is looked at in peace.
    over: AtomicBool,
    /// After so many steps everybody dies, as was asked for.
    steps_max: Option<u64>,
}

/// A history that takes longer does not come to an end.
const STEPS_ENDLESS: u64 = 20_000;

struct Line {
    now: Duration,
    waiting: BTreeSet<(Duration, Actor)>,
    moving: Option<Actor>,
    steps: u64,
    trace: Trace,
}

/// What happened, as a hash over all of it, and as lines where somebody wants to read them.
struct Trace {
    hash: Hash,
    lines: Option<Vec<String>>,
}

impl Stage {
    /// A stage on which these actors appear, each after its delay. After `steps_max` steps everybody dies.
    pub(super) fn new(appear: &[(Actor, Duration)], steps_max: Option<u64>, keep_lines: bool) -> Stage {
        let trace = Trace { hash: Hash::NONE, lines: keep_lines.then(Vec::new) };
        let waiting = appear.iter().map(|(actor, after)| (*after, *actor)).collect();
        let line = Line { now: Duration::ZERO, waiting, moving: None, steps: 0, trace };
        let count = appear.iter().map(|(actor, _)| actor + 1).max().unwrap_or(0);
        let turns = (0..count).map(|_| Condvar::new()).collect();
        Stage { line: Mutex::new(line), turns, over: AtomicBool::new(false), steps_max }
    }

    /// The first actor may move.
    pub(super) fn begin(&self) {
        let mut line = self.line();
        self.call_next(&mut line);
    }

    /// Waits for the first turn; nobody moves before that.
    pub(super) fn enter(&self, actor: Actor) {
        self.wait_for_turn(self.line(), actor);
    }

    /// Lets `delay` pass, and others move.
    pub(super) fn pause(&self, actor: Actor, delay: Duration) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut line = self.line();
        let at = line.now.saturating_add(delay);
        line.waiting.insert((at, actor));
        self.call_next(&mut line);
        self.wait_for_turn(line, actor);
    }

    /// Makes room for the others for good.
    pub(super) fn leave(&self) {
        self.call_next(&mut self.line());
    }

    /// From now on nobody waits.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the play was to end after so many steps.
    pub(super) fn is_cut(&self) -> bool {
        self.steps_max.is_some()
    }

    /// Whether the play is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Counts a step; whether there may be one.
    pub(super) fn step(&self) -> bool {
        let mut line = self.line();
        line.steps += 1;
        line.steps <= self.steps_max.unwrap_or(STEPS_ENDLESS)
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.line().steps
    }

    /// Time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.line().now
    }

    /// Adds a line to the trace.
    pub(super) fn note(&self, actor: Actor, what: &str) {
        let mut line = self.line();
        let text = format!("{:>6} {:>16.6} actor {actor}: {what}", line.steps, line.now.as_secs_f64());
        let mut bytes = line.trace.hash.0.to_vec();
        bytes.extend_from_slice(text.as_bytes());
        line.trace.hash = Hash::of(&bytes);
        if let Some(lines) = &mut line.trace.lines {
            lines.push(text);
        }
    }

    /// The hash over the trace, and its lines if they were kept.
    pub(super) fn trace(&self) -> (Hash, Vec<String>) {
        let line = self.line();
        (line.trace.hash, line.trace.lines.clone().unwrap_or_default())
    }

    fn call_next(&self, line: &mut Line) {
        line.moving = line.waiting.pop_first().map(|(at, actor)| {
            line.now = line.now.max(at);
            actor
        });
        if let Some(turn) = line.moving.and_then(|actor| self.turns.get(actor)) {
            turn.notify_one();
        }
    }

    fn wait_for_turn(&self, line: MutexGuard<'_, Line>, actor: Actor) {
        let turn = &self.turns[actor];
        let waited = turn.wait_while(line, |line| line.moving != Some(actor));
        drop(waited.expect("no holder of this lock panics"));
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no holder of this lock panics")
    }
}

/// The clocks of one host: a wall clock that is wrong by the same time always, and a monotonic one that is right.
pub(super) struct HostClock {
    /// The stage.
    pub stage: Arc<Stage>,
    /// Who sleeps by it.
    pub actor: Actor,
    /// How far the wall clock is ahead, in nanoseconds.
    pub ahead_ns: i64,
}

impl Clock for HostClock {
    fn now_ns(&self) -> i64 {
        let passed = i64::try_from(self.stage.now().as_nanos()).unwrap_or(i64::MAX);
        BEGINNING_NS.saturating_add(self.ahead_ns).saturating_add(passed)
    }

    fn monotonic(&self) -> Duration {
        self.stage.now()
    }

    /// As if one core were busy all the time.
    fn cpu(&self) -> Duration {
        self.monotonic()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let sleep = Sleep { stage: self.stage.clone(), actor: self.actor, time, slept: false };
        Box::pin(sleep)
    }

    /// There is no machine.
    fn cores(&self) -> Option<Cores> {
        None
    }
}

struct Sleep {
    stage: Arc<Stage>,
    actor: Actor,
    time: Duration,
    slept: bool,
}

impl Future for Sleep {
    type Output = ();

    /// Gives way once, so that whatever else runs on this thread goes on.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.slept, true) {
            return Poll::Ready(());
        }
        if self.time > LOOK {
            self.stage.pause(self.actor, self.time);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

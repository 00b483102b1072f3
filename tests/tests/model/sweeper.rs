//! A sweeper: condemns, or condemns anything, and finishes; then its next task.

use std::collections::BTreeSet;
use std::rc::Rc;

use std::sync::Arc;

use repo::protocol::{Condemn, Condemned, Finish, Finished, Rules, Tidy};

use super::actor::{Actor, Do, Kind, Move, plain};
use super::ids::{Effect, Pack, Reply, Tiny};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// The real first half.
    Condemn { part: u8, repack: BTreeSet<Pack> },
    /// Any of these sets, whatever a fold would say.
    CondemnAny { part: u8, sets: Vec<BTreeSet<Pack>> },
    /// The real second half.
    Finish(Tidy),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::large_enum_variant, reason = "a world holds two of these")]
enum Work {
    Idle,
    Condemn(Condemn<Tiny>, Do),
    Choose(u8, Vec<BTreeSet<Pack>>),
    Writing,
    Finish(Box<Finish<Tiny>>, Do),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sweeper {
    rules: Rules,
    tasks: Rc<Vec<Task>>,
    task: usize,
    sessions: Rc<Vec<u8>>,
    used: usize,
    copies: u8,
    work: Work,
}

impl Sweeper {
    pub fn new(rules: Rules, tasks: Vec<Task>, sessions: Vec<u8>) -> Self {
        let (tasks, sessions) = (Rc::new(tasks), Rc::new(sessions));
        let mut sweeper = Self { rules, tasks, task: 0, sessions, used: 0, copies: 0, work: Work::Idle };
        sweeper.next_task();
        sweeper
    }

    pub fn is_waiting(&self) -> bool {
        matches!(&self.work, Work::Finish(finish, _) if finish.is_waiting())
    }

    fn next_task(&mut self) -> bool {
        let Some(task) = self.tasks.get(self.task).cloned() else { return false };
        self.task += 1;
        self.work = match task {
            Task::Condemn { part, repack } => {
                let (condemn, effect) = Condemn::begin(self.rules, part, repack, usize::MAX);
                Work::Condemn(condemn, plain(effect).expect("condemning begins with a list"))
            }
            Task::CondemnAny { part, sets } => Work::Choose(part, sets),
            Task::Finish(tidy) => {
                let (mut finish, effect) = Finish::begin(self.rules, tidy);
                match self.with_session(&mut finish, plain(effect)) {
                    Some(Ok(act)) => Work::Finish(Box::new(finish), act),
                    _ => Work::Idle,
                }
            }
        };
        true
    }

    pub fn moves(&self, actor: &Actor) -> Vec<Move> {
        match &self.work {
            Work::Idle | Work::Writing => Vec::new(),
            Work::Condemn(_, act) | Work::Finish(_, act) => {
                vec![actor.to(Kind::Sweeper(self.clone()), self.name(actor, act))]
            }
            Work::Choose(part, sets) => sets
                .iter()
                .map(|packs| {
                    let writing = Self { work: Work::Writing, ..self.clone() };
                    let act = Do::CondemnThese { part: *part, packs: packs.clone() };
                    actor.to(Kind::Sweeper(writing), act)
                })
                .collect(),
        }
    }

    fn name(&self, actor: &Actor, act: &Do) -> Do {
        match act {
            Do::Effect(Effect::Copy { session, frames }) => {
                Do::CopyInto { pack: Pack(*session, self.copies), frames: frames.clone(), from: actor.region }
            }
            other => other.clone(),
        }
    }

    pub fn reply(mut self, reply: Reply) -> Kind {
        let done = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Condemn(mut condemn, _) => match answered(condemn.step(reply), |r| condemn.step(r)) {
                Ok(act) => {
                    self.work = Work::Condemn(condemn, act);
                    return Kind::Sweeper(self);
                }
                Err(outcome) => outcome != Condemned::Failed,
            },
            Work::Finish(finish, act) => return self.reply_to_finish(*finish, &act, reply),
            _ => true,
        };
        self.go_on(done)
    }

    fn go_on(mut self, done: bool) -> Kind {
        if done && self.next_task() { Kind::Sweeper(self) } else { Kind::Over }
    }

    /// Draws a session where one is asked for; there are only so many.
    fn with_session(
        &mut self,
        finish: &mut Finish<Tiny>,
        effect: Result<Do, Finished<Tiny>>,
    ) -> Option<Result<Do, Finished<Tiny>>> {
        if effect != Ok(Do::Effect(Effect::NewSession)) {
            return Some(effect);
        }
        let session = *self.sessions.get(self.used)?;
        self.used += 1;
        Some(plain(finish.step(Reply::Session(session))))
    }

    fn reply_to_finish(mut self, mut finish: Finish<Tiny>, act: &Do, reply: Reply) -> Kind {
        if matches!(act, Do::Effect(Effect::Copy { .. })) {
            self.copies += 1;
        }
        let effect = answered(finish.step(reply), |reply| finish.step(reply));
        let Some(effect) = self.with_session(&mut finish, effect) else { return Kind::Over };
        match effect {
            Ok(act) => {
                self.work = Work::Finish(Box::new(finish), act);
                Kind::Sweeper(self)
            }
            Err(outcome) => self.go_on(matches!(outcome, Finished::Swept { .. })),
        }
    }
}

/// What is to be done next; what points need is in the logs, and asking for it is no step.
fn answered<Outcome>(
    effect: repo::protocol::Effect<Tiny, Outcome>,
    mut step: impl FnMut(Reply) -> repo::protocol::Effect<Tiny, Outcome>,
) -> Result<Do, Outcome> {
    match effect {
        repo::protocol::Effect::Mark(mark) => {
            let effect = step(Reply::Marked(Arc::new(mark.spelled_out())));
            answered(effect, step)
        }
        effect => plain(effect),
    }
}

//! Who forgets points, takes that back, and holds them.

use std::rc::Rc;

use repo::protocol::{Act, Object, Revive, Revived, Rules, Session, forget};

use super::actor::{Actor, Do, Kind, Move, plain};
use super::ids::{Effect, Reply, Tiny, entry_id};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errand {
    Forget { session: u8, point: u8 },
    Revive { session: u8, act: Act, point: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keeper {
    rules: Rules,
    errands: Rc<Vec<Errand>>,
    errand: usize,
    revive: Option<(Revive<Tiny>, Do)>,
}

impl Keeper {
    pub fn new(rules: Rules, errands: Vec<Errand>) -> Self {
        Self { rules, errands: Rc::new(errands), errand: 0, revive: None }
    }

    pub fn session(&self) -> Option<&Session<Tiny>> {
        self.revive.as_ref().map(|(revive, _)| revive.session())
    }

    pub fn moves(&self, actor: &Actor) -> Vec<Move> {
        if let Some((_, act)) = &self.revive {
            return vec![actor.to(Kind::Keeper(self.clone()), act.clone())];
        }
        match self.errands.get(self.errand) {
            None => Vec::new(),
            Some(Errand::Forget { session, point }) => {
                let entry = forget(entry_id(*session, 0), *point);
                vec![actor.to(Kind::Keeper(self.clone()), Do::Effect(Effect::Put(Object::Entry(entry))))]
            }
            Some(Errand::Revive { session, act, point }) => {
                let (revive, effect) = Revive::begin(self.rules, *session, *act, *point);
                let act = plain(effect).expect("an undo begins with an effect");
                let begun = Self { revive: Some((revive, act.clone())), ..self.clone() };
                vec![actor.to(Kind::Keeper(begun), act)]
            }
        }
    }

    pub fn reply(mut self, reply: Reply, revived: &mut u64) -> Kind {
        if let Some((mut revive, _)) = self.revive.take() {
            match plain(revive.step(reply)) {
                Ok(act) => {
                    self.revive = Some((revive, act));
                    return Kind::Keeper(self);
                }
                Err(Revived::Yes) => *revived |= self.revives(),
                Err(_) => {}
            }
        } else {
            *revived &= !self.forgets();
        }
        self.errand += 1;
        if self.errand == self.errands.len() { Kind::Over } else { Kind::Keeper(self) }
    }

    fn forgets(&self) -> u64 {
        match self.errands[self.errand] {
            Errand::Forget { point, .. } => 1 << point,
            Errand::Revive { .. } => 0,
        }
    }

    fn revives(&self) -> u64 {
        match self.errands[self.errand] {
            Errand::Revive { point, .. } => 1 << point,
            Errand::Forget { .. } => 0,
        }
    }
}

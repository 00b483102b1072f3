//! A store that fails and lies, on order or by chance, the same way for the same seed.
//!
//! The store beneath is the truth. Each call meets at most one fault: the next one ordered for its verb, else
//! one drawn by the odds. Beside faults of single calls there are two states: a partition (nobody answers)
//! and a full disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use world::{Chance, World};

use super::{Answer, Call, Layer};
use crate::{Error, Listed, ObjectKey, Store, Verb};

/// One way to fail or lie. A fault that a verb cannot have (a short body of a deletion) does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Not done, and said so: [`Error::Unavailable`].
    Before,
    /// Done, but said to have failed.
    After,
    /// A write that is not done, but said to be done.
    Lost,
    /// A write said to have failed, which is done some calls later.
    Late,
    /// A write said to be done, of which only the first half is stored.
    Torn,
    /// A body that ends early, as an error.
    Cut,
    /// A body that is shorter than it should be, said to be whole.
    Short,
    /// A body with one bit flipped.
    Flipped,
    /// Credentials are refused.
    Denied,
    /// No room.
    Full,
    /// Done after some time: up to a minute.
    Slow,
    /// A creation that overwrites what is there.
    Unconditional,
    /// A listing that omits the objects written since the last listing.
    Behind,
}

/// How often each fault happens by itself, in thousandths of the calls.
pub type Odds = BTreeMap<Fault, u32>;

/// A store that fails and lies.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    world: World,
    state: Mutex<State>,
}

struct State {
    chance: Chance,
    odds: Odds,
    orders: BTreeMap<Verb, VecDeque<Fault>>,
    partitioned: bool,
    full: bool,
    /// Written since the last listing.
    fresh: BTreeSet<ObjectKey>,
    /// Writes that are still under way, and in how many calls they arrive.
    late: Vec<(u64, ObjectKey, Option<Bytes>)>,
    met: Vec<(Verb, Fault)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("odds", &self.odds)
            .field("orders", &self.orders)
            .finish_non_exhaustive()
    }
}

impl Faulty {
    /// Puts faults around `inner`; all chance is drawn from one stream of `world`.
    pub fn new(inner: Arc<dyn Store>, odds: Odds, world: &World) -> Faulty {
        let state = State {
            chance: world.chance(),
            odds,
            orders: BTreeMap::new(),
            partitioned: false,
            full: false,
            fresh: BTreeSet::new(),
            late: Vec::new(),
            met: Vec::new(),
        };
        Faulty { inner, world: world.clone(), state: Mutex::new(state) }
    }

    /// The next call of `verb` that has no earlier order meets `fault`.
    pub fn order(&self, verb: Verb, fault: Fault) {
        self.state().orders.entry(verb).or_default().push_back(fault);
    }

    /// Changes the odds.
    pub fn set_odds(&self, odds: Odds) {
        self.state().odds = odds;
    }

    /// Cuts the place off, or connects it again.
    pub fn partition(&self, cut_off: bool) {
        self.state().partitioned = cut_off;
    }

    /// Fills the place up, or makes room again.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// The faults that calls met so far, in order.
    pub fn met(&self) -> Vec<(Verb, Fault)> {
        self.state().met.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Lets writes arrive whose time has come.
    async fn deliver(&self) -> Result<(), Error> {
        let due = self.state().due();
        for (key, bytes) in due {
            match bytes {
                Some(bytes) => self.inner.put(&key, bytes).await?,
                None => self.inner.delete(&key).await?,
            }
        }
        Ok(())
    }

    async fn pass(&self, call: Call<'_>) -> Result<Answer, Error> {
        let written = match &call {
            Call::Put(key, _) | Call::Create(key, _) => Some((*key).clone()),
            Call::List(_) => {
                self.state().fresh.clear();
                None
            }
            _ => None,
        };
        let answer = call.perform(&*self.inner).await?;
        self.state().fresh.extend(written);
        Ok(answer)
    }

    async fn write_with(&self, fault: Fault, call: Call<'_>) -> Result<Answer, Error> {
        let key = call.key().expect("a write has a key").clone();
        let bytes = match &call {
            Call::Put(_, bytes) | Call::Create(_, bytes) => Some(bytes.clone()),
            _ => None,
        };
        match (fault, bytes) {
            (Fault::Lost, _) => Ok(Answer::Done),
            (Fault::Late, bytes) => {
                let failed = self.failed(&call, "the connection broke while the request was under way");
                let mut state = self.state();
                let calls = 1 + state.chance.below(8);
                state.late.push((calls, key, bytes));
                Err(failed)
            }
            (Fault::Torn, Some(bytes)) => {
                self.inner.put(&key, bytes.slice(..bytes.len() / 2)).await.map(|()| Answer::Done)
            }
            (Fault::Unconditional, Some(bytes)) => self.inner.put(&key, bytes).await.map(|()| Answer::Done),
            _ => self.pass(call).await,
        }
    }

    async fn read_with(&self, fault: Fault, call: Call<'_>) -> Result<Answer, Error> {
        let act = call.act(self.place());
        let (bytes, size) = match self.pass(call).await? {
            Answer::Bytes(bytes) => (bytes, None),
            Answer::Tail(bytes, size) => (bytes, Some(size)),
            other => return Ok(other),
        };
        if bytes.is_empty() {
            return Ok(size.map_or(Answer::Bytes(bytes.clone()), |size| Answer::Tail(bytes, size)));
        }
        let at = self.state().chance.below(bytes.len() as u64);
        let bytes = match fault {
            Fault::Cut => {
                let (promised, detail) = (bytes.len() as u64, "the connection broke".to_owned());
                return Err(Error::CutShort { act, promised, got: at, detail });
            }
            Fault::Short => bytes.slice(..at as usize),
            _ => flipped(&bytes, at as usize),
        };
        Ok(size.map_or(Answer::Bytes(bytes.clone()), |size| Answer::Tail(bytes, size)))
    }

    async fn list_behind(&self, call: Call<'_>) -> Result<Answer, Error> {
        let fresh = std::mem::take(&mut self.state().fresh);
        Ok(match call.perform(&*self.inner).await? {
            Answer::Listing(listed) => Answer::Listing(without(listed, &fresh)),
            other => other,
        })
    }

    fn failed(&self, call: &Call<'_>, detail: &str) -> Error {
        Error::Unavailable { act: call.act(self.place()), detail: detail.to_owned() }
    }
}

#[async_trait]
impl Layer for Faulty {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        if self.state().partitioned {
            return Err(self.failed(&call, "no answer: the network is cut"));
        }
        self.deliver().await?;
        if self.state().full && matches!(call.verb(), Verb::Put | Verb::Create) {
            return Err(Error::Full {
                act: call.act(self.place()),
                detail: "the place was filled up".into(),
            });
        }
        let Some(fault) = self.state().next(call.verb()) else { return self.pass(call).await };
        match fault {
            Fault::Before => Err(self.failed(&call, "503: not now")),
            Fault::Denied => {
                Err(Error::Denied { act: call.act(self.place()), detail: "403: refused".into() })
            }
            Fault::Full => Err(Error::Full { act: call.act(self.place()), detail: "507: no room".into() }),
            Fault::After => {
                let failed = self.failed(&call, "500: said to have failed");
                self.pass(call).await.and(Err(failed))
            }
            Fault::Slow => {
                let wait = Duration::from_millis(self.state().chance.below(60_000));
                self.world.sleep(wait).await;
                self.pass(call).await
            }
            Fault::Behind => self.list_behind(call).await,
            Fault::Lost | Fault::Late | Fault::Torn | Fault::Unconditional => {
                self.write_with(fault, call).await
            }
            Fault::Cut | Fault::Short | Fault::Flipped => self.read_with(fault, call).await,
        }
    }
}

impl State {
    fn next(&mut self, verb: Verb) -> Option<Fault> {
        let ordered = self.orders.get_mut(&verb).and_then(VecDeque::pop_front);
        let fault = ordered.or_else(|| self.draw(verb))?;
        self.met.push((verb, fault));
        Some(fault)
    }

    /// One throw for all faults that `verb` can have.
    fn draw(&mut self, verb: Verb) -> Option<Fault> {
        if self.odds.is_empty() {
            return None;
        }
        let mut thrown = self.chance.below(1_000);
        for (fault, odds) in self.odds.iter().filter(|(fault, _)| fault.can_meet(verb)) {
            match thrown.checked_sub(u64::from(*odds)) {
                Some(rest) => thrown = rest,
                None => return Some(*fault),
            }
        }
        None
    }

    fn due(&mut self) -> Vec<(ObjectKey, Option<Bytes>)> {
        for (calls, ..) in &mut self.late {
            *calls -= 1;
        }
        let (due, late): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(calls, ..)| *calls == 0);
        self.late = late;
        due.into_iter().map(|(_, key, bytes)| (key, bytes)).collect()
    }
}

impl Fault {
    /// Whether the fault does anything to `verb`.
    pub fn can_meet(self, verb: Verb) -> bool {
        match self {
            Fault::Before | Fault::After | Fault::Denied | Fault::Slow => true,
            Fault::Lost | Fault::Late => verb.writes(),
            Fault::Torn | Fault::Full => matches!(verb, Verb::Put | Verb::Create),
            Fault::Cut | Fault::Short | Fault::Flipped => {
                matches!(verb, Verb::Get | Verb::GetRange | Verb::GetTail)
            }
            Fault::Unconditional => verb == Verb::Create,
            Fault::Behind => verb == Verb::List,
        }
    }
}

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes.into()
}

fn without(mut listed: Vec<Listed>, fresh: &BTreeSet<ObjectKey>) -> Vec<Listed> {
    listed.retain(|listed| !fresh.contains(&listed.key));
    listed
}

//! Explores every state that a scenario can reach, breadth first, so that what it finds is as short as
//! possible. States are kept whole and compared whole: no two are taken for one by chance.

use std::collections::HashSet;
use std::hash::Hasher;
use std::time::Instant;

use super::last::last_sweep;
use super::scenario::{LastSweep, Scenario};
use super::store::Fast;
use super::world::{Broken, State, World};

/// What an exploration came to.
pub struct Report {
    pub states: usize,
    pub transitions: u64,
    pub depth: u32,
    pub seconds: f64,
    /// What broke, after how many steps, and the steps.
    pub broken: Option<(Broken, u32, Vec<String>)>,
    pub complete: bool,
    pub sizes: String,
}

struct Visited {
    width: usize,
    states: Vec<u32>,
    parents: Vec<(u32, u8)>,
    /// Index and some bits of the hash, so that most states that differ need not be looked at.
    table: Vec<(u32, u32)>,
}

impl Visited {
    fn new(width: usize) -> Self {
        Self { width, states: Vec::new(), parents: Vec::new(), table: vec![(u32::MAX, 0); 1 << 16] }
    }

    fn len(&self) -> usize {
        self.parents.len()
    }

    fn state(&self, index: usize) -> State {
        let mut state = [u32::MAX; 14];
        state[..self.width].copy_from_slice(&self.states[index * self.width..(index + 1) * self.width]);
        state
    }

    /// Where the state is or would be, its bits, and whether it is there.
    fn slot(&self, state: &[u32]) -> (usize, u32, bool) {
        let mut hash = Fast::default();
        state.iter().for_each(|n| hash.write_u32(*n));
        let hash = hash.finish();
        let (bits, mask) = ((hash >> 32) as u32, self.table.len() - 1);
        let mut slot = hash as usize & mask;
        loop {
            let (index, known) = self.table[slot];
            if index == u32::MAX {
                return (slot, bits, false);
            }
            let at = index as usize * self.width;
            if known == bits && self.states[at..at + self.width] == *state {
                return (slot, bits, true);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn insert(&mut self, state: &State, parent: (u32, u8)) -> bool {
        let key = &state[..self.width];
        let (slot, bits, known) = self.slot(key);
        if known {
            return false;
        }
        let index = u32::try_from(self.parents.len()).expect("fewer than 2^32 states fit in memory");
        self.table[slot] = (index, bits);
        self.states.extend_from_slice(key);
        self.parents.push(parent);
        if self.parents.len() * 2 > self.table.len() {
            self.grow();
        }
        true
    }

    fn grow(&mut self) {
        self.table = vec![(u32::MAX, 0); self.table.len() * 2];
        for index in 0..self.parents.len() {
            let at = index * self.width;
            let (slot, bits, _) = self.slot(&self.states[at..at + self.width]);
            self.table[slot] = (u32::try_from(index).expect("fewer than 2^32 states fit in memory"), bits);
        }
    }

    fn path(&self, mut index: usize) -> Vec<(usize, u8)> {
        let mut path = vec![];
        while self.parents[index].0 != u32::MAX {
            path.push((index, self.parents[index].1));
            index = self.parents[index].0 as usize;
        }
        path.reverse();
        path
    }
}

/// Explores until something breaks, everything was seen, or `limit` states were.
pub fn explore(scenario: &Scenario, limit: usize) -> Report {
    let begun = Instant::now();
    let (world, first) = World::new(scenario);
    let visited = Visited::new(world.actors_at() + scenario.actors.len());
    let mut search = Search { scenario, world, visited, transitions: 0, swept: HashSet::new() };
    search.visited.insert(&first, (u32::MAX, 0));
    let (found, depth, complete) = search.run(limit);
    let broken = found.map(|(broken, index)| {
        let steps = search.steps(index);
        let count = u32::try_from(steps.len()).expect("paths are short");
        (broken, count, steps)
    });
    Report {
        states: search.visited.len(),
        transitions: search.transitions,
        depth,
        seconds: begun.elapsed().as_secs_f64(),
        broken,
        complete,
        sizes: search.world.sizes(),
    }
}

struct Search<'a> {
    scenario: &'a Scenario,
    world: World,
    visited: Visited,
    transitions: u64,
    swept: HashSet<[u32; 4]>,
}

impl Search<'_> {
    fn run(&mut self, limit: usize) -> (Option<(Broken, usize)>, u32, bool) {
        let (mut depth, mut level_end) = (0, 1);
        let mut index = 0;
        while index < self.visited.len() {
            if index == level_end {
                depth += 1;
                level_end = self.visited.len();
            }
            if self.visited.len() > limit {
                return (None, depth, false);
            }
            if let Some(found) = self.expand(index) {
                return (Some(found), depth + 1, false);
            }
            index += 1;
        }
        (None, depth, true)
    }

    fn expand(&mut self, index: usize) -> Option<(Broken, usize)> {
        let state = self.visited.state(index);
        let actors = self.scenario.actors.len();
        let parent = u32::try_from(index).expect("fewer than 2^32 states fit in memory");
        let mut moved = false;
        let mut out = Vec::new();
        for n in 0..actors {
            out.clear();
            self.world.steps(&state, n, &mut out);
            for step in &out {
                if step.state == state {
                    continue;
                }
                moved = true;
                self.transitions += 1;
                let actor = u8::try_from(n).expect("few actors");
                if !self.visited.insert(&step.state, (parent, actor)) {
                    continue;
                }
                if let Some(broken) = step.broken.or_else(|| self.world.judge(&step.state, actors)) {
                    return Some((broken, self.visited.len() - 1));
                }
            }
        }
        let rests = self.world.is_at_rest(&state, actors);
        if !moved && !rests {
            return Some((Broken::Stuck, index));
        }
        self.sweep(&state, rests).map(|broken| (broken, index))
    }

    fn sweep(&mut self, state: &State, rests: bool) -> Option<Broken> {
        let now = match self.scenario.last_sweep {
            LastSweep::Never => false,
            LastSweep::AtRest => rests,
            LastSweep::Everywhere => true,
        };
        if !now {
            return None;
        }
        let regions = u8::try_from(self.scenario.regions.len()).expect("one or two regions");
        (0..regions).find_map(|region| {
            let (numbers, region) = self.world.region(state, region);
            if self.swept.insert(numbers) { last_sweep(region()) } else { None }
        })
    }

    fn steps(&mut self, index: usize) -> Vec<String> {
        let mut before = self.visited.state(0);
        let mut texts = Vec::new();
        for (index, n) in self.visited.path(index) {
            let after = self.visited.state(index);
            texts.push(self.world.describe(&before, usize::from(n)));
            before = after;
        }
        texts
    }
}

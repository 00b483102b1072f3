//! What a sweep knows of a region: logs, then session objects, then logs once more.
//!
//! A point is needed if either list of logs keeps it or a running session relies on it; which frames it needs is asked for
//! afterwards ([`super::Mark`]). A session runs unless the first list ends it. Logs first: a session that saw a root live wrote its object before the forgetting that this fold may see. Logs
//! again: between the first list and the session objects a session may have committed and ended, and another
//! sweep may have deleted its object; then only the second list tells of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::object::{Effect, Ids, List, Reply};
use super::rules::{Rule, Rules};
use super::view::{Logs, Sessions};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage<I: Ids> {
    Logs,
    Sessions { first: Option<Arc<Logs<I>>> },
    LogsAgain,
    LogsAtLast { sessions: Arc<Sessions<I>> },
}

/// A fold under way. It keeps only what the end needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fold<I: Ids> {
    rules: Rules,
    /// Objects of sessions that are over are wanted.
    objects: bool,
    stage: Stage<I>,
    points: BTreeSet<I::Point>,
    over: BTreeSet<I::Session>,
    roots: BTreeSet<I::Point>,
    objects_over: BTreeSet<I::Session>,
    seen: Option<Arc<Logs<I>>>,
}

/// What a fold says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Folded<I: Ids> {
    /// Live points, and roots of running sessions.
    pub(crate) points: Arc<BTreeSet<I::Point>>,
    /// Sessions with objects that nobody will ask for again.
    pub(crate) objects_over: BTreeSet<I::Session>,
    /// The last list of logs.
    pub(crate) logs: Arc<Logs<I>>,
}

/// The next list, or what all lists say.
pub(crate) enum Folding<I: Ids> {
    List(List<I>),
    Folded(Folded<I>),
    Failed,
}

impl<I: Ids> Folding<I> {
    pub(crate) fn effect<Outcome>(
        self,
        folded: impl FnOnce(Option<Folded<I>>) -> Effect<I, Outcome>,
    ) -> Effect<I, Outcome> {
        match self {
            Folding::List(list) => Effect::List(list),
            Folding::Folded(fold) => folded(Some(fold)),
            Folding::Failed => folded(None),
        }
    }
}

impl<I: Ids> Fold<I> {
    /// A fold that starts with nothing; with `objects`, it also tells which sessions have objects that nobody will ask for
    /// again. `seen` is for the model: what an offset listing would build upon.
    pub(crate) fn begin(rules: Rules, objects: bool, seen: Option<Arc<Logs<I>>>) -> (Self, Folding<I>) {
        let stage =
            if rules.keep(Rule::LogsBeforeSessions) { Stage::Logs } else { Stage::Sessions { first: None } };
        let fold = Self {
            rules,
            objects,
            stage,
            points: BTreeSet::new(),
            over: BTreeSet::new(),
            roots: BTreeSet::new(),
            objects_over: BTreeSet::new(),
            seen: seen.filter(|_| !rules.keep(Rule::CompleteListing)),
        };
        let next = fold.next();
        (fold, next)
    }

    fn next(&self) -> Folding<I> {
        Folding::List(match self.stage {
            Stage::Sessions { .. } => List::Sessions,
            _ => List::Logs { after: self.seen.as_ref().and_then(|logs| logs.last().cloned()) },
        })
    }

    /// Takes the reply to the list that was asked for.
    pub(crate) fn step(&mut self, reply: Reply<I>) -> Folding<I> {
        match (self.stage.clone(), self.or_empty(reply)) {
            (Stage::Logs, Reply::Logs(logs)) => self.take_first(self.complete(logs)),
            (Stage::Sessions { first }, Reply::Sessions(sessions)) => self.take_sessions(first, sessions),
            (Stage::LogsAgain, Reply::Logs(logs)) => self.finish(self.complete(logs)),
            (Stage::LogsAtLast { sessions }, Reply::Logs(logs)) => {
                let logs = self.complete(logs);
                self.count(&logs);
                self.count_sessions(&sessions);
                self.finish(logs)
            }
            _ => Folding::Failed,
        }
    }

    fn or_empty(&self, reply: Reply<I>) -> Reply<I> {
        if reply != Reply::Failed || self.rules.keep(Rule::FailedListStops) {
            return reply;
        }
        match self.stage {
            Stage::Sessions { .. } => Reply::Sessions(Arc::default()),
            _ => Reply::Logs(Arc::default()),
        }
    }

    fn complete(&self, listed: Arc<Logs<I>>) -> Arc<Logs<I>> {
        let Some(seen) = &self.seen else { return listed };
        let mut all = (**seen).clone();
        all.merge(&listed);
        Arc::new(all)
    }

    fn take_first(&mut self, logs: Arc<Logs<I>>) -> Folding<I> {
        self.count(&logs);
        let keep = !self.rules.keep(Rule::LogsAfterSessions);
        self.stage = Stage::Sessions { first: keep.then_some(logs) };
        self.next()
    }

    fn take_sessions(&mut self, first: Option<Arc<Logs<I>>>, sessions: Arc<Sessions<I>>) -> Folding<I> {
        if !self.rules.keep(Rule::LogsBeforeSessions) {
            self.stage = Stage::LogsAtLast { sessions };
            return self.next();
        }
        self.count_sessions(&sessions);
        self.over.clear();
        match first {
            Some(logs) => self.finish(logs),
            None => {
                self.stage = Stage::LogsAgain;
                self.next()
            }
        }
    }

    fn finish(&mut self, logs: Arc<Logs<I>>) -> Folding<I> {
        self.count(&logs);
        let roots = std::mem::take(&mut self.roots);
        self.points.extend(roots.into_iter().filter(|root| logs.point(root).is_some()));
        let points = Arc::new(std::mem::take(&mut self.points));
        Folding::Folded(Folded { points, objects_over: self.objects_over.clone(), logs })
    }

    fn count(&mut self, logs: &Logs<I>) {
        let voids = !self.rules.keep(Rule::ExpiryVoidsNothing);
        for (point, committed) in logs.points() {
            if logs.is_live(point) && !(voids && logs.is_expired(&committed.entry.session)) {
                self.points.insert(point.clone());
            }
        }
        self.over.extend(logs.sessions_over());
    }

    fn count_sessions(&mut self, sessions: &Sessions<I>) {
        for (session, standing) in sessions.iter() {
            let over = self.over.contains(session);
            if self.objects && (over || !self.rules.keep(Rule::SessionObjectsUntilEnd)) {
                self.objects_over.insert(session.clone());
            }
            if !over && self.rules.keep(Rule::RootsAreNeeded) {
                self.roots.extend(standing.roots.iter().cloned());
            }
        }
    }
}

//! Keeps points from being swept while they are read.
//!
//! A guard is a session whose roots are the points. Whoever may not write there reads without one: a sweep that runs
//! meanwhile may then take what a forgotten point needs, and the guard says that it protects nothing, and why.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use format::id::PointId;
use format::seal::Signer;
use format::session::Purpose;

use crate::error::Error;
use crate::repo::Repo;
use crate::session::Session;

/// Points under protection, or why they are not.
pub struct Guard<'r> {
    state: Mutex<Result<Session<'r>, String>>,
}

impl Repo {
    /// Protects these points until the guard is ended.
    pub fn guard(&self, points: BTreeSet<PointId>) -> Guard<'_> {
        let wanted = points.len();
        let opened = self.reading_signer().and_then(|signer| {
            Session::open(self, signer, Purpose::Read, points).map_err(|error| error.to_string())
        });
        let held = opened.and_then(|mut session| {
            if session.accepted().len() == wanted {
                return Ok(session);
            }
            let _ = session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true);
            Err("what it needs is being swept already".to_owned())
        });
        Guard { state: Mutex::new(held) }
    }

    /// Who announces that something is read: this host, or the root where this host was never let in.
    fn reading_signer(&self) -> Result<Signer, String> {
        if self.only_reads() {
            return Err("this program only reads".to_owned());
        }
        self.must_have_newest_keys().map_err(|error| error.to_string())?;
        match (self.known_signer(), &self.bundle.root) {
            (Ok(Some(signer)), _) => Ok(signer),
            (_, Some(seed)) => Ok(Signer::from_seed(seed)),
            (Err(error), None) => Err(error.to_string()),
            (Ok(None), None) => Err("this host was never let in".to_owned()),
        }
    }
}

impl<'r> Guard<'r> {
    /// Shows that it is still at work, where it is time; to be called now and then.
    pub fn keep(&self) {
        let mut state = self.state();
        let renewed = match &mut *state {
            Ok(session) => session.renew_if_due(),
            Err(_) => Ok(()),
        };
        if let Err(error) = renewed {
            *state = Err(error.to_string());
        }
    }

    /// Why nothing is protected, if so.
    pub fn unprotected(&self) -> Option<String> {
        self.state().as_ref().err().cloned()
    }

    /// Says that the points are no longer read; why that could not be said, if so: sweeps then wait for this session until
    /// somebody lets it expire.
    pub fn end(self) -> Result<(), Error> {
        match self.state.into_inner().expect("no holder of this lock panics") {
            Ok(mut session) => session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true),
            Err(_) => Ok(()),
        }
    }

    /// The same, after something went wrong that is told in its place.
    pub fn leave(self) {
        let _ = self.end();
    }

    fn state(&self) -> MutexGuard<'_, Result<Session<'r>, String>> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

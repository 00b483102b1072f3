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
    ///
    /// # Errors
    /// Where the region does not answer: whatever was to be read there would meet the same.
    pub fn guard(&self, points: BTreeSet<PointId>) -> Result<Guard<'_>, Error> {
        let wanted = points.len();
        let opened = match self.reading_signer() {
            Ok(signer) => Session::open(self, signer, Purpose::Read, points),
            Err(why) => return Ok(Guard { state: Mutex::new(Err(why)) }),
        };
        let held = match opened {
            Ok(session) if session.accepted().len() == wanted => Ok(session),
            Ok(mut session) => {
                let _ = session.commit(Vec::new(), Vec::new(), BTreeSet::new(), true);
                Err("what it needs is being swept already".to_owned())
            }
            Err(error) if error.is_about_place() => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        Ok(Guard { state: Mutex::new(held) })
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

//! Who is at work in a region, and how a sweep stops waiting for one who is not.
//!
//! To let a session expire voids nothing: whoever is at work after all notices it behind the next commit, does not
//! acknowledge, and has to commit again. So a person may do it too, and a wrong clock can do no harm by it.

use std::collections::{BTreeMap, BTreeSet};

use format::fact::{Expired, Fact};
use format::id::{Hash, PointId, SessionId, WriterId};
use format::seal::Signer;
use format::session::{Purpose, Session as SessionRecord};

use crate::error::Error;
use crate::layout;
use crate::protocol;
use crate::repo::{Link, Repo, Said};
use crate::stated::Real;

/// A session of which the region has objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// Its id.
    pub session: SessionId,
    /// Whose it is.
    pub writer: WriterId,
    /// What people call that writer; empty if it was never let in.
    pub host: String,
    /// What it does.
    pub purpose: Purpose,
    /// When it was announced, by its own clock, in UTC nanoseconds.
    pub begun: i64,
    /// When it was renewed last, by its own clock, in UTC nanoseconds.
    pub renewed: i64,
    /// Points that it relies on.
    pub roots: BTreeSet<PointId>,
    /// Whether it is over; then a sweep deletes its objects.
    pub is_over: bool,
    /// Whether it was given up as silent.
    pub is_expired: bool,
}

impl Repo {
    /// All sessions that the region has objects of, the newest last.
    ///
    /// # Errors
    /// Of the region, and [`Error::Object`] where an object does not read.
    pub fn at_work(&self) -> Result<Vec<AtWork>, Error> {
        let fold = self.fold();
        let mut at_work: BTreeMap<(WriterId, SessionId), AtWork> = BTreeMap::new();
        for record in self.announced()? {
            let place = (record.writer, record.session);
            let writer = fold.writers.get(&record.writer);
            let one = at_work.entry(place).or_insert_with(|| AtWork {
                session: record.session,
                writer: record.writer,
                host: writer.map(|writer| writer.grant.name.clone()).unwrap_or_default(),
                purpose: record.purpose,
                begun: record.time.time,
                renewed: record.time.time,
                roots: BTreeSet::new(),
                is_over: fold.is_over(&place),
                is_expired: fold.expired.contains(&place),
            });
            one.begun = one.begun.min(record.time.time);
            one.renewed = one.renewed.max(record.time.time);
            one.roots.extend(&record.roots);
        }
        let mut at_work: Vec<AtWork> = at_work.into_values().collect();
        at_work.sort_by_key(|one| (one.begun, one.session));
        Ok(at_work)
    }

    /// Lets a session expire that `asked` names: its id, or an unambiguous prefix of it.
    ///
    /// # Errors
    /// [`Error::NoSession`] where none or several are meant or the one is over, [`Error::NotAllowed`] without the right to
    /// maintain.
    pub fn expire_session(&self, asked: &str) -> Result<AtWork, Error> {
        self.must_have_newest_keys()?;
        let signer = self.enrolled_signer()?;
        self.must_maintain(&signer)?;
        let running: Vec<AtWork> = self.at_work()?.into_iter().filter(|one| !one.is_over).collect();
        let meant: Vec<&AtWork> = running
            .iter()
            .filter(|one| !asked.is_empty() && one.session.to_string().starts_with(asked))
            .collect();
        let [one] = meant[..] else {
            return Err(Error::NoSession { asked: asked.to_owned(), meant: meant.len() });
        };
        self.expire(&signer, (one.writer, one.session))?;
        self.refresh()?;
        Ok(one.clone())
    }

    /// Writes that a session is given up.
    pub(crate) fn expire(
        &self,
        signer: &Signer,
        (writer, session): (WriterId, SessionId),
    ) -> Result<(), Error> {
        let mut chance = self.world.chance();
        let link = Link { session: SessionId(chance.bytes()), number: 0, previous: Hash::NONE };
        let region = self.io.region_name().to_owned();
        let said = Said { local: Some(region.clone()), ..Said::default() };
        let facts = [Fact::Expired(Expired { writer, session, region }), Fact::End];
        self.append(signer, link, &facts, said, &mut chance)?;
        Ok(())
    }

    /// Writes a session object, and sees it.
    pub(crate) fn announce(
        &self,
        signer: &Signer,
        purpose: Purpose,
        object: &protocol::SessionObject<Real>,
    ) -> Result<(), Error> {
        // Sweeps wait for sessions of the region's present life only. Whoever did not read which that is protects nothing.
        if !self.fold().regions.contains_key(self.io.region_name()) {
            self.must_be_faultless()?;
        }
        let record = SessionRecord {
            repo: self.genesis.id,
            writer: WriterId::of(&signer.public()),
            public_key: signer.public(),
            session: object.session.session,
            number: object.renewal,
            region: self.io.region_name().to_owned(),
            incarnation: self.incarnation(),
            purpose,
            roots: object.roots.iter().copied().collect(),
            covers: object.covers.iter().copied().collect(),
            time: self.logical_time(),
        };
        let key = layout::session(record.writer, record.session, record.number);
        self.io.put_seen(&key, record.seal(signer).into_bytes().into())
    }
}

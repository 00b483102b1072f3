//! Which point is meant by an id, by `latest`, or by a moment.
//!
//! Whoever asks for the newest gets the newest that can be restored, as far as that shows without reading content: clocks that
//! were ahead do not count, and a doubtful point counts only if a look into its packs finds all of it.

use std::collections::BTreeSet;

use format::id::PointId;

use crate::error::Error;
use crate::fold::{DRIFT_NS_MAX, PointRecord};
use crate::mark::Marker;
use crate::repo::Repo;

impl Repo {
    /// The point that `asked` names: a full id, an unambiguous prefix of one, or `latest`.
    pub fn find_point(&self, asked: &str, source: Option<&str>) -> Result<PointRecord, Error> {
        self.must_read()?;
        let fold = self.fold();
        let live = fold.live(source);
        if asked == "latest" {
            self.must_know_newest()?;
            let newest = self.newest_whole(source, self.world.now_ns().saturating_add(DRIFT_NS_MAX))?;
            let none = match source {
                _ if live.is_empty() && source.is_none() => "yet: nothing was backed up here".to_owned(),
                Some(source) => format!("of {source} yet"),
                None => "that is believable: all are of a time to come".to_owned(),
            };
            return newest.ok_or_else(|| self.no_point(none));
        }
        let found: Vec<&&PointRecord> =
            live.iter().filter(|p| p.point.id.to_string().starts_with(asked) && !asked.is_empty()).collect();
        match found[..] {
            [] => Err(self.no_point(asked.to_owned())),
            [one] => Ok((*one).clone()),
            _ => {
                let candidates = found.iter().map(|p| p.point.id).collect();
                Err(Error::Ambiguous { asked: asked.to_owned(), candidates })
            }
        }
    }

    /// The newest point of `source` that is not after `at` (UTC nanoseconds), by the same rule as `latest`.
    pub fn point_at(&self, source: Option<&str>, at: i64) -> Result<PointRecord, Error> {
        self.must_read()?;
        self.must_know_newest()?;
        let fold = self.fold();
        let oldest =
            || fold.live(source).iter().map(|p| &p.point).min_by_key(|point| point.as_of).map(|p| p.id);
        let none = || {
            oldest().map_or_else(|| "yet".to_owned(), |id| format!("that is so old: the oldest is {id:.12}"))
        };
        self.newest_whole(source, at)?.ok_or_else(|| self.no_point(none()))
    }

    /// The newest point by [`Fold::newest`], past doubtful ones of which something was swept; if all are such, the newest.
    fn newest_whole(&self, source: Option<&str>, at: i64) -> Result<Option<PointRecord>, Error> {
        let (fold, mut lacking) = (self.fold(), BTreeSet::new());
        while let Some(newest) = fold.newest(source, at, &lacking) {
            if self.has_all(newest)? {
                return Ok(Some(newest.clone()));
            }
            lacking.insert(newest.point.id);
        }
        Ok(fold.newest(source, at, &BTreeSet::new()).cloned())
    }

    /// A point of this one's source that is newer, not after `at`, and was passed by for this one, as parts of it are gone.
    pub fn passed_by(&self, chosen: &PointRecord, at: i64) -> Option<PointId> {
        let (fold, region) = (self.fold(), self.io.region_name());
        let ahead = fold.ahead();
        let was_passed = |p: &&PointRecord| {
            let is_newer = p.point.as_of > chosen.point.as_of && p.point.as_of <= at;
            is_newer && !ahead.contains(&p.point.id) && fold.is_doubtful(p, region)
        };
        fold.live(Some(&chosen.point.source)).into_iter().rfind(was_passed).map(|p| p.point.id)
    }

    /// Whether nothing of the point was swept; packs are looked into only where that is in doubt.
    fn has_all(&self, record: &PointRecord) -> Result<bool, Error> {
        if !self.fold().is_doubtful(record, self.io.region_name()) || self.bundle.newest().catalog.is_none() {
            return Ok(true);
        }
        match Marker::new(self).mark(&BTreeSet::from([record.point.id])) {
            Ok(_) => Ok(true),
            Err(Error::Unmarked { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// There is no such point; or there may have been, where some of the history is lost.
    fn no_point(&self, asked: String) -> Error {
        match self.history_damage().len() {
            0 => Error::NoPoint { asked },
            faults => Error::LostPoint { asked, faults },
        }
    }
}

#[cfg(test)]
mod tests {
    use format::fact::{Expired, Fact};
    use format::id::{Hash, SessionId, WriterId};

    use crate::fold::made::{point, point_id};
    use crate::repo::{Link, Said};
    use crate::trial::Place;

    #[test]
    fn the_newest_is_passed_by_and_told_only_if_its_session_was_given_up_and_parts_of_it_are_gone() {
        let place = Place::new();
        let host = place.host("host");
        let signer = host.enrolled_signer().unwrap();
        let writer = WriterId::of(&signer.public());
        let state = |session: u8, facts: &[Fact]| {
            let link = Link { session: SessionId([session; 16]), number: 0, previous: Hash::NONE };
            host.append(&signer, link, facts, Said::default(), &mut place.world.chance()).unwrap();
            host.refresh().unwrap();
        };
        state(1, &[point(1, "a"), Fact::End]);
        state(2, &[point(2, "a")]);
        let latest = || host.find_point("latest", Some("a")).unwrap();
        assert_eq!(latest().point.id, point_id(2), "nobody looks into packs without a doubt");
        assert_eq!(host.passed_by(&latest(), i64::MAX), None);
        let region = host.io.region_name().to_owned();
        state(3, &[Fact::Expired(Expired { writer, session: SessionId([2; 16]), region }), Fact::End]);
        assert_eq!(latest().point.id, point_id(1), "its packs are not there");
        assert_eq!(host.passed_by(&latest(), i64::MAX), Some(point_id(2)));
        assert_eq!(host.point_at(Some("a"), 2).unwrap().point.id, point_id(1));
        assert_eq!(host.passed_by(&latest(), 1), None, "it was not asked for");
    }
}

//! What a restore would cost, without writing anything.

use std::collections::{BTreeMap, BTreeSet};

use format::id::PackId;
use format::meta::Kind;
use format::reference::{FrameId, Reference};
use format::tree::{Entry, content_parts};
use repo::{Reader, Repo};
use source::directory::Target;

use super::{Include, Nodes, Request, is_damage};
use crate::budget::{GAP_BYTES, RANGE_BYTES};
use crate::error::{Error, Problem};

/// Bytes read to see how fast the region answers: a piece of a pack that the restore needs anyway.
const SAMPLE_BYTES: u64 = 4 << 20;

/// What a restore would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Regular files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes to fetch from the region for content.
    pub fetch_bytes: u64,
    /// Requests for content and directories.
    pub requests: u64,
    /// Expected seconds to fetch, from the rate at which a sample came just now; `None` if nothing is to be fetched.
    pub seconds: Option<f64>,
    /// What would not come back.
    pub problems: Vec<Problem>,
}

/// Says what a restore would do.
pub fn plan(repo: &Repo, request: &Request) -> Result<Plan, Error> {
    let include = Include::new(&request.include)?;
    let reader = Reader::new(repo)?;
    let mut plan = Plan::default();
    if let Some(onto) = Target::check(&request.into, request.existing)? {
        super::onto::check(&reader, request, &include, &onto)?;
    }
    let (mut frames, mut links, mut wanted) = (BTreeSet::new(), BTreeSet::new(), false);
    for entry in include.walk(&reader, request.point.point.root) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_damage(&error) => {
                let path = format::path::TreePath::root();
                plan.problems.push(Problem { path, what: error.to_string(), damaged: true });
                continue;
            }
            Err(error) => return Err(error),
        };
        if !include.matches(&entry.path) {
            continue;
        }
        wanted = true;
        if entry.meta.kind != Kind::File || !is_first_name(&entry, &mut links) {
            continue;
        }
        plan.files += 1;
        plan.bytes = plan.bytes.saturating_add(entry.meta.size);
        for extent in content_parts(Nodes(&reader), &entry) {
            let found = extent.and_then(|extent| match extent.chunk {
                Some(reference) => Ok(Some(place(&reader, reference)?)),
                None => Ok(None),
            });
            match found {
                Ok(frame) => frames.extend(frame),
                Err(error) if is_damage(&error) => {
                    let (path, what) = (entry.path.clone(), error.to_string());
                    plan.problems.push(Problem { path, what, damaged: true });
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    if !wanted && plan.problems.is_empty() {
        return Err(super::nothing_matches(request));
    }
    add_costs(&reader, &frames, &mut plan);
    plan.seconds = sample(repo, &reader, &frames).map(|rate| plan.fetch_bytes as f64 / rate);
    Ok(plan)
}

/// Further names of a file cost nothing.
fn is_first_name(entry: &Entry, links: &mut BTreeSet<u64>) -> bool {
    entry.meta.link.is_none_or(|link| links.insert(link))
}

/// The frame that a chunk would be read from: its own, or that of its substitute.
fn place(reader: &Reader<'_>, reference: Reference) -> Result<FrameId, Error> {
    let error = match reader.locate(reference.frame()) {
        Ok(_) => return Ok(reference.frame()),
        Err(error) => error,
    };
    let instead = reader.substitutes(&reference).into_iter().map(|instead| instead.frame());
    instead.into_iter().find(|frame| reader.locate(*frame).is_ok()).ok_or(error.into())
}

fn add_costs(reader: &Reader<'_>, frames: &BTreeSet<FrameId>, plan: &mut Plan) {
    let mut ends: BTreeMap<PackId, std::ops::Range<u64>> = BTreeMap::new();
    for id in frames {
        let Ok((pack, frame)) = reader.locate(*id) else { continue };
        let range = pack.range(&frame);
        match ends.get_mut(&id.pack) {
            Some(last)
                if range.start <= last.end.saturating_add(GAP_BYTES)
                    && range.end.saturating_sub(last.start) <= RANGE_BYTES =>
            {
                plan.fetch_bytes += range.end.saturating_sub(last.end.min(range.end));
                last.end = last.end.max(range.end);
            }
            _ => {
                plan.requests += 1;
                plan.fetch_bytes += range.end - range.start;
                ends.insert(id.pack, range);
            }
        }
    }
    plan.requests += ends.len() as u64;
}

/// Bytes per second at which a piece of a needed pack comes now.
fn sample(repo: &Repo, reader: &Reader<'_>, frames: &BTreeSet<FrameId>) -> Option<f64> {
    let pack = reader.pack(frames.first()?.pack).ok()?;
    let bytes = pack.size.min(SAMPLE_BYTES);
    let begun = repo.world().monotonic();
    repo.io().get_range(&pack.key, 0..bytes).ok()?;
    let seconds = repo.world().monotonic().saturating_sub(begun).as_secs_f64();
    (seconds > 0.0).then(|| bytes as f64 / seconds)
}

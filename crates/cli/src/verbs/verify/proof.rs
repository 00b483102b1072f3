//! `verify --level L3`: a point is brought back under a scratch place, looked at there, and removed again.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use engine::Problem;
use engine::prove::{Proof, clear, prove};
use format::id::hex;
use repo::verify::{Level, Verdict, Verifier};
use repo::{PointRecord, Repo};
use source::directory::Ownership;

use crate::context::{Context, cores};
use crate::error::Error;
use crate::show;

/// Where points are brought back to.
pub(super) struct Scratch {
    under: PathBuf,
    /// Whether somebody named the place, and knows what room it has.
    is_named: bool,
}

impl Scratch {
    /// The place that was named, or the usual one for large things that need not last.
    pub(super) fn of(named: Option<PathBuf>) -> Scratch {
        let is_named = named.is_some();
        let usual = || std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
        Scratch { under: named.unwrap_or_else(usual), is_named }
    }

    /// Brings the point back and writes down what that showed. Beside the verdict: what did not come back as it was. Where that is
    /// all, it may be for this place or user, and no more than L2 is written down.
    pub(super) fn verify(
        &self,
        context: &Context,
        repo: &Repo,
        verifier: &mut Verifier<'_>,
        point: &PointRecord,
    ) -> Result<(Verdict, Vec<String>), Error> {
        self.check_room(point)?;
        // Modes and owners of the point must not open what was private to others on this machine.
        let outer = self.under.join(format!("seawall-proof-{}", hex(&context.world.chance().bytes::<8>())));
        let made = DirBuilder::new().mode(0o700).create(&outer);
        made.map_err(Error::local("make the folder", &outer))?;
        let proof = bring_back(repo, point, &outer.join("point"));
        let cleared = clear(repo, point, &outer);
        if let Err(error) = cleared {
            context.out.warning(format!("{error}: it holds what was restored; remove it by hand"));
        }
        let Proof { lost, different, bytes, .. } = proof?;
        let mut shown = Verdict { bytes, ..Verdict::default() };
        lost.iter().map(sentence).for_each(|what| shown.tell(what));
        let different: Vec<String> = different.iter().map(sentence).collect();
        let is_proven = !shown.problems.is_empty() || different.is_empty();
        let verdict =
            if is_proven { verifier.prove(point, shown) } else { verifier.verify(point, Level::L2) };
        Ok((verdict?, different))
    }

    /// Nobody's disk is filled up unasked.
    fn check_room(&self, point: &PointRecord) -> Result<(), Error> {
        if !self.under.is_dir() {
            let missing = self.under.display();
            return Err(Error::Request(format!("{missing} is no directory: name one with --scratch DIR")));
        }
        let told = rustix::fs::statvfs(&self.under)
            .map_err(|errno| Error::local("look at the room in", &self.under)(errno.into()))?;
        let (free, takes) = (told.f_bavail.saturating_mul(told.f_frsize), point.point.sizes.bytes_logical);
        if self.is_named || takes < free {
            return Ok(());
        }
        Err(Error::Request(format!(
            "point {} takes up to {}, and {} has room for {}: name another place with --scratch DIR",
            show::short(point.point.id),
            show::size(takes),
            self.under.display(),
            show::size(free)
        )))
    }
}

fn bring_back(repo: &Repo, point: &PointRecord, scratch: &Path) -> Result<Proof, engine::Error> {
    let is_root = rustix::process::geteuid().is_root();
    let ownership = if is_root { Ownership::ByNumber } else { Ownership::Mine };
    prove(repo, point, scratch, ownership, cores())
}

fn sentence(problem: &Problem) -> String {
    format!("{}: {}", show::path(&problem.path), problem.what)
}

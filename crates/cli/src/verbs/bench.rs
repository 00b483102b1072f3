//! `bench`: measures what this machine and a place can do, and leaves nothing behind.
//!
//! What was typed becomes folders that are made here and removed here, whatever happens in between; the measuring itself
//! is the engine's. With one core means with one: the whole of it, walking, waiting and writing included, is bound to one.

mod site;
mod tell;

use engine::bench::{Data, Source, Stages, Whole, prepare, probe, stages, whole};

use crate::context::{Context, cores};
use crate::error::{Error, Outcome};
use crate::settings;
use site::Site;

/// What is measured with unless it was said otherwise, in bytes: half a minute for two usual cores.
const SIZE_USUAL: u64 = 1 << 30;

/// The least of it: below, starting and stopping are most of what is measured.
const SIZE_LEAST: u64 = 64 << 20;

/// Of a place that is slow so many seconds of storing are measured with, unless it was said otherwise.
const STORE_SECONDS: f64 = 5.0;

/// Measure what this machine and a place can do
///
/// Makes a repository that nobody needs, backs data up into it and restores it, compares, and removes everything again;
/// no other repository and no key is touched. Without --to all of it lies in the system's folder for temporary files
/// (TMPDIR). There is room needed for three times the data. Each stage is also measured alone, on one core, with what
/// backups use; `store` and `fetch` with as many requests at once as those make. The limit of a whole run is what its
/// stages allow: the number of cores by the seconds of a core that a byte costs in all of them, or less if the place is
/// slower. What is not compressed or stored counts in no stage that it does not reach. MB are 10^6 bytes. Exits with 3 if
/// something came back other than it was.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Store at this place: an existing directory, s3://, gs:// or az://. Everything is made below a new name in it
    #[arg(long, value_name = "WHERE")]
    to: Option<std::ffi::OsString>,
    /// How much data, such as 500M or 2GiB [default: 1GiB, less where there is less room or the place is slow]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: Option<u64>,
    /// random, text (lines of a log), or the files of this directory, as many as fit into the size
    #[arg(long, value_name = "random|text|DIR", default_value = "random")]
    data: std::ffi::OsString,
}

/// What was measured.
struct Measured {
    source: Source,
    stages: Stages,
    /// With all cores.
    all: Whole,
    /// With one, where there are more.
    one: Option<Whole>,
}

impl Bench {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let data = self.data()?;
        context.stops_in_order();
        let site = Site::make(context, self.to.as_deref())?;
        let measured = self.measure(context, &site, &data);
        context.finish();
        let left = site.clear(context);
        let said = match measured {
            Ok(measured) => tell::tell(context, &site, &data, &measured)?,
            Err(Error::Engine(engine::Error::Stopped)) if left.is_ok() => return Err(Error::Cleared),
            Err(error) => {
                left.err().iter().for_each(|left| context.out.warning(left));
                return Err(error);
            }
        };
        Ok(match left {
            Ok(()) => said,
            Err(left) => {
                context.out.warning(left);
                said.and(Outcome::Failed)
            }
        })
    }

    fn data(&self) -> Result<Data, Error> {
        match self.data.to_str() {
            Some("random") => Ok(Data::Random),
            Some("text") => Ok(Data::Text),
            _ if std::path::Path::new(&self.data).is_dir() => Ok(Data::Directory(self.data.clone().into())),
            _ => {
                let shown = self.data.display();
                Err(Error::Request(format!(
                    "--data is random, text or a directory, and {shown} is none of them"
                )))
            }
        }
    }

    fn measure(&self, context: &Context, site: &Site, data: &Data) -> Result<Measured, Error> {
        let (all, source) = self.with_all_cores(context, site, data)?;
        let (source, stages, all) = (source, all.0, all.1);
        site.clear_place(context, site::ALL)?;
        let one = match all.cores {
            1 => None,
            _ => on_one_core(|| {
                let repo = context.make_passing(&site.place(site::ONE), &site.state(site::ONE))?;
                Ok(whole(&repo, &source, &site.folder("restored"), 1)?)
            })?,
        };
        Ok(Measured { source, stages, all, one })
    }

    /// The place is asked before data is made for it, so one that refuses does so at once.
    fn with_all_cores(
        &self,
        context: &Context,
        site: &Site,
        data: &Data,
    ) -> Result<((Stages, Whole), Source), Error> {
        let free = site.room_for()?;
        if let Some(asked) = self.size.filter(|asked| *asked > free.bytes) {
            return Err(free.refuse(asked));
        }
        let repo = context.make_passing(&site.place(site::ALL), &site.state(site::ALL))?;
        let fast = probe(&repo)?.store * STORE_SECONDS;
        let usual = SIZE_USUAL.min((fast as u64).max(SIZE_LEAST)).min(free.bytes);
        if usual < SIZE_LEAST && self.size.is_none() {
            return Err(free.refuse(SIZE_LEAST));
        }
        let source = prepare(&context.world, data, self.size.unwrap_or(usual), &site.folder("source"))?;
        let all = whole(&repo, &source, &site.folder("restored"), cores())?;
        let stages = stages(&repo, &source, &site.folder("restored"))?;
        Ok(((stages, all), source))
    }
}

/// Does `act` on a thread that is bound to one core, as are all that it starts. Nothing where the system does not allow it.
fn on_one_core<T: Send>(act: impl FnOnce() -> Result<T, Error> + Send) -> Result<Option<T>, Error> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let bind = || {
        let may = sched_getaffinity(None).ok()?;
        let core = (0..CpuSet::MAX_CPU).rev().find(|core| may.is_set(*core))?;
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).ok()
    };
    std::thread::scope(|threads| {
        let bound = threads.spawn(|| bind().map(|()| act()).transpose());
        bound.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn size(typed: &str) -> Result<u64, String> {
    settings::bytes(typed).map_err(|error| error.to_string())
}

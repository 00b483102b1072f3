//! `backup`: makes a point, and says how to get it back.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;
use engine::backup::{Hooks, LeftOut, Map, MapReport, Preview, Report, Request, What, backup, preview};
use format::compress::Effort;
use format::fact::{PointKind, Sizes};
use format::path::TreePath;
use repo::Repo;
use serde_json::{Value, json};
use source::directory::{Excludes, Images, Marks, Selection};

use crate::context::{Context, cores, host};
use crate::error::{Error, Outcome};
use crate::{settings, show, time, verbs};

/// What has no names to leave out.
const STREAMS: [&str; 2] = ["stdin", "command"];

/// Make a recovery point
///
/// Of paths, of standard input, or of what a command prints. What could not be read is named, the rest is kept, and the
/// exit code is 2. What options leave out is counted, each name with all below it as one; -v names it. A path that was asked
/// for is never left out.
#[derive(clap::Args)]
pub(crate) struct Backup {
    /// What to keep: directories and files; of a block device that is named, the content
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the point is called by [default: host:path]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// What it is compared with [default: incremental where a point exists, else full]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Leave out names that match: at any depth, or with a slash the whole path; with a slash at its end directories only
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leave out what files of this name say, such as .gitignore, each for its directory and below, as git reads them; of
    /// several in one directory the one named last has the last word
    #[arg(long, value_name = "NAME", conflicts_with_all = STREAMS)]
    exclude_ignore: Vec<OsString>,
    /// Keep directories with a CACHEDIR.TAG without the rest of their content
    #[arg(long, conflicts_with_all = STREAMS)]
    exclude_caches: bool,
    /// Keep directories that hold this name without the rest of their content
    #[arg(long, value_name = "NAME", conflicts_with_all = STREAMS)]
    exclude_if_present: Vec<OsString>,
    /// Leave out files that are longer, such as 10M or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = STREAMS)]
    exclude_larger_than: Option<u64>,
    /// Keep directories empty where another file system begins
    #[arg(long)]
    one_file_system: bool,
    /// Cut each PATH in blocks of 64 KiB, as block devices are: a regular file that is a disk or a database
    #[arg(long, conflicts_with_all = STREAMS)]
    image: bool,
    /// Read only what this file says has changed in the one PATH, an image: a range a line, OFFSET LENGTH in bytes; all
    /// else is taken from the point before
    #[arg(long, value_name = "FILE", conflicts_with_all = STREAMS, conflicts_with = "dry_run")]
    map: Option<PathBuf>,
    /// The point that --map is relative to [default: the newest of the source]
    #[arg(long, value_name = "POINT", requires = "map")]
    map_since: Option<String>,
    /// Run this by `sh -c` first, such as to make a snapshot; if it fails there is no point, and nothing else is run
    #[arg(long, value_name = "CMD")]
    before: Option<OsString>,
    /// Run this by `sh -c` in the end, also when the backup failed or was interrupted, unless --before failed
    #[arg(long, value_name = "CMD")]
    after: Option<OsString>,
    /// A label for the point
    #[arg(long, value_name = "K=V", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Keep standard input under this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["command", "paths", "words"])]
    stdin: Option<OsString>,
    /// Keep what the command after -- prints under this name; there is no point if it fails
    #[arg(long, value_name = "NAME", requires = "words", conflicts_with = "paths")]
    command: Option<OsString>,
    /// Read this share of the files that seem unchanged all the same, others each time, for changes that left no trace
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent, conflicts_with_all = STREAMS)]
    read_again: f64,
    /// Only say what would be kept and read
    #[arg(long)]
    dry_run: bool,
    /// Exit with 2 also if files changed while they were read
    #[arg(long)]
    strict: bool,
    /// fast, default (harder while uploads are slower than the cores), best, or a zstd level from -7 to 22
    #[arg(long, value_name = "LEVEL", default_value = "default", value_parser = effort, allow_negative_numbers = true)]
    compression: Effort,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    words: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Read everything, and use again only what was verified
    Full,
    /// Compare with the newest point
    Incremental,
    /// Compare with the newest full point
    Differential,
}

impl Kind {
    fn meant(self) -> PointKind {
        match self {
            Kind::Full => PointKind::Full,
            Kind::Incremental => PointKind::Incremental,
            Kind::Differential => PointKind::Differential,
        }
    }
}

pub(super) fn tag(typed: &str) -> Result<(String, String), String> {
    match typed.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a tag is KEY=VALUE".to_owned()),
    }
}

fn size(typed: &str) -> Result<u64, String> {
    settings::bytes(typed).map_err(|error| error.to_string())
}

fn percent(typed: &str) -> Result<f64, String> {
    let percent = typed.trim_end_matches('%').parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "a share is 0 to 100".to_owned())
}

fn effort(typed: &str) -> Result<Effort, String> {
    let level = match typed {
        "default" => return Ok(Effort::Standard),
        "fast" => Some(1),
        "best" => Some(12),
        number => number.parse().ok(),
    };
    level
        .filter(|level| (-7..=22).contains(level))
        .map(Effort::Level)
        .ok_or_else(|| "fast, default, best or -7 to 22".to_owned())
}

impl Backup {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let (dry_run, strict, map_since) = (self.dry_run, self.strict, self.map_since.clone());
        let mut request = self.request()?;
        if let What::Paths(selection) = &mut request.what {
            selection.never = context.own_folders()?;
        }
        if dry_run {
            let repo = context.open()?;
            let found = preview(&repo, &request)?;
            context.finish();
            return tell_preview(context, &request.source, &found);
        }
        let repo = context.open_or_make()?;
        let source = request.source.clone();
        if let (Some(map), Some(since)) = (&mut request.map, map_since) {
            map.since = Some(repo.find_point(&since, Some(&source))?.point.id);
        }
        context.stops_in_order();
        let report = backup(&repo, request)?;
        context.finish();
        tell(context, &repo, &source, &report)?;
        let missed =
            !report.problems.is_empty() || report.after.is_some() || (strict && !report.changed.is_empty());
        // The point is whole, but whoever waits for an exit code hears that the history is not.
        Ok(if missed { Outcome::Incomplete } else { verbs::of_history(&repo) })
    }

    fn request(self) -> Result<Request, Error> {
        let (kind, tags, effort) = (self.kind.map(Kind::meant), self.tag.clone(), self.compression);
        let (typed, read_again) = (self.source.clone(), self.read_again);
        let map = self.map.clone().map(|file| Map { file, since: None });
        let hooks = Hooks { before: self.before.clone(), after: self.after.clone() };
        let (usual, what) = self.what()?;
        if let (Some(_), What::Paths(selection)) = (&map, &what)
            && selection.roots.len() != 1
        {
            return Err(Error::Request("a map is of one image, so name one PATH with --map".to_owned()));
        }
        let source = typed.unwrap_or(usual);
        if source.is_empty() {
            return Err(Error::Request("a source has a name".to_owned()));
        }
        let program = concat!("seawall ", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Request { source, what, kind, map, hooks, tags, effort, program, cores: cores(), read_again })
    }

    /// What is to be kept, and the name that its source has if none was given.
    fn what(self) -> Result<(String, What), Error> {
        if let Some(name) = &self.stdin {
            return Ok((named(name), What::Stdin(content_path(name)?)));
        }
        if let Some(name) = &self.command {
            return Ok((named(name), What::Command(content_path(name)?, self.words)));
        }
        let bytes = |names: Vec<OsString>| names.into_iter().map(OsString::into_vec).collect();
        let marks = Marks {
            ignore_files: bytes(self.exclude_ignore),
            caches: self.exclude_caches,
            if_present: bytes(self.exclude_if_present),
            larger_than: self.exclude_larger_than,
        };
        let roots: Vec<PathBuf> =
            self.paths.into_iter().chain(self.words.into_iter().map(PathBuf::from)).collect();
        if roots.is_empty() {
            return Err(Error::Request(
                "say what to keep: a path, --stdin NAME, or --command NAME -- CMD".to_owned(),
            ));
        }
        let mut names = roots.iter().map(|root| absolute(root)).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        let names: Vec<String> = names.iter().map(|name| show::bytes(name.as_os_str().as_bytes())).collect();
        let excludes = Excludes::new(&self.exclude, &self.exclude_file)?.marked(marks)?;
        let one_file_system = self.one_file_system;
        let images = if self.image || self.map.is_some() { Images::All } else { Images::Devices };
        let selection = Selection { roots, excludes, one_file_system, never: Vec::new(), images };
        Ok((format!("{}:{}", host(), names.join(",")), What::Paths(Box::new(selection))))
    }
}

fn named(name: &OsStr) -> String {
    format!("{}:{}", host(), show::bytes(name.as_bytes()))
}

fn content_path(name: &OsStr) -> Result<TreePath, Error> {
    let path = verbs::tree_path(name)?;
    if path.is_root() { Err(Error::Request("the content needs a name".to_owned())) } else { Ok(path) }
}

/// The whole path, so that a source has one name wherever it is backed up from.
fn absolute(root: &Path) -> Result<PathBuf, Error> {
    let found = |error| Error::local("find", root)(error);
    if root.components().any(|part| part == Component::ParentDir) {
        return root.canonicalize().map_err(found);
    }
    Ok(std::path::absolute(root).map_err(found)?.components().collect())
}

fn tell(context: &Context, repo: &Repo, source: &str, report: &Report) -> Result<(), Error> {
    let out = &context.out;
    report.notices.iter().for_each(|notice| out.warning(notice));
    if let Some(warning) = report.map.and_then(wrong_map) {
        out.warning(warning);
    }
    if let Some(failed) = &report.after {
        out.warning(format!(
            "{failed}. The point is kept; what that command should have put right is still to be done"
        ));
    }
    for problem in &report.problems {
        out.warning(format!("not kept: {}: {}", show::path(&problem.path), problem.what));
    }
    report
        .changed
        .iter()
        .for_each(|path| out.warning(format!("changed while it was read: {}", show::path(path))));
    for path in &report.betrayed {
        let path = show::path(path);
        out.warning(format!(
            "changed though its size, times and number are the same, kept as it is now: {path}"
        ));
    }
    if !report.betrayed.is_empty() {
        out.warning(
            "others may have changed unseen as well: the disk, or a clock that was put back, may be at fault. \
             `seawall backup` with `--kind full` reads everything",
        );
    }
    report.skipped.iter().for_each(|path| out.detail(format!("left out: {}", show::path(path))));
    name_left_out(context, &report.left_out);
    let flags = context.shown_flags();
    out.summary("backup/1", document(repo, source, report), |out| {
        let Sizes { files, directories, bytes_logical, bytes_new, bytes_stored, .. } = report.sizes;
        let (point, kind) = (show::short(report.point), report.kind.name());
        let on = report.basis.map_or_else(String::new, |basis| format!(" on {}", show::short(basis)));
        let seconds = report.time.as_secs_f64();
        writeln!(out, "point {point} of {}: {kind}{on}", show::bytes(source.as_bytes()))?;
        writeln!(
            out,
            "{} in {}, {}; new {}, stored {}; {}",
            show::count(files, "file"),
            show::count(directories, "directory"),
            show::size(bytes_logical),
            show::size(bytes_new),
            show::size(bytes_stored),
            time::duration(seconds),
        )?;
        if let Some(map) = report.map.filter(|map| map.wrong_at.is_none()) {
            writeln!(out, "{}", map_line(&map, report.read_bytes))?;
        }
        if !report.problems.is_empty() {
            writeln!(out, "{} not kept, named above", show::count(report.problems.len() as u64, "item"))?;
        }
        if report.left_out.count > 0 {
            writeln!(out, "{}", left_out(&report.left_out, context.out.verbose))?;
        }
        match repo.can_read() {
            true => writeln!(out, "get it back: seawall restore {point} --into DIR{flags}"),
            false => writeln!(out, "get it back, with a key that reads: seawall restore {point} --into DIR"),
        }
    })
}

fn wrong_map(map: MapReport) -> Option<String> {
    let at = map.wrong_at?;
    Some(format!(
        "the map is wrong: a block at {at} has changed since point {} and is not in it. Nothing was taken from that point: \
         everything was read, and this point is right. Points made with maps before may hold old blocks; do not use maps from \
         there until you know why",
        show::short(map.since)
    ))
}

fn map_line(map: &MapReport, read_bytes: u64) -> String {
    format!(
        "changed by the map since {}: {}; read {}, of it {} to check the map",
        show::short(map.since),
        show::size(map.changed_bytes),
        show::size(read_bytes),
        show::count(map.compared_blocks, "block"),
    )
}

/// Names what options left out, for those who asked to hear more.
fn name_left_out(context: &Context, left_out: &LeftOut) {
    for name in &left_out.named {
        context.out.detail(format!("left out: {}: {}", show::path(&name.path), name.reason.text()));
    }
    let others = left_out.count.saturating_sub(left_out.named.len() as u64);
    if others > 0 {
        context.out.detail(format!("left out: {others} names more"));
    }
}

fn left_out(left_out: &LeftOut, verbose: bool) -> String {
    let names = show::count(left_out.count, "name");
    let where_named = if verbose { "named above" } else { "-v names them" };
    format!("{names} left out as asked, with all below; {where_named}")
}

fn document(repo: &Repo, source: &str, report: &Report) -> Value {
    json!({
        "point": report.point.to_string(),
        "source": source,
        "kind": report.kind.name(),
        "basis": report.basis.map(|basis| basis.to_string()),
        "as_of": time::rfc3339(report.as_of),
        "files": report.sizes.files,
        "directories": report.sizes.directories,
        "others": report.sizes.others,
        "bytes_logical": report.sizes.bytes_logical,
        "bytes_new": report.sizes.bytes_new,
        "bytes_stored": report.sizes.bytes_stored,
        "seconds": report.time.as_secs_f64(),
        "bytes_read": report.read_bytes,
        "map": report.map.map(|map| json!({
            "since": map.since.to_string(),
            "bytes_changed": map.changed_bytes,
            "blocks_compared": map.compared_blocks,
            "wrong_at": map.wrong_at,
        })),
        "after": report.after.as_ref().map(ToString::to_string),
        "problems": show::problems(&report.problems),
        "changed": show::paths(&report.changed),
        "changed_unseen": show::paths(&report.betrayed),
        "skipped": show::paths(&report.skipped),
        "left_out": report.left_out.count,
        "regions": { repo.io().region_name(): "durable" },
    })
}

fn tell_preview(context: &Context, source: &str, found: &Preview) -> Result<Outcome, Error> {
    for problem in &found.problems {
        context.out.warning(format!("would not be kept: {}: {}", show::path(&problem.path), problem.what));
    }
    name_left_out(context, &found.left_out);
    let Sizes { files, directories, bytes_logical, bytes_new, .. } = found.sizes;
    let body = json!({
        "dry_run": true,
        "source": source,
        "files": files,
        "directories": directories,
        "bytes_logical": bytes_logical,
        "bytes_to_read": bytes_new,
        "left_out": found.left_out.count,
        "problems": show::problems(&found.problems),
    });
    context.out.result("backup/1", body, |out| {
        let (all, read) = (show::size(bytes_logical), show::size(bytes_new));
        writeln!(
            out,
            "a point of {source} would hold {}, {all}; {read} would be read",
            show::count(files, "file")
        )?;
        match found.left_out.count {
            0 => Ok(()),
            _ => writeln!(out, "{}", left_out(&found.left_out, context.out.verbose)),
        }
    })?;
    Ok(if found.problems.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_name_however_its_path_is_typed() {
        let here = std::env::current_dir().unwrap();
        for typed in [".", "./", "src/..", here.to_str().unwrap()] {
            assert_eq!(absolute(Path::new(typed)).unwrap(), here, "{typed}");
        }
    }

    #[test]
    fn compression_is_a_word_or_a_level() {
        assert_eq!(effort("default"), Ok(Effort::Standard));
        for (typed, level) in [("fast", 1), ("best", 12), ("-7", -7), ("3", 3), ("22", 22)] {
            assert_eq!(effort(typed), Ok(Effort::Level(level)), "{typed}");
        }
        for bad in ["23", "-8", "quick", ""] {
            assert!(effort(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_has_a_key() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(tag("=b").is_err() && tag("a").is_err());
    }
}

//! `ls`: what a point holds.

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use engine::look::Look;
use format::meta::{Kind, Meta};
use format::path::TreePath;
use format::tree::Entry;
use serde_json::{Value, json};
use world::{Remedied, Remedy};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

/// List what a point holds
#[derive(clap::Args)]
pub(crate) struct Ls {
    /// An id, the first digits of one, or `latest`
    point: String,
    /// Only this path and what lies below it
    path: Option<OsString>,
    /// How many levels below the path [default: all]
    #[arg(short, long, value_name = "LEVELS")]
    depth: Option<usize>,
    /// The source, for `latest`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl Ls {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let point = verbs::choose(context, &repo, &self.point, self.source.as_deref())?;
        let under = self.path.as_deref().map_or(Ok(TreePath::root()), verbs::tree_path)?;
        let id = point.point.id;
        let look = Look::new(&repo, point)?;
        if !under.is_root() {
            look.entry(&under)?;
        }
        let most = self.depth.map_or(usize::MAX, |depth| under.components().count().saturating_add(depth));
        let entries = look.entries_to(&under, most);
        let mut outcome = Outcome::Done;
        // What a damaged part of the tree held is named; the rest is listed all the same.
        let whole = entries.filter_map(|entry| match entry {
            Err(error) if error.remedy() == Remedy::Repair => {
                context.out.warning(format!("part of it is not listed: {error}"));
                outcome = Outcome::Damaged;
                None
            }
            entry => Some(entry),
        });
        if context.out.json {
            let entries =
                whole.map(|entry| entry.map(|e| document(&e))).collect::<Result<Vec<Value>, _>>()?;
            let body = json!({ "point": id.to_string(), "entries": entries });
            context.out.result("ls/1", body, |_| Ok(()))?;
            return Ok(outcome);
        }
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for entry in whole {
            line(&mut out, &entry?).map_err(Error::Output)?;
        }
        out.flush().map_err(Error::Output)?;
        Ok(outcome)
    }
}

fn line(out: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    let meta = &entry.meta;
    let owner = |name: &Option<Arc<[u8]>>, id: u32| name.as_ref().map_or(id.to_string(), |n| show::bytes(n));
    let (user, group) = (owner(&meta.user, meta.uid), owner(&meta.group, meta.gid));
    let (mode, size) = (mode_text(meta), meta.size);
    let (when, path) = (time::local_file_time(meta.mtime), show::path(&entry.path));
    write!(out, "{mode} {user:<8} {group:<8} {size:>12} {when} {path}")?;
    match meta.kind {
        Kind::Symlink => writeln!(out, " -> {}", show::bytes(&meta.target)),
        _ => writeln!(out),
    }
}

/// `drwxr-xr-x`
fn mode_text(meta: &Meta) -> String {
    let kind = match meta.kind {
        Kind::Directory => 'd',
        Kind::File => '-',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    };
    let mut text = String::from(kind);
    let special = [(0o4000, 's', 'S'), (0o2000, 's', 'S'), (0o1000, 't', 'T')];
    for (shift, (bit, with, without)) in [6, 3, 0].into_iter().zip(special) {
        let bits = meta.mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (meta.mode & bit != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// An entry for scripts.
pub(crate) fn document(entry: &Entry) -> Value {
    let meta = &entry.meta;
    let name = |name: &Option<Arc<[u8]>>| name.as_ref().map(|n| String::from_utf8_lossy(n).into_owned());
    let mut fields = show::path_fields(entry.path.as_bytes());
    let rest = json!({
        "type": kind_name(meta.kind),
        "mode": format!("{:04o}", meta.mode),
        "uid": meta.uid,
        "gid": meta.gid,
        "user": name(&meta.user),
        "group": name(&meta.group),
        "size": meta.size,
        "mtime": time::rfc3339_file_time(meta.mtime),
        "link": meta.link,
    });
    if let Value::Object(rest) = rest {
        fields.extend(rest);
    }
    if meta.kind == Kind::Symlink {
        fields.extend(show::text_fields("target", &meta.target));
    }
    if matches!(meta.kind, Kind::CharDevice | Kind::BlockDevice) {
        fields.insert("device".to_owned(), meta.device.into());
    }
    Value::Object(fields)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_look_as_everywhere() {
        let rows = [
            (Kind::Directory, 0o755, "drwxr-xr-x"),
            (Kind::File, 0o4711, "-rws--x--x"),
            (Kind::File, 0o2644, "-rw-r-Sr--"),
            (Kind::Directory, 0o1777, "drwxrwxrwt"),
            (Kind::Symlink, 0o777, "lrwxrwxrwx"),
            (Kind::File, 0, "----------"),
        ];
        for (kind, mode, expected) in rows {
            assert_eq!(mode_text(&Meta { mode, ..Meta::new(kind) }), expected);
        }
    }
}

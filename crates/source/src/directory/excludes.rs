//! Names to leave out. A pattern without a slash is for names at any depth; one with a slash is for the whole
//! path below the root of the point (`*` stops at slashes, `**` does not), or, where it starts with a slash, for the
//! whole path on this machine; one that ends in a slash is for directories only.
//!
//! What is left out is left out with everything below it. A path that was asked for by name is never left
//! out.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::path::TreePath;
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use super::marks::Marks;
use crate::error::{Error, printable};

/// Compiled patterns; empty by default.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    any: Rules,
    directories: Rules,
    /// Where the root of the point lies on this machine, without the first slash; several where links lead there.
    tops: Vec<Box<[u8]>>,
    pub(super) marks: Marks,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    names: GlobSet,
    paths: GlobSet,
    absolute: GlobSet,
}

struct Draft {
    names: GlobSetBuilder,
    paths: GlobSetBuilder,
    absolute: GlobSetBuilder,
}

impl Excludes {
    /// Compiles `globs` and the lines of `files`, where blank lines and lines that start with `#` say
    /// nothing.
    pub fn new(globs: &[String], files: &[PathBuf]) -> Result<Excludes, Error> {
        let mut any = Draft::new();
        let mut directories = Draft::new();
        let mut add = |glob: &str| match glob.strip_suffix('/') {
            Some(rest) => directories.add(glob, rest),
            None => any.add(glob, glob),
        };
        globs.iter().try_for_each(|glob| add(glob))?;
        for file in files {
            let text = std::fs::read_to_string(file).map_err(|why| Error::ExcludeFile {
                path: printable(file.as_os_str().as_encoded_bytes()),
                why,
            })?;
            text.lines().filter(|line| says_something(line)).try_for_each(&mut add)?;
        }
        let (any, directories) = (any.build()?, directories.build()?);
        Ok(Excludes { any, directories, ..Excludes::default() })
    }

    /// The same, and what the tree itself marks.
    pub fn marked(self, marks: Marks) -> Result<Excludes, Error> {
        marks.check()?;
        Ok(Excludes { marks, ..self })
    }

    /// The same for a point whose root lies at one of `tops`.
    pub(super) fn below<'p>(&self, tops: impl IntoIterator<Item = &'p Path>) -> Excludes {
        let named = tops.into_iter().filter_map(|top| top.as_os_str().as_bytes().strip_prefix(b"/"));
        let mut tops: Vec<Box<[u8]>> = named.filter(|top| !top.is_empty()).map(Into::into).collect();
        tops.dedup();
        Excludes { tops, ..self.clone() }
    }

    /// Whether `path` is left out whatever it is.
    pub(super) fn cover(&self, path: &TreePath) -> bool {
        self.any.cover(path, &self.tops)
    }

    /// Whether `path`, a directory, is left out.
    pub(super) fn cover_directory(&self, path: &TreePath) -> bool {
        self.directories.cover(path, &self.tops)
    }
}

impl Rules {
    fn cover(&self, path: &TreePath, tops: &[Box<[u8]>]) -> bool {
        let covers = |globs: &GlobSet, bytes: &[u8]| {
            !globs.is_empty() && globs.is_match_candidate(&Candidate::from_bytes(bytes))
        };
        covers(&self.names, path.name().unwrap_or_default())
            || covers(&self.paths, path.as_bytes())
            || (!self.absolute.is_empty()
                && tops.iter().any(|top| covers(&self.absolute, &[top, path.as_bytes()].join(&b'/'))))
    }
}

impl Draft {
    fn new() -> Draft {
        Draft { names: GlobSetBuilder::new(), paths: GlobSetBuilder::new(), absolute: GlobSetBuilder::new() }
    }

    fn add(&mut self, typed: &str, glob: &str) -> Result<(), Error> {
        let bad = |why: String| Error::Glob { glob: typed.to_owned(), why };
        if typed.starts_with('!') {
            return Err(bad(
                "a pattern cannot bring something back; for a name that starts with `!` write `[!]`".into(),
            ));
        }
        let anchored = glob.strip_prefix("./").or(glob.strip_prefix('/')).unwrap_or(glob);
        if anchored.is_empty() {
            return Err(bad("it names nothing".into()));
        }
        let built = GlobBuilder::new(anchored).literal_separator(true).build();
        let built = built.map_err(|error| bad(error.kind().to_string()))?;
        let set = if glob.contains('/') { &mut self.paths } else { &mut self.names };
        set.add(built.clone());
        if glob.starts_with('/') {
            self.absolute.add(built);
        }
        Ok(())
    }

    fn build(&self) -> Result<Rules, Error> {
        let bad = |error: globset::Error| Error::Glob {
            glob: error.glob().unwrap_or_default().to_owned(),
            why: error.kind().to_string(),
        };
        Ok(Rules {
            names: self.names.build().map_err(bad)?,
            paths: self.paths.build().map_err(bad)?,
            absolute: self.absolute.build().map_err(bad)?,
        })
    }
}

fn says_something(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(glob: &str, path: &[u8]) -> (bool, bool) {
        let excludes = Excludes::new(&[glob.to_owned()], &[]).expect("a glob");
        let path = TreePath::new(path).expect("a path");
        (excludes.cover(&path), excludes.cover_directory(&path))
    }

    #[test]
    fn patterns_cover_names_paths_or_directories() {
        let rows: [(&str, &[u8], (bool, bool)); 13] = [
            ("*.tmp", b"a/b/x.tmp", (true, false)),
            ("*.tmp", b"a/x.tmp/y", (false, false)),
            ("cache", b"a/cache", (true, false)),
            ("/cache", b"a/cache", (false, false)),
            ("/cache", b"cache", (true, false)),
            ("./cache", b"cache", (true, false)),
            ("a/*/c", b"a/b/c", (true, false)),
            ("a/*/c", b"a/b/b/c", (false, false)),
            ("**/b/c", b"a/b/c", (true, false)),
            ("a/**", b"a/b/c", (true, false)),
            ("node_modules/", b"x/node_modules", (false, true)),
            ("x/build/", b"x/build", (false, true)),
            ("caf\u{e9}*", b"caf\xc3\xa9\xff", (true, false)),
        ];
        for (glob, path, expected) in rows {
            assert_eq!(left_out(glob, path), expected, "{glob} on {}", printable(path));
        }
    }

    #[test]
    fn a_pattern_from_the_top_of_the_machine_is_for_the_path_as_it_is_typed_there() {
        let excludes = Excludes::new(&["/srv/data/cache".to_owned(), "/srv/*/tmp/".to_owned()], &[]);
        let excludes = excludes.expect("globs").below([Path::new("/mnt/disk"), Path::new("/srv/data")]);
        let path = |bytes: &[u8]| TreePath::new(bytes).expect("a path");
        assert!(excludes.cover(&path(b"cache")) && excludes.cover_directory(&path(b"tmp")));
        assert!(!excludes.cover(&path(b"sub/cache")) && !excludes.cover(&path(b"srv/data")));
        assert!(
            excludes.below([Path::new("/")]).cover(&path(b"srv/data/cache")),
            "from the root they are one"
        );
    }

    #[test]
    fn a_pattern_that_cannot_mean_what_it_says_is_refused() {
        for glob in ["!keep", "", "/", "a[", "{a"] {
            assert!(matches!(Excludes::new(&[glob.to_owned()], &[]), Err(Error::Glob { .. })), "{glob}");
        }
    }

    #[test]
    fn a_file_of_patterns_has_comments_and_blank_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("list");
        std::fs::write(&file, "# what we can make again\n\n*.o\r\ntarget/\n").expect("written");
        let excludes = Excludes::new(&[], std::slice::from_ref(&file)).expect("patterns");
        let path = |bytes: &[u8]| TreePath::new(bytes).expect("a path");
        assert!(excludes.cover(&path(b"x/y.o")) && excludes.cover_directory(&path(b"target")));
        assert!(!excludes.cover(&path(b"# what we can make again")));
        std::fs::write(&file, "!x").expect("written");
        assert!(Excludes::new(&[], std::slice::from_ref(&file)).is_err());
        assert!(matches!(Excludes::new(&[], &[file.join("no")]), Err(Error::ExcludeFile { .. })));
    }
}

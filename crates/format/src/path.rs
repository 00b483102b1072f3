//! Names inside a point: raw bytes, separated by `/`, in an order that keeps each folder together.
//!
//! A path is relative, has no empty, `.` or `..` component and no NUL byte; whatever breaks this is refused where it
//! is made, so no later code has to ask again. The empty path is the root. The order is by bytes with the separator
//! lowest, which is the order of a walk that visits names sorted by bytes and goes down at once.

use std::cmp::Ordering;
use std::fmt;

/// Longest path that is kept, in bytes. Linux names end at 255 bytes; depth is bounded by this alone.
pub const PATH_BYTES_MAX: usize = 64 << 10;

/// Longest single name, in bytes (Linux `NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// A relative path of raw bytes; the empty one is the root of a point.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Box<[u8]>);

/// Why bytes are no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// A component is empty, `.` or `..`, or the path starts or ends with the separator.
    #[error("a path component is empty, `.` or `..`")]
    Component,
    /// A component holds a NUL byte.
    #[error("a path component holds a NUL byte")]
    Nul,
    /// A component is longer than [`NAME_BYTES_MAX`].
    #[error("a path component is longer than {NAME_BYTES_MAX} bytes")]
    LongName,
    /// The path is longer than [`PATH_BYTES_MAX`].
    #[error("a path is longer than {PATH_BYTES_MAX} bytes")]
    LongPath,
}

impl TreePath {
    /// The root of a point.
    pub fn root() -> TreePath {
        TreePath::default()
    }

    /// Takes `bytes` as a path, or says why they are none.
    pub fn new(bytes: &[u8]) -> Result<TreePath, BadPath> {
        if bytes.is_empty() {
            return Ok(TreePath::root());
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(BadPath::LongPath);
        }
        bytes.split(|&b| b == b'/').try_for_each(check_name)?;
        Ok(TreePath(bytes.into()))
    }

    /// This path with one more component.
    pub fn join(&self, name: &[u8]) -> Result<TreePath, BadPath> {
        check_name(name)?;
        let mut bytes = Vec::with_capacity(self.0.len().saturating_add(name.len()).saturating_add(1));
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if bytes.len() > PATH_BYTES_MAX {
            return Err(BadPath::LongPath);
        }
        Ok(TreePath(bytes.into()))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root of a point.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the top.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The folder that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<TreePath> {
        let name = self.name()?;
        let end = self.0.len().saturating_sub(name.len()).saturating_sub(1);
        Some(TreePath(self.0.get(..end).unwrap_or_default().into()))
    }

    /// Whether this is `other` or lies below it.
    pub fn starts_with(&self, other: &TreePath) -> bool {
        other.is_root()
            || self
                .0
                .strip_prefix(other.as_bytes())
                .is_some_and(|rest| rest.first().is_none_or(|&b| b == b'/'))
    }
}

fn check_name(name: &[u8]) -> Result<(), BadPath> {
    match name {
        b"" | b"." | b".." => Err(BadPath::Component),
        name if name.len() > NAME_BYTES_MAX => Err(BadPath::LongName),
        name if name.contains(&0) => Err(BadPath::Nul),
        name if name.contains(&b'/') => Err(BadPath::Component),
        _ => Ok(()),
    }
}

/// Byte order with the separator lowest.
impl Ord for TreePath {
    fn cmp(&self, other: &TreePath) -> Ordering {
        let differ = self.0.iter().zip(other.0.iter()).find(|(a, b)| a != b);
        match differ {
            Some((b'/', _)) => Ordering::Less,
            Some((_, b'/')) => Ordering::Greater,
            Some((a, b)) => a.cmp(b),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &TreePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Readable, with bytes that are not UTF-8 and control characters escaped; never a line break.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                if c.is_control() || c == '\\' {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            part.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> TreePath {
        TreePath::new(bytes).expect("a path")
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let walk: [&[u8]; 7] = [b"", b"a", b"a/b", b"a/b/c", b"a b", b"a-b", b"ab"];
        let paths: Vec<TreePath> = walk.iter().map(|p| path(p)).collect();
        assert!(paths.is_sorted(), "{paths:?}");
    }

    #[test]
    fn what_could_lead_out_is_no_path() {
        for bad in [&b".."[..], b"a/../b", b"/a", b"a/", b"a//b", b".", b"a/.", b"a\0b"] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(TreePath::new(&[b'x'; 256]), Err(BadPath::LongName));
        assert!(path(b"a").join(b"..").is_err() && path(b"a").join(b"b/c").is_err());
    }

    #[test]
    fn parents_names_and_prefixes() {
        let deep = path(b"a/b/c");
        assert_eq!((deep.name(), deep.parent()), (Some(&b"c"[..]), Some(path(b"a/b"))));
        assert_eq!(path(b"a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert!(deep.starts_with(&path(b"a/b")) && !path(b"ab").starts_with(&path(b"a")));
    }

    #[test]
    fn any_name_is_printed_on_one_line() {
        assert_eq!(path(b"a\nb\xff").to_string(), "a\\nb\\xff");
    }
}

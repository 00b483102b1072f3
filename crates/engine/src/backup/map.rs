//! Maps of changed ranges: what somebody outside knows to have changed in an image since a point.
//!
//! A map is text, so that whatever tracks the changes can be turned into one by a line of shell. It is believed as far as a
//! sample of the rest agrees with it; see [`super::image`].

use std::ops::Range;
use std::path::{Path, PathBuf};

use format::genesis::IMAGE_BLOCK_BYTES;
use format::id::PointId;

use crate::error::Error;

/// Bytes of a block of an image.
pub(super) const BLOCK: u64 = IMAGE_BLOCK_BYTES as u64;

/// One block in so many of those that did not change is read all the same, another one each time.
const SAMPLE_ONE_IN: u64 = 100;

/// The longest map: ten million ranges.
const MAP_BYTES_MAX: u64 = 256 << 20;

/// What changed in an image since a point.
#[derive(Debug)]
pub struct Map {
    /// The file that says it. It is read when the backup begins, after a command that may write it.
    pub file: PathBuf,
    /// The point; the newest of the source if none is named.
    pub since: Option<PointId>,
}

/// What came of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapReport {
    /// The point that it is relative to.
    pub since: PointId,
    /// Bytes that it says have changed, in whole blocks, with what the image grew by.
    pub changed_bytes: u64,
    /// Blocks that it says have not changed and that were compared all the same.
    pub compared_blocks: u64,
    /// The first block that had changed although the map says that it had not; then everything was read.
    pub wrong_at: Option<u64>,
}

/// Ranges of bytes, each with the line that names it.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(usize, Range<u64>)>);

impl Ranges {
    /// Reads a map, which is a regular file: a pipe that nobody fills would be waited for.
    pub(super) fn read(file: &Path) -> Result<Ranges, Error> {
        let refused =
            |why: &dyn std::fmt::Display| Error::Request(format!("read the map {}: {why}", file.display()));
        let about = std::fs::metadata(file).map_err(|error| refused(&error))?;
        if !about.is_file() || about.len() > MAP_BYTES_MAX {
            return Err(refused(&"it is no regular file of at most 256 MiB"));
        }
        let bytes = std::fs::read(file).map_err(|error| refused(&error))?;
        Ranges::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Reads lines of `OFFSET LENGTH`, in bytes, decimal or hexadecimal with `0x`. What follows `#` is a comment.
    fn parse(text: &str) -> Result<Ranges, Error> {
        let mut ranges = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let bad = |why: &str| Error::Map { line: index.saturating_add(1), why: why.to_owned() };
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (offset, length) = match words[..] {
                [] => continue,
                [offset, length] => (number(offset), number(length)),
                _ => return Err(bad("it is not OFFSET LENGTH")),
            };
            let (Some(offset), Some(length)) = (offset, length) else {
                return Err(bad("OFFSET and LENGTH are numbers of bytes, decimal or 0x and hexadecimal"));
            };
            let end = offset.checked_add(length).ok_or_else(|| bad("it ends beyond what can be counted"))?;
            if length > 0 {
                ranges.push((index.saturating_add(1), offset..end));
            }
        }
        Ok(Ranges(ranges))
    }

    /// Whole blocks of an image of `size` bytes, in order. A range that ends behind it is refused.
    pub(super) fn blocks(&self, size: u64) -> Result<Vec<Range<u64>>, Error> {
        if let Some((line, range)) = self.0.iter().find(|(_, range)| range.end > size) {
            let why = format!("it ends at {}, and the image has {size} bytes", range.end);
            return Err(Error::Map { line: *line, why });
        }
        Ok(widened(self.0.iter().map(|(_, range)| range.clone()), size))
    }
}

fn number(typed: &str) -> Option<u64> {
    let digits = |text: &str| text.bytes().next().is_some_and(|first| first.is_ascii_hexdigit());
    match typed.strip_prefix("0x").or(typed.strip_prefix("0X")) {
        Some(hex) if digits(hex) => u64::from_str_radix(hex, 16).ok(),
        None if digits(typed) => typed.parse().ok(),
        _ => None,
    }
}

/// The blocks that `ranges` touch, in order, as ranges that do not touch each other.
pub(super) fn widened(ranges: impl Iterator<Item = Range<u64>>, size: u64) -> Vec<Range<u64>> {
    let wide = |range: Range<u64>| {
        let end = range.end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX).min(size);
        range.start.saturating_sub(range.start % BLOCK)..end
    };
    let mut all: Vec<Range<u64>> = ranges.map(wide).filter(|range| range.start < range.end).collect();
    all.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(all.len());
    for range in all {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// `range` in pieces, each with whether it lies in one of `ranges`, which are in order and do not touch.
pub(super) fn split(range: Range<u64>, ranges: &[Range<u64>]) -> Vec<(Range<u64>, bool)> {
    let first = ranges.partition_point(|one| one.end <= range.start);
    let (mut at, mut pieces) = (range.start, Vec::new());
    for one in ranges.get(first..).unwrap_or_default() {
        if at >= range.end || one.start >= range.end {
            break;
        }
        if one.start > at {
            pieces.push((at..one.start, false));
        }
        at = one.end.min(range.end);
        pieces.push((one.start.max(range.start)..at, true));
    }
    if at < range.end {
        pieces.push((at..range.end, false));
    }
    pieces
}

/// Which blocks are compared in a run.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    one_in: u64,
    turn: u64,
}

impl Sample {
    /// Of an image of `size` bytes in the run of this number: in as many runs as one block stands for, all have had their
    /// turn. Of a small image it is one block.
    pub(super) fn of(size: u64, run: u64) -> Sample {
        let one_in = size.div_ceil(BLOCK).clamp(1, SAMPLE_ONE_IN);
        Sample { one_in, turn: run.checked_rem(one_in).unwrap_or(0) }
    }

    /// Where the chosen blocks in `range` begin, which begins with a block.
    pub(super) fn within(self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let first = range.start.div_ceil(BLOCK);
        let wait =
            self.turn.saturating_add(self.one_in).saturating_sub(first.checked_rem(self.one_in).unwrap_or(0));
        let first = first.saturating_add(wait.checked_rem(self.one_in).unwrap_or(0));
        let step = usize::try_from(self.one_in.saturating_mul(BLOCK)).unwrap_or(usize::MAX);
        (first.saturating_mul(BLOCK)..range.end).step_by(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_offsets_and_lengths() {
        let text = "# a map\n0 1\n\n 0x20000\t0x10 # one\n65536 0\n196607 2\n";
        let ranges = Ranges::parse(text).unwrap();
        assert_eq!(ranges.blocks(1 << 20).unwrap(), [0..BLOCK, 2 * BLOCK..4 * BLOCK]);
        assert_eq!(Ranges::parse("").unwrap().blocks(5).unwrap(), []);
        assert_eq!(Ranges::parse("0 5").unwrap().blocks(5).unwrap(), std::slice::from_ref(&(0..5)));
    }

    #[test]
    fn a_line_that_cannot_be_read_or_leads_outside_is_named() {
        for bad in ["1", "1 2 3", "-1 2", "+1 2", "1 x", "0x 1", "1,2", "18446744073709551615 1", "1 0x-2"] {
            let error = Ranges::parse(&format!("0 1\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
        let error = Ranges::parse("0 1\n100 1").unwrap().blocks(100).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("100 bytes"), "{error}");
    }

    #[test]
    fn a_range_falls_into_pieces_inside_and_outside_of_others() {
        let ranges = [10..20, 30..40];
        assert_eq!(
            split(0..50, &ranges),
            [(0..10, false), (10..20, true), (20..30, false), (30..40, true), (40..50, false)]
        );
        assert_eq!(split(12..15, &ranges), [(12..15, true)]);
        assert_eq!(split(15..35, &ranges), [(15..20, true), (20..30, false), (30..35, true)]);
        assert_eq!(split(20..30, &ranges), [(20..30, false)]);
        assert_eq!(split(0..50, &[]), [(0..50, false)]);
    }

    #[test]
    fn after_a_hundred_runs_every_block_was_compared_once() {
        for blocks in [1, 7, 99, 100, 101, 1234] {
            let size = blocks * BLOCK - 1;
            let runs = blocks.min(100);
            let mut seen: Vec<u64> =
                (0..runs).flat_map(|run| Sample::of(size, run).within(0..size)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..blocks).map(|block| block * BLOCK).collect::<Vec<_>>(), "{blocks} blocks");
            let parts = |run| {
                Sample::of(size, run)
                    .within(0..3 * BLOCK.min(size))
                    .chain(Sample::of(size, run).within(3 * BLOCK..size))
            };
            let whole: Vec<u64> = (0..runs).flat_map(parts).collect();
            assert!(blocks < 3 || whole.len() == seen.len(), "a range may be looked at in parts");
        }
    }
}

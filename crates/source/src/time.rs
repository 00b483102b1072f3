//! File times from and to nanoseconds.

use format::meta::FileTime;

const SECOND: i64 = 1_000_000_000;

/// UTC nanoseconds since 1970 as a file's time.
pub(crate) fn file_time(ns: i64) -> FileTime {
    let nanos = u32::try_from(ns.rem_euclid(SECOND)).expect("a remainder of a second fits");
    FileTime { seconds: ns.div_euclid(SECOND), nanos }
}

/// Nanoseconds since 1970; a file's time may lie further away than 64 bits of them.
pub(crate) fn nanoseconds(time: FileTime) -> i128 {
    i128::from(time.seconds) * i128::from(SECOND) + i128::from(time.nanos)
}

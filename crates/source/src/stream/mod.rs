//! Streams: standard input, and what a command prints. One entry, read once from its start to its end.

mod scan;

pub use scan::Stream;

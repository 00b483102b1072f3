//! What chunk sizes cost and save on real data: the table of `docs/decisions/0003-cutter.md`.
//!
//! `cargo bench -p benches --bench cutter_sizes -- OLD NEW` cuts the paths in order, each file by itself (a folder is
//! all its files, in order of name), and counts, for each choice of sizes, what deduplication leaves of the first path
//! and what the others add to it.

#![allow(clippy::print_stdout, reason = "a measurement prints its table")]

use fastcdc::v2020::{FastCDC, Normalization};
use format::cutter::{Cutter, Sizes, Stream};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// In the index a chunk takes an entry of 32 bytes, and 9 bits of a filter.
const INDEX_BITS: usize = 32 * 8 + 9;

enum Way {
    Ours(Cutter),
    Peer(Sizes),
    Fixed(usize),
}

fn kib(min: u32, normal: u32, max: u32) -> Sizes {
    Sizes::new(min << 10, normal << 10, max << 10).expect("powers of two in order")
}

impl Way {
    fn all() -> Vec<Way> {
        let ours = [
            kib(16, 64, 256),
            kib(16, 64, 512),
            kib(16, 64, 1024),
            kib(32, 64, 256),
            kib(32, 128, 512),
            kib(64, 256, 1024),
        ];
        let peer = [kib(16, 64, 256), kib(32, 64, 256), kib(32, 128, 512), kib(64, 256, 1024)];
        let ours = ours.map(|sizes| Way::Ours(Cutter::new(&[7; 32], sizes)));
        ours.into_iter()
            .chain(peer.map(Way::Peer))
            .chain([64, 128, 256].map(|kib| Way::Fixed(kib << 10)))
            .collect()
    }

    fn name(&self) -> String {
        let name = |who, sizes: Sizes| {
            format!("{who} {}/{}/{}", sizes.min() >> 10, sizes.normal() >> 10, sizes.max() >> 10)
        };
        match self {
            Way::Ours(cutter) => name("ours", cutter.sizes()),
            Way::Peer(sizes) => name("fastcdc", *sizes),
            Way::Fixed(len) => format!("fixed {}", len >> 10),
        }
    }

    fn cut<'a>(&'a self, data: &'a [u8]) -> Box<dyn Iterator<Item = &'a [u8]> + 'a> {
        match self {
            Way::Ours(cutter) => {
                let mut rest = data;
                Box::new(std::iter::from_fn(move || {
                    let chunk;
                    (chunk, rest) = rest.split_at(cutter.next_cut(rest, Stream::EndsHere)?);
                    Some(chunk)
                }))
            }
            Way::Peer(sizes) => {
                let (min, normal, max) = (sizes.min(), sizes.normal(), sizes.max());
                let chunks = FastCDC::with_level(data, min, normal, max, Normalization::Level2);
                Box::new(chunks.map(|chunk| &data[chunk.offset..chunk.offset + chunk.length]))
            }
            Way::Fixed(len) => Box::new(data.chunks(*len)),
        }
    }
}

#[derive(Default)]
struct Count {
    seen: HashSet<[u8; 32]>,
    bytes: usize,
    unique_bytes: usize,
    first_bytes: usize,
    chunks: usize,
}

impl Count {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len();
        self.chunks += 1;
        if self.seen.insert(*blake3::hash(chunk).as_bytes()) {
            self.unique_bytes += chunk.len();
        }
    }

    fn row(&self, name: &str) -> String {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        format!(
            "{name:20} {:10.1} {:10.1} {:10.1} {:9} {:9.1} {:9} {:9.2}",
            mib(self.bytes),
            mib(self.first_bytes),
            mib(self.unique_bytes - self.first_bytes),
            self.chunks,
            self.bytes as f64 / self.chunks.max(1) as f64 / 1024.0,
            self.seen.len(),
            mib(self.seen.len() * INDEX_BITS / 8),
        )
    }
}

fn files(path: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_file() {
        into.push(path.to_owned());
    } else if kind.is_dir() {
        let mut names = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        names.iter().try_for_each(|name| files(name, into))?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let ways = Way::all();
    let mut counts: Vec<Count> = ways.iter().map(|_| Count::default()).collect();
    // Cargo and who runs all benches add options of their own.
    let is_path = |argument: &std::ffi::OsString| !argument.as_encoded_bytes().starts_with(b"--");
    let arguments = std::env::args_os().skip(1).filter(is_path);
    for (index, argument) in arguments.enumerate() {
        let mut paths = Vec::new();
        files(Path::new(&argument), &mut paths)?;
        for path in &paths {
            let data = fs::read(path)?;
            for (way, count) in ways.iter().zip(&mut counts) {
                way.cut(&data).for_each(|chunk| count.add(chunk));
            }
        }
        if index == 0 {
            counts.iter_mut().for_each(|count| count.first_bytes = count.unique_bytes);
        }
    }
    println!(
        "{:20} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "KiB", "MiB", "first MiB", "added MiB", "chunks", "mean KiB", "unique", "index MiB"
    );
    for (way, count) in ways.iter().zip(&counts) {
        println!("{}", count.row(&way.name()));
    }
    Ok(())
}

//! The codec of a frame: zstd where it pays, the bytes themselves where it does not.
//!
//! Contexts are kept and used again, one pair per worker. Output is bounded by the raw length that the directory
//! states, so a hostile frame cannot grow.

use zstd::zstd_safe::{CParameter, Strategy};

use crate::cbor::Malformed;
use crate::limit::FRAME_BYTES_MAX;

/// How a frame's bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// Its number in the format.
    pub fn number(self) -> u8 {
        match self {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        }
    }

    /// The codec of this number.
    pub fn from_number(number: u8) -> Result<Codec, Malformed> {
        match number {
            0 => Ok(Codec::Raw),
            1 => Ok(Codec::Zstd),
            _ => Err(Malformed::new("a frame", format!("codec {number} is not known"))),
        }
    }
}

/// How hard frames are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// About what zstd's level 3 gives, in less time: of two methods the one that pays for what is being compressed. Harder
    /// while the cores would wait otherwise; see [`Compressor::set_patience`].
    Standard,
    /// A zstd level (negative: faster and larger).
    Level(i32),
}

/// After so many frames all methods are tried on one.
const TRIAL_EVERY: u32 = 32;

/// Shorter frames are no trial: there are few of them, and they say little.
const TRIAL_BYTES_MIN: usize = 128 << 10;

/// The thorough method must save at least this share of what the quick one gives: one in that many.
const THOROUGH_SAVES: usize = 40;

/// What the thorough method does: two hash tables of 256 KiB, where zstd's level 3 has one of 512 KiB beside one of 256.
const THOROUGH: [CParameter; 5] = [
    CParameter::CompressionLevel(3),
    CParameter::Strategy(Strategy::ZSTD_dfast),
    CParameter::HashLog(16),
    CParameter::ChainLog(16),
    CParameter::MinMatch(5),
];

/// What the quick method does: one large hash table.
const QUICK: [CParameter; 4] = [
    CParameter::CompressionLevel(3),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::HashLog(17),
    CParameter::MinMatch(6),
];

/// zstd's levels for cores that wait for the uplink, each 1 to 10 % smaller and a third to a half slower than the one before.
const PATIENT: [i32; 4] = [5, 6, 8, 12];

/// The most that [`Compressor::set_patience`] knows.
pub const PATIENCE_MAX: usize = PATIENT.len();

/// Compresses frames, one after another.
pub struct Compressor {
    /// One method, or the quick and the thorough one.
    methods: Vec<Method>,
    /// Which of them is used.
    chosen: usize,
    frames: u32,
    /// Whether what looks like chance did not become smaller when it was tried last.
    believes_looks: bool,
    /// Used instead while there is time, once there was any; and how much there is.
    patient: Option<Method>,
    patience: usize,
}

struct Method {
    context: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl Method {
    fn new(parameters: &[CParameter]) -> Method {
        let mut context = zstd::bulk::Compressor::new(0).expect("zstd makes a context while there is memory");
        for parameter in parameters {
            context.set_parameter(*parameter).expect("zstd knows these parameters and their bounds");
        }
        Method { context, buffer: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES_MAX)) }
    }

    /// Whether compressing `raw` pays. Then the compressed form is in the buffer, else nothing.
    fn run(&mut self, raw: &[u8]) -> bool {
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let written = self.context.compress_to_buffer(raw, &mut self.buffer);
        // It must save a sixteenth, as it costs time at each restore.
        let pays = written.is_ok_and(|length| length <= raw.len().saturating_sub(raw.len() / 16));
        if !pays {
            self.buffer.clear();
        }
        pays
    }
}

impl Compressor {
    /// A compressor that works this hard.
    pub fn new(effort: Effort) -> Compressor {
        let methods = match effort {
            Effort::Standard => vec![Method::new(&QUICK), Method::new(&THOROUGH)],
            Effort::Level(level) => vec![Method::new(&[CParameter::CompressionLevel(level)])],
        };
        Compressor { methods, chosen: 0, frames: 0, believes_looks: true, patient: None, patience: 0 }
    }

    /// Compresses harder from now on, as there is time for it: 0 is what the effort says, [`PATIENCE_MAX`] the most. A
    /// level that somebody asked for stays that level.
    pub fn set_patience(&mut self, patience: usize) {
        self.patience = if self.methods.len() > 1 { patience.min(PATIENCE_MAX) } else { 0 };
        if let Some(level) = self.patience.checked_sub(1).and_then(|at| PATIENT.get(at)) {
            let level = CParameter::CompressionLevel(*level);
            let method = self.patient.get_or_insert_with(|| Method::new(&[]));
            method.context.set_parameter(level).expect("zstd knows its own levels");
        }
    }

    /// The smaller form of `raw`; zstd must save at least a sixteenth to count, as it costs time at each restore.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        let is_trial = raw.len() >= TRIAL_BYTES_MIN && self.frames.is_multiple_of(TRIAL_EVERY);
        self.frames = self.frames.wrapping_add(u32::from(raw.len() >= TRIAL_BYTES_MIN));
        if is_trial {
            self.try_all(raw);
        } else if self.believes_looks && looks_like_chance(raw) {
            return (Codec::Raw, raw);
        }
        let (method, is_done) = match &mut self.patient {
            Some(patient) if self.patience > 0 => (patient, false),
            // A trial has left in the buffer what the method makes of this frame.
            _ => (self.methods.get_mut(self.chosen).expect("one of the methods was chosen"), is_trial),
        };
        let pays = if is_done { !method.buffer.is_empty() } else { method.run(raw) };
        if pays { (Codec::Zstd, &method.buffer) } else { (Codec::Raw, raw) }
    }

    /// Chooses the method for the next frames, and learns whether looks can be believed.
    fn try_all(&mut self, raw: &[u8]) {
        let length = |method: &mut Method| if method.run(raw) { method.buffer.len() } else { raw.len() };
        let lengths: Vec<usize> = self.methods.iter_mut().map(length).collect();
        if let [quick, thorough] = lengths.as_slice() {
            self.chosen = usize::from(thorough.saturating_add(quick / THOROUGH_SAVES) <= *quick);
        }
        if looks_like_chance(raw) {
            self.believes_looks = lengths.iter().all(|length| *length == raw.len());
        }
    }
}

/// Samples of this many bytes are looked at, in so many places of a frame.
const SAMPLE_BYTES: usize = 4 << 10;
const SAMPLES: usize = 16;

/// Whether everywhere in it two bytes are alike hardly more often than two bytes of chance (Rényi entropy of at least 7.8
/// bits a byte), as in what is encrypted or was compressed before. Short ones are not judged.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a table of 256 counts by byte; sums of squares of counts that add up to 4096"
)]
fn looks_like_chance(raw: &[u8]) -> bool {
    let step = raw.len() / SAMPLES;
    if step < SAMPLE_BYTES {
        return false;
    }
    raw.chunks(step).filter_map(|part| part.get(..SAMPLE_BYTES)).all(|sample| {
        let mut counts = [0u32; 256];
        sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let alike: u64 =
            counts.iter().map(|count| u64::from(*count) * u64::from(count.saturating_sub(1))).sum();
        // Of chance: n (n - 1) / 256. A seventh more is 7.8 bits.
        alike * 256 * 7 <= (SAMPLE_BYTES * (SAMPLE_BYTES - 1)) as u64 * 8
    })
}

/// Gives frames back, one after another.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Default for Decompressor {
    fn default() -> Decompressor {
        Decompressor {
            context: zstd::bulk::Decompressor::new().expect("zstd makes a context while there is memory"),
        }
    }
}

impl Decompressor {
    /// The raw form of `stored`: itself, or what `raw` holds then, which is emptied first.
    pub fn decompress<'b>(
        &mut self,
        codec: Codec,
        stored: &'b [u8],
        raw_length: usize,
        raw: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Malformed> {
        let back = match codec {
            Codec::Raw => stored,
            Codec::Zstd => {
                raw.clear();
                raw.reserve_exact(raw_length.min(FRAME_BYTES_MAX));
                self.context
                    .decompress_to_buffer(stored, raw)
                    .map_err(|e| Malformed::new("a frame", format!("zstd refuses it: {e}")))?;
                raw
            }
        };
        if back.len() != raw_length {
            return Err(Malformed::new("a frame", "its raw length is not what its directory states"));
        }
        Ok(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back(raw in prop::collection::vec(any::<u8>(), 1..3000), times in 1usize..20, level in -5i32..6) {
            let raw = raw.repeat(times);
            let mut compressor = Compressor::new(Effort::Level(level));
            let (codec, stored) = compressor.compress(&raw);
            prop_assert!(stored.len() <= raw.len());
            let mut back = vec![1, 2, 3];
            let back = Decompressor::default().decompress(codec, stored, raw.len(), &mut back).unwrap();
            prop_assert_eq!(back, &raw[..]);
        }

        #[test]
        fn hostile_frames_never_panic_or_grow(stored: Vec<u8>, raw_length in 0usize..10_000) {
            let mut raw = Vec::new();
            let _ = Decompressor::default().decompress(Codec::Zstd, &stored, raw_length, &mut raw);
            prop_assert!(raw.len() <= raw.capacity() && raw.capacity() <= FRAME_BYTES_MAX);
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn what_looks_like_chance_is_kept_as_it_is() {
        let noise = noise(1 << 20);
        assert!(looks_like_chance(&noise));
        let text: Vec<u8> = noise.iter().map(|byte| b' ' + byte % 64).collect();
        assert!(!looks_like_chance(&text));
        // One place that could become smaller is enough.
        let mixed = [&noise[..800 << 10], &text[800 << 10..]].concat();
        assert!(!looks_like_chance(&mixed) && !looks_like_chance(&noise[..32 << 10]));
        let mut compressor = Compressor::new(Effort::Standard);
        for _ in 0..2 * TRIAL_EVERY {
            assert_eq!(compressor.compress(&noise).0, Codec::Raw);
            assert_eq!(compressor.compress(&text).0, Codec::Zstd);
        }
    }

    #[test]
    fn looks_that_deceived_are_not_believed_for_a_while() {
        let twice = noise(1 << 19).repeat(2);
        assert!(looks_like_chance(&twice));
        let mut compressor = Compressor::new(Effort::Standard);
        for _ in 0..TRIAL_EVERY {
            let (codec, stored) = compressor.compress(&twice);
            assert!(codec == Codec::Zstd && stored.len() < 600 << 10, "{codec:?} {}", stored.len());
        }
    }

    #[test]
    fn the_thorough_method_is_used_where_it_pays() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let sources = files.iter().filter(|file| file.is_file()).map(|file| std::fs::read(file).unwrap());
        let text = &sources.collect::<Vec<_>>().concat();
        assert!(text.len() > TRIAL_BYTES_MIN);
        let mut compressor = Compressor::new(Effort::Standard);
        let (_, stored) = compressor.compress(text);
        let standard = stored.len();
        let length = |method: &mut Method| {
            assert!(method.run(text));
            method.buffer.len()
        };
        let lengths: Vec<usize> = compressor.methods.iter_mut().map(length).collect();
        assert!(lengths[1] + lengths[0] / 40 <= lengths[0], "source code is such a text: {lengths:?}");
        assert_eq!((compressor.chosen, standard), (1, lengths[1]));
        compressor.frames = 0;
        assert_eq!(compressor.compress(&noise(1 << 19).repeat(2)).0, Codec::Zstd);
        assert_eq!(compressor.chosen, 0, "there the quick one is as good");
    }

    #[test]
    fn patience_makes_frames_smaller_unless_a_level_was_asked_for() {
        let text = include_bytes!("compress.rs").repeat(3);
        let lengths = |effort| -> Vec<usize> {
            let mut compressor = Compressor::new(effort);
            let length = |patience| {
                compressor.set_patience(patience);
                let (codec, stored) = compressor.compress(&text);
                let mut back = Vec::new();
                let back = Decompressor::default().decompress(codec, stored, text.len(), &mut back).unwrap();
                assert_eq!(back, text);
                stored.len()
            };
            [0, 1, PATIENCE_MAX, PATIENCE_MAX + 9, 0].map(length).to_vec()
        };
        let [none, some, most, more, again] = lengths(Effort::Standard)[..] else { unreachable!() };
        assert!(none > some && some > most && most == more && again == none, "{none} {some} {most}");
        assert!(lengths(Effort::Level(1)).windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_frame_that_would_grow_past_its_stated_length_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
        let mut raw = Vec::new();
        assert!(Decompressor::default().decompress(Codec::Zstd, &bomb, 1000, &mut raw).is_err());
        assert!(raw.capacity() < 1 << 20);
    }
}

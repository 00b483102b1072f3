//! Every limit of the format, with its reason; section 13 of `docs/format.md`.

/// Raw bytes of a chunk or a frame: what a reader must hold to give one byte back; compression gains little above.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Raw bytes of a frame of an image that is written: its blocks die one by one, and what is left of a frame is read whole.
pub const IMAGE_FRAME_BYTES_MAX: usize = 256 << 10;

/// Bytes of a pack that is read: bounds what a hostile directory can make a reader fetch.
pub const PACK_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a pack that is written: one request, one retry, little lost by a kill.
pub const PACK_BYTES_TARGET: usize = 32 << 20;

/// Frames in a pack.
pub const PACK_FRAMES_MAX: usize = 65_536;

/// Bytes of a pack's sealed directory.
pub const DIRECTORY_BYTES_MAX: usize = 64 << 20;

/// Bytes of a log entry: a flush names its packs.
pub const ENTRY_BYTES_MAX: usize = 16 << 20;

/// Bytes of a slot, a session object or the genesis.
pub const SMALL_OBJECT_BYTES_MAX: usize = 1 << 20;

/// Bytes of a run; larger ones are split.
pub const RUN_BYTES_MAX: u64 = 1 << 30;

/// Bytes of an object beside the repository that helps to restore it: a program, held in memory as a whole.
pub const RESCUE_BYTES_MAX: u64 = 256 << 20;

/// Levels of a tree.
pub const TREE_DEPTH_MAX: u8 = 16;

const _: () = assert!(PACK_BYTES_TARGET > 8 * FRAME_BYTES_MAX, "a pack must have room for several frames");
const _: () = assert!(PACK_BYTES_MAX > PACK_BYTES_TARGET as u64, "what is written must be readable");

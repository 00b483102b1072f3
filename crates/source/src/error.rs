//! What can go wrong with a source or a target, with the name it is about and what helps.
//!
//! Each message is a whole sentence part that names the thing and the system's reason, printable on one line
//! whatever bytes the name has; it is not repeated in `source()`.

use std::io;
use std::process::ExitStatus;

use format::path::BadPath;
use rustix::io::Errno;
use world::{Remedied, Remedy};

/// Why a source could not be read or a target not be written. `path` is always printable, with odd bytes
/// escaped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was named.
    #[error("no path was named to read")]
    NoRoots,
    /// A path that was asked for cannot be opened at all.
    #[error("open {path}: {why}")]
    Root {
        /// What was named.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A path that was asked for is a socket, which has no content and cannot be restored.
    #[error("open {path}: it is a socket, which holds nothing to keep")]
    SocketRoot {
        /// What was named.
        path: String,
    },
    /// A path that was to be kept as an image is no file and no block device.
    #[error("keep {path} as an image: it is neither a regular file nor a block device")]
    NotAnImage {
        /// What was named.
        path: String,
    },
    /// A path that was asked for lies behind a symbolic link inside another one, where only the link is kept.
    #[error("read {path}: what was asked for behind this symbolic link is not kept, only the link is")]
    BehindLink {
        /// The link.
        path: String,
    },
    /// A pattern of names to leave out cannot be understood.
    #[error("exclude `{glob}`: {why}")]
    Glob {
        /// The pattern as typed.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of patterns cannot be read.
    #[error("read the exclude file {path}: {why}")]
    ExcludeFile {
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// The system refused one call for one name.
    #[error("{act} {path}: {why}")]
    System {
        /// What was tried, as a verb.
        act: &'static str,
        /// The name it was tried on.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A name that was listed is gone.
    #[error("{act} {path}: it has gone since it was listed")]
    Vanished {
        /// What was tried, as a verb.
        act: &'static str,
        /// The name.
        path: String,
    },
    /// A name that was listed now means something else.
    #[error("{act} {path}: something else has taken its place since it was listed")]
    Replaced {
        /// What was tried, as a verb.
        act: &'static str,
        /// The name.
        path: String,
    },
    /// A file goes on and on while it is read.
    #[error(
        "read {path}: it had {listed} bytes when it was looked at, and has a gigabyte more by now without an end"
    )]
    Endless {
        /// The name.
        path: String,
        /// Bytes that it had.
        listed: u64,
    },
    /// Only regular files have content.
    #[error("read {path}: it is not a regular file")]
    NotAFile {
        /// The name.
        path: String,
    },
    /// A name or path that a point cannot hold.
    #[error("read {path}: {why}")]
    Unnamable {
        /// The name.
        path: String,
        /// Which rule it breaks.
        why: BadPath,
    },
    /// The target directory cannot be made or opened.
    #[error("open the target {path}: {why}")]
    Target {
        /// The directory.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// The target directory holds something already.
    #[error("open the target {path}: it is not empty")]
    TargetNotEmpty {
        /// The directory.
        path: String,
    },
    /// The target is a device or file whose content would be lost.
    #[error("open the target {path}: it is {what}, and what it holds would be overwritten")]
    TargetHolds {
        /// The device or file.
        path: String,
        /// Which of them it is.
        what: &'static str,
    },
    /// The target is a device that is mounted or otherwise in use.
    #[error("open the target {path}: it is in use: mounted, swapped to, or part of another device")]
    TargetInUse {
        /// The device.
        path: String,
    },
    /// The target is a device that is shorter than the content.
    #[error("open the target {path}: it has {room} bytes, and the content has {size}")]
    TargetTooSmall {
        /// The device.
        path: String,
        /// Bytes of the device.
        room: u64,
        /// Bytes of the content.
        size: u64,
    },
    /// Something that may not be replaced stands at the name, or something that is no directory stands above
    /// it.
    #[error("{act} {path}: something else stands in its place or on the way to it")]
    Obstacle {
        /// What was tried, as a verb.
        act: &'static str,
        /// The name.
        path: String,
    },
    /// A command could not be started.
    #[error("start the command {command}: {why}")]
    CommandStart {
        /// The program's name.
        command: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A command ended badly, so what it printed cannot be trusted to be whole.
    #[error("the command {command} failed ({status}), so what it printed is not kept")]
    CommandFailed {
        /// The program's name.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A command that was to be run around a backup failed.
    #[error("the command {when} the backup failed ({status}): {command}")]
    HookFailed {
        /// `before` or `after`.
        when: &'static str,
        /// The command as it was typed.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A stream was finished before its end was read.
    #[error("read {from}: it was not read to its end")]
    StreamUnread {
        /// Standard input or the command.
        from: String,
    },
    /// A stream broke before its end.
    #[error("read {from}: {why}")]
    Stream {
        /// Standard input or the command.
        from: String,
        /// The system's reason.
        why: io::Error,
    },
}

impl Remedied for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Error::NoRoots
            | Error::Root { .. }
            | Error::SocketRoot { .. }
            | Error::NotAnImage { .. }
            | Error::Glob { .. }
            | Error::ExcludeFile { .. }
            | Error::Target { .. }
            | Error::TargetNotEmpty { .. }
            | Error::TargetHolds { .. }
            | Error::TargetInUse { .. }
            | Error::TargetTooSmall { .. }
            | Error::CommandStart { .. } => Remedy::Correct,
            Error::HookFailed { .. } => Remedy::Stop,
            Error::CommandFailed { .. } | Error::Stream { .. } | Error::StreamUnread { .. } => Remedy::Stop,
            Error::System { why, .. } if concerns_everything(why) => Remedy::Stop,
            Error::System { .. }
            | Error::BehindLink { .. }
            | Error::Vanished { .. }
            | Error::Endless { .. }
            | Error::Replaced { .. }
            | Error::NotAFile { .. }
            | Error::Unnamable { .. }
            | Error::Obstacle { .. } => Remedy::Report,
        }
    }
}

/// A full or read-only disk and a lack of descriptors meet every later name too.
fn concerns_everything(why: &io::Error) -> bool {
    let everywhere = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    why.raw_os_error().is_some_and(|code| everywhere.contains(&Errno::from_raw_os_error(code)))
}

/// `bytes` on one line: what is not UTF-8, control characters and the escape character itself are escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || c == '\\' { line.extend(c.escape_default()) } else { line.push(c) }
        }
        part.invalid().iter().for_each(|b| line.push_str(&format!("\\x{b:02x}")));
    }
    line
}

//! A stream as one file of a point. It counts only when it ended well: a command that failed leaves no content, however
//! much it had printed, because what is missing cannot be known.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};

use format::meta::{FileTime, Kind, Meta};
use format::path::TreePath;
use world::World;

use crate::error::{Error, printable};
use crate::time::file_time;

/// Content that arrives once, in order.
pub struct Stream {
    path: TreePath,
    /// What it comes from, for messages.
    from: String,
    input: Box<dyn Read + Send>,
    child: Option<Running>,
    start: FileTime,
    size: u64,
    ended: bool,
}

impl Stream {
    /// This process's standard input, to be kept at `path`.
    pub fn stdin(path: TreePath, world: &World) -> Stream {
        Stream::new(path, "standard input".to_owned(), Box::new(std::io::stdin()), None, world)
    }

    /// Starts `program` (the command and its arguments), whose standard output is to be kept at `path`. Its standard
    /// error is passed through; its standard input is empty.
    pub fn command(path: TreePath, program: &[OsString], world: &World) -> Result<Stream, Error> {
        let (name, arguments) =
            program.split_first().map_or((None, program), |(name, rest)| (Some(name), rest));
        let name = name.cloned().unwrap_or_default();
        let command = printable(name.as_encoded_bytes());
        let spawned = Command::new(&name).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|why| Error::CommandStart { command: command.clone(), why })?;
        let output = child.stdout.take().expect("the output was asked for as a pipe");
        Ok(Stream::new(path, command, Box::new(output), Some(Running(child)), world))
    }

    fn new(
        path: TreePath,
        from: String,
        input: Box<dyn Read + Send>,
        child: Option<Running>,
        world: &World,
    ) -> Stream {
        Stream { path, from, input, child, start: file_time(world.now_ns()), size: 0, ended: false }
    }

    /// Where the content stands in the point.
    pub fn path(&self) -> &TreePath {
        &self.path
    }

    /// Fills `buf` with what comes next; less than asked for means that the stream has ended.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.input.read(&mut buf[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(Error::Stream { from: self.from.clone(), why }),
            }
        }
        self.size += filled as u64;
        Ok(filled)
    }

    /// Waits for the command to end and answers what is kept of the content beside its bytes: as long as what was read,
    /// owned by this process, as old as the start of the stream. A command that failed is an error, and so is a stream
    /// that was not read to its end; then nothing of it may be kept.
    pub fn finish(mut self) -> Result<Meta, Error> {
        if !self.ended && self.read(&mut [0])? > 0 {
            return Err(Error::StreamUnread { from: self.from });
        }
        let Stream { from, input, child, start, size, .. } = self;
        drop(input);
        if let Some(running) = child {
            running.wait(from)?;
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Meta { mode: 0o600, uid, gid, mtime: start, size, ..Meta::new(Kind::File) })
    }
}

/// A command that does not outlive the stream.
struct Running(Child);

impl Running {
    fn wait(mut self, command: String) -> Result<(), Error> {
        let status = self.0.wait().map_err(|why| Error::Stream { from: command.clone(), why })?;
        if status.success() { Ok(()) } else { Err(Error::CommandFailed { command, status }) }
    }
}

/// Both fail only for a command that has ended and was waited for.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

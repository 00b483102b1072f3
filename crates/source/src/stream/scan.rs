//! A stream as one file of a point. It counts only when it ended well: a command that failed leaves no
//! content, however much it had printed, because what is missing cannot be known.

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

    /// Starts `program` (the command and its arguments), whose standard output is to be kept at `path`. Its
    /// standard error is passed through; its standard input is empty.
    pub fn command(path: TreePath, program: &[OsString], world: &World) -> Result<Stream, Error> {
        let (name, arguments) =
            program.split_first().map_or((None, program), |(name, rest)| (Some(name), rest));
        let name = name.cloned().unwrap_or_default();
        let command = printable(name.as_encoded_bytes());
        let spawned = Command::new(&name)
            .args(arguments)
            .env_remove(crate::hook::SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
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

    /// What is kept of the folder around the content: it belongs to this process and is as old as the stream's start.
    pub fn owner(&self) -> Meta {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Meta { uid, gid, mtime: self.start, ..Meta::new(Kind::Directory) }
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

    /// Waits for the command to end and answers what is kept of the content beside its bytes: as long as what
    /// was read, owned by this process, as old as the start of the stream. A command that failed is an error,
    /// and so is a stream that was not read to its end; then nothing of it may be kept.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use world::{Remedied, Remedy, SimulatedClock};

    use super::*;

    fn name() -> TreePath {
        TreePath::new(b"dump.sql").unwrap()
    }

    fn shell(script: &str) -> Stream {
        let world = World::simulated(1, Arc::new(SimulatedClock::at(5_000_000_007)));
        let program = ["sh", "-c", script].map(OsString::from);
        Stream::command(name(), &program, &world).unwrap()
    }

    fn all(stream: &mut Stream) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let read = stream.read(&mut bytes).unwrap();
        bytes.truncate(read);
        bytes
    }

    #[test]
    fn what_a_command_printed_is_one_file() {
        let mut stream = shell("printf one; sleep 0.05; printf two; cat");
        assert_eq!(all(&mut stream), b"onetwo", "reads on until the end, and standard input is empty");
        assert_eq!(stream.path(), &name());
        let meta = stream.finish().unwrap();
        assert_eq!((meta.kind, meta.size, meta.mode), (Kind::File, 6, 0o600));
        assert_eq!(meta.mtime, FileTime { seconds: 5, nanos: 7 });
    }

    #[test]
    fn a_command_that_fails_leaves_no_content() {
        for script in ["printf partial; exit 3", "printf partial; kill -9 $$"] {
            let mut stream = shell(script);
            assert_eq!(all(&mut stream), b"partial");
            let error = stream.finish().expect_err("the command failed");
            assert!(matches!(&error, Error::CommandFailed { command, .. } if command == "sh"), "{error}");
            assert_eq!(error.remedy(), Remedy::Stop);
        }
    }

    #[test]
    fn a_stream_that_was_not_read_to_its_end_does_not_count() {
        let mut stream = shell("printf 12345");
        assert_eq!(stream.read(&mut [0; 3]).unwrap(), 3);
        assert!(matches!(stream.finish(), Err(Error::StreamUnread { .. })));
        let mut exact = shell("printf 123");
        assert_eq!(exact.read(&mut [0; 3]).unwrap(), 3);
        assert_eq!(exact.finish().unwrap().size, 3, "the end is looked for");
    }

    #[test]
    fn a_command_does_not_outlive_its_stream() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let mut stream = shell(&format!("echo $$ >{}; echo ready; exec sleep 1000", pid.display()));
        assert_eq!(stream.read(&mut [0; 6]).unwrap(), 6);
        let pid = std::fs::read_to_string(pid).unwrap();
        drop(stream);
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn a_command_that_cannot_be_started_is_the_callers_to_correct() {
        for program in [&["/no/such/program\n"][..], &[]] {
            let program: Vec<OsString> = program.iter().map(OsString::from).collect();
            let error = Stream::command(name(), &program, &World::real()).err().expect("no such program");
            assert!(
                matches!(error, Error::CommandStart { .. }) && error.remedy() == Remedy::Correct,
                "{error}"
            );
        }
    }

    #[test]
    fn standard_input_and_its_troubles_are_named() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        let mut stream = Stream::stdin(name(), &World::real());
        stream.input = Box::new(&b"typed"[..]);
        assert_eq!(all(&mut stream), b"typed");
        assert_eq!(stream.finish().unwrap().size, 5);
        let mut stream = Stream::stdin(name(), &World::real());
        stream.input = Box::new(Broken);
        let error = stream.read(&mut [0]).unwrap_err().to_string();
        assert_eq!(error, "read standard input: connection reset");
    }
}

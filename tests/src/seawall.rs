//! The program as people run it: built once, then run as a process with a home of its own.
//!
//! Each machine has its own home, state, repository and working folder below one temporary folder, and its processes
//! see no variable of ours: nothing that a test does reaches the user's own places. Whatever else a test looks at, a
//! process that panicked fails it.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use format::key::{KeyFile, Unlock};
use repo::{Io, Opening, Repo, Secret};
use serde_json::Value;
use storage::{Location, Region, Settings};
use tempfile::TempDir;
use world::World;

use crate::s3::Server;

/// The program, built from these sources with the profile of the running test.
///
/// # Panics
///
/// If it does not build.
pub fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// A test lies in TARGET/PROFILE/deps, a program in TARGET/PROFILE.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let folder = test.parent().expect("a file lies in a folder");
    let is_deps = folder.file_name() == Some(OsStr::new("deps"));
    let folder = if is_deps { folder.parent().expect("cargo puts tests two folders deep") } else { folder };
    let target = folder.parent().expect("a profile's folder lies in a target folder");
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "cli", "--profile", profile, "--target-dir"]);
    let built = cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("seawall")
}

/// A machine that runs the program; gone when dropped.
pub struct Machine {
    dir: TempDir,
    /// Variables that are set beside the usual ones, or instead of them.
    variables: Vec<(String, String)>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine that has nothing yet.
    ///
    /// # Panics
    ///
    /// If there is no temporary folder to be had.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("seawall-").tempdir().expect("there is room for a test");
        for name in ["home", "state"] {
            std::fs::create_dir(dir.path().join(name)).expect("a new folder takes folders");
        }
        Self { dir, variables: Vec::new() }
    }

    /// A machine whose repository is to be a bucket of `server`, and whose user knows the server's key.
    pub fn with_s3(server: &Server) -> Self {
        let mut machine = Self::new();
        machine.variables = server.environment().into();
        machine.set("SEAWALL_REPO", &server.location("bucket", "repository"));
        machine
    }

    /// Sets a variable for all programs that run from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A machine with a repository of its own.
    pub fn with_repository() -> Self {
        let machine = Self::new();
        machine.done(&["init"]);
        machine
    }

    /// A machine that has never seen the repository of `other`, but has its key and looks there.
    ///
    /// # Panics
    ///
    /// If the other has no key file.
    pub fn with_key_of(other: &Machine) -> Self {
        let machine = Self::new();
        let folder = machine.at("home/.config/seawall");
        std::fs::create_dir_all(&folder).expect("a new folder takes folders");
        std::fs::copy(other.key_file(), folder.join("key")).expect("the other has a key file");
        std::os::unix::fs::symlink(other.repository(), machine.repository())
            .expect("a new folder takes links");
        machine
    }

    /// Leaves everything where it is, for somebody who looks for a cause.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// A place below the folder in which all commands run.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder that is the repository.
    pub fn repository(&self) -> PathBuf {
        self.at("repository")
    }

    /// The key file that `init` made.
    pub fn key_file(&self) -> PathBuf {
        self.at("home/.config/seawall/key")
    }

    /// Opens the machine's repository as the library does, with a state of its own in the folder `state`.
    pub fn opened(&self, world: World, state: &str) -> Repo {
        let location = Location::Local(self.repository());
        let store =
            storage::open(&location, &Settings::default(), &world).expect("`init` made the repository");
        let text = std::fs::read_to_string(self.key_file()).expect("`init` made the key file");
        let key = KeyFile::from_text(&text).expect("nobody changed the key file");
        let opening = Opening {
            world,
            io: Io::new(Region::new("home", store)),
            state: &self.at(state),
            secret: Secret::Unlock(Unlock::KeyFile(key)),
            trust: None,
            host: state.to_owned(),
        };
        Repo::open(opening).expect("the repository can be opened")
    }

    /// The program with these words, not yet started. Paths among them start at the machine's folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
        command.env("HOME", self.at("home")).env("SEAWALL_STATE", self.at("state"));
        command.env("SEAWALL_REPO", self.repository()).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().expect("the program starts")
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be run, or if it panicked.
    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(words, self.command(words).output().expect("the program runs"))
    }

    /// Runs it with this on standard input.
    ///
    /// # Panics
    ///
    /// If it cannot be run, or if it panicked.
    pub fn fed(&self, words: &[&str], input: &[u8]) -> Said {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        // A program that has failed reads no further; what it says tells why.
        let _ = pipe.write_all(input);
        drop(pipe);
        Said::of(words, child.wait_with_output().expect("the program ends"))
    }

    /// Runs what must succeed.
    ///
    /// # Panics
    ///
    /// If the exit code is not 0.
    pub fn done(&self, words: &[&str]) -> Said {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{said}");
        said
    }

    /// Runs what must succeed, and reads the document that it prints.
    ///
    /// # Panics
    ///
    /// If the exit code is not 0, or if it prints anything but one document.
    pub fn json(&self, words: &[&str]) -> Value {
        self.done(&[words, &["--json"]].concat()).json()
    }

    /// The ids of all points, oldest first.
    ///
    /// # Panics
    ///
    /// If they cannot be listed.
    pub fn points(&self) -> Vec<String> {
        let listed = self.json(&["points"]);
        let points = listed["points"].as_array().expect("points are a list");
        points.iter().map(|p| p["id"].as_str().expect("an id is text").to_owned()).collect()
    }
}

/// What came of a run.
pub struct Said {
    words: String,
    /// The exit code; that of a signal is 128 and its number, as in a shell.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// What it answered, as text.
    pub fn out_text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// What came of a run that has ended.
    ///
    /// # Panics
    ///
    /// If the program panicked.
    pub fn of(words: &[&str], output: Output) -> Self {
        let said = Self::heard(words, output);
        assert!(!said.has_panicked(), "{said}");
        said
    }

    /// The same, also if the program panicked.
    pub fn heard(words: &[&str], output: Output) -> Self {
        let status = output.status;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { words: words.join(" "), code, out: output.stdout, err }
    }

    /// Whether the program panicked.
    pub fn has_panicked(&self) -> bool {
        self.err.contains("panicked")
    }

    /// The document on standard output.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|why| panic!("no document: {why}: {self}"))
    }

    /// Asserts the exit code, and that the message says this.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn assert_failed(&self, code: i32, says: &str) {
        assert_eq!(self.code, code, "{self}");
        assert!(self.err.contains(says), "{says:?} is not in: {self}");
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = String::from_utf8_lossy(&self.out);
        write!(f, "seawall {}: exit code {}\n{out}{}", self.words, self.code, self.err)
    }
}

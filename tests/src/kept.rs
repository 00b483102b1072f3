//! Makes the repository that is kept of a format's version: every kind of object and as many sorts of facts, slots, content and
//! damage as the program can make, with the plain truth beside it. `fixtures/formats/README.md` says what came of it.
//!
//! Everything is done by the program itself, on three hosts of one repository. What the trees hold is the same each time; keys, ids and
//! times are not, so another run makes another repository.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use serde_json::Value;

use crate::files::{below, copy_all, flip};
use crate::seawall::Machine;
use crate::{odd, truth};

/// What opens the kept repository by its passphrase.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// Three hosts of one repository, and what their points hold.
struct Hosts {
    /// Has the key file.
    admin: Machine,
    /// Has a copy of it, and a writer of its own.
    second: Machine,
    /// May add and nothing else.
    web: Machine,
    /// Live points, and the lines of what each holds.
    truth: Vec<(String, String)>,
    /// Source and id of all points, oldest first.
    made: Vec<(String, String)>,
}

/// Makes the kept repository, its secrets and its truth in the folder `place`, which must not be there.
///
/// # Errors
///
/// If a file of it cannot be written.
///
/// # Panics
///
/// If the program does not do what it should.
pub fn make(place: &Path) -> io::Result<()> {
    fs::create_dir(place)?;
    let admin = Machine::with_repository();
    let second = Machine::with_key_of(&admin);
    let web = Machine::new();
    symlink(admin.repository(), web.repository())?;
    let mut hosts = Hosts { admin, second, web, truth: Vec::new(), made: Vec::new() };
    hosts.add_secrets()?;
    hosts.back_up_files()?;
    hosts.back_up_others()?;
    hosts.damage_and_heal()?;
    hosts.keep_and_forget()?;
    hosts.renew_keys()?;
    hosts.leave_in_the_middle()?;
    hosts.write_down(place)
}

impl Hosts {
    fn add_secrets(&self) -> io::Result<()> {
        let admin = &self.admin;
        fs::write(admin.at("passphrase"), format!("{PASSPHRASE}\n"))?;
        admin.done(&["key", "add", "--new-passphrase-file", "passphrase", "--label", "on paper"]);
        let made = admin.json(&["key", "recipient", "recipient"]);
        let public = made["recipient"].as_str().expect("a public line is text");
        admin.done(&["key", "add", "--recipient", public, "--label", "the safe"]);
        let writer = self.web.at("writer");
        let writer = writer.to_str().expect("a temporary folder has a plain name");
        admin.done(&["key", "export-writer", writer, "--name", "web", "--source", "web"]);
        Ok(())
    }

    /// A backup of the folder `tree`, whose truth is what lies there.
    fn back_up(&mut self, which: fn(&Hosts) -> &Machine, more: &[&str]) {
        let machine = which(self);
        let made = machine.json(&[&["backup", "tree"], more].concat());
        let lines = truth::lines(&machine.at("tree"));
        let point = self.take(&made);
        self.truth.push((point, lines));
    }

    /// Notes the point that a backup made, and answers its id.
    fn take(&mut self, made: &Value) -> String {
        let [point, source] =
            ["point", "source"].map(|key| made[key].as_str().expect("it is text").to_owned());
        self.made.push((source, point.clone()));
        point
    }

    fn back_up_files(&mut self) -> io::Result<()> {
        let tree = self.admin.at("tree");
        first_state(&tree)?;
        self.back_up(|hosts| &hosts.admin, &["--source", "files", "--tag", "state=first"]);
        second_state(&tree)?;
        self.back_up(|hosts| &hosts.admin, &["--source", "files"]);
        fs::write(tree.join("third"), odd::noise(33, 5_000))?;
        self.back_up(|hosts| &hosts.admin, &["--source", "files", "--kind", "differential"]);
        Ok(())
    }

    fn back_up_others(&mut self) -> io::Result<()> {
        let second = self.second.at("tree");
        fs::create_dir(&second)?;
        fs::write(second.join("the same noise"), odd::noise(1, 9_000))?;
        self.back_up(|hosts| &hosts.second, &["--source", "second"]);
        fs::write(second.join("more"), "more\n")?;
        self.back_up(|hosts| &hosts.second, &["--source", "second"]);
        let web = self.web.at("tree");
        fs::create_dir(&web)?;
        fs::write(web.join("index.html"), "<p>Hello.</p>\n".repeat(20))?;
        self.back_up(|hosts| &hosts.web, &["--source", "web", "--key-file", "writer"]);
        self.back_up_disk()?;
        self.back_up_stream()
    }

    /// An image of 1 MiB, which is cut in blocks of 64 KiB. Four of them share a frame, and each point leaves a pack behind of
    /// which the next one needs some frames and not others.
    fn back_up_disk(&mut self) -> io::Result<()> {
        let place = self.admin.at("disk");
        let disk = fs::File::create(&place)?;
        disk.set_len(1 << 20)?;
        let written: [Vec<u64>; 3] = [(0..8).collect(), (0..4).chain(8..16).collect(), (8..12).collect()];
        for (state, blocks) in (0..).zip(written) {
            for block in blocks {
                disk.write_all_at(&odd::noise(100 * (state + 1) + block, 1000), block * 65_536 + 500)?;
            }
            let made = self.admin.json(&["backup", "disk", "--source", "disk", "--image"]);
            self.take_restored(&made, "disk", &fs::read(&place)?);
        }
        Ok(())
    }

    fn back_up_stream(&mut self) -> io::Result<()> {
        let content = "INSERT INTO t VALUES (1);\n".repeat(4000);
        let words = ["backup", "--stdin", "dump.sql", "--source", "dump", "--json"];
        let said = self.admin.fed(&words, content.as_bytes());
        assert_eq!(said.code, 0, "{said}");
        self.take_restored(&said.json(), "dump.sql", content.as_bytes());
        Ok(())
    }

    /// The truth of a point whose folder the program made up: what comes back, once its content was compared.
    fn take_restored(&mut self, made: &Value, name: &str, content: &[u8]) {
        let point = self.take(made);
        let out = format!("out-{point}");
        self.admin.done(&["restore", &point, "--into", &out]);
        let back = fs::read(self.admin.at(&out).join(name)).expect("it was restored");
        assert!(back == content, "{name} came back as it was");
        self.truth.push((point, truth::lines(&self.admin.at(&out))));
    }

    /// A pack of content is damaged, found so, and what it held is stored again: the first point needs the substitute.
    fn damage_and_heal(&mut self) -> io::Result<()> {
        fs::rename(self.admin.at("tree"), self.admin.at("files"))?;
        fs::create_dir(self.admin.at("tree"))?;
        fs::write(self.admin.at("tree/hurt"), odd::noise(50, 9_000))?;
        let before: BTreeSet<PathBuf> = below(&self.admin.repository().join("packs")).into_iter().collect();
        self.back_up(|hosts| &hosts.admin, &["--source", "hurt"]);
        let after = below(&self.admin.repository().join("packs"));
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        let fresh = after.into_iter().filter(|path| !before.contains(path));
        flip(&fresh.max_by_key(size).expect("the backup made packs"), [3000]);
        assert_eq!(self.admin.run(&["verify", "--level", "L1", "--source", "hurt"]).code, 3);
        self.back_up(|hosts| &hosts.admin, &["--source", "hurt"]);
        let healed = self.admin.run(&["verify", "--level", "L1", "--source", "hurt"]);
        assert_eq!(healed.code, 0, "{healed}");
        fs::rename(self.admin.at("tree"), self.admin.at("hurt"))?;
        fs::rename(self.admin.at("files"), self.admin.at("tree"))
    }

    /// The id of the nth point of a source, oldest first.
    fn point(&self, source: &str, nth: usize) -> String {
        let mut of = self.made.iter().filter(|(of, _)| of == source);
        of.nth(nth).map(|(_, point)| point.clone()).expect("the point was made")
    }

    fn keep_and_forget(&mut self) -> io::Result<()> {
        let admin = &self.admin;
        admin.done(&["pin", &self.point("files", 0)]);
        admin.done(&["pin", "--for", "50y", &self.point("disk", 2)]);
        admin.done(&["hold", "--reason", "case 4711", &self.point("second", 1)]);
        admin.done(&["hold", "--reason", "case 4712", "dump"]);
        admin.done(&["hold", "--reason", "a mistake", "web"]);
        admin.done(&["release", "web"]);
        let (gone, back) = ([self.point("files", 1), self.point("disk", 0)], self.point("second", 0));
        self.admin.done(&["forget", "--apply", &gone[0], &gone[1], &back]);
        self.admin.done(&["forget", "--undo", &back]);
        self.sweep(&gone)
    }

    fn sweep(&mut self, gone: &[String]) -> io::Result<()> {
        let swept = self.admin.json(&["sweep", "--apply", "--repack-below", "99"]);
        assert!(swept["swept"]["deleted"]["packs"].as_u64() > Some(0), "{swept}");
        assert!(swept["swept"]["moved"]["frames"].as_u64() > Some(0), "{swept}");
        self.truth.retain(|(point, _)| !gone.contains(point));
        Ok(())
    }

    /// What is stored from here on is under new keys; frames that a sweep moves stay under those that sealed them.
    fn renew_keys(&mut self) -> io::Result<()> {
        self.admin.done(&["key", "renew", "--also-passphrase-file", "passphrase"]);
        fs::write(self.admin.at("tree/fourth"), odd::noise(44, 5_000))?;
        self.back_up(|hosts| &hosts.admin, &["--source", "files"]);
        let gone = [self.point("files", 2), self.point("disk", 1)];
        self.admin.done(&["forget", "--apply", &gone[0], &gone[1]]);
        self.sweep(&gone)?;
        self.admin.done(&["verify"]);
        Ok(())
    }

    /// What a repository in use has at any moment: a session whose process died and was given up, a point that was forgotten
    /// and not swept, a writer that was shut out.
    fn leave_in_the_middle(&mut self) -> io::Result<()> {
        let admin = &self.admin;
        let mut command = admin.command(&["backup", "--stdin", "never", "--source", "dead"]);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let at_work = loop {
            let listed = admin.json(&["session", "list"]);
            let sessions = listed["sessions"].as_array().cloned().unwrap_or_default();
            if let Some(session) = sessions.iter().find(|session| session["state"] == "at work") {
                break session["session"].as_str().expect("an id is text").to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        child.kill()?;
        child.wait()?;
        admin.done(&["session", "expire", &at_work]);
        let forgotten = self.point("second", 0);
        self.admin.done(&["forget", "--apply", "--even-last", &forgotten]);
        self.truth.retain(|(point, _)| *point != forgotten);
        let writers = self.admin.json(&["writer", "list"]);
        let writers = writers["writers"].as_array().expect("writers are a list");
        let web = writers.iter().find(|writer| writer["name"] == "web").expect("it was let in");
        let web = web["id"].as_str().expect("an id is text");
        self.admin.done(&["writer", "revoke", web, "--reason", "the machine is gone"]);
        Ok(())
    }

    fn write_down(&self, place: &Path) -> io::Result<()> {
        copy_all(&self.admin.repository(), &place.join("repository"));
        fs::copy(self.admin.key_file(), place.join("key"))?;
        for secret in ["passphrase", "recipient"] {
            fs::copy(self.admin.at(secret), place.join(secret))?;
        }
        fs::copy(self.web.at("writer"), place.join("writer"))?;
        fs::create_dir(place.join("truth"))?;
        for (point, lines) in &self.truth {
            fs::write(place.join("truth").join(format!("{point}.txt")), lines)?;
        }
        for (name, words) in [
            ("points.json", &["points"][..]),
            ("forgotten.json", &["points", "--forgotten"]),
            ("sweep.json", &["sweep"]),
        ] {
            let mut file = fs::File::create(place.join(name))?;
            let mut said = self.admin.json(words);
            without_moment(&mut said);
            serde_json::to_writer_pretty(&mut file, &said)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Leaves out what is another the next time: ages, and how many requests something takes.
fn without_moment(said: &mut Value) {
    match said {
        Value::Object(parts) => {
            parts.retain(|key, _| !key.ends_with("age_seconds") && key != "requests");
            parts.values_mut().for_each(without_moment);
        }
        Value::Array(parts) => parts.iter_mut().for_each(without_moment),
        _ => {}
    }
}

/// Every sort of content and metadata that anybody may restore.
fn first_state(top: &Path) -> io::Result<()> {
    fs::create_dir_all(top.join("folder/many"))?;
    let line = "The same line many times.\n";
    for (name, content) in [
        ("hello.txt", b"Hello, world.\n".to_vec()),
        ("empty", Vec::new()),
        ("noise", odd::noise(1, 9_000)),
        ("long", line.repeat(400_000).into_bytes()),
        ("folder/zeros", vec![0; 300_000]),
    ] {
        fs::write(top.join(name), content)?;
    }
    for number in 0..700 {
        fs::write(top.join(format!("folder/many/file-{number:04}")), number.to_string())?;
    }
    let sparse = fs::File::create(top.join("sparse"))?;
    sparse.set_len(4 << 20)?;
    sparse.write_all_at(line.as_bytes(), 3 << 20)?;
    let names: [&[u8]; 5] = [b"line\nend", b"\xff\xfe not UTF-8", b" blank ", b"*?[x]", &[b'n'; 255]];
    for name in names {
        fs::write(top.join(std::ffi::OsStr::from_bytes(name)), name)?;
    }
    fs::hard_link(top.join("noise"), top.join("folder/again"))?;
    symlink("../hello.txt", top.join("folder/link"))?;
    symlink("no/such", top.join("dangling"))?;
    mknodat(CWD, top.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0)?;
    for (name, value) in [("user.colour", &b"blue"[..]), ("user.bytes", b"\0\xff")] {
        lsetxattr(top.join("hello.txt"), name, value, XattrFlags::empty())?;
    }
    for (name, mode) in [("hello.txt", 0o644), ("empty", 0o600), ("long", 0o444), ("folder/many", 0o750)] {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode))?;
    }
    for (at, name) in (0..).zip(["hello.txt", "noise", "folder/link", "pipe", "folder/many", "folder"]) {
        odd::set_time(&top.join(name), 1_700_000_000 - 400_000_000 * at, at);
    }
    Ok(())
}

/// Some of it changed, some gone, some new.
fn second_state(top: &Path) -> io::Result<()> {
    let mut noise = odd::noise(1, 9_000);
    noise.extend(odd::noise(2, 5_000));
    fs::write(top.join("noise"), noise)?;
    fs::write(
        top.join("hello.txt"),
        "Hello again, world, with more than sixty-four bytes of content in you.\n",
    )?;
    fs::remove_file(top.join("empty"))?;
    fs::rename(top.join("sparse"), top.join("folder/sparse"))?;
    fs::write(top.join("second"), odd::noise(22, 5_000))
}

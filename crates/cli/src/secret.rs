//! Key files, bundles and passphrases: read from where the settings say, made where there is none yet.
//!
//! A new key file is on the disk, whole and for its owner only, before the repository that it opens exists; one that is
//! there is never overwritten. A passphrase is typed with the echo off, which is put back in every case.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use format::key::{Argon2Cost, Bundle, KeyFile, Lock, TextKind, Unlock, fresh};
use format::seal::{KemPublic, KemSecret};
use repo::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use world::World;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::settings::SecretFrom;

/// A secret that was read.
#[derive(Clone)]
pub(crate) enum Held {
    /// The secret of a key file.
    KeyFile(KeyFile),
    /// The private key of a recipient.
    Recipient(KemSecret),
    /// Keys by themselves.
    Bundle(Box<Bundle>),
    /// A passphrase.
    Passphrase(Zeroizing<String>),
}

impl Held {
    /// What it is, to open a repository.
    pub(crate) fn opens(self) -> Secret {
        match self {
            Held::KeyFile(file) => Secret::Unlock(Unlock::KeyFile(file)),
            Held::Passphrase(words) => Secret::Unlock(Unlock::Passphrase(words)),
            Held::Recipient(secret) => Secret::Unlock(Unlock::Recipient(secret)),
            Held::Bundle(bundle) => Secret::Bundle(bundle),
        }
    }

    /// What a new slot can be sealed for.
    pub(crate) fn locks(&self) -> Result<Lock, Error> {
        match self {
            Held::KeyFile(file) => Ok(Lock::KeyFile(file.clone())),
            Held::Passphrase(words) => Ok(Lock::Passphrase(words.clone(), Argon2Cost::DEFAULT)),
            Held::Recipient(secret) => Ok(Lock::Recipient(secret.public())),
            Held::Bundle(_) => {
                Err(Error::Request("a bundle belongs to one repository and cannot lock another".to_owned()))
            }
        }
    }

    /// What a person calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Held::KeyFile(_) => "key file",
            Held::Passphrase(_) => "passphrase",
            Held::Recipient(_) => "recipient's key",
            Held::Bundle(_) => "bundle",
        }
    }
}

/// Reads what the settings name.
pub(crate) fn read(from: &SecretFrom) -> Result<Held, Error> {
    match from {
        SecretFrom::KeyFile(path) => read_key_file(path),
        SecretFrom::PassphraseFile(path) => read_passphrase_file(path).map(Held::Passphrase),
        SecretFrom::Passphrase(words) => Ok(Held::Passphrase(words.clone())),
        SecretFrom::Prompt => ask("Passphrase: ").map(Held::Passphrase),
    }
}

/// Reads what the settings name to lock a new repository: a missing key file is made, a passphrase is asked for twice.
/// Answers also the key file that was made.
pub(crate) fn read_or_make(from: &SecretFrom, world: &World) -> Result<(Held, Option<PathBuf>), Error> {
    match from {
        SecretFrom::KeyFile(path) => match read_key_file(path) {
            Err(Error::NoKeyFile(_)) => {
                let made = make_key_file(path, world)?;
                Ok((Held::KeyFile(made), Some(path.clone())))
            }
            read => Ok((read?, None)),
        },
        SecretFrom::Prompt => Ok((Held::Passphrase(ask_twice()?), None)),
        _ => Ok((read(from)?, None)),
    }
}

/// A key file, a recipient's private key or a bundle, told apart by the first word.
fn read_key_file(path: &Path) -> Result<Held, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoKeyFile(path.to_owned()));
        }
        Err(error) => {
            return Err(Error::Request(format!("read the key file {}: {error}", path.display())));
        }
    };
    let held = match TextKind::of(&text) {
        TextKind::Bundle => Bundle::from_text(&text).map(|bundle| Held::Bundle(Box::new(bundle))),
        TextKind::Private => KemSecret::from_text(&text).map(Held::Recipient),
        TextKind::KeyFile => KeyFile::from_text(&text).map(Held::KeyFile),
        TextKind::Public => return Err(Error::PublicKey(path.to_owned())),
    };
    held.map_err(|why| Error::BadKeyFile { path: path.to_owned(), why })
}

fn read_passphrase_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text =
        Zeroizing::new(fs::read_to_string(path).map_err(|error| {
            Error::Request(format!("read the passphrase file {}: {error}", path.display()))
        })?);
    let words = text.strip_suffix('\n').unwrap_or(&text);
    let words = words.strip_suffix('\r').unwrap_or(words);
    if words.is_empty() {
        return Err(Error::Request(format!("the passphrase file {} is empty", path.display())));
    }
    Ok(Zeroizing::new(words.to_owned()))
}

/// Makes a key file, unless somebody else was faster: then it is that one.
pub(crate) fn make_key_file(path: &Path, world: &World) -> Result<KeyFile, Error> {
    let key = KeyFile::fresh(&mut world.chance());
    let about = "# Key file of Seawall. Whoever has it can read the backups that it locks; without it nobody can.\n\
                 # Keep a copy in another place, on paper too: the one line below is all of it.\n";
    let text = Zeroizing::new(format!("{about}{}", *key.to_text()));
    if write_new(path, text.as_bytes())? {
        return Ok(key);
    }
    match read_key_file(path)? {
        Held::KeyFile(key) => Ok(key),
        _ => Err(Error::Request(format!("{} is no key file", path.display()))),
    }
}

/// The private key in a recipient's file, which is made where there is none; and whether it was.
pub(crate) fn read_or_make_recipient(path: &Path, world: &World) -> Result<(KemSecret, bool), Error> {
    let key = KemSecret::from_seed(fresh(&mut world.chance()));
    let about = "# Private key of a recipient, for Seawall. Whoever has it can read the backups that were sealed for it;\n\
                 # keep it where they are to be restored. `seawall key recipient FILE` prints its public line again.\n";
    let text = Zeroizing::new(format!("{about}{}", *key.to_text()));
    if write_new(path, text.as_bytes())? {
        return Ok((key, true));
    }
    match read_key_file(path)? {
        Held::Recipient(key) => Ok((key, false)),
        _ => {
            Err(Error::Request(format!("{} is there already and holds another kind of key", path.display())))
        }
    }
}

/// A recipient's public line as it was typed, or from the file behind an `@`.
pub(crate) fn read_public(typed: &str) -> Result<KemPublic, Error> {
    let file = typed.strip_prefix('@').map(Path::new);
    let text =
        match file {
            Some(path) => Zeroizing::new(fs::read_to_string(path).map_err(|error| {
                Error::Request(format!("read the public key {}: {error}", path.display()))
            })?),
            None => Zeroizing::new(typed.to_owned()),
        };
    match TextKind::of(&text) {
        TextKind::Private => Err(Error::Request(
            "that is the private half, which must stay where it is: its public line is wanted, which `seawall key \
             recipient FILE` prints"
                .to_owned(),
        )),
        _ => KemPublic::from_text(&text).map_err(|why| Error::BadPublicKey { file: file.map(Path::to_owned), why }),
    }
}

/// Writes a file for its owner only, whole or not at all; `false` if there was one.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let path = std::path::absolute(path).map_err(Error::local("find", path))?;
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    make.map_err(Error::local("make the folder", &dir))?;
    let mut part = path.clone().into_os_string();
    part.push(format!(".part{}", std::process::id()));
    let part = PathBuf::from(part);
    let write = || -> std::io::Result<bool> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let linked = match fs::hard_link(&part, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            linked => linked.map(|()| true)?,
        };
        fs::File::open(&dir)?.sync_all()?;
        Ok(linked)
    };
    let written = write().map_err(Error::local("write", &path));
    // A part that is left behind holds what the file holds, for the same owner only.
    let _ = fs::remove_file(&part);
    written
}

/// Asks for a new passphrase, twice.
pub(crate) fn ask_twice() -> Result<Zeroizing<String>, Error> {
    let first = ask("New passphrase: ")?;
    if *first != *ask("The same again: ")? {
        return Err(Error::Request("the two passphrases are not the same".to_owned()));
    }
    Ok(first)
}

/// Asks whoever sits at the terminal.
fn ask(question: &str) -> Result<Zeroizing<String>, Error> {
    let (mut input, mut terminal) = (std::io::stdin().lock(), std::io::stderr());
    if !input.is_terminal() || !terminal.is_terminal() {
        return Err(Error::NoTerminal);
    }
    let failed = |error: std::io::Error| Error::local("read from", "the terminal")(error);
    let before = tcgetattr(&input).map_err(|errno| failed(errno.into()))?;
    let _unseen = Unseen::start(before).map_err(failed)?;
    // A question that cannot be shown is still answered.
    let _ = write!(terminal, "{question}");
    let line = read_line(&mut input).map_err(failed);
    let _ = writeln!(terminal);
    match line? {
        None => Err(Error::Interrupted),
        Some(line) if line.is_empty() => Err(Error::Request("the passphrase is empty".to_owned())),
        Some(line) => Ok(line),
    }
}

/// The terminal without echo and without signals, so that nothing can leave it that way; put back when dropped.
struct Unseen(Termios);

impl Unseen {
    fn start(before: Termios) -> std::io::Result<Unseen> {
        let mut silent = before.clone();
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Unseen(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// One line, with the usual keys to correct it; `None` if it was interrupted.
fn read_line(input: &mut impl Read) -> std::io::Result<Option<Zeroizing<String>>> {
    const LINE_BYTES_MAX: usize = 4096;
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = [0];
    loop {
        let read = input.read(&mut byte)?;
        match byte[0] {
            _ if read == 0 => break,
            b'\n' | b'\r' => break,
            0x03 => return Ok(None),
            0x04 if line.is_empty() => return Ok(None),
            0x15 => line.clear(),
            0x08 | 0x7f => while line.pop().is_some_and(|gone| gone & 0xc0 == 0x80) {},
            other if line.len() < LINE_BYTES_MAX => line.push(other),
            _ => {}
        }
    }
    let bad = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "what was typed is not UTF-8");
    std::str::from_utf8(&line).map(|text| Some(Zeroizing::new(text.to_owned()))).map_err(bad)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/key");
        let world = World::real();
        let missing = read(&SecretFrom::KeyFile(path.clone()));
        assert!(matches!(missing, Err(Error::NoKeyFile(_))));
        let first = make_key_file(&path, &world).unwrap();
        let again = make_key_file(&path, &world).unwrap();
        assert_eq!(*first.to_text(), *again.to_text(), "a key file is never overwritten");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(matches!(read(&SecretFrom::KeyFile(path)), Ok(Held::KeyFile(_))));
    }

    #[test]
    fn a_typing_error_in_a_key_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for text in ["", "hello\n", "seawall-key-1 00 00000000\n", "seawall-bundle-1 00 00000000\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read_key_file(&path), Err(Error::BadKeyFile { .. })), "{text}");
        }
    }

    #[test]
    fn a_passphrase_file_may_end_in_a_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        for (text, words) in [("a b", "a b"), ("a b\n", "a b"), (" a\r\n", " a"), ("a\n\n", "a\n")] {
            fs::write(&path, text).unwrap();
            assert_eq!(*read_passphrase_file(&path).unwrap(), words);
        }
        fs::write(&path, "\n").unwrap();
        assert!(read_passphrase_file(&path).is_err());
    }

    #[test]
    fn a_typed_line_can_be_corrected_and_interrupted() {
        let typed = |bytes: &[u8]| read_line(&mut &bytes[..]).unwrap().map(|line| line.to_string());
        assert_eq!(typed(b"secret\n").as_deref(), Some("secret"));
        assert_eq!(typed(b"x\x15ab\xc3\xa4\x7fc\n").as_deref(), Some("abc"));
        assert_eq!(typed(b"no end").as_deref(), Some("no end"));
        assert_eq!(typed(b"abc\x03"), None);
        assert_eq!(typed(b"\x04"), None);
    }
}

//! Commands of the user around a backup, such as those that make a snapshot and remove it.
//!
//! A shell runs them, as they are typed where one is at hand. What they print goes to standard error, since standard output
//! belongs to the program's own answer; their standard input is empty.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::{Error, printable};

/// What opens a repository is for this program alone: a command may print all that it is given.
pub(crate) const SECRET: &str = "SEAWALL_PASSPHRASE";

/// Runs `command` by `sh -c` to its end. Each of `variables` is set in its environment, or taken out of it.
pub fn run(when: &'static str, command: &OsStr, variables: &[(&str, Option<&str>)]) -> Result<(), Error> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(std::io::stderr()).env_remove(SECRET);
    for (name, value) in variables {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let shown = || printable(command.as_encoded_bytes());
    let status = shell.status().map_err(|why| Error::CommandStart { command: shown(), why })?;
    if status.success() { Ok(()) } else { Err(Error::HookFailed { when, command: shown(), status }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::{Remedied, Remedy};

    #[test]
    fn a_hook_is_told_what_it_is_for_and_nothing_older() {
        let variables = [("SEAWALL_ONE", Some("a b")), ("SEAWALL_TWO", None), ("HOME", None)];
        let script = "test \"$SEAWALL_ONE\" = 'a b' && test -z \"${SEAWALL_TWO+x}$HOME\"";
        run("before", OsStr::new(script), &variables).unwrap();
    }

    #[test]
    fn a_hook_that_fails_is_named_with_how_it_ended() {
        let error = run("after", OsStr::new("exit 3"), &[]).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("after the backup") && said.contains("exit 3") && said.contains("status: 3"),
            "{said}"
        );
        assert_eq!(error.remedy(), Remedy::Stop);
    }
}

//! The words of the command line: settings that every verb takes, before or after it, and the verbs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::verbs::{
    backup, bench, cat, catalog, completions, diff, find, forget, hold, init, key, log, ls, man, pin, points,
    release, rescue, restore, session, stats, sweep, verify, writer,
};

/// Back up data, and prove that it can be brought back.
#[derive(Parser)]
#[command(name = "seawall", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 done, but some items are missing; 3 damaged data; 4 wrong \
    request, key or permission; 5 lost a race, run it again; 6 unavailable, try later; 130 interrupted";

/// Settings that every verb takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Global {
    /// The repository: a path, file:///path, s3://bucket/prefix?endpoint=http://host:port&region=r, gs://, az://
    /// [env: SEAWALL_REPO] [default: the user's data directory]
    #[arg(long, value_name = "WHERE", global = true)]
    pub(crate) repo: Option<OsString>,
    /// The key file or bundle that opens it [env: SEAWALL_KEY_FILE] [default: the user's configuration directory]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) key_file: Option<PathBuf>,
    /// A file that holds the passphrase which opens it [env: SEAWALL_PASSPHRASE, the passphrase itself]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Ask for the passphrase that opens it
    #[arg(long, global = true)]
    pub(crate) passphrase: bool,
    /// Where this host keeps its writer key, catalog and caches [env: SEAWALL_STATE] [default: the user's state directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,
    /// Stop unless the repository is the one of this fingerprint
    #[arg(long, value_name = "FINGERPRINT", global = true)]
    pub(crate) trust: Option<String>,
    /// A PEM file of further authorities whose certificates are trusted
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Send at most this many bytes per second, such as 10M
    #[arg(long, value_name = "RATE", global = true)]
    pub(crate) limit_upload: Option<String>,
    /// Fetch at most this many bytes per second, such as 10M
    #[arg(long, value_name = "RATE", global = true)]
    pub(crate) limit_download: Option<String>,
    /// Go on trying a place that does not answer for this long, such as 90s, 15m or 2h [default: 5m, and 5s where it has
    /// not answered yet]
    #[arg(long, value_name = "TIME", global = true)]
    pub(crate) retry_for: Option<String>,
    /// Print one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results that were asked for, and problems
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// What can be done. A program of last resort is built without the verbs that change a repository.
#[derive(Subcommand)]
pub(crate) enum Verb {
    #[cfg(feature = "write")]
    #[command(flatten)]
    Change(Change),
    Points(points::Points),
    Ls(ls::Ls),
    Find(find::Find),
    Diff(diff::Compare),
    Cat(cat::Cat),
    Stats(stats::Stats),
    Restore(restore::Restore),
    Verify(verify::Verify),
    Catalog(catalog::Catalog),
    Log(log::Log),
    Key(key::Key),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What changes a repository, or is of use only to whoever does.
#[derive(Subcommand)]
pub(crate) enum Change {
    Init(init::Init),
    Backup(Box<backup::Backup>),
    Forget(Box<forget::Forget>),
    Pin(pin::Pin),
    Hold(hold::Hold),
    Release(release::Release),
    Sweep(sweep::Sweep),
    Session(session::Session),
    Writer(writer::Writer),
    Rescue(rescue::Rescue),
    Bench(bench::Bench),
}

impl Change {
    fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self {
            Change::Init(verb) => verb.run(context),
            Change::Backup(verb) => verb.run(context),
            Change::Forget(verb) => verb.run(context),
            Change::Pin(verb) => verb.run(context),
            Change::Hold(verb) => verb.run(context),
            Change::Release(verb) => verb.run(context),
            Change::Sweep(verb) => verb.run(context),
            Change::Session(verb) => verb.run(context),
            Change::Writer(verb) => verb.run(context),
            Change::Rescue(verb) => verb.run(context),
            Change::Bench(verb) => verb.run(context),
        }
    }
}

impl Verb {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self {
            #[cfg(feature = "write")]
            Verb::Change(verb) => verb.run(context),
            Verb::Points(verb) => verb.run(context),
            Verb::Ls(verb) => verb.run(context),
            Verb::Find(verb) => verb.run(context),
            Verb::Diff(verb) => verb.run(context),
            Verb::Cat(verb) => verb.run(context),
            Verb::Stats(verb) => verb.run(context),
            Verb::Restore(verb) => verb.run(context),
            Verb::Verify(verb) => verb.run(context),
            Verb::Catalog(verb) => verb.run(context),
            Verb::Log(verb) => verb.run(context),
            Verb::Key(verb) => verb.run(context),
            Verb::Completions(verb) => verb.run(context),
            Verb::Man(verb) => verb.run(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_stand_before_or_after_the_verb() {
        let read = |words: &[&str]| Cli::try_parse_from(words).map(|cli| cli.global);
        let before = read(&["seawall", "--repo", "r", "--json", "points"]).unwrap();
        let after = read(&["seawall", "points", "--repo", "r", "--json"]).unwrap();
        assert!(before.json && after.json);
        assert_eq!((before.repo, after.repo), (Some("r".into()), Some("r".into())));
    }

    #[test]
    fn every_verb_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}

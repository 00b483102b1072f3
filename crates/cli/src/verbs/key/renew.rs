//! `key renew`: new keys for all that is stored from now on.
//!
//! Before anything is made it is known for whom the new keys will be sealed; nobody is shut out who was not named.

use std::path::PathBuf;

use clap::Args;
use format::fact::Grant;
use format::key::Slot;
use repo::{AtHand, Others, Renewal, Repo};
use serde_json::{Value, json};

use super::{document, secret_name};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::secret::{self, Held};
use crate::settings::SecretFrom;
use crate::show;

#[derive(Args)]
pub(super) struct Renew {
    /// A further key file that is to have the new keys; may be given several times
    #[arg(long, value_name = "FILE")]
    also_key_file: Vec<PathBuf>,
    /// A file with a further passphrase that is to have the new keys; may be given several times
    #[arg(long, value_name = "FILE")]
    also_passphrase_file: Vec<PathBuf>,
    /// Remove the slots of all secrets that are neither given nor recipients
    #[arg(long)]
    remove_others: bool,
    /// Only say who would have the new keys and who would not
    #[arg(long)]
    dry_run: bool,
}

impl Renew {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let (repo, held) = context.open_and_hold()?;
        let others = if self.remove_others || self.dry_run { Others::Remove } else { Others::Refuse };
        let plan = repo.plan_renewal(self.at_hand(held)?, others)?;
        if self.dry_run {
            return self.tell_plan(context, &plan, &write_only_hosts(&repo));
        }
        let renewed = repo.renew(&plan)?;
        for (slot, why) in &renewed.stayed {
            let slot = show::short(slot);
            context.out.warning(format!("slot {slot} with keys from before stays: {why}"));
        }
        for slot in &plan.damaged {
            context.out.warning(format!("{slot}; whoever it is for has no new keys"));
        }
        let hosts = write_only_hosts(&repo);
        let body = json!({
            "generation": renewed.generation,
            "slots": renewed.slots.iter().map(ToString::to_string).collect::<Value>(),
            "carried": documents(plan.carried(), &repo),
            "shut_out": documents(&plan.shut_out, &repo),
            "hosts_without_keys": hosts.iter().map(|host| host.name.clone()).collect::<Value>(),
        });
        context.out.summary("key/1", body, |out| {
            writeln!(out, "new keys are in use; these secrets, as they are, open them and all from before:")?;
            show::table(out, &["secret", "label"], &rows(plan.carried()))?;
            for slot in &plan.shut_out {
                writeln!(out, "shut out: {}", rows([slot]).concat().join(", "))?;
            }
            writeln!(
                out,
                "what is stored from now on cannot be read with the old keys; what was stored before, still"
            )
        })?;
        if !plan.shut_out.is_empty() {
            context.out.warning(
            "secrets that were shut out open nothing any more: put one that opens the new keys in their place on every host, \
             or its next backup fails",
            );
        }
        for host in &hosts {
            let (name, flags) = (&host.name, context.shown_flags());
            let command = format!("seawall key export-writer FILE{}{flags}", host.words());
            context
                .out
                .warning(format!("the host {name} adds nothing more until it has a new key: `{command}`"));
        }
        Ok(if renewed.stayed.is_empty() { Outcome::Done } else { Outcome::Incomplete })
    }

    /// The secret in use comes first: it has the new keys before any other.
    fn at_hand(&self, held: Held) -> Result<Vec<AtHand>, Error> {
        let files = self.also_key_file.iter().cloned().map(SecretFrom::KeyFile);
        let words = self.also_passphrase_file.iter().cloned().map(SecretFrom::PassphraseFile);
        let further = files.chain(words).map(|from| secret::read(&from));
        std::iter::once(Ok(held))
            .chain(further)
            .filter_map(|held| held.and_then(at_hand).transpose())
            .collect()
    }

    fn tell_plan(&self, context: &Context, plan: &Renewal, hosts: &[Host]) -> Result<Outcome, Error> {
        let all_known = plan.shut_out.is_empty() && plan.damaged.is_empty();
        let refused = !(all_known || self.remove_others);
        plan.damaged.iter().for_each(|slot| {
            context.out.warning(format!("{slot}; whoever it is for would have no new keys"))
        });
        let body = json!({
            "dry_run": true,
            "refused": refused,
            "hosts_without_keys": hosts.iter().map(|host| host.name.clone()).collect::<Value>(),
            "carried": plan.carried().map(|slot| slot.id().to_string()).collect::<Value>(),
            "shut_out": plan.shut_out.iter().map(|slot| slot.id().to_string()).collect::<Value>(),
        });
        context.out.result("key/1", body, |out| {
            writeln!(out, "these secrets would have the new keys:")?;
            show::table(out, &["secret", "label"], &rows(plan.carried()))?;
            if !plan.shut_out.is_empty() {
                match refused {
                    true => writeln!(
                        out,
                        "and the renewal would be refused, as these would not; give them too, or say --remove-others:"
                    )?,
                    false => writeln!(out, "these would be shut out, and their slots removed:")?,
                }
                show::table(out, &["secret", "label"], &rows(&plan.shut_out))?;
            }
            hosts.iter().try_for_each(|host| {
                writeln!(out, "the host {} would add nothing more until it has a new key", host.name)
            })
        })?;
        Ok(if refused { Outcome::Refused } else { Outcome::Done })
    }
}

/// `None` for a bundle, which opens by itself and has no slot.
fn at_hand(held: Held) -> Result<Option<AtHand>, Error> {
    let lock = match held {
        Held::Bundle(_) => return Ok(None),
        ref held => held.locks()?,
    };
    match held.opens() {
        repo::Secret::Unlock(unlock) => Ok(Some(AtHand { unlock, lock })),
        repo::Secret::Bundle(_) => Ok(None),
    }
}

fn rows<'s>(slots: impl IntoIterator<Item = &'s Slot>) -> Vec<Vec<String>> {
    slots.into_iter().map(|slot| vec![secret_name(slot), show::bytes(slot.label().as_bytes())]).collect()
}

fn documents<'s>(slots: impl IntoIterator<Item = &'s Slot>, repo: &Repo) -> Value {
    slots.into_iter().map(|slot| document(slot, repo)).collect()
}

/// A host that may add and nothing else: its keys are in a file that nobody here can reach.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    name: String,
    /// The only sources that it may add; all, if there are none.
    sources: Vec<String>,
}

impl Host {
    /// What makes the same host anew.
    fn words(&self) -> String {
        let sources =
            self.sources.iter().map(|source| format!(" --source {}", show::shell_word(source.as_ref())));
        format!(" --name {}{}", show::shell_word(self.name.as_ref()), sources.collect::<String>())
    }
}

fn write_only_hosts(repo: &Repo) -> Vec<Host> {
    let fold = repo.fold();
    let only_adds = fold.writers.values().filter(|w| w.revoked.is_none() && w.grant.rights == Grant::ADD);
    let hosts = only_adds.map(|w| Host {
        name: show::bytes(w.grant.name.as_bytes()),
        sources: w.grant.sources.clone().unwrap_or_default(),
    });
    let mut hosts: Vec<Host> = hosts.collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

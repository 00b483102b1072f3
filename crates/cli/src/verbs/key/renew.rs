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
            return self.tell_plan(context, &plan);
        }
        let renewed = repo.renew(&plan)?;
        for (slot, why) in &renewed.stayed {
            let slot = show::short(slot);
            context.out.warning(format!("slot {slot} with keys from before stays: {why}"));
        }
        let hosts = write_only_hosts(&repo);
        let body = json!({
            "generation": renewed.generation,
            "slots": renewed.slots.iter().map(ToString::to_string).collect::<Value>(),
            "carried": documents(plan.carried(), &repo),
            "shut_out": documents(&plan.shut_out, &repo),
            "hosts_without_keys": hosts,
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
        for host in &hosts {
            let (name, flags) = (show::shell_word(host.as_ref()), context.shown_flags());
            context.out.warning(format!(
                "the host {host} adds nothing more until it has a new key: `seawall key export-writer FILE --name {name}{flags}`"
            ));
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

    fn tell_plan(&self, context: &Context, plan: &Renewal) -> Result<Outcome, Error> {
        let body = json!({
            "carried": plan.carried().map(|slot| slot.id().to_string()).collect::<Value>(),
            "shut_out": plan.shut_out.iter().map(|slot| slot.id().to_string()).collect::<Value>(),
        });
        context.out.result("key/1", body, |out| {
            writeln!(out, "these secrets would have the new keys:")?;
            show::table(out, &["secret", "label"], &rows(plan.carried()))?;
            match plan.shut_out.is_empty() {
                true => Ok(()),
                false => {
                    writeln!(out, "these would not, unless they are given too:")?;
                    show::table(out, &["secret", "label"], &rows(&plan.shut_out))
                }
            }
        })?;
        Ok(Outcome::Done)
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

/// Names of hosts that may add and nothing else: their keys are in files that nobody here can reach.
fn write_only_hosts(repo: &Repo) -> Vec<String> {
    let fold = repo.fold();
    let only_adds = fold.writers.values().filter(|w| w.revoked.is_none() && w.grant.rights == Grant::ADD);
    let mut names: Vec<String> = only_adds.map(|w| show::bytes(w.grant.name.as_bytes())).collect();
    names.sort();
    names.dedup();
    names
}

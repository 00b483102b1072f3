//! New keys: all points come back to those who have them, and nothing is hidden from those who have not.

use super::*;

/// A point before and a point after a renewal, and what each held. The key file that `init` made has no slot any more; it
/// lies at `old.key`, its slot at `old.slot`.
pub(super) struct Renewed {
    pub(super) machine: Machine,
    pub(super) points: Vec<String>,
    pub(super) truths: Vec<Listing>,
}

impl Renewed {
    pub(super) fn new() -> Renewed {
        let machine = with_point();
        let truths = vec![Listing::of(&machine.at("tree"))];
        fs::copy(machine.key_file(), machine.at("old.key")).unwrap();
        fs::copy(slot_files(&machine).remove(0), machine.at("old.slot")).unwrap();
        let old = id_of(&slots(&machine)[0]);
        machine.done(&["key", "add", "--new-key-file", "new.key"]);
        machine.done(&["key", "add", "--recipient", &recipient(&machine, "safe.key")]);
        machine.done(&["key", "remove", &old, "--key-file", "new.key"]);
        let mut renewed = Renewed { machine, points: Vec::new(), truths };
        renewed.renew_and_back_up(1);
        renewed
    }

    pub(super) fn renew_and_back_up(&mut self, number: u64) {
        let machine = &self.machine;
        machine.done(&["key", "renew", "--key-file", "new.key"]);
        fs::write(machine.at(&format!("tree/later{number}")), odd::noise(number, 400_000)).unwrap();
        let words = ["backup", "tree", "--source", "tree", "--key-file", "new.key"];
        let made = machine.json(&words);
        assert_eq!(made["kind"].as_str(), Some("incremental"));
        self.truths.push(Listing::of(&machine.at("tree")));
        let listed = machine.json(&["points", "--key-file", "new.key"]);
        let id = |point: &Value| point["id"].as_str().unwrap().to_owned();
        self.points = listed["points"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(self.points.len(), self.truths.len());
    }

    fn assert_all_restore(&self, key: &str) {
        for (point, truth) in self.points.iter().zip(&self.truths) {
            assert_restores(&self.machine, key, point, truth);
        }
    }
}

/// The slots of a local repository.
pub(super) fn slot_files(machine: &Machine) -> Vec<std::path::PathBuf> {
    let domains = fs::read_dir(machine.repository().join("keys")).unwrap();
    domains
        .flat_map(|domain| fs::read_dir(domain.unwrap().path()).unwrap())
        .map(|f| f.unwrap().path())
        .collect()
}

#[test]
fn points_of_all_generations_come_back_to_whoever_has_the_new_keys() {
    let mut renewed = Renewed::new();
    renewed.renew_and_back_up(2);
    for key in ["new.key", "safe.key"] {
        renewed.assert_all_restore(key);
    }
    let machine = &renewed.machine;
    let listed = slots_with(machine, "new.key");
    assert!(listed.len() == 2 && listed.iter().all(|slot| slot["newest"] == true), "{listed:?}");
    for level in ["L0", "L1", "L2"] {
        machine.done(&["verify", "--level", level, "--key-file", "new.key"]);
    }
    machine.done(&["log", "--verify", "--key-file", "new.key"]);
    machine.done(&["catalog", "rebuild", "--key-file", "new.key"]);
    machine.done(&["catalog", "check", "--key-file", "new.key"]);

    // In place, where what stands there is compared with chunks of all generations.
    machine.done(&["restore", &renewed.points[0], "--into", "place", "--key-file", "new.key"]);
    let words = ["--into", "place", "--existing", "differences", "--read-back", "--key-file", "new.key"];
    let again = machine.json(&[&["restore", "latest"], &words[..]].concat());
    let written = again["written_bytes"].as_u64().unwrap();
    // The two later files, and one with several names, which is always made anew.
    assert!((800_000..1_100_000).contains(&written), "{again}");
    // A directory that held something before keeps its own time.
    assert_eq!(Listing::of(&machine.at("place")).differences(&renewed.truths[2]), [": time"]);
}

/// What the documents say of the cost: what changed is stored anew, a full backup stores everything anew.
#[test]
fn unchanged_files_are_taken_over_and_a_full_backup_stores_all_anew() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 3_000_000)).unwrap();
    let backup = |more: &[&str]| {
        let made = machine.json(&[&["backup", "tree", "--source", "tree"], more].concat());
        made["bytes_new"].as_u64().unwrap()
    };
    assert!(backup(&[]) >= 3_000_000);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(backup(&["--kind", "full"]), 0);
    machine.done(&["key", "renew"]);
    assert!(backup(&[]) < 10_000);
    assert!(backup(&["--kind", "full"]) >= 3_000_000);
    assert_eq!(backup(&["--kind", "full"]), 0);
    let truth = Listing::of(&machine.at("tree"));
    let key = machine.key_file();
    for point in machine.points() {
        let into = format!("out-{point}");
        machine.done(&["restore", &point, "--into", &into, "--key-file", key.to_str().unwrap()]);
        assert_eq!(Listing::of(&machine.at(&into)).differences(&truth), Vec::<String>::new());
    }
}

#[test]
fn nobody_is_shut_out_who_was_not_named() {
    let machine = with_point();
    fs::write(machine.at("words"), "correct horse\n").unwrap();
    machine.done(&["key", "add", "--new-key-file", "second.key"]);
    machine.done(&["key", "add", "--new-passphrase-file", "words"]);
    let said = machine.run(&["key", "renew", "--also-passphrase-file", "words"]);
    said.assert_failed(4, "key file of slot");
    assert!(said.err.contains("--also-key-file") && !said.err.contains("passphrase of slot"), "{said}");
    let plan = machine.run(&["key", "renew", "--dry-run", "--json"]);
    assert_eq!(plan.code, 4, "it would be refused: {plan}");
    let plan = plan.json();
    assert_eq!(plan["carried"].as_array().unwrap().len(), 1);
    assert_eq!(plan["shut_out"].as_array().unwrap().len(), 2);
    assert_eq!(slots(&machine).iter().filter(|slot| slot["generation"] == 0).count(), 3);

    recipient(&machine, "stranger.key");
    machine.run(&["key", "renew", "--also-key-file", "stranger.key"]).assert_failed(4, "opens none");
    let both = ["key", "renew", "--also-key-file", "second.key", "--also-passphrase-file", "words"];
    machine.done(&both);
    assert_eq!(slots(&machine).len(), 3);
    for secret in [["--key-file", "second.key"], ["--passphrase-file", "words"]] {
        machine.done(&["backup", "tree", "--source", "tree", secret[0], secret[1]]);
    }
    machine.done(&["key", "renew", "--remove-others", "--key-file", "second.key"]);
    machine.run(&["points"]).assert_failed(4, "opens none of the 1");
    machine.done(&["points", "--key-file", "second.key"]);
}

/// As whoever removed a slot and keeps a copy of it: it is put back, and opens what it always did.
#[test]
fn old_keys_are_told_as_old_and_add_nothing() {
    let renewed = Renewed::new();
    let machine = &renewed.machine;
    machine.run(&["points", "--key-file", "old.key"]).assert_failed(4, "opens none");
    let folder = slot_files(machine)[0].parent().unwrap().to_owned();
    let slot =
        format::genesis::Genesis::decode(&fs::read(machine.repository().join("format")).unwrap()).unwrap();
    let old = fs::read(machine.at("old.slot")).unwrap();
    let id = format::key::Slot::decode(&old, &slot.id, &slot.root_public).unwrap().id();
    fs::write(folder.join(id.to_string()), &old).unwrap();

    let thief = Machine::new();
    std::os::unix::fs::symlink(machine.repository(), thief.repository()).unwrap();
    fs::copy(machine.at("old.key"), thief.at("old.key")).unwrap();
    let said = thief.run(&["points", "--json", "--key-file", "old.key"]);
    assert!(said.err.contains("were renewed"), "{said}");
    assert_eq!(said.json()["points"].as_array().unwrap().len(), 1);
    assert_restores(&thief, "old.key", &renewed.points[0], &renewed.truths[0]);
    fs::create_dir(thief.at("tree")).unwrap();
    for words in [
        &["restore", "latest", "--into", "out"][..],
        &["restore", "latest", "--at", "now", "--into", "out"],
        &["restore", &renewed.points[1], "--into", "out"],
        &["backup", "tree"],
        &["key", "add", "--new-key-file", "more.key"],
        &["key", "export-writer", "host.key", "--name", "host"],
        &["key", "renew"],
    ] {
        let said = thief.run(&[words, &["--key-file", "old.key"]].concat());
        assert_eq!(said.code, 4, "{said}");
    }
    // With the new keys the same machine sees what it could not open before.
    fs::copy(machine.at("new.key"), thief.at("new.key")).unwrap();
    let seen = thief.json(&["points", "--key-file", "new.key"]);
    assert_eq!(seen["points"].as_array().unwrap().len(), 2);
    thief.done(&["catalog", "check", "--key-file", "new.key"]);
    let listed = slots_with(machine, "new.key");
    assert_eq!(listed.iter().filter(|slot| slot["newest"] == false).count(), 1, "{listed:?}");
    // The old slot is no reason to remove the last one that is whole.
    let whole: Vec<String> = listed.iter().filter(|slot| slot["newest"] == true).map(id_of).collect();
    machine.done(&["key", "remove", &whole[1], "--key-file", "new.key"]);
    machine.run(&["key", "remove", &whole[0], "--key-file", "new.key"]).assert_failed(4, "the only one");
    machine.done(&["key", "remove", &id.to_string(), "--key-file", "new.key"]);
}

#[test]
fn a_host_that_only_adds_is_refused_until_it_has_a_new_key() {
    let (admin, host) = (Machine::with_repository(), Machine::new());
    std::os::unix::fs::symlink(admin.repository(), host.repository()).unwrap();
    let export = |file: &str| {
        let file = host.at(file);
        admin.done(&["key", "export-writer", file.to_str().unwrap(), "--name", "web 1"]);
    };
    export("first.key");
    fs::create_dir(host.at("tree")).unwrap();
    fs::write(host.at("tree/file"), odd::noise(1, 500_000)).unwrap();
    host.done(&["backup", "tree", "--key-file", "first.key"]);
    let said = admin.done(&["key", "renew"]);
    assert!(said.err.contains("key export-writer FILE --name 'web 1'"), "{said}");
    let refused = host.run(&["backup", "tree", "--key-file", "first.key"]);
    refused.assert_failed(4, "were renewed");
    assert!(refused.err.contains("`seawall key export-writer"), "{refused}");
    export("second.key");
    fs::write(host.at("tree/more"), odd::noise(2, 500_000)).unwrap();
    host.done(&["backup", "tree", "--key-file", "second.key"]);
    host.run(&["points", "--key-file", "second.key"]).assert_failed(4, "needs a key");
    let truth = Listing::of(&host.at("tree"));
    admin.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(Listing::of(&admin.at("out")).differences(&truth), Vec::<String>::new());
    admin.done(&["verify", "--level", "L2"]);
}

/// Whoever can write to the store must not be able to shut a secret out by damaging its slot.
#[test]
fn a_slot_that_does_not_read_stops_a_renewal_that_was_not_told_to_go_on() {
    let machine = with_point();
    let line = recipient(&machine, "safe.key");
    machine.done(&["key", "add", "--recipient", &line]);
    let slots = tests::files::below(&machine.repository().join("keys"));
    let theirs = slots.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let whole = fs::read(theirs).unwrap();
    tests::files::flip(theirs, [whole.len() / 2]);
    machine.run(&["key", "renew"]).assert_failed(4, "is damaged");
    assert_eq!(machine.run(&["key", "renew", "--dry-run"]).code, 4);
    let told = machine.run(&["key", "renew", "--remove-others", "-q"]);
    assert!(told.code == 0 && told.err.contains("no new keys"), "{told}");
    fs::write(theirs, whole).unwrap();
    let again = machine.done(&["key", "renew", "--remove-others", "--dry-run"]);
    assert!(!again.err.contains("damaged"), "{again}");
}

//! How objects are named. Names are spelled here and nowhere else; section 1 of `docs/format.md`.

use format::entry::EntryId;
use format::id::{DomainId, Hash, PackId, RunId, SessionId, SlotId, SweepId, WriterId};
use format::session::PartId;
use storage::{KeyPrefix, ObjectKey};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).expect("names made of hexadecimal and fixed words are keys")
}

fn prefix(name: &str) -> KeyPrefix {
    KeyPrefix::new(name).expect("names made of hexadecimal and fixed words are prefixes")
}

/// The genesis object.
pub fn genesis() -> ObjectKey {
    key("format")
}

/// A slot.
pub fn slot(domain: DomainId, slot: SlotId) -> ObjectKey {
    key(&format!("keys/{domain}/{slot}"))
}

/// All slots.
pub fn slots() -> KeyPrefix {
    prefix("keys/")
}

/// The slots of one domain.
pub fn slots_of(domain: DomainId) -> KeyPrefix {
    prefix(&format!("keys/{domain}/"))
}

/// A pack.
pub fn pack(pack: PackId) -> ObjectKey {
    key(&format!("packs/{:02x}/{pack}", pack.spread()))
}

/// All packs.
pub fn packs() -> KeyPrefix {
    prefix("packs/")
}

/// The pack of this name.
pub fn parse_pack(name: &str) -> Option<PackId> {
    let (folder, id) = name.strip_prefix("packs/")?.split_once('/')?;
    let id = PackId::parse(id).ok()?;
    (format!("{:02x}", id.spread()) == folder).then_some(id)
}

/// A run.
pub fn run(writer: WriterId, session: SessionId, run: RunId) -> ObjectKey {
    key(&format!("runs/{writer}/{session}/{run}"))
}

/// All runs.
pub fn runs() -> KeyPrefix {
    prefix("runs/")
}

/// The run of this name.
pub fn parse_run(name: &str) -> Option<(WriterId, SessionId, RunId)> {
    let mut parts = name.strip_prefix("runs/")?.split('/');
    let (writer, session, run) = (parts.next()?, parts.next()?, parts.next()?);
    let parsed = (WriterId::parse(writer).ok()?, SessionId::parse(session).ok()?, RunId::parse(run).ok()?);
    parts.next().is_none().then_some(parsed)
}

/// Whether this names a run.
pub fn is_run(name: &str) -> bool {
    name.starts_with("runs/")
}

/// A log entry.
pub fn entry(id: EntryId, hash: Hash) -> ObjectKey {
    key(&format!("log/{}/{}/{:08x}-{hash}", id.writer, id.session, id.number))
}

/// All log entries.
pub fn log() -> KeyPrefix {
    prefix("log/")
}

/// The entry of this name.
pub fn parse_entry(name: &str) -> Option<(EntryId, Hash)> {
    let mut parts = name.strip_prefix("log/")?.split('/');
    let (writer, session, last) = (parts.next()?, parts.next()?, parts.next()?);
    let (number, hash) = last.split_once('-')?;
    if parts.next().is_some() || number.len() != 8 || number.contains(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let id = EntryId {
        writer: WriterId::parse(writer).ok()?,
        session: SessionId::parse(session).ok()?,
        number: u32::from_str_radix(number, 16).ok()?,
    };
    Some((id, Hash::parse(hash).ok()?))
}

/// A session object.
pub fn session(writer: WriterId, session: SessionId, number: u32) -> ObjectKey {
    key(&format!("sessions/{writer}/{session}/{number:08x}"))
}

/// The session that an object of this name is of.
pub fn parse_session(name: &str) -> Option<(WriterId, SessionId, u32)> {
    let mut parts = name.strip_prefix("sessions/")?.split('/');
    let (writer, session, number) = (parts.next()?, parts.next()?, parts.next()?);
    let number = u32::from_str_radix(number, 16).ok()?;
    let parsed = (WriterId::parse(writer).ok()?, SessionId::parse(session).ok()?, number);
    (parts.next().is_none() && self::session(parsed.0, parsed.1, number).as_str() == name).then_some(parsed)
}

/// All session objects.
pub fn sessions() -> KeyPrefix {
    prefix("sessions/")
}

/// One part of one sweep.
pub fn sweep_part(part: PartId) -> ObjectKey {
    key(&format!("sweeps/{:08x}-{}/{:08x}", part.number, part.sweep, part.part))
}

/// The part of a sweep that an object of this name is.
pub fn parse_sweep_part(name: &str) -> Option<PartId> {
    let mut parts = name.strip_prefix("sweeps/")?.split('/');
    let ((number, sweep), part) = (parts.next()?.split_once('-')?, parts.next()?);
    let number = u32::from_str_radix(number, 16).ok()?;
    let part = u32::from_str_radix(part, 16).ok()?;
    let parsed = PartId { number, sweep: SweepId::parse(sweep).ok()?, part };
    (parts.next().is_none() && sweep_part(parsed).as_str() == name).then_some(parsed)
}

/// All parts of all sweeps.
pub fn sweeps() -> KeyPrefix {
    prefix("sweeps/")
}

/// An object that helps to restore: `what` it is, with the program's version and perhaps a processor, and its hash.
pub fn rescue(what: &str, hash: Hash, extension: &str) -> Result<ObjectKey, storage::Error> {
    ObjectKey::new(&format!("rescue/{what}-{hash}{extension}"))
}

/// All objects that help to restore.
pub fn rescues() -> KeyPrefix {
    prefix("rescue/")
}

/// The hash in the name of an object that helps to restore.
pub fn parse_rescue(name: &str) -> Option<Hash> {
    let (what, last) = name.strip_prefix("rescue/")?.rsplit_once('-')?;
    let hash = last.split_once('.').map_or(last, |(hash, _)| hash);
    if what.is_empty() || what.contains('/') { None } else { Hash::parse(hash).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let pack_id = PackId::new(SessionId([1; 16]), [0xab; 16]);
        let name = pack(pack_id);
        assert!(name.as_str().starts_with("packs/ab/"));
        assert_eq!(parse_pack(name.as_str()), Some(pack_id));
        let id = EntryId { writer: WriterId([1; 16]), session: SessionId([2; 16]), number: 0x1f };
        let name = entry(id, Hash([3; 32]));
        assert_eq!(parse_entry(name.as_str()), Some((id, Hash([3; 32]))));
        assert!(name.as_str().contains("/0000001f-"));
        let part = PartId { number: 1, sweep: SweepId([4; 16]), part: 2 };
        assert_eq!(parse_sweep_part(sweep_part(part).as_str()), Some(part));
        for extension in ["", ".md"] {
            let name = rescue("seawall-0.1.0-x86_64", Hash([3; 32]), extension).unwrap();
            assert_eq!(parse_rescue(name.as_str()), Some(Hash([3; 32])), "{name}");
        }
        for name in ["rescue/x", "rescue/-", "rescue/a/b-", "log/a-b", "rescue/seawall-0.1.0-x86_64-00"] {
            assert!(parse_rescue(name).is_none(), "{name}");
        }
    }

    #[test]
    fn other_names_are_not_taken_for_ours() {
        for name in ["log/a/b/c", "log/", "packs/00/zz", "log/x", "packs/01/00"] {
            assert!(parse_entry(name).is_none() && parse_pack(name).is_none(), "{name}");
        }
        let part = sweep_part(PartId { number: 1, sweep: SweepId([4; 16]), part: 2 });
        for name in [
            format!("{part}0"),
            format!("{part}/x"),
            "sweeps/1-2/3".to_owned(),
            "sweeps/.DS_Store".to_owned(),
        ] {
            assert!(parse_sweep_part(&name).is_none(), "{name}");
        }
    }
}

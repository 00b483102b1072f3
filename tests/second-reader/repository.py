"""Sections 3 to 9 of docs/format.md: genesis, slots, the log, packs and trees of a repository in a directory.

What is believed was checked, in this order: genesis against the trust anchor, slots against the root key, log
entries by name, signature, chain and grant, packs by repository, domain and commitment, chunks by their ids.
What fails is named in `problems` and does not count. Numbers in comments are sections of the document.
"""

import hmac
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace

from argon2.low_level import Type as Argon2Type, hash_secret_raw
from blake3 import blake3

from packs import Pack
from sealing import (
    MALFORMED,
    MIB,
    Bad,
    check_signature,
    commitment,
    decode,
    derive,
    fields,
    hpke_key,
    need,
    opened,
    prefixed,
    u32,
    unseal,
    writer_of,
    xwing_expand,
)

KNOWN_FACTS = {*range(1, 9), 11, *range(16, 24)}


class Repository:
    def __init__(self, root, anchor=None):
        self.root, self.problems, self.keys = Path(root), [], {}
        self.packs, self.frames = {}, OrderedDict()
        data = self.load("format")
        self.id = blake3(data).digest()
        need(anchor in (None, self.id.hex()), f"this repository is {self.id.hex()}, not that of the anchor")
        record = decode(opened(data[:-64], b"F", MIB, "genesis"), "genesis")
        record = fields(record, "n b32 i b32 l l n l b16 t", "genesis")
        need(record[0] == 1 and 1 in record[4], "genesis: no suite or version that this reader knows")
        self.root_key = record[1]
        check_signature(b"seawall 1 genesis", data, self.root_key, "genesis")

    def load(self, name):
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            raise Bad(f"{name}: missing") from None

    def names(self, pattern):
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob(pattern) if path.is_file())

    def tolerate(self, name, act, *arguments):
        """What `act` gives, or None and a line in the report."""
        try:
            return act(*arguments)
        except MALFORMED as error:
            self.problems.append(f"{name}: {error or type(error).__name__}")

    # ------------------------------------------------------------ 4: slots and bundles

    def unlock(self, kind, secret):
        """Opens every slot that the secret opens; a bundle needs none."""
        bundles = [secret] if kind == "bundle" else []
        for name in self.names("keys/*/*"):
            slot = self.tolerate(name, self.read_slot, name)
            key = slot and self.tolerate(name, self.slot_key, slot, kind, secret)
            if key and hmac.compare_digest(commitment(key), slot.commitment):
                bundles.append(unseal(key, slot.commitment, 0, slot.sealed, slot.additional, name))
        need(bundles, "no slot of this repository opens with that secret")
        for bundle in bundles:
            self.add_bundle(bundle)

    def read_slot(self, name):
        _, domain, slot = name.split("/")
        body = check_signature(b"seawall 1 slot", self.load(name), self.root_key, name)
        record = fields(decode(opened(body, b"K", MIB, name), name), "b32 b16 b16 n l t? t i b32 b", name)
        need(record[:3] == [self.id, bytes.fromhex(domain), bytes.fromhex(slot)], "belongs elsewhere")
        place = b"".join(record[:3])
        return SimpleNamespace(
            place=place,
            kind=record[3],
            parameters=record[4],
            commitment=record[8],
            sealed=record[9],
            additional=b"seawall 1 bundle" + place + bytes([record[3]]),
        )

    def slot_key(self, slot, kind, secret):
        """The key-encryption key that this secret gives, if the slot is of its kind."""
        if (slot.kind, kind) == (0, "key"):
            (salt,) = fields(slot.parameters, "b32", "slot")
            return derive("seawall 1 slot key file", secret + slot.place + salt)
        if (slot.kind, kind) == (1, "passphrase"):
            salt, memory, passes, lanes = fields(slot.parameters, "b32 n n n", "slot")
            need(memory <= 4 * MIB and passes <= 64 and lanes <= 64, "Argon2id parameters beyond the limits")
            output = hash_secret_raw(secret, salt, passes, memory, lanes, 32, Argon2Type.ID, version=0x13)
            return derive("seawall 1 slot passphrase", output + slot.place)
        if (slot.kind, kind) == (2, "private"):
            recipient, enc = fields(slot.parameters, "b1216 b1120", "slot")
            if xwing_expand(secret)[2] == recipient:
                return hpke_key(secret, enc, b"seawall 1 slot" + slot.place)
        return None

    def add_bundle(self, data):
        record = fields(decode(data, "bundle"), "n b32 b16 l b32? b32?", "bundle")
        need(record[0] == 1 and record[1] == self.id, "the bundle is of another repository or version")
        for keys in record[3]:
            keys = fields(keys, "n b32? b32? b32? b1216? b32? b1216?", "bundle")
            held = {"chunk": keys[1], "index": keys[2], "data": keys[3], "catalog": keys[5]}
            known = self.keys.setdefault((record[2], keys[0]), {})
            known.update({name: key for name, key in held.items() if key is not None})

    def key(self, domain, generation, name):
        key = self.keys.get((domain, generation), {}).get(name)
        need(key is not None, f"no {name} key for domain {domain.hex()}, generation {generation}")
        return key

    # ------------------------------------------------------------ 5 and 9: the log

    def read_log(self):
        """All entries that count, by hash, and their facts in the order of the clocks."""
        read = [self.tolerate(name, self.read_entry, name) for name in self.names("log/*/*/*")]
        self.entries = self.granted(self.link(sorted(filter(None, read), key=lambda e: e.number)))
        ordered = sorted(self.entries.values(), key=lambda e: (e.clock, e.writer, e.session, e.number))
        for entry in ordered:
            self.tolerate(entry.name, self.check_named, entry)
            sealed = self.tolerate(entry.name, self.sealed_facts, entry) if entry.sealed else []
            entry.facts += sealed or []
        self.facts = [(fact, entry) for entry in ordered for fact in entry.facts]
        self.fold()

    def read_entry(self, name):
        _, writer, session, last = name.split("/")
        data = self.load(name)
        number, digest = last.split("-")
        need(len(number) == 8 and blake3(data).hexdigest() == digest, "is not what its name says")
        clear, rest = prefixed(opened(data[:-64], b"L", 16 * MIB, "entry"))
        sealed, rest = prefixed(rest)
        need(not rest, "bytes after the sealed part")
        record = fields(decode(clear, "clear part"), "b32 b16 b16 n b32 l * b32 l l l l l t?", "clear part")
        check_signature(b"seawall 1 entry", data, record[7], "entry")
        place = [self.id, bytes.fromhex(writer), bytes.fromhex(session), int(number, 16)]
        need(record[:4] == place and writer_of(record[7]) == place[1], "belongs elsewhere")
        return SimpleNamespace(
            name=name,
            hash=bytes.fromhex(digest),
            writer=place[1],
            session=place[2],
            number=place[3],
            previous=record[4],
            clock=fields(record[5], "i n", "clock"),
            clear=clear,
            sealed=sealed,
            brings=[fields(x, "t n b32", "brings") for x in record[9]],
            deps=[fields(x, "b16 b16 n", "deps") for x in record[10]],
            heads=[fields(x, "b16 b16 n b32", "heads") for x in record[11]],
            facts=[read_fact(x, "clear") for x in record[12]],
        )

    def link(self, entries):
        """Entries whose chain reaches back to number 0; gaps and forks are reported."""
        linked, taken = {}, set()
        for entry in entries:
            place, before = (entry.writer, entry.session, entry.number), linked.get(entry.previous)
            follows = before and (before.writer, before.session, before.number + 1) == place
            if not follows and not (entry.number == 0 and entry.previous == bytes(32)):
                self.problems.append(f"{entry.name}: the entry before it is missing or another")
                continue
            if place in taken:
                self.problems.append(f"{entry.name}: fork, its writer made two entries of this number")
            taken.add(place)
            linked[entry.hash] = entry
        return linked

    def granted(self, entries):
        """Entries whose writer the root has granted and not revoked."""
        root, self.grants, revoked = writer_of(self.root_key), defaultdict(list), defaultdict(list)
        for entry in (e for e in entries.values() if e.writer == root):
            for fact in entry.facts:
                if fact.kind == 1:
                    grant = fields(fact.record, "b32 t n l? i", "grant")
                    self.grants[writer_of(grant[0])].append(grant)
                elif fact.kind == 2:
                    writer, chains, _ = fields(fact.record, "b16 l t", "revoke")
                    revoked[writer].append({chain[0]: chain[1] for chain in chains})
        counted = {}
        for digest, entry in entries.items():
            cut = any(entry.number > limit.get(entry.session, -1) for limit in revoked[entry.writer])
            if (entry.writer == root or entry.writer in self.grants) and not cut:
                counted[digest] = entry
            else:
                self.problems.append(f"{entry.name}: its writer is {'revoked' if cut else 'not granted'}")
        return counted

    def check_named(self, entry):
        """What this entry saw of other chains is still there: a missing or changed entry shows here."""
        present = {(e.writer, e.session, e.number) for e in self.entries.values()}
        for writer, session, number, digest in entry.heads:
            need(
                digest in self.entries,
                f"it saw {writer.hex()}/{session.hex()}/{number:08x}, which is missing",
            )
        for writer, session, number in entry.deps:
            need(
                (writer, session, number) in present, f"it needs {writer.hex()}/{session.hex()}/{number:08x}"
            )

    def sealed_facts(self, entry):
        place, enc, expected, sealed = (
            entry.sealed[a:b] for a, b in [(0, 20), (20, 1140), (1140, 1172), (1172, None)]
        )
        seed = self.key(place[:16], int.from_bytes(place[16:], "little"), "catalog")
        info = b"seawall 1 facts" + self.id + place + entry.writer + entry.session + u32(entry.number)
        additional = blake3(entry.clear).digest()
        plain = unseal(hpke_key(seed, enc, info), expected, 0, sealed, additional, "sealed part")
        return [read_fact(fact, "sealed") for fact in decode(plain, "sealed part", padded=True)]

    def fold(self):
        """What the facts say together: keys, moved frames, points, substitutes."""
        self.points, self.unreadable = {}, []
        self.forgets, self.undone = defaultdict(set), defaultdict(set)
        self.moved, self.substitutes = defaultdict(list), defaultdict(list)
        takes = {
            3: self.take_domain,
            6: self.take_moved,
            7: self.take_feature,
            16: self.take_point,
            17: self.take_forget,
            18: self.take_undo,
            23: self.take_substitute,
        }
        for fact, entry in self.facts:
            if fact.kind in takes:
                self.tolerate(entry.name, takes[fact.kind], fact.record, entry)

    def take_domain(self, record, entry):
        need(entry.writer == writer_of(self.root_key), "no right to state keys")
        domain, generation, data, catalog = fields(record, "b16 n b1216 b1216", "domain")
        held = self.keys.get((domain, generation), {})
        for name, public in [("data", data), ("catalog", catalog)]:
            need(name not in held or xwing_expand(held[name])[2] == public, f"public {name} key is another")

    def take_moved(self, record, _):
        for origin, ordinals, pack in fields(record, "t b16 l", "moved")[2]:
            for ordinal in ordinals:
                self.moved[origin, ordinal].append(pack)

    def take_feature(self, record, _):
        name, effect = fields(record, "t n", "feature")
        self.unreadable += [] if effect in (0, 1, 3) else [name]

    def take_point(self, record, entry):
        kinds = "b16 t t n b16? i i i l l l n l l n t n"
        names = "id source host kind basis as_of begun finished paths root counts"
        point = SimpleNamespace(
            **dict(zip(names.split(), fields(record, kinds, "point"))), writer=entry.writer
        )
        allowed = any(
            grant[2] & 1 and (grant[3] is None or point.source in grant[3])
            for grant in self.grants[entry.writer]
        )
        need(allowed or entry.writer == writer_of(self.root_key), f"no right to add points of {point.source}")
        self.points[point.id] = point

    def take_forget(self, record, entry):
        for point in fields(record, "l l? t", "forget")[0]:
            self.forgets[point].add((entry.writer, entry.session, entry.number))

    def take_undo(self, record, _):
        for point, entries in fields(record, "l", "undo")[0]:
            self.undone[point].update(tuple(entry) for entry in entries)

    def forgotten(self, point):
        """Whether an entry forgot the point, in any region, that no undo names."""
        return bool(self.forgets[point] - self.undone[point])

    def take_substitute(self, record, _):
        for lost, found in fields(record, "l", "substitute")[0]:
            self.substitutes[tuple(lost)].append(found)

    def permit(self, verb):
        """A verb is refused if a fact that is critical for it, or a feature, is not understood."""
        unknown = {f"{f.namespace} {f.number}" for f, _ in self.facts if not f.kind and verb in f.critical}
        unknown.update(self.unreadable)
        need(
            not unknown, f"{verb}: the log needs what this reader does not know: {', '.join(sorted(unknown))}"
        )

    # ------------------------------------------------------------ 6: packs and references

    def pack(self, pack):
        if pack not in self.packs:
            self.packs[pack] = Pack(self, pack)
        return self.packs[pack]

    def find(self, origin, ordinal, act):
        """What `act` gives for the first pack that has this frame: its own, or one that it was moved to."""
        reasons = []
        for pack in [origin, *self.moved.get((origin, ordinal), [])]:
            try:
                return act(self.pack(pack))
            except MALFORMED as error:
                reasons.append(str(error))
        raise Bad("; ".join(reasons))

    def frame(self, origin, ordinal):
        """The plain bytes of a frame and the chunk key of its generation."""
        place = (origin, ordinal)
        if place not in self.frames:
            self.frames[place] = self.find(origin, ordinal, lambda pack: pack.open_frame(origin, ordinal))
            if len(self.frames) > 32:
                self.frames.popitem(last=False)
        return self.frames[place]

    def chunk(self, reference, substitutes=4):
        """The bytes of a chunk, checked against its id; a lost one is replaced as the log says."""
        origin, ordinal, offset, length, chunk = fields(list(reference), "b32 n n n b32", "reference")
        try:
            raw, key = self.frame(origin, ordinal)
            plain = raw[offset : offset + length]
            need(
                blake3(plain, key=key).digest() == chunk, f"chunk {chunk.hex()} of {origin.hex()} is another"
            )
            return plain
        except Bad:
            others = self.substitutes.get(tuple(reference), []) if substitutes else []
            for other in others:
                try:
                    if other[4] == chunk:
                        return self.chunk(other, substitutes - 1)
                except Bad:
                    pass
            raise

    # ------------------------------------------------------------ 8: trees

    def walk(self, reference, level=None, first=None):
        """The entries of a tree in path order; a damaged node is reported and left out."""
        node = decode(self.chunk(reference), "node")
        need(level in (None, node[0]) and node[0] <= 16, "node: wrong level")
        if node[0] == 0:
            entries = leaf(*fields(node, "n l l l", "leaf")[1:])
        else:
            entries = self.inner(*fields(node, "n l l", "inner node"))
        last = None
        for entry in entries:
            need(last is not None or first in (None, entry.path), "node: its first path is not its parent's")
            need(last is None or last < entry.path.split(b"/"), "node: paths out of order")
            last = entry.path.split(b"/")
            yield entry

    def inner(self, level, packs, children):
        path = b""
        for child in children:
            shared, suffix, reference, *_ = fields(child, "n b l n n n", "child")
            path = path[:shared] + suffix
            try:
                yield from self.walk(resolve(packs, reference), level - 1, path)
            except MALFORMED as error:
                self.problems.append(f"entries from {path!r} on: {error}")

    def content(self, packs, depth, parts):
        """The pieces of a file: bytes, or the length of a run of zeros."""
        need(depth <= 16, "content: too deep")
        for part in parts:
            if depth > 0:
                reference, covers = fields(part, "l n", "part")
                node = fields(
                    decode(self.chunk(resolve(packs, reference)), "content node"), "l l", "content node"
                )
                for piece in self.content(node[0], depth - 1, node[1]):
                    covers -= piece if isinstance(piece, int) else len(piece)
                    yield piece
                need(covers == 0, "content node: covers another length")
            elif len(part) == 1:
                yield fields(part, "n", "part")[0]
            else:
                yield self.chunk(resolve(packs, part))


def read_fact(value, part):
    """A fact; its kind is None if it is not one of those that the document describes for this part."""
    namespace, number, version, critical, data = fields(value, "t n n l b", "fact")
    known = (namespace, version) == ("seawall", 0) and number in KNOWN_FACTS
    need(not known or (number >= 16) == (part == "sealed"), f"fact {number} in the {part} part")
    return SimpleNamespace(
        namespace=namespace,
        number=number,
        kind=number if known else None,
        critical=critical,
        record=decode(data, f"fact {number}", more=True) if known else None,
    )


def resolve(packs, reference):
    index, *rest = fields(reference, "n n n n b32", "reference")
    return (packs[index], *rest)


def leaf(packs, names, entries):
    path = b""
    for entry in entries:
        entry = fields(entry, "n b n n n n n n i n * n? l?", "entry")
        path = path[: entry[0]] + entry[1]
        user, group = (names[i - 1] if i else None for i in entry[6:8])
        yield SimpleNamespace(
            path=path,
            kind=entry[2],
            mode=entry[3],
            uid=entry[4],
            gid=entry[5],
            user=user,
            group=group,
            mtime=entry[8] * 10**9 + entry[9],
            body=entry[10],
            link=entry[11],
            xattrs=entry[12],
            packs=packs,
        )

"""A small writer of repositories, made from docs/format.md for the tests of the second reader; not a tool.

It writes one domain with one generation and what the document describes for it: every kind of object, a frame
that was moved from a pack that is gone, a tree of two levels, holes, and names that are not UTF-8. Keys are
encapsulated with the ML-KEM of another library than the reader's.
"""

import hashlib
import math
import os
import random
import struct
from pathlib import Path

import cbor2
import zstandard
from argon2.low_level import Type as Argon2Type, hash_secret_raw
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sealing
from sealing import commitment, derive, u32

chance = random.Random(2718281828)


def encapsulate_elsewhere(public):
    """The same with ML-KEM of another library and its own chance."""
    ss_m, ct_m = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    return combine(ss_m, ct_m, chance.randbytes(32), public)


def combine(ss_m, ct_m, ephemeral, public):
    x25519 = X25519PrivateKey.from_private_bytes(ephemeral)
    ct_x = x25519.public_key().public_bytes_raw()
    ss_x = x25519.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return hashlib.sha3_256(ss_m + ss_x + ct_x + public[1184:] + b"\\.//^\\").digest(), ct_m + ct_x


def size_class(length, least=16384):
    length = max(length, least)
    exponent = int(math.log2(length))
    step = 1 << (exponent - int(math.log2(exponent)) - 1)
    return -(-length // step) * step


def seal(key, ordinal, plain, additional):
    nonce = chance.randbytes(8)
    return nonce + AESGCM(key).encrypt(u32(ordinal) + nonce, plain, additional)


def sign(private, context, body):
    return body + private.sign(context + blake3(body).digest())


def ten(kind):
    return b"seawall" + kind + bytes([1, 0])


def padded(data, length):
    return data + bytes(length - len(data))


class Signer:
    def __init__(self):
        self.private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        self.public = self.private.public_key().public_bytes_raw()
        self.writer, self.session = blake3(self.public).digest()[:16], chance.randbytes(16)
        self.number, self.previous, self.clock, self.seen = 0, bytes(32), 0, []


class Writer:
    """Writes one repository with one domain, one generation, a root, and hosts."""

    def __init__(self, root):
        self.place, self.root, self.domain = Path(root), Signer(), chance.randbytes(16)
        record = [
            1,
            self.root.public,
            1,
            chance.randbytes(32),
            [1],
            [0, 1, 2, 3],
            65536,
            [1 << 20, 1 << 20, 1 << 28],
            self.domain,
            "here",
        ]
        data = sign(self.root.private, b"seawall 1 genesis", ten(b"F") + cbor2.dumps(record))
        self.put("format", data)
        self.id = blake3(data).digest()
        self.chunk_key, self.index_key, self.data_seed, self.catalog_seed = (
            chance.randbytes(32) for _ in range(4)
        )
        self.data_public, self.catalog_public = (
            sealing.xwing_expand(seed)[2] for seed in (self.data_seed, self.catalog_seed)
        )
        keys = [
            0,
            self.chunk_key,
            self.index_key,
            self.data_seed,
            None,
            self.catalog_seed,
            self.catalog_public,
        ]
        self.bundle = cbor2.dumps([1, self.id, self.domain, [keys], None, None])

    def put(self, name, data):
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return [name, len(data), blake3(data).digest()]

    def encapsulate(self, public, info):
        shared, enc = encapsulate_elsewhere(public)
        return sealing.hpke_export(sealing.hpke_secrets(shared, info)[2]), enc

    def slot(self, kind, secret):
        slot, salt = chance.randbytes(16), chance.randbytes(32)
        place = self.id + self.domain + slot
        if kind == 0:
            key, parameters = derive("seawall 1 slot key file", secret + place + salt), [salt]
        elif kind == 1:
            output = hash_secret_raw(secret, salt, 2, 64, 1, 32, Argon2Type.ID, version=19)
            key, parameters = derive("seawall 1 slot passphrase", output + place), [salt, 64, 2, 1]
        else:
            public = sealing.xwing_expand(secret)[2]
            key, enc = self.encapsulate(public, b"seawall 1 slot" + place)
            parameters = [public, enc]
        sealed = seal(key, 0, self.bundle, b"seawall 1 bundle" + place + bytes([kind]))
        record = [self.id, self.domain, slot, kind, parameters, None, "a slot", 1, commitment(key), sealed]
        data = sign(self.root.private, b"seawall 1 slot", ten(b"K") + cbor2.dumps(record))
        return self.put(f"keys/{self.domain.hex()}/{slot.hex()}", data)[0]

    def pack(self, session, kind, frames, moved=(), keep=True):
        """`frames` are [codec, chunks], `moved` are frames of other packs.

        Gives the pack, references to its chunks, what an entry brings, and its frames for others to move.
        """
        pack, suite = session + chance.randbytes(16), bytes([1, kind])
        common = self.id + self.domain + u32(0) + pack
        data_key, data_enc = self.encapsulate(self.data_public, b"seawall 1 data" + common)
        directory_key, directory_enc = self.encapsulate(self.catalog_public, b"seawall 1 directory" + common)
        body, table, references, sealed_frames, origins = ten(b"P"), [], [], [], []
        for ordinal, (codec, chunks) in enumerate(frames):
            raw = b"".join(chunks)
            additional = suite + common + u32(ordinal) + bytes([codec, 0]) + u32(len(raw))
            sealed = seal(data_key, ordinal, zstandard.compress(raw) if codec else raw, additional)
            ids = [blake3(chunk, key=self.chunk_key).digest() for chunk in chunks]
            lengths = [len(chunk) for chunk in chunks]
            halves = b"".join(identity[:16] for identity in ids)
            frame = [0, ordinal, len(body), len(sealed), codec, 0, len(raw), halves, lengths, []]
            table.append(frame)
            sealed_frames.append((frame, sealed))
            body += sealed
            starts = [sum(lengths[:index]) for index in range(len(chunks))]
            references += [(pack, ordinal, *rest) for rest in zip(starts, lengths, ids)]
        for number, (origin, (frame, sealed)) in enumerate(moved, 1):
            origins.append(origin)
            table.append([number, frame[1], len(body), *frame[3:]])
            body += sealed
        directory = cbor2.dumps([1, origins, [], table])
        directory = padded(directory, -(-len(directory) // 4096) * 4096)
        head = suite + u32(0) + self.id + self.domain + pack  # in the tail the generation comes first
        sealed = seal(directory_key, 0xFFFFFFFF, directory, head)
        total = size_class(len(body) + len(sealed) + 2410)
        body += (
            chance.randbytes(total - len(body) - len(sealed) - 2410)
            + sealed
            + head
            + data_enc
            + directory_enc
        )
        body += commitment(data_key) + commitment(directory_key) + u32(len(sealed)) + bytes(6) + ten(b"P")
        name = f"packs/{pack[16:].hex()[:2]}/{pack.hex()}"
        brought = self.put(name, body) if keep else None
        origin = [pack, 1, kind, 0, data_enc, commitment(data_key)]
        return pack, references, brought, [(origin, frame) for frame in sealed_frames]

    def run(self, signer, references):
        run, salt = chance.randbytes(16), chance.randbytes(32)
        key = derive("seawall 1 run", self.index_key + self.id + self.domain + u32(0) + salt)
        record = cbor2.dumps(
            [self.id, self.domain, 0, signer.writer, signer.session, run, 0, salt, commitment(key)]
        )
        packs = sorted({r[0] for r in references})
        lines = sorted(struct.pack("<16sIIII", r[4][:16], packs.index(r[0]), *r[1:4]) for r in references)
        plain = struct.pack("<IQ", len(packs), len(lines)) + b"".join(packs) + b"".join(lines)
        plain, data = padded(plain, size_class(len(plain))), ten(b"R") + u32(len(record)) + record
        for ordinal, at in enumerate(range(0, len(plain), 5000)):
            block = seal(key, ordinal, plain[at : at + 5000], record)
            data += u32(len(block)) + block
        return self.put(f"runs/{signer.writer.hex()}/{signer.session.hex()}/{run.hex()}", data)

    def entry(self, signer, clear=(), sealed=(), brings=(), heads=(), critical=()):
        facts = [[cbor2.dumps(record), kind] for kind, record in clear]
        facts = [["seawall", kind, 0, list(critical), data] for data, kind in facts]
        signer.clock += 1
        record = [
            self.id,
            signer.writer,
            signer.session,
            signer.number,
            signer.previous,
            [signer.clock, 0],
            0,
            signer.public,
            ["here"],
            list(brings),
            [],
            list(heads),
            facts,
            None,
        ]
        clear_part, sealed_part = cbor2.dumps(record), b""
        if sealed:
            place = self.domain + u32(0)
            info = b"seawall 1 facts" + self.id + place + signer.writer + signer.session + u32(signer.number)
            key, enc = self.encapsulate(self.catalog_public, info)
            plain = cbor2.dumps([["seawall", kind, 0, [], cbor2.dumps(record)] for kind, record in sealed])
            plain = padded(plain, size_class(len(plain), 1024))
            sealed_part = place + enc + commitment(key) + seal(key, 0, plain, blake3(clear_part).digest())
        body = ten(b"L") + u32(len(clear_part)) + clear_part + u32(len(sealed_part)) + sealed_part
        data = sign(signer.private, b"seawall 1 entry", body)
        digest = blake3(data).digest()
        name = f"log/{signer.writer.hex()}/{signer.session.hex()}/{signer.number:08x}-{digest.hex()}"
        head = [signer.writer, signer.session, signer.number, digest]
        signer.number, signer.previous = signer.number + 1, digest
        self.put(name, data)
        return head, name

    def session(self, signer, number):
        record = [
            self.id,
            signer.writer,
            signer.public,
            signer.session,
            number,
            "here",
            bytes(16),
            0,
            [],
            [],
            [1, 0],
        ]
        data = sign(signer.private, b"seawall 1 session", ten(b"S") + cbor2.dumps(record))
        return self.put(f"sessions/{signer.writer.hex()}/{signer.session.hex()}/{number:08x}", data)[0]

    def sweep(self, signer, packs):
        sweep = chance.randbytes(16)
        record = [
            self.id,
            signer.writer,
            signer.public,
            "here",
            bytes(16),
            7,
            sweep,
            0,
            sorted(packs),
            [1, 0],
        ]
        data = sign(signer.private, b"seawall 1 sweep", ten(b"W") + cbor2.dumps(record))
        return self.put(f"sweeps/{7:08x}-{sweep.hex()}/{0:08x}", data)[0]


# ---------------------------------------------------------------- one repository of everything


class Tree:
    """Leaves and inner nodes of a tree; chunks of nodes become frames of one tree pack."""

    def __init__(self, writer, session):
        self.writer, self.session, self.made, self.references = writer, session, [], []

    def node(self, record):
        """Each node in a pack of its own, so that its reference is known when its parent is made."""
        _, (reference,), brought, _ = self.writer.pack(self.session, 1, [(1, [cbor2.dumps(record)])])
        self.made.append(brought)
        self.references.append(reference)
        return reference


def indexed(packs, reference):
    return [packs.index(reference[0]), *reference[1:]]


def shorten(paths):
    before = b""
    for path in paths:
        shared = len(os.path.commonprefix([before, path]))
        yield shared, path[shared:]
        before = path


def entries_of(tree, files, packs):
    """Leaf entries for {path: (kind, mode, body, link)}, in path order."""
    paths = sorted(files, key=lambda path: path.split(b"/") if path else [])
    for (shared, suffix), path in zip(shorten(paths), paths):
        kind, mode, body, link = files[path]
        yield [shared, suffix, kind, mode, 1000, 1000, 1, 0, 1700000000, 123456789, body, link, None]


def make(place, chunk_key=None, covers=0, more=(), swap=False):
    """A repository with one point; gives its writer, a host, files, their contents, and two names.

    The options forge: other chunk ids, a length that is off, more files, two entries in the wrong order.
    """
    writer = Writer(place)
    writer.chunk_key = chunk_key or writer.chunk_key
    host, root = Signer(), writer.root
    head, _ = writer.entry(
        root,
        clear=[
            (3, [writer.domain, 0, writer.data_public, writer.catalog_public]),
            (8, ["here", bytes(16)]),
            (1, [host.public, "a host", 1, None, 1]),
            (4, []),
        ],
    )
    pieces = [chance.randbytes(chance.randrange(500, 3000)) for _ in range(44)]
    gone, old, _, sealed = writer.pack(host.session, 0, [(0, pieces[40:42]), (1, pieces[42:])], keep=False)
    frames = [(1, pieces[:20]), (0, pieces[20:40])]
    pack, new, brought, _ = writer.pack(host.session, 0, frames, moved=sealed)
    references, hole = new + old, 3 << 20
    tree, data_packs = Tree(writer, host.session), sorted([pack, gone])
    parts = [indexed(data_packs, r) for r in references]
    halves = [parts[:25], [*parts[25:], [hole]]]
    nodes = [tree.node([data_packs, half]) for half in halves]
    lengths = [sum(map(len, pieces[:25])), sum(map(len, pieces[25:])) + hole]
    packs = sorted({*data_packs, *(node[0] for node in nodes)})
    big = [sum(lengths), 1, [[indexed(packs, n), c] for n, c in zip(nodes, lengths)]]
    big[2][0][1] += covers
    mixed = [
        len(pieces[41]) + 100 + len(pieces[3]),
        0,
        [indexed(packs, old[1]), [100], indexed(packs, new[3])],
    ]
    files = {
        b"": (0, 0o755, None, None),
        b"dir": (0, 0o750, None, None),
        b"dir/big": (1, 0o644, big, None),
        b"dir/link": (2, 0o777, b"../tiny", None),
        b"dir/one": (1, 0o600, mixed, 5),
        b"dir/two": (1, 0o600, mixed, 5),
        b"dir.txt": (1, 0o644, b"after dir/", None),
        b"empty": (1, 0o444, b"", None),
        b"n\xff\n": (1, 0o640, b"x", None),
        b"pipe": (3, 0o600, None, None),
        b"tiny": (1, 0o604, b"a tiny file", None),
    }
    files.update(more)
    entries = list(entries_of(tree, files, packs))
    if swap:
        entries[-2:] = reversed(entries[-2:])
    leaves = [tree.node([0, packs, [b"user"], part]) for part in (entries[:4], restart(entries, 4))]
    node_packs = sorted(leaf[0] for leaf in leaves)
    firsts = list(shorten([b"", entries_path(entries, 4)]))
    children = [[*first, indexed(node_packs, leaf), 5, 5, 5] for first, leaf in zip(firsts, leaves)]
    top = tree.node([1, node_packs, children])
    point, counts = chance.randbytes(16), [7, 2, 2, 1, 1, 1]
    fact = [
        point,
        "a source",
        "a host",
        0,
        None,
        50,
        51,
        52,
        [b"/srv"],
        list(top),
        counts,
        0,
        [],
        [],
        0,
        "test",
        1000,
    ]
    writer.session(host, 0)
    writer.sweep(host, [gone])
    run = writer.run(host, references + tree.references)
    writer.entry(host, brings=[brought, *tree.made], heads=[head])
    moved = (6, ["here", bytes(16), [[gone, [0, 1], pack]]])
    _, entry = writer.entry(host, clear=[moved], sealed=[(16, fact)], brings=[run])
    forgot, _ = writer.entry(host, sealed=[(17, [[point], None, "a mistake"])])
    writer.entry(host, clear=[(4, [])], sealed=[(18, [[[point, [forgot[:3]]]]])])
    contents = {
        b"dir/big": b"".join(pieces) + bytes(hole),
        b"dir/one": pieces[41] + bytes(100) + pieces[3],
        b"dir.txt": b"after dir/",
        b"empty": b"",
        b"n\xff\n": b"x",
        b"tiny": b"a tiny file",
    }
    contents[b"dir/two"] = contents[b"dir/one"]
    return writer, host, files, contents, entry, brought[0]


def entries_path(entries, wanted):
    path = b""
    for entry in entries[: wanted + 1]:
        path = path[: entry[0]] + entry[1]
    return path


def restart(entries, at):
    """The entries from `at` on, the first with its whole path."""
    return [[0, entries_path(entries, at), *entries[at][2:]], *entries[at + 1 :]]

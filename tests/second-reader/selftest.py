"""What the second reader stands on, tested without the engine: published vectors, another implementation of
the same cryptography, and a repository that the small writer below makes from docs/format.md and the reader
reads back, whole, damaged and forged. All chance but that of ML-KEM and HPKE comes from one seed.

X-Wing: draft-connolly-cfrg-xwing-kem, appendix C; public key and ciphertext by their SHA3-256. HPKE: the
vector for KEM 0x647a and KDF 1 of draft-ietf-hpke-pq, and that of RFC 9180 for X25519, SHA-256, export only.
"""

import contextlib
import hashlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kyber_py.ml_kem import ML_KEM_768

import read
import sealing
from sealing import commitment
from writer import Signer, chance, combine, encapsulate_elsewhere, make, seal

XWING = [  # seed, encapsulation seed, shared secret, SHA3-256 of public key, of ciphertext
    (
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
        "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
        "5121745904643ad9dfacca7869292c19a8a69533b53e60666b7db910b4ad6367",
        "c0abd149f83f45324ac3a7ddc7606c71f257e5ea86113522834a0ee1bcb34e3e",
    ),
    (
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef"
        "aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
        "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
        "799b6016e5daa56ffa1b5e79f7caf73413ceecd6df428642404cac41ddee4853",
        "7680b7ba47ae09bac4b43001edcef9d98e50df20026e70ba6a424447e1f2b961",
    ),
    (
        "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
        "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619"
        "f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
        "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
        "1ef0c99a06026450564957a5402a788feffbbefdcce55d25de254d0a49eb095a",
        "3088688d63201d5d844170b79f148b2791c15f346ff6f8bd559807fbd442f91f",
    ),
]
HPKE_PQ = dict(
    suite="48504b45647a00010003",
    seed="3ec47fa82dd5689d27c6190e724c74ec8f608df3331ce331929e37b829676630",
    eseed="2a1c0a3745fe8a48fb62034d300f54dfe1974a5b2e169e580a8789cb1cf5fd19"
    "0fc00f3fd899594e01a8b15334b9f3fa03d8de44da86e19f5776850fb689e6c8",
    info="34663634363532303666366532303631323034373732363536333639363136653230353537323665",
    shared="58200ed1f137bd95a921bb47f6aaecf2395b26f7fd24efd3a5ffae4849e8dea3",
    key="131c2ebb469b909a40915914afd7ff5e638888ac7195dcaaaef8f9a84f0e4030",
    exporter="c5362ef3c0008d0e573000c5c25a3f62a3bc7061cd41a384c86c27b37d945bbb",
    exports={
        "70736575646f72616e646f6d30": "5a78d37f40e078c17ef43fa40963f1ff7dcdee56e366da9099dc181c3eccaee5",
        "70736575646f72616e646f6d34": "f77f100943595e59526fb9753401e57b86630f97ad99e6e9d73c8c272a4ad2f0",
    },
)
RFC_9180 = dict(
    suite="48504b4500200001ffff",
    info="4f6465206f6e2061204772656369616e2055726e",
    shared="e81716ce8f73141d4f25ee9098efc968c91e5b8ce52ffff59d64039e82918b66",
    exporter="79dc8e0509cf4a3364ca027e5a0138235281611ca910e435e8ed58167c72f79b",
    exports={
        "": "7a36221bd56d50fb51ee65edfd98d06a23c4dc87085aa5866cb7087244bd2a36",
        "54657374436f6e74657874": "ffaabc85a776136ca0c378e5d084c9140ab552b78f039d2e8775f26efff4c70e",
    },
)

PASSED = []


def holds(condition, sentence):
    if not condition:
        raise SystemExit(f"FAILED: {sentence}")
    PASSED.append(sentence)


# ---------------------------------------------------------------- cryptography


def encapsulate(public, eseed):
    """X-Wing's derandomised encapsulation: (shared secret, enc)."""
    ss_m, ct_m = ML_KEM_768._encaps_internal(public[:1184], eseed[:32])
    return combine(ss_m, ct_m, eseed[32:], public)


def test_vectors():
    for seed, eseed, shared, public_hash, enc_hash in XWING:
        seed = bytes.fromhex(seed)
        public = sealing.xwing_expand(seed)[2]
        ours, enc = encapsulate(public, bytes.fromhex(eseed))
        hashes = [hashlib.sha3_256(x).hexdigest() for x in (public, enc)]
        holds(hashes == [public_hash, enc_hash], "X-Wing makes the published public key and ciphertext")
        opened = sealing.xwing_decapsulate(seed, enc)
        holds(ours.hex() == shared == opened.hex(), "X-Wing opens to the published secret")
    v = {name: bytes.fromhex(x) if isinstance(x, str) else x for name, x in HPKE_PQ.items()}
    shared, enc = encapsulate(sealing.xwing_expand(v["seed"])[2], v["eseed"])
    holds(
        shared == v["shared"] == sealing.xwing_decapsulate(v["seed"], enc),
        "HPKE with X-Wing agrees on the secret",
    )
    secret, context, _ = sealing.hpke_secrets(shared, v["info"], v["suite"])
    key = sealing.hpke_expand(v["suite"], secret, b"key", context, 32)
    holds(key == v["key"], "HPKE's key is the published one")
    for v in (HPKE_PQ, RFC_9180):
        suite, info, shared = (bytes.fromhex(v[name]) for name in ("suite", "info", "shared"))
        exporter = sealing.hpke_secrets(shared, info, suite)[2]
        holds(exporter.hex() == v["exporter"], "HPKE's exporter secret is the published one")
        for context, exported in v["exports"].items():
            ours = sealing.hpke_export(exporter, bytes.fromhex(context), suite)
            holds(ours.hex() == exported, "HPKE exports the published values")


def test_other_implementations():
    seed, info = chance.randbytes(32), b"seawall 1 data" + chance.randbytes(84)
    expanded = hashlib.shake_256(seed).digest(96)
    other = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    public = sealing.xwing_expand(seed)[2]
    holds(other.public_key().public_bytes_raw() == public[:1184], "two libraries make the same ML-KEM key")
    shared, enc = encapsulate_elsewhere(public)
    holds(sealing.xwing_decapsulate(seed, enc) == shared, "what another ML-KEM encapsulates opens here")
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:]).public_key()
    whole = hpke.MLKEM768X25519PublicKey(other.public_key(), x25519)
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    message = suite.encrypt(b"a message", whole, info)
    ours = bytes.fromhex(HPKE_PQ["suite"])
    secret, context, _ = sealing.hpke_secrets(sealing.xwing_decapsulate(seed, message[:1120]), info, ours)
    key = sealing.hpke_expand(ours, secret, b"key", context, 32)
    nonce = sealing.hpke_expand(ours, secret, b"base_nonce", context, 12)
    plain = ChaCha20Poly1305(key).decrypt(nonce, message[1120:], b"")
    holds(plain == b"a message", "another HPKE's message opens here")


def test_strictness():
    holds(not sealing.strict_point(bytes(32)), "a key of small order is refused")
    holds(
        not sealing.strict_point((sealing.P + 3).to_bytes(32, "little")), "a key out of the field is refused"
    )
    key, other = chance.randbytes(32), chance.randbytes(32)
    sealed = seal(key, 3, b"plain", b"about")
    holds(sealing.unseal(key, commitment(key), 3, sealed, b"about", "it") == b"plain", "sealed bytes open")
    for wrong in [(key, other, 3), (other, commitment(key), 3), (key, commitment(key), 2)]:
        refused(lambda: sealing.unseal(*wrong, sealed, b"about", "it"), "another commitment, key or ordinal")
    bad = {
        b"\x81\x18\x01": "a long integer",
        b"\x9f\x01\xff": "an indefinite length",
        b"\x81\x01\0": "a tail",
    }
    for record, why in bad.items():
        refused(lambda: sealing.decode(record, "record"), why)


def refused(act, why):
    try:
        act()
    except sealing.Bad:
        return holds(True, f"{why} is refused")
    holds(False, f"{why} is refused")


# ---------------------------------------------------------------- what comes back


def key_file(path, secret, word="seawall-key-1"):
    Path(path).write_text(f"# keep this\n{word} {secret.hex()} {blake3(secret).hexdigest()[:8]}\n")
    return ["--key", str(path)]


def run_reader(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = read.main([str(argument) for argument in arguments])
    return code, out.getvalue() + err.getvalue()


def test_round_trip(scratch):
    writer, _, files, contents, _, _ = make(scratch / "repo")
    secret, recipient = chance.randbytes(32), chance.randbytes(32)
    for kind, opens in enumerate([secret, b"open sesame", recipient]):
        writer.slot(kind, opens)
    (scratch / "pass").write_text("open sesame\n")
    ways = {
        "key file": key_file(scratch / "key", secret),
        "passphrase": ["--passphrase", scratch / "pass"],
        "recipient": key_file(scratch / "recipient", recipient, "seawall-private-1"),
        "bundle": key_file(scratch / "bundle", writer.bundle, "seawall-bundle-1"),
    }
    for way, options in ways.items():
        code, said = run_reader(scratch / "repo", *options, "--anchor", writer.id.hex(), "check")
        holds(
            code == 0 and "5 entries, 1 points, 7 of 7 objects" in said,
            f"a {way} opens the repository: {said}",
        )
    options = ways["key file"]
    for verb, says in [("list", '"forgotten": false'), ("runs", "agree with the directories")]:
        code, said = run_reader(scratch / "repo", *options, verb)
        holds(code == 0 and says in said, f"{verb} says: {said}")
    code, said = run_reader(scratch / "repo", *options, "restore", "latest", scratch / "out")
    holds(code == 0, f"the whole point is restored: {said}")
    compare(scratch / "out", files, contents)
    code, said = run_reader(scratch / "repo", *options, "restore", "latest", scratch / "one", "dir/one")
    holds(
        code == 0 and (scratch / "one/dir/one").read_bytes() == contents[b"dir/one"],
        f"one file is restored: {said}",
    )
    Path(next((scratch / "repo").glob("log/*/*/00000003-*"))).unlink()
    code, said = run_reader(scratch / "repo", *options, "list")
    holds(
        code == 0 and '"forgotten": true' in said,
        f"a point is forgotten if no undo names what forgot it: {said}",
    )
    code, said = run_reader(scratch / "repo", *options, "--anchor", "00" * 32, "check")
    holds(code == 1 and "anchor" in said, "another anchor is refused")
    code, said = run_reader(scratch / "repo", *key_file(scratch / "bad", chance.randbytes(32)), "check")
    holds(code == 1 and "no slot" in said, "a wrong key is refused")


def compare(place, files, contents):
    names = sorted(os.path.relpath(path, os.fsencode(place)) for path in walk(os.fsencode(place)))
    holds(names == sorted(path for path in files if path), "every name is there and no other")
    for path, (kind, mode, body, _) in files.items():
        there = os.path.join(os.fsencode(place), path)
        found = os.lstat(there)
        holds(kind == 2 or found.st_mode & 0o7777 == mode, f"mode of {path!r}")
        holds(found.st_mtime_ns == 1700000000123456789, f"time of {path!r}")
        holds(kind != 1 or Path(os.fsdecode(there)).read_bytes() == contents[path], f"content of {path!r}")
        holds(kind != 2 or os.readlink(there) == body, f"target of {path!r}")
    one, two = (os.lstat(os.path.join(os.fsencode(place), b"dir", name)) for name in (b"one", b"two"))
    holds(one.st_ino == two.st_ino, "two names of one file are one file again")


def walk(place):
    for base, directories, names in os.walk(place):
        yield from (os.path.join(base, name) for name in directories + names)


# ---------------------------------------------------------------- damage


def test_damage(scratch):
    """Every object cut, flipped at three places, and deleted: it is noticed, and never restored wrong."""
    writer, _, files, contents, _, _ = make(scratch / "good")
    slot = writer.slot(0, secret := chance.randbytes(32))
    options = key_file(scratch / "key", secret)
    paths = [path for path in sorted((scratch / "good").rglob("*")) if path.is_file()]
    names = [str(path.relative_to(scratch / "good")) for path in paths]
    for name in names:
        for change in ("cut", "first", "middle", "last", "delete"):
            shutil.rmtree(scratch / "bad", ignore_errors=True)
            shutil.copytree(scratch / "good", scratch / "bad")
            damage(scratch / "bad" / name, change)
            code, said = run_reader(scratch / "bad", *options, "check")
            optional = change == "delete" and name.startswith(("packs", "runs", "sessions", "sweeps"))
            last = change == "delete" and name.startswith("log") and "/00000003-" in name
            holds(code != 0 or optional or last, f"{change} of {name.split('/')[0]} is noticed: {said}")
            shutil.rmtree(scratch / "out", ignore_errors=True)
            code, said = run_reader(scratch / "bad", *options, "restore", "latest", scratch / "out")
            for path in contents:
                there = scratch / "out" / os.fsdecode(path)
                holds(there.exists() or code != 0, f"{change} of {name}: a restore that lacks a file says so")
                holds(not there.exists() or there.read_bytes() == contents[path], "nothing wrong is restored")
    holds(slot in names and len(names) > 10, "all kinds of objects were damaged")


def damage(path, change):
    data = bytearray(path.read_bytes())
    if change == "delete":
        path.unlink()
        return
    if change == "cut":
        data = data[: len(data) // 2]
    else:
        data[{"first": 8, "middle": len(data) // 2, "last": len(data) - 1}[change]] ^= 1
    path.write_bytes(data)


def test_log(scratch):
    def fresh(name):
        writer, host, *_ = make(scratch / name)
        writer.slot(0, secret)
        return writer, host

    secret = chance.randbytes(32)
    options = key_file(scratch / "key", secret)
    writer, _ = fresh("stranger")
    writer.entry(Signer(), clear=[(4, [])])
    code, said = run_reader(scratch / "stranger", *options, "check")
    holds(code == 2 and "not granted" in said, "an entry of a stranger does not count")
    writer, host = fresh("fork")
    host.number, host.previous = 0, bytes(32)
    writer.entry(host, clear=[(4, [])])
    code, said = run_reader(scratch / "fork", *options, "check")
    holds(code == 2 and "fork" in said, "a fork is found")
    writer, host = fresh("revoked")
    writer.root.session, writer.root.number, writer.root.previous = chance.randbytes(16), 0, bytes(32)
    writer.entry(writer.root, clear=[(2, [host.writer, [[host.session, 0]], "stolen"])])
    code, said = run_reader(scratch / "revoked", *options, "list")
    holds(code == 2 and "is revoked" in said and '"point"' not in said, "what was revoked does not count")
    writer, host = fresh("critical")
    writer.entry(host, clear=[(77, [1])], critical=["restore"])
    code, said = run_reader(scratch / "critical", *options, "restore", "latest", scratch / "out")
    holds(code == 1 and "seawall 77" in said, "an unknown fact that is critical for restore stops it")
    code, said = run_reader(scratch / "critical", *options, "list")
    holds(code == 0, "and does not stop list")


def test_forgery(scratch):
    """What a name, a place or an id alone would let through."""
    secret = chance.randbytes(32)
    options = key_file(scratch / "key", secret)
    writer, _, _, _, name, _ = make(scratch / "signature")
    writer.slot(0, secret)
    data = bytearray((writer.place / name).read_bytes())
    data[-80] ^= 1
    (writer.place / name).unlink()
    writer.put(f"{name.rsplit('-')[0]}-{blake3(data).hexdigest()}", data)
    code, said = run_reader(writer.place, *options, "check")
    holds(
        code == 2 and "signature is wrong" in said,
        "an entry of the right name and wrong signature does not count",
    )
    writer, host, _, _, name, _ = make(scratch / "place")
    writer.slot(0, secret)
    moved = name.replace(host.session.hex(), chance.randbytes(16).hex())
    (writer.place / moved).parent.mkdir()
    (writer.place / name).rename(writer.place / moved)
    code, said = run_reader(writer.place, *options, "check")
    holds(code == 2 and "belongs elsewhere" in said, "an entry in another chain's place does not count")
    writer, *_ = make(scratch / "ids", chunk_key=chance.randbytes(32))
    writer.slot(0, secret)
    code, said = run_reader(writer.place, *options, "restore", "latest", scratch / "out")
    holds(code == 1 and "is another" in said, "a chunk that is not what its id says is not restored")


def test_hostile_trees(scratch):
    """A granted writer lies about its own point: nothing is written that was not checked, or outside."""
    secret = chance.randbytes(32)
    options = key_file(scratch / "key", secret)
    lies = [
        (dict(covers=1), "covers another length", "dir/big"),
        (dict(swap=True), "out of order", "pipe"),
        (dict(more={b"../up": (1, 0o644, b"up", None)}), "unsafe path", "../up"),
        (dict(more={b"/srv": (1, 0o644, b"up", None)}), "unsafe path", "srv"),
        (dict(more={b"dir/link/x": (1, 0o644, b"x", None)}), "no directory around", "dir/link/x"),
        (dict(more={b"none/x": (1, 0o644, b"x", None)}), "no directory around", "none/x"),
    ]
    for number, (lie, says, path) in enumerate(lies):
        writer, *_ = make(scratch / f"lie{number}", **lie)
        writer.slot(0, secret)
        out = scratch / f"out{number}"
        code, said = run_reader(writer.place, *options, "restore", "latest", out / "here")
        holds(code == 2 and says in said, f"a tree that lies is reported, {says}: {said}")
        holds(
            not os.path.lexists(out / "here" / path) and not (scratch / "up").exists(),
            f"{path} is not written",
        )
        holds((out / "here" / "dir.txt").read_bytes() == b"after dir/", "and the rest is")


def main():
    for test in (test_vectors, test_other_implementations, test_strictness):
        test()
    for test in (test_round_trip, test_damage, test_log, test_forgery, test_hostile_trees):
        with tempfile.TemporaryDirectory() as scratch:
            test(Path(scratch))
    print(f"second reader: {len(PASSED)} checks hold")


if __name__ == "__main__":
    sys.exit(main())

"""Sections 1 and 2 of docs/format.md: records, sealing, encapsulated keys, signatures.

HPKE follows RFC 9180, X-Wing follows draft-connolly-cfrg-xwing-kem; both are written out here, on SHA-2 and
SHA-3 of the standard library, X25519 of one package and ML-KEM-768 of another. Everything refuses with `Bad`.
"""

import functools
import hashlib
import hmac
import io
import struct

import cbor2
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_768

MIB = 1 << 20
HPKE_SUITE = struct.pack(">4sHHH", b"HPKE", 0x647A, 0x0001, 0xFFFF)

# Edwards curve: the field's prime, and the y of the eight points of small order.
P = 2**255 - 19
Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
SMALL_ORDER_Y = {0, 1, P - 1, Y8, P - Y8}


class Bad(Exception):
    """Something is not what the document says it must be."""


# What a decoder raises when it meets hostile bytes.
MALFORMED = (
    Bad,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    struct.error,
    OSError,
    RecursionError,
)


def need(condition, message):
    if not condition:
        raise Bad(message)


def u32(number):
    return struct.pack("<I", number)


# ---------------------------------------------------------------- records


def decode(data, what, padded=False, more=False):
    """The one deterministic CBOR array in `data`; zero bytes may follow it if `padded`, any if there may be `more`."""
    try:
        value = cbor2.CBORDecoder(io.BytesIO(data)).decode()
        again = cbor2.dumps(value)
    except Exception as error:
        raise Bad(f"{what}: no CBOR: {error}") from None
    need(isinstance(value, list) and data.startswith(again), f"{what}: not a deterministic CBOR array")
    rest = data[len(again) :]
    need(more or not (rest.strip(b"\0") if padded else rest), f"{what}: bytes after the record")
    need(nesting(value) <= 8, f"{what}: nested too deeply")
    return value


def nesting(value):
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0


def fields(value, kinds, what):
    """The first elements of a record, each of its kind: n unsigned, i signed, t text, l array, bN bytes of
    length N, * anything, ? after a kind for null; nulls at the end may be missing and further elements
    are left out, as section 1 asks."""
    kinds = kinds.split()
    need(isinstance(value, list), f"{what}: no record")
    value = value + [None] * (len(kinds) - len(value))
    for position, (item, kind) in enumerate(zip(value, kinds)):
        need(matches(item, kind), f"{what}: element {position} is no {kind}")
    return value[: len(kinds)]


def matches(item, kind):
    if kind.endswith("?"):
        return item is None or matches(item, kind[:-1])
    if kind[0] == "b":
        return isinstance(item, bytes) and (kind == "b" or len(item) == int(kind[1:]))
    if kind in "ni":
        return type(item) is int and (kind == "i" or item >= 0)
    return kind == "*" or isinstance(item, {"t": str, "l": list}[kind])


def opened(data, kind, limit, what):
    """The bytes of an object after its first ten."""
    need(len(data) <= limit, f"{what}: larger than {limit} bytes")
    need(len(data) >= 10 and data[:8] == b"seawall" + kind, f"{what}: not an object of kind {kind.decode()}")
    version = int.from_bytes(data[8:10], "little")
    need(version == 1, f"{what}: this reader knows version 1, not {version}")
    return data[10:]


def prefixed(data):
    """What follows a length of 32 bits, and the rest."""
    need(len(data) >= 4, "cut short")
    end = 4 + int.from_bytes(data[:4], "little")
    need(len(data) >= end, "cut short")
    return data[4:end], data[end:]


# ---------------------------------------------------------------- sealing


def derive(context, data):
    return blake3(data, derive_key_context=context).digest()


def commitment(key):
    return derive("seawall 1 commitment", key)


def unseal(key, expected, ordinal, sealed, additional, what):
    """The plain bytes, if `key` is the one that `expected` commits to."""
    need(hmac.compare_digest(commitment(key), expected), f"{what}: the key is another")
    try:
        return AESGCM(key).decrypt(u32(ordinal) + sealed[:8], sealed[8:], additional)
    except (InvalidTag, ValueError):
        raise Bad(f"{what}: sealed bytes are damaged") from None


@functools.lru_cache(maxsize=64)
def xwing_expand(seed):
    """(ML-KEM private key, X25519 private key, public key of 1216 bytes)"""
    expanded = hashlib.shake_256(seed).digest(96)
    public, private = ML_KEM_768.key_derive(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    return private, x25519, public + x25519.public_key().public_bytes_raw()


def xwing_combine(ss_m, ss_x, ct_x, pk_x):
    return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + bytes.fromhex("5c2e2f2f5e5c")).digest()


def xwing_decapsulate(seed, enc):
    need(len(enc) == 1120, "an encapsulated key has 1120 bytes")
    private, x25519, public = xwing_expand(seed)
    ss_m = ML_KEM_768.decaps(private, enc[:1088])
    ss_x = x25519.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    return xwing_combine(ss_m, ss_x, enc[1088:], public[1184:])


def hpke_extract(suite, salt, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def hpke_expand(suite, secret, label, info, length):
    labelled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    block, out = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(secret, block + labelled + bytes([counter]), "sha256")
        out += block
    return out[:length]


def hpke_secrets(shared, info, suite=HPKE_SUITE):
    """KeySchedule in base mode: the secret, its context, and the exporter secret."""
    context = b"\0"
    for label, ikm in [(b"psk_id_hash", b""), (b"info_hash", info)]:
        context += hpke_extract(suite, b"", label, ikm)
    secret = hpke_extract(suite, shared, b"secret", b"")
    return secret, context, hpke_expand(suite, secret, b"exp", context, 32)


def hpke_export(exporter_secret, context=b"key", suite=HPKE_SUITE):
    return hpke_expand(suite, exporter_secret, b"sec", context, 32)


def hpke_key(seed, enc, info):
    """The AES key that was encapsulated to the owner of `seed` for this use."""
    return hpke_export(hpke_secrets(xwing_decapsulate(seed, enc), info)[2])


def check_signature(context, data, public, what):
    """All bytes of the object before the signature, once it was checked."""
    body, signature = data[:-64], data[-64:]
    need(strict_point(public) and strict_point(signature[:32]), f"{what}: key or signature is not strict")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, context + blake3(body).digest())
    except (InvalidSignature, ValueError):
        raise Bad(f"{what}: signature is wrong") from None
    return body


def strict_point(encoded):
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    return y < P and y not in SMALL_ORDER_Y


def writer_of(public):
    return blake3(public).digest()[:16]

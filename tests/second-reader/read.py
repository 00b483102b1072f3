"""A second reader of Seawall repositories, written from docs/format.md alone, with no code of the engine.

    python read.py REPOSITORY --key FILE [--anchor ID] check | list | runs | restore POINT DIR [PATH]

`sealing.py` has the cryptography, `repository.py` and `packs.py` the format; here are the verbs. A restore
goes into an empty directory, writes only what was checked, and gives a file its name when all of it was. Exit
codes: 0 all is well, 1 refused, 2 done, but what is damaged or missing is named on stderr.
"""

import argparse
import json
import os
import struct
import sys
from pathlib import Path

from blake3 import blake3

from repository import Repository, resolve
from sealing import (
    MALFORMED,
    MIB,
    Bad,
    check_signature,
    decode,
    derive,
    fields,
    need,
    opened,
    prefixed,
    u32,
    unseal,
    writer_of,
)

DIRECTORY, FILE, SYMLINK, FIFO, CHARACTER, BLOCK = range(6)


def read_secret(path):
    """A key file gives ("key", 32 bytes), a recipient's file ("private", 32), a bundle file ("bundle", its record)."""
    lines = [line for line in Path(path).read_text().split("\n") if line.strip() and not line.startswith("#")]
    words = lines[0].split(" ") if len(lines) == 1 else []
    kinds = {"seawall-key-1": "key", "seawall-private-1": "private", "seawall-bundle-1": "bundle"}
    need(len(words) == 3 and words[0] in kinds, f"{path}: no file of a key, a private key or a bundle")
    secret = bytes.fromhex(words[1])
    need(blake3(secret).hexdigest()[:8] == words[2], f"{path}: typing error, its check is another")
    return kinds[words[0]], secret


# ---------------------------------------------------------------- list and restore


def in_time(repository):
    return sorted(repository.points.values(), key=lambda point: (point.as_of, point.id))


def list_points(repository, _):
    repository.permit("list")
    names = ["files", "directories", "others", "logical", "new", "stored"]
    for point in in_time(repository):
        print(
            json.dumps(
                {
                    "point": point.id.hex(),
                    "source": point.source,
                    "host": point.host,
                    "as_of": point.as_of,
                    "kind": ["full", "incremental", "differential"][point.kind],
                    "writer": point.writer.hex(),
                    "basis": point.basis and point.basis.hex(),
                    "forgotten": repository.forgotten(point.id),
                    **dict(zip(names, fields(point.counts, "n n n n n n", "point"))),
                }
            )
        )


def find_point(repository, wanted):
    points = in_time(repository)
    found = (
        points[-1:]
        if wanted == "latest"
        else [point for point in points if point.id.hex().startswith(wanted)]
    )
    need(len(found) == 1, f"{len(found)} points are called {wanted}")
    return found[0]


def restore(repository, arguments):
    repository.permit("restore")
    target = os.fsencode(arguments.target)
    os.makedirs(target, exist_ok=True)
    need(not os.listdir(target), f"{arguments.target}: not empty")
    wanted = os.fsencode(arguments.path or "").strip(b"/")
    point, directories, links, count = find_point(repository, arguments.point), {}, {}, 0
    for entry in repository.walk(resolve([point.root[0]], [0, *point.root[1:]])):
        if not wanted or (entry.path + b"/").startswith(wanted + b"/"):
            repository.tolerate(
                repr(entry.path), restore_entry, repository, entry, target, wanted, directories, links
            )
            count += 1
    need(count, f"{arguments.path or arguments.point}: nothing of that name")
    for place, entry in reversed(directories.items()):
        repository.tolerate(repr(entry.path), finish, entry, place)
    print(f"{count} entries of {point.id.hex()}")


def restore_entry(repository, entry, target, wanted, directories, links):
    parts = entry.path.split(b"/") if entry.path else []
    need(not {b"", b".", b".."} & set(parts) and b"\0" not in entry.path, "unsafe path")
    place = os.path.join(target, *parts)
    if entry.path == wanted:
        os.makedirs(os.path.dirname(place), exist_ok=True)
    else:
        need(os.path.dirname(place) in directories, "no directory around it")
    if entry.link in links and entry.link is not None:
        os.link(links[entry.link], place, follow_symlinks=False)
        return
    make(repository, entry, place)
    if entry.kind == DIRECTORY:
        directories[place] = entry
        return
    finish(entry, place)
    if entry.link is not None:
        links[entry.link] = place


def make(repository, entry, place):
    if entry.kind == DIRECTORY:
        os.makedirs(place, exist_ok=not entry.path)
    elif entry.kind == FILE:
        make_file(repository, entry, place)
    elif entry.kind == SYMLINK:
        os.symlink(entry.body, place)
    elif entry.kind == FIFO:
        os.mkfifo(place)
    elif entry.kind in (CHARACTER, BLOCK):
        os.mknod(place, 0o020600 if entry.kind == CHARACTER else 0o060600, entry.body)
    else:
        raise Bad(f"unknown kind {entry.kind}")


def make_file(repository, entry, place):
    tiny = isinstance(entry.body, bytes)
    size, depth, parts = (len(entry.body), 0, []) if tiny else fields(entry.body, "n n l", "file")
    partial, at = os.path.dirname(place) + b"/.second-reader-partial", 0
    try:
        with open(partial, "xb") as out:
            for piece in [entry.body] if tiny else repository.content(entry.packs, depth, parts):
                if isinstance(piece, int):
                    out.seek(piece, os.SEEK_CUR)
                else:
                    out.write(piece)
                at += piece if isinstance(piece, int) else len(piece)
                need(at <= size, "longer than its size")
            out.truncate(size)
        need(at == size, f"has {at} of {size} bytes")
        os.rename(partial, place)
    finally:
        if os.path.lexists(partial):
            os.unlink(partial)


def finish(entry, place):
    if entry.kind != SYMLINK:
        os.chmod(place, entry.mode & 0o7777)
    os.utime(place, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


# ---------------------------------------------------------------- runs (section 7)


def runs(repository, _):
    for name in repository.names("runs/*/*/*"):
        repository.tolerate(name, compare_run, repository, name)


def read_run(repository, name):
    """(first half of the chunk id, pack, ordinal, offset, length) of all entries of a run"""
    header, blocks = prefixed(opened(repository.load(name), b"R", 1 << 30, "run"))
    record = fields(decode(header, "run"), "b32 b16 n b16 b16 b16 n b32 b32", "run")
    place = [bytes.fromhex(part) for part in name.split("/")[1:]]
    need(record[0] == repository.id and record[3:6] == place, "belongs elsewhere")
    domain, generation, salt = record[1], record[2], record[7]
    secret = repository.key(domain, generation, "index") + repository.id + domain + u32(generation) + salt
    key, plain, ordinal = derive("seawall 1 run", secret), bytearray(), 0
    while blocks:
        block, blocks = prefixed(blocks)
        need(len(block) <= MIB + 24, f"block {ordinal} is too long")
        plain += unseal(key, record[8], ordinal, block, header, f"block {ordinal}")
        ordinal += 1
    packs, entries = struct.unpack_from("<IQ", plain)
    start, end = 12 + 32 * packs, 12 + 32 * (packs + entries)
    need(end <= len(plain) and not plain[end:].strip(b"\0"), "cut short, or padding is not zero")
    lines = [bytes(plain[at : at + 32]) for at in range(start, end, 32)]
    need(lines == sorted(lines), "entries are not sorted")
    table = [bytes(plain[at : at + 32]) for at in range(12, start, 32)]
    return [
        (half, table[index], *rest) for half, index, *rest in map(struct.Struct("<16sIIII").unpack, lines)
    ]


def compare_run(repository, name):
    """Every line of a run is what the directory of the frame's pack says too."""
    lines = read_run(repository, name)
    for half, origin, ordinal, offset, length in lines:
        frame = repository.find(origin, ordinal, lambda pack: pack.entry(origin, ordinal))
        starts = [sum(frame.lengths[:index]) for index in range(len(frame.lengths))]
        index = starts.index(offset) if offset in starts else len(starts)
        agrees = frame.lengths[index : index + 1] == [length] and frame.ids[16 * index :].startswith(half)
        need(agrees, f"frame {ordinal} of {origin.hex()} has no chunk {half.hex()} at {offset}")
    print(f"{name}: {len(lines)} entries agree with the directories")


# ---------------------------------------------------------------- check


def check(repository, _):
    """Slots and log were checked before; here what entries bring, sessions (10) and sweep parts (11)."""
    for name in repository.names("sessions/*/*/*"):
        repository.tolerate(name, check_session, repository, name)
    for name in repository.names("sweeps/*/*"):
        repository.tolerate(name, check_sweep, repository, name)
    brought = [bring for entry in repository.entries.values() for bring in entry.brings]
    present = [bring for bring in brought if (repository.root / bring[0]).is_file()]
    for name, size, digest in present:
        data = repository.load(name)
        repository.tolerate(
            name, need, len(data) == size and blake3(data).digest() == digest, "is another object"
        )
    print(
        f"repository {repository.id.hex()}: {len(repository.entries)} entries, "
        f"{len(repository.points)} points, "
        f"{len(present)} of {len(brought)} objects that were brought are here"
    )


def check_session(repository, name):
    _, writer, session, number = name.split("/")
    data = repository.load(name)
    record = decode(opened(data[:-64], b"S", MIB, "session"), "session")
    record = fields(record, "b32 b16 b32 b16 n t b16 n l l l", "session")
    check_signature(b"seawall 1 session", data, record[2], "session")
    place = [repository.id, bytes.fromhex(writer), record[2], bytes.fromhex(session), int(number, 16)]
    need(record[:5] == place and writer_of(record[2]) == place[1], "belongs elsewhere")


def check_sweep(repository, name):
    _, sweep, part = name.split("/")
    data = repository.load(name)
    record = decode(opened(data[:-64], b"W", 64 * MIB, "sweep part"), "sweep part")
    record = fields(record, "b32 b16 b32 t b16 n b16 n l l", "sweep part")
    check_signature(b"seawall 1 sweep", data, record[2], "sweep part")
    place = [int(sweep.split("-")[0], 16), bytes.fromhex(sweep.split("-")[1]), int(part, 16)]
    need(record[0] == repository.id and record[5:8] == place, "belongs elsewhere")
    need(writer_of(record[2]) == record[1] and record[8] == sorted(record[8]), "writer or order is wrong")


# ---------------------------------------------------------------- command line


def parse(arguments):
    parser = argparse.ArgumentParser(description="Read a Seawall repository without Seawall.")
    parser.add_argument("repository", help="directory that holds the repository's objects")
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--key", help="key file, recipient's key file or bundle file")
    secret.add_argument("--passphrase", help="file whose first line is the passphrase")
    parser.add_argument("--anchor", help="id of the repository, 64 hexadecimal digits")
    verbs = parser.add_subparsers(required=True)
    for name, act in [("check", check), ("list", list_points), ("restore", restore), ("runs", runs)]:
        verb = verbs.add_parser(name)
        verb.set_defaults(act=act)
    verb = verbs.choices["restore"]
    verb.add_argument("point", help="first digits of its id, or latest")
    verb.add_argument("target", help="a new or empty directory")
    verb.add_argument("path", nargs="?", help="one path of the point, with what is beneath it")
    return parser.parse_args(arguments)


def main(arguments=None):
    arguments = parse(arguments)
    try:
        if arguments.key:
            secret = read_secret(arguments.key)
        else:
            secret = "passphrase", Path(arguments.passphrase).read_bytes().split(b"\n")[0]
        repository = Repository(arguments.repository, arguments.anchor)
        repository.unlock(*secret)
        repository.read_log()
        arguments.act(repository, arguments)
    except MALFORMED as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 1
    for problem in repository.problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 2 if repository.problems else 0


if __name__ == "__main__":
    sys.exit(main())

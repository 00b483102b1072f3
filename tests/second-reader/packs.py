"""Section 6 of docs/format.md: packs, their tails and directories, and the frames in them.

A pack is the one that was asked for if its tail names it, its repository, and a key that opens its directory;
a frame is opened with what the directory says, and whoever takes a chunk from it checks the chunk's id.
"""

import struct
from types import SimpleNamespace

import zstandard

from sealing import MIB, Bad, decode, fields, hpke_key, need, opened, u32, unseal

TAIL = struct.Struct("<BBI32s16s32s1120s1120s32s32sI6s10s")


class Pack:
    """One pack: its tail and directory, checked; frames are opened on demand."""

    def __init__(self, repository, pack):
        self.repository, self.name = repository, f"packs/{pack[16:].hex()[:2]}/{pack.hex()}"
        self.path = repository.root / self.name
        need(self.path.is_file(), f"{self.name}: missing")
        size = self.path.stat().st_size
        need(TAIL.size + 10 <= size <= 256 * MIB, f"{self.name}: not the size of a pack")
        tail = self.read(size - TAIL.size, TAIL.size)
        (
            suite,
            kind,
            generation,
            owner,
            self.domain,
            named,
            data_enc,
            directory_enc,
            data_commitment,
            directory_commitment,
            length,
            zero,
            ten,
        ) = TAIL.unpack(tail)
        opened(ten, b"P", 10, self.name)
        opened(self.read(0, 10), b"P", 10, self.name)
        need(
            (suite, owner, named, zero) == (1, repository.id, pack, bytes(6)),
            f"{self.name}: belongs elsewhere",
        )
        need(length <= min(64 * MIB, size - TAIL.size - 10), f"{self.name}: directory is too long")
        info = b"seawall 1 directory" + repository.id + self.domain + u32(generation) + pack
        key = hpke_key(repository.key(self.domain, generation, "catalog"), directory_enc, info)
        sealed = self.read(size - TAIL.size - length, length)
        plain = unseal(key, directory_commitment, 0xFFFFFFFF, sealed, tail[:86], self.name)
        need(len(plain) % 4096 == 0, f"{self.name}: directory is not padded")
        record = fields(decode(plain, self.name, padded=True), "n l l l", self.name)
        need(record[0] == 1, f"{self.name}: directory of version {record[0]}")
        origins = [fields(x, "b32 n n n b1120 b32", self.name) for x in record[1]]
        self.origins = [[pack, suite, kind, generation, data_enc, data_commitment], *origins]
        self.frames, self.data_keys = self.frame_table(record[3]), {}

    def frame_table(self, frames):
        table = {}
        names = "origin ordinal place stored codec version raw ids lengths refs".split()
        for frame in frames:
            frame = SimpleNamespace(**dict(zip(names, fields(frame, "n n n n n n n b l l", self.name))))
            need(sum(frame.lengths) == frame.raw <= MIB, f"{self.name}: lengths of chunks do not add up")
            need(len(frame.ids) == 16 * len(frame.lengths), f"{self.name}: ids and lengths differ in number")
            table[self.origins[frame.origin][0], frame.ordinal] = frame
        return table

    def read(self, start, length):
        with open(self.path, "rb") as file:
            file.seek(start)
            data = file.read(length)
        need(len(data) == length, f"{self.name}: shorter than it says")
        return data

    def data_key(self, origin):
        if origin not in self.data_keys:
            pack, suite, _, generation, enc, _ = self.origins[origin]
            need(suite == 1, f"{self.name}: unknown suite {suite}")
            info = b"seawall 1 data" + self.repository.id + self.domain + u32(generation) + pack
            self.data_keys[origin] = hpke_key(self.repository.key(self.domain, generation, "data"), enc, info)
        return self.data_keys[origin]

    def entry(self, origin, ordinal):
        need((origin, ordinal) in self.frames, f"{self.name}: has no frame {ordinal} of {origin.hex()}")
        return self.frames[origin, ordinal]

    def open_frame(self, origin, ordinal):
        frame, what = self.entry(origin, ordinal), f"{self.name}: frame {ordinal}"
        need(frame.version == 0 and frame.codec in (0, 1), f"{what}: unknown codec or version")
        _, suite, kind, generation, _, expected = self.origins[frame.origin]
        additional = bytes([suite, kind]) + self.repository.id + self.domain + u32(generation) + origin
        additional += u32(ordinal) + bytes([frame.codec, frame.version]) + u32(frame.raw)
        sealed = self.read(frame.place, frame.stored)
        plain = unseal(self.data_key(frame.origin), expected, ordinal, sealed, additional, what)
        raw = decompress(plain, frame.raw, what) if frame.codec else plain
        need(len(raw) == frame.raw, f"{what}: raw length is another")
        return raw, self.repository.key(self.domain, generation, "chunk")


def decompress(data, length, what):
    try:
        need(zstandard.get_frame_parameters(data).content_size == length, f"{what}: content size is another")
        stream = zstandard.ZstdDecompressor().decompressobj()
        raw = stream.decompress(data)
    except zstandard.ZstdError as error:
        raise Bad(f"{what}: {error}") from None
    need(stream.eof and not stream.unused_data, f"{what}: not one zstd frame")
    return raw

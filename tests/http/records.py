"""A token's record on disk: see store/lmdb/record.c and store/lmdb/checksum.c."""

import ctypes
import re
import struct
from pathlib import Path

LIBRARY = ctypes.CDLL("libxxhash.so.0")
LIBRARY.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
LIBRARY.XXH3_64bits.restype = ctypes.c_uint64



def constant(header, name):
    """The value of a constant in a header of store/lmdb/, of numbers only."""
    text = (Path(__file__).parents[2] / "store/lmdb" / header).read_text()
    return eval(re.search(rf"\b{name} = ([0-9 +*]+)", text)[1])


KIND_TOKEN, KIND_META = 1, 6
SCHEMA_VERSION = constant("engine.h", "SCHEMA_VERSION")
SEALED_LEN = 48 + 28
AT_LENGTHS = constant("record.h", "RECORD_TOKEN_SEALED_AT") + SEALED_LEN
AT_TEXTS = AT_LENGTHS + 7
OLD_KEY = 8  # a flag
GOLDEN, ANOTHER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
MASK = 2**64 - 1


def checksum(kind, a, b, content):
    mixed = (a * GOLDEN + kind) & MASK
    mixed = ((mixed ^ mixed >> 32) * ANOTHER + b) & MASK
    mixed = ((mixed ^ mixed >> 32) * GOLDEN) & MASK
    return (LIBRARY.XXH3_64bits(bytes(content), len(content)) ^ mixed) >> 32


# What stands before a token's texts in newer versions only: its limits, rates and usage, by flags,
# and the length of its sealed key.
BLOCKS = {32: 7 * 8, 64: 2 * 8, 128: 4 * 8}
SHIFTS = {0, *(2 + sum(size for flag, size in BLOCKS.items() if flags & flag) for flags in range(0, 256, 32))}


def shift_of(record):
    """By how many bytes the texts are behind AT_TEXTS."""
    version, flags = record[:2]
    if version not in (4, 5):
        return 0
    return 2 + (sum(size for flag, size in BLOCKS.items() if flags & flag) if version == 5 else 0)


def seal_token(record, user_id, token_id):
    """The record at the beginning of the bytes, with its correct checksum."""
    shift = shift_of(record)
    texts = struct.unpack_from("<HBHH", record, AT_LENGTHS + shift)
    end = AT_TEXTS + shift + sum(texts) + (24 if record[1] & OLD_KEY else 0)
    content = bytes(record[:end])
    return content + struct.pack("<I", checksum(KIND_TOKEN, user_id, token_id, content))


def meta_value(name, number):
    """A value of the database "meta"."""
    name_hash = 0
    for byte in name:
        name_hash = (name_hash * 31 + byte) & MASK
    content = struct.pack("<q", number)
    return content + struct.pack("<I", checksum(KIND_META, name_hash, len(name), content))

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


def seal_token(record, user_id, token_id):
    """The record at the beginning of the bytes, with its correct checksum."""
    texts = struct.unpack_from("<HBHH", record, AT_LENGTHS)
    end = AT_TEXTS + sum(texts) + (24 if record[1] & OLD_KEY else 0)
    content = bytes(record[:end])
    return content + struct.pack("<I", checksum(KIND_TOKEN, user_id, token_id, content))


def meta_value(name, number):
    """A value of the database "meta"."""
    name_hash = 0
    for byte in name:
        name_hash = (name_hash * 31 + byte) & MASK
    content = struct.pack("<q", number)
    return content + struct.pack("<I", checksum(KIND_META, name_hash, len(name), content))

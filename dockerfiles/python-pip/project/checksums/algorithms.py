"""The algorithms that can be asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import crcmod.predefined

CRCS = ("crc-8", "crc-16", "crc-32", "crc-32c", "crc-64")


def names() -> list[str]:
    return sorted({*CRCS, *hashlib.algorithms_guaranteed})


def checksum(name: str) -> Callable[[bytes], str]:
    """A function that computes a checksum in hexadecimal. Raises KeyError for an unknown algorithm."""
    if name in CRCS:
        compute = crcmod.predefined.mkCrcFun(name)
        return lambda data: f"{compute(data):x}"
    if name not in hashlib.algorithms_guaranteed or name.startswith("shake"):
        raise KeyError(name)
    return lambda data: hashlib.new(name, data).hexdigest()

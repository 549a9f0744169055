"""Notes that have much in common."""

from __future__ import annotations

import re
from zlib import crc32

from annoy import AnnoyIndex

from notes.store import Store

DIMENSIONS = 256
TREES = 10


def vector(text: str) -> list[float]:
    """How often a text has which words."""
    found = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        found[crc32(word.encode()) % DIMENSIONS] += 1
    return found


class Related:
    """An index of a store's notes; it is built anew when there are more."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.numbers: list[int] = []
        self.index = AnnoyIndex(DIMENSIONS, "angular")

    def to(self, number: int, count: int) -> list[int]:
        """The notes nearest to this one."""
        if len(self.numbers) != len(self.store.notes):
            self._build()
        near = self.index.get_nns_by_item(self.numbers.index(number), count + 1)
        return [self.numbers[item] for item in near if self.numbers[item] != number][:count]

    def _build(self) -> None:
        self.numbers = list(self.store.notes)
        self.index = AnnoyIndex(DIMENSIONS, "angular")
        for item, number in enumerate(self.numbers):
            self.index.add_item(item, vector(self.store.notes[number]))
        self.index.build(TREES)

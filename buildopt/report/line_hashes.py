"""The fingerprints of lines by which GitHub's code scanning knows a result again after lines have moved.

The action that uploads SARIF works them out itself and complains of any others; whoever uploads through the API has
only these. A hash stands for the hundred characters from the line's start, without blanks:
https://github.com/github/codeql-action/blob/main/src/fingerprints.ts
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate

_LENGTH = 100
_BASE = 37
_BITS = (1 << 64) - 1
_LEAVING = pow(_BASE, _LENGTH, 1 << 64)
_END = 0xFFFF
_LINE_FEED = ord("\n")


def line_hashes(text: str) -> list[str]:
    """``hash:count`` for every line; the count tells lines with the same hash apart. CR ends a line, too."""
    units = _units(re.sub(r"[ \t]+", "", re.sub(r"\r\n?", "\n", _joined(text))))
    starts = [0, *(index + 1 for index, unit in enumerate(units) if unit == _LINE_FEED)]
    padded = [*units, _END, *[0] * _LENGTH]
    # One hash for each window that ends at a character; that of a line is the one a hundred characters on.
    leaving = [0] * _LENGTH + padded
    rolling = list(accumulate(range(len(padded)), lambda value, at: _rolled(value, padded[at], leaving[at]), initial=0))
    seen: Counter[str] = Counter()
    hashes = []
    for start in starts:
        word = f"{rolling[start + _LENGTH]:x}"
        seen[word] += 1
        hashes.append(f"{word}:{seen[word]}")
    return hashes


def _rolled(value: int, entering: int, leaving: int) -> int:
    return (value * _BASE + entering - _LEAVING * leaving) & _BITS


def _joined(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _units(text: str) -> list[int]:
    """UTF-16 code units, which are what characters are to that action."""
    data = text.encode("utf-16-le")
    return [data[index] | data[index + 1] << 8 for index in range(0, len(data), 2)]

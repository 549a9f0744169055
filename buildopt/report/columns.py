"""Rows of words in columns, for terminals and logs."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 0, wide: int = 1) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; the columns in ``right`` flush right.

    Where the lines would be longer than ``width`` (0: any length will do), the cell of the column ``wide`` has a line
    of its own and the others stand below it: every row has two lines then.
    """
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if not width or sum(widths) + 2 * (len(widths) - 1) <= width:
        return [_line(row, widths, right) for row in rows]
    rest = [column for column in range(len(widths)) if column != wide]
    lines = []
    for row in rows:
        head = "  ".join((row[0].ljust(widths[0]), row[wide])) if wide else row[wide]
        below = [row[column] if column > wide else "" for column in rest]
        lines += [head.rstrip(), _line(below, [widths[column] for column in rest], [rest.index(one) for one in right])]
    return lines


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()

"""Rows of words in columns, for terminals and logs."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 0) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; the columns in ``right`` flush right.

    Where the lines would be longer than ``width`` (0: any length will do), the second column's cell ends a line
    and the others stand below it: every row has two lines then.
    """
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if not width or sum(widths) + 2 * (len(widths) - 1) <= width:
        return [_line(row, widths, right) for row in rows]
    lines = []
    for row in rows:
        head = f"{row[0].ljust(widths[0])}  {row[1]}"
        below = ["", *row[2:]]
        lines += [head.rstrip(), _line(below, [widths[0], *widths[2:]], [column - 1 for column in right])]
    return lines


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()

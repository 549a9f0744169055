"""Sizes for people."""

from __future__ import annotations


def human(size: int) -> str:
    """Bytes as ``629.1 MB``, in powers of a thousand."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"

"""Where a file lies in its repository: what platforms that show findings want to know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Places:
    """Paths as seen from ``root``, with symbolic links resolved: platforms know a file by its real name only."""

    root: str
    _known: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, folder: Path) -> Places:
        """Those of the repository that a folder is in, else those of the folder itself."""
        real = Path(os.path.realpath(folder))
        found = next((parent for parent in (real, *real.parents) if (parent / ".git").exists()), real)
        return cls(os.fspath(found))

    def relative(self, path: str) -> str | None:
        """The path from the root with forward slashes; None for a file outside. Standard input keeps its ``-``."""
        if path == "-":
            return path
        if path not in self._known:
            relative = os.path.relpath(os.path.realpath(path), self.root).replace(os.sep, "/")
            self._known[path] = None if relative == ".." or relative.startswith("../") else relative
        return self._known[path]

    def uri(self, path: str) -> tuple[str, bool]:
        """A URI for the file and whether it is relative to the root; bytes that are no UTF-8 are kept."""
        relative = self.relative(path)
        if relative is not None:
            return quote(os.fsencode(relative)), True
        return Path(os.path.realpath(path)).as_uri(), False

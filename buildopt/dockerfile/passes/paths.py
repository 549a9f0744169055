"""How a word of a command relates to a folder that a mount would hide."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType

from buildopt.dockerfile.shell import Word

_GLOB = re.compile(r"[*?\[{]")
_NONE: Mapping[str, str] = MappingProxyType({})
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_HOME = re.compile(r"^(?:~(?=/|$)|\$HOME\b|\$\{HOME\})")


class Relation(Enum):
    """Where a path stands: ``INSIDE`` is the folder itself or below it, ``PARENT`` a folder that holds it."""

    NONE = "none"
    INSIDE = "inside"
    PARENT = "parent"


def relation(path: str, target: str) -> Relation:
    """The relation of an absolute path, globs included, to an absolute folder."""
    match = _GLOB.search(path)
    if match is None:
        return _plain(posixpath.normpath(path), target)
    folder, pattern = path[: match.start()].rsplit("/", 1)[0] or "/", path[path[: match.start()].rfind("/") + 1 :]
    folder = posixpath.normpath(folder)
    where = _plain(folder, target)
    if where is not Relation.PARENT:
        return where
    below = target[len(folder) :].lstrip("/").split("/")
    wanted = pattern.split("/")
    for part, name in zip(wanted, below, strict=False):
        if "{" in part:
            return Relation.PARENT
        if not fnmatchcase(name, part) or (name.startswith(".") and not part.startswith(".")):
            return Relation.NONE
    return Relation.INSIDE if len([part for part in wanted if part]) > len(below) else Relation.PARENT


def _plain(path: str, target: str) -> Relation:
    if path == target or path.startswith(f"{target}/"):
        return Relation.INSIDE
    if path == "/" or target.startswith(f"{path}/"):
        return Relation.PARENT
    return Relation.NONE


def word_path(word: Word, home: str | None, variables: Mapping[str, str] = _NONE) -> str:
    """The path that a word names, as far as it can be told; ``--option=/path`` names the path."""
    text = word.text if word.text is not None else word.raw.strip("\"'")
    if (text.startswith("-") and "=" in text) or re.match(r"[A-Za-z_]\w*=", text):
        text = text.partition("=")[2]
    if home is not None:
        text = _HOME.sub(home, text)
    if word.text is None and variables and "'" not in word.raw:
        text = _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text.replace('"', ""))
    return text


def mention(
    word: Word,
    targets: Iterable[str],
    marks: Iterable[str],
    home: str | None,
    variables: Mapping[str, str] = _NONE,
) -> Relation:
    """How a word speaks of the targets; a mark in it counts as being inside."""
    path = word_path(word, home, variables)
    found = Relation.NONE
    if path.startswith("/"):
        for target in targets:
            where = relation(path, target)
            if where is Relation.INSIDE:
                return where
            if where is Relation.PARENT:
                found = where
        if found is Relation.PARENT:
            return found
    if any(mark in path or mark in word.raw for mark in marks):
        return Relation.INSIDE
    return found

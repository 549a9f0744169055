"""What COPY and ADD bring into a stage from the build context, entry by entry, and where it lies afterwards."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from buildopt.dockerfile.context import Ignored, read_patterns
from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.splits.splits import No, Subject, plain_copy

_GLOB = re.compile(r"[*?\[\\]")
_PLAIN = re.compile(r"[\w./@+:,%~-]+")
_FLAGS = frozenset(("chown", "chmod", "link"))
# Folders that every image has: a file that is copied there lands inside.
_STANDING = word_set(
    "/ /bin /sbin /lib /etc /opt /root /home /srv /tmp /usr /usr/bin /usr/sbin /usr/lib /usr/local /usr/local/bin "
    "/usr/local/sbin /usr/local/lib /usr/local/etc /usr/local/share /usr/share /usr/src /var /var/lib /var/log "
    "/etc/ssl /etc/ssl/certs /mnt /media /run /var/run /usr/local/share/ca-certificates"
)


@dataclass(frozen=True, slots=True)
class Brought:
    """A file or folder of the context: ``path`` is where it lies in the image, ``origin`` where in the context.

    Of a folder that is copied as a whole, each entry is one of these. ``owner`` is what ``--chown`` says.
    """

    path: str
    origin: str
    folder: bool
    owner: str
    instruction: Instruction


def brought(subject: Subject, instructions: Iterable[Instruction]) -> tuple[Brought, ...]:
    """What these instructions bring. Raises No where that is not certain."""
    found: dict[str, Brought] = {}
    folders = {*_STANDING}
    for instruction in instructions:
        if instruction.keyword in ("COPY", "ADD"):
            here = instruction.span.start
            folders.update(item.workdir for at, item in subject.known.items() if 0 <= at <= here and item.workdir)
            for entry in _entries(subject, instruction, folders):
                found[entry.path] = entry
                folders.add(posixpath.dirname(entry.path))
    return tuple(found.values())


def origin_of(entries: Sequence[Brought], path: str) -> str | None:
    """The place in the context that a path of the image came from; None where it is not from there."""
    best: tuple[int, str] | None = None
    for entry in entries:
        if path == entry.path or (entry.folder and path.startswith(f"{entry.path}/")):
            candidate = posixpath.normpath(entry.origin + path[len(entry.path) :])
            if best is None or len(entry.path) >= best[0]:
                best = (len(entry.path), candidate)
        elif posixpath.dirname(entry.path) == path and best is None:
            best = (0, posixpath.dirname(entry.origin) or ".")
    return best[1] if best is not None else None


def plain(context: Path, entries: Iterable[Brought]) -> None:
    """Refuse to ship by name what a COPY line cannot name, or would follow. Raises No."""
    for entry in entries:
        if _PLAIN.fullmatch(entry.path) is None:
            raise No(entry.instruction, f"{entry.path!r} may be needed at run time, and its name is not plain")
        if (context / entry.origin).is_symlink():
            raise No(entry.instruction, f"{entry.path} is a symbolic link, which COPY would follow")


def ignored(context: Path, dockerfile: str) -> Ignored:
    """What the ignore file of a build leaves out: the Dockerfile's own, else that of the context."""
    own = Path(f"{dockerfile}.dockerignore")
    for path in (own, context / ".dockerignore"):
        try:
            patterns = read_patterns(read_text(path, "utf-8-sig", "surrogateescape"))
        except OSError:
            continue
        return Ignored(path.name, tuple(patterns or ()))
    return Ignored("", ())


def _entries(subject: Subject, instruction: Instruction, folders: set[str]) -> Iterator[Brought]:
    plain_copy(instruction)
    context = subject.context
    state = subject.known[instruction.span.start]
    if context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    strange = [flag.name for flag in instruction.flags if flag.name not in _FLAGS]
    last = state.value(instruction.words[-1].text, subject.dockerfile.escape) if instruction.words else None
    if strange or last is None or state.workdir is None or len(instruction.words) < 2:
        raise No(instruction, "where it copies to is not certain")
    chown = instruction.flag("chown")
    owner = chown.value or "" if chown is not None else ""
    target = posixpath.normpath(posixpath.join(state.workdir, last))
    hidden = ignored(context, subject.source.path)
    sources = [path for word in instruction.words[:-1] for path in _matches(context, hidden, word.text)]
    if not sources:
        raise No(instruction, f"the context has no {instruction.words[0].text}")
    into = last.endswith("/") or last in (".", "..") or len(sources) > 1 or target in folders
    for source in sources:
        if (context / source).is_dir():
            for name in _names(context, hidden, source):
                origin = posixpath.normpath(posixpath.join(source, name))
                yield Brought(posixpath.join(target, name), origin, (context / origin).is_dir(), owner, instruction)
        else:
            path = posixpath.join(target, posixpath.basename(source)) if into else target
            yield Brought(path, source, False, owner, instruction)


def _matches(context: Path, hidden: Ignored, word: str) -> list[str]:
    """The paths of the context, relative to it, that a word of COPY names."""
    path = posixpath.normpath(f"/{word.strip('/')}").lstrip("/") or "."
    found = ["."] if path == "." else [""]
    for part in path.split("/") if path != "." else ():
        deeper: list[str] = []
        for folder in found:
            if _GLOB.search(part):
                deeper += (posixpath.join(folder, name) for name in _names(context, hidden, folder, part))
            elif os.path.lexists(context / folder / part):
                deeper.append(posixpath.join(folder, part))
        found = deeper
    return [path for path in found if path == "." or not hidden.hides(path)]


def _names(context: Path, hidden: Ignored, folder: str, pattern: str = "*") -> list[str]:
    """The entries of a folder of the context that are sent to the build."""
    try:
        names = sorted(os.listdir(context / folder))
    except OSError:
        return []
    names = [name for name in names if fnmatchcase(name, pattern)]
    return [name for name in names if not hidden.hides(posixpath.normpath(posixpath.join(folder, name)))]

"""Which files of a build context lie in the build stage, and the COPY lines that ship those a program may read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.ordering.copied_files import ContextFiles, Unknown, context_files
from buildopt.dockerfile.passes.context_text import ignored_by_git
from buildopt.dockerfile.splits.splits import No, Subject, copy_line, plain_copy

_MAX_FILES = 20_000
_MAX_LINES = 6
_FLAGS = frozenset(("chown", "chmod", "link"))
# Folders that base images have: what lies in them is not the project's alone.
_OF_BASES = frozenset(
    """/ /bin /boot /etc /etc/ssl /etc/ssl/certs /go /go/bin /go/pkg /go/src /home /lib /media /mnt /opt /root /run
    /sbin /srv /sys /tmp /usr /usr/bin /usr/lib /usr/local /usr/local/bin /usr/local/etc /usr/local/lib /usr/local/share
    /usr/local/src /usr/sbin /usr/share /usr/src /var /var/lib /var/log /var/www /usr/local/cargo
    /usr/local/cargo/bin""".split()  # noqa: SIM905
)
_PLAIN_PATH = re.compile(r"[\w./@+:,%~-]+")


@dataclass(frozen=True, slots=True)
class Landed:
    """A file of the context in the build stage: ``path`` is absolute in the image, ``origin`` relative to the context.

    ``root`` is where the copied folder that holds it went to, empty where it was copied by itself.
    """

    path: str
    origin: str
    instruction: Instruction
    root: str = ""
    link: bool = False

    @property
    def whole(self) -> bool:
        """Whether a folder that holds it was copied as such: on another machine, more files may come with it."""
        return bool(self.root)

    @property
    def name(self) -> str:
        """The file's own name."""
        return posixpath.basename(self.path)


def landed(subject: Subject) -> tuple[Landed, ...]:
    """What COPY and ADD of the head bring, the later of two at one path. Raises No where it is not certain."""
    if subject.context is None:
        raise No(subject.origin, "only the sources tell what the program needs at run time: give --context")
    found: dict[str, Landed] = {}
    folders = {state.workdir for state in subject.known.values() if state.workdir} | _OF_BASES
    try:
        files = context_files(subject.dockerfile, subject.context)
    except Unknown as unknown:
        raise No(subject.origin, str(unknown)) from None
    for instruction in subject.head:
        if instruction.keyword in ("COPY", "ADD"):
            for item in _of_one(subject, files, instruction, folders):
                found[item.path] = item
                if len(found) > _MAX_FILES:
                    raise No(instruction, "the context holds too many files to read")
            folders |= {posixpath.dirname(path) for path in found}
    return tuple(found.values())


def _of_one(
    subject: Subject, files: ContextFiles, instruction: Instruction, folders: Collection[str]
) -> Iterator[Landed]:
    plain_copy(instruction)
    state = subject.known[instruction.span.start]
    words = [word.text for word in instruction.words]
    last = state.value(words[-1], subject.dockerfile.escape) if len(words) > 1 else None
    if last is None or state.workdir is None or any(flag.name not in _FLAGS for flag in instruction.flags):
        raise No(instruction, "what it copies, and where to, is not certain")
    target = posixpath.normpath(posixpath.join(state.workdir, last))
    try:
        origins = [path for word in words[:-1] for path in files.matches(_relative(word))]
    except Unknown as unknown:
        raise No(instruction, str(unknown)) from None
    missing = next((path for path in origins if not files.kind(path)), None)
    if missing is not None:
        raise No(instruction, f"{missing} is not in the context")
    into = last.endswith(("/", ".")) or len(words) > 2 or len(origins) > 1 or target in folders
    for origin in origins:
        kind = files.kind(origin)
        if kind == "folder":
            yield from _below(files, origin, target, target, instruction)
        else:
            path = posixpath.join(target, posixpath.basename(origin)) if into else target
            yield Landed(path, origin, instruction, "", kind == "link")


def _relative(word: str) -> str:
    return posixpath.normpath(f"/{word}").lstrip("/") or "."


def _below(files: ContextFiles, origin: str, target: str, root: str, instruction: Instruction) -> Iterator[Landed]:
    for name in files.names(origin):
        if name == ".git":
            continue
        path = posixpath.normpath(posixpath.join(origin, name))
        kind = files.kind(path)
        if kind == "folder":
            yield from _below(files, path, posixpath.join(target, name), root, instruction)
        else:
            yield Landed(posixpath.join(target, name), path, instruction, root, kind == "link")


def text_of(subject: Subject, item: Landed) -> str | None:
    """A file's text; None where it cannot be read or is too large for a text."""
    if subject.context is None or item.link:
        return None
    try:
        return read_text(subject.context / item.origin, "utf-8-sig", most=4 << 20)
    except (OSError, ValueError):
        return None


def script_reader(subject: Subject, files: Iterable[Landed]) -> Callable[[str], str | None]:
    """What reads a script that lies in the image, and knows nothing of other files."""
    places = {item.path: item for item in files}

    def read(path: str) -> str | None:
        item = places.get(path)
        text = text_of(subject, item) if item is not None else None
        if item is None or text is None or not (text.startswith("#!") or item.name.endswith(".sh")):
            return None
        return re.sub(r"\bfi }", "fi; }", text)  # shells take both, the grammar only this

    return read


def data_copies(
    subject: Subject,
    files: Sequence[Landed],
    is_data: Callable[[Landed], bool],
    owner: Callable[[str], str],
    *,
    mixed: bool = True,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The COPY lines that ship all data, folder by folder, and the paths that they cover.

    ``owner`` says who a path of the build stage belongs to, where that is not root: a folder that COPY makes is root's.
    Where data and sources are mixed so much that it takes many lines, the copied folder is shipped as a whole, if
    ``mixed``. Raises No where neither can be written.
    """
    wanted = [item for item in files if is_data(item)]
    if not wanted:
        return (), ()
    # What git ignores is not there on every machine, but whatever lies in a folder comes with it.
    local = [item for item in wanted if subject.context and item.whole and ignored_by_git(subject.context, item.origin)]
    wanted = [item for item in wanted if not is_environment(item)]
    local = [item for item in local if not is_environment(item)]
    found = _Folders(files, {item.path for item in wanted}, owner)
    lines, covered = found.lines(subject)
    unwritable = any(item.link or not _PLAIN_PATH.fullmatch(item.path) for item in wanted) or any(
        not any(item.path.startswith(f"{path}/") for path in covered) for item in local
    )
    if len(lines) > (_MAX_LINES if mixed else 2 * _MAX_LINES) or unwritable:
        roots = found.roots()
        if not mixed or not all(any(item.path.startswith(f"{root}/") for root in roots) for item in wanted):
            raise No(wanted[0].instruction, f"{wanted[0].origin} and others may be read at run time, and lie scattered")
        return tuple(copy_line(subject, root, chown=owner(root)) for root in roots), roots
    return tuple(lines), tuple(covered)


def is_environment(item: Landed) -> bool:
    """Whether it is one of the files that `environment_files` ships."""
    return item.whole and item.name.startswith(".env") and "/" not in item.origin


def environment_files(
    subject: Subject, files: Sequence[Landed], covered: Iterable[str], owner: Callable[[str], str]
) -> tuple[str, ...]:
    """The lines that ship ``.env`` files, which are there on some machines and not on others.

    ``covered`` are the folders that are shipped anyway, ``owner`` tells whose a file is. A wildcard that
    matches nothing is no error.
    """
    folders = sorted({posixpath.dirname(item.path) for item in files if item.whole and "/" not in item.origin})
    open_folders = [folder for folder in folders if _PLAIN_PATH.fullmatch(folder)]
    try:
        hidden = context_files(subject.dockerfile, subject.context).ignored if subject.context is not None else None
    except Unknown:
        hidden = None
    if hidden is not None and hidden.leaves_out(".env"):
        return ()
    return tuple(
        copy_line(
            subject, posixpath.join(folder, ".env*"), f"{folder.rstrip('/')}/", owner(posixpath.join(folder, ".env"))
        )
        for folder in open_folders
        if not any(folder == path or folder.startswith(f"{path}/") for path in covered)
    )


class _Folders:
    """The folders of the image that hold files of the context."""

    def __init__(self, files: Sequence[Landed], wanted: Collection[str], owner: Callable[[str], str]) -> None:
        self.owner = owner
        self.wanted = wanted
        self.files: dict[str, list[Landed]] = {}
        self.below: dict[str, set[str]] = {}
        self.count: dict[str, int] = {}
        self.data: dict[str, int] = {}
        self.copied: set[str] = set()
        for item in files:
            self.files.setdefault(posixpath.dirname(item.path), []).append(item)
            folder = posixpath.dirname(item.path)
            while True:
                self.count[folder] = self.count.get(folder, 0) + 1
                self.data[folder] = self.data.get(folder, 0) + (item.path in wanted)
                if item.root and (folder == item.root or folder.startswith(f"{item.root.rstrip('/')}/")):
                    self.copied.add(folder)
                if folder == "/":
                    break
                self.below.setdefault(posixpath.dirname(folder), set()).add(folder)
                folder = posixpath.dirname(folder)

    def lines(self, subject: Subject) -> tuple[list[str], list[str]]:
        lines: list[str] = []
        covered: list[str] = []
        self._visit(subject, "/", lines, covered)
        return lines, covered

    def _visit(self, subject: Subject, folder: str, lines: list[str], covered: list[str]) -> None:
        if not self.data.get(folder):
            return
        if self.data[folder] == self.count[folder] and folder in self.copied and folder not in _OF_BASES:
            lines.append(copy_line(subject, folder, chown=self.owner(folder)))
            covered.append(folder)
            return
        own = [item.path for item in self.files.get(folder, ()) if item.path in self.wanted]
        for name in sorted({self.owner(path) for path in own}):
            same = [path for path in own if self.owner(path) == name]
            target = "" if len(same) == 1 else f"{folder.rstrip('/')}/"
            lines.append(copy_line(subject, " ".join(same), target, chown=name))
        covered += own
        for inner in sorted(self.below.get(folder, ())):
            self._visit(subject, inner, lines, covered)

    def roots(self) -> tuple[str, ...]:
        """The outermost folders that came from the context as a whole."""
        candidates = [path for path in self.copied if path not in _OF_BASES and self.data.get(path)]
        return tuple(
            sorted(path for path in candidates if not any(path.startswith(f"{other}/") for other in candidates))
        )

"""Two stages on one image: the second does again what the first did, but for what fills the folders that are copied.

Up to the last RUN of the build, instructions are repeated, the copies stand in that RUN's place, and all behind it
happens in the runtime stage alone: so every file is made in the same order as in the only stage.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.managers import Use
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.splits.repeats import operands, secrets
from buildopt.dockerfile.splits.splits import MOVED, No, Split, Subject
from buildopt.dockerfile.splits.started import literal
from buildopt.source import Span

_SYSTEM = frozenset(("apt", "apk"))
_INSTALLS = frozenset(("install", "add"))
REMOVES = frozenset(("remove", "purge", "autoremove", "del"))
_TEMPORARY = ("/var/lib/apt/lists", "/var/cache/", "/tmp/")
_COMPOSE = re.compile(r"(?:docker-)?compose[\w.-]*\.ya?ml")
_MANUALS = re.compile(
    r"(?i:readme|contributing|install|development|docker)(?:[\w.-]*\.(?:md|rst|txt|adoc))?|(?i:makefile|justfile|taskfile\.ya?ml)"
)
_SKIPPED = frozenset((".git", "node_modules", "vendor", "log", "tmp", "storage"))
_IN_CONTAINER = re.compile(
    r"(?:docker|podman|compose|kubectl|nerdctl)[^\n]*\b(?:exec|run)\b[^\n]*|\$\(?\w*(?:EXEC|RUN|DOCKER)\w*\)?[^\n]*"
)


def last_build(subject: Subject, is_build: Callable[[Run], bool]) -> Run:
    """The last RUN of the build. Raises No where there is none, or where it is another user's."""
    found = [run for run in subject.runs if is_build(run)]
    if not found:
        raise No(subject.origin, "no RUN is known to install packages of the project")
    last = found[-1]
    for item in subject.head:
        if item.keyword == "USER" and item.span.start < last.instruction.span.start:
            raise No(item, "the user changes before the packages are installed")
    return last


def split(
    subject: Subject,
    last: Run,
    left_out: Collection[int],
    texts: dict[int, str],
    copies: Sequence[str],
    said: tuple[str, str],
) -> Split:
    """The split: ``copies`` in place of ``last``, without the RUNs and COPYs of ``left_out``. Raises No."""
    place = last.instruction.span.start
    replayed: set[int] = set()
    moved: set[int] = set()
    for item in subject.head:
        start = item.span.start
        if start > place and item.keyword not in MOVED:
            moved.add(start)
        elif item.keyword in ("RUN", "COPY", "ADD") and (start == place or start not in left_out):
            replayed.add(start)
    hidden = secrets(subject)
    if any(item.keyword == "ARG" and item.span.start in hidden for item in subject.head):
        raise No(subject.origin, "a secret of the build is not moved to the runtime stage")
    newline = subject.source.newline
    return Split(
        subject.written_base,
        (),
        *said,
        replayed=frozenset(replayed),
        relocated=frozenset(moved) | hidden,
        texts={**texts, place: newline.join(copies)},
    )


def only_fetches(run: Run, needed: Callable[[str], bool]) -> bool:
    """Whether a RUN does nothing but install packages that are not needed."""
    uses = {id(use.command) for use in run.found if use.manager.name in _SYSTEM}
    packages = [name for use in run.found if use.subcommand in _INSTALLS for name, _ in operands(use)]
    for command in run.commands:
        words = [literal(word, run.state.environment) for word in command.arguments]
        clears = command.name == "rm" and all(
            word is not None and (word.startswith("-") or word.startswith(_TEMPORARY)) for word in words
        )
        if command.redirects or (id(command) not in uses and not clears and command.name not in ("set", "echo")):
            return False
    return bool(packages) and not any(map(needed, packages))


def fetches_lists(run: Run) -> bool:
    """Whether later RUNs may install from what it fetches."""
    cleared = any(command.name == "rm" and "/var/lib/apt/lists" in run.text for command in run.commands)
    return any(use.subcommand == "update" and use.manager.name == "apt" for use in run.found) and not cleared


def lean(subject: Subject, run: Run, needed: Callable[[str], bool]) -> str | None:
    """A RUN's text without packages that are not needed; None where one of them cannot be taken out.

    A command that installs nothing else is taken out of its chain.
    """
    if run.logical is None or any(comment.inside for comment in run.instruction.comments):
        return None
    text = subject.source.text
    pieces: list[str] = []
    position = run.instruction.span.start
    for span in _removals(run, needed):
        first, end = run.logical.span(span.start, span.end).start, run.logical.span(span.start, span.end).end
        while text[first - 1] in " \t\r\n\\":
            first -= 1
        pieces.append(text[position:first])
        position = end
    pieces.append(text[position : run.instruction.span.end])
    found = "".join(pieces)
    return found if not _left(run, needed) else None


def _removals(run: Run, needed: Callable[[str], bool]) -> list[Span]:
    spans: list[Span] = []
    for use in run.found:
        if use.manager.name in _SYSTEM and use.subcommand in _INSTALLS:
            words = operands(use)
            idle = [span for name, span in words if not needed(name)]
            if idle and len(idle) == len(words):
                spans += _whole(run, use)
            else:
                spans += idle
    return sorted(spans, key=lambda span: span.start)


def _whole(run: Run, use: Use) -> Iterator[Span]:
    """The span of a command with the ``&&`` that ties it to the one before."""
    commands = run.commands
    index = next(index for index, command in enumerate(commands) if command is use.command)
    before = commands[index - 1] if index else None
    if before is None or before.depth or use.command.depth or before.operator != "&&":
        return
    if use.command.operator in ("&&", "") and before.operator_span is not None:
        yield Span(before.operator_span.start, use.command.span.end)


def _left(run: Run, needed: Callable[[str], bool]) -> bool:
    """Whether a package stays that is not needed."""
    taken = _removals(run, needed)
    for use in run.found:
        if use.manager.name in _SYSTEM and use.subcommand in _INSTALLS:
            for name, span in operands(use):
                if not needed(name) and not any(item.start <= span.start and span.end <= item.end for item in taken):
                    return True
    return False


def run_in_containers(subject: Subject, context: Path) -> str:
    """What is known to run in containers of the image: its commands, the scripts they name, compose files, manuals.

    More than what runs, never less.
    """
    told = [" ".join(item.values) for item in subject.body if item.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK")]
    scripts: dict[str, list[Path]] = {}
    for path in files(context):
        name = path.name
        if _COMPOSE.fullmatch(name):
            told.append(_text(path))
        elif _MANUALS.fullmatch(name) or path.parts[-3:-1] == (".github", "workflows") or name == ".gitlab-ci.yml":
            told += _IN_CONTAINER.findall(_text(path))
        elif re.search(r"\.(?:sh|bash|conf|ini|toml|ya?ml|cfg)$|^[\w-]+$|^Procfile|^crontab", name):
            scripts.setdefault(name, []).append(path)
    told += (_text(path) for name in ("Procfile", "crontab", "supervisord.conf") for path in scripts.get(name, ()))
    waiting = list(told)
    seen: set[str] = set()
    while waiting:
        for word in set(re.findall(r"[\w.-]+", waiting.pop())) & (scripts.keys() - seen):
            seen.add(word)
            if word == "bundle":  # a wrapper of Bundler's own, which tells how to install it
                continue
            texts = [_text(path) for path in scripts[word]]
            told += texts
            waiting += texts
    return "\n".join(told)


def develops(subject: Subject, context: Path) -> bool:
    """Whether a compose file of the context lays the sources over the image's own: they are worked on in it."""
    folders = {state.workdir for state in subject.known.values() if state.workdir and state.workdir != "/"}
    for path in files(context):
        if _COMPOSE.fullmatch(path.name):
            for _, target in re.findall(
                r"^\s*-\s*[\"']?(\.{1,2}[\w./-]*|\$\{?PWD\}?[\w./-]*):(/[\w./-]*)", _text(path), re.M
            ):
                if any(posixpath.normpath(target) == folder for folder in folders):
                    return True
    return False


def files(context: Path) -> Iterator[Path]:
    """The files of the context that somebody wrote."""
    for folder, names, found in os.walk(context):
        names[:] = sorted(name for name in names if name not in _SKIPPED)
        yield from (Path(folder, name) for name in sorted(found))


def source_text(instruction: Instruction, path: Path) -> str:
    """A source of the project. Raises No where it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        raise No(instruction, f"{path.name} cannot be read: it may need what only the build stage has") from None


def _text(path: Path) -> str:
    try:
        return read_text(path, most=1 << 20)
    except OSError:
        return ""

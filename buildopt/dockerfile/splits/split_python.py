"""Splitting a Python file: a virtual environment is built beside compilers, and shipped without them.

The runtime stage is the same image again and does all that the only stage did, in its order, except for what fills the
environment and for packages that only compile. The environment lies at the same path, so that scripts find their
interpreter. Only packages are known to need nothing of the compiler's own libraries that stand in a table.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.splits.brought import Brought, brought, origin_of
from buildopt.dockerfile.splits.build_steps import Steps, owner_of, steps
from buildopt.dockerfile.splits.python_packages import COMPILERS, installed, libraries_of
from buildopt.dockerfile.splits.python_venv import Venv, environment, is_build, makes_venv
from buildopt.dockerfile.splits.repeats import secrets, trimmed
from buildopt.dockerfile.splits.splits import No, Split, Subject, copy_line, uncovered
from buildopt.dockerfile.splits.started import checked, started

_TAG = re.compile(r"(?:[0-9.]+-)?slim(?:-(?:bullseye|bookworm|trixie))?")
_TOOLS = r"(?:gcc|g\+\+|cc|c\+\+|make|cmake|ld|as|pkg-config|pip3?|poetry|virtualenv)"
_STARTS_TOOLS = re.compile(
    rf"[\"'`]{_TOOLS}[\"'`\s]|^\s*{_TOOLS}\s|pyximport|distutils|\.verify\(|ffi\.compile|torch\.compile|load_inline",
    re.MULTILINE,
)
_TEMPORARY = ("/root/.cache", "/var/lib/apt/lists", "/var/cache", "/tmp")
_REMOVING = frozenset(("remove", "purge", "autoremove"))


def concerns(subject: Subject) -> bool:
    """Whether a slim image of Python gets a compiler, and a virtual environment at a path of its own."""
    base = subject.final.base
    if base.repository != "python" or _TAG.fullmatch(base.tag) is None:
        return False
    compiling = [run for run in subject.runs if not COMPILERS.isdisjoint(_packages(run))]
    if not compiling or any(use.subcommand in _REMOVING for run in compiling for use in run.found):
        return False  # without compilers, or removed by the same RUN: there is nothing to gain
    return any(makes_venv(command) for run in subject.runs for command in run.commands)


def plan(subject: Subject) -> Split:
    """Ship the environment. Raises No."""
    context = subject.context
    if context is None:
        raise No(subject.origin, "only the requirements tell what the program needs at run time: give --context")
    for item in subject.head:
        if item.keyword == "USER":
            raise No(item, "the user changes before the packages are installed")
    done = steps(subject, is_build)
    head = brought(subject, subject.head)
    venv = environment(subject, done)
    _apart(venv, (*head, *brought(subject, subject.tail)))
    installed(subject, venv, head)
    _no_tools(subject, context, (*head, *brought(subject, subject.tail)))
    uncovered(subject, (venv.path,))
    again = frozenset(
        (*_replayed(done, venv), *(item.span.start for item in subject.head if item.keyword in ("COPY", "ADD")))
    )
    owner = _owner(subject, done, venv)
    texts = {
        offset: libraries_of(text, subject.final.base.tag)
        for offset, text in trimmed(subject, again, lambda name: not _idle(name)).items()
    }
    last = max(item.run.instruction.span.start for item in done if item.builds)
    later = {offset for offset in again if offset > last and texts.get(offset) in (None, _text(subject, offset))}
    return Split(
        subject.written_base,
        (copy_line(subject, venv.path, chown=owner),),
        f"a build stage, and a runtime stage on {subject.written_base.rpartition('/')[2]}",
        f"{venv.path} is shipped; compilers and headers stay in the build stage",
        replayed=again - later,
        relocated=secrets(subject) | later,
        texts=texts,
    )


def _owner(subject: Subject, done: Sequence[Steps], venv: Venv) -> str:
    """Whose the environment is at the end, empty for root's. Raises No where that is not one user and group."""
    owner = owner_of(done, venv.path, since=venv.offset)
    if owner and re.fullmatch(r"[\w.-]+:[\w.-]+", owner) is None:
        raise No(subject.origin, f"the group of {venv.path} is not certain")
    folders = {state.workdir for state in subject.known.values()} | {"/opt", "/srv", "/home"}
    if owner and posixpath.dirname(venv.path) not in folders:
        raise No(subject.origin, f"whose {posixpath.dirname(venv.path)} is, is not certain")
    return owner


def _text(subject: Subject, offset: int) -> str:
    """An instruction as it is written."""
    span = next(item.span for item in subject.head if item.span.start == offset)
    return subject.source.text[span.start : span.end]


def _packages(run: Run) -> set[str]:
    """The words of what apt installs."""
    return {word.text or "" for use in run.found if use.manager.name == "apt" for word in use.rest}


def _idle(package: str) -> bool:
    return package in COMPILERS


def _apart(venv: Venv, entries: Sequence[Brought]) -> None:
    """Refuse where the context brings something into the environment. Raises No."""
    for entry in entries:
        where = relation(entry.path, venv.path)
        if where is Relation.INSIDE or (where is Relation.PARENT and entry.folder):
            raise No(entry.instruction, f"it may copy into {venv.path}")


def _replayed(done: Sequence[Steps], venv: Venv) -> list[int]:
    """The RUNs that the runtime stage runs too: all but those that install packages or compilers alone. Raises No."""
    found: list[int] = []
    lists = False
    for item in done:
        run = item.run.instruction
        if item.odd:
            raise No(run, item.odd)
        wanted = [name for name in item.packages if not _idle(name)]
        idle = [name for name in item.packages if _idle(name)]
        other = bool(
            item.users or item.folders or item.owners or item.modes or item.moves or item.upgrades or _edits(item)
        )
        kept = [path for path in item.removed if not path.startswith(_TEMPORARY)]
        if item.builds:
            if wanted or other or kept:
                what = (wanted or kept or item.users or item.folders or ["what it changes"])[0]
                raise No(run, f"{what} is needed at run time, and stands in one RUN with the packages of Python")
            continue
        if any(use.subcommand in _REMOVING for use in item.run.found):
            raise No(run, "packages are removed apart from the RUN that installs them")
        _untouched(item, venv)
        if not (wanted or other or kept):
            continue
        if idle and (not wanted or run.comments):
            raise No(run, f"{idle[0]} stands in one RUN with what is needed at run time")
        if item.packages and not item.updates and not lists:
            raise No(run, "the lists of packages come from another RUN")
        lists = lists or item.updates
        found.append(run.span.start)
    return found


def _untouched(item: Steps, venv: Venv) -> None:
    """Refuse a RUN that the runtime stage repeats where it may mean the environment too. Raises No."""
    run = item.run.instruction
    owners = [path for _, path, _ in item.owners]
    moved = [path for move in item.moves for path in (move.source, move.target)]
    for path in (*item.folders, *item.modes, *owners, *item.removed, *moved):
        if relation(path, venv.path) is Relation.INSIDE:
            raise No(run, f"{path} is not there yet when the runtime stage gets to this RUN")
    for path in (*item.modes, *item.removed, *(move.source for move in item.moves)):
        if relation(path, venv.path) is Relation.PARENT:
            raise No(run, f"what it does to {path} is done to {venv.path} too")
    for command in item.run.commands:
        raw = " ".join(word.raw for word in command.words)
        if any(name in raw for name in (venv.path, "VIRTUAL_ENV", f"{posixpath.basename(venv.path)}/")):
            raise No(run, f"`{raw[:60]}` needs {venv.path}")
        if command.name in ("chown", "chmod") and any(word.text is None for word in command.arguments):
            raise No(run, f"what `{raw[:60]}` changes is not certain")
    for path in owners:
        if re.search(r"[*?\[]", path) and relation(path, venv.path) is not Relation.NONE:
            raise No(run, f"whose {venv.path} is, is not certain")
    if item.users and run.span.start > venv.offset and venv.path.startswith("/home/"):
        raise No(run, f"the user may be the one whose home holds {venv.path}")


def _edits(item: Steps) -> bool:
    return any(command.name in ("sed", "dos2unix", "git") for command in item.run.commands) and not item.builds


def _no_tools(subject: Subject, context: Path, entries: Sequence[Brought]) -> None:
    """Refuse where a container starts what only the build stage has. Raises No."""

    def script(path: str) -> str | None:
        origin = origin_of(entries, path)
        if origin is None or not (context / origin).is_file():
            return None
        try:
            text = read_text(context / origin)
        except OSError:
            return None
        return text if re.match(r"#!.*sh\b", text) or path.endswith(".sh") else None

    for step in (*started(subject, script).steps, *checked(subject, script).steps):
        if re.fullmatch(_TOOLS, step.name) or "pip" in step.command.texts:
            raise No(step.instruction, f"it starts {step.name}, which only the build stage has")
    for entry in entries:
        origin = context / entry.origin
        for path in sorted(origin.rglob("*")) if entry.folder else (origin,):
            if path.suffix in (".py", ".sh", ".bash") and path.is_file() and _may_start_tools(entry, path):
                place = posixpath.relpath(path.as_posix(), context.as_posix())
                raise No(entry.instruction, f"{place} may start a compiler or make, which only the build stage has")


def _may_start_tools(entry: Brought, path: Path) -> bool:
    """Whether a source speaks of a tool that only the build stage has. Raises No where it cannot be read."""
    try:
        return _STARTS_TOOLS.search(read_text(path)) is not None
    except OSError:
        raise No(entry.instruction, f"{path.name} cannot be read: it may start a compiler") from None

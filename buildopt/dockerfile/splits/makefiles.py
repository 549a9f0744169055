"""What `make` runs, where the Makefile is simple enough to say: targets with plain recipes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from buildopt.dockerfile.managers import recognise
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import Subject

_NAMES = ("GNUmakefile", "makefile", "Makefile")
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][\w.-]*)\s*(?::{1,3}|\?|\+)?=\s*(.*)")
_TARGET = re.compile(r"([^\s:=#][^:=#]*?)\s*::?\s*([^=].*)?$")
_ODD = re.compile(
    r"(?:-?include|sinclude|define|ifn?eq|ifn?def|else|endif|override|\.ONESHELL|\.RECIPEPREFIX|vpath|load)\b"
)
_REFERENCE = re.compile(r"\$\(([\w.-]+)\)|\$\{([\w.-]+)\}")


@dataclass(slots=True)
class _Makefile:
    variables: dict[str, str] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)
    recipes: dict[str, list[str]] = field(default_factory=dict)
    odd: set[str] = field(default_factory=set)
    first: str = ""


def with_recipes(subject: Subject, run: Run, files: Sequence[Landed]) -> Iterator[Run]:
    """The RUN, or what it runs: one for each line of a recipe, and one for all that is not make."""
    makes = [command for command in run.commands if command.name == "make"]
    if not makes or run.script is None or run.state.workdir is None:
        yield run
        return
    lines: list[tuple[str, str]] = []
    for command in makes:
        found = _lines(subject, run, command, files)
        if found is None:
            yield run
            return
        lines += found
    for folder, line in lines:
        script = parse_shell(line)
        uses = tuple(use for use in map(recognise, script.commands) if use is not None)
        state = replace(run.state, workdir=folder)
        yield replace(run, script=script, state=state, text=line, found=uses)
    rest = tuple(command for command in run.commands if command not in makes)
    if rest:
        yield replace(run, script=replace(run.script, commands=rest))


def _lines(subject: Subject, run: Run, command: Command, files: Sequence[Landed]) -> list[tuple[str, str]] | None:
    """The folder and the text of every line that one make runs; None where that is not certain."""
    if command.depth or len(command.texts) != len(command.arguments):
        return None
    prefix = "".join(f"{item.name}={item.value.raw} " for item in command.environment)
    folder = run.state.workdir or "/"
    targets: list[str] = []
    given: dict[str, str] = {}
    words = list(command.texts)
    while words:
        word = words.pop(0)
        if word in ("-C", "--directory") and words:
            folder = posixpath.normpath(posixpath.join(folder, words.pop(0)))
        elif re.fullmatch(r"-[sk]|-j\d*|--silent|--no-print-directory", word):
            continue
        elif "=" in word and not word.startswith("-"):
            name, _, value = word.partition("=")
            given[name] = value
        elif word.startswith("-"):
            return None
        else:
            targets.append(word)
    places = {item.path: item for item in files}
    item = next((places[path] for name in _NAMES if (path := posixpath.join(folder, name)) in places), None)
    text = text_of(subject, item) if item is not None else None
    makefile = _read(text) if text is not None else None
    if makefile is None or any(name == "cd" for run_command in run.commands for name in (run_command.name,)):
        return None
    makefile.variables.update(given)
    found: list[str] = []
    done: set[str] = set()
    for target in targets or [makefile.first]:
        if not _expand(makefile, target, found, done, set(places), folder):
            return None
    if prefix and any(re.search(r"[&|;]", line) for line in found):
        return None
    return [(folder, prefix + line) for line in found]


def _read(text: str) -> _Makefile | None:
    """A Makefile without anything conditional outside of its recipes; None for any other."""
    found = _Makefile()
    current: list[str] = []
    for line in re.sub(r"\\\n[ \t]*", " ", text.replace("\r\n", "\n")).split("\n"):
        if line.startswith("\t"):
            for name in current:
                found.recipes[name].append(line.strip())
            continue
        plain = line.partition("#")[0].rstrip()
        if not plain.strip():
            continue
        if _ODD.match(plain.strip()):
            return None
        variable = _VARIABLE.match(plain.strip())
        if variable is not None:
            if not re.search(r"\+=", plain):
                found.variables.setdefault(variable.group(1), variable.group(2))
            current = []
            continue
        target = _TARGET.match(plain)
        if target is None:
            return None
        current = target.group(1).split()
        for name in current:
            if "%" in name or name in found.recipes:
                found.odd.add(name)
            found.recipes.setdefault(name, [])
            found.needs.setdefault(name, []).extend((target.group(2) or "").partition(";")[0].split())
            if not found.first and not name.startswith("."):
                found.first = name
    return found


def _expand(
    makefile: _Makefile, target: str, lines: list[str], done: set[str], files: Iterable[str], folder: str
) -> bool:
    """Add what a target runs, what it needs first. Whether all of that is known."""
    if target in done:
        return True
    done.add(target)
    if target in makefile.odd or len(done) > 50:
        return False
    if target not in makefile.recipes:
        return posixpath.normpath(posixpath.join(folder, target)) in files
    for need in makefile.needs[target]:
        if "$" in need or "|" in need or not _expand(makefile, need, lines, done, files, folder):
            return False
    for line in makefile.recipes[target]:
        text = _value(makefile, line.lstrip("@-+ "), 0)
        if text is None:
            return False
        lines.append(text)
    return True


def _value(makefile: _Makefile, text: str, depth: int) -> str | None:
    """A recipe's line with the Makefile's variables put in; a variable of its own for what only make can tell."""
    if depth > 10:
        return None
    known = True

    def value(match: re.Match[str]) -> str:
        nonlocal known
        name = match.group(1) or match.group(2)
        if name in ("MAKE", "SHELL"):
            known = False
        inner = makefile.variables.get(name)
        if inner is None:
            return "$UNKNOWN"
        found = _value(makefile, inner, depth + 1)
        known = known and found is not None
        return found or ""

    text = _REFERENCE.sub(
        value, re.sub(r"\$\((?:shell|wildcard|patsubst|subst) [^()]*(?:\([^()]*\)[^()]*)*\)", "$UNKNOWN", text)
    )
    text = text.replace("$$", "$").replace("$@", "$UNKNOWN").replace("$<", "$UNKNOWN").replace("$^", "$UNKNOWN")
    return text if known and "$(" not in text.replace("$(pwd)", "") else None

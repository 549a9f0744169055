"""What differs between two steps that should have been one, said as causes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildopt.build import context_files
from buildopt.history.records import UNKNOWN, Record, Step, Variable

CERTAIN, LIKELY, NOT_SURE = "certain", "likely", "not sure"
MOST_FILES = 10
"""How many files are named."""
MOST_LINES = 12
"""How many lines a diff shows."""
_WIDTH = 160
_UNSET = "not set"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a step ran. ``kind`` is one of instruction, base-image, files, build-argument, never-built, no-cache,
    evicted, unfinished, remote, context, add-host, source-date-epoch, concurrent, unknown; ``detail`` are lines that
    show it."""

    kind: str
    text: str
    certainty: str = CERTAIN
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """A step and the one that it is compared with, each with its record. ``sure`` is how sure what differs can be."""

    record: Record
    other: Record
    step: Step
    old: Step
    sure: str
    tree: Callable[[str], Mapping[str, str] | None]


def signature(step: Step) -> tuple[object, ...]:
    """What is a step's own, so that equal steps can be found."""
    seen = tuple((entry.name, entry.value) for entry in step.variables) if _is_run(step) else ()
    parts = tuple(sorted((name, value) for name, value in step.parts.items() if name != "base"))
    return (parts, seen, step.files)


def _is_run(step: Step) -> bool:
    return step.text[:3].upper() == "RUN"


def differences(pair: Compared) -> list[Cause]:
    """Everything that differs between two steps, the most telling first."""
    found = [*_base(pair), *_instruction(pair)]
    changed = any(cause.kind == "instruction" for cause in found)
    if _is_run(pair.step) and _is_run(pair.old):
        found += _variables(pair)
    found += _settings(pair)
    if not changed or _is_run(pair.step):
        found += _files(pair)
    unique: dict[tuple[str, str], Cause] = {}
    for cause in found:
        unique.setdefault((cause.kind, cause.text), cause)
    order = {CERTAIN: 0, LIKELY: 1, NOT_SURE: 2}
    return sorted(unique.values(), key=lambda cause: order[cause.certainty])


def added(steps: Sequence[Step], sure: str) -> Cause:
    """The cause where instructions were put in."""
    return Cause("instruction", _count("instruction added", steps), sure, tuple(_lines("+", steps)))


def removed(steps: Sequence[Step], sure: str) -> Cause:
    """The cause where instructions were taken out."""
    return Cause("instruction", _count("instruction removed", steps), sure, tuple(_lines("-", steps)))


def _count(text: str, steps: Sequence[Step]) -> str:
    if len(steps) == 1:
        return f"{text} before it" if "removed" in text else text
    return f"{len(steps)} {text.replace('instruction', 'instructions')}"


def _lines(sign: str, steps: Sequence[Step]) -> Iterator[str]:
    for step in steps[:MOST_LINES]:
        yield f"{sign} {first_line(step.text)}"


def first_line(text: str) -> str:
    """A text's first line, cut to a screen's width."""
    lines = text.strip().splitlines() or [""]
    more = " …" if len(lines) > 1 else ""
    return (lines[0] if len(lines[0]) <= _WIDTH else f"{lines[0][: _WIDTH - 1]}…") + more


def _base(pair: Compared) -> Iterator[Cause]:
    now, before = (_images(step.parts.get("base", "")) for step in (pair.step, pair.old))
    if now == before:
        return
    for name in now.keys() & before.keys():
        if now[name] != before[name]:
            detail = (f"- {before[name] or 'unknown'}", f"+ {now[name] or 'unknown'}")
            yield Cause("base-image", f"the base image {_short(name)} moved", pair.sure, detail)
    for new, old in zip(sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys()), strict=False):
        yield _other_base(pair, old, new)
    if len(now) != len(before):
        yield Cause("instruction", "FROM changed", pair.sure)


def _other_base(pair: Compared, old: str, new: str) -> Cause:
    detail = (f"- FROM {_short(old)}", f"+ FROM {_short(new)}")
    now, before = _froms(pair.record.text), _froms(pair.other.text)
    if now != before:
        return Cause("instruction", "FROM changed", pair.sure, detail)
    for name in sorted(pair.record.arguments.keys() | pair.other.arguments.keys()):
        values = pair.other.arguments.get(name), pair.record.arguments.get(name)
        if values[0] != values[1] and any(re.search(rf"\$\{{?{re.escape(name)}\b", line) for line in now):
            return Cause("build-argument", _argument(name, *values), pair.sure, detail)
    return Cause("instruction", "an ARG that FROM uses changed", pair.sure, detail)


def _images(text: str) -> dict[str, str]:
    return {name: digest for name, _, digest in (word.partition("@") for word in text.split())}


def _short(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/")


def _froms(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.lstrip()[:5].upper() == "FROM "]


def _instruction(pair: Compared) -> Iterator[Cause]:
    now, before = pair.step.parts.get("instruction"), pair.old.parts.get("instruction")
    if now == before:
        return
    if _same_words(pair.step.text, pair.old.text) and pair.step.matched and pair.old.matched:
        found = [] if _is_run(pair.step) else list(_variables(pair))
        if found:
            yield from found
            return
    old, new = (pair.old.text, pair.step.text) if pair.old.text != pair.step.text else (before or "", now or "")
    yield Cause("instruction", "the instruction changed", pair.sure, tuple(_diff(old, new)))


def _same_words(first: str, second: str) -> bool:
    return first.split() == second.split()


def _diff(old: str, new: str) -> list[str]:
    lines = list(difflib.ndiff(old.strip().splitlines(), new.strip().splitlines()))
    changed = [f"{line[0]} {first_line(line[2:])}" for line in lines if line[:2] in ("- ", "+ ")]
    more = len(changed) - MOST_LINES
    return [*changed[:MOST_LINES], f"… and {more} more lines"] if more > 0 else changed


def _variables(pair: Compared) -> list[Cause]:
    """Causes for variables with other values: build arguments first, then what the Dockerfile says."""
    now = {entry.name: entry for entry in pair.step.variables}
    before = {entry.name: entry for entry in pair.old.variables}
    names = [name for name in now.keys() | before.keys() if _value(now.get(name)) != _value(before.get(name))]
    arguments: dict[str, Cause] = {}
    written: list[Cause] = []
    derived: list[Cause] = []  # the same words, another value: a hidden one, or one that comes from another variable
    for name in sorted(names):
        new, old = now.get(name), before.get(name)
        roots = set(new.arguments if new else ()) | set(old.arguments if old else ())
        given = [root for root in sorted(roots) if pair.record.arguments.get(root) != pair.other.arguments.get(root)]
        for root in given:
            values = pair.other.arguments.get(root), pair.record.arguments.get(root)
            arguments[root] = Cause("build-argument", _argument(root, *values), pair.sure)
        if not given:
            same = (old.definition if old else "") == (new.definition if new else "")
            (derived if same else written).append(_definition(old, new, pair.sure))
    return [*arguments.values(), *written] or derived


def _value(entry: Variable | None) -> str | None:
    return None if entry is None else entry.value


def _definition(old: Variable | None, new: Variable | None, sure: str) -> Cause:
    entry = new or old
    assert entry is not None
    word = "changed" if old and new else "was added" if new else "was removed"
    detail = [f"- {first_line(old.definition)}"] if old else []
    detail += [f"+ {first_line(new.definition)}"] if new else []
    if old and new and old.definition == new.definition:
        detail = []
    line = f" (line {new.line})" if new and new.line else ""
    return Cause("instruction", f"{entry.kind.upper()} {entry.name} {word}{line}", sure, tuple(detail))


def _argument(name: str, old: str | None, new: str | None) -> str:
    if (old or new or "").startswith("#") and (new or old or "").startswith("#"):
        shown = "its value is not shown" if old and new else "now given" if new else "no longer given"
        return f"the build argument {name} changed ({shown})"
    values = [_UNSET if value is None else f'"{first_line(value)}"' if value else '""' for value in (old, new)]
    return f"the build argument {name} changed: {values[0]} → {values[1]}"


_SETTINGS = {
    "user": ("instruction", "USER changed"),
    "workdir": ("instruction", "WORKDIR changed"),
    "shell": ("instruction", "SHELL changed"),
    "platform": ("instruction", "FROM --platform changed"),
    "hosts": ("add-host", "--add-host changed"),
    "epoch": ("source-date-epoch", "SOURCE_DATE_EPOCH changed"),
    "remote": ("instruction", "the address changed"),
}


def _settings(pair: Compared) -> Iterator[Cause]:
    """Causes for what holds around an instruction."""
    now, before = pair.step.parts, pair.old.parts
    for name in sorted(now.keys() | before.keys()):
        old, new = before.get(name, ""), now.get(name, "")
        if old == new or name in ("instruction", "base"):
            continue
        if name == "shell" and not (old and new):
            continue  # shell form or not: the instruction itself says so
        detail = (f"- {old or _UNSET}", f"+ {new or _UNSET}")
        if name.startswith("context "):
            yield Cause("context", f"the build context {name.partition(' ')[2]} changed", LIKELY, detail)
        elif name in _SETTINGS:
            yield Cause(*_SETTINGS[name], pair.sure, detail)


def _files(pair: Compared) -> Iterator[Cause]:
    if pair.step.files == pair.old.files != UNKNOWN:
        return
    now, before = pair.tree(pair.step.files), pair.tree(pair.old.files)
    if now is None or before is None or UNKNOWN in (pair.step.files, pair.old.files):
        if pair.step.files and pair.old.files:
            yield Cause("files", "copied files may have changed; what they were is not on record", NOT_SURE)
        return
    found, unknown = context_files.differences(before, now)
    word = "mounted" if _is_run(pair.step) else "copied"
    if not found:
        text = f"{word} files may have changed: {', '.join(map(printable, unknown[:3]))}"
        yield Cause("files", text, NOT_SURE)
        return
    counts: dict[str, int] = {}
    for state, _ in found:
        counts[state] = counts.get(state, 0) + 1
    text = f"{word} files changed: {', '.join(f'{count} {state}' for state, count in counts.items())}"
    if pair.record.ignore != pair.other.ignore and {"added", "removed"} & counts.keys():
        text += "; the .dockerignore changed"
    detail = [f"{state}: {printable(path)}" for state, path in found[:MOST_FILES]]
    if len(found) > MOST_FILES:
        detail.append(f"… and {len(found) - MOST_FILES} more")
    yield Cause("files", text, pair.sure, tuple(detail))


def printable(path: str) -> str:
    """A file's name without what would upset a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in path)

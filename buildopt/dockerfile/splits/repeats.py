"""How the RUNs that a runtime stage repeats are written there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from buildopt.dockerfile.managers import Use
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.build_steps import Repeated, Steps
from buildopt.dockerfile.splits.shipped import Landed
from buildopt.dockerfile.splits.splits import MOVED, No, Subject
from buildopt.source import Span

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_PUBLIC = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)
_INSTALLS = ("install", "add")


def without_settings(run: Run) -> Run:
    """A RUN without the commands that set the local time zone; `with_settings` repeats them."""
    if run.script is None:
        return run
    return replace(
        run, script=replace(run.script, commands=tuple(item for item in run.commands if not _sets_zone(item)))
    )


def with_settings(subject: Subject, again: Repeated) -> Repeated:
    """What the runtime stage repeats, the RUNs that set the time zone with it. Raises No where they build as well."""
    offsets = set(again.offsets)
    for run in runs_by_family(subject.dockerfile)[0]:
        if not any(map(_sets_zone, run.commands)):
            continue
        others = [
            item for item in run.commands if not _sets_zone(item) and item.name not in ("echo", "set", "export", "rm")
        ]
        if any(run.found) and not all(use.manager.name in ("apt", "apk") for use in run.found):
            raise No(run.instruction, "the time zone is set in one RUN with the build")
        if not run.found and any(item.words for item in others):
            raise No(run.instruction, "the time zone is set in one RUN with the build")
        offsets.add(run.instruction.span.start)
    return replace(again, offsets=frozenset(offsets))


def _sets_zone(command: Command) -> bool:
    targets = [item.target.text for item in command.redirects if item.target is not None]
    if command.name in ("echo", "printf") and targets == ["/etc/timezone"]:
        return True
    if command.name in ("ln", "cp") and command.arguments:
        return command.arguments[-1].text == "/etc/localtime" and "/usr/share/zoneinfo/" in command.arguments[-2].raw
    return command.name == "dpkg-reconfigure" and command.texts[-1:] == ("tzdata",)


def secrets(subject: Subject) -> frozenset[int]:
    """ENV and ARG of secrets that no step of the build reads: only the runtime stage gets them.

    In both stages a build check would warn of them twice. Raises No where the build reads one too.
    """
    found: set[int] = set()
    for item in reversed(subject.head):
        names = {pair.key.text for pair in item.pairs} if item.keyword in ("ENV", "ARG") else set()
        if not any(_SECRET.search(name) and not _PUBLIC.search(name) for name in names):
            continue
        shown = re.compile(rf"\$\{{?(?:{'|'.join(map(re.escape, names))})\b")
        told = [other for other in subject.body if other is not item and shown.search(other.logical.text)]
        late = [other for other in told if other in subject.tail or other.keyword in MOVED or other.span.start in found]
        early = [other for other in told if other not in late]
        if item.keyword == "ARG" and not late and not any(other.keyword in ("ENV", "WORKDIR") for other in early):
            continue  # only the build has it
        if early:
            raise No(item, "a secret would stand in both stages")
        found.add(item.span.start)
    return frozenset(found)


def relocated(subject: Subject, steps: Iterable[Steps], offsets: Collection[int]) -> frozenset[int]:
    """Those of the repeated RUNs that nothing of the build stage needs: only the runtime stage gets them.

    What gives files another owner or mode stays, because the files are copied with it.
    """
    marked = {item.run.instruction.span.start for item in steps if item.owners or item.modes}
    found: set[int] = set()
    for item in reversed(subject.head):
        if item.span.start in offsets and item.span.start not in marked:
            found.add(item.span.start)
        elif item.keyword in ("RUN", "COPY", "ADD", "USER"):
            break
    return frozenset(found)


def same_owners(subject: Subject, steps: Sequence[Steps]) -> None:
    """Refuse users whose numbers may differ between the two images where files belong to them. Raises No."""
    if "alpine" in subject.final.base.tag or not any(item.owners for item in steps):
        return
    for item in steps:
        for command in item.run.commands:
            if command.name in ("adduser", "addgroup") and "--system" in command.texts:
                raise No(item.run.instruction, "the number of a system's group may be another one in the smaller image")


def runnable(subject: Subject, offsets: Collection[int], image: str) -> None:
    """Refuse repeated RUNs that start or change what the slim image does not have. Raises No."""
    for run in subject.runs:
        if run.instruction.span.start in offsets and "/etc/apt/sources.list" in run.text:
            raise No(run.instruction, "where the smaller image has its list of package sources is not known")
    if "debian:" not in image or re.search(r":(?:stretch|buster|bullseye|bookworm)", image):
        return
    for run in subject.runs:
        if run.instruction.span.start in offsets:
            name = next((command.name for command in run.commands if command.name in ("adduser", "addgroup")), None)
            if name is not None:
                raise No(run.instruction, f"the smaller image has no {name}: useradd and groupadd are there")


def owners(subject: Subject, steps: Sequence[Steps], files: Iterable[Landed]) -> Callable[[str], str]:
    """What tells whose a path of the build stage is, empty for root's. It raises No where that is not one user's."""
    given = {item.path: item.instruction.flag("chown") for item in files}
    places = {path: flag.value or "" for path, flag in given.items() if flag is not None}

    def owner(path: str) -> str:
        inside = {name for place, name in places.items() if place == path or place.startswith(f"{path}/")}
        if len(inside) > 1 or any("$" in name for name in inside):
            raise No(subject.origin, f"whose {path} is, is not certain")
        found = next(iter(inside), "")
        for item in steps:
            for name, place, everything in item.owners:
                if place == path and not everything and path not in given:
                    raise No(item.run.instruction, f"{path} is given to {name} without what is in it")
                if place == path or (everything and relation(path, place) is Relation.INSIDE):
                    found = name
        return "" if found.split(":")[0] in ("root", "0") else found

    return owner


def trimmed(subject: Subject, offsets: Collection[int], needed: Callable[[str], bool]) -> dict[int, str]:
    """The repeated RUNs without the packages that only the build needs, where they can be taken out of the text."""
    found: dict[int, str] = {}
    for run in subject.runs:
        start = run.instruction.span.start
        if start not in offsets or run.logical is None or run.instruction.comments:
            continue
        text = subject.source.text
        pieces: list[str] = []
        position = start
        for span in _removals(run, needed):
            first = span.start
            while text[first - 1] in " \t\r\n\\":
                first -= 1
            pieces.append(text[position:first])
            position = span.end
        pieces.append(text[position : run.instruction.span.end])
        found[start] = "".join(pieces)
    return found


def _removals(run: Run, needed: Callable[[str], bool]) -> list[Span]:
    spans: list[Span] = []
    for use in run.found:
        if use.manager.name in ("apt", "apk") and use.subcommand in _INSTALLS:
            words = operands(use)
            idle = [span for name, span in words if not needed(name)]
            if len(idle) < len(words):
                spans += idle
    assert run.logical is not None
    return [run.logical.span(span.start, span.end) for span in sorted(spans, key=lambda span: span.start)]


def operands(use: Use) -> list[tuple[str, Span]]:
    found: list[tuple[str, Span]] = []
    skip = False
    for word in use.rest:
        text = word.text or ""
        if not skip and text and not text.startswith("-"):
            found.append((re.split(r"[=<>~@]", text)[0], word.span))
        skip = text in ("-t", "--virtual", "--repository", "-X", "-o")
    return found

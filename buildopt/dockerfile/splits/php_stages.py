"""The three stages of a PHP file: what both have, what only the build needs, and what is shipped."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from buildopt.dockerfile.managers import Use
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.splits import same_image
from buildopt.dockerfile.splits.php_runs import Kind, configures, heavy, idle, owners_above, parts
from buildopt.dockerfile.splits.repeats import operands, secrets
from buildopt.dockerfile.splits.splits import MOVED, Fork, No, Split, Subject, casing, copy_line, stage_names

_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)")
_BREAK = r"\\\\\r?\n\s*"


@dataclass(slots=True)
class Parts:
    """What becomes of the head's instructions, by their offsets."""

    kinds: dict[int, Kind] = field(default_factory=dict)
    fork: int = -1  # the first that makes the application
    last: int = -1  # and the last one


def target_of(subject: Subject, item: Instruction) -> str:
    """Where a COPY or ADD puts what it copies. Raises No where that is not certain."""
    state = subject.known[item.span.start]
    text = state.value(item.words[-1].text, subject.dockerfile.escape) if item.words else None
    if text is None and item.words and re.match(r"\"?\$\{?PHP_INI_DIR\}?", item.words[-1].text):
        text = re.sub(r"\$\{?PHP_INI_DIR\}?", "/usr/local/etc/php", item.words[-1].text)
    if text is None or state.workdir is None:
        raise No(item, "where it copies to is not certain")
    return posixpath.normpath(posixpath.join(state.workdir, text))


def three_stages(subject: Subject, folder: str, found: Parts, needed: Collection[str]) -> Split:
    """The split. Raises No where nothing would stay behind."""
    runs = {run.instruction.span.start: run for run in subject.runs}
    own = idle(needed)
    changed: dict[int, str] = {}
    lean: dict[int, str] = {}
    packages: list[str] = []
    recommended = False
    for start, run in runs.items():
        what = found.kinds[start]
        text = _lean(subject, run, own) if what is Kind.KEEP else None
        if what is Kind.PACKAGES or text is not None:
            words = [(word, use) for use in run.found for name, word in _words(use) if name in own]
            packages += [word for word, _ in words if word not in packages]
            recommended = recommended or any("--no-install-recommends" not in use.command.texts for _, use in words)
        if what is Kind.PACKAGES:
            changed[start] = ""
        elif text is not None:
            lean[start] = text
    _lists(found, runs, lean)
    tools = [item for item in subject.head if found.kinds.get(item.span.start) is Kind.TOOL]
    if not tools and not packages:
        raise No(subject.origin, "the image keeps all that the build needs: there is nothing to leave behind")
    told = [
        _text(subject, run.instruction, {}, "") for start, run in runs.items() if found.kinds[start] is Kind.PACKAGES
    ]
    lines = ["".join(told) + _install(subject, packages, recommended)] if packages else []
    for item in tools:
        if item.span.start < found.fork:
            _movable(subject, item, found, runs)
            lines.append(_text(subject, item))
            changed[item.span.start] = ""
    added, late, replayed = _behind(subject, found, runs, folder)
    for item in (*added, *late):
        changed[item.span.start] = ""
    changed.update({start: text for start, text in lean.items() if start not in changed and start not in replayed})
    for start in replayed & lean.keys():
        changed[start] = lean[start]
    owners = _owners(found, runs, folder)
    word = casing(subject)
    before = [item for item in subject.head if item.span.start < found.fork]
    behind = next(
        (item for item in reversed(before) if item.keyword not in MOVED and changed.get(item.span.start) != ""),
        subject.origin,
    )
    common = next(name for name in ("base", "php", "common") if name not in stage_names(subject))
    hidden = {start for start in secrets(subject) if start > behind.span.start}
    return Split(
        common,
        (
            copy_line(subject, folder),
            *([f"{word('RUN')} {' && '.join(dict.fromkeys(owners))}"] if owners else []),
            *(_text(subject, item, lean) for item in late),
        ),
        "a build stage, and a runtime stage on the same image",
        f"{folder} is shipped; what only the build needs stays behind: {_named(tools, packages)}",
        replayed=frozenset(replayed),
        relocated=frozenset(hidden),
        texts={start: lean[start] for start in replayed & lean.keys()},
        changed=changed,
        fork=Fork(behind, common, "", tuple(lines), tuple(_text(subject, item, lean) for item in added)),
    )


def _owners(found: Parts, runs: Mapping[int, Run], folder: str) -> list[str]:
    """What gives the folder itself its owner and mode. Raises No where users have got other numbers since."""
    lines: list[str] = []
    for start, run in runs.items():
        if found.kinds[start] is Kind.APP:
            lines += owners_above(run, folder)
        elif lines and re.search(r"\b(?:usermod|groupmod|deluser|userdel|groupdel)\b", run.text):
            raise No(run.instruction, f"the owner of {folder} gets another number behind it")
    return lines


def _named(tools: Collection[Instruction], packages: Collection[str]) -> str:
    own = ["composer"] if any("composer" in item.arguments.text for item in tools) else []
    return ", ".join([*(re.split("[=<>~]", name)[0] for name in packages), *own]) or "Node.js"


def _behind(
    subject: Subject, found: Parts, runs: dict[int, Run], folder: str
) -> tuple[list[Instruction], list[Instruction], set[int]]:
    """What stands behind the first sources and is of the system: for the common stage, the runtime stage, or both.

    Raises No where it would see other settings there.
    """
    added: list[Instruction] = []
    late: list[Instruction] = []
    replayed: set[int] = set()
    rest = [item for item in subject.head if item.span.start > found.fork]
    plain = True  # all before it that is of the system is added too
    for item in rest:
        start = item.span.start
        if found.kinds.get(start) is not Kind.KEEP:
            continue
        names = set(_NAME.findall(item.logical.text))
        between = {pair.key.text for other in rest if other.span.start < start for pair in other.pairs}
        run = runs.get(start)
        free = not names & between and (_absolute(subject, item) if run is None else not _relative(run))
        quiet = run is None or configures(run)
        if plain and free and ((run is not None and heavy(run)) or (quiet and start < found.last)):
            added.append(item)
            continue
        if start > found.last:
            after = {pair.key.text for other in rest if other.span.start > start for pair in other.pairs}
            moves = any(other.keyword == "WORKDIR" and other.span.start > start for other in rest)
            if names & after or (moves and (run is None or _relative(run))):
                raise No(item, "the settings behind it would be there before")
            late.append(item)
        else:
            replayed.add(start)
        plain = plain and quiet and (run is not None or _is_setting(target_of(subject, item)))
    return added, late, replayed


def _absolute(subject: Subject, item: Instruction) -> bool:
    return item.flag("from") is None and item.words[-1].text.startswith("/") and _is_setting(target_of(subject, item))


def _is_setting(target: str) -> bool:
    """Whether packages and extensions are installed in the same way without the file."""
    return target.startswith(("/etc/apache2", "/etc/nginx", "/etc/supervisor", "/usr/local/etc", "/etc/cron"))


def _relative(run: Run) -> bool:
    """Whether it may depend on the folder that it runs in."""
    folder = run.state.workdir or "/"
    return (
        any(path is None or relation(path, folder) is Relation.INSIDE for part in parts(run) for path in part.paths)
        and folder != "/"
    )


def _words(use: Use) -> Iterator[tuple[str, str]]:
    """The names of packages that it installs, and how they are written."""
    if use.manager.name in ("apt", "apk") and use.subcommand in ("install", "add"):
        spans = {span.start: name for name, span in operands(use)}
        for word in use.rest:
            if word.span.start in spans:
                yield spans[word.span.start], word.raw


def _lean(subject: Subject, run: Run, own: Collection[str]) -> str | None:
    """A RUN of the system without what only the build needs; None where it has nothing of it, or must keep it."""
    names = {name for use in run.found for name, _ in _words(use)}
    removes = any(use.subcommand in same_image.REMOVES for use in run.found if use.manager.name in ("apt", "apk"))
    virtual = any(text in ("-t", "--virtual") for use in run.found for text in use.command.texts)
    if not names & set(own) or removes or virtual or re.search(r"nodesource|dl\.yarnpkg", run.text):
        return None
    text = same_image.lean(subject, run, lambda name: name not in own)
    if text is not None and names <= set(own):  # nothing is left to be installed
        return re.sub(rf"^(\w+\s+)apt-get (?:-\w+ )*update(?: -\w+)*\s*(?:{_BREAK})?&&\s*(?:{_BREAK})?", r"\1", text)
    return text


def _lists(found: Parts, runs: Mapping[int, Run], lean: Mapping[int, str]) -> None:
    """Refuse installs from lists of packages that no RUN before them fetches any more. Raises No."""
    fetched = False
    for start, run in runs.items():
        uses = [use for use in run.found if use.manager.name == "apt"]
        updates = any(use.subcommand == "update" for use in uses)
        if found.kinds[start] is Kind.KEEP and fetched and uses and not updates:
            raise No(run.instruction, "the lists of packages come from another RUN")
        if found.kinds[start] is Kind.PACKAGES or (start in lean and "update" not in lean[start]):
            fetched = fetched or same_image.fetches_lists(run)


def _install(subject: Subject, packages: Collection[str], recommended: bool) -> str:
    word = casing(subject)("RUN")
    names = " ".join(packages)
    if subject.final.base.distribution == "alpine":
        return f"{word} apk add --no-cache {names}"
    option = "" if recommended else "--no-install-recommends "
    return f"{word} apt-get update && apt-get install -y {option}{names} && rm -rf /var/lib/apt/lists/*"


def _movable(subject: Subject, item: Instruction, found: Parts, runs: dict[int, Run]) -> None:
    """Refuse a RUN that would leave its files in another folder. Raises No."""
    run = runs.get(item.span.start)
    if run is None or run.state.workdir == subject.known[found.fork].workdir:
        return
    if re.search(r"getcomposer\.org/\S+\s*\|", run.text) and "--install-dir" in run.text and ">" not in run.text:
        return
    if "nodesource.com/" in run.text or any(command.name in ("npm", "corepack") for command in run.commands):
        return
    raise No(item, "it would run in another folder")


def _text(subject: Subject, item: Instruction, lean: Mapping[int, str] | None = None, words: str | None = None) -> str:
    """An instruction, or ``words`` in its place, with the comments above it."""
    whole = subject.dockerfile.with_comments(item)
    text = subject.source.text
    own = (lean or {}).get(item.span.start) or text[item.span.start : item.span.end]
    return text[whole.start : item.span.start] + (own if words is None else words)

"""Taking clean-ups of a cache, and options that defeat it, out of a RUN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from buildopt.dockerfile.managers import PDM, PIP, PIPENV, POETRY, UV, Manager, Use, recognise
from buildopt.dockerfile.passes.paths import Relation, mention, word_path
from buildopt.dockerfile.passes.runs import HARMLESS, Run, script_run
from buildopt.dockerfile.shell import Command, Part, Word
from buildopt.source import Edit, Span

# Commands that may name a mounted folder without harm: they change nothing in it that matters, or only make it.
_QUIET = frozenset(("mkdir", "ls", "du", "echo", "cd", "test", "[", "[[", "touch", "export", "true", ":", "printf"))
# Commands that reach below a parent folder, and so into the mount.
_REACHING = frozenset(
    ("rm", "chown", "chmod", "chgrp", "cp", "mv", "tar", "rsync", "ln", "rmdir", "find", "install", "zip", "unlink")
)


class Refused(Exception):
    """A RUN cannot be rewritten; the message says why."""


@dataclass
class Drops:
    """What to take out of a RUN: whole commands, and single words of others.

    ``replaced`` are words with what takes their place, ``added`` are words with what follows them.
    """

    commands: list[Command] = field(default_factory=list)
    words: list[tuple[Command, Word]] = field(default_factory=list)
    replaced: list[tuple[Word, str]] = field(default_factory=list)
    added: list[tuple[Word, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.commands or self.words or self.replaced or self.added)

    @property
    def cleans(self) -> bool:
        """Whether something that empties or defeats a cache goes."""
        return bool(self.commands or self.words or self.replaced)


def drops(run: Run, manager: Manager, targets: Sequence[str]) -> Drops:
    """What must go so that mounts on ``targets`` pay. Raises Refused where a command does something else there."""
    found = Drops()
    marks = [mark for cache in manager.caches for mark in cache.marks]
    # What this manager would fill if it did not use the targets, here or on another release.
    others = [*manager.leavings, *(cache.path for cache in manager.caches if cache.path.startswith("/var/cache"))]
    renewed = False
    for use in run.uses(manager):
        if use.is_cleanup:
            found.commands.append(use.command)
        elif use.uses_cache:
            _defeats(use, found, renewed=renewed)
            renewed = renewed or (use.subcommand == "update" and not use.command.depth)
    for command in run.commands:
        if command in found.commands:
            continue
        for word in (*command.argv[1:], *(item.target for item in command.redirects if item.target is not None)):
            where = _where(word, targets, marks, run)
            if command.name == "rm" and _where(word, others, (), run) is Relation.INSIDE:
                found.words.append((command, word))
                continue
            if where is Relation.NONE or (where is Relation.PARENT and command.name not in _REACHING):
                continue
            if command.name == "rm" and where is Relation.INSIDE and word in command.argv:
                if _is_elsewhere(word, targets, run):
                    continue
                found.words.append((command, word))
            elif command.name == "rm" and is_of_caches_alone(word, targets, run):
                found.words.append((command, word))
            elif not _harmless(command, word, where):
                raise Refused(f"{_shown(command)} reaches into {_meant(word, targets, run)}, which would be a mount")
    _whole_commands(found)
    return found


def _defeats(use: Use, found: Drops, *, renewed: bool) -> None:
    """Options with which nothing is cached go, or give way to others, unless an index was just fetched."""
    others = dict(use.manager.instead)
    for word in use.defeats():
        option = word.text or ""
        if option in others and not renewed and not {"-U", "--update", "--update-cache"} & set(use.command.texts):
            found.replaced.append((word, others[option]))
        else:
            found.words.append((use.command, word))


def _where(word: Word, targets: Sequence[str], marks: Sequence[str], run: Run) -> Relation:
    return mention(word, targets, marks, run.state.home, run.state.variables)


# What they run writes nothing else below ~/.cache, as what npm runs does.
_ALONE = (PIP, UV, POETRY, PDM, PIPENV)


def is_of_caches_alone(word: Word, targets: Sequence[str], run: Run) -> bool:
    """Whether it names the ``.cache`` above the targets, and nothing but package managers can have filled it.

    What else such a folder may hold was not there before: it is the user's own, and the RUN removes it whole.
    """
    path = word_path(word, run.state.home, run.state.variables).removesuffix("*").rstrip("/")
    if path != f"{run.state.home}/.cache" or not all(target.startswith(f"{path}/") for target in targets):
        return False
    for command in run.commands:
        use = recognise(command)
        alone = use is not None and (use.manager.system or use.manager in _ALONE)
        if command.words and command.name not in HARMLESS and not alone:
            return False
    return True


def _is_elsewhere(word: Word, targets: Sequence[str], run: Run) -> bool:
    """Whether an operand only looks like a target: another root's or another user's. Refused where nobody can tell."""
    if _where(word, targets, (), run) is Relation.INSIDE:
        return False
    path = word_path(word, run.state.home, run.state.variables)
    if path.startswith("/") and "$" not in path:
        return True
    raise Refused(f"which folder {word.raw} is cannot be told")


def _meant(word: Word, targets: Sequence[str], run: Run) -> str:
    """The target that a word speaks of."""
    return next((item for item in targets if _where(word, [item], (), run) is not Relation.NONE), targets[0])


def _harmless(command: Command, word: Word, where: Relation) -> bool:
    """Whether a command may name the folder, or one above it, without touching what the mount holds."""
    if where is Relation.PARENT:
        return command.name == "find" and word.text == "/"
    return command.name in _QUIET


def _whole_commands(found: Drops) -> None:
    """An ``rm`` that loses all its operands goes as a whole."""
    for command in dict.fromkeys(item for item, _ in found.words):
        if command.name != "rm":
            continue
        dropped = [word for item, word in found.words if item is command]
        operands = [word for word in command.arguments if not (word.text or "").startswith("-")]
        if all(word in dropped for word in operands):
            found.words = [(item, word) for item, word in found.words if item is not command]
            found.commands.append(command)


def opaque_script(run: Run) -> str | None:
    """The first script that a RUN starts and that nobody here can read."""
    for command in run.commands:
        script = script_run(command, run.text)
        if script is not None:
            return script
    return None


def removals(run: Run, dropped: Iterable[Drops]) -> list[Edit]:
    """The edits that take everything out. Raises Refused where a command stands in a place that cannot lose it."""
    union = Drops()
    for item in dropped:
        union.commands += (command for command in item.commands if command not in union.commands)
        union.words += (pair for pair in item.words if pair not in union.words)
        union.replaced += item.replaced
        union.added += item.added
    _whole_commands(union)
    if not union:
        return []
    if run.logical is None or run.script is None:
        raise Refused("its clean-up stands in an exec form")
    edits = [_word_edit(run, command, word) for command, word in union.words if command not in union.commands]
    edits += (_replacement(run, word, text) for word, text in union.replaced)
    edits += (_addition(run, word, text) for word, text in union.added)
    parts = run.script.parts
    gone = {index for index, part in enumerate(parts) if part.command in union.commands}
    if len(gone) != len(union.commands):
        missing = next(command for command in union.commands if not any(part.command is command for part in parts))
        where = f"inside {missing.context[-1]}" if missing.context else "in another command"
        raise Refused(f"{_shown(missing)} stands {where}, so it cannot be taken out safely")
    edits += (_chain_edit(run, parts, first, last) for first, last in _stretches(gone))
    return edits


def _stretches(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers as pairs of first and last."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _chain_edit(run: Run, parts: Sequence[Part], first: int, last: int) -> Edit:
    """Take neighbouring commands out of the chain so that all others run, and the RUN succeeds, just as before."""
    shown = _shown(_command(parts[last]))
    before = parts[first - 1].operator if first else ""
    inside = {parts[index].operator for index in range(first, last)}
    after = parts[last].operator
    following = parts[last + 1] if last + 1 < len(parts) else None
    joined = Refused(f"{shown} is joined in a way that cannot lose it")
    if any(_command(parts[index]).negated for index in range(first, last + 1)):
        raise joined
    if before in ("|", "|&", "||", "&") or not inside <= {"&&", ";", "\n"} or after in ("|", "|&", "&"):
        raise joined
    if after == "||" and not (before == "&&" and inside <= {"&&"}):
        raise joined
    assert run.script is not None
    if following is not None and "!" in run.script.text[parts[last].span.end : following.span.start]:
        raise joined  # the span of what follows does not hold its ``!``
    if not first:
        if following is None:
            raise Refused("nothing else is done in this RUN")
        return Edit(_between(run, parts[first].span.start, following.span.start, forward=True), "")
    if following is None and not (before == "&&" and inside <= {"&&"}):
        if not _errexit(run):
            raise Refused(f"{shown} decides whether this RUN succeeds (there is no set -e)")
        if before == "&&" or not _stops(run, parts, first - 1):
            raise Refused(f"{shown} decides whether this RUN succeeds: set -e overlooks what fails before it")
    elif before == "&&" and after == "&&" and not inside <= {"&&"}:
        raise joined
    elif before == "&&" and after in (";", "\n") and following is not None and _errexit(run):
        previous = parts[first - 1].command
        if previous is None or recognise(previous) is None:
            raise Refused(f"without {shown}, set -e would stop where the command before it fails")
    if after == "&&" and before != "&&" and following is not None:
        return Edit(_between(run, parts[first].span.start, following.span.start, forward=True), "")
    return Edit(_between(run, parts[first - 1].span.end, parts[last].span.end), "")


def _command(part: Part) -> Command:
    assert part.command is not None
    return part.command


def _stops(run: Run, parts: Sequence[Part], index: int) -> bool:
    """Whether ``set -e`` stops at every failure of the list that ends with this part.

    It overlooks all but the last command of ``a && b``, and what has a ``!`` before it.
    """
    part = parts[index]
    if part.command is not None and part.command.negated:
        return False
    if part.command is None:
        assert run.script is not None
        checked = [command for command in part.commands if "condition" not in command.context]
        if any(command.negated or command.operator == "&&" for command in checked):
            return False
        if run.script.text[part.span.start : part.span.end].lstrip().startswith("!"):
            return False
    while index and parts[index - 1].operator in ("|", "|&"):
        index -= 1
        command = parts[index].command
        if command is not None and command.negated:
            return False
    return not index or parts[index - 1].operator != "&&"


def _between(run: Run, start: int, end: int, *, forward: bool = False) -> Span:
    """The source of a range: from right behind its predecessor, or, ``forward``, up to right before its successor."""
    assert run.logical is not None
    if forward:
        return Span(run.logical.offset(start), run.logical.offset(end))
    return Span(run.logical.offset(start - 1) + 1, run.logical.offset(end - 1) + 1)


def _word_edit(run: Run, command: Command, word: Word) -> Edit:
    assert run.logical is not None
    if run.logical.text[word.span.start : word.span.end] != word.raw:
        raise Refused(f"{word.raw} stands in a quoted script")
    index = next(number for number, item in enumerate(command.words) if item is word)
    span = _between(run, command.words[index - 1].span.end, word.span.end)
    if any(span.overlaps(comment.span) for comment in run.instruction.comments):
        raise Refused(f"there is a comment right before {word.raw}")
    return Edit(span, "")


def _exact(run: Run, word: Word) -> Span:
    """Where a word stands in the source. Raises Refused where it is part of something quoted."""
    assert run.logical is not None
    if run.logical.text[word.span.start : word.span.end] != word.raw:
        raise Refused(f"{word.raw} stands in a quoted script")
    return _between(run, word.span.start, word.span.end)


def _replacement(run: Run, word: Word, text: str) -> Edit:
    return Edit(_exact(run, word), text)


def _addition(run: Run, word: Word, text: str) -> Edit:
    end = _exact(run, word).end
    return Edit(Span(end, end), f" {text}")


def _errexit(run: Run) -> bool:
    """Whether the shell stops at the first failure."""
    if any("e" in word for word in run.state.shell[1:] if word.startswith("-") and not word.startswith("--")):
        return True
    if any(command.name == "set" and any(text[:1] == "+" for text in command.texts) for command in run.commands):
        return False
    first = run.commands[0] if run.commands else None
    return first is not None and first.name == "set" and any("e" in option for option in first.options)


def _shown(command: Command) -> str:
    text = " ".join(word.raw for word in command.words)
    return f"`{text[:60]}{'…' if len(text) > 60 else ''}`"

"""RUN instructions as shell scripts, for rules: commands with spans, and edits that land in the source."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from buildopt.dockerfile.model import Dockerfile, Instruction, Logical, Stage
from buildopt.dockerfile.scope import Scope, mount_options, of_the_last_file, walk
from buildopt.dockerfile.shell import Command, Script, Word, parse_shell
from buildopt.source import Edit, Span


@dataclass(frozen=True, slots=True)
class Run:
    """One RUN (or ONBUILD RUN) that a shell of the sh family executes.

    ``script`` is the parsed text, ``logical`` ties its offsets to the source, ``scope`` is that of the moment.
    """

    stage: Stage
    instruction: Instruction
    logical: Logical
    script: Script
    scope: Scope

    def span(self, span: Span) -> Span:
        """The source span of a span of the script."""
        return self.logical.span(span.start, span.end)

    def insert_behind(self, word: Word, text: str) -> Edit:
        """Insert text right behind a word."""
        return Edit(self.logical.span(word.span.end, word.span.end), text)

    def replace(self, word: Word, text: str) -> Edit:
        """Put another text in a word's place."""
        return Edit(self.span(word.span), text)

    def exact(self, word: Word) -> bool:
        """Whether a word can be edited at its span: the words of a quoted ``sh -c`` and of an exec form cannot."""
        return not self.instruction.exec_form and self.script.text[word.span.start : word.span.end] == word.raw

    def mounted(self, path: str, *types: str) -> bool:
        """Whether a mount of one of the types (cache and tmpfs unless told) holds ``path`` or a folder above it."""
        for flag in self.instruction.flags_named("mount"):
            options = mount_options(flag.value or "")
            if options["type"] not in (types or ("cache", "tmpfs")):
                continue
            expanded = self.scope.expand(options.get("target", ""))
            target = posixpath.normpath(expanded.text) if expanded is not None and expanded.text else None
            if target is not None and (path == target or path.startswith(target.rstrip("/") + "/")):
                return True
        return False


@of_the_last_file
def runs(dockerfile: Dockerfile) -> tuple[Run, ...]:
    """Every RUN that a shell executes: no exec forms, no PowerShell, no scripts with a foreign ``#!``."""
    return tuple(_runs(dockerfile))


def _runs(dockerfile: Dockerfile) -> Iterator[Run]:
    for stage, instruction, scope in walk(dockerfile):
        actual = instruction.actual
        if actual.keyword != "RUN" or not scope.posix_shell:
            continue
        logical = actual.script(dockerfile.source)
        if logical is None or _foreign(actual, logical):
            continue
        yield Run(stage, actual, logical, without_data(actual, logical, parse_shell(logical.text)), scope)


def without_data(instruction: Instruction, logical: Logical, script: Script) -> Script:
    """A script without what stands in the bodies of its heredocs: that is what commands read, unlike a lone one."""
    if not instruction.heredocs or instruction.lone_heredoc is not None:
        return script
    bodies = [heredoc.span for heredoc in instruction.heredocs]

    def outside(span: Span) -> bool:
        start = logical.offset(span.start)
        return not any(body.start <= start < body.end for body in bodies)

    commands = tuple(command for command in script.commands if outside(command.span))
    if len(commands) == len(script.commands):
        return script
    parts = tuple(part for part in script.parts if outside(part.span))
    return replace(script, commands=commands, parts=parts, complete=False)


@of_the_last_file
def all_runs(dockerfile: Dockerfile) -> tuple[Run, ...]:
    """What ``runs`` has, and the exec forms, read as one command each: for rules that look at single commands."""
    found = list(runs(dockerfile))
    for stage, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword == "RUN" and instruction.exec_form and instruction.words:
            text, starts, offsets = "", [], []
            for word in instruction.words:
                starts.append(len(text))
                offsets.append(word.span.start + 1)  # behind the quote
                text += shlex.quote(word.text) + " "
            logical = Logical(text, tuple(starts), tuple(offsets))
            found.append(Run(stage, instruction, logical, parse_shell(text), scope))
    return tuple(sorted(found, key=lambda run: run.instruction.span))


def _foreign(instruction: Instruction, logical: Logical) -> bool:
    first = logical.text.split("\n", 1)[0]
    if instruction.lone_heredoc is None or not first.startswith("#!"):
        return False
    return not any(part.rsplit("/", 1)[-1] in ("sh", "bash", "dash", "ash") for part in first[2:].split())


_ANSWERING = frozenset(("yes", "echo", "printf"))


def unanswered(run: Run) -> Iterator[Command]:
    """The commands that no pipe answers, be it before themselves or before a construct around them (``yes | (…)``)."""
    inside: set[Span] = set()
    for first, second in pairwise(run.script.parts):
        if first.operator in ("|", "|&") and first.command is not None and first.command.name in _ANSWERING:
            inside.update(command.span for command in second.commands)
    fed = False
    for command in run.script.commands:
        answered, fed = fed, command.operator in ("|", "|&")
        if not answered and command.span not in inside:
            yield command


# Options of apt-get and apt that take the next word.
_APT_VALUED = frozenset(
    ("-o", "--option", "-c", "--config-file", "-t", "--target-release", "--default-release", "-a", "-P")
)


def apt_subcommand(command: Command) -> Word | None:
    """The word ``install`` of ``apt-get -y install``; None where this is no apt-get or apt, or it has no subcommand."""
    if command.name not in ("apt-get", "apt"):
        return None
    skip = False
    for word in command.arguments:
        if skip:
            skip = False
        elif word.text is None:
            return None
        elif word.text.startswith("-"):
            skip = word.text in _APT_VALUED
        else:
            return word
    return None


def apt_settings(command: Command) -> dict[str, str]:
    """What ``-o NAME=VALUE`` sets, names in lower case."""
    found = {}
    words = [word.text or "" for word in command.arguments]
    for index, word in enumerate(words):
        text = words[index + 1] if word in ("-o", "--option") and index + 1 < len(words) else ""
        if word.startswith("-o") and len(word) > 2:
            text = word[2:]
        elif word.startswith("--option="):
            text = word[len("--option=") :]
        name, equals, value = text.partition("=")
        if equals:
            found[name.lower()] = value.strip("\"'").lower()
    return found

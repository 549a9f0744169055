"""What holds at a point of a Dockerfile: variables, user, working folder, shell; and which stages reach an image."""

from __future__ import annotations

import posixpath
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TypeVar

from buildopt.dockerfile.model import DEFAULT_SHELL, Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.words import Expansion, expand

_DRIVE = re.compile(r"[A-Za-z]:")
_CHANGING = frozenset(("ARG", "ENV", "USER", "WORKDIR", "SHELL"))
_POSIX_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"))
_WINDOWS_SHELLS = ("powershell", "pwsh", "cmd")
_DEFAULT_ON_WINDOWS = ("cmd", "/S", "/C")
# What a comment says of the shell that a base image brings along: `# hadolint shell=powershell`.
_SHELL_COMMENT = re.compile(r"(?:hadolint|buildopt)\s+shell\s*=\s*([^\s#]+)\s*(?:#.*)?")
# A variable as it is written; a brace inside of braces is that of its default.
_VARIABLE = re.compile(r"\$(?:\{(?:[^{}]|\{[^{}]*\})*\}|\w+)")

_Fact = TypeVar("_Fact")


def of_the_last_file(function: Callable[[Dockerfile], _Fact]) -> Callable[[Dockerfile], _Fact]:
    """Keep what a function found out about a file until it is asked about another one: all rules ask the same."""
    known: list[tuple[Dockerfile, _Fact]] = []

    @wraps(function)
    def remembered(dockerfile: Dockerfile) -> _Fact:
        if not known or known[0][0] is not dockerfile:
            known[:] = [(dockerfile, function(dockerfile))]
        return known[0][1]

    return remembered


@dataclass(slots=True)
class Scope:
    """What holds just before an instruction. Nobody changes it once it has been handed out.

    ``env`` and ``args`` map a name to its value, None where that depends on the outside (``ARG X`` without a default).
    ``user`` and ``workdir`` are None where the base image decides. ``open_names`` are the variables whose value hangs
    on an ARG: it is the default's, but whoever builds may say otherwise. ``workdir_is_certain``: no ARG can change it.
    """

    escape: str
    args: dict[str, str | None] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    shell: tuple[str, ...] = DEFAULT_SHELL
    shell_is_set: bool = False
    open_names: set[str] = field(default_factory=set)
    workdir_is_certain: bool = True

    @property
    def variables(self) -> Mapping[str, str | None]:
        """All variables that an instruction sees: ENV hides ARG."""
        return ChainMap(self.env, self.args)

    def expand(self, text: str) -> Expansion | None:
        """The text with its variables resolved; None where the value of one of them is not known."""
        if "$" not in text:
            return expand(text, {}, self.escape)
        result = expand(text, self.variables, self.escape)
        return None if result.missing or result.error is not None else result

    def certain(self, expansion: Expansion) -> bool:
        """Whether no ARG given from outside can change an expansion."""
        return not expansion.used & self.open_names

    @property
    def posix_shell(self) -> bool:
        """Whether RUN and CMD go through a shell of the sh family."""
        return bool(self.shell) and _program(self.shell[0].lower()) in _POSIX_SHELLS


def _program(path: str) -> str:
    return re.split(r"[/\\]", path)[-1].removesuffix(".exe")


@of_the_last_file
def walk(dockerfile: Dockerfile) -> tuple[tuple[Stage, Instruction, Scope], ...]:
    """Every instruction of every stage (its FROM too), with what holds before it; broken ones are passed over.

    Instructions that stand before any FROM belong to no stage, and the file cannot be built; they come first, in a
    stage without an image whose index is -1.
    """
    return tuple(_walk(dockerfile))


def _walk(dockerfile: Dockerfile) -> Iterator[tuple[Stage, Instruction, Scope]]:
    homeless = _homeless(dockerfile)
    if homeless is not None:
        yield from _steps(homeless, Scope(dockerfile.escape), {})
    global_scope = Scope(dockerfile.escape)
    for instruction in dockerfile.global_args:
        _apply(instruction, global_scope, {})
    ends: dict[int, Scope] = {}
    above = (*dockerfile.global_args, *(stage.origin for stage in dockerfile.stages[:1]))
    on_linux = _as_commented(above, Scope(dockerfile.escape))
    on_windows = _as_commented(above, Scope(dockerfile.escape, shell=_DEFAULT_ON_WINDOWS))
    for stage in dockerfile.stages:
        windows = not dockerfile.always_sh and starts_on_windows(stage, global_scope)
        scope = _start(stage, ends, on_windows if windows else on_linux)
        if not stage.origin.problems:
            yield stage, stage.origin, global_scope
        for step in _steps(stage, scope, global_scope.args):
            yield step
            scope = step[2]
        ends[stage.index] = _end(stage, scope, global_scope.args)


def _homeless(dockerfile: Dockerfile) -> Stage | None:
    first = dockerfile.stages[0].origin if dockerfile.stages else None
    found = []
    for instruction in dockerfile.instructions:
        if instruction is first:
            break
        found.append(instruction)
    if not found or (first is not None and all(instruction.keyword == "ARG" for instruction in found)):
        return None
    return Stage(-1, None, None, None, None, found[0], tuple(found))


def _steps(
    stage: Stage, scope: Scope, global_args: Mapping[str, str | None]
) -> Iterator[tuple[Stage, Instruction, Scope]]:
    """A stage's instructions but its FROM. The scope is copied where an instruction changes it."""
    for instruction in stage.instructions:
        if instruction.problems or instruction.keyword == "FROM":
            continue
        scope = _as_commented((instruction,), scope)
        yield stage, instruction, scope
        if instruction.keyword in _CHANGING:
            # Only these two change what a copy would share with the scope that was handed out.
            scope = _copied(scope) if instruction.keyword in ("ARG", "ENV") else replace(scope)
            _apply(instruction, scope, global_args)


def _as_commented(instructions: Iterable[Instruction], scope: Scope) -> Scope:
    """The scope with the shell that comments above instructions tell; they speak of how RUN is to be read only."""
    for instruction in instructions:
        for comment in instruction.comments:
            found = None if comment.inside else _SHELL_COMMENT.fullmatch(comment.text)
            if found is None:
                continue
            program = _program(found[1])
            if program in _POSIX_SHELLS or program.startswith(_WINDOWS_SHELLS):
                scope = replace(scope, shell=(found[1], *scope.shell[1:]))
    return scope


def _copied(scope: Scope) -> Scope:
    return replace(scope, args=dict(scope.args), env=dict(scope.env), open_names=set(scope.open_names))


def _end(stage: Stage, scope: Scope, global_args: Mapping[str, str | None]) -> Scope:
    """What holds behind a stage's last instruction, before which ``scope`` held."""
    last = next((item for item in reversed(stage.instructions) if not item.problems and item.keyword != "FROM"), None)
    if last is None or last.keyword not in _CHANGING:
        return scope
    scope = _copied(scope)
    _apply(last, scope, global_args)
    return scope


def _start(stage: Stage, ends: Mapping[int, Scope], blank: Scope) -> Scope:
    base = ends.get(stage.base_index) if stage.base_index is not None else None
    others = [ends[index] for index in stage.other_bases]
    if base is not None:
        # A stage that starts from another one has its ARG too.
        return _opened(base, others)
    if others:
        return _agreed(others, blank)
    scratch = stage.image is not None and stage.image.text == "scratch"
    return replace(_copied(blank), user="0" if scratch else None, workdir="/" if scratch else None)


def starts_on_windows(stage: Stage, scope: Scope) -> bool:
    """Whether the image that FROM names, whose scope is given, is one of Windows.

    Where a variable without a value leaves that open, the escape tells: a backtick is there for the paths of Windows.
    """
    flag = (stage.platform.value if stage.platform is not None else None) or ""
    platform = expand(flag, scope.variables, scope.escape).text.lower()
    if platform.startswith(("windows", "linux")):
        return platform.startswith("windows")
    if stage.image is None or stage.bases:
        return False
    named = expand(stage.image.text, scope.variables, scope.escape)
    return image(named.text).windows or (bool(named.missing) and scope.escape == "`")


def _opened(base: Scope, others: Sequence[Scope]) -> Scope:
    """What holds behind a base in whose place there may be others: what differs there hangs on an ARG."""
    scope = _copied(base)
    for other in others:
        scope.open_names |= other.open_names
        scope.open_names.update(
            name for name, value in base.variables.items() if other.variables.get(name, "") != value
        )
        scope.workdir_is_certain &= other.workdir_is_certain and other.workdir == base.workdir
    return scope


def _agreed(bases: Sequence[Scope], blank: Scope) -> Scope:
    """What holds behind each of several bases; what they do not agree on is not known."""
    first, *rest = bases
    scope = _opened(first, rest)
    for own, theirs in ((scope.args, [other.args for other in rest]), (scope.env, [other.env for other in rest])):
        for name, value in tuple(own.items()):
            if not all(name in other for other in theirs):
                del own[name]
            elif any(other[name] != value for other in theirs):
                own[name] = None
    if any(other.user != first.user for other in rest):
        scope.user = None
    if any(other.workdir != first.workdir for other in rest):
        scope.workdir = None
    # Of shells that differ, all that matters to rules is whether a failure in a pipe is seen.
    if any(other.shell != first.shell for other in rest) and not all("pipefail" in base.shell for base in bases):
        scope.shell = blank.shell
    scope.shell_is_set = any(other.shell_is_set for other in bases)
    return scope


def _apply(instruction: Instruction, scope: Scope, global_args: Mapping[str, str | None]) -> None:
    keyword = instruction.keyword
    if keyword == "ARG":
        for pair in instruction.pairs:
            name = pair.key.text
            scope.args[name] = global_args.get(name) if pair.value is None else _value(scope, pair.value.text)
            if name not in scope.env:
                scope.open_names.add(name)
    elif keyword == "ENV":
        # All values of one ENV see the variables before it.
        new = {pair.key.text: scope.expand(pair.value.text) for pair in instruction.pairs if pair.value is not None}
        settled = {name for name, result in new.items() if result is not None and scope.certain(result)}
        scope.env.update((name, _text(result)) for name, result in new.items())
        scope.open_names.difference_update(settled)
        scope.open_names.update(new.keys() - settled)
    elif keyword == "USER":
        scope.user = _value(scope, instruction.words[0].text)
    elif keyword == "WORKDIR":
        path = scope.expand(instruction.words[0].text)
        scope.workdir = joined(scope.workdir, _text(path))
        if path is not None:
            scope.workdir_is_certain = scope.certain(path) and (is_absolute(path.text) or scope.workdir_is_certain)
    elif keyword == "SHELL":
        scope.shell = tuple(word.text for word in instruction.words)
        scope.shell_is_set = True


def _value(scope: Scope, text: str) -> str | None:
    return _text(scope.expand(text))


def _text(result: Expansion | None) -> str | None:
    return None if result is None or result.error is not None else result.text


def is_absolute(path: str) -> bool:
    """Whether a path of an image is absolute, on Linux or on Windows."""
    return path.startswith(("/", "\\")) or _DRIVE.match(path) is not None


def joined(folder: str | None, path: str | None) -> str | None:
    """The working folder after ``WORKDIR path`` in ``folder``; None where it is not known."""
    if path is None:
        return None
    if is_absolute(path):
        return posixpath.normpath(path) if path.startswith("/") else path
    if folder is None or not folder.startswith("/"):
        return None
    return posixpath.normpath(posixpath.join(folder, path))


@of_the_last_file
def shipped_stages(dockerfile: Dockerfile) -> frozenset[int]:
    """Indexes of the stages whose files may end up in an image.

    These are the last stage, those that no other stage uses (they can only be there as targets of their own), and what
    any of these may start from or copies whole.
    """
    used: set[int] = set()
    taken: dict[int, set[int]] = {}  # by stage, those whose files it has, all of them
    for stage in dockerfile.stages:
        taken[stage.index] = set(possible_bases(dockerfile, stage))
        used |= taken[stage.index]
        for instruction in stage.instructions:
            used |= _copied_from(dockerfile, stage, instruction, taken[stage.index])
    ships = {-1, *(stage.index for stage in dockerfile.stages if stage.index not in used)}
    if dockerfile.stages:
        ships.add(dockerfile.stages[-1].index)
    for stage in reversed(dockerfile.stages):
        if stage.index in ships:
            ships |= taken[stage.index]
    return frozenset(ships)


def possible_bases(dockerfile: Dockerfile, stage: Stage) -> frozenset[int]:
    """Indexes of the stages that a stage may start from: of several where a variable in FROM decides.

    Every name that some value makes of the text fits. Where that would be any name, it is taken for that of an image
    unless the variables' defaults name a stage; then those are meant that nothing is copied from.
    """
    return _possible_bases(dockerfile)[stage.index]


@of_the_last_file
def _possible_bases(dockerfile: Dockerfile) -> tuple[frozenset[int], ...]:
    return tuple(_fitting(dockerfile, stage) for stage in dockerfile.stages)


def _fitting(dockerfile: Dockerfile, stage: Stage) -> frozenset[int]:
    if stage.image is None or not stage.base_is_open:
        return frozenset(stage.bases)
    literals = [part.strip("\"'").lower() for part in _VARIABLE.split(stage.image.text)]
    pattern = re.compile(".*".join(map(re.escape, literals)))
    earlier = dockerfile.stages[: stage.index]
    fitting = frozenset(other.index for other in earlier if other.name is not None and pattern.fullmatch(other.name))
    if any(char.isalnum() for part in literals for char in part):
        return fitting
    default = default_base(dockerfile, stage)
    return frozenset() if default is None else fitting - _sources_of_copies(dockerfile) | {default}


@of_the_last_file
def _sources_of_copies(dockerfile: Dockerfile) -> frozenset[int]:
    """The stages that something is copied from."""
    return frozenset(
        index
        for other in dockerfile.stages
        for instruction in other.instructions
        for index in _copied_from(dockerfile, other, instruction, set())
    )


def default_base(dockerfile: Dockerfile, stage: Stage) -> int | None:
    """The stage that the defaults of the variables in FROM name."""
    values: dict[str, str] = {}
    for pair in (pair for instruction in dockerfile.global_args for pair in instruction.pairs):
        if pair.value is not None:
            values[pair.key.text] = expand(pair.value.text, values, dockerfile.escape).text
    name = expand(stage.image.text, values, dockerfile.escape).text.lower() if stage.image is not None else ""
    return next((other.index for other in reversed(dockerfile.stages[: stage.index]) if other.name == name), None)


def _copied_from(dockerfile: Dockerfile, stage: Stage, instruction: Instruction, whole: set[int]) -> set[int]:
    """The stages that one instruction reads; those that it copies from ``/`` are added to ``whole``."""
    found: set[int] = set()
    source = instruction.flag("from")
    if instruction.keyword == "COPY" and source is not None and source.value:
        origin = dockerfile.stage(source.value, stage.index)
        if origin is not None:
            found.add(origin.index)
            if any(word.text in ("/", "/*", "/.") for word in instruction.words[:-1]):
                whole.add(origin.index)
    for mount in instruction.flags_named("mount"):
        name = mount_options(mount.value or "").get("from")
        origin = dockerfile.stage(name, stage.index) if name else None
        if origin is not None:
            found.add(origin.index)
    return found


def mount_options(text: str) -> dict[str, str]:
    """The options of a ``--mount``; ``target`` also for ``dst`` and ``destination``, ``type`` is there always."""
    options = {"type": "bind"}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        name = name.lower()
        options[{"dst": "target", "destination": "target", "src": "source"}.get(name, name)] = value
    return options

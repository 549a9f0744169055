"""What ShellCheck finds in the scripts of RUN.

## What it does
Runs ShellCheck over all shell scripts of RUN, with the variables of ARG and ENV declared and in the shell that SHELL
names. Each finding has its code, such as `SC2086`, which ignores and `--select` understand.

It is part of the extra `shellcheck` (`pip install 'buildopt[shellcheck]'`); without it this rule finds nothing. A
ShellCheck that is installed otherwise is not used, so that all machines find the same.

## Why
A script in a Dockerfile fails in the same ways as any other: words split where nobody wanted it, `cd` fails and the
next command runs elsewhere, a feature of bash is not there in `/bin/sh`.

## Example
```dockerfile
RUN rm -rf $BUILD_DIR/*
```

## Use instead
```dockerfile
RUN rm -rf "${BUILD_DIR:?}"/*
```
`# shellcheck disable=SC2086` in or above an instruction holds for the whole of it. Scripts of more than 64 KiB, and
those that no shell of the sh family runs, are left out. What ShellCheck proposes as a fix is an unsafe one here.

## References
- https://www.shellcheck.net/wiki/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile, Instruction, Logical, Stage
from buildopt.dockerfile.scope import Scope, walk
from buildopt.dockerfile.shellcheck import Comment, comments, program
from buildopt.errors import ToolError
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.settings import LintSettings
from buildopt.source import Edit, Span

NAME = "shellcheck"
ALIASES: tuple[str, ...] = ()
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_LEVELS = {
    "error": Severity.ERROR,
    "warning": Severity.WARNING,
    "info": Severity.INFO,
    "style": Severity.STYLE,
}
# A sourced file is not there to be followed, and ash is a shell as good as any.
_EXCLUDE = ("SC1090", "SC1091", "SC2187")
_FOREIGN_SHELL = "SC1071"
_SUPPORTED = frozenset(("sh", "bash", "dash", "ksh", "ash", "busybox"))
_NOT_POSIX = re.compile(r"(?:.*[/\\])?(?:pwsh|powershell|cmd)(?:\.exe)?", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROXIES = tuple(
    spelt for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY") for spelt in (name, name.lower())
)
_ALL_PROXIES = (*_PROXIES, "ALL_PROXY", "all_proxy")
# Values of these would change how a script is read.
_NOT_EXPORTED = frozenset(("IFS", "PATH"))
_MAX_SCRIPT = 1 << 16
_PRAGMA = re.compile(r"hadolint\s+shell\s*=\s*(\S+)", re.IGNORECASE)
_DISABLED = re.compile(r"shellcheck\s+(?:\S+\s+)*?disable=([\w,]+)")
# What /bin/sh is in the images that nearly all others are made from.
_SHELLS = (
    (re.compile(r"(?:.*[/:_-])?(?:alpine|busybox)"), "/bin/busybox sh"),
    (re.compile(r"(?:.*[/:_-])?(?:debian|ubuntu|bookworm|bullseye|buster|trixie|jammy|noble|focal)"), "/bin/dash"),
    (
        re.compile(
            r"(?:.*[/:_-])?(?:fedora|centos|rockylinux|almalinux|ubi[0-9]|amazonlinux|oraclelinux|archlinux|opensuse)"
        ),
        "/bin/bash",
    ),
)
_WINDOWS = re.compile(r"windows|nanoserver|servercore", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Script:
    """A script of a RUN as ShellCheck gets it: a line of ``head`` characters first, then the script, with ``exports``
    characters put in at its position ``opening``."""

    instruction: Instruction
    logical: Logical
    text: str
    head: int
    opening: int
    exports: int

    def position(self, offset: int) -> int | None:
        """The logical position of an offset of the whole text; None in what was put in."""
        position = offset - self.head
        if position < self.opening:
            return position if position >= 0 else None
        position -= self.exports
        return position if position >= self.opening else None


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Hand all scripts of the file to ShellCheck at once."""
    if all(instruction.actual.keyword != "RUN" for instruction in dockerfile.instructions) or program() is None:
        return
    scripts = list(_scripts(dockerfile, settings))
    if not scripts:
        return
    try:
        found = comments(tuple(script.text for script in scripts), _EXCLUDE)
    except ToolError as error:
        message = f"these scripts were not checked: {error.message}"
        span = scripts[0].instruction.keyword_span
        yield Finding(NAME, message, dockerfile.source, span, Severity.INFO, CATEGORY, ALIASES)
        return
    for script, items in zip(scripts, found, strict=True):
        yield from _findings(dockerfile, script, items, settings)


def _findings(
    dockerfile: Dockerfile, script: _Script, items: Sequence[Comment], settings: LintSettings
) -> Iterator[Finding]:
    disabled: set[str] = set() if settings.like_hadolint else _disabled(script.instruction)
    for item in _last(script, items) if settings.like_hadolint else items:
        span = _place(script, item)
        if span is None and settings.like_hadolint and item.code == _FOREIGN_SHELL:
            span = script.instruction.keyword_span
        if span is None or item.code in disabled:
            continue
        yield Finding(
            NAME,
            " ".join(item.message.split()),
            dockerfile.source,
            span,
            _LEVELS.get(item.level, SEVERITY),
            CATEGORY,
            (item.code,),
            _fix(dockerfile, script, item),
        )


def _last(script: _Script, items: Sequence[Comment]) -> list[Comment]:
    """The one of a RUN that hadolint shows."""
    shown = [item for item in items if script.position(item.start) is not None or item.code == _FOREIGN_SHELL]
    return sorted(shown, key=lambda item: (item.start, list(_LEVELS).index(item.level), item.code))[-1:]


def _disabled(instruction: Instruction) -> set[str]:
    return {
        code
        for comment in instruction.comments
        for match in _DISABLED.finditer(comment.text)
        for code in match[1].split(",")
    }


def _place(script: _Script, item: Comment) -> Span | None:
    start, end = script.position(item.start), script.position(item.end)
    if start is None:
        return None
    length = len(script.logical.text)
    start = min(start, max(length - 1, 0))
    return script.logical.span(start, min(max(end or 0, start + 1), length))


def _fix(dockerfile: Dockerfile, script: _Script, item: Comment) -> Fix | None:
    """What ShellCheck would write; None where that cannot be put into the source as it stands."""
    edits: list[Edit] = []
    for change in item.replacements:
        start, end = script.position(change.start), script.position(change.end)
        if start is None or end is None or "\n" in change.text or change.text.endswith(dockerfile.escape):
            return None
        if not start <= end <= len(script.logical.text) or not script.logical.contiguous(start, end):
            return None
        span = script.logical.span(start, end)
        if start == end and change.leads:
            offset = script.logical.offset(start)
            span = Span(offset, offset)
        if any(edit.span.overlaps(span) for edit in edits):
            return None
        edits.append(Edit(span, change.text))
    return Fix(f"what ShellCheck proposes for {item.code}", tuple(edits), safe=False) if edits else None


def _scripts(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[_Script]:
    pragmas = _shell_pragmas(dockerfile)
    systems: dict[int, str] = {}
    for stage, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if outer is stage.origin:
            systems[stage.index] = _system(dockerfile, stage, scope, systems)
        if instruction.keyword != "RUN" or instruction.exec_form:
            continue
        shell = _pragma(pragmas, dockerfile, stage, outer)
        if shell is None and settings.like_hadolint:
            shell = _shell_of_stage(stage, outer)
        elif shell is None:
            shell = _shell(scope, systems.get(stage.index, ""))
        if shell is None or _NOT_POSIX.fullmatch(shell.split(" ")[0]):
            continue
        logical = instruction.script(dockerfile.source)
        if settings.like_hadolint and instruction.heredocs and instruction.lone_heredoc is None:
            continue
        if logical is not None and logical.text.strip() and len(logical.text) <= _MAX_SCRIPT:
            names = _names(dockerfile, outer, scope, settings)
            script = _script(instruction, logical, shell, names)
            if script is not None:
                yield script


def _script(instruction: Instruction, logical: Logical, shell: str, names: Sequence[str]) -> _Script | None:
    """The text for ShellCheck: the shell first, the variables before the first command. None for foreign scripts."""
    opening, text = 0, logical.text
    head = f"#!{shell}\n"
    if instruction.lone_heredoc is not None:
        lines = text.splitlines(keepends=True)
        if text.startswith("#!"):
            if not any(re.split(r"[/\\]", word)[-1] in _SUPPORTED for word in lines[0][2:].split()):
                return None
            head = ""
        # Directives for ShellCheck at the top hold for all of a script: they stay there.
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                break
            opening += len(line)
        if opening == len(text):
            return None
    exports = f"export {' '.join(f'{name}=1' for name in names)}\n"
    whole = f"{head}{text[:opening]}{exports}{text[opening:]}"
    return _Script(instruction, logical, whole, len(head), opening, len(exports))


def _names(dockerfile: Dockerfile, outer: Instruction, scope: Scope, settings: LintSettings) -> list[str]:
    """The variables that are there when a RUN runs."""
    if settings.like_hadolint:
        known = () if outer.trigger is not None else (*scope.args, *scope.env)
        return _exported((*_PROXIES, *known))
    triggers = (item.actual for item in dockerfile.instructions if item.trigger is not None)
    ours = (
        pair.key.text
        for trigger in (triggers if outer.trigger is not None else ())
        if trigger.keyword in ("ARG", "ENV")
        for pair in trigger.pairs
    )
    return _exported((*_ALL_PROXIES, *scope.args, *scope.env, *ours))


def _exported(names: Sequence[str]) -> list[str]:
    return sorted(name for name in set(names) - _NOT_EXPORTED if _VARIABLE.fullmatch(name))


def _shell_of_stage(stage: Stage, outer: Instruction) -> str:
    """As hadolint sees it: no stage inherits a shell, and ONBUILD has the default one."""
    shells = [item.words[0].text for item in _before(stage, outer) if item.keyword == "SHELL" and item.words]
    return "/bin/sh" if outer.trigger is not None or not shells else shells[-1]


def _before(stage: Stage, outer: Instruction) -> Iterator[Instruction]:
    return (item for item in stage.instructions if item.span.start < outer.span.start and not item.problems)


def _shell(scope: Scope, system: str) -> str | None:
    """What stands behind the ``#!`` of a script; None where ShellCheck does not know the shell."""
    words = scope.shell
    program_name = re.split(r"[/\\]", words[0])[-1].lower() if words else ""
    if _WINDOWS.search(system) and not scope.shell_is_set:
        return None
    if program_name == "env" and len(words) > 1:
        words = words[1:]
        program_name = words[0]
    if program_name not in _SUPPORTED:
        return None
    if program_name == "sh":
        shell = next((shell for pattern, shell in _SHELLS if pattern.match(system)), "/bin/sh")
    else:
        shell = "/bin/busybox sh" if program_name in ("ash", "busybox") else f"/bin/{program_name}"
    # `-e` and pipefail make some findings pointless. What the shell is told by `-c` is the script.
    flags = [word for word in words[1:] if re.fullmatch(r"-[a-z]*e[a-z]*", word)]
    return f"{shell} -e" if flags else shell


def _system(dockerfile: Dockerfile, stage: Stage, scope: Scope, systems: dict[int, str]) -> str:
    """The image that a stage starts from, through the stages between."""
    if stage.base_index is not None:
        return systems.get(stage.base_index, "")
    expanded = scope.expand(stage.image.text) if stage.image is not None else None
    if expanded is None or (not scope.certain(expanded) and not expanded.text):
        return ""
    named = dockerfile.stage(expanded.text, stage.index)
    return systems.get(named.index, "") if named is not None else expanded.text.lower()


def _shell_pragmas(dockerfile: Dockerfile) -> list[tuple[int, str]]:
    """Places of ``# hadolint shell=…`` and the shells that they name."""
    found = ((comment.span.start, _PRAGMA.match(comment.text)) for comment in dockerfile.comments)
    return [(start, match[1]) for start, match in found if match is not None]


def _pragma(pragmas: Sequence[tuple[int, str]], dockerfile: Dockerfile, stage: Stage, outer: Instruction) -> str | None:
    """The shell of the last pragma before an instruction: in its stage, or above the first FROM for all stages.

    A SHELL that follows the pragma has the last word.
    """
    first = dockerfile.stages[0].origin.span.start if dockerfile.stages else 0
    begin = stage.origin.span.start
    above = [item for item in pragmas if item[0] < first or begin < item[0] < outer.span.start]
    if not above:
        return None
    place, shell = above[-1]
    changed = (item.span.start for item in _before(stage, outer) if item.keyword == "SHELL")
    return None if any(place < start for start in changed) else shell

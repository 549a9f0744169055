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
`# shellcheck disable=SC2086` in or above an instruction holds for the whole of it. Scripts of more than 16 KiB, and
those that no shell of the sh family runs, are left out. What ShellCheck proposes as a fix is an unsafe one here.

## References
- https://www.shellcheck.net/wiki/
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.bases import base_of
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
_SUPPORTED = frozenset(("sh", "bash", "dash", "ksh", "ash", "busybox"))
_NOT_POSIX = re.compile(r"(?:.*[/\\])?(?:pwsh|powershell|cmd)(?:\.exe)?", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROXIES = tuple(
    spelt for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY") for spelt in (name, name.lower())
)
_ALL_PROXIES = (*_PROXIES, "ALL_PROXY", "all_proxy")
_MAX_SCRIPT = 1 << 14
_PRAGMA = re.compile(r"hadolint\s+shell\s*=\s*(\S+)", re.IGNORECASE)
_ALL = -2
_SH = "/bin/sh"
_DISABLED = re.compile(r"shellcheck\s+(?:\S+\s+)*?disable=([\w,]+)")
# What /bin/sh is in the images that nearly all others are made from.
_SHELLS = {"alpine": "/bin/busybox sh", "busybox": "/bin/busybox sh", "debian": "/bin/dash", "ubuntu": "/bin/dash"}
_BASH_IS_SH = re.compile(
    r"(?:.*-)?(?:fedora|centos|rockylinux|almalinux|ubi[0-9]|amazonlinux|oraclelinux|archlinux|opensuse)(?:-.*)?"
)


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
        if span is None and settings.like_hadolint:
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
    """The one of a RUN that hadolint shows; what it has to say of the shell comes first."""
    shown = [item for item in items if script.position(item.start) is not None or item.start < script.head]
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
    shells = _shells_of_hadolint(dockerfile) if settings.like_hadolint else []
    for stage, outer, scope in walk(dockerfile):
        instruction = outer.actual
        if instruction.keyword != "RUN" or instruction.exec_form:
            continue
        if settings.like_hadolint:
            shell = _shell_of_stage(shells, stage, outer, scope)
        else:
            shell = _shell(dockerfile, stage, scope)
        if shell is None:
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
    return sorted(name for name in set(names) if _VARIABLE.fullmatch(name))


def _shells_of_hadolint(dockerfile: Dockerfile) -> list[tuple[int, int, str]]:
    """Where a shell is named, in which stage, and which one; a comment above the first FROM is of _ALL.

    An ARG or ENV makes hadolint forget the shell.
    """
    found = [
        (instruction.span.start, stage.index, instruction.words[0].text if instruction.keyword == "SHELL" else _SH)
        for stage, instruction, _ in walk(dockerfile)
        if instruction.keyword in ("ARG", "ENV") or (instruction.keyword == "SHELL" and instruction.words)
    ]
    for comment in dockerfile.comments:
        pragma = _PRAGMA.match(comment.text)
        if pragma is not None:
            starts = [stage.index for stage in dockerfile.stages if stage.origin.span.start < comment.span.start]
            found.append((comment.span.start, starts[-1] if starts else _ALL, pragma[1]))
    return sorted(found)


def _shell_of_stage(
    shells: Sequence[tuple[int, int, str]], stage: Stage, outer: Instruction, scope: Scope
) -> str | None:
    """As hadolint sees it: no stage inherits a shell, and ONBUILD has the default one."""
    if scope.shell and _NOT_POSIX.fullmatch(scope.shell[0]):
        return None
    if outer.trigger is not None:
        return _SH
    behind = bisect_left(shells, (outer.span.start,))
    own = next((shell for _, index, shell in reversed(shells[:behind]) if index in (stage.index, _ALL)), _SH)
    return own.split(" ")[0]


def _shell(dockerfile: Dockerfile, stage: Stage, scope: Scope) -> str | None:
    """What stands behind the ``#!`` of a script; None where ShellCheck does not know the shell."""
    words = scope.shell
    base = base_of(dockerfile, stage)
    if not words:
        return None
    name = re.split(r"[/\\]", words[0])[-1].lower()
    if name == "env" and len(words) > 1:
        words = words[1:]
        name = words[0]
    if name not in _SUPPORTED:
        return None
    if name == "sh":
        shell = _SHELLS.get(base.distribution, _SH) if base is not None else _SH
        if base is not None and _BASH_IS_SH.fullmatch(base.distribution):
            shell = "/bin/bash"
    else:
        shell = "/bin/busybox sh" if name in ("ash", "busybox") else f"/bin/{name}"
    # With `-e`, a `cd` that fails ends the script.
    ends = any(re.fullmatch(r"-[a-z]*e[a-z]*", word) for word in words[1:])
    return f"{shell} -e" if ends else shell

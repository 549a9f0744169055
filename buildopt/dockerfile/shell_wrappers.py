"""Programs that run the command given to them: ``sudo``, ``env``, ``timeout`` and the like are seen through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildopt.dockerfile.shell_words import Assignment, Word, unquote
from buildopt.source import Span


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """``valued``: options that take the next word; ``positional``: words before the command; ``assigns``: takes A=b."""

    valued: frozenset[str] = frozenset()
    positional: int = 0
    assigns: bool = False
    ends: frozenset[str] = frozenset()  # options with which it runs nothing


def _wrapper(valued: str = "", positional: int = 0, assigns: bool = False, ends: str = "") -> _Wrapper:
    return _Wrapper(frozenset(valued.split()), positional, assigns, frozenset(ends.split()))


_WRAPPERS = {
    "sudo": _wrapper("-u --user -g --group -h --host -p --prompt -C -D -R -T -U", assigns=True, ends="-l -v -e --list"),
    "doas": _wrapper("-u -C"),
    "env": _wrapper("-u --unset -C --chdir -S", assigns=True),
    "exec": _wrapper("-a"),
    "command": _wrapper(ends="-v -V"),
    "builtin": _wrapper(),
    "time": _wrapper("-f -o"),
    "nohup": _wrapper(),
    "nice": _wrapper("-n"),
    "ionice": _wrapper("-c -n -p"),
    "stdbuf": _wrapper("-i -o -e"),
    "timeout": _wrapper("-k -s --signal --kill-after", 1),
    "chronic": _wrapper(),
    "eatmydata": _wrapper(),
    "unbuffer": _wrapper(),
    "setarch": _wrapper(positional=1),
    "linux32": _wrapper(),
    "linux64": _wrapper(),
    "xargs": _wrapper("-n -L -I -P -d -s -a -E --max-args --max-procs --delimiter --arg-file"),
    "gosu": _wrapper(positional=1),
    "su-exec": _wrapper(positional=1),
    "tini": _wrapper("-p -e"),
    "dumb-init": _wrapper(),
    "busybox": _wrapper(),
    "xvfb-run": _wrapper("-e -f -n -p -s -w"),
    "catchsegv": _wrapper(),
}
_KEYWORDS = frozenset(("!", "coproc"))


def unwrap(words: tuple[Word, ...]) -> tuple[tuple[Word, ...], tuple[str, ...], tuple[Assignment, ...]]:
    """The words of the real command, what was seen through (outermost first), and the variables that it set."""
    wrappers: list[str] = []
    assignments: list[Assignment] = []
    start = 0
    while start < len(words):
        text = words[start].text
        name = text.rsplit("/", 1)[-1] if text else ""
        if name in _KEYWORDS:
            start += 1
            continue
        wrapper = _WRAPPERS.get(name)
        if wrapper is None:
            break
        position = _behind_options(words, start + 1, wrapper)
        while wrapper.assigns and position < len(words):
            assignment = _assignment_word(words[position])
            if assignment is None:
                break
            assignments.append(assignment)
            position += 1
        position += wrapper.positional
        if position >= len(words):
            break  # the wrapper alone is the command
        wrappers.append(name)
        start = position
    return words[start:], tuple(wrappers), tuple(assignments)


def _behind_options(words: Sequence[Word], position: int, wrapper: _Wrapper) -> int:
    """Where the wrapper's options end; past the last word where it runs nothing."""
    while position < len(words):
        text = words[position].text
        if text is None or not text.startswith("-") or text == "-":
            break
        if text in wrapper.ends:
            return len(words)
        position += 2 if text in wrapper.valued else 1
        if text == "--":
            break
    return position


def _assignment_word(word: Word) -> Assignment | None:
    name, equals, value = word.raw.partition("=")
    if not equals or not name.replace("_", "a").isalnum() or name[0].isdigit():
        return None
    text, glob = unquote(value)
    return Assignment(name, Word(text, value, Span(word.span.end - len(value), word.span.end), glob), word.span)

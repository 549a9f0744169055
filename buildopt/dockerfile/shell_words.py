"""Words of a shell's text, what they are worth after quote removal, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass

from buildopt.source import Span


@dataclass(frozen=True, slots=True)
class Word:
    """One word. ``text`` is its value after quote removal, None where it holds an expansion (``$x``, ``$(…)``).

    ``glob``: it holds unquoted ``*``, ``?``, ``[…]`` or ``{a,b}``, which ``text`` keeps as written.
    """

    text: str | None
    raw: str
    span: Span
    glob: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """``NAME=value``; ``append`` for ``NAME+=value``."""

    name: str
    value: Word
    span: Span
    append: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """``2>/dev/null``: descriptor ``2``, operator ``>``, target. A heredoc's target is its delimiter."""

    operator: str
    descriptor: str
    target: Word | None
    span: Span


_SPECIAL = frozenset("@*#?$!-0123456789_")
_IN_DOUBLE_QUOTES = frozenset('"\\$`\n')


def unquote(raw: str) -> tuple[str | None, bool]:
    """The value of a word as written (None where it holds an expansion) and whether it holds a glob."""
    out: list[str] = []
    position, length, glob = 0, len(raw), False
    quoted = False
    while position < length:
        char = raw[position]
        following = raw[position + 1] if position + 1 < length else ""
        if char == '"':
            quoted = not quoted
        elif char == "\\" and following:
            position += 1
            if following != "\n":
                out.append("\\" + following if quoted and following not in _IN_DOUBLE_QUOTES else following)
        elif char == "'" and not quoted:
            end = raw.find("'", position + 1)
            if end == -1:
                return None, glob
            out.append(raw[position + 1 : end])
            position = end
        elif char == "$" and following == "'" and not quoted:
            end = raw.find("'", position + 2)
            if end == -1 or "\\" in raw[position:end]:
                return None, glob
            out.append(raw[position + 2 : end])
            position = end
        elif char == "`" or (
            char == "$" and (following in _SPECIAL or following.isalpha() or following in ("{", "(", '"'))
        ):
            if following == '"' and quoted:
                out.append(char)  # the last dollar in "…$"
            else:
                return None, glob
        else:
            glob = glob or (not quoted and char in "*?[{")
            out.append(char)
        position += 1
    return "".join(out), glob

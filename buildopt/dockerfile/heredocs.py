"""Heredoc operators in a logical line, found as BuildKit's shell lexer finds them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildopt.dockerfile.words import Lexing, expand

_HEREDOC = re.compile(r"[0-9]*<<(-?)[\t\n\f\r ]*([^<]*)\Z")


@dataclass(frozen=True, slots=True)
class Operator:
    """``<<NAME`` at a logical range; ``spaced``: blanks stand before the name."""

    name: str
    expand: bool
    chomp: bool
    start: int
    end: int
    spaced: bool


def operators(line: str) -> tuple[list[Operator], str | None]:
    """The heredoc operators of a logical line, and an error that BuildKit would stop with."""
    lexed = expand(line, {}, "\\", Lexing(raw_quotes=True, raw_escapes=True, keep_unset=True))
    found: list[Operator] = []
    for word, (start, end) in zip(lexed.words, lexed.places, strict=True):
        match = _HEREDOC.match(word)
        if match is None or not match.group(2):
            continue
        rest = match.group(2)
        plain = expand(rest, {}, "\\", Lexing(keep_unset=True))
        if plain.error is not None:
            return [], f'failed to process "{rest}": {plain.error}'
        if len(plain.words) != 1:
            continue
        raw = expand(rest, {}, "\\", Lexing(raw_quotes=True, keep_unset=True))
        if len(raw.words) != 1:
            return [], f"internal lexing of heredoc produced inconsistent results: {rest}"
        name = plain.words[0]
        unquoted = _quotes(name) == _quotes(raw.words[0])
        spaced = match.start(2) > match.end(1)
        found.append(Operator(name, unquoted, match.group(1) == "-", start, end, spaced))
    return found, None


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')

"""Words and variables as BuildKit splits and expands them. Errors are data: nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from buildopt.dockerfile.model import SPACES

_SPACE_CLASS = re.escape(SPACES)
# One piece of a word at a time: the alternatives begin with different characters, so matching never backtracks.
_PIECES = {
    escape: re.compile(
        rf"""(?P<plain>[^{_SPACE_CLASS}'"{re.escape(escape)}]+)"""
        rf"""|(?P<escaped>{re.escape(escape)}.)|(?P<dangling>{re.escape(escape)}\Z)"""
        rf"""|(?P<single>'[^']*'?)|(?P<double>"(?:[^"{re.escape(escape)}]|{re.escape(escape)}.)*"?)""",
        re.DOTALL,
    )
    for escape in ("\\", "`")
}
_GAP = re.compile(rf"[{_SPACE_CLASS}]*")
# `${a:-${b:-…}}` may nest without end; Python's stack may not.
MAX_NESTING = 100
NESTED_TOO_DEEPLY = "variables are nested too deeply"  # the only error here that is not BuildKit's


def split_words(text: str, escape: str) -> list[tuple[str, int, int]]:
    """Words between blanks, quotes and escapes kept: the text of each, and where it starts and ends in ``text``.

    A quote that is never closed runs to the end; an escape character at the very end is dropped.
    """
    words: list[tuple[str, int, int]] = []
    position = _end(_GAP, text, 0)
    while position < len(text):
        start, parts, last = position, [], ""
        while (piece := _PIECES[escape].match(text, position)) is not None:
            position, last = piece.end(), piece.lastgroup or ""
            parts.append(piece.group() if last != "dangling" else "")
        if last == "double" and position == len(text) - 1:
            position += 1  # a dangling escape character inside an open quote
        if any(parts):
            words.append(("".join(parts), start, position))
        position = _end(_GAP, text, position)
    return words


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match is not None else position


@dataclass(frozen=True, slots=True)
class Lexing:
    """How to lex: what a set of BuildKit's switches is called here.

    ``raw_quotes`` and ``raw_escapes`` keep quotes and escape characters; ``keep_unset`` leaves variables without a
    value as they are; ``plain_quotes`` gives quotes no meaning.
    """

    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_unset: bool = False
    plain_quotes: bool = False


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a text expands to: as one ``text`` and split into ``words``; ``places`` are where these stand in the input.

    ``used`` and ``missing`` are the variables that had a value and those that had none. ``error`` is BuildKit's
    message; text and words are then empty.
    """

    text: str
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    used: frozenset[str]
    missing: frozenset[str]
    error: str | None = None


# One word in which nothing has a meaning: most texts are.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,~^-]+")


def expand(
    text: str,
    variables: Mapping[str, str] | Mapping[str, str | None],
    escape: str = "\\",
    lexing: Lexing = Lexing(),  # noqa: B008 - frozen
) -> Expansion:
    """Resolve quotes, escapes and variables, in every form that BuildKit knows. What is None has no value."""
    if _PLAIN.fullmatch(text):
        return Expansion(text, (text,), ((0, len(text)),), frozenset(), frozenset())
    lexer = _Lexer(text, variables, escape, lexing)
    try:
        result, words, places = lexer.run(None, lexing.raw_escapes)
    except _LexError as error:
        return Expansion("", (), (), frozenset(lexer.used), frozenset(lexer.missing), str(error))
    return Expansion(result, tuple(words), tuple(places), frozenset(lexer.used), frozenset(lexer.missing))


class _LexError(Exception):
    """Never leaves this module."""


@dataclass(slots=True)
class _Splitter:
    """Collects words: expanded text is split at blanks, quoted text is not."""

    words: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    word: list[str] = field(default_factory=list)
    inside: bool = False
    start: int = 0

    def raw(self, text: str, start: int) -> None:
        if not self.word:
            self.start = start
        if text:
            self.word.append(text)
        self.inside = True

    def split(self, text: str, start: int, end: int) -> None:
        for char in text:
            if char not in SPACES:
                self.raw(char, start)
            elif self.inside and self.word:
                self.close(end if len(text) > 1 else start)

    def close(self, end: int) -> None:
        if self.word:
            self.words.append("".join(self.word))
            self.places.append((self.start, end))
        self.word = []
        self.inside = False


_SPECIAL = "@*#?-$!0"
_MODIFIERS = "+-?#%"


@dataclass(slots=True)
class _Lexer:
    text: str
    variables: Mapping[str, str] | Mapping[str, str | None]
    escape: str
    lexing: Lexing
    position: int = 0
    depth: int = 0
    raw_escapes: bool = False
    used: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    def peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.position : self.position + 1]

    def take(self) -> str:
        char = self.text[self.position : self.position + 1]
        self.position += 1 if char else 0
        return char

    def run(self, stop: str | None, raw_escapes: bool) -> tuple[str, list[str], list[tuple[int, int]]]:
        """Everything up to an unescaped ``stop`` (which is taken), or to the end for None."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise _LexError(NESTED_TOO_DEEPLY)
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        result: list[str] = []
        words = _Splitter()
        try:
            while char := self.peek():
                if char == stop:
                    self.position += 1
                    words.close(self.position - 1)
                    return "".join(result), words.words, words.places
                if not self._step(char, result, words):
                    break
        finally:
            self.raw_escapes = before
            self.depth -= 1
        if stop is not None:
            raise _LexError(f"unexpected end of statement while looking for matching {stop}")
        words.close(self.position)
        return "".join(result), words.words, words.places

    def _step(self, char: str, result: list[str], words: _Splitter) -> bool:
        """Take the next character or construct; False at the end of the text."""
        start = self.position
        quotes = not self.lexing.plain_quotes
        if char == "$":
            value = self._dollar()
            result.append(value)
            words.split(value, start, self.position)
        elif quotes and char in "'\"":
            value = self._single() if char == "'" else self._double()
            result.append(value)
            words.raw(value, start)
        elif quotes and char == "<":
            value = self._heredoc_operator()
            result.append(value)
            words.raw(value, start)
        else:
            self.position += 1
            if char == self.escape:
                if self.raw_escapes:
                    words.raw(char, start)
                    result.append(char)
                char = self.take()
                if not char:
                    return False
                words.raw(char, start)
            else:
                words.split(char, start, start)
            result.append(char)
        return True

    def _heredoc_operator(self) -> str:
        """``<``, or ``<<`` with the blanks behind it: BuildKit allows ``<< EOF``."""
        self.position += 1
        if self.peek() != "<":
            return "<"
        start = self.position - 1
        self.position += 1
        while self.peek() and self.peek() in " \t":
            self.position += 1
        return self.text[start : self.position]

    def _single(self) -> str:
        start = self.position
        end = self.text.find("'", start + 1)
        if end < 0:
            self.position = len(self.text)
            raise _LexError("unexpected end of statement while looking for matching single-quote")
        self.position = end + 1
        return self.text[start : end + 1] if self.lexing.raw_quotes else self.text[start + 1 : end]

    def _double(self) -> str:
        result = ['"'] if self.lexing.raw_quotes else []
        self.position += 1
        while True:
            char = self.peek()
            if not char:
                raise _LexError("unexpected end of statement while looking for matching double-quote")
            if char == '"':
                self.position += 1
                if self.lexing.raw_quotes:
                    result.append(char)
                return "".join(result)
            if char == "$":
                result.append(self._dollar())
                continue
            self.position += 1
            if char == self.escape:
                if self.raw_escapes:
                    result.append(char)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", self.escape):
                    char = self.take()
            result.append(char)

    def _dollar(self) -> str:
        self.position += 1
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return f"${name}" if value is None and self.lexing.keep_unset else value or ""
        self.position += 1
        if not self.peek():
            raise _LexError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise _LexError("syntax error: bad substitution")
        return self._braced(self._name())

    def _braced(self, name: str) -> str:
        char = self.take()
        if char == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self.lexing.keep_unset else value or ""
        if char == "/":
            return self._replaced(name)
        operator = char
        if char == ":":
            char = self.take()
            operator += char
        if not char or (operator[0] != ":" and char not in _MODIFIERS):
            if not operator:
                operator = "\ufffd"  # Go prints its end-of-file mark so
            raise _LexError(f"unsupported modifier ({operator}) in substitution")
        word = self._until("}", char in "#%", "syntax error: missing '}'")
        value = self._value(name)
        if value is None and self.lexing.keep_unset:
            return f"${{{name}{operator}{word}}}"
        return self._modified(name, operator, word, value)

    def _until(self, stop: str, raw_escapes: bool, missing: str) -> str:
        """The text up to ``stop``; the error ``missing`` where the text ends first."""
        try:
            return self.run(stop, raw_escapes)[0]
        except _LexError:
            if not self.peek():
                raise _LexError(missing) from None
            raise

    def _modified(self, name: str, operator: str, word: str, value: str | None) -> str:
        kind, empty_counts = operator[-1], operator[0] == ":"
        unset = value is None or (empty_counts and value == "")
        if kind == "-":
            return word if unset else value or ""
        if kind == "+":
            return "" if unset else word
        if kind == "?":
            if unset:
                state = "unset" if value is None else "empty"
                raise _LexError(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        if kind in "#%":
            greedy = word.startswith(kind)
            pattern = _pattern(word[1:] if greedy else word)
            return _trimmed(pattern, value or "", greedy, suffix=kind == "%")
        raise _LexError(f"unsupported modifier ({operator}) in substitution")

    def _replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.position += 1
        pattern = self._until("/", True, "syntax error: missing '/' in ${}")
        replacement = self._until("}", True, "syntax error: missing '}'")
        value = self._value(name)
        if value is None and self.lexing.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return _replace(_pattern(pattern), value or "", replacement, everywhere)

    def _name(self) -> str:
        char = self.peek()
        if not char:
            return ""
        start = self.position
        if char.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif char in _SPECIAL:
            self.position += 1
        else:
            while (char := self.peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
                self.position += 1
        return self.text[start : self.position]

    def _value(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value


# A pattern is literal segments between its stars; inside a segment None stands for `?`.
_Segment = tuple[str | None, ...]


def _pattern(text: str) -> list[_Segment]:
    """Read a shell pattern (``*``, ``?``, backslash escapes, no brackets)."""
    segments: list[list[str | None]] = [[]]
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char == "*":
            segments.append([])
        elif char == "?":
            segments[-1].append(None)
        elif char == "\\":
            following = text[position : position + 1]
            if following in ("}", "/"):
                continue
            if following not in ("*", "?", "\\") or not following:
                raise _LexError(f"invalid pattern ({text}) in substitution: invalid escape '\\{following}'")
            segments[-1].append(following)
            position += 1
        else:
            segments[-1].append(char)
    return [tuple(segment) for segment in segments]


def _compiled(segment: _Segment) -> re.Pattern[str]:
    return re.compile("".join("." if char is None else re.escape(char) for char in segment))


def _trimmed(pattern: list[_Segment], value: str, greedy: bool, *, suffix: bool) -> str:
    """The value without the shortest or longest prefix (or suffix) that matches."""
    if suffix:
        mirrored = [tuple(reversed(segment)) for segment in reversed(pattern)]
        return _trimmed(mirrored, value[::-1], greedy, suffix=False)[::-1]
    first = _compiled(pattern[0]).match(value)
    end = None if first is None else _match_end(pattern, value, first.end(), greedy)
    return value if end is None else value[end:]


def _match_end(pattern: list[_Segment], value: str, position: int, greedy: bool) -> int | None:
    """Where a match ends whose first segment ended at ``position``; each star takes as little as it can but the last.

    Leftmost places for the inner segments leave most room for the last one, so no choice has to be taken back.
    """
    last = len(pattern) - 1
    for index in range(1, last + 1):
        segment = pattern[index]
        if greedy and index == last:
            return _last_end(segment, value, position)
        found = _compiled(segment).search(value, position)
        if found is None:
            return None
        position = found.end()
    return position


def _last_end(segment: _Segment, value: str, position: int) -> int | None:
    """The end of the rightmost place of a segment at or behind ``position``."""
    # Mirrored, the rightmost place is the leftmost.
    found = _compiled(tuple(reversed(segment))).search(value[position:][::-1])
    return None if found is None else len(value) - found.start()


def _replace(pattern: list[_Segment], value: str, replacement: str, everywhere: bool) -> str:
    """The value with the first match, or all of them, replaced; each match is the longest one from its start."""
    parts: list[str] = []
    position, search = 0, _compiled(pattern[0])
    while (first := search.search(value, position)) is not None:
        end = _match_end(pattern, value, first.end(), greedy=True)
        if end is None:
            break
        parts += (value[position : first.start()], replacement)
        if end == first.start():  # an empty match: step over one character
            parts.append(value[end : end + 1])
            position = end + 1
            if end >= len(value):
                break
        else:
            position = end
            if position >= len(value):
                break
        if not everywhere:
            break
    return "".join(parts) + value[position:]

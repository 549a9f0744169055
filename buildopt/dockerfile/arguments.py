"""One logical line taken apart: keyword, flags and arguments, each instruction in its own way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from buildopt.dockerfile.check import go_quote
from buildopt.dockerfile.model import SPACES, Flag, Instruction, Logical, Pair, SyntaxProblem, Word
from buildopt.dockerfile.words import split_words

# `ONBUILD ONBUILD …` is refused anyway; this only bounds the recursion that finds out.
MAX_ONBUILD_DEPTH = 8
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_WORD = re.compile(r"[^\t\v\f\r ]+")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_STRINGS_ONLY = "when using JSON array syntax, arrays must be comprised of strings only"
# Where BuildKit looks at bytes instead of characters, only these are blanks.
_ASCII_SPACES = " \t\n\v\f\r"
_JSON_SPACES = " \t\n\r"


@dataclass(slots=True)
class Builder:
    """Takes one logical line apart. Positions are logical offsets."""

    logical: Logical
    escape: str

    def build(self, start: int, end: int, depth: int = 0) -> Instruction:
        """The instruction that stands in a logical range."""
        text = self.logical.text
        start, end = _trim(text, start, end)
        gap = _BLANKS.search(text, start, end)
        keyword_end = gap.start() if gap else end
        flags, rest = self._flags(gap.end(), end) if gap else ([], end)
        rest, arguments_end = _trim(text, rest, end)
        keyword = text[start:keyword_end].upper()
        instruction = Instruction(
            keyword=keyword,
            keyword_span=self.logical.span(start, keyword_end),
            span=self.logical.span(start, end),
            lines=(0, 0),
            logical=self.logical,
            arguments=self.logical.slice(rest, arguments_end),
            flags=tuple(flags),
        )
        return self._dispatch(instruction, rest, arguments_end, depth)

    def _dispatch(self, instruction: Instruction, start: int, end: int, depth: int) -> Instruction:
        keyword = instruction.keyword
        if start == end:
            return instruction
        if keyword in ("RUN", "CMD", "ENTRYPOINT", "SHELL"):
            return self._maybe_json(instruction, start, end) or replace(instruction, words=(self.word(start, end),))
        if keyword in ("COPY", "ADD", "VOLUME"):
            return self._maybe_json(instruction, start, end) or replace(instruction, words=self._spaced(start, end))
        if keyword in ("FROM", "EXPOSE"):
            return replace(instruction, words=self._spaced(start, end))
        if keyword in ("MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"):
            return replace(instruction, words=(self.word(start, end),))
        if keyword in ("ENV", "LABEL"):
            return self._key_values(instruction, start, end)
        if keyword == "ARG":
            return self._arg(instruction, start, end)
        if keyword == "HEALTHCHECK":
            return self._health(instruction, start, end)
        if keyword == "ONBUILD":
            return self._onbuild(instruction, start, end, depth)
        return instruction

    def word(self, start: int, end: int, text: str | None = None) -> Word:
        """A logical range as a word."""
        return Word(self.logical.text[start:end] if text is None else text, self.logical.span(start, end))

    def _spaced(self, start: int, end: int) -> tuple[Word, ...]:
        return tuple(self.word(match.start(), match.end()) for match in _WORD.finditer(self.logical.text, start, end))

    def _maybe_json(self, instruction: Instruction, start: int, end: int) -> Instruction | None:
        """The exec form; None where BuildKit takes the text for a shell form (or a list of words)."""
        while start < end and self.logical.text[start] in SPACES:
            start += 1
        if self.logical.text[start : start + 1] != "[":
            return None
        text = self.logical.text[start:end]
        strings, length = _json_strings(text)
        if strings is None:
            return None
        if strings is _NOT_STRINGS:
            problem = SyntaxProblem(self.logical.span(start, end), _STRINGS_ONLY, fatal=True)
            return replace(instruction, problems=(problem,))
        words = tuple(
            self.word(start + match.start(), start + match.end(), string)
            for match, string in zip(_JSON_STRING.finditer(text, 0, length), strings, strict=True)
        )
        return replace(instruction, exec_form=True, words=words)

    def _split(self, start: int, end: int) -> list[tuple[str, int, int]]:
        words = split_words(self.logical.text[start:end], self.escape)
        return [(text, start + first, start + last) for text, first, last in words]

    def _key_values(self, instruction: Instruction, start: int, end: int) -> Instruction:
        words = self._split(start, end)
        if not words:
            return instruction
        if "=" not in words[0][0]:
            gap = _BLANKS.search(self.logical.text, start, end)
            if gap is None:
                message = f"{instruction.keyword} must have two arguments"
                return self._failed(instruction, message, start, end)
            key, value = self.word(start, gap.start()), self.word(gap.end(), end)
            return replace(instruction, pairs=(Pair(key, value, True, self.logical.span(start, end)),))
        pairs = []
        for text, first, last in words:
            name, equals, value_text = text.partition("=")
            if not equals:
                message = f"Syntax error - can't find = in {go_quote(text)}. Must be of the form: name=value"
                return self._failed(instruction, message, first, last)
            pairs.append(self._pair(name, value_text, first, last))
        return replace(instruction, pairs=tuple(pairs))

    def _pair(self, name: str, value: str | None, first: int, last: int) -> Pair:
        split = first + len(name)
        word = None if value is None else self.word(min(split + 1, last), last, value)
        return Pair(self.word(first, split, name), word, False, self.logical.span(first, last))

    def _arg(self, instruction: Instruction, start: int, end: int) -> Instruction:
        words, pairs = [], []
        for text, first, last in self._split(start, end):
            name, equals, value = text.partition("=")
            words.append(self.word(first, last, text))
            pairs.append(self._pair(name, value if equals else None, first, last))
        return replace(instruction, words=tuple(words), pairs=tuple(pairs))

    def _health(self, instruction: Instruction, start: int, end: int) -> Instruction:
        text = self.logical.text
        split = start
        while split < end and text[split] not in _ASCII_SPACES:
            split += 1
        rest = split
        while rest < end and text[rest] in _ASCII_SPACES:
            rest += 1
        kind = self.word(start, split)
        if rest == end:
            return replace(instruction, words=(kind,))
        inner = self._maybe_json(instruction, rest, end)
        if inner is None:
            return replace(instruction, words=(kind, self.word(rest, end)))
        return replace(inner, words=(kind, *inner.words))

    def _onbuild(self, instruction: Instruction, start: int, end: int, depth: int) -> Instruction:
        if depth >= MAX_ONBUILD_DEPTH:
            return instruction
        trigger = self.build(start, end, depth + 1)
        return replace(instruction, trigger=trigger, problems=trigger.problems, exec_form=trigger.exec_form)

    def _failed(self, instruction: Instruction, message: str, start: int, end: int) -> Instruction:
        return replace(instruction, problems=(SyntaxProblem(self.logical.span(start, end), message, fatal=True),))

    def _flags(self, start: int, end: int) -> tuple[list[Flag], int]:
        """The leading ``--name=value`` words, and where the arguments begin. The escape character is always ``\\``."""
        text = self.logical.text
        flags: list[Flag] = []
        position = start
        while True:
            while position < end and text[position] in _ASCII_SPACES:
                position += 1
            if not text.startswith("--", position, end):
                return flags, position
            first = position
            parts, position = _flag_word(text, position, end)
            word = "".join(parts)
            if word == "--":
                return flags, position
            flags.append(self._flag(word, first, position))

    def _flag(self, word: str, first: int, last: int) -> Flag:
        name, equals, value = word[2:].partition("=")
        split = self.logical.text.find("=", first, last) if equals else last
        return Flag(
            name,
            value if equals else None,
            self.logical.span(first, last),
            self.logical.span(min(first + 2, split), split),
            self.logical.span(split + 1, last) if equals else None,
        )


def _flag_word(text: str, position: int, end: int) -> tuple[list[str], int]:
    """One flag with quotes and escapes resolved, and where it ends."""
    parts: list[str] = []
    quote = ""
    while position < end:
        char = text[position]
        if not quote and char in _ASCII_SPACES:
            break
        position += 1
        if char == "\\" and position < end:
            parts.append(_as_bytes(text[position]))
            position += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char != "\\":
            taken = _as_bytes(char)
            blank = next((index for index, byte in enumerate(taken) if byte in "\x85\xa0"), -1)
            if blank >= 0 and not quote:
                parts.append(taken[:blank])
                break
            parts.append(taken)
    return parts, position


def _as_bytes(char: str) -> str:
    """BuildKit takes each byte of a flag for a character, and so garbles it: what it makes of it is what counts."""
    return char if char.isascii() else char.encode("utf-8", "surrogateescape").decode("latin-1")


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """A range without blanks at either end."""
    while end > start and text[end - 1] in SPACES:
        end -= 1
    while start < end and text[start] in SPACES:
        start += 1
    return start, end


_NOT_STRINGS: list[str] = []


def _json_strings(text: str) -> tuple[list[str] | None, int]:
    """The strings of a JSON array and its length in ``text``.

    None where it is no JSON (also where something follows it: BuildKit then takes all of it for a shell form),
    ``_NOT_STRINGS`` where it holds something else.
    """
    try:
        value, length = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0
    if not isinstance(value, list) or text[length:].strip(_JSON_SPACES):
        return None, 0
    return (value if all(isinstance(item, str) for item in value) else _NOT_STRINGS), length


def _refuse(text: str) -> float:
    raise ValueError(text)


def _number(text: str) -> float:
    """Numbers are not wanted; only one too large for Go, which reads no array then, makes a difference."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return 0.0


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_number, parse_float=_number)

"""Dockerfiles, read as BuildKit's line parser reads them, with the place of everything.

Never raises; takes linear time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

from buildopt.dockerfile.check import check_instruction, check_structure, go_quote
from buildopt.dockerfile.model import (
    SPACES,
    Comment,
    Directive,
    Dockerfile,
    Flag,
    Heredoc,
    Instruction,
    Logical,
    Pair,
    Stage,
    SyntaxProblem,
    Word,
)
from buildopt.dockerfile.words import Lexing, expand, split_words
from buildopt.source import BOM, Source, Span

# BuildKit reads lines into a buffer of 64 KiB: a line that fills it is refused.
MAX_LINE_BYTES = 65536
# `ONBUILD ONBUILD …` is refused anyway; this only bounds the recursion that finds out.
MAX_ONBUILD_DEPTH = 8
# Where BuildKit looks at bytes instead of characters, only these are blanks.
_ASCII_SPACES = " \t\n\v\f\r"
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_WORD = re.compile(r"[^\t\v\f\r ]+")
_DIRECTIVE = re.compile(rf"#[{SPACES}]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+?)[\t\n\f\r ]*\Z")
_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_STRINGS_ONLY = "when using JSON array syntax, arrays must be comprised of strings only"


def parse(source: Source) -> Dockerfile:
    """Read a file. Whatever is wrong with it becomes ``errors``; what can be read still is."""
    reader = _Reader(source)
    reader.read()
    stages = _stages(reader.instructions)
    problems = [*reader.problems, *(problem for found in reader.instructions for problem in found.problems)]
    if not reader.instructions and not problems:
        end = len(source.text)
        problems.append(SyntaxProblem(Span(0, min(end, 1)), "file with no instructions", fatal=True))
    elif not any(problem.fatal for problem in problems):
        problems += check_structure(source, reader.instructions, stages, reader.escape)
    problems.sort(key=lambda problem: (problem.span, problem.message))
    if "\0" in source.text:
        del problems[1:]  # a binary file: its first line says enough
    return Dockerfile(
        source,
        tuple(reader.directives),
        tuple(reader.comments),
        tuple(reader.instructions),
        stages,
        tuple(problems),
        reader.escape,
    )


@dataclass(slots=True)
class _Reader:
    """Walks the lines of a file once."""

    source: Source
    position: int = 0
    line: int = 0
    escape: str = "\\"
    directives_done: bool = False
    directives: list[Directive] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    pending: list[Comment] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    problems: list[SyntaxProblem] = field(default_factory=list)
    last_lines: dict[str, int] | None = None  # where each line's text, without tabs in front, stands last

    def next_line(self) -> Span | None:
        """The next line without its line break; None at the end."""
        text, start = self.source.text, self.position
        if start >= len(text):
            return None
        found = text.find("\n", start)
        raw_end = len(text) if found < 0 else found
        self.position = raw_end if found < 0 else found + 1
        self.line += 1
        self._check_length(start, found)
        end = raw_end
        while end > start and text[end - 1] == "\r":
            end -= 1
        return Span(start, end)

    def _check_length(self, start: int, found: int) -> None:
        if self.position - start < MAX_LINE_BYTES // 4:
            return
        size = len(self.source.text[start : self.position].encode("utf-8", "surrogateescape"))
        if size > MAX_LINE_BYTES or (found < 0 and size == MAX_LINE_BYTES):
            message = f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES - 1}"
            self.problems.append(SyntaxProblem(Span(start, start + 1), message, fatal=True))

    def read(self) -> None:
        if self.source.text.startswith(BOM):
            self.position = len(BOM)
        while (line := self.next_line()) is not None:
            text = self.source.text[line.start : line.end]
            stripped = text.lstrip(SPACES)
            start = line.end - len(stripped)
            self._directive(stripped, start)
            if stripped.startswith("#"):
                self._comment(stripped, start, inside=False)
            elif stripped:
                self._instruction(Span(start, line.end))

    def _comment(self, text: str, start: int, *, inside: bool) -> Comment:
        comment = Comment(text[1:].strip(SPACES), Span(start, start + len(text)), inside)
        self.comments.append(comment)
        if not inside:
            if self.directives and self.directives[-1].span == comment.span:
                pass
            elif comment.text:
                self.pending.append(comment)
            else:
                self.pending.clear()
        return comment

    def _directive(self, text: str, start: int) -> None:
        if self.directives_done:
            return
        match = _DIRECTIVE.match(text)
        name = match.group(1).lower() if match else ""
        if match is None or name not in ("syntax", "escape", "check"):
            self.directives_done = True
            return
        span = Span(start, start + len(text))
        value_span = Span(start + match.start(2), start + match.end(2))
        if any(directive.name == name for directive in self.directives):
            message = f"only one {name} parser directive can be used"
            self.problems.append(SyntaxProblem(span, message, fatal=True))
            return
        value = match.group(2)
        self.directives.append(Directive(name, value, span, value_span))
        if name == "escape":
            if value in ("\\", "`"):
                self.escape = value
            else:
                message = f"invalid escape token '{value}' does not match ` or \\"
                self.problems.append(SyntaxProblem(value_span, message, fatal=True))

    def _instruction(self, first: Span) -> None:
        """Gather an instruction's lines, beginning with ``first``, and its heredocs."""
        text, first_line = self.source.text, self.line
        pieces: list[Span] = []
        comments: list[Comment] = []
        blanks: list[Span] = []
        span, continued = self._continued(first)
        pieces.append(span)
        end = first.end
        while continued and (line := self.next_line()) is not None:
            raw = text[line.start : line.end]
            stripped = raw.lstrip(SPACES)
            self._directive(raw, line.start)
            end = line.end
            if stripped.startswith("#"):
                comments.append(self._comment(stripped, line.end - len(stripped), inside=True))
            elif not stripped:
                blanks.append(line)
            else:
                span, continued = self._continued(line)
                pieces.append(span)
        logical = Logical.of(text, pieces)
        instruction = _Builder(logical, self.escape).build(0, len(logical.text))
        heredocs, problem = self._heredocs(instruction)
        problems = (*instruction.problems, problem) if problem is not None else instruction.problems
        if heredocs:
            end = max(heredocs[-1].terminator.end, heredocs[-1].span.end)
        instruction = replace(
            instruction,
            span=Span(instruction.keyword_span.start, max(end, instruction.keyword_span.end)),
            lines=(first_line, self.line),
            heredocs=heredocs,
            comments=(*self.pending, *comments),
            blanks=tuple(blanks),
            problems=problems,
        )
        if instruction.trigger is not None:
            instruction = replace(instruction, trigger=_completed(instruction))
        self.instructions.append(replace(instruction, problems=(*problems, *check_instruction(instruction))))
        self.pending.clear()

    def _continued(self, line: Span) -> tuple[Span, bool]:
        """The line without a continuation at its end, and whether there was one."""
        text = self.source.text[line.start : line.end].rstrip(" \t")
        if text.endswith(self.escape) and (len(text) == 1 or text[-2] != self.escape):
            return Span(line.start, line.start + len(text) - 1), True
        return line, False

    def _heredocs(self, instruction: Instruction) -> tuple[tuple[Heredoc, ...], SyntaxProblem | None]:
        """Take the bodies of an instruction's heredocs from the lines that follow."""
        holder = instruction.trigger if instruction.keyword == "ONBUILD" and instruction.trigger else instruction
        if (
            holder.keyword not in ("RUN", "COPY", "ADD")
            or holder.exec_form
            or "<<" not in instruction.logical.text
            or any(problem.fatal for problem in instruction.problems)
        ):
            return (), None
        operators, error = _operators(instruction.logical.text)
        if error is not None:
            return (), SyntaxProblem(instruction.keyword_span, error, fatal=True)
        found: list[Heredoc] = []
        for operator in operators:
            if operator.spaced and not self._ends_later(operator):
                # `$((1 << 2))` is an operator only to the newest BuildKit; nobody ends such a document.
                continue
            heredoc = self._body(operator, instruction.logical)
            if heredoc.terminator.start == heredoc.terminator.end:
                problem = SyntaxProblem(heredoc.operator, "unterminated heredoc", fatal=True)
                return (*found, heredoc), problem
            found.append(heredoc)
        return tuple(found), None

    def _ends_later(self, operator: _Operator) -> bool:
        """Whether a line that could end the heredoc follows. The table is made once: files may hold many operators."""
        if self.last_lines is None:
            position, self.last_lines = 0, {}
            for line in self.source.text.split("\n"):
                self.last_lines[line.rstrip("\r").lstrip("\t")] = position
                position += len(line) + 1
        return self.last_lines.get(operator.name, -1) >= self.position

    def _body(self, operator: _Operator, logical: Logical) -> Heredoc:
        text, start = self.source.text, self.position
        pieces: list[Span] = []
        terminator = Span(len(text), len(text))
        body_end = len(text)
        while (line := self.next_line()) is not None:
            content = text[line.start : line.end]
            tabs = len(content) - len(content.lstrip("\t")) if operator.chomp else 0
            if content[tabs:] == operator.name:
                terminator, body_end = line, line.start
                break
            pieces.append(Span(line.start + tabs, self.position))
        return Heredoc(
            operator.name,
            operator.expand,
            operator.chomp,
            operator.descriptor,
            logical.span(operator.start, operator.end),
            Span(start, body_end),
            Logical.of(text, pieces or [Span(start, start)]),
            terminator,
        )


@dataclass(frozen=True, slots=True)
class _Operator:
    """``<<NAME`` at a logical range; ``spaced``: blanks stand before the name."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int
    start: int
    end: int
    spaced: bool


def _operators(line: str) -> tuple[list[_Operator], str | None]:
    """The heredoc operators of a logical line, and an error that BuildKit would stop with."""
    lexed = expand(line, {}, "\\", Lexing(raw_quotes=True, raw_escapes=True, keep_unset=True))
    found: list[_Operator] = []
    for word, (start, end) in zip(lexed.words, lexed.places, strict=True):
        match = _HEREDOC.match(word)
        if match is None or not match.group(3):
            continue
        rest = match.group(3)
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
        digits = match.group(1)
        descriptor = int(digits) if digits and len(digits) < 19 else 0
        spaced = match.start(3) > match.end(2)
        found.append(_Operator(name, unquoted, match.group(2) == "-", descriptor, start, end, spaced))
    return found, None


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def heredoc_name(text: str) -> str | None:
    """The name if ``text`` is a heredoc operator (as a source or destination of COPY may be)."""
    operators, _ = _operators(text)
    return operators[0].name if operators else None


def _completed(instruction: Instruction) -> Instruction:
    """The instruction behind ONBUILD with the lines and heredocs of the whole."""
    trigger = instruction.trigger
    assert trigger is not None
    span = Span(trigger.keyword_span.start, max(instruction.span.end, trigger.keyword_span.end))
    return replace(trigger, span=span, lines=instruction.lines, heredocs=instruction.heredocs)


@dataclass(slots=True)
class _Builder:
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
    """The strings of a JSON array and its length in ``text``: like BuildKit's, the decoder ignores what follows it.

    None where it is no JSON, ``_NOT_STRINGS`` where it holds something else.
    """
    try:
        value, length = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0
    if not isinstance(value, list):
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


_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")


def _stages(instructions: list[Instruction]) -> tuple[Stage, ...]:
    starts = [index for index, instruction in enumerate(instructions) if instruction.keyword == "FROM"]
    stages: list[Stage] = []
    indexes: dict[str, int] = {}
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(instructions)
        origin = instructions[start]
        image = origin.words[0] if origin.words else None
        name = None
        if len(origin.words) == 3 and origin.words[1].text.lower() == "as":
            name = origin.words[2].text.lower()
        base = indexes.get(image.text.lower()) if image is not None else None
        stages.append(Stage(number, name, image, origin.flag("platform"), base, origin, tuple(instructions[start:end])))
        if name is not None and _STAGE_NAME.match(name):
            indexes[name] = number
    return tuple(stages)

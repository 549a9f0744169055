"""Dockerfiles, read as BuildKit's line parser reads them, with the place of everything.

Never raises; takes linear time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from buildopt.dockerfile.arguments import Builder
from buildopt.dockerfile.check import check_instruction, check_structure
from buildopt.dockerfile.heredocs import Operator, operators
from buildopt.dockerfile.model import (
    SPACES,
    Comment,
    Directive,
    Dockerfile,
    Heredoc,
    Instruction,
    Logical,
    Stage,
    SyntaxProblem,
)
from buildopt.source import BOM, Source, Span

# BuildKit reads lines into a buffer of 64 KiB: a line that fills it is refused.
MAX_LINE_BYTES = 65536
_DIRECTIVE = re.compile(rf"#[{SPACES}]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+?)[\t\n\f\r ]*\Z")


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
        if not inside and not (self.directives and self.directives[-1].span == comment.span):
            self.pending.append(comment)
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
        instruction = Builder(logical, self.escape).build(0, len(logical.text))
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
        refused = check_instruction(instruction)
        self.instructions.append(replace(instruction, problems=(*problems, *refused)) if refused else instruction)
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
        found_operators, error = operators(instruction.logical.text)
        if error is not None:
            return (), SyntaxProblem(instruction.keyword_span, error, fatal=True)
        found: list[Heredoc] = []
        for operator in found_operators:
            if operator.spaced and not self._ends_later(operator):
                # `$((1 << 2))` is an operator only to the newest BuildKit; nobody ends such a document.
                continue
            heredoc = self._body(operator, instruction.logical)
            if heredoc.terminator.start == heredoc.terminator.end:
                problem = SyntaxProblem(heredoc.operator, "unterminated heredoc", fatal=True)
                return (*found, heredoc), problem
            found.append(heredoc)
        return tuple(found), None

    def _ends_later(self, operator: Operator) -> bool:
        """Whether a line that could end the heredoc follows. The table is made once: files may hold many operators."""
        if self.last_lines is None:
            position, self.last_lines = 0, {}
            for line in self.source.text.split("\n"):
                self.last_lines[line.rstrip("\r").lstrip("\t")] = position
                position += len(line) + 1
        return self.last_lines.get(operator.name, -1) >= self.position

    def _body(self, operator: Operator, logical: Logical) -> Heredoc:
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
            logical.span(operator.start, operator.end),
            Span(start, body_end),
            Logical.of(text, pieces or [Span(start, start)]),
            terminator,
        )


def _completed(instruction: Instruction) -> Instruction:
    """The instruction behind ONBUILD with the lines and heredocs of the whole."""
    trigger = instruction.trigger
    assert trigger is not None
    span = Span(trigger.keyword_span.start, max(instruction.span.end, trigger.keyword_span.end))
    return replace(trigger, span=span, lines=instruction.lines, heredocs=instruction.heredocs)


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

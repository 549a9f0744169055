"""What a Dockerfile says, and where it says it.

Nothing here is printed back: a model holds spans of its ``Source``, and rewriting is edits on those spans. Offsets are
of two kinds: *source* offsets count characters of the file, *logical* offsets count characters of one instruction after
its continuations, comment lines and blank lines have been taken out. ``Logical`` leads from the second to the first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from buildopt.source import Source, Span

# What Go's unicode.IsSpace calls a space; Python's str.strip() and str.isspace() know four more.
SPACES = " \t\n\v\f\r\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)

SHELL_FORMS = ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK")
DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class Logical:
    """Text put together from pieces of a source.

    Piece *i* begins at ``starts[i]`` in ``text`` and at ``offsets[i]`` in the source; pieces are in order, and in
    ``text`` one follows the other.
    """

    text: str
    starts: tuple[int, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, source_text: str, spans: Iterable[Span]) -> Logical:
        """The text of several spans of a source, one after the other."""
        parts: list[str] = []
        starts: list[int] = []
        offsets: list[int] = []
        length = 0
        for span in spans:
            if span.end > span.start or not starts:
                starts.append(length)
                offsets.append(span.start)
                parts.append(source_text[span.start : span.end])
                length += span.end - span.start
        return cls("".join(parts), tuple(starts) or (0,), tuple(offsets) or (0,))

    def offset(self, position: int) -> int:
        """Where the character at a logical position stands in the source."""
        piece = max(bisect_right(self.starts, position) - 1, 0)
        return self.offsets[piece] + position - self.starts[piece]

    def span(self, start: int, end: int) -> Span:
        """The source span of a logical range; it takes in whatever continuations lie inside the range.

        An empty range is the point just behind the character before it, so that text inserted there does not land on
        the far side of a continuation.
        """
        if start < end:
            return Span(self.offset(start), self.offset(end - 1) + 1)
        point = self.offset(start - 1) + 1 if start > 0 else self.offset(0)
        return Span(point, point)

    def contiguous(self, start: int, end: int) -> bool:
        """Whether a logical range is one unbroken piece of the source."""
        span = self.span(start, end)
        return span.end - span.start == end - start

    def slice(self, start: int, end: int) -> Logical:
        """A part of the text, still tied to the source."""
        first = max(bisect_right(self.starts, start) - 1, 0)
        last = max(bisect_right(self.starts, max(start, end - 1)), first + 1)
        starts = tuple(max(position - start, 0) for position in self.starts[first:last])
        offsets = (self.offset(start), *self.offsets[first + 1 : last])
        return Logical(self.text[start:end], starts, offsets)

    def pieces(self) -> Iterator[Span]:
        """The source spans that make up the text, in order."""
        ends = (*self.starts[1:], len(self.text))
        for start, end, offset in zip(self.starts, ends, self.offsets, strict=True):
            yield Span(offset, offset + end - start)


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why BuildKit refuses a file, in its words.

    ``fatal``: its line parser stops there; otherwise the file was read, and an instruction in it makes no sense.
    """

    span: Span
    message: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Directive:
    """``# name=value`` in the unbroken block at the very top; ``name`` is in lower case."""

    name: str
    value: str
    span: Span
    value_span: Span


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment line from its ``#`` to its end; ``text`` is what follows the ``#``, trimmed.

    ``inside``: it stands between the lines of a continued instruction.
    """

    text: str
    span: Span
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word of an instruction: ``text`` as BuildKit keeps it (quotes, escapes and variables unresolved).

    Words of an exec form hold the decoded JSON string; their span includes the quotes.
    """

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Flag:
    """``--name=value`` right behind the keyword, quotes resolved; without ``=``, ``value`` and its span are None."""

    name: str
    value: str | None
    span: Span
    name_span: Span
    value_span: Span | None

    @property
    def text(self) -> str:
        """The flag as BuildKit sees it."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Pair:
    """One ``key=value`` of ENV, LABEL or ARG; ``value`` is None for an ARG without default.

    ``legacy``: written ``KEY value`` with a space.
    """

    key: Word
    value: Word | None
    legacy: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: ``operator`` is ``<<NAME`` in the instruction, ``body`` its lines (tabs removed for ``<<-``).

    ``span`` covers the body's lines as they stand in the source, ``terminator`` the line that ends them (empty where it
    is missing).
    """

    name: str
    expand: bool
    chomp: bool
    operator: Span
    span: Span
    body: Logical
    terminator: Span


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    ``span`` runs from the keyword to the end of the last line (heredocs included, line break not), ``lines`` are its
    first and last line from 1. ``logical`` is the whole text without continuations, ``arguments`` what follows keyword
    and flags, trimmed. ``exec_form``: its arguments are a JSON array. ``values`` is BuildKit's argument list.
    ``comments`` are all those since the instruction before, empty ones too, then those inside. ``trigger`` is the
    instruction behind ONBUILD; its spans are of the same source. ``problems`` is empty for a sound instruction: a rule
    need not look at any other.
    """

    keyword: str
    keyword_span: Span
    span: Span
    lines: tuple[int, int]
    logical: Logical
    arguments: Logical
    flags: tuple[Flag, ...] = ()
    exec_form: bool = False
    words: tuple[Word, ...] = ()
    pairs: tuple[Pair, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[Comment, ...] = ()
    blanks: tuple[Span, ...] = ()
    trigger: Instruction | None = None
    problems: tuple[SyntaxProblem, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The arguments as BuildKit lists them: words, or key and value in turn for ENV and LABEL."""
        if self.keyword in ("ENV", "LABEL"):
            return tuple(word.text for pair in self.pairs for word in (pair.key, pair.value) if word is not None)
        return tuple(word.text for word in self.words)

    @property
    def actual(self) -> Instruction:
        """The instruction behind ONBUILD, else this one."""
        return self if self.trigger is None else self.trigger

    def flag(self, name: str) -> Flag | None:
        """The first flag of that name."""
        return next((flag for flag in self.flags if flag.name == name), None)

    def flags_named(self, name: str) -> tuple[Flag, ...]:
        """All flags of that name, such as several ``--mount``."""
        return tuple(flag for flag in self.flags if flag.name == name)

    @property
    def command_word(self) -> str | None:
        """CMD or NONE of a HEALTHCHECK, in upper case."""
        return self.words[0].text.upper() if self.keyword == "HEALTHCHECK" and self.words else None

    @property
    def lone_heredoc(self) -> Heredoc | None:
        """The heredoc that is the whole command (``RUN <<EOF``): its body runs, by its ``#!`` line or the shell."""
        if self.keyword == "RUN" and len(self.heredocs) == 1:
            operator = self.heredocs[0].operator
            whole = self.arguments.span(0, len(self.arguments.text))
            if operator == whole:
                return self.heredocs[0]
        return None

    def script(self, source: Source) -> Logical | None:
        """The shell text that runs, tied to the source; None for exec forms and for what runs nothing.

        Heredoc bodies follow the command as in a shell script; a body that is the command itself stands alone.
        """
        if self.keyword not in SHELL_FORMS or self.exec_form or not self.words:
            return None
        if self.keyword == "HEALTHCHECK":
            return None if len(self.words) < 2 else self._part(self.words[1].span)
        lone = self.lone_heredoc
        if lone is not None:
            return lone.body
        if not self.heredocs:
            return self.arguments
        spans = list(self.arguments.pieces())
        newline = source.text.find("\n", spans[-1].end)
        for heredoc in self.heredocs:
            spans += (Span(newline, newline + 1), heredoc.span, heredoc.terminator)
            newline = heredoc.terminator.end
        return Logical.of(source.text, [span for span in spans if span.start >= 0])

    def _part(self, span: Span) -> Logical:
        """The arguments from the start of a word on."""
        position = next(
            (at for at in range(len(self.arguments.text)) if self.arguments.offset(at) == span.start),
            len(self.arguments.text),
        )
        return self.arguments.slice(position, len(self.arguments.text))


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM and what follows it. ``name`` is in lower case; ``image`` is None where FROM is broken.

    ``base_index`` is the earlier stage that ``image`` names, None for an image of a registry (or one with variables).
    Only ``as_built``, which is for rules, settles those with variables: ``base_index`` is then the stage that the
    defaults name, ``other_bases`` are those that other values may name.
    """

    index: int
    name: str | None
    image: Word | None
    platform: Flag | None
    base_index: int | None
    origin: Instruction
    instructions: tuple[Instruction, ...]
    other_bases: tuple[int, ...] = ()

    @property
    def base_is_open(self) -> bool:
        """Whether a variable decides what it starts from."""
        return self.image is not None and "$" in self.image.text

    @property
    def bases(self) -> tuple[int, ...]:
        """The stage that it starts from; all that it may be where nothing says which one."""
        return self.other_bases if self.base_index is None else (self.base_index,)

    @property
    def names(self) -> tuple[str, ...]:
        """What ``COPY --from`` may call it."""
        return (str(self.index),) if self.name is None else (self.name, str(self.index))


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file, sound or not. ``errors`` are its problems in order of place; ``escape`` is ``\\`` or a backtick.

    ``always_sh``: what RUN holds is a script of sh in images of Windows too, as hadolint takes it.
    """

    source: Source
    directives: tuple[Directive, ...]
    comments: tuple[Comment, ...]
    instructions: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    errors: tuple[SyntaxProblem, ...]
    escape: str
    always_sh: bool = False

    @property
    def final_stage(self) -> Stage | None:
        """The stage that becomes the image, unless a target is named."""
        return self.stages[-1] if self.stages else None

    @property
    def global_args(self) -> tuple[Instruction, ...]:
        """ARG instructions before the first FROM."""
        first = self.stages[0].origin if self.stages else None
        found = []
        for instruction in self.instructions:
            if instruction is first:
                break
            if instruction.keyword == "ARG":
                found.append(instruction)
        return tuple(found)

    def cased(self, keyword: str) -> str:
        """A keyword as most of the file's are written: lower case, or upper. ARG above the first FROM has no voice."""
        first = self.stages[0].origin.span.start if self.stages else 0
        spans = [item.keyword_span for item in self.instructions if item.span.start >= first]
        typed = [self.source.text[span.start : span.end] for span in spans]
        lower = sum(word.islower() for word in typed) > sum(word.isupper() for word in typed)
        return keyword.lower() if lower else keyword.upper()

    def stage(self, reference: str, before: int | None = None) -> Stage | None:
        """The stage of that name (any case; the last one wins) or index, among those before index ``before``."""
        candidates = self.stages[:before]
        lowered = reference.lower()
        for stage in reversed(candidates):
            if stage.name == lowered:
                return stage
        if reference.isascii() and reference.isdigit() and len(reference) < 9 and int(reference) < len(candidates):
            return candidates[int(reference)]
        return None

    def stage_of(self, instruction: Instruction) -> Stage | None:
        """The stage that an instruction belongs to; None before the first FROM."""
        found = None
        for stage in self.stages:
            if stage.origin.span.start > instruction.span.start:
                break
            found = stage
        return found

    def directive(self, name: str) -> Directive | None:
        """The directive of that name."""
        return next((directive for directive in self.directives if directive.name == name), None)

    def whole_lines(self, instruction: Instruction) -> Span:
        """The span of an instruction's lines from the first column to behind the last line break."""
        text = self.source.text
        end = text.find("\n", instruction.span.end)
        return Span(self.source.line_start(instruction.lines[0]), len(text) if end < 0 else end + 1)

    def with_comments(self, instruction: Instruction) -> Span:
        """An instruction's whole lines, and those of the comments right above it."""
        line = instruction.lines[0]
        comments = {self.source.position(comment.span.start)[0] for comment in self.comments if not comment.inside}
        while line - 1 in comments:
            line -= 1
        return Span(self.source.line_start(line), self.whole_lines(instruction).end)

    def line_span(self, span: Span) -> Span:
        """The whole lines that a span touches, the last line break included."""
        text = self.source.text
        end = text.find("\n", max(span.start, span.end - 1))
        return Span(text.rfind("\n", 0, span.start) + 1, len(text) if end < 0 else end + 1)

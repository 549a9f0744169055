"""What BuildKit refuses once the lines are read: unknown instructions, wrong arguments, wrong flags, no stage."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from buildopt.dockerfile.model import KEYWORDS, SPACES, Instruction, Stage, SyntaxProblem
from buildopt.dockerfile.words import expand
from buildopt.source import Source, Span

# What a flag takes: text, one of true and false, or text several times.
_TEXT, _BOOLEAN, _TEXTS = "text", "boolean", "texts"
_FLAGS: dict[str, dict[str, str]] = {
    "ADD": {
        "chown": _TEXT,
        "chmod": _TEXT,
        "link": _BOOLEAN,
        "keep-git-dir": _BOOLEAN,
        "checksum": _TEXT,
        "unpack": _BOOLEAN,
        "exclude": _TEXTS,
    },
    "COPY": {
        "chown": _TEXT,
        "from": _TEXT,
        "chmod": _TEXT,
        "link": _BOOLEAN,
        "parents": _BOOLEAN,
        "exclude": _TEXTS,
    },
    "FROM": {"platform": _TEXT},
    "HEALTHCHECK": {
        "interval": _TEXT,
        "timeout": _TEXT,
        "start-period": _TEXT,
        "start-interval": _TEXT,
        "retries": _TEXT,
    },
    "RUN": {"mount": _TEXTS, "network": _TEXT, "security": _TEXT, "device": _TEXTS},
}
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
# BuildKit never looks at the flags of these.
_FLAGS_UNCHECKED = ("ARG", "STOPSIGNAL")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_DURATION = re.compile(r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+\Z")


def check_instruction(instruction: Instruction) -> tuple[SyntaxProblem, ...]:
    """The first thing wrong with one instruction, as BuildKit words it; nothing where its line did not even parse."""
    if instruction.problems:
        return ()
    return tuple(SyntaxProblem(span, message) for span, message in list(_problems(instruction))[:1])


def check_structure(
    source: Source, instructions: Sequence[Instruction], stages: Sequence[Stage], escape: str
) -> list[SyntaxProblem]:
    """Instructions that stand before any stage, a file without one, and bases that are no image references."""
    first = stages[0].origin if stages else None
    problems = []
    for instruction in instructions:
        if instruction is first:
            break
        if instruction.keyword != "ARG" and not instruction.problems:
            problems.append(SyntaxProblem(instruction.keyword_span, "no build stage in current context"))
            break
    problems += (problem for stage in stages if (problem := _base_problem(stage, escape)) is not None)
    if first is None and not problems and not any(instruction.problems for instruction in instructions):
        end = len(source.text)
        problems.append(SyntaxProblem(Span(end, end), "dockerfile contains no stages to build"))
    return problems


def _base_problem(stage: Stage, escape: str) -> SyntaxProblem | None:
    """A base that is no image reference. One with variables may be anything."""
    if stage.image is None or stage.base_index is not None or "$" in stage.image.text or stage.origin.problems:
        return None
    name = expand(stage.image.text, {}, escape)
    if name.error is not None:
        return SyntaxProblem(stage.image.span, f"failed to process {go_quote(stage.image.text)}: {name.error}")
    if not name.text:
        return SyntaxProblem(stage.image.span, f"base name ({stage.image.text}) should not be blank")
    if _REFERENCE.fullmatch(name.text):
        return None
    reason = "invalid reference format"
    if _REFERENCE.fullmatch(name.text.lower()):
        repository = name.text.split("@")[0].rsplit(":", 1)[0]
        if "/" not in repository:
            repository = f"library/{repository}"
        reason += f": repository name ({repository}) must be lowercase"
    return SyntaxProblem(stage.image.span, f"failed to parse stage name {go_quote(name.text)}: {reason}")


def go_quote(text: str) -> str:
    """Text in double quotes as Go's %q prints it (nearly: only what a Dockerfile may hold)."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\r", "\\r").replace("\0", "\\x00")
    )
    return f'"{escaped}"'


_Problem = tuple[Span, str]


def _problems(instruction: Instruction) -> Iterator[_Problem]:
    keyword = instruction.keyword
    where = instruction.keyword_span
    if keyword not in KEYWORDS:
        # BuildKit names the instruction as it was typed.
        raw = instruction.logical.text.strip(SPACES)
        typed = re.split(r"[\t\v\f\r ]+", raw, maxsplit=1)[0]
        yield where, f"unknown instruction: {typed}{_suggestion(keyword)}"
        return
    yield from _ARGUMENTS.get(keyword, _anything)(instruction)
    if keyword not in _FLAGS_UNCHECKED and not _is_none_healthcheck(instruction):
        yield from _flag_problems(instruction)
    yield from _later(instruction)


@lru_cache(maxsize=256)
def _suggestion(keyword: str) -> str:
    if not keyword.isalpha() or len(keyword) > 16:
        return ""
    close = difflib.get_close_matches(keyword, KEYWORDS, 1, 0.7)
    return f" (did you mean {close[0]}?)" if close else ""


def _is_none_healthcheck(instruction: Instruction) -> bool:
    return instruction.command_word == "NONE"


def _anything(instruction: Instruction) -> Iterator[_Problem]:
    yield from ()


def _one_or_more(instruction: Instruction) -> Iterator[_Problem]:
    if not instruction.words:
        yield instruction.keyword_span, f"{instruction.keyword} requires at least one argument"


def _exactly_one(instruction: Instruction) -> Iterator[_Problem]:
    if len(instruction.words) != 1:
        yield instruction.keyword_span, f"{instruction.keyword} requires exactly one argument"


def _two_or_more(instruction: Instruction) -> Iterator[_Problem]:
    if len(instruction.words) < 2:
        yield (
            instruction.keyword_span,
            f"{instruction.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
        )


def _from(instruction: Instruction) -> Iterator[_Problem]:
    words = instruction.words
    if len(words) == 3 and words[1].text.lower() == "as":
        if not _STAGE_NAME.match(words[2].text.lower()):
            yield (
                words[2].span,
                f'invalid name for build stage: "{words[2].text}", name can\'t start with a number or contain symbols',
            )
    elif len(words) != 1:
        yield instruction.keyword_span, "FROM requires either one or three arguments"


def _onbuild(instruction: Instruction) -> Iterator[_Problem]:
    trigger = instruction.trigger
    if trigger is None:
        yield instruction.keyword_span, "ONBUILD requires at least one argument"
    elif trigger.keyword == "ONBUILD":
        yield trigger.keyword_span, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
    elif trigger.keyword in ("MAINTAINER", "FROM"):
        yield trigger.keyword_span, f"{trigger.keyword} isn't allowed as an ONBUILD trigger"


def _healthcheck(instruction: Instruction) -> Iterator[_Problem]:
    if not instruction.words:
        yield instruction.keyword_span, "HEALTHCHECK requires at least one argument"
    elif _is_none_healthcheck(instruction) and len(instruction.words) > 1:
        yield instruction.words[1].span, "HEALTHCHECK NONE takes no arguments"


_ARGUMENTS = {
    "ADD": _two_or_more,
    "ARG": _one_or_more,
    "COPY": _two_or_more,
    "EXPOSE": _one_or_more,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "MAINTAINER": _exactly_one,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _exactly_one,
    "USER": _exactly_one,
    "VOLUME": _one_or_more,
    "WORKDIR": _exactly_one,
}


def _flag_problems(instruction: Instruction) -> Iterator[_Problem]:
    known = _FLAGS.get(instruction.keyword, {})
    seen: set[str] = set()
    for flag in instruction.flags:
        kind = known.get(flag.name)
        if kind is None:
            yield flag.span, f"unknown flag: {flag.name}"
        elif flag.name in seen and kind != _TEXTS:
            yield flag.span, f"duplicate flag specified: {flag.name}"
        elif flag.value == "" if kind == _BOOLEAN else flag.value is None:
            yield flag.span, f"missing a value on flag: {flag.name}"
        elif kind == _BOOLEAN and (flag.value or "true").lower() not in ("true", "false"):
            yield flag.span, f"expecting boolean value for flag {flag.name}, not: {flag.value}"
        seen.add(flag.name)


def _later(instruction: Instruction) -> Iterator[_Problem]:
    """What BuildKit looks at behind arguments and flags."""
    keyword = instruction.keyword
    if keyword in ("ENV", "LABEL") and not instruction.pairs:
        yield instruction.keyword_span, f"{keyword} requires at least one argument"
    for pair in instruction.pairs:
        if not pair.key.text and (pair.value is not None):
            yield pair.span, f"{keyword} names can not be blank"
    if keyword == "SHELL":
        if not instruction.words:
            yield instruction.keyword_span, "SHELL requires at least one argument"
        elif not instruction.exec_form:
            yield (
                instruction.arguments.span(0, len(instruction.arguments.text)),
                "SHELL requires the arguments to be in JSON form",
            )
    if keyword == "VOLUME" and any(not word.text.strip(SPACES) for word in instruction.words):
        yield instruction.keyword_span, "VOLUME specified can not be an empty string"
    if keyword in ("COPY", "ADD") and instruction.words:
        last = instruction.words[-1]
        if any(heredoc.operator == last.span for heredoc in instruction.heredocs):
            yield last.span, f"{keyword} cannot accept a heredoc as a destination"
    if keyword == "HEALTHCHECK" and instruction.words and not _is_none_healthcheck(instruction):
        yield from _health_command(instruction)


def _health_command(instruction: Instruction) -> Iterator[_Problem]:
    kind = instruction.words[0]
    if kind.text.upper() != "CMD":
        yield kind.span, f'Unknown type "{kind.text.upper()}" in HEALTHCHECK (try CMD)'
    elif len(instruction.words) < 2:
        yield kind.span, "Missing command after HEALTHCHECK CMD"
    for flag in instruction.flags:
        value = flag.value or ""
        if flag.name == "retries":
            if value and not re.fullmatch(r"[-+]?[0-9]{1,10}", value):
                yield flag.span, f'strconv.ParseInt: parsing "{value}": invalid syntax'
            elif value.startswith("-") and int(value) < 0:
                yield flag.span, f"--retries cannot be negative ({int(value)})"
        elif value and value != "0" and not _DURATION.match(value):
            yield flag.span, f'time: invalid duration "{value}"'

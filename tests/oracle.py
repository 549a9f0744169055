"""BuildKit's own parser, in the wheel ``dockerfile``, as the judge of ours: what is refused, and every instruction."""

from __future__ import annotations

import json
import re
from importlib import import_module

from buildopt.dockerfile.model import KEYWORDS, Dockerfile, Instruction
from buildopt.dockerfile.parse import parse
from buildopt.source import Source

# The judge is behind today's BuildKit: it does not know the directive ``check``, and so ends the directives there.
_DIRECTIVE_BEHIND_CHECK = re.compile(r"\A\ufeff?(?:[ \t]*#[^\n]*\n)*?[ \t]*#[ \t]*check[ \t]*=[^\n]*\n[ \t]*#", re.I)
# It knows no blanks behind ``<<`` either, and of ``ONBUILD ONBUILD`` and a bare ONBUILD it cannot say what it found.
_UNKNOWN = re.compile(r"<<-?[ \t\v\f\r\\`\n]|onbuild\s+onbuild|onbuild\s[^\n]*$", re.IGNORECASE)


def comparable(text: str) -> bool:
    """Whether the judge can be trusted with a text."""
    return not _UNKNOWN.search(text) and knows_directives(text)


def knows_directives(text: str) -> bool:
    """Whether the judge reads a text's directives as BuildKit does today."""
    return _DIRECTIVE_BEHIND_CHECK.match(text) is None


def shape(found: Instruction, text: str) -> tuple[object, ...]:
    """What BuildKit's parser says of an instruction, out of our model."""
    inner = found.trigger if found.keyword == "ONBUILD" and found.trigger is not None else found
    heredocs = (
        ()
        if inner is not found
        else tuple((item.name, text[item.span.start : item.span.end]) for item in found.heredocs)
    )
    values = inner.values if inner.keyword in KEYWORDS else ("",)
    return (
        found.keyword.lower(),
        None if inner is found else inner.keyword.lower(),
        inner.exec_form,
        found.lines,
        tuple(flag.text for flag in found.flags),
        values,
        heredocs,
    )


def of_buildkit(text: str) -> list[tuple[object, ...]] | str:
    """The same from BuildKit's parser, or the message with which it stops. Raises ImportError without the wheel."""
    judge = import_module("dockerfile")
    try:
        commands = judge.parse_string(text)
    except judge.GoParseError as error:
        return str(error)
    return [
        (
            (item.cmd or "").lower(),
            None if item.sub_cmd is None else item.sub_cmd.lower(),
            item.json,
            (item.start_line, item.end_line),
            tuple(item.flags),
            tuple(item.value),
            tuple((heredoc.name, heredoc.content) for heredoc in item.heredocs),
        )
        for item in commands
    ]


def has_more_than_an_array(found: Instruction) -> bool:
    """Whether something follows a JSON array: an exec form to the judge, a shell form to BuildKit today."""
    inner = found.trigger if found.trigger is not None else found
    start = inner.arguments.text.find("[")
    if inner.exec_form or start < 0:
        return False
    try:
        json.JSONDecoder(strict=False).raw_decode(inner.arguments.text, start)
    except (ValueError, RecursionError):
        return False
    return True


def disagreement(dockerfile: Dockerfile) -> tuple[object, object] | None:
    """What our parser and BuildKit's say where they differ: messages, or all instructions."""
    text = dockerfile.source.text
    if any(has_more_than_an_array(found) for found in dockerfile.instructions):
        return None
    expected = of_buildkit(text)
    fatal = [problem.message for problem in dockerfile.errors if problem.fatal]
    if isinstance(expected, str):
        return None if expected in fatal else (fatal, expected)
    ours = [shape(found, text) for found in dockerfile.instructions]
    return None if not fatal and ours == expected else (fatal or ours, expected)


def disagreement_of_text(text: str) -> tuple[object, object] | None:
    """The same for a text."""
    return disagreement(parse(Source("Dockerfile", text)))

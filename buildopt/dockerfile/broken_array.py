"""What looks like the JSON array of an exec form and is none: BuildKit takes it for a command of the shell."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise

from buildopt.dockerfile.model import Instruction
from buildopt.finding import Fix
from buildopt.source import Edit, Span

_TOKEN = re.compile(r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'[^']*')|(?P<comma>,))\s*""")


@dataclass(frozen=True, slots=True)
class BrokenArray:
    """``why`` it is no JSON; ``words`` as they were meant, None where that is not plain; where it stands."""

    why: str
    words: tuple[str, ...] | None
    span: Span

    def fix(self, instruction: Instruction) -> Fix | None:
        """Write the array; unsafe, as something else will run then."""
        if self.words is None or any(comment.inside for comment in instruction.comments):
            return None
        text = json.dumps(self.words, ensure_ascii=False)
        return Fix("write a JSON array", (Edit(self.span, text),), safe=False)


def broken_array(instruction: Instruction) -> BrokenArray | None:
    """The broken array of a RUN, CMD, ENTRYPOINT or HEALTHCHECK; None where it is a JSON array or a plain command."""
    if instruction.exec_form or not instruction.words or instruction.heredocs:
        return None
    word = instruction.words[-1]
    text = word.text.strip()
    if not text.startswith("[") or not text.endswith("]") or len(text) < 2:
        return None
    body = text[1:-1]
    if instruction.keyword == "RUN" and body[:1].isspace() and "," not in body:
        return None  # [ 'x' ] is a test
    tokens = _tokens(body)
    if tokens is None or not any(token != "," for token in tokens):
        return None
    why = _why(tokens)
    if why is None:
        return None
    words = [_decoded(token) for token in tokens if token != ","]
    known = tuple(found for found in words if found is not None)
    return BrokenArray(why, known if len(known) == len(words) else None, word.span)


def _tokens(body: str) -> list[str] | None:
    """Quoted texts and commas; None where there is anything else."""
    tokens, position = [], 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            return None
        tokens.append(match["text"] or match["comma"])
        position = match.end()
    return tokens


def _why(tokens: list[str]) -> str | None:
    if any(token.startswith("'") for token in tokens):
        return "single quotes"
    if any(_decoded(token) is None for token in tokens if token != ","):
        return "a backslash that is not doubled"
    kinds = ["," if token == "," else "text" for token in tokens]
    if any(pair == ("text", "text") for pair in pairwise(kinds)):
        return "a missing comma"
    if kinds[-1] == "," and kinds.count(",") == kinds.count("text"):
        return "a trailing comma"
    return "a comma too many" if kinds.count(",") >= kinds.count("text") else None


def _decoded(token: str) -> str | None:
    """The text that a quoted one stands for; None where its backslashes are not those of JSON."""
    if token.startswith("'"):
        return None if "\\" in token else token[1:-1]
    try:
        return str(json.loads(token))
    except ValueError:
        return None

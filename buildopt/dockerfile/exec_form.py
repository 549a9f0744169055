"""From the shell form of CMD and ENTRYPOINT to the exec form."""

from __future__ import annotations

import json
from collections.abc import Iterator

from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.scope import walk
from buildopt.dockerfile.shell import parse_shell
from buildopt.finding import Fix
from buildopt.source import Edit, Span

# What only a shell can run.
_BUILTINS = frozenset(
    (
        *(
            ".",
            ":",
            "[",
            "{",
            "alias",
            "bg",
            "break",
            "case",
            "cd",
            "command",
            "continue",
            "eval",
            "export",
            "fg",
            "for",
        ),
        *("function", "getopts", "hash", "if", "jobs", "local", "read", "readonly", "return", "set", "shift", "source"),
        *("times", "trap", "type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while"),
    )
)


def shell_form_findings(dockerfile: Dockerfile, keyword: str) -> Iterator[tuple[str, Span, Fix | None]]:
    """Message, span and fix of each ``keyword`` in shell form that the default shell would run."""
    other = "CMD" if keyword == "ENTRYPOINT" else "ENTRYPOINT"
    for stage, instruction, scope in walk(dockerfile):
        if instruction.keyword != keyword or instruction.exec_form or not instruction.words or scope.shell_is_set:
            continue
        words = exec_words(instruction)
        fix = None
        whole = instruction.words[0].span
        # An ENTRYPOINT in shell form takes no CMD, one in exec form does: together they would mean something else.
        paired = any(found.keyword == other for found in stage.instructions)
        if words is not None and not paired and not any(comment.inside for comment in instruction.comments):
            text = json.dumps(words, ensure_ascii=False)
            fix = Fix("use the exec form", (Edit(whole, text),), safe=False)
        yield f"a shell that passes no signals on runs this {keyword}: use the exec form", whole, fix


def exec_words(instruction: Instruction) -> list[str] | None:
    """The words of a shell form that is one plain command; None where a shell is needed."""
    text = instruction.arguments.text
    if text.startswith("[") or "~" in text:  # an exec form gone wrong, or a home folder
        return None
    script = parse_shell(text)
    if not script.complete or len(script.commands) != 1 or len(script.parts) != 1 or script.comments:
        return None
    command = script.commands[0]
    if command.redirects or command.assignments or command.operator or command.negated or command.context:
        return None
    words: list[str] = []
    for word in command.words:
        if word.text is None or word.glob or any(0xDC80 <= ord(char) <= 0xDCFF for char in word.text):
            return None
        words.append(word.text)
    if words[:1] == ["exec"]:
        words = words[1:]
    return words if words and words[0] and words[0] not in _BUILTINS and not words[0].startswith("-") else None

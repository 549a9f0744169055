"""From the shell form of CMD and ENTRYPOINT to the exec form."""

from __future__ import annotations

import json

from buildopt.dockerfile.model import Instruction, Stage
from buildopt.dockerfile.shell import parse_shell
from buildopt.finding import Fix
from buildopt.source import Edit

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


def exec_form_fix(stage: Stage, instruction: Instruction) -> Fix | None:
    """The exec form of a CMD or ENTRYPOINT; None where it would be something else."""
    other = "CMD" if instruction.keyword == "ENTRYPOINT" else "ENTRYPOINT"
    # An ENTRYPOINT in shell form takes no CMD, one in exec form does: together they would mean something else.
    if any(found.keyword == other for found in stage.instructions):
        return None
    words = exec_words(instruction)
    if words is None or any(comment.inside for comment in instruction.comments):
        return None
    text = json.dumps(words, ensure_ascii=False)
    return Fix("use the exec form", (Edit(instruction.words[0].span, text),), safe=False)


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

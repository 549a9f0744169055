"""One more command at the end of a RUN, for fixes that clean up."""

from __future__ import annotations

import re

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.source import Edit


def append(dockerfile: Dockerfile, run: Run, command: str) -> Edit | None:
    """The edit that adds a command at the script's end; None where that is not plainly right."""
    script = run.script
    if run.instruction.exec_form or not script.complete or not script.parts or script.comments:
        return None
    if script.parts[-1].operator or any(part.operator == "&" for part in script.parts):
        return None
    last = script.parts[-1].command
    if last is not None and last.words and last.words[0].text in ("exit", "exec"):
        return None  # nothing behind it would run
    if _stops_inside(run):
        return None
    heredoc = run.instruction.lone_heredoc
    if heredoc is not None:
        return _append_to_heredoc(dockerfile, run, command)
    if run.instruction.heredocs:
        return None
    end = run.logical.span(len(run.logical.text), len(run.logical.text))
    return Edit(end, f"{_joint(dockerfile, run)}&& {command}")


_ERREXIT = re.compile(r"\bset\s[^\n;&|]*(?:-\w*e|errexit)|^#!.*\s-\w*e|\berrexit\b")
_READING = frozenset((".", "eval", "source"))


def _stops_inside(run: Run) -> bool:
    """Whether ``set -e`` may stop the script inside its last link: behind it, ``&&`` would switch that off."""
    shell = any(word == "errexit" or re.fullmatch(r"-\w*e\w*", word) for word in run.scope.shell[1:])
    reads = any(command.name in _READING for command in run.script.commands)
    if not shell and not reads and _ERREXIT.search(run.logical.text) is None:
        return False
    parts = run.script.parts
    index = len(parts) - 1
    while index and parts[index - 1].operator in ("|", "|&"):
        index -= 1
    return any(part.command is None or _is_of_the_script(run, part.command) for part in parts[index:])


def _is_of_the_script(run: Run, command: Command) -> bool:
    """Whether a command is one that the script itself defines, or reads from somewhere."""
    name = command.words[0].text if command.words else ""
    if name is None or name in _READING:
        return True
    return (
        bool(name)
        and re.search(rf"(?:\bfunction\s+{re.escape(name)}\b|(?<![\w-]){re.escape(name)}\s*\(\s*\))", run.logical.text)
        is not None
    )


def _append_to_heredoc(dockerfile: Dockerfile, run: Run, command: str) -> Edit | None:
    """A line of its own, where ``set -e`` stops at any failure before it; ``&&`` behind a list, which it overlooks."""
    parts = run.script.parts
    last = parts[-1].command
    if last is None or last.negated or any(item.operator.startswith("<<") for item in last.redirects):
        return None
    settings = [part.command for part in parts if part.command is not None and part.command.name == "set"]
    words = [text for setting in settings for text in setting.texts]
    if not any(re.fullmatch(r"-\w*e\w*", word) for word in words) or any(word.startswith("+") for word in words):
        return None  # without `set -e` one more command would hide the failure of the one before
    before = parts[-2].operator if len(parts) > 1 else ""
    while before in ("|", "|&") and len(parts) > 2:
        parts = parts[:-1]
        before = parts[-2].operator
    if before == "||":
        return None
    place = run.script.parts[-1].span.end
    joint = " && " if before == "&&" else dockerfile.source.newline
    return Edit(run.logical.span(place, place), f"{joint}{command}")


def _joint(dockerfile: Dockerfile, run: Run) -> str:
    """A blank, or a new line in the way of the instruction's last one."""
    pieces = list(run.logical.pieces())
    text = dockerfile.source.text
    if len(pieces) < 2:
        return " "
    last = text[pieces[-1].start : pieces[-1].end]
    indent = last[: len(last) - len(last.lstrip(" \t"))] or "    "
    return f" {dockerfile.escape}{dockerfile.source.newline}{indent}"

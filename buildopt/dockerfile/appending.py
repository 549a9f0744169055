"""One more command at the end of a RUN, for fixes that clean up."""

from __future__ import annotations

import re

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.runs import Run
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
    heredoc = run.instruction.lone_heredoc
    if heredoc is not None:
        if not re.search(r"^\s*set\s+-\w*e", run.logical.text, re.MULTILINE):
            return None  # without `set -e` one more command would hide the failure of the one before
        place = script.parts[-1].span.end
        return Edit(run.logical.span(place, place), f"{dockerfile.source.newline}{command}")
    if run.instruction.heredocs:
        return None
    end = run.logical.span(len(run.logical.text), len(run.logical.text))
    return Edit(end, f"{_joint(dockerfile, run)}&& {command}")


def _joint(dockerfile: Dockerfile, run: Run) -> str:
    """A blank, or a new line in the way of the instruction's last one."""
    pieces = list(run.logical.pieces())
    text = dockerfile.source.text
    if len(pieces) < 2:
        return " "
    last = text[pieces[-1].start : pieces[-1].end]
    indent = last[: len(last) - len(last.lstrip(" \t"))] or "    "
    return f" {dockerfile.escape}{dockerfile.source.newline}{indent}"

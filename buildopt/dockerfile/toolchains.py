"""What a stage compiles, what its base image is made for, and whether its container works with that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.installs import compiled
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.images import image
from buildopt.dockerfile.passes.state import base_reference
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import parse_shell
from buildopt.source import Span

# Images that are made for compiling, and what with; the JDK of the others is there at run time too.
_MADE_FOR = {
    "golang": "go",
    "rust": "cargo",
    "maven": "mvn",
    "gradle": "gradle",
    "gcc": "make",
    "swift": "swift",
    "haskell": "stack",
    "mcr.microsoft.com/dotnet/sdk": "dotnet",
}
_TOOLS = re.compile(
    r"(?:go|cargo|rustc|rustup|mvnw?|gradlew?|make|cmake|gcc|g\+\+|javac|jshell|swift|stack|cabal|ghci?|bazel|air|just|task|"
    r"(?:ba|da|a|z|k)?sh|tail|sleep|true|tox|pytest|jest|watchexec|nodemon|dlv|jupyter|code-server|sshd)"
)


def base_tool(dockerfile: Dockerfile, stage: Stage) -> str | None:
    """The tool that a stage's base image is made for; None for any other image."""
    return _MADE_FOR.get(image(base_reference(dockerfile, stage)).repository)


def compilations(dockerfile: Dockerfile, stage: Stage) -> Iterator[tuple[Run, str, str, Span]]:
    """What a stage itself compiles: the RUN, the tool, the command to show and its place in the source."""
    for run in runs(dockerfile):
        if run.stage.index != stage.index or dockerfile.stage_of(run.instruction) is None:
            continue
        for command in run.script.commands:
            found = compiled(command)
            if found is not None:
                yield run, *found, run.span(command.span)


def starts_a_program(stage: Stage) -> bool:
    """Whether the container starts a program of its own: no shell, no compiler, no tests, no development server."""
    entries = [item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT") and not item.problems]
    if not entries:
        return False
    for entry in entries:
        if entry.exec_form:
            words = list(entry.values)
        else:
            commands = parse_shell(entry.arguments.text).commands
            words = [word.text or "" for word in commands[0].argv] if commands else []
        name = words[0].rsplit("/", 1)[-1] if words else ""
        options = " ".join(words[1:])
        if name == "dotnet" and words[1:2] and not words[1].endswith(".dll"):
            return False
        if name in ("sh", "bash") and any(word.endswith(".sh") for word in words[1:]):
            continue
        if _TOOLS.fullmatch(name) or re.search(r"\b(?:dev|develop|watch|test|tests|lint|reload)\b", options):
            return False
    return True

"""Whether packages of .NET in a cache mount are missed: by commands that do not restore, by programs that start."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.manager import Use, word_set
from buildopt.dockerfile.managers import DOTNET
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.passes.state import State, states

# Commands that leave the packages of a project alone. Tools for all projects have a folder of their own.
_APART = word_set("nuget sln clean workload dev-certs help sdk --info --version --list-sdks --list-runtimes --help") | {
    ""
}
_NOT_RESTORING = frozenset(("--no-restore", "--no-build"))


def dotnet(dockerfile: Dockerfile, stages: Sequence[Stage], runs: Sequence[Run], users: Sequence[Run]) -> None:
    """Raise No where a command or a program may need packages that only the mount would hold."""
    for run in runs:
        restored: list[tuple[str, ...]] = []
        for use in run.uses(DOTNET):
            _is_known(run, use)
            if use.subcommand not in DOTNET.uses:
                continue
            skips = next((text for text in use.command.texts if text in _NOT_RESTORING), None)
            if skips and not any(use.command.context[: len(context)] == context for context in restored):
                reason = f"`dotnet {use.subcommand} {skips}` needs what another RUN has restored: leave {skips} out"
                raise No(run.line, reason)
            if not skips:
                restored.append(use.command.context)
    known = states(dockerfile)
    outputs = _outputs(users, published=True)
    for stage in stages:
        for instruction in stage.instructions:
            if instruction.keyword in ("CMD", "ENTRYPOINT"):
                _starts_published(instruction, known[instruction.span.start], outputs)


def _is_known(run: Run, use: Use) -> None:
    words = [use.subcommand, *(word.text or "" for word in use.rest)]
    if use.subcommand in DOTNET.uses or use.subcommand in _APART:
        return
    apart = {"-g", "--global", "--tool-path"} & set(words)
    if use.subcommand == "tool" and (words[1:2] in (["install"], ["update"], ["list"])) and apart:
        return
    raise No(run.line, f"`dotnet {' '.join(words[:2]).strip()}` may need packages that would not be in the image")


def _outputs(runs: Sequence[Run], *, published: bool) -> set[str]:
    """The folders that ``dotnet publish`` writes."""
    found: set[str] = set()
    for run in runs:
        for use in run.needs(DOTNET):
            if use.subcommand != "publish" and published:
                continue
            texts = [word.text or word.raw for word in use.arguments]
            for index, text in enumerate(texts):
                name, _, value = text.partition("=")
                if name in ("-o", "--output"):
                    value = value or (texts[index + 1] if index + 1 < len(texts) else "")
                    found.add(posixpath.normpath(posixpath.join(run.state.workdir or "/", value)))
    return found


def _starts_published(instruction: Instruction, state: State, outputs: set[str]) -> None:
    words = list(instruction.values) if instruction.exec_form else instruction.arguments.text.split()
    paths = [posixpath.normpath(posixpath.join(state.workdir or "/", word)) for word in words if word[:1] != "-"]
    if any(posixpath.dirname(path) in outputs or "/publish/" in path for path in paths):
        return
    shown = " ".join(words)[:60]
    raise No(instruction.lines[0], f"`{shown}` is not known to be published, so it may need packages of the mount")

"""What a container starts, and whether it could miss a folder's content once a cache mount hides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from buildopt.dockerfile.caches.hidden_scope import Hidden, Scope
from buildopt.dockerfile.managers import DOTNET, GO, recognise
from buildopt.dockerfile.model import Instruction, Stage
from buildopt.dockerfile.passes.runs import SHELLS
from buildopt.dockerfile.shell import parse_shell


def starts(scope: Scope) -> Iterator[Hidden]:
    """CMD, ENTRYPOINT and HEALTHCHECK of the family's stages."""
    names = f"{scope.manager.programs}|npx" if scope.manager.name == "npm" else scope.manager.programs
    programs = re.compile(rf"(?<![\w.-])(?:{names})(?![\w.-])")
    yield from _starts_nothing(scope)
    for stage in scope.dockerfile.stages:
        if not scope.inside(stage):
            continue
        for instruction in stage.instructions:
            if instruction.keyword not in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
                continue
            text = " ".join(instruction.values)
            if _runs_manager(scope, text, programs):
                yield Hidden(instruction.lines[0], f"{instruction.keyword} runs {scope.manager.name} in the container")
            elif any(mark in text for mark in scope.marks):
                yield Hidden(instruction.lines[0], f"{instruction.keyword} reads {scope.shown}")
            else:
                yield from _started_scripts(scope, instruction, text, programs)


def _starts_nothing(scope: Scope) -> Iterator[Hidden]:
    """An image to work with: a person may run the manager in it, and need what it has fetched."""
    final = scope.dockerfile.final_stage
    if scope.manager.system or scope.manager is GO or not scope.strict or final is None or not scope.inside(final):
        return
    stage: Stage | None = final
    while stage is not None:
        if any(item.keyword in ("CMD", "ENTRYPOINT") for item in stage.instructions):
            return
        stage = scope.dockerfile.stages[stage.base_index] if stage.base_index is not None else None
    reason = f"the image starts no program of its own: a person may run {scope.manager.name} in it"
    yield Hidden(final.origin.lines[0], reason)


def _runs_npx(scope: Scope) -> bool:
    """Whether a RUN with the mount leaves in it what npx would start: what is installed it finds elsewhere."""
    for run in scope.runs:
        if run.instruction.span.start in scope.mounted:
            for command in run.commands:
                if command.name == "npx" or (command.name == "npm" and command.texts[:1] in (("exec",), ("x",))):
                    return True
    return False


def _runs_manager(scope: Scope, text: str, programs: re.Pattern[str]) -> bool:
    """Whether a container may run the manager so that it needs its cache: ``npm start`` and ``npm run`` do not."""
    manager = scope.manager
    if manager is DOTNET or programs.search(text) is None:
        return False  # what dotnet runs is looked at elsewhere
    if manager.name == "uv":
        return _runs_uv(scope, text)
    if not manager.starts:
        return True
    commands = [command for command in parse_shell(text).commands if command.name and programs.fullmatch(command.name)]
    if not commands:
        return manager.name != "npm"
    for command in commands:
        if command.name == "npx":
            if _runs_npx(scope):
                return True
            continue
        use = recognise(command)
        if use is None or (use.uses_cache and use.subcommand not in manager.starts):
            return True
        if use.subcommand not in manager.starts:
            # `yarn dev` runs a script of the project, `npm exec` fetches a program.
            return manager.name not in ("yarn", "pnpm") or use.subcommand in ("dlx", "create", "npx", "")
    return False


_UV_APART = frozenset(
    ("--with", "--script", "-s", "--isolated", "--with-editable", "--with-requirements", "--no-project")
)


def _runs_uv(scope: Scope, text: str) -> bool:
    """``uv run`` uses the project's own environment, where one was made; what else uv starts may be in the cache."""
    synced = any(use.subcommand == "sync" for run in scope.runs for use in run.uses(scope.manager))
    uses = [
        use for use in map(recognise, parse_shell(text).commands) if use is not None and use.manager is scope.manager
    ]
    if not synced or not uses:
        return True
    return any(use.subcommand != "run" or _UV_APART & set(use.command.texts) for use in uses)


def _started_scripts(scope: Scope, instruction: Instruction, text: str, programs: re.Pattern[str]) -> Iterator[Hidden]:
    """A script that is started may call the manager: it is looked up in the context."""
    for command in parse_shell(text).commands:
        raw = next(
            (word.text for word in command.argv if word.text and word.text.endswith((".sh", ".bash"))),
            command.argv[0].text if command.argv and command.name not in SHELLS else None,
        )
        if raw is None or ("/" not in raw and not raw.endswith((".sh", ".bash"))):
            continue
        body = _in_context(scope.context, raw)
        if body is None:
            if scope.strict and raw.endswith((".sh", ".bash")):
                yield Hidden(instruction.lines[0], f"{raw} is started in the container and may need {scope.shown}")
            continue
        if programs.search(body):
            yield Hidden(instruction.lines[0], f"{raw} runs {scope.manager.name} in the container")


def _in_context(context: Path | None, path: str) -> str | None:
    """The text of a file of that path's last parts in the context, None where there is no such text file."""
    if context is None:
        return None
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        candidate = context.joinpath(*parts[start:])
        try:
            if candidate.is_file() and candidate.stat().st_size < 1 << 20:
                data = candidate.read_bytes()
                return None if b"\0" in data[:1024] else data.decode("utf-8", "replace")
        except (OSError, ValueError):
            return None
    return None

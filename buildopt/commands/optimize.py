"""``buildopt optimize``: the structural rewrite."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt import errors
from buildopt.commands.common import Output, output_options
from buildopt.errors import UsageError
from buildopt.source import Source, unified_diff, write_atomic

if TYPE_CHECKING:
    from buildopt.dockerfile.optimize import Optimized
    from buildopt.dockerfile.passes.result import SecondFile
    from buildopt.prove.proof import Proof


@click.command(
    epilog="""\b
Examples:
  buildopt optimize                      what would change in ./Dockerfile, and why
  buildopt optimize -w api/Dockerfile    change it
  buildopt optimize --check              exit 1 where something would change
  buildopt optimize -o - - < Dockerfile  a filter: stdin to stdout
  buildopt optimize --prove              build it before and after, compare the images, time rebuilds
  buildopt optimize --prove --smoke '/app --version' -w
"""
)
@click.argument("dockerfile", default="Dockerfile", metavar="[DOCKERFILE]")
@click.option(
    "--context",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The build context (default: the file's folder; none for stdin).",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where something would change.")
@click.option(
    "-w", "--write", is_flag=True, help="Change the file (and others that are listed, such as .dockerignore)."
)
@click.option("-o", "output_path", metavar="FILE", help="Write the new file to FILE; - is stdout, and nothing else.")
@click.option("--only", multiple=True, metavar="PASS", help="Only this pass (several times).")
@click.option("--skip", multiple=True, metavar="PASS", help="Not this pass (several times).")
@click.option("--also", multiple=True, metavar="PASS", help="Also this pass that only runs when asked for.")
@click.option(
    "--prove",
    is_flag=True,
    help="Build before and after on the engine, compare both images, time rebuilds; write only what is proven.",
)
@click.option("--smoke", multiple=True, metavar="CMD", help="Must do the same in both images (several times).")
@click.option(
    "--smoke-timeout", type=click.FloatRange(min=0, min_open=True), default=60.0, metavar="SECONDS",
    show_default=True, help="How long a smoke command may take.",
)  # fmt: skip
@click.option("--smoke-network", is_flag=True, help="Smoke commands have a network (default: none).")
@click.option(
    "--platforms", "--platform", multiple=True, metavar="LIST", help="Prove these, such as amd64,arm64 (the engine's)."
)
@click.option("--target", metavar="STAGE", help="Prove this stage's image (default: the last one's).")
@click.option("--build-arg", "build_args", multiple=True, metavar="K=V", help="A build argument for both builds.")
@click.option("--secret", "secrets", multiple=True, metavar="id=…", help="A secret for both builds.")
@click.option("--build-context", "build_contexts", multiple=True, metavar="NAME=PATH", help="A named context.")
@click.option("--builder", metavar="NAME", help="The buildx builder to prove with.")
@output_options("text", "json", "markdown")
def optimize(
    dockerfile: str,
    context: Path | None,
    check: bool,
    write: bool,
    output_path: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    also: tuple[str, ...],
    prove: bool,
    smoke: tuple[str, ...],
    smoke_timeout: float,
    smoke_network: bool,
    platforms: tuple[str, ...],
    target: str | None,
    build_args: tuple[str, ...],
    secrets: tuple[str, ...],
    build_contexts: tuple[str, ...],
    builder: str | None,
    output: Output,
) -> int:
    """Rewrite a Dockerfile: cache mounts, a build stage and a runtime stage.

    Prints a diff and, for every change, why it is right; for all that was left alone, why. DOCKERFILE - is stdin.

    With --prove both files are built on the engine, with neither cached layers nor anything in a cache mount, and the
    images are compared: settings, and every file by path, type, mode, owner and content. What is not compared is
    listed. Where stages were split, the kept files must be as before and find their libraries. Exit 1 where the images
    are not equal, 3 where one of both does not build. Your context and your cache mounts are not touched. Smoke
    commands run through sh, where there is one, without a network.
    """
    from buildopt.dockerfile.optimize import optimize as run

    where = _Where(dockerfile, context, check, write, output_path)
    _check_options(where, output)
    proving = _Proving(
        smoke, smoke_timeout, smoke_network, platforms, target, build_args, secrets, build_contexts, builder
    )
    _check_proving(proving, prove, output)
    names = (_known(only), _known(skip), _known(also))
    source = _read(dockerfile)
    result = run(source, where.folder, *names)
    done = _Done(source, result)
    if prove and done.changed and not result.broken:
        proof = _prove(done, where, proving, output)
        done = _Done(source, result, proof)
    _print(done, where, prove, output)
    if result.broken or not done.proven:
        return errors.FINDINGS
    _write(done, where)
    return errors.FINDINGS if check and done.changed else errors.OK


@dataclass(frozen=True, slots=True)
class _Where:
    """What is read, and what may be written."""

    dockerfile: str
    context: Path | None
    check: bool
    write: bool
    output_path: str | None

    @property
    def folder(self) -> Path | None:
        """The build context."""
        if self.context is not None:
            return self.context
        return None if self.dockerfile == "-" else Path(self.dockerfile).parent


@dataclass(frozen=True, slots=True)
class _Proving:
    """How to prove."""

    smoke: tuple[str, ...]
    smoke_timeout: float
    smoke_network: bool
    platforms: tuple[str, ...]
    target: str | None
    build_args: tuple[str, ...]
    secrets: tuple[str, ...]
    build_contexts: tuple[str, ...]
    builder: str | None


@dataclass(frozen=True, slots=True)
class _Done:
    """A file as it was, what came of it, and whether that was proven (None: nobody asked, or nothing changed)."""

    source: Source
    result: Optimized
    proof: Proof | None = None

    @property
    def files(self) -> tuple[SecondFile, ...]:
        """Files beside it that would change."""
        return tuple(file for file in self.result.files if file.before != file.text)

    @property
    def changed(self) -> bool:
        """Whether anything would change."""
        return self.result.source.text != self.source.text or bool(self.files)

    @property
    def proven(self) -> bool:
        """Whether nothing speaks against writing it."""
        return self.proof is None or self.proof.equal


def _check_options(where: _Where, output: Output) -> None:
    if where.output_path == "-" and output.format != "text":
        raise UsageError(
            f"-o - and --format {output.format} both want stdout", hint="give -o a file, or leave --format out"
        )
    if where.write and where.output_path is not None:
        raise UsageError("-w and -o exclude each other", hint="-w changes the file itself, -o writes another one")
    if where.check and (where.write or where.output_path is not None):
        raise UsageError("--check changes nothing, -w and -o do", hint="leave one of them out")
    if where.write and where.dockerfile == "-":
        raise UsageError("stdin cannot be written to", hint="use -o -")
    if where.context is not None and not where.context.is_dir():
        raise UsageError(f"{where.context} is not a folder", hint="--context is the folder that is sent to the build")


def _check_proving(proving: _Proving, prove: bool, output: Output) -> None:
    if not prove:
        given = {
            "--smoke": proving.smoke,
            "--smoke-network": proving.smoke_network,
            "--target": proving.target,
            "--build-arg": proving.build_args,
            "--secret": proving.secrets,
            "--build-context": proving.build_contexts,
            "--builder": proving.builder,
        }
        for name, value in given.items():
            if value:
                raise UsageError(f"{name} is for the builds of --prove", hint="add --prove, or leave it out")
        if proving.platforms:
            from buildopt.build import plan

            plan.platforms(proving.platforms)
            output.message("--platforms says what --prove builds: without it, it changes nothing")
        return
    from buildopt.build import plan
    from buildopt.prove.smoke import check_commands

    check_commands(proving.smoke)
    for secret in proving.secrets:
        plan.check_secret(secret, Path.cwd())


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    from buildopt.dockerfile.optimize import PASSES
    from buildopt.settings import nearest

    known = [item.NAME for item in PASSES]
    found = []
    for name in names:
        if name.replace("-", "_") not in known:
            raise UsageError(f"no such pass: {name}", hint=nearest(name.replace("-", "_"), known))
        found.append(name.replace("-", "_"))
    return tuple(found)


def _read(dockerfile: str) -> Source:
    if dockerfile == "-":
        return Source.from_bytes("Dockerfile", sys.stdin.buffer.read())
    return Source.read(Path(dockerfile))


def _prove(done: _Done, where: _Where, proving: _Proving, output: Output) -> Proof:
    """Build both and compare them, telling on stderr how it goes."""
    from buildopt.build import plan
    from buildopt.commands.common import terminated
    from buildopt.engine import connection
    from buildopt.prove.builds import How
    from buildopt.prove.proving import Watch, needs_context, prove
    from buildopt.prove.smoke import SmokeOptions

    if where.folder is None and needs_context(done.source):
        raise UsageError(
            "the Dockerfile on stdin copies files, and there is no build context to take them from",
            hint="name it: --context DIR",
        )
    platforms = plan.platforms(proving.platforms)
    engine = connection.find(builder=proving.builder, environment=os.environ)
    if output.verbose:
        output.message(f"engine: {engine.description}")
    how = How(
        platforms, proving.target, proving.build_args, proving.secrets, (), proving.build_contexts
    )  # fmt: skip
    with terminated():
        return prove(
            done.source,
            done.result.source,
            where.folder,
            engine,
            how=how,
            # With -o nothing is written beside the Dockerfile, so that it must do without.
            files=() if where.output_path is not None else done.files,
            smoke=SmokeOptions(proving.smoke, proving.smoke_timeout, proving.smoke_network),
            watch=Watch(say=output.message),
        )


def _write(done: _Done, where: _Where) -> None:
    data = done.result.source.to_bytes()
    if where.write and done.changed:
        if done.result.source.text != done.source.text:
            write_atomic(Path(where.dockerfile), data)
        for file in done.files:
            write_atomic(file.path, file.text.encode("utf-8", "surrogateescape"))
    elif where.output_path not in (None, "-"):
        write_atomic(Path(where.output_path or ""), data)


def _print(done: _Done, where: _Where, prove: bool, output: Output) -> None:
    if output.json:
        output.result(_json(done, prove))
        return
    if output.format == "markdown":
        output.result(_markdown(done))
        return
    if where.output_path == "-":
        output.result((done.result.source if done.proven else done.source).text)
    elif not where.write and where.output_path is None:
        output.result(_diffs(done))
    _explain(done, where, output)
    if done.proof is not None:
        table = _table(done.proof, output, to_stderr=where.output_path == "-")
        if where.output_path == "-":
            output.message(table.rstrip("\n"))
        else:
            output.result(table)
    elif prove and not done.changed and not done.result.broken:
        output.message("nothing changes, so that there is nothing to prove and nothing was built")


def _diffs(done: _Done) -> str:
    """The changes of the Dockerfile, then those of the files beside it."""
    parts = [unified_diff(done.source, done.result.source)]
    for file in done.files:
        path = os.path.relpath(file.path)
        parts.append(unified_diff(Source(path, file.before or ""), Source(path, file.text)))
    return "".join(parts)


def _table(proof: Proof, output: Output, *, to_stderr: bool) -> str:
    import shutil

    from buildopt.report.prove import proof_text

    stream = sys.stderr if to_stderr else sys.stdout
    width = shutil.get_terminal_size((120, 24)).columns if stream.isatty() else 160
    return proof_text(proof, color=output.colored(stream), width=width)


def _json(done: _Done, prove: bool) -> str:
    result = done.result
    document: dict[str, object] = {
        "version": 1,
        "changed": done.changed,
        "applied": [
            {"pass": item.name, "title": item.title, "why": item.why, "lines": list(item.lines)}
            for item in result.changes
        ],
        "refused": [{"pass": item.name, "line": item.line, "reason": item.reason} for item in result.refusals],
        "files": [
            {"path": os.path.relpath(item.path), "why": item.why, "changed": item.before != item.text}
            for item in result.files
        ],
    }
    if prove:
        from buildopt.report.prove import proof_document

        document["proof"] = None if done.proof is None else proof_document(done.proof)
    return json.dumps(document, indent=2) + "\n"


def _markdown(done: _Done) -> str:
    from buildopt.report.optimize import rewrite_markdown

    return rewrite_markdown(done.result, _diffs(done), done.proof)


def _explain(done: _Done, where: _Where, output: Output) -> None:
    """Say on stderr what was done and what was not, each with its reason."""
    result = done.result
    color = output.colored(sys.stderr)
    for change in result.changes:
        first, last = change.lines
        place = f"line {first}" if first == last else f"lines {first}-{last}"
        output.message(f"{_styled('changed', 'green', color)} {place}: {change.title} ({change.name}): {change.why}")
    for file in done.files:
        word = "written" if where.write and done.proven else "would be written"
        output.message(f"{_styled(word, 'green', color)} {os.path.relpath(file.path)} ({file.name}): {file.why}")
    if done.files and where.output_path is not None:
        for line in _diffs(_Done(result.source, result)).splitlines():
            output.message(line)
    for refusal in result.refusals:
        word = "error" if result.broken else "left alone"
        output.message(f"{_styled(word, 'yellow', color)} line {refusal.line}: {refusal.reason} ({refusal.name})")
    if not result.changes and not result.refusals and not done.files:
        output.message("nothing to change")


def _styled(text: str, foreground: str, color: bool) -> str:
    return click.style(text, fg=foreground) if color else text

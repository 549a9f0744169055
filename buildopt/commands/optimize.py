"""``buildopt optimize``: the structural rewrite."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt import errors
from buildopt.commands.common import Output, output_options, terminated
from buildopt.commands.optimize_output import Done, Where, print_rewrite
from buildopt.errors import UsageError
from buildopt.source import MAX_BYTES, Source, write_atomic

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from buildopt.build.buildx import View
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

    where = Where(dockerfile, context, check, write, output_path)
    _check_options(where, output)
    proving = _Proving(
        smoke, smoke_timeout, smoke_network, platforms, target, build_args, secrets, build_contexts, builder
    )
    _check_proving(proving, prove, output)
    names = _chosen(only, skip, also)
    source = _read(dockerfile)
    result = run(source, where.folder, *names)
    done = Done(source, result)
    if prove and done.changed and not result.broken:
        proof = _prove(done, where, proving, output)
        done = Done(source, result, proof)
    print_rewrite(done, where, prove, output)
    if result.broken or not done.proven:
        return errors.FINDINGS
    _write(done, where)
    return errors.FINDINGS if check and done.changed else errors.OK


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


def _check_options(where: Where, output: Output) -> None:
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
    for named in proving.build_contexts:
        plan.check_build_context(named)


def _chosen(only: tuple[str, ...], skip: tuple[str, ...], also: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The names of passes. Raises UsageError where one is both asked for and not."""
    only, skip, also = _known(only), _known(skip), _known(also)
    for option, names in (("--only", only), ("--also", also)):
        for name in names:
            if name in skip:
                raise UsageError(f"--skip {name} and {option} {name} exclude each other", hint="leave one of them out")
    return only, skip, also


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
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint="write a Dockerfile to it, or name one")
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError("standard input is larger than 8 MiB", hint="this is hardly a Dockerfile")
        return Source.from_bytes("Dockerfile", data)
    path = Path(dockerfile)
    inside = path / "Dockerfile"
    if os.path.isfile(inside):
        raise UsageError(f"{path} is a folder, not a file", hint=f"name the file in it: buildopt optimize {inside}")
    return Source.read(path)


def _prove(done: Done, where: Where, proving: _Proving, output: Output) -> Proof:
    """Build both and compare them, telling on stderr how it goes."""
    from buildopt.build import plan
    from buildopt.engine import connection
    from buildopt.prove.builds import How, nobody
    from buildopt.prove.proving import Watch, needs_context, prove
    from buildopt.prove.smoke import SmokeOptions

    if where.folder is None and needs_context(done.source):
        raise UsageError(
            "the Dockerfile on stdin copies files, and there is no build context to take them from",
            hint="name it: --context DIR",
        )
    platforms = plan.platforms(proving.platforms)
    engine = connection.find(builder=proving.builder, environment=os.environ, making=output.message)
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
            watch=Watch(output.message, _steps if output.verbose else nobody),
        )


def _steps(shown: str) -> AbstractContextManager[View]:
    """A line for each step of a build, on stderr."""
    from buildopt.report.live import Plain

    return Plain(lambda line: click.echo(line, err=True), shown)


def _write(done: Done, where: Where) -> None:
    data = done.result.source.to_bytes()
    if where.write and done.changed:
        if done.result.source.text != done.source.text:
            write_atomic(Path(where.dockerfile), data)
        for file in done.files:
            write_atomic(file.path, file.text.encode("utf-8", "surrogateescape"))
    elif where.output_path not in (None, "-"):
        write_atomic(Path(where.output_path or ""), data)

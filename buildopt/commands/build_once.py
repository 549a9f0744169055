"""``buildopt build-once``: every platform in one build, into one OCI artifact."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands import build_once_view as views
from buildopt.commands.build_once_caches import advise, kept, told
from buildopt.commands.build_once_gates import plan_gates, ready
from buildopt.commands.build_once_optimize import optimized, tell
from buildopt.commands.common import Output, output_options, terminated
from buildopt.commands.gates import gate_options
from buildopt.errors import EngineError, UsageError

if TYPE_CHECKING:
    from buildopt.build.artifact import Published
    from buildopt.build.buildx import Built
    from buildopt.build.plan import BuildPlan
    from buildopt.engine.connection import Engine
    from buildopt.gates.plan import GateFlags, GatePlan
    from buildopt.prove.reproducible import PlatformComparison

EXAMPLES = """\b
Examples:
  buildopt build-once --platforms amd64,arm64
  buildopt build-once . --platforms amd64,arm64 -t app:1.0 -o app.tar
  buildopt build-once api -f api/Dockerfile --build-arg VERSION=1.2 --secret id=npm,src=$HOME/.npmrc
  buildopt build-once --dry-run
"""


@click.command("build-once", epilog=EXAMPLES)
@click.argument("context", required=False, metavar="[CONTEXT]")
@click.option(
    "--platforms", "--platform", multiple=True, metavar="LIST", help="Such as amd64,arm64 (the engine's own)."
)
@click.option("-f", "--file", "dockerfile", metavar="FILE", help="The Dockerfile (CONTEXT/Dockerfile).")
@click.option(
    "-o",
    "--output",
    "destination",
    metavar="PATH",
    help="A layout folder (.buildopt/image), a name ending in .tar, or - for a tar on stdout.",
)
@click.option("-t", "--tag", "names", multiple=True, metavar="NAME", help="Name the image inside the artifact.")
@click.option("--target", metavar="STAGE", help="Build this stage.")
@click.option("--build-arg", "build_args", multiple=True, metavar="K=V", help="A build argument.")
@click.option("--secret", "secrets", multiple=True, metavar="id=…", help="A secret, as buildx takes it.")
@click.option("--ssh", multiple=True, metavar="default|…", help="An SSH agent or key, as buildx takes it.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label.")
@click.option("--annotation", "annotations", multiple=True, metavar="K=V", help="An annotation.")
@click.option("--build-context", "build_contexts", multiple=True, metavar="NAME=PATH", help="A named context.")
@click.option(
    "--cache",
    "caches",
    multiple=True,
    metavar="KIND",
    help="gha, registry=REF, local=DIR or s3=bucket=…,region=…; then fields, such as ,mode=min (max).",
)
@click.option("--compression", metavar="gzip|zstd[:LEVEL]", help="How layers are compressed.")
@click.option("--no-cache", is_flag=True, help="Run every step anew.")
@click.option("--pull", is_flag=True, help="Look for newer base images.")
@click.option(
    "--provenance", type=click.Choice(("off", "min", "max")), default="min", show_default=True, help="Attest the build."
)
@click.option("--sbom", is_flag=True, help="Attest what is in the image (needs BuildKit's scanner image).")
@click.option(
    "--source-date-epoch",
    is_flag=False,
    flag_value="auto",
    metavar="[N|git|auto]",
    help="Times in the image: N seconds since 1970, git (the last commit's), auto ($SOURCE_DATE_EPOCH, else git).",
)
@click.option(
    "--check-reproducible", is_flag=True, help="Build a second time, without cache, and show what differs (exit 1)."
)
@click.option("--optimize", is_flag=True, help="Build the Dockerfile as buildopt optimize rewrites it; the file stays.")
@click.option("--builder", metavar="NAME", help="The buildx builder to use.")
@click.option(
    "--progress", type=click.Choice(("auto", "rich", "plain", "rawjson")), default="auto", help="How to show the build."
)
@click.option("--dry-run", is_flag=True, help="Print the buildx command, run nothing.")
@gate_options
@output_options("text", "json")
def build_once(
    context: str | None,
    platforms: tuple[str, ...],
    dockerfile: str | None,
    destination: str | None,
    names: tuple[str, ...],
    target: str | None,
    build_args: tuple[str, ...],
    secrets: tuple[str, ...],
    ssh: tuple[str, ...],
    labels: tuple[str, ...],
    annotations: tuple[str, ...],
    build_contexts: tuple[str, ...],
    caches: tuple[str, ...],
    compression: str | None,
    no_cache: bool,
    pull: bool,
    provenance: str,
    sbom: bool,
    source_date_epoch: str | None,
    check_reproducible: bool,
    optimize: bool,
    builder: str | None,
    progress: str,
    dry_run: bool,
    flags: GateFlags,
    output: Output,
) -> int:
    """Build every platform once, into one OCI artifact.

    One buildx build makes all --platforms and leaves one multi-platform image in .buildopt/image (or -o PATH), to be
    tested, scanned and pushed to any number of registries with its digest unchanged. The last good artifact stays
    valid until the new one is complete, whatever happens in between. Prints the digest.
    """
    from buildopt.build import plan as plans

    options = plans.Options(
        context=context,
        dockerfile=dockerfile,
        platforms=platforms,
        output=destination,
        names=names,
        target=target,
        build_args=build_args,
        secrets=secrets,
        ssh=ssh,
        labels=labels,
        annotations=annotations,
        build_contexts=build_contexts,
        caches=caches,
        compression=compression,
        no_cache=no_cache,
        pull=pull,
        provenance=provenance,
        sbom=sbom,
        builder=builder,
        optimize=optimize,
        source_date_epoch=source_date_epoch,
    )
    folder = Path.cwd()
    settings = output.settings(folder / context if context else folder)
    plan = plans.make(options, settings, folder, os.environ)
    advise(plan, settings)
    tell(plan, output)
    gates = plan_gates(flags, settings)
    if plan.because:
        output.message(f"platforms {', '.join(plan.platforms) or 'of the engine'}: {plan.because}")
    if dry_run:
        return _dry_run(plan, output)
    _check_stdout(plan, output)
    return _run(plan, progress, output, check_reproducible, gates)


def _check_stdout(plan: BuildPlan, output: Output) -> None:
    if plan.output.kind != "stdout":
        return
    if output.json:
        raise UsageError("-o - and --format json both want stdout", hint="write to a file: -o image.tar")
    if sys.stdout.isatty():
        raise UsageError("a tar does not belong on a terminal", hint="redirect it: -o - > image.tar")


def _dry_run(plan: BuildPlan, output: Output) -> int:
    from buildopt.build.nodes import parts_of

    parts: tuple[BuildPlan, ...] = (plan,)
    try:
        engine = _engine(plan)
        buildx: tuple[str, ...] = _buildx(engine)
        parts = parts_of(plan, engine.nodes)
    except EngineError:
        buildx = ("docker", "buildx", *(("--builder", plan.options.builder) if plan.options.builder else ()))
    if output.json:
        import json

        document = {
            "version": 1,
            "dry_run": True,
            "command": plan.preview(buildx),
            **({"nodes": [part.preview(buildx) for part in parts]} if len(parts) > 1 else {}),
            "context": str(plan.context),
            "dockerfile": str(plan.dockerfile),
            "platforms": list(plan.platforms),
            "artifact": str(plan.output.path),
            "hidden": list(plan.ignore.hidden),
            "optimized": optimized(plan),
        }
        output.result(json.dumps(document) + "\n")
        return 0
    output.result("".join(f"{part.printed(buildx)}\n" for part in parts))
    if plan.ignore.hidden:
        output.message(f"kept out of the context: {', '.join(plan.ignore.hidden)}")
    return 0


def _engine(plan: BuildPlan, making: Callable[[str], None] | None = None) -> Engine:
    from buildopt.engine import connection

    return connection.find(builder=plan.options.builder, environment=os.environ, making=making)


def _buildx(engine: Engine) -> tuple[str, ...]:
    return (*engine.buildx, *(("--builder", engine.builder) if engine.builder else ()))


def _run(plan: BuildPlan, progress: str, output: Output, twice: bool, gates: GatePlan | None) -> int:
    from buildopt.build import artifact, nodes, tarball
    from buildopt.commands import build_once_again as again
    from buildopt.commands.build_once_records import recorded

    began = time.monotonic()
    engine = _engine(plan, output.message)
    _warn_emulation(plan, engine)
    gating = ready(gates, engine, plan.output, output)
    if output.verbose:
        click.echo(f"engine: {engine.description}\n+ {plan.printed(_buildx(engine))}", err=True)
    with (
        terminated(),
        views.failing(plan),
        kept(plan),
        artifact.staged(plan.output) as staging,
        recorded(plan, engine, output) as record,
    ):
        with views.showing(plan, progress, output, staging.layout) as view:
            watched = record.watching(view)
            built = nodes.build(
                plan, _buildx(engine), staging, watched, environment=engine.environment, contents=engine.contents,
                nodes=engine.nodes,
            )  # fmt: skip
        published = artifact.publish(staging, built.digest, plan.options.names, gating.announce)
        record.done(published.image)
        gating.run(staging, published.image)
        if plan.output.kind == "tar":
            tarball.write_file(staging.live, published.image, plan.output.path)
        elif plan.output.kind == "stdout" and not gating.withheld:
            sys.stdout.flush()
            with artifact.writes(Path("stdout")):
                tarball.write(staging.live, published.image, sys.stdout.fileno())
        told(plan, built, published.image.size)
        seconds = time.monotonic() - began
        showing = views.showing(plan, progress, output, staging.layout)
        compared = again.build_again(plan, _buildx(engine), engine, staging, showing, output) if twice else ()
    written = record.id if record.written else None
    _report(_Result(plan, built, published, seconds, compared, written, gating.documents), output)
    return gating.end(again.show(compared, plan, output))


def _warn_emulation(plan: BuildPlan, engine: Engine) -> None:
    """Say before the build which platforms this engine cannot run: their RUN steps would fail."""
    able = set(engine.platforms)
    missing = [name for name in plan.platforms if able and name not in able and name.partition("/")[0] == "linux"]
    if missing:
        command = (
            "buildopt engine up" if engine.private else "docker run --privileged --rm tonistiigi/binfmt --install all"
        )
        click.echo(
            f"warning: the engine cannot run {', '.join(missing)}: RUN steps of {'it' if len(missing) == 1 else 'them'}"
            f" will fail (COPY and cross-compiling work); set emulation up with: {command}",
            err=True,
        )


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of a build, to be reported. ``seconds`` is the time of all of it."""

    plan: BuildPlan
    built: Built
    published: Published
    seconds: float
    compared: tuple[PlatformComparison, ...] = ()
    record: str | None = None
    gates: Sequence[dict[str, object]] = ()

    def platforms(self) -> list[tuple[str, str, int]]:
        """Name, digest and size in bytes (manifest, config and layers) of each platform."""
        unnamed = ",".join(self.plan.platforms)
        return [
            (str(entry.platform) if entry.platform else unnamed, str(entry.descriptor.digest), entry.size)
            for entry in self.published.image.platforms
        ]


def _summarize(result: _Result) -> None:
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        from buildopt.report.build_summary import Row, build_summary

        rows = [Row(*row) for row in result.platforms()]
        digest = str(result.published.image.digest)
        views.summarize(build_summary(digest, rows, result.built.steps, result.seconds))


def _report(result: _Result, output: Output) -> None:
    from buildopt.report.units import human

    plan, built, published = result.plan, result.built, result.published
    digest = str(published.image.digest)
    _summarize(result)
    if output.json:
        import json

        document = {
            "version": 1,
            "artifact": str(plan.output.path),
            "digest": digest,
            "platforms": [{"platform": name, "digest": one, "size": count} for name, one, count in result.platforms()],
            "seconds": round(result.seconds, 3),
            "steps": {"total": built.total, "cached": built.cached},
            "record": result.record,
            "optimized": optimized(plan),
            "gates": list(result.gates),
        }
        if result.compared:
            from buildopt.report import reproducible

            document["reproducible"] = reproducible.document(result.compared)
        output.result(json.dumps(document) + "\n")
        return
    share = f"{built.cached} of {built.total} steps cached"
    for name, one, count in result.platforms():
        output.message(f"  {name:14} {one[:19]}…  {human(count)}")
    target = "stdout" if plan.output.kind == "stdout" else os.path.relpath(plan.output.path)
    output.message(
        f"built {target} in {result.seconds:.1f} s, {share}, {published.new} new blobs, {published.kept} kept"
    )
    if plan.output.kind == "stdout":
        output.message(digest)
    else:
        output.result(f"{digest}\n")

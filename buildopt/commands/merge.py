"""``buildopt merge``: artifacts of single platforms become one."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output, output_options, terminated
from buildopt.errors import UsageError

if TYPE_CHECKING:
    from buildopt.build.artifact import Published
    from buildopt.build.merge import Merge
    from buildopt.build.output import Output as Target

EXAMPLES = """\b
Examples:
  buildopt merge amd64.tar arm64.tar -o image.tar
  buildopt merge artifacts/*/image -o .buildopt/image -t ghcr.io/acme/app:1.0
"""


@click.command(epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "destination",
    required=True,
    metavar="PATH",
    help="A layout folder, a name ending in .tar, or - for a tar on stdout.",
)
@click.option("-t", "--tag", "names", multiple=True, metavar="NAME", help="Name the merged image.")
@output_options()
def merge(paths: tuple[Path, ...], destination: str, names: tuple[str, ...], output: Output) -> None:
    """Merge artifacts of single platforms, built on different machines, into one image; no registry is needed.

    Each PATH is a layout folder or an OCI tar. Manifests, layers and attestations stay the bytes that they are, and the
    digest does not depend on the order of the PATHs. Every byte is checked first. What gates said of the parts goes
    with them: where one failed, push refuses the whole. Prints the digest.
    """
    from buildopt.build import artifact, merge
    from buildopt.build.output import parse_output
    from buildopt.oci.lock import reading
    from buildopt.oci.reference import Reference

    for name in names:
        if Reference.parse(name).digest is not None:
            raise UsageError(f"a name cannot carry a digest: {name}", hint="write NAME:TAG")
    target = parse_output(destination, Path.cwd())
    if target.kind == "stdout" and (output.json or sys.stdout.isatty()):
        raise UsageError("-o - writes a tar to stdout, and nothing else", hint="redirect it: -o - > image.tar")
    began = time.monotonic()
    with terminated(), ExitStack() as readers:
        for path in paths:  # builds that finish meanwhile leave the parts' blobs where they are
            readers.enter_context(reading(path))
        plan = merge.combine([merge.read(path) for path in paths], names)
        with artifact.staged(target) as staging:
            merge.write(plan, staging)
            readers.close()  # one of the parts may be what is written to
            published = artifact.publish(staging, str(plan.digest), plan.names, plan.gates, exact=True)
            merge.settle(plan, staging)
            _deliver(staging.live, published, target)
    shown = "stdout" if target.kind == "stdout" else os.path.relpath(target.path)
    _report(plan, published, output, shown, target.path, time.monotonic() - began)


def _deliver(layout: Path, published: Published, target: Target) -> None:
    from buildopt.build import artifact, tarball

    if target.kind == "tar":
        tarball.write_file(layout, published.image, target.path)
    elif target.kind == "stdout":
        sys.stdout.flush()
        with artifact.writes(Path("stdout")):
            tarball.write(layout, published.image, sys.stdout.fileno())


def _report(plan: Merge, published: Published, output: Output, shown: str, path: Path, seconds: float) -> None:
    from buildopt.report.units import human

    sizes = {str(entry.descriptor.digest): entry.size for entry in published.image.platforms}
    for note in plan.notes:
        output.message(f"note: {note}")
    if output.json:
        platforms = [
            {"platform": entry.shown, "digest": entry.digest, "size": sizes[entry.digest], "from": str(part.path)}
            for entry, part in plan.platforms
        ]
        document = {
            "version": 1,
            "artifact": str(path),
            "digest": str(plan.digest),
            "platforms": platforms,
            "attestations": len(plan.attestations),
            "gates": len(plan.gates),
            "notes": list(plan.notes),
            "seconds": round(seconds, 3),
        }
        output.result(json.dumps(document) + "\n")
        return
    for entry, part in plan.platforms:
        output.message(f"  {entry.shown:14} {entry.digest[:19]}…  {human(sizes[entry.digest])}  from {part.path}")
    output.message(f"merged {shown} in {seconds:.1f} s, {published.new} new blobs, {published.kept} kept")
    if shown == "stdout":
        output.message(str(plan.digest))
    else:
        output.result(f"{plan.digest}\n")

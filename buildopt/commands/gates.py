"""What build-once and test share: the options of gates, their lines as they come, and how they end."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildopt.commands.common import Output
from buildopt.errors import FINDINGS, OK

if TYPE_CHECKING:
    from buildopt.gates.plan import GatePlan
    from buildopt.oci.gate_record import GateResult


def gate_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of gates; the command gets them as one ``flags``."""

    @click.option("--test", "tests", multiple=True, metavar="CMD", help="A command to run inside the image.")
    @click.option(
        "--scan",
        "scans",
        multiple=True,
        metavar="CMD",
        help="An outside command on the artifact: {oci} {tar} {digest} {platform} are filled in.",
    )
    @click.option(
        "--gate",
        "gates",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="max-size=200MB, non-root, no-secrets, labels=A,B or attestations=provenance,sbom.",
    )
    @click.option(
        "--test-platforms", multiple=True, metavar="all|LIST", help="Where tests run (the engine's own platform)."
    )
    @click.option("--test-network", is_flag=True, help="Tests have a network.")
    @click.option("--test-timeout", metavar="TIME", help="How long a test may take (120s).")
    @click.option("--scan-timeout", metavar="TIME", help="How long a scan may take (30m).")
    @functools.wraps(function)
    def command(
        *args: Any,
        tests: tuple[str, ...],
        scans: tuple[str, ...],
        gates: tuple[str, ...],
        test_platforms: tuple[str, ...],
        test_network: bool,
        test_timeout: str | None,
        scan_timeout: str | None,
        **kwargs: Any,
    ) -> Any:
        from buildopt.gates.plan import GateFlags

        flags = GateFlags(tests, scans, gates, test_platforms, test_network, test_timeout, scan_timeout)
        return function(*args, flags=flags, **kwargs)

    return command


def say_start(output: Output) -> Callable[[GateResult], None]:
    """Who is told that a gate begins."""
    return lambda gate: output.message(f"gate {gate.label}") if output.verbose else None


def say_result(output: Output) -> Callable[[GateResult], None]:
    """Who is told what came of a gate: a line each, with the last lines of those that did not pass."""

    def say(gate: GateResult) -> None:
        seconds = f" in {gate.seconds:.1f} s" if gate.seconds is not None else ""
        reason = f": {gate.reason}" if gate.reason else ""
        output.message(f"gate {gate.result}: {gate.label}{seconds}{reason}")
        if gate.result != "passed" or output.verbose:
            for line in gate.output:
                output.message(f"    | {line}")  # a mark before it: GitHub would act on a line of :: commands

    return say


def exit_code(gates: Sequence[GateResult], where: str, output: Output) -> int:
    """1 where a gate did not pass, which is said with what to do next."""
    bad = [gate for gate in gates if gate.result in ("failed", "interrupted")]
    if not bad:
        return OK
    several = f"{len(bad)} of {len(gates)} gates" if len(bad) > 1 else f"the gate {bad[0].label}"
    click.echo(f"error: {several} failed: {bad[0].reason or bad[0].result}", err=True)
    click.echo(f"  hint: {where} is not pushed until it passes (or with buildopt push --allow-ungated)", err=True)
    return FINDINGS


def documents(gates: Sequence[GateResult]) -> list[dict[str, object]]:
    """Gates as JSON has them."""
    return [gate.document() for gate in gates]


def summarize(gates: Sequence[GateResult]) -> None:
    """Add the gates to the job's summary, under GitHub Actions."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not gates:
        return
    lines = ["| gate | result | |", "| --- | --- | --- |"]
    for gate in gates:
        cells = [cell.replace("|", "\\|").replace("`", "'") for cell in (gate.label, gate.reason)]
        lines.append(f"| `{cells[0]}` | {gate.result} | {cells[1]} |")
    try:
        with open(path, "a", encoding="utf-8") as summary:
            summary.write("\n".join(lines) + "\n\n")
    except OSError as error:
        click.echo(f"warning: no step summary: {path}: {error.strerror}", err=True)


def plan_of(flags: Any, output: Output, folder: Path, platform: str | None = None) -> GatePlan:
    """The gates of flags and of the configuration of ``folder``."""
    from buildopt.gates import plan

    return plan.make(flags, output.settings(folder), Path.cwd(), platform=platform)

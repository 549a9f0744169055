"""``buildopt test``: the gates of an artifact that was built before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands import gates as shared
from buildopt.commands.common import Output, output_options, terminated
from buildopt.errors import ArtifactError, BuildoptError, UsageError
from buildopt.oci import gate_record
from buildopt.oci.gate_record import GateRecord

if TYPE_CHECKING:
    from buildopt.gates.plan import GateFlags, GatePlan
    from buildopt.gates.recording import Record
    from buildopt.gates.run import Runner, Task
    from buildopt.oci.gate_record import GateResult
    from buildopt.oci.layout import ArtifactSource, Image

DEFAULT_ARTIFACT = ".buildopt/image"

EXAMPLES = """\b
Examples:
  buildopt test -- /app --version
  buildopt test --from-oci image.tar --scan 'trivy image --input {oci} --exit-code 1'
  buildopt test --gate non-root --gate max-size=200MB --gate no-secrets
  buildopt test --platform linux/arm64 --test '/app --version'
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--from-oci",
    "artifact",
    is_flag=False,
    flag_value=DEFAULT_ARTIFACT,
    default=DEFAULT_ARTIFACT,
    metavar="[PATH]",
    help=f"The layout folder or tar to test ({DEFAULT_ARTIFACT}).",
)
@click.option("--platform", metavar="P", help="Only this platform's image.")
@click.option("--anew", is_flag=True, help="Forget what is recorded of other gates.")
@click.argument("words", nargs=-1, metavar="[-- CMD...]")
@shared.gate_options
@output_options()
def test(
    artifact: str, platform: str | None, anew: bool, words: tuple[str, ...], flags: GateFlags, output: Output
) -> int:
    """Run gates on an artifact: those of buildopt.yaml and those named here. Exit code 1 where one fails.

    Commands run in the image of the engine's own platform, without a network, and without the image's ENTRYPOINT:
    through /bin/sh where the image has one. What came of them is recorded with the artifact: push refuses it while a
    gate is failed or interrupted. What is recorded of gates that do not run this time stays (unless --anew).
    """
    from dataclasses import replace

    path = Path(artifact)
    if words and _is_artifact(words[0]):
        raise UsageError(f"{words[0]} is an artifact, not a command", hint=f"buildopt test --from-oci {words[0]}")
    plan = shared.plan_of(replace(flags, words=words), output, Path(), platform)
    if plan.empty:
        raise UsageError(
            "there are no gates to run",
            hint="buildopt test -- CMD, --scan CMD, --gate NAME, or list them in buildopt.yaml as gates:",
        )
    from buildopt.gates import recording
    from buildopt.oci.layout import open_artifact, resolve
    from buildopt.oci.lock import reading

    image = resolve(open_artifact(path))
    layout = None if path.is_dir() else recording.kept_layout(path, image)
    with terminated(), recording.alone(path if path.is_dir() else layout), reading(path):
        source = open_artifact(path)
        image = resolve(source)
        gates, recorded = _run(plan, source, image, layout, output, anew)
    if output.json:
        document = {
            "version": 1,
            "artifact": str(path),
            "digest": str(image.digest),
            "verdict": GateRecord(str(image.digest), gates).verdict,
            "recorded": recorded,
            "gates": shared.documents(gates),
        }
        output.result(json.dumps(document) + "\n")
    shared.summarize(gates)
    code = shared.exit_code(gates, artifact, output)
    if code == 0 and not output.json:
        passed = sum(gate.result == "passed" for gate in gates)
        output.message(f"{passed} gate{'s' if passed != 1 else ''} passed")
        output.result(f"{image.digest}\n")
    return code


def _is_artifact(word: str) -> bool:
    path = Path(word)
    return (path / "index.json").is_file() or (word.endswith(".tar") and path.is_file())


def _run(
    plan: GatePlan, source: ArtifactSource, image: Image, layout: Path | None, output: Output, anew: bool
) -> tuple[tuple[GateResult, ...], bool]:
    """What came of the gates, and whether it was recorded."""
    from buildopt.gates import recording, run
    from buildopt.oci.layout import open_artifact

    runner = _runner(plan)
    tasks = run.tasks(plan, source, image, runner.native if runner is not None else "")
    kept = () if anew else _kept(source, image, tasks)
    record = recording.Record(source.path, str(image.digest), kept, layout)
    recorded = _record(record, tuple(task.gate for task in tasks))
    source = open_artifact(source.path)  # a tar was written anew for its record: its blobs lie elsewhere now
    where = run.Where(source, image, source.path if source.path.is_dir() else layout, None, dict(os.environ))
    running = run.Run(plan, tasks, where, runner, shared.say_start(output), shared.say_result(output))
    try:
        gates = running.all()
    except BuildoptError as error:
        if recorded:
            _record(record, run.failed(error, running.gates))
        raise
    except KeyboardInterrupt:
        if recorded:
            _record(record, running.gates)
        raise
    _warn(kept)
    return gates, recorded and _record(record, gates)


def _runner(plan: GatePlan) -> Runner | None:
    """The engine that runs tests; scans and built-in gates need none."""
    if not plan.tests:
        return None
    from buildopt.engine import connection
    from buildopt.gates import run

    return run.runner(connection.find(environment=os.environ))


def _kept(source: ArtifactSource, image: Image, tasks: tuple[Task, ...]) -> tuple[GateResult, ...]:
    """What is recorded of gates that do not run this time: a failure is not forgotten because another gate passes."""
    try:
        record = gate_record.of(source, image)
    except ArtifactError:
        return ()  # damaged: it is written anew
    again = {task.gate.key for task in tasks if task.gate.result != gate_record.SKIPPED}
    return tuple(gate for gate in record.gates if gate.key not in again) if record is not None else ()


def _warn(kept: tuple[GateResult, ...]) -> None:
    bad = [gate for gate in kept if gate.result in (gate_record.FAILED, gate_record.INTERRUPTED)]
    if bad:
        several = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        click.echo(
            f"warning: push still refuses it: {bad[0].label} {bad[0].result} before{several}"
            " (run that again too, or forget it with --anew)",
            err=True,
        )


def _record(record: Record, gates: tuple[GateResult, ...]) -> bool:
    """Whether the record could be written; if not, that is said, and the gates speak for themselves."""
    try:
        record.write(gates)
    except BuildoptError as error:
        click.echo(f"warning: the gates are not recorded, so push does not know of them: {error.message}", err=True)
        return False
    return True

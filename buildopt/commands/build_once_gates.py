"""The gates of ``buildopt build-once``: announced with the new image, run on it before it counts as built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildopt.commands import gates as shared
from buildopt.commands.common import Output

if TYPE_CHECKING:
    from buildopt.build.artifact import Staging
    from buildopt.build.output import Output as Destination
    from buildopt.engine.connection import Engine
    from buildopt.gates.plan import GateFlags, GatePlan
    from buildopt.gates.run import Runner, Task
    from buildopt.oci.gate_record import GateResult
    from buildopt.oci.layout import ArtifactSource, Image
    from buildopt.settings import Settings


@dataclass
class Gating:
    """The gates of one build. Without any it does nothing."""

    plan: GatePlan | None
    runner: Runner | None
    destination: Destination
    output: Output
    tasks: tuple[Task, ...] = ()
    gates: tuple[GateResult, ...] = ()

    def announce(self, source: ArtifactSource, image: Image) -> tuple[GateResult, ...]:
        """The gates that will run on the new image."""
        if self.plan is None:
            return ()
        from buildopt.gates import run

        self.tasks = run.tasks(self.plan, source, image, self.runner.native if self.runner is not None else "")
        return tuple(task.gate for task in self.tasks)

    def run(self, staging: Staging, image: Image) -> None:
        """Run them on the published image and record what came of them.

        However it ends, what is known is recorded: a gate that was interrupted refuses.
        """
        if self.plan is None or not self.tasks:
            return
        from buildopt.errors import BuildoptError
        from buildopt.gates import recording, run
        from buildopt.oci.layout import open_artifact

        record = recording.Record(staging.live, str(image.digest))
        where = run.Where(open_artifact(staging.live), image, staging.live, staging.folder, dict(os.environ))
        running = run.Run(
            self.plan, self.tasks, where, self.runner, shared.say_start(self.output), shared.say_result(self.output)
        )
        try:
            self.gates = running.all()
        except BuildoptError as error:
            record.write(run.failed(error, running.gates))
            raise
        except KeyboardInterrupt:
            record.write(running.gates)
            raise
        record.write(self.gates)

    def end(self, code: int) -> int:
        """The exit code of the build, after a word on gates that did not pass."""
        if self.plan is None:
            return code
        shared.summarize(self.gates)
        path = os.path.relpath(self.destination.path) if self.destination.kind != "stdout" else "the image"
        return shared.exit_code(self.gates, path, self.output) or code

    @property
    def documents(self) -> list[dict[str, object]]:
        """What came of them as JSON has it."""
        return shared.documents(self.gates)

    @property
    def withheld(self) -> bool:
        """Whether nothing goes to stdout: whoever reads a pipe sees no record before it has used the image."""
        bad = any(gate.result in ("failed", "interrupted") for gate in self.gates)
        if bad and self.destination.kind == "stdout":
            self.output.message("nothing was written to stdout, for a gate failed")
            return True
        return False


def plan_gates(flags: GateFlags, settings: Settings) -> GatePlan | None:
    """The gates of flags and configuration; None where there are none. Raises UsageError."""
    own = settings.gates
    if not (flags.tests or flags.scans or flags.gates) and own == type(own)():
        return None
    from buildopt.gates import plan

    made = plan.make(flags, settings, Path.cwd())
    return None if made.empty else made


def ready(plan: GatePlan | None, engine: Engine, destination: Destination, output: Output) -> Gating:
    """Gates ready to run: that the engine can run containers is found out before the build."""
    runner = None
    if plan is not None and plan.tests:
        from buildopt.gates import run

        runner = run.runner(engine)
    return Gating(plan, runner, destination, output)

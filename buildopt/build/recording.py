"""Leaves a record of a build, however it ends: its inputs are looked up in a thread while buildx runs.

Nothing of this delays buildx: what is needed to read the inputs is imported in that thread too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from buildopt.build.buildx import View, redactor
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Event, Step
from buildopt.errors import BuildoptError
from buildopt.history import store
from buildopt.history.records import PlatformImage
from buildopt.oci.layout import Image

if TYPE_CHECKING:
    from buildopt.build.facts import Facts

PATIENCE = 0.2
"""How many seconds a build that has ended waits for hashes; files that were not reached are hashed by the next one."""
LAST_PATIENCE = 0.3
"""How long it then waits for the thread to notice."""


@dataclass(slots=True)
class Recording:
    """A record in the making. ``written`` says afterwards whether there is one named ``id``, ``problem`` why not."""

    id: str
    began: float
    steps: dict[str, Step] = field(default_factory=dict)
    digest: str = ""
    images: tuple[PlatformImage, ...] = ()
    seconds: float = 0.0
    written: bool = False
    problem: str = ""
    _clock: float = field(default_factory=time.monotonic)

    def watching(self, view: View) -> View:
        """A view that shows what ``view`` does, and notes the steps."""
        return _Watching(view, self.steps)

    def done(self, image: Image) -> None:
        """The build went well and left this image."""
        self.digest = str(image.digest)
        self.images = tuple(
            PlatformImage(str(entry.platform or ""), str(entry.descriptor.digest), entry.size)
            for entry in image.platforms
        )
        self.ended()

    def ended(self) -> None:
        """Note how long it took, unless that is known."""
        self.seconds = self.seconds or time.monotonic() - self._clock


@dataclass(frozen=True, slots=True)
class _Watching:
    view: View
    steps: dict[str, Step]

    def line(self, line: str) -> None:
        self.view.line(line)

    def event(self, event: Event) -> None:
        if isinstance(event, Step):
            self.steps[event.id] = event
        self.view.event(event)


class _Look(threading.Thread):
    """Finds the facts out. ``facts`` is None until the Dockerfile is about to be read."""

    def __init__(self, begin: Callable[[Callable[[], bool]], Facts]) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.begin = begin
        self.facts: Facts | None = None
        self.problem = ""

    def run(self) -> None:
        from buildopt.build import facts

        try:
            self.facts = self.begin(self.stopped.is_set)
            facts.look(self.facts)
        except Exception as error:  # noqa: BLE001 - a record that cannot be made must not disturb the build
            self.problem = f"{type(error).__name__}: {error}"

    def end(self) -> None:
        """Give it a little time, then have it stop."""
        self.join(PATIENCE)
        self.stopped.set()
        self.join(LAST_PATIENCE)


@contextmanager
def recording(
    plan: BuildPlan, folder: Path, *, builder: str, native: str, environment: Mapping[str, str]
) -> Iterator[Recording]:
    """Record the build that runs in the block, in the working folder ``folder``, however it ends.

    ``builder`` names who builds, ``native`` is its own platform (empty: this machine's). What keeps a record from being
    written never fails a build: the recording's ``problem`` says it.
    """
    began = time.time()
    made = Recording(store.new_id(began), began)
    kept = store.Store.of(folder)

    def begin(stopped: Callable[[], bool]) -> Facts:
        from buildopt.build import facts

        return facts.begin(plan, kept, native, environment, stopped)

    looking = _Look(begin)
    looking.start()
    error = ""
    try:
        yield made
    except BuildoptError as problem:
        error = redactor(plan.secret_values(environment))(problem.message)
        raise
    except BaseException as problem:
        error = "interrupted" if isinstance(problem, KeyboardInterrupt) else type(problem).__name__
        raise
    finally:
        made.ended()
        looking.end()
        if made.digest or any(step.counts for step in made.steps.values()):
            _keep(made, looking, kept, builder, error)


def _keep(made: Recording, looking: _Look, kept: store.Store, builder: str, error: str) -> None:
    from buildopt.build import remembering

    facts = looking.facts
    if facts is None or looking.problem:
        made.problem = looking.problem or "there was no time to look at the inputs"
        return
    steps, ok = tuple(made.steps.values()), bool(made.digest)
    run = remembering.Run(
        made.id,
        kept.folder.parent.parent,
        builder,
        made.began,
        made.seconds,
        ok,
        made.digest,
        made.images,
        steps,
        error,
    )
    try:
        record = remembering.record(run, facts)
        wanted = {step.files for step in record.steps}
        kept.write(record, {name: data for name, data in dict(facts.trees).items() if name in wanted})
        if not looking.is_alive():
            facts.save(kept)
        made.written = True
    except OSError as problem:
        made.problem = f"{os.path.join(store.HOME, 'records')}: {problem.strerror or problem}"
    except Exception as problem:  # noqa: BLE001 - the image is built, and that is what counts
        made.problem = f"{type(problem).__name__}: {problem}"

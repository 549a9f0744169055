"""Copy one artifact to many registries, side by side, and say what came of each.

For every repository: it is asked what it holds, and is sent the blobs that it lacks (side by side, largest first), then
manifests (children before parents). Once every required destination has all of that, or failed, come the tags; each is
read back and compared. The bytes of manifests are those of the artifact. What fails at one destination never stops
another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from buildopt.oci.layout import absent_layers
from buildopt.registry import ecr
from buildopt.registry.claims import Claims
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.destination import Destination
from buildopt.registry.outcome import Event, Outcome, PushReport
from buildopt.registry.pace import Pace
from buildopt.registry.plan import BULK_JOBS, SMALL_JOBS, PushPlan, Target, check
from buildopt.registry.retry import Stopped
from buildopt.registry.transport import Transport, hang_up
from buildopt.registry.trust import Trust


def push(
    plan: PushPlan,
    keychain: Keychain,
    trust: Trust,
    on_event: Callable[[Event], None] = lambda event: None,
) -> PushReport:
    """Push to every target; ``on_event`` is called from several threads.

    Raises ArtifactError, before anything is sent, where a blob is missing or has another size than its descriptor
    says; UsageError where a target's own digest is another one. What a registry does wrong is in the report.
    """
    check(plan)
    run = Run(plan, Transport(trust), keychain, on_event)
    try:
        return run.all()
    finally:
        run.transport.close()


class Run:
    """One push while it runs: its connections, and who sends which blob to which registry."""

    def __init__(
        self, plan: PushPlan, transport: Transport, keychain: Keychain, on_event: Callable[[Event], None]
    ) -> None:
        self.plan = plan
        # Decided once: what goes away meanwhile is missing, not elsewhere.
        absent = {layer.digest for layer in absent_layers(plan.source, plan.image)}
        self.sendable = tuple(blob for blob in plan.image.blobs if blob.digest not in absent)
        self.transport = transport
        self.on_event = on_event
        self.stop = threading.Event()
        self.registries = {
            name: Registry(name, keychain, transport, ecr.issuer(name))
            for name in dict.fromkeys(target.reference.registry for target in plan.targets)
        }
        most = plan.jobs or BULK_JOBS + SMALL_JOBS
        self.paces = {name: Pace(most) for name in self.registries}
        firsts = [group[0].reference for group in plan.repositories]
        self.claims = Claims((reference.registry, reference.repository) for reference in firsts)
        self._filling = sum(1 for group in plan.repositories if any(not target.optional for target in group))
        self._filled = threading.Condition()

    def all(self) -> PushReport:
        groups = self.plan.repositories
        outcomes: dict[Target, Outcome] = {}
        pool = ThreadPoolExecutor(max(1, len(groups)), "destination")
        try:
            futures = [pool.submit(Destination(self, group).run) for group in groups]
            for future in futures:
                outcomes |= future.result()
        except BaseException:
            self.stop.set()  # Ctrl-C: workers end at their next block, and nobody waits for one that hears nothing
            with self._filled:
                self._filled.notify_all()
            hang_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        return PushReport(str(self.plan.image.digest), tuple(outcomes[target] for target in self.plan.targets))

    def filled(self, required: bool) -> None:
        """A destination has everything but its tags, or failed. Returns once that is so of all required ones.

        So nobody sees the new image at one registry while another may lack it for minutes.
        """
        with self._filled:
            if required:
                self._filling -= 1
                self._filled.notify_all()
            while self._filling:
                if self.stop.is_set():
                    raise Stopped
                self._filled.wait()

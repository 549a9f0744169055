"""What a push would do: registries are asked what they hold, and nothing is written.

Only GET and HEAD are sent (and what signing in takes). Whether a registry mounts blobs from a neighbour, most immutable
tags, and whether an account may write where its token does not tell, show only when something is pushed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from buildopt.errors import BuildoptError
from buildopt.oci.descriptor import Descriptor, Digest
from buildopt.registry import ecr
from buildopt.registry.client import Registry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import NO_IDENTITY, Answer, RegistryError, refused
from buildopt.registry.outcome import Again, Event, Outcome, Problem, PushReport
from buildopt.registry.plan import PushPlan, Target, check
from buildopt.registry.profiles import profile_of
from buildopt.registry.referrers import Referrer, extended, referrer
from buildopt.registry.retry import Stopped, attempt
from buildopt.registry.transport import Transport, hang_up
from buildopt.registry.trust import Trust

QUESTIONS = 16
"""Questions that one destination is asked at once, unless the plan says how many."""


@dataclass(frozen=True, slots=True)
class Part:
    """A blob or a manifest and what would become of it: ``how`` is sent, mounted (from ``source``) or present."""

    descriptor: Descriptor
    how: str
    source: str = ""
    """The repository that it would be mounted from."""


@dataclass(frozen=True, slots=True)
class Tag:
    """What would become of a tag (or a digest by which it is pushed): ``new``, ``moved``, ``right`` or ``unknown``."""

    state: str
    old: str = ""
    """The digest that a moved one has until then."""


@dataclass(frozen=True, slots=True)
class ReferrersTag:
    """What would become of the list of referrers under a tag, where the registry does not keep it by itself: ``new``,
    ``longer``, ``right``, ``not-a-list``, or ``unknown`` where nobody can ask yet.
    """

    tag: str
    state: str


@dataclass(frozen=True, slots=True)
class RepositoryPreview:
    """What one repository would get. ``exists`` is None where that is not known.

    ``created``: the push would make it first. ``absent`` are foreign layers that the artifact lacks: they stay where
    they are.
    """

    name: str
    blobs: tuple[Part, ...] = ()
    manifests: tuple[Part, ...] = ()
    exists: bool | None = None
    created: bool = False
    absent: tuple[Descriptor, ...] = ()
    referrers: tuple[ReferrersTag, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a push would do: ``report`` in the shape of its own report, with the bytes that would be sent.

    ``tags`` are in the order of the report's outcomes.
    """

    report: PushReport
    tags: tuple[Tag, ...]
    repositories: tuple[RepositoryPreview, ...]
    creations: tuple[PlannedCreation, ...] = ()


def preview(
    plan: PushPlan,
    keychain: Keychain,
    trust: Trust,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Preview:
    """Ask every destination, all at once; ``on_event`` is called from several threads.

    Raises ArtifactError and UsageError as a push does. What a registry refuses is in the report.
    """
    check(plan)
    creations = planned_creations(plan)
    transport = Transport(trust)
    stop = threading.Event()
    registries = {
        name: Registry(name, keychain, transport, ecr.issuer(name))
        for name in dict.fromkeys(target.reference.registry for target in plan.targets)
    }
    known = {entry.repository: entry for entry in creations}
    asked = [
        _Asked(plan, group, registries[group[0].reference.registry], known.get(group[0].reference.name), stop, on_event)
        for group in plan.repositories
    ]
    try:
        with ThreadPoolExecutor(max(1, len(asked)), "destination") as pool:
            futures = [pool.submit(entry.ask) for entry in asked]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                stop.set()  # Ctrl-C
                hang_up()
                raise
    finally:
        transport.close()
    return _whole(plan, asked, creations)


class _Asked:
    """One repository: what it holds of the image, and why it could not be pushed to."""

    def __init__(
        self,
        plan: PushPlan,
        targets: Sequence[Target],
        registry: Registry,
        creation: PlannedCreation | None,
        stop: threading.Event,
        on_event: Callable[[Event], None],
    ) -> None:
        self.targets = targets
        self.name = targets[0].reference.name
        self.repository = targets[0].reference.repository
        self.registry = registry
        self.creation = creation
        self.problem: Problem | None = None
        self.tag_problems: dict[Target, Problem] = {}
        self.tags: dict[Target, Tag] = {target: Tag("unknown") for target in targets}
        self.held: dict[Digest, bool] = {}
        self.referrers: list[ReferrersTag] = []
        self.exists: bool | None = creation.exists if creation is not None else None
        self.seconds = 0.0
        self._image = plan.image
        self._jobs = plan.jobs
        self._source = plan.source
        self._stop = stop
        self._failed = threading.Event()
        self._on_event = on_event

    def ask(self) -> None:
        """Ask for everything; what goes wrong is noted."""
        began = time.monotonic()
        try:
            self._attempt(self.registry.ping)
            self._ask_all()
        except RegistryError as error:
            self.problem = Problem(error.kind, error.message, error.hint)
        except Stopped:
            raise
        except BuildoptError as error:
            self.problem = Problem("configuration", error.message, error.hint)
        self.seconds = time.monotonic() - began

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that would be sent or found there, the largest first."""
        found = [blob for blob in self._image.blobs if self._source.has(blob.digest) or blob.data is not None]
        return tuple(sorted(found, key=lambda blob: -blob.size))

    @property
    def absent(self) -> tuple[Descriptor, ...]:
        """Foreign layers whose bytes are elsewhere."""
        there = {blob.digest for blob in self.blobs}
        return tuple(blob for blob in self._image.blobs if blob.digest not in there)

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests and indexes below the image's own."""
        found = [entry.descriptor for entry in self._image.manifests]
        found += [descriptor for descriptor, _ in self._image.indexes]
        return tuple(descriptor for descriptor in found if descriptor.digest != self._image.digest)

    def _ask_all(self) -> None:
        work: list[Callable[[], None]] = [_call(self._tag, target) for target in self.targets]
        if self.exists is not False:
            work += [_call(self._blob, blob) for blob in self.blobs]
            work += [_call(self._manifest, descriptor) for descriptor in self.children]
        with ThreadPoolExecutor(min(self._jobs or QUESTIONS, len(work)), "question") as pool:
            futures: list[Future[None]] = [pool.submit(self._unless_failed, one) for one in work]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error
        found = any(self.held.values()) or any(tag.state != "new" for tag in self.tags.values())
        if self.exists is None and found:
            self.exists = True
        elif self.exists is None:
            self._is_there()
        for target, tag in self.tags.items():
            if tag.state == "moved":
                self._may_move(target)
        if self.problem is None:
            self._may_write()
            self._attempt(self._ask_for_referrers)

    def _may_write(self) -> None:
        """Note a token that allows only to look, where there is something to be written."""
        right = all(tag.state == "right" for tag in self.tags.values())
        if (right and all(self.held.values())) or self.registry.may_push(self.repository) is not False:
            return
        error = refused(
            Answer(403, {}, b""), self.registry.name, f"a push to {self.repository}",
            repository=self.repository, signed_in=self.registry.signed_in,
        )  # fmt: skip
        self.problem = Problem(error.kind, error.message, error.hint)

    def _ask_for_referrers(self) -> None:
        """Which lists the push would keep itself."""
        documents = [(entry.descriptor, entry.manifest.data) for entry in self._image.manifests]
        documents += [(descriptor, index.data) for descriptor, index in self._image.indexes]
        lists: dict[str, list[Referrer]] = {}
        for found in (referrer(*document) for document in documents):
            if found is not None:
                lists.setdefault(found.tag, []).append(found)
        self.referrers = []
        for tag, wanted in lists.items():
            if self.registry.lists_referrers(self.repository, wanted[0].subject):
                return
            if self.exists is False:
                self.referrers.append(ReferrersTag(tag, "unknown"))
            else:
                held = self.registry.manifest(self.repository, tag)
                try:
                    state = "right" if extended(held, wanted) is None else "longer" if held is not None else "new"
                except RegistryError:
                    state = "not-a-list"
                self.referrers.append(ReferrersTag(tag, state))

    def _unless_failed(self, work: Callable[[], None]) -> None:
        if self._failed.is_set():
            return
        try:
            self._attempt(work)
        except BaseException:
            self._failed.set()  # the other answers are of no use without this one
            raise

    def _attempt(self, work: Callable[[], None]) -> None:
        def notice(error: RegistryError, seconds: float) -> None:
            self._on_event(Again(self.name, error.message, seconds))

        attempt(lambda number: work(), self._stop, notice)

    def _blob(self, blob: Descriptor) -> None:
        self.held[blob.digest] = self.registry.has_blob(self.repository, blob.digest, blob.size)

    def _manifest(self, descriptor: Descriptor) -> None:
        name = str(descriptor.digest)
        with self._perhaps():
            self.held[descriptor.digest] = self.registry.has_manifest(self.repository, name, descriptor.size)

    @contextmanager
    def _perhaps(self) -> Iterator[None]:
        """Who may push need not be allowed to read manifests; what is said of blobs tells if it may do anything."""
        try:
            yield
        except RegistryError as error:
            if error.kind != "permission" or not self.blobs:
                raise

    def _tag(self, target: Target) -> None:
        with self._perhaps():
            self._compare(target)

    def _compare(self, target: Target) -> None:
        name = target.reference.tag or str(self._image.digest)
        there = self.registry.manifest(self.repository, name)
        if there is None:
            self.tags[target] = Tag("new")
            return
        old = Digest.of(there[0], self._image.digest.algorithm)
        right = old == self._image.digest
        self.tags[target] = Tag("right" if right else "moved", "" if right else str(old))

    def _is_there(self) -> None:
        """Tell an empty repository from none, where that matters: at AWS a push does not make it."""
        self._attempt(self._know)
        profile = profile_of(self.registry.name)
        if self.exists is not False or not profile.service:
            return
        message = f"{self.repository} was not found at {self.registry.name}"
        if self.creation is not None:
            if self._has_identity():
                return  # it may be allowed to make what it is not allowed to look at
            message += f"; it could not be made: {self.creation.why}"
        self.problem = Problem("not-found", message, profile.hint("not-found", self.registry.name, self.repository))

    def _has_identity(self) -> bool:
        try:
            ecr.Api(self.registry.name).exists(self.repository)
        except RegistryError as error:
            return error.code != NO_IDENTITY
        return True

    def _know(self) -> None:
        self.exists = self.registry.knows(self.repository)

    def _may_move(self, target: Target) -> None:
        """Note a tag that AWS says cannot be moved; without an identity of AWS nobody knows."""
        if not ecr.belongs_to_aws(self.registry.name):
            return
        try:
            immutable = ecr.Api(self.registry.name).immutable(self.repository, target.reference.tag)
        except RegistryError:
            return
        if immutable:
            hint = profile_of(self.registry.name).hint("immutable", self.registry.name, self.repository)
            message = f"the tag cannot be overwritten at {self.registry.name}"
            self.tag_problems[target] = Problem("immutable", message, hint)


def _call(work: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: work(*arguments)


def _whole(plan: PushPlan, asked: Sequence[_Asked], creations: tuple[PlannedCreation, ...]) -> Preview:
    """The answers of all repositories together: what one of them lacks another one may hand on."""
    repositories = []
    outcomes: dict[Target, Outcome] = {}
    tags: dict[Target, Tag] = {}
    for number, entry in enumerate(asked):
        usable = [other for other in asked if other.registry is entry.registry and other.problem is None]
        earlier = [other for other in usable if other in asked[:number]]
        found = _repository(plan, entry, usable, earlier)
        repositories.append(found)
        outcomes |= _outcomes(plan, entry, found)
        tags |= entry.tags
    report = PushReport(str(plan.image.digest), tuple(outcomes[target] for target in plan.targets))
    return Preview(report, tuple(tags[target] for target in plan.targets), tuple(repositories), creations)


def _repository(
    plan: PushPlan, entry: _Asked, usable: Sequence[_Asked], earlier: Sequence[_Asked]
) -> RepositoryPreview:
    if entry.problem is not None:
        return RepositoryPreview(entry.name, exists=entry.exists)
    blobs = []
    for blob in entry.blobs:
        if entry.held.get(blob.digest):
            blobs.append(Part(blob, "present"))
            continue
        # Who has it hands it on; where nobody does, the first one gets it sent.
        source = next((other for other in usable if other.held.get(blob.digest)), None) or next(iter(earlier), None)
        blobs.append(Part(blob, "mounted", source.name) if source is not None else Part(blob, "sent"))
    manifests = [Part(child, "present" if entry.held.get(child.digest) else "sent") for child in entry.children]
    first = next((target for target in entry.targets if target not in entry.tag_problems), None)
    if first is not None:
        right = entry.tags[first].state == "right"
        manifests.append(Part(plan.image.descriptor, "present" if right else "sent"))
    created = entry.creation is not None and entry.exists is False
    return RepositoryPreview(
        entry.name, tuple(blobs), tuple(manifests), entry.exists, created, entry.absent, tuple(entry.referrers)
    )


def _outcomes(plan: PushPlan, entry: _Asked, found: RepositoryPreview) -> dict[Target, Outcome]:
    """Outcomes as a push counts them: what a repository gets belongs to its first tag, which the others find there."""
    sizes = dict.fromkeys(("sent", "mounted", "present"), 0)
    top = plan.image.digest
    for part in (*found.blobs, *(part for part in found.manifests if part.descriptor.digest != top)):
        sizes[part.how] += part.descriptor.size
    named = False
    outcomes = {}
    for target in entry.targets:
        problem = entry.problem or entry.tag_problems.get(target)
        if problem is None and not named:
            named = True
            sizes["present" if entry.tags[target].state == "right" else "sent"] += plan.image.descriptor.size
        outcomes[target] = Outcome(
            str(target.reference), str(top), target.optional, problem,
            sizes["sent"], sizes["mounted"], sizes["present"], entry.seconds,
        )  # fmt: skip
        sizes = {"sent": 0, "mounted": 0, "present": sum(sizes.values())}
    return outcomes


@dataclass(frozen=True, slots=True)
class PlannedCreation:
    """A repository that a push would make if it is missing; ``exists`` is None where that is not known, and ``why``."""

    repository: str
    how: str
    exists: bool | None
    why: str = ""


def planned_creations(plan: PushPlan) -> tuple[PlannedCreation, ...]:
    """What a push would make; AWS is asked what is there, and nothing is made."""
    found: dict[str, PlannedCreation] = {}
    for target in plan.targets:
        reference = target.reference
        if target.create is None or reference.name in found or not ecr.belongs_to_aws(reference.registry):
            continue
        how = ecr.described(reference.registry, target.create)
        try:
            exists = ecr.Api(reference.registry).exists(reference.repository)
            found[reference.name] = PlannedCreation(reference.name, how, exists)
        except RegistryError as error:
            found[reference.name] = PlannedCreation(reference.name, how, None, error.message)
    return tuple(found.values())

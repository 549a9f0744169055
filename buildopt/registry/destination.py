"""The push to one repository: ask what it holds, send what it lacks, name it, read the name back."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildopt.errors import ArtifactError, BuildoptError
from buildopt.oci.descriptor import Descriptor, Digest
from buildopt.registry import ecr
from buildopt.registry.body import BlobBody, verify
from buildopt.registry.failure import MISSING_PARTS, NO_IDENTITY, RegistryError
from buildopt.registry.lane import Lane
from buildopt.registry.outcome import Again, BlobDone, Done, Moved, Noted, Outcome, Problem, Started
from buildopt.registry.plan import BULK_AHEAD, BULK_JOBS, SMALL, SMALL_JOBS, Target
from buildopt.registry.referrers import Referrer, Referrers, referrer
from buildopt.registry.retry import Either, Result, Stopped, attempt

if TYPE_CHECKING:
    from buildopt.registry.push import Run


WAITED = 5.0
"""Seconds that a destination may wait for the others before it is asked again whether it still has everything."""
_REFUSALS = frozenset(("permission", "policy", "refused", "protocol"))
"""What may be said to a question alone."""
_UNREADABLE = _REFUSALS | {"server"}
"""What may be said of a tag that names something broken, which is to be replaced."""
LAG = 1.0
"""Seconds after which a tag is read a second time, where the first answer was another image."""


@dataclass(slots=True)
class _Tally:
    sent: int = 0
    mounted: int = 0
    present: int = 0

    def add(self, how: str, size: int) -> None:
        setattr(self, how, getattr(self, how) + size)


class Destination:
    """The push to one repository, under one or several tags."""

    def __init__(self, run: Run, targets: tuple[Target, ...]) -> None:
        self.run_ = run
        self.targets = targets
        self.name = targets[0].reference.name
        self.repository = targets[0].reference.repository
        self.registry = run.registries[targets[0].reference.registry]
        self.image = run.plan.image
        self.tally = _Tally()
        self.lock = threading.Lock()
        self.failed = threading.Event()
        self.over = Either(run.stop, self.failed)
        self.lane = Lane(run.plan.jobs or BULK_JOBS)
        self.held: set[Digest] = set()
        self.named: set[str] = set()
        self.counted = False
        self.mended = False
        self.mending = threading.Lock()
        self.referrers = Referrers(self.registry, self.repository)
        self.written: list[tuple[Descriptor, bytes]] = []

    def run(self) -> dict[Target, Outcome]:
        began = time.monotonic()
        outcomes: dict[Target, Outcome] = {}
        required = any(not target.optional for target in self.targets)
        try:
            problem = self._guarded(self._contents)
        finally:
            filled = time.monotonic()
            self.run_.claims.leave(self.registry.name, self.repository)
            self.run_.filled(required)
        if problem is None and time.monotonic() - filled >= WAITED:
            problem = self._guarded(self._recheck)
        problems = [problem] * len(self.targets) if problem is not None else self._names()
        self._settle()
        for target, failed in zip(self.targets, problems, strict=True):
            outcome = Outcome(
                str(target.reference),
                str(self.image.digest),
                target.optional,
                failed,
                self.tally.sent,
                self.tally.mounted,
                self.tally.present,
                time.monotonic() - began,
            )
            outcomes[target] = outcome
            self.run_.on_event(Done(outcome))
            if problem is None:  # a further tag of the same repository finds everything there
                everything = self.tally.sent + self.tally.mounted + self.tally.present
                self.tally = _Tally(present=everything)
        return outcomes

    def _names(self) -> list[Problem | None]:
        """Write all tags, and what came of each."""
        with ThreadPoolExecutor(self.run_.plan.jobs or SMALL_JOBS, "tag") as pool:
            futures = [pool.submit(self._guarded, functools.partial(self._name, target)) for target in self.targets]
        return [future.result() for future in futures]

    def _guarded(self, work: Callable[[], None]) -> Problem | None:
        try:
            work()
        except RegistryError as error:
            return Problem(error.kind, error.message, error.hint)
        except ArtifactError as error:
            return Problem("artifact", error.message, error.hint)
        except BuildoptError as error:
            return Problem("configuration", error.message, error.hint)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other destinations are not to suffer from it
            from buildopt import bugs

            return Problem("bug", *bugs.told(error))
        return None

    def _attempt(self, work: Callable[[int], Result]) -> Result:
        def notice(error: RegistryError, seconds: float) -> None:
            self.run_.on_event(Again(self.name, error.message, seconds))

        def paced(number: int) -> Result:
            with self.run_.paces[self.registry.name].turn(self.over):
                return work(number)

        return attempt(paced, self.over, notice)

    def _contents(self) -> None:
        """Everything but the tags."""
        self._connect()
        uncreated = self._create()
        try:
            self._fill()
        except RegistryError as error:
            if error.kind != "not-found" or uncreated is None:
                raise
            kind = "not-found" if uncreated.code == NO_IDENTITY else uncreated.kind
            message = f"{error.message}; it was not made: {uncreated.message}"
            raise RegistryError(kind, message, hint=uncreated.hint) from error
        self._manifests()

    def _create(self) -> RegistryError | None:
        """Make the repository where that is wanted. Why it could not be made, which matters only where it is missing:
        who may push to a repository need not be allowed to make one.
        """
        creation = next((target.create for target in self.targets if target.create is not None), None)
        if creation is None or not ecr.belongs_to_aws(self.registry.name):
            return None
        try:
            made = ecr.Api(self.registry.name).create(self.repository, creation)
        except RegistryError as error:
            self.run_.on_event(Noted(self.name, f"the repository was not made: {error.message}"))
            return error
        if made:
            words = ecr.described(self.registry.name, creation)
            self.run_.on_event(Noted(self.name, f"the repository was made ({words})"))
        return None

    def _connect(self) -> None:
        """Find out how the registry is reached. What will be asked side by side has its connections by then."""
        questions = len(self.image.blobs) + len(self.image.manifests) + len(self.targets)
        with ThreadPoolExecutor(SMALL_JOBS, "connect") as pool:
            for _ in range(min(SMALL_JOBS, self.run_.plan.jobs or SMALL_JOBS, questions) - 1):
                pool.submit(self.registry.prepare)
            self._attempt(lambda number: self.registry.ping())

    def _fill(self) -> None:
        """Ask what is there, and send the blobs that are not; large ones in a lane of their own, so that small ones and
        questions need not wait behind them."""
        blobs = sorted(self.run_.sendable, key=lambda blob: -blob.size)
        self.run_.on_event(Started(self.name, sum(blob.size for blob in blobs)))
        questions = [functools.partial(self._ask, descriptor) for descriptor, _ in self._documents()]
        questions += [functools.partial(self._ask_for_tag, self._tag(target)) for target in self.targets]
        sending = [functools.partial(self._blob, blob) for blob in blobs]
        large = 0 if self.run_.plan.jobs is not None else sum(blob.size > SMALL for blob in blobs)
        self._together([*questions, *sending[large:]], sending[:large])

    def _ask(self, document: Descriptor) -> None:
        def work(number: int) -> bool:
            return self._has_manifest(document)

        if self._perhaps(lambda: self._attempt(work)):
            self.held.add(document.digest)

    def _ask_for_tag(self, name: str) -> None:
        def work(number: int) -> bool:
            told = self.registry.digest_of(self.repository, name)
            return (self._known(name) == self.image.digest) if told == "" else told == str(self.image.digest)

        if self._perhaps(lambda: self._attempt(work), _UNREADABLE):
            self.named.add(name)

    def _perhaps(
        self, question: Callable[[], bool], refusals: Collection[str] = _REFUSALS, *, otherwise: bool = False
    ) -> bool:
        """The answer to a question that only saves work. Who may not ask, such as with Amazon's own policy for those
        who push, may write all the same; the write tells where not.
        """
        try:
            return question()
        except RegistryError as error:
            if error.kind not in refusals:
                raise
            return otherwise

    def _together(self, work: Sequence[Callable[[], None]], bulk: Sequence[Callable[[], None]] = ()) -> None:
        """Do all of it side by side. After the first failure nothing new begins, and that failure is raised."""
        most = self.run_.plan.jobs or SMALL_JOBS
        with ThreadPoolExecutor(most, "small") as small, ThreadPoolExecutor(BULK_JOBS + BULK_AHEAD, "bulk") as large:
            futures = [large.submit(self._unless_failed, one) for one in bulk]
            futures += [small.submit(self._unless_failed, one) for one in work]
        self.failed.clear()  # what comes next, such as the lists of referrers, did not fail
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def moved(self, blob: Descriptor, count: int) -> None:
        """Tell that bytes of a blob were read to be sent."""
        self.run_.on_event(Moved(self.name, count, blob.digest))

    def ended(self) -> bool:
        """Whether what is being sent is of no use any more."""
        return self.over.is_set()

    def _unless_failed(self, work: Callable[[], None]) -> None:
        try:
            if not self.failed.is_set():
                work()
        except BaseException:
            self.failed.set()  # the others end early: without this one they are of no use
            raise

    def _has(self, blob: Descriptor) -> bool:
        return self.registry.has_blob(self.repository, blob.digest, blob.size)

    def _has_manifest(self, document: Descriptor) -> bool:
        return self.registry.has_manifest(self.repository, str(document.digest), document.size)

    def _blob(self, blob: Descriptor) -> None:
        if self._perhaps(lambda: self._attempt(lambda number: self._has(blob))):
            self.run_.claims.holds(self.registry.name, self.repository, blob.digest)
            self._count(blob, "present")
            return
        claim, mine = self.run_.claims.wants(self.registry.name, self.repository, blob.digest, self.ended)
        if not mine:
            self._neighbour(blob, claim)
            return
        try:
            self._transfer(blob, "")
        except BaseException:
            claim.set_result("")  # the neighbours must send it themselves
            raise
        claim.set_result(self.repository)

    def _neighbour(self, blob: Descriptor, claim: Future[str]) -> None:
        """Another repository of this registry gets the blob at this moment: wait, then have it mounted from there."""
        while not claim.done():
            if self.ended():
                raise Stopped
            wait([claim], timeout=0.2)
        self._transfer(blob, claim.result())

    def _transfer(self, blob: Descriptor, neighbour: str) -> None:
        how = "sent"

        def work(number: int) -> None:
            nonlocal how
            # Asked again: the attempt before may have got through though its answer was lost.
            if number > 1 and self._perhaps(lambda: self._has(blob)):
                return
            if neighbour and self.registry.mount(self.repository, blob.digest, neighbour):
                how = "mounted"
            else:
                self._send(blob)

        self._attempt(work)
        self._count(blob, how)

    def _count(self, blob: Descriptor, how: str) -> None:
        with self.lock:
            self.tally.add(how, blob.size)
        self.run_.on_event(BlobDone(self.name, blob.digest, blob.size, how))

    def _send(self, blob: Descriptor) -> None:
        source = self.run_.plan.source
        if blob.data is not None and not source.has(blob.digest):
            self.registry.upload(self.repository, blob.digest, blob.size, blob.data)
            return
        lane = self.lane if blob.size > SMALL else None
        with source.blob(blob.digest) as opened, BlobBody(opened, blob, source.path, self, lane) as body:
            try:
                self.registry.upload(self.repository, blob.digest, blob.size, body, body.enter)
            except RegistryError as error:
                body.seek(0)
                if error.kind == "digest" or error.status == 400:
                    verify(source, blob.digest)
                    error.transient = error.kind == "digest"
                raise
            except BaseException:
                body.seek(0)
                raise

    def _documents(self) -> list[tuple[Descriptor, bytes]]:
        """All manifests and indexes but the one that gets the tags: children before parents, and what others speak
        about before those."""
        manifests = sorted(self.image.manifests, key=lambda entry: entry.manifest.subject is not None)
        found = [(entry.descriptor, entry.manifest.data) for entry in manifests]
        found += [(descriptor, index.data) for descriptor, index in self.image.indexes]
        return [(descriptor, data) for descriptor, data in found if descriptor.digest != self.image.digest]

    def _manifests(self) -> None:
        """Write those that are missing: what does not wait for another one side by side."""
        documents = {descriptor.digest: (descriptor, data) for descriptor, data in self._documents()}
        about = [entry.descriptor.digest for entry in self.image.manifests if entry.manifest.subject is not None]
        indexes = [descriptor.digest for descriptor, _ in self.image.indexes]
        first = [digest for digest in documents if digest not in about and digest not in indexes]
        for wave in (first, about, *([digest] for digest in indexes)):
            entries = [documents[digest] for digest in wave if digest in documents]
            self._together([functools.partial(self._manifest, *entry) for entry in entries])

    def _manifest(self, descriptor: Descriptor, data: bytes) -> None:
        def work(number: int) -> Mapping[str, str] | None:
            if number == 1 or not self._perhaps(lambda: self._has_manifest(descriptor)):
                return self._put(str(descriptor.digest), data, descriptor.media_type)
            return None

        held = descriptor.digest in self.held
        headers = None if held else self._attempt(work)
        with self.lock:
            self.written.append((descriptor, data))
            self.tally.add("present" if held else "sent", len(data))
        about = referrer(descriptor, data)
        if about is not None:
            self._noted(functools.partial(self._list, about, headers))

    def _list(self, about: Referrer, headers: Mapping[str, str] | None) -> None:
        """Keep the list of a subject's referrers where the registry does not."""
        self._attempt(lambda number: self.referrers.stored(about, headers))

    def _settle(self) -> None:
        if self.referrers.kept:
            self._noted(lambda: self._attempt(lambda number: self.referrers.settle()))

    def _noted(self, work: Callable[[], None]) -> None:
        """An image names its attestations itself: one that is not listed elsewhere too is told, and fails nothing."""
        try:
            work()
        except RegistryError as error:
            self.run_.on_event(Noted(self.name, f"{error.message}; {error.hint}"))

    def _put(self, reference: str, data: bytes, media_type: str) -> Mapping[str, str]:
        """Write a manifest. Where the registry lacks what it had said it holds, it gets that again, once."""
        mended = self.mended
        try:
            return self.registry.put_manifest(self.repository, reference, data, media_type)
        except RegistryError as error:
            if error.code in MISSING_PARTS:
                with self.mending:
                    if not self.mended:
                        self._mend()
                        self.mended = True
                    error.transient = not mended
            elif error.kind == "digest":  # two pushers of the same, at the same moment: the next attempt asks again
                error.transient = True
            raise

    def _mend(self) -> None:
        """Ask for everything again, and send what is not there."""
        for blob in self.run_.sendable:
            self._blob_again(blob)
        for descriptor, data in self.written:
            self._manifest_again(descriptor, data)

    def _recheck(self) -> None:
        """The same side by side, once all destinations have everything. What may not be asked for is there."""
        self._together([functools.partial(self._blob_again, blob, sent=True) for blob in self.run_.sendable])
        for descriptor, data in self.written:
            self._manifest_again(descriptor, data, sent=True)

    def _blob_again(self, blob: Descriptor, *, sent: bool = False) -> None:
        def work(number: int) -> None:
            if not self._perhaps(lambda: self._has(blob), otherwise=sent):
                self._send(blob)

        self._attempt(work)

    def _manifest_again(self, descriptor: Descriptor, data: bytes, *, sent: bool = False) -> None:
        def work(number: int) -> None:
            if not self._perhaps(lambda: self._has_manifest(descriptor), otherwise=sent):
                self.registry.put_manifest(self.repository, str(descriptor.digest), data, descriptor.media_type)

        self._attempt(work)

    def _name(self, target: Target) -> None:
        """Write the image's own manifest under a tag, and read it back."""
        name = self._tag(target)
        data, media_type = self.image.document.data, self.image.descriptor.media_type
        how = "present" if name in self.named else "sent"

        headers: Mapping[str, str] | None = None

        def work(number: int) -> None:
            nonlocal headers
            # Writing an immutable tag again is refused even where nothing would change.
            if number > 1 and self._known(name) == self.image.digest:
                return
            try:
                self._take_digest(data, media_type)
                headers = self._put(name, data, media_type)
            except RegistryError as error:
                if error.kind == "immutable" and self._known(name) == self.image.digest:
                    return  # somebody else was first, with the same
                raise
            actual = self._read_back(name, headers)
            if actual != self.image.digest and not self.over.wait(LAG):
                actual = self._read_back(name, headers)
            if actual != self.image.digest:
                # Where the registry did not name what it took, perhaps something in its place said that it was taken.
                taken = headers.get("docker-content-digest", "") == str(self.image.digest)
                raise RegistryError(
                    "digest",
                    f"{target.reference} is {actual or 'not there'} after the push, not {self.image.digest}",
                    hint="someone else may push the same tag; push again",
                    transient=actual is None or not taken,
                )

        if how == "present" and self._attempt(lambda number: self._known(name)) != self.image.digest:
            self.named.discard(name)  # somebody moved it since it was asked for
            how = "sent"
        if how == "sent":
            self._attempt(work)
        about = referrer(self.image.descriptor, data)
        if about is not None:  # an artifact that is to be found by what it is about: here the list is the point
            self._list(about, headers)
        with self.lock:
            if not self.counted:
                self.tally.add("present" if self.named else "sent", len(data))
                self.counted = True

    def _take_digest(self, data: bytes, media_type: str) -> None:
        """Raises RegistryError where the registry would take the image by a tag alone, under another digest."""
        if self.image.digest.algorithm == "sha256":
            return
        try:
            self._put(str(self.image.digest), data, media_type)
        except RegistryError as error:
            if error.kind not in ("digest", "refused"):
                raise
            words = f"{self.name}: the registry knows no {self.image.digest.algorithm} digests: {error.message}"
            raise RegistryError("refused", words, hint="make the artifact with sha256 digests") from error

    def _tag(self, target: Target) -> str:
        return target.reference.tag or str(self.image.digest)

    def _known(self, name: str) -> Digest | None:
        """The digest of what a tag names; None also where it may not be read (Harbor's policies, until a scan)."""
        try:
            return self._named(name)
        except RegistryError as error:
            if error.kind not in _REFUSALS:
                raise
            return None

    def _read_back(self, name: str, headers: Mapping[str, str]) -> Digest | None:
        """The digest of what a tag names now; where a policy lets nobody read it, that which it was taken as."""
        try:
            return self._named(name)
        except RegistryError as error:
            unseen = error.kind in ("policy", "permission")
            if not unseen or headers.get("docker-content-digest") != str(self.image.digest):
                raise
            self.run_.on_event(Noted(self.name, f"{name} was taken, and cannot be read back: {error.message}"))
            return self.image.digest

    def _named(self, name: str) -> Digest | None:
        """The digest of what a tag names, by its bytes; None where there is no such tag."""
        try:
            found = self.registry.manifest(self.repository, name)
        except RegistryError as error:
            # Docker Hub counts who reads a manifest as one who pulls, and not who asks for it.
            same = error.kind == "rate-limit" and self.registry.digest_of(self.repository, name)
            if same != str(self.image.digest):
                raise
            return self.image.digest
        return Digest.of(found[0], self.image.digest.algorithm) if found is not None else None

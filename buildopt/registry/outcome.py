"""What came of a push, and what is told while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from buildopt.errors import OK, ArtifactError, CredentialsError, PushError
from buildopt.oci.descriptor import Digest


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a destination failed; ``kind`` is that of RegistryError, ``artifact`` or ``configuration``."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one destination. Bytes of blobs and manifests: sent, mounted from a neighbour, or there already."""

    reference: str
    digest: str
    optional: bool
    problem: Problem | None = None
    bytes_sent: int = 0
    bytes_mounted: int = 0
    bytes_present: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the digest was read back from there."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class PushReport:
    """What came of a push, one outcome a reference in the order of the plan."""

    digest: str
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether every required destination holds the image."""
        return all(outcome.ok or outcome.optional for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0; 5 where the artifact is damaged; 6 where every required one refused the credentials; else 4."""
        failed = [outcome.problem for outcome in self.outcomes if outcome.problem is not None and not outcome.optional]
        if not failed:
            return OK
        if any(problem.kind == "artifact" for problem in failed):
            return ArtifactError.exit_code
        required = [outcome for outcome in self.outcomes if not outcome.optional]
        if len(failed) == len(required) and all(problem.kind == "credentials" for problem in failed):
            return CredentialsError.exit_code
        return PushError.exit_code


@dataclass(frozen=True, slots=True)
class Started:
    """A repository's blobs are about to be looked at: ``total`` bytes."""

    repository: str
    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """``count`` bytes of a blob left for a repository (less than zero: they are sent again)."""

    repository: str
    count: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class BlobDone:
    """A blob is there; ``how`` is sent, mounted or present."""

    repository: str
    digest: Digest
    size: int
    how: str


@dataclass(frozen=True, slots=True)
class Again:
    """Something failed and is tried again in ``seconds``."""

    repository: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that people should know of, and that is no failure."""

    repository: str
    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """A destination is finished, for better or worse."""

    outcome: Outcome


Event = Started | Moved | BlobDone | Again | Noted | Done

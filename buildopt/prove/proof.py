"""What a proof found, as data: differences, what was left out of the comparison and why, times and sizes."""

from __future__ import annotations

from dataclasses import dataclass, field


def ratio(before: float, after: float) -> float | None:
    """After divided by before, None where there is nothing to divide by."""
    return after / before if before > 0 else None


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting of the image that is not what it was; ``name`` as in a Dockerfile, such as ``ENV PATH``.

    ``before`` and ``after`` are shown to people, None where it is not set.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} is new: {self.after}"
        if self.after is None:
            return f"{self.name} is lost: {self.before}"
        return f"{self.name} was {self.before}, is {self.after}"


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file of the image that is not what it was.

    ``what`` is ``lost``, ``new``, or the aspects that differ, such as ``mode`` or ``owner, content``; ``detail`` says
    how.
    """

    path: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class MissingLibrary:
    """Something that a program of the new image needs to start and does not find, though it did in the old image."""

    path: str
    needs: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.path} needs {self.needs}, which is not found{f': {self.detail}' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class Excluded:
    """Something that was not compared, and why: so many files (or settings), the first of them as ``examples``."""

    name: str
    why: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Files of a folder that only the old image has, because a build stage keeps them; ``size`` in bytes."""

    folder: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """An image's size in bytes: its layers as they are stored and sent, and unpacked; how many layers and files."""

    compressed: int
    unpacked: int
    layers: int
    files: int


@dataclass(frozen=True, slots=True)
class ImageDiff:
    """Both images of one platform. ``split``: only the kept files had to be equal, for stages were split.

    ``kept`` is how many files were compared, ``programs`` how many ELF files looked for their libraries.
    """

    platform: str
    split: bool
    before: Sizes
    after: Sizes
    kept: int
    programs: int = 0
    settings: tuple[SettingDifference, ...] = ()
    files: tuple[FileDifference, ...] = ()
    libraries: tuple[MissingLibrary, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    left_behind: tuple[LeftBehind, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs but what was excluded."""
        return not (self.settings or self.files or self.libraries)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did in a container. ``status`` is None where it did not end in time."""

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Smoke:
    """One smoke command in both images of a platform.

    ``unstable``: what it writes differs between two runs in the old image too, so only its exit status was compared.
    """

    platform: str
    command: str
    before: Outcome
    after: Outcome
    unstable: bool = False

    @property
    def equal(self) -> bool:
        """Whether it ended, and did the same in both."""
        if self.before.status is None or self.before.status != self.after.status:
            return False
        return self.unstable or (self.before.stdout, self.before.stderr) == (self.after.stdout, self.after.stderr)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a build took before and after, in seconds; ``label`` says to people what was changed for it.

    ``reused`` are the steps that came from the cache, of so many in all. ``scenario`` is ``cold``, ``unchanged``,
    ``source``, ``dependency``, or a name that the caller gave.
    """

    scenario: str
    label: str
    before: float
    after: float
    before_steps: tuple[int, int] = (0, 0)
    after_steps: tuple[int, int] = (0, 0)

    @property
    def ratio(self) -> float | None:
        """After divided by before."""
        return ratio(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Proof:
    """All of it. ``notes`` are remarks for people, such as a time that could not be taken."""

    path: str
    images: tuple[ImageDiff, ...]
    smoke: tuple[Smoke, ...] = ()
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()
    again: bool = field(default=False)
    """Whether the original was built a second time, to see what differs between two builds of it."""

    @property
    def equal(self) -> bool:
        """The verdict."""
        return bool(self.images) and all(image.equal for image in self.images) and all(run.equal for run in self.smoke)

    @property
    def split(self) -> bool:
        """Whether stages were split."""
        return any(image.split for image in self.images)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not equal, one line each; empty where it is."""
        lines = []
        for image in self.images:
            on = f" ({image.platform})" if len(self.images) > 1 else ""
            lines += [f"{item}{on}" for item in (*image.settings, *image.files, *image.libraries)]
        for run in self.smoke:
            if not run.equal:
                on = f" ({run.platform})" if len(self.images) > 1 else ""
                lines.append(f"{_smoke_reason(run)}{on}")
        return tuple(lines)


def _smoke_reason(run: Smoke) -> str:
    for side, outcome in (("before", run.before), ("after", run.after)):
        if outcome.status is None:
            return f"smoke {run.command}: did not end in time ({side}): --smoke-timeout gives it longer"
    if run.before.status != run.after.status:
        return f"smoke {run.command}: exit status was {run.before.status}, is {run.after.status}"
    stream = "standard output" if run.before.stdout != run.after.stdout else "standard error"
    return f"smoke {run.command}: {stream} differs"

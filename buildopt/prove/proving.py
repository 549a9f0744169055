"""Two Dockerfiles, one context: both are built, and what came of them is compared and timed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildopt.dockerfile.passes.result import SecondFile
from buildopt.engine.connection import Engine
from buildopt.errors import ArtifactError, EngineError
from buildopt.prove import files as file_comparison
from buildopt.prove import scenarios as changes
from buildopt.prove import stages
from buildopt.prove.builds import Builder, Built, How, Views, nobody
from buildopt.prove.config import compare_settings
from buildopt.prove.exclusions import Ledger
from buildopt.prove.files import Differences, Expected
from buildopt.prove.image import Image, Reader
from buildopt.prove.libraries import missing_in
from buildopt.prove.proof import ImageDiff, Proof, Smoke, Timing
from buildopt.prove.scenarios import Scenario
from buildopt.prove.smoke import SmokeOptions, check_commands, run_smoke
from buildopt.prove.workspace import IGNORE, Side, Workspace, files_below, own_ignore, patterns, sides
from buildopt.source import Source

_NO_COMMAND = (126, 127)  # what shells and engines say where a program cannot be started


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how it goes: ``say`` a line a step, ``views`` are shown each build, by its Dockerfile."""

    say: Callable[[str], None] = lambda text: None
    views: Views = nobody


def prove(
    before: Source,
    after: Source,
    context: Path | None,
    engine: Engine,
    *,
    how: How | None = None,
    files: Sequence[SecondFile] = (),
    smoke: SmokeOptions | None = None,
    scenarios: Sequence[Scenario] | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
) -> Proof:
    """Build ``before`` and ``after`` on ``engine`` with one ``context`` (None: an empty one) and compare the images.

    ``files`` are other files that the rewrite changes; only the new side has them. ``scenarios`` are the rebuilds to
    time after the cold builds, both sides in turn; None chooses a source and a manifest of the context, ``()`` times
    nothing but the cold builds. Rebuilds are timed only where the images are equal. ``folder`` is where temporary
    files go. Nothing is written to the context; cache mounts are apart from the user's own and removed in the end.

    Raises ToolError where one of both does not build (its message says which), EngineError where the engine is the
    reason, UsageError for a scenario or smoke command that makes no sense.
    """
    how = how or How()
    _check_platforms(how.platforms, engine)
    smoke = smoke or SmokeOptions()
    watch = watch or Watch()
    check_commands(smoke.commands)
    with tempfile.TemporaryDirectory(prefix="buildopt-prove-", dir=folder) as work:
        pair = sides(before, after, files)
        builder = Builder(engine, Path(work), how, watch.views)
        old, new = (Workspace(Path(work), side, context) for side in pair)
        try:
            return _Proving(builder, (old, new), context, smoke, scenarios, watch).proof()
        finally:
            builder.forget(watch.say)


def _check_platforms(platforms: Sequence[str], engine: Engine) -> None:
    """Raise EngineError for a platform whose programs the engine cannot run."""
    foreign = [name for name in platforms if engine.platforms and name not in engine.platforms]
    if foreign:
        install = "docker run --privileged --rm tonistiigi/binfmt --install all"
        raise EngineError(
            f"the engine cannot run {', '.join(foreign)}",
            hint=f"set emulation up: {'buildopt engine up' if engine.private else install}",
        )


def needs_context(source: Source) -> bool:
    """Whether a Dockerfile copies anything from its build context."""
    return bool(stages.copied_sources(source))


@dataclass(frozen=True, slots=True)
class _Proving:
    """One proof at work."""

    builder: Builder
    workspaces: tuple[Workspace, Workspace]
    context: Path | None
    smoke: SmokeOptions
    scenarios: Sequence[Scenario] | None
    watch: Watch
    reader: Reader = field(default_factory=Reader)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.workspaces[0].side, self.workspaces[1].side

    def proof(self) -> Proof:
        old, new = self.workspaces
        self._fetch()
        cold = self._time(changes.COLD, "cold build", cold=True)
        pairs = self._pairs(old, new)
        diffs, again = self._compare(pairs)
        runs: tuple[Smoke, ...] = ()
        if self.smoke.commands:
            self.watch.say("running the smoke commands in both images")
            runs = run_smoke(self.builder.engine, pairs, self.smoke, self.builder.folder)
        proof = Proof(old.side.shown, tuple(diffs), runs, (cold,), _smoke_notes(runs), again)
        if not proof.equal:
            return replace(proof, notes=(*proof.notes, "rebuilds were not timed, for the images are not equal"))
        timings, notes = self._rebuilds()
        return replace(proof, timings=(cold, *timings), notes=(*proof.notes, *notes))

    def _fetch(self) -> None:
        """Have the base images here before anything is timed: both sides pay nothing for the network."""
        self.watch.say("fetching base images")
        for side in self.sides:
            text = stages.probe_text(side.source)
            if text is not None:
                self.builder.fetch(text, f"fetch-{side.name}")

    def _time(self, name: str, label: str, *, cold: bool = False) -> Timing:
        built: list[Built] = []
        for workspace in self.workspaces:
            side = "original" if workspace.side.name == "before" else "rewritten"
            self.watch.say(f"building the {side} one: {label}")
            built.append(self.builder.build(workspace, workspace.side.name, cold=cold))
        old, new = built
        return Timing(name, label, old.seconds, new.seconds, (old.cached, old.total), (new.cached, new.total))

    def _rebuilds(self) -> tuple[list[Timing], list[str]]:
        scenarios, notes = self.scenarios, list[str]()
        if scenarios is None:
            scenarios, notes = self._automatic()
        timings = []
        for scenario in scenarios:
            for workspace in self.workspaces:
                scenario.apply(workspace)
            try:
                timings.append(self._time(scenario.name, scenario.label))
            finally:
                for workspace in self.workspaces:
                    workspace.restore()
        return timings, notes

    def _automatic(self) -> tuple[Sequence[Scenario], list[str]]:
        if self.context is None:
            return [changes.UNCHANGED_SCENARIO], []
        workspace = self.workspaces[0]
        ignored = patterns(_ignore_text(workspace))
        names = list(files_below(workspace.context, ignored))
        return changes.automatic(names, stages.copied_sources(workspace.side.source), workspace.context)

    def _pairs(self, old: Workspace, new: Workspace) -> list[tuple[Image, Image]]:
        self.watch.say("comparing the images")
        layouts = self.builder.folder / "layouts"
        before, after = self.reader.images(layouts / old.side.name), self.reader.images(layouts / new.side.name)
        if before.keys() != after.keys():
            shown = f"{', '.join(before)} and {', '.join(after)}"
            raise ArtifactError(f"the images are not of the same platforms: {shown}", hint="name one with --platforms")
        return [(before[name], after[name]) for name in before]

    def _compare(self, pairs: Sequence[tuple[Image, Image]]) -> tuple[list[ImageDiff], bool]:
        sources, target = (self.sides[0].source, self.sides[1].source), self.builder.how.target
        leaves = stages.leaves_behind(*sources, target)
        split = leaves or stages.other_base(*sources, target)
        bases = [self._base(side) for side in self.sides] if split else [{}, {}]
        compared = []
        for before, after in pairs:
            for number, image in enumerate((before, after)):
                base = bases[number].get(image.platform)
                based = image.on(base) if base is not None else image
                if number == 0:
                    before = based
                else:
                    after = based
            compared.append(self._first(before, after, split, leaves))
        again = None
        if any(item.files for item in compared):
            self.watch.say("building the original one again: what differs between two builds of it says nothing")
            self.builder.build(self.workspaces[0], "again", cold=True, like="before")
            again = self.reader.images(self.builder.folder / "layouts" / "again")
        return [self._final(item, again) for item in compared], again is not None

    def _base(self, side: Side) -> dict[str, Image]:
        text = stages.base_text(side.source, self.builder.how.target)
        layout = self.builder.base(text, side.name) if text is not None else None
        return self.reader.images(layout) if layout is not None else {}

    def _first(self, before: Image, after: Image, split: bool, leaves: bool) -> _Comparison:
        ledger = Ledger()
        if split:
            kept = file_comparison.kept_paths(after)
            found = file_comparison.compare_kept(before, after, kept, ledger, leaves_behind=leaves)
        else:
            kept = frozenset(after.tree)
            found = file_comparison.compare_whole(before, after, ledger)
        expected = self._expected(found)
        found = file_comparison.without_intended(before, after, found, expected, ledger)
        return _Comparison(before, after, split, kept, found, ledger)

    def _final(self, item: _Comparison, again: dict[str, Image] | None) -> ImageDiff:
        before, after, found = item.before, item.after, item.files
        if again is not None and found:
            other = again.get(before.platform)
            if other is None:
                raise EngineError("the second build made another platform", hint="name it with --platforms")
            found = file_comparison.without_noise(before, other, found, item.ledger)
        settings, excluded = compare_settings(before, after)
        programs, libraries = missing_in(before, after, item.kept) if item.split else (0, [])
        times = tuple(file_comparison.times_only(before.tree, after.tree, sorted(item.kept)))
        for path in times:
            item.ledger.add("times of files", "a file has the time at which it was built", path)
        return ImageDiff(
            platform=before.platform,
            split=item.split,
            before=before.sizes,
            after=after.sizes,
            kept=sum(after.tree[path].kind == "file" for path in item.kept),
            programs=programs,
            settings=tuple(settings),
            files=file_comparison.described(before, after, found),
            libraries=tuple(libraries),
            excluded=(*excluded, *item.ledger.excluded()),
            left_behind=file_comparison.left_behind(before, after) if item.split else (),
        )

    def _expected(self, found: Differences) -> Expected:
        """What the rewrite means to change, as far as it matters."""
        new = self.workspaces[1]
        targets = stages.cache_targets(new.side.source)
        written = {
            os.path.relpath(path, new.origin): hashlib.sha256(data).hexdigest()
            for path, data in new.side.second.items()
            if new.origin is not None
        }
        if not written or not any(file_comparison.LOST in what for what in found.values()):
            return Expected(targets, {}, written)
        kept = set(files_below(new.context, patterns(_ignore_text(new))))
        sent = files_below(new.context, patterns(_ignore_text(self.workspaces[0])))
        left_out = {name: _digest(new.context / name) for name in sent if name not in kept}
        return Expected(targets, left_out, written)


def _smoke_notes(runs: Sequence[Smoke]) -> tuple[str, ...]:
    """A command that neither image has shows nothing, though it does the same in both."""
    return tuple(
        f"smoke {run.command}: exit status {run.after.status} in both images; is there such a command?"
        for run in runs
        if run.equal and run.after.status in _NO_COMMAND
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two images, and what differs before noise is looked for."""

    before: Image
    after: Image
    split: bool
    kept: frozenset[str]
    files: Differences
    ledger: Ledger


def _ignore_text(workspace: Workspace) -> bytes | None:
    for path in (own_ignore(workspace.dockerfile), workspace.context / IGNORE):
        if path.is_file():
            return path.read_bytes()
    return None


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    if path.is_file():
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    return state.hexdigest()

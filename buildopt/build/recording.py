"""Leaves a record of a build: what it was made from, looked up while buildx runs, and what became of it."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from buildopt import process
from buildopt.build import graph, ignore, inputs, variables
from buildopt.build.buildx import View, redactor
from buildopt.build.context_files import Context, Hashes, Selection, listing
from buildopt.build.inputs import MAIN, Inputs, Planned
from buildopt.build.plan import BuildPlan
from buildopt.build.progress import Event
from buildopt.build.progress import Step as Seen
from buildopt.dockerfile.context import read_patterns
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.errors import BuildoptError
from buildopt.history import store
from buildopt.history.records import DONE, FAILED, UNFINISHED, UNKNOWN, PlatformImage, Record, Step
from buildopt.oci.layout import Image
from buildopt.source import Source

PATIENCE = 0.2
"""How many seconds a build that has ended waits for hashes; files that were not reached are hashed by the next one."""
GIT_SECONDS = 5.0
_HASHES = "hashes"
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build that went well left."""

    digest: str
    images: tuple[PlatformImage, ...]


@dataclass(slots=True)
class Recording:
    """A record in the making. ``id`` is set where one was written, ``problem`` says why none was."""

    plan: BuildPlan
    id: str
    builder: str
    platforms: tuple[str, ...]
    seen: dict[str, Seen] = field(default_factory=dict)
    outcome: Outcome | None = None
    seconds: float = 0.0
    written: bool = False
    problem: str = ""
    _began: float = field(default_factory=time.monotonic)

    def watching(self, view: View) -> View:
        """A view that shows what ``view`` does, and notes the steps."""
        return _Watching(view, self.seen)

    def done(self, image: Image) -> None:
        """The build went well and left this image."""
        found = []
        for entry in image.platforms:
            blobs = {blob.digest: blob.size for blob in entry.manifest.blobs}
            name = str(entry.platform) if entry.platform else ",".join(self.platforms)
            found.append(PlatformImage(name, str(entry.descriptor.digest), entry.descriptor.size + sum(blobs.values())))
        self.outcome = Outcome(str(image.digest), tuple(found))
        self.seconds = time.monotonic() - self._began


@dataclass(frozen=True, slots=True)
class _Watching:
    view: View
    seen: dict[str, Seen]

    def line(self, line: str) -> None:
        self.view.line(line)

    def event(self, event: Event) -> None:
        if isinstance(event, Seen):
            self.seen[event.id] = event
        self.view.event(event)


@dataclass(slots=True)
class _Facts:
    """What is found out about the inputs while the build runs."""

    plan: BuildPlan
    settings: inputs.Settings
    platforms: tuple[str, ...]
    hashes: Hashes
    found: dict[str, Inputs] = field(default_factory=dict)
    trees: dict[str, bytes] = field(default_factory=dict)
    selected: dict[tuple[tuple[str, Selection], ...], str] = field(default_factory=dict)
    dockerfile: Dockerfile | None = None
    base: bytes = b""
    commit: str = ""
    dirty: bool = False


@contextmanager
def recording(
    plan: BuildPlan, folder: Path, *, builder: str, native: str, environment: Mapping[str, str]
) -> Iterator[Recording]:
    """Record the build that runs in the block, in the working folder ``folder``, however it ends.

    ``builder`` names who builds, ``native`` is its own platform (empty: this machine's). What keeps a record from being
    written never fails a build.
    """
    began = time.time()
    kept = store.Store.of(folder)
    platforms = plan.platforms or (native or variables.native_platform(),)
    made = Recording(plan, store.new_id(began), builder, platforms)
    stop = threading.Event()
    facts = _begin(plan, kept, native, environment, platforms)
    facts.hashes.stopped = stop.is_set
    thread = threading.Thread(target=_look, args=(facts,), daemon=True)
    thread.start()
    error = ""
    try:
        yield made
    except BuildoptError as problem:
        error = problem.message
        raise
    except BaseException as problem:
        error = "interrupted" if isinstance(problem, KeyboardInterrupt) else type(problem).__name__
        raise
    finally:
        thread.join(PATIENCE)
        stop.set()
        thread.join(1.0)
        redact = redactor(plan.secret_values(environment))
        if made.seen or made.outcome is not None:
            record = _record(made, facts, began, redact(error))
            _write(made, kept, record, facts, looked=not thread.is_alive())


def _begin(
    plan: BuildPlan, kept: store.Store, native: str, environment: Mapping[str, str], platforms: tuple[str, ...]
) -> _Facts:
    arguments = given_arguments(plan.options.build_args, environment)
    if plan.epoch is not None:
        arguments["SOURCE_DATE_EPOCH"] = str(plan.epoch)
    try:
        salt = kept.salt()
    except OSError:  # nowhere to write to: said at the end
        salt = os.urandom(32)
    redact = redactor(plan.secret_values(environment))
    outside = variables.Outside(arguments, salt, lambda text: _LOGIN.sub("***@", redact(text)))
    contexts = dict(_context(text) for text in plan.options.build_contexts)
    settings = inputs.Settings(outside, contexts, plan.options.add_hosts, native or variables.native_platform())
    return _Facts(plan, settings, platforms, Hashes.load(kept.folder / _HASHES))


def given_arguments(build_args: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The build arguments with their values; a bare name takes its value from ``environment``, if it is there."""
    found: dict[str, str] = {}
    epoch = environment.get("SOURCE_DATE_EPOCH")
    if epoch:
        found["SOURCE_DATE_EPOCH"] = epoch  # buildx passes it on by itself
    for argument in build_args:
        name, equals, value = argument.partition("=")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    return found


def _context(text: str) -> tuple[str, str]:
    """A named context: its name, and its folder or (for anything else) what tells its state."""
    name, _, place = text.partition("=")
    if place.startswith("oci-layout://"):
        folder = Path(place.removeprefix("oci-layout://").partition("@")[0])
        for path in (folder, Path(str(folder).rpartition(":")[0] or ".")):
            with suppress(OSError):
                index = hashlib.sha256((path / "index.json").read_bytes()).hexdigest()[:16]
                return name.lower(), f"{place} {index}"
    return name.lower(), os.path.abspath(place) if os.path.isdir(place) else _LOGIN.sub("***@", place)


def _look(facts: _Facts) -> None:
    """Find out what the build is made from. Whatever cannot be found out stays unknown."""
    plan = facts.plan
    with suppress(OSError, BuildoptError, RecursionError, ValueError):
        facts.base = plan.ignore.base if plan.ignore.hidden else ignore.in_force(plan.context, plan.dockerfile)
        facts.dockerfile = parse(Source.read(plan.dockerfile))
        if facts.dockerfile.errors:
            return
        for platform in facts.platforms:
            facts.found[platform] = inputs.inputs(facts.dockerfile, facts.settings, platform)
        _look_at_files(facts)
    with suppress(OSError, BuildoptError):
        _look_at_git(facts)


def _look_at_files(facts: _Facts) -> None:
    data = facts.plan.ignore.data if facts.plan.ignore.hidden else facts.base
    patterns = read_patterns(data.decode("utf-8-sig", "surrogateescape")) or ()
    roots = {MAIN: Context(os.path.realpath(facts.plan.context), patterns)}
    for name, place in facts.settings.contexts.items():
        if os.path.isdir(place):
            with suppress(OSError):
                own = Path(place, ".dockerignore")
                text = own.read_text(encoding="utf-8-sig", errors="surrogateescape") if own.is_file() else ""
                roots[name] = Context(os.path.realpath(place), read_patterns(text) or ())
    for found in facts.found.values():
        for planned in found.steps:
            if not planned.reads or planned.reads in facts.selected:
                continue
            pieces = []
            for name, selection in planned.reads:
                root = roots.get(name)
                if root is not None:
                    piece = listing(facts.hashes, root.root, root.select(selection))
                    pieces.append(piece.replace(b"\0", b"\0" + name.encode() + b":") if name and piece else piece)
            data = b"\n\0".join(piece for piece in pieces if piece)
            facts.selected[planned.reads] = store.tree_name(data)
            facts.trees[store.tree_name(data)] = data


def _look_at_git(facts: _Facts) -> None:
    git = ["git", "--no-optional-locks", "-C", str(facts.plan.context)]
    done = process.run([*git, "status", "--porcelain=v2", "--branch", "-uno"], check=False, timeout=GIT_SECONDS)
    if done.returncode == 0:
        lines = done.text.splitlines()
        commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
        facts.commit = commits[0] if commits and commits[0] != "(initial)" else ""
        facts.dirty = any(not line.startswith("#") for line in lines)


def _record(made: Recording, facts: _Facts, began: float, error: str) -> Record:
    plan, ok = made.plan, made.outcome is not None
    outside, text, syntax = facts.settings.outside, "", ""
    if facts.dockerfile is not None:
        text = outside.redact(inputs.masked_text(facts.dockerfile))
        directive = facts.dockerfile.directive("syntax")
        syntax = directive.value if directive is not None else ""
    return Record(
        id=made.id,
        started=datetime.fromtimestamp(began, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(made.seconds or time.monotonic() - made._began, 3),
        ok=ok,
        context=str(plan.context),
        dockerfile=str(plan.dockerfile),
        builder=made.builder,
        platforms=made.platforms,
        target=plan.options.target or "",
        digest=made.outcome.digest if made.outcome else "",
        images=made.outcome.images if made.outcome else (),
        steps=_steps(made, facts, ok),
        arguments=outside.told_arguments(),
        bases=graph.base_digests(list(made.seen.values())),
        no_cache=plan.options.no_cache,
        pull=plan.options.pull,
        ignore=hashlib.sha256(facts.base).hexdigest()[:16] if facts.base else "",
        text=text,
        syntax=syntax,
        commit=facts.commit,
        dirty=facts.dirty,
        error=error,
    )


def _steps(made: Recording, facts: _Facts, ok: bool) -> tuple[Step, ...]:
    steps: list[Step] = []
    for node in graph.nodes(list(made.seen.values()), made.platforms):
        step = _described(node, facts)
        parts = {**step.parts, **({"base": " ".join(node.bases)} if node.bases else {})}
        step = replace(_ended(step, node.step, ok), needs=node.needs, platforms=node.platforms, parts=parts)
        unknown = made.id if step.files == UNKNOWN else ""
        steps.append(replace(step, key=_key(step, [steps[need].key for need in node.needs], unknown)))
    return tuple(steps)


def _ended(step: Step, seen: Seen, ok: bool) -> Step:
    """The step with whether it was cached, how it ended, and how long it took. In a build that failed, a step that
    never began was not reached; in any other one it was not needed, which is as good as cached."""
    begun = seen.started is not None or seen.completed is not None
    cached = seen.cached or (ok and not begun)
    state = FAILED if seen.failed else UNFINISHED if seen.error or not (cached or seen.completed) else DONE
    return replace(step, cached=cached, state=state, seconds=0.0 if cached else round(seen.seconds, 3))


def _described(node: graph.Node, facts: _Facts) -> Step:
    """The step as the Dockerfile describes it; as BuildKit calls it where it is not found there."""
    seen = node.step
    found = facts.found.get(node.platforms[0] if node.platforms else facts.platforms[0])
    planned = _planned(seen, found) if found is not None else None
    if planned is None:
        return Step(seen.stage, seen.number, seen.text, parts={"instruction": seen.text}, matched=False)
    files = facts.selected.get(planned.reads, UNKNOWN) if planned.reads else ""
    return Step(
        stage=seen.stage,
        number=seen.number,
        text=planned.text,
        line=planned.line,
        parts=planned.parts,
        files=files,
        variables=planned.variables,
    )


def _planned(seen: Seen, found: Inputs) -> Planned | None:
    # ONBUILD instructions of the base image come before those of the stage.
    number = seen.number - max(0, seen.total - found.totals.get(seen.stage, seen.total))
    keyword = seen.text.partition(" ")[0].upper()
    for planned in found.steps:
        if planned.stage == seen.stage and planned.number == number and planned.keyword == keyword:
            return planned
    return None


def _key(step: Step, needs: Sequence[str], unknown: str) -> str:
    seen = {entry.name: entry.value for entry in step.variables} if step.text[:3].upper() == "RUN" else {}
    document = json.dumps(
        [sorted(step.parts.items()), sorted(seen.items()), step.files + unknown, step.platforms[:1], needs]
    )
    return hashlib.sha256(document.encode()).hexdigest()[:32]


def _write(made: Recording, kept: store.Store, record: Record, facts: _Facts, *, looked: bool) -> None:
    wanted = {step.files for step in record.steps}
    try:
        kept.write(record, {name: data for name, data in dict(facts.trees).items() if name in wanted})
        if looked:
            facts.hashes.save(kept.folder / _HASHES)
        made.written = True
    except OSError as error:
        made.problem = f"{posixpath.join(store.HOME, 'records')}: {error.strerror or error}"

"""What a build is made from, found out while buildx runs: instructions, files, commit."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from buildopt import process
from buildopt.build import ignore, inputs, variables
from buildopt.build.buildx import redactor
from buildopt.build.context_files import Context, Hashes, Selection, listing
from buildopt.build.inputs import MAIN, Inputs
from buildopt.build.plan import BuildPlan
from buildopt.dockerfile.context import read_patterns
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.errors import BuildoptError
from buildopt.history import store
from buildopt.source import Source

GIT_SECONDS = 5.0
_HASHES = "hashes"
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(slots=True)
class Facts:
    """What is known of the inputs so far. ``found`` has the steps for each platform, ``selected`` the names of the
    listings of what they read, ``trees`` these listings; ``base`` is the ignore file in force."""

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

    def save(self, kept: store.Store) -> None:
        """Leave the hashes of files to the next build. Raises OSError."""
        self.hashes.save(kept.folder / _HASHES)


def begin(
    plan: BuildPlan,
    kept: store.Store,
    native: str,
    environment: Mapping[str, str],
    stopped: Callable[[], bool],
) -> Facts:
    """What is known before anything was looked at. ``native`` is the builder's own platform (empty: this machine's),
    ``stopped`` tells when there is no time left to hash files."""
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
    native = native or variables.native_platform()
    settings = inputs.Settings(outside, contexts, plan.options.add_hosts, native)
    hashes = Hashes.load(kept.folder / _HASHES)
    hashes.stopped = stopped
    return Facts(plan, settings, plan.platforms or (native,), hashes)


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


def look(facts: Facts) -> None:
    """Find out what the build is made from. Whatever cannot be found out stays unknown."""
    plan = facts.plan
    with suppress(OSError, BuildoptError, RecursionError, ValueError):
        facts.base = plan.ignore.base if plan.copied else ignore.in_force(plan.context, plan.dockerfile)
        facts.dockerfile = parse(Source.from_bytes(str(plan.dockerfile), plan.text()))
        if facts.dockerfile.errors:
            return
        for platform in facts.platforms:
            facts.found[platform] = inputs.inputs(facts.dockerfile, facts.settings, platform)
        _look_at_files(facts)
    with suppress(OSError, BuildoptError):
        _look_at_git(facts)


def _look_at_files(facts: Facts) -> None:
    data = facts.plan.ignore.data if facts.plan.copied else facts.base
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


def _look_at_git(facts: Facts) -> None:
    git = ["git", "--no-optional-locks", "-C", str(facts.plan.context)]
    done = process.run([*git, "status", "--porcelain=v2", "--branch", "-uno"], check=False, timeout=GIT_SECONDS)
    if done.returncode == 0:
        lines = done.text.splitlines()
        commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
        facts.commit = commits[0] if commits and commits[0] != "(initial)" else ""
        facts.dirty = any(not line.startswith("#") for line in lines)

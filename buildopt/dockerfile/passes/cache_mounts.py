"""Give package managers a cache that outlives the build.

What it does
------------
Adds ``--mount=type=cache`` to the RUN instructions of apt, pip, npm and Go, and takes out what would defeat it:
``rm -rf /var/lib/apt/lists/*``, ``apt-get clean``, ``--no-cache-dir``, ``npm cache clean --force``. A comment that
stands between such a clean-up and the command before it goes with it. For apt, one RUN a stage tells Debian's images to
keep what is downloaded.

Why
---
A changed line in a layer throws the whole layer away, and with it all that was downloaded. A cache mount keeps the
downloads on the builder, outside the image: the next build downloads only what is new, and the image is as small as one
that was cleaned up.

A mount's content never reaches the image. So the mount is refused where a later RUN, COPY --from, CMD or ENTRYPOINT may
read the folder, where an earlier instruction wrote into it, and where user, home or shell are not known.

Example
-------
::

    FROM debian:bookworm
    RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*

Use instead
-----------
::

    FROM debian:bookworm
    # Let apt keep what it downloads: the cache mounts below hold it.
    RUN rm -f /etc/apt/apt.conf.d/docker-clean \\
        && echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
    RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
        --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\
        apt-get update && apt-get install -y curl

References
----------
- https://docs.docker.com/reference/dockerfile/#run---mounttypecache
- https://docs.docker.com/build/cache/optimize/#use-cache-mounts
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildopt.dockerfile.managers import APT, GO, NPM, PIP, Cache, Manager, Portable, Use, word_set
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.cleanups import Drops, Refused, drops, opaque_script, removals
from buildopt.dockerfile.passes.go_build import builds, made_folders, started, tree
from buildopt.dockerfile.passes.hidden import Scope, hidden
from buildopt.dockerfile.passes.mounts import CacheMount, insertion, mounts
from buildopt.dockerfile.passes.paths import Relation, mention
from buildopt.dockerfile.passes.result import Change, PassResult, Refusal
from buildopt.dockerfile.passes.runs import Run, runs_by_family
from buildopt.dockerfile.passes.state import State, states
from buildopt.dockerfile.shell import Word
from buildopt.source import Edit, Span

NAME = "cache_mounts"
OPT_IN = False

_MANAGERS = (APT, PIP, NPM, GO)
_SUDO = frozenset(("sudo", "doas"))
_OTHER_USER = frozenset(("gosu", "su-exec"))
# What runs the go tool itself: it must find the modules that an earlier RUN left in the mount.
_GO_TOOLS = word_set(
    "buf ginkgo go-bindata golangci-lint goreleaser gosec gotestsum govulncheck just ko mage make mockery mockgen "
    "oapi-codegen sqlc staticcheck swag task templ wire"
)
_KEEP = "Binary::apt::APT::Keep-Downloaded-Packages"


@dataclass(frozen=True, slots=True)
class _Step:
    """What one RUN gets from one manager."""

    run: Run
    manager: Manager
    mounts: tuple[CacheMount, ...]
    drops: Drops


class _No(Exception):
    """A manager is left alone in a family of stages."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def rewrite(dockerfile: Dockerfile, context: Path | None = None) -> PassResult:
    """Add cache mounts wherever nothing can miss what they hide."""
    families = runs_by_family(dockerfile)
    steps: list[_Step] = []
    refused: list[Refusal] = []
    for manager in _MANAGERS:
        # All stages of a family have one base, so its first RUN speaks for it.
        users = (runs[0] for runs in families.values() if any(run.needs(manager) for run in runs))
        mixed = len({_content_of(manager, run.state) for run in users}) > 1
        for index, runs in families.items():
            try:
                steps += _Family(dockerfile, context, index, runs, manager, mixed).steps()
            except _No as no:
                refused.append(Refusal(NAME, no.line, f"{manager.name}: {no.reason}"))
    changes: list[Change] = []
    kept: set[int] = set()
    of_run: dict[int, list[_Step]] = {}
    for step in steps:
        of_run.setdefault(step.run.instruction.span.start, []).append(step)
    for runs in families.values():
        for run in runs:
            mine = of_run.get(run.instruction.span.start, [])
            try:
                changes += _change(dockerfile, runs, run, mine, kept)
            except Refused as no:
                refused.append(Refusal(NAME, run.line, str(no)))
    changes.sort(key=lambda change: change.lines)
    return PassResult(tuple(changes), tuple(sorted(refused, key=lambda refusal: refusal.line)))


@dataclass(frozen=True, slots=True)
class _Family:
    """One manager in the stages that see each other's files."""

    dockerfile: Dockerfile
    context: Path | None
    index: int
    runs: Sequence[Run]
    manager: Manager
    mixed: bool  # stages of this file that use the manager differ in what they are made on

    def steps(self) -> list[_Step]:
        """What each RUN gets; raises _No."""
        self._readable()
        self._not_configured()
        users = [run for run in self.runs if self._needs(run)]
        if not users:
            return []
        targets = self._targets(users)
        steps = [self._step(run, targets) for run in users]
        if not any(step.mounts or step.drops for step in steps):
            return []
        for step in steps:
            if not step.run.script or not step.run.script.complete:
                raise _No(step.run.line, "this RUN cannot be read to the end")
            script = opaque_script(step.run)
            if script is not None:
                raise _No(step.run.line, f"{script} could do anything to {targets[0]}, and nobody here can read it")
        if self.manager is APT:
            _updates_come_first(users)
        if self.manager is GO:
            self._go_program_is_known()
        self._nothing_hidden(users, targets)
        return steps

    def _readable(self) -> None:
        """A RUN that speaks of the manager but cannot be read spoils the family."""
        spoken = re.compile(rf"(?<![\w./-])(?:{self.manager.programs})\s+(?:-\S+\s+)*[a-z]")
        for run in self.runs:
            if (run.script is None or not run.script.complete) and spoken.search(run.text):
                if run.script is not None and not run.needs(self.manager) and self.manager is GO:
                    continue
                raise _No(run.line, "this RUN cannot be read to the end" if run.script else "its shell is not known")

    def _not_configured(self) -> None:
        """What one RUN configures holds for all that follow: ``npm config set cache /x``."""
        uses = ((run, use) for run in self.runs for use in run.uses(self.manager) if self.manager in (NPM, PIP))
        for run, use in uses:
            texts = [word.text or word.raw for word in use.rest]
            writes = use.subcommand == "config" and texts[:1] in (["set"], ["edit"])
            if writes and any("cache" in text for text in texts):
                raise _No(run.line, f"{self.manager.name} config moves the cache")

    def _needs(self, run: Run) -> bool:
        if run.needs(self.manager):
            return True
        if self.manager is not GO or all(command.name not in _GO_TOOLS for command in run.commands):
            return False
        return any(other.needs(GO) for other in self.runs)

    def _targets(self, users: Sequence[Run]) -> tuple[str, ...]:
        found: tuple[str, ...] | None = None
        for run in users:
            self._user_is_known(run)
            paths = tuple(self._path(cache, run) for cache in self.manager.caches)
            if found is not None and paths != found:
                raise _No(run.line, f"the cache moves from {found[0]} to {paths[0]} between stages or users")
            found = paths
        assert found is not None
        return found

    def _path(self, cache: Cache, run: Run) -> str:
        state = run.state
        for variable, suffix in cache.moved_by:
            if variable in state.arguments:
                raise _No(run.line, f"ARG {variable} decides where the cache is")
            if variable in state.environment:
                value = state.environment[variable]
                if not value or not re.fullmatch(r"/[\w./-]*", value):
                    raise _No(run.line, f"where {variable} puts the cache is not known")
                return value.rstrip("/") + suffix
        if not cache.path.startswith("~"):
            return cache.path
        home = state.home
        if home is None:
            who = f"user {state.user}" if state.user else f"the user of {state.base.repository or 'the base'}"
            raise _No(run.line, f"the home folder of {who} is not known")
        if home != "/root" and any(command.name in ("useradd", "adduser") for command in run.commands):
            raise _No(run.line, f"it makes a user, whose home folder the mount would make before it: {home}")
        return home.rstrip("/") + cache.path[1:]

    def _user_is_known(self, run: Run) -> None:
        state, manager = run.state, self.manager
        if manager is APT:
            if state.user is not None and not state.root:
                raise _No(run.line, f"it runs as {state.user} through sudo")
            if not state.root and any(_SUDO.intersection(use.command.wrappers) for use in run.needs(manager)):
                raise _No(run.line, "it runs through sudo, and the user is not known")
        elif state.uid is None:
            who = f"user {state.user}" if state.user else f"the user of {state.base.repository or 'the base image'}"
            raise _No(run.line, f"uid and home folder of {who} are not known")
        for use in run.needs(manager):
            wrappers = set(use.command.wrappers)
            if wrappers & _OTHER_USER or (wrappers & _SUDO and not state.root) or _switches_user(use):
                raise _No(run.line, "it runs as another user")
        if manager is GO and state.base.repository != "golang":
            raise _No(run.line, f"where Go keeps its modules in {state.base.repository} is not known")
        if manager is not APT and any(command.name == "su" for command in run.commands):
            raise _No(run.line, "su changes the user")
        for variable in manager.defeating_variables:  # pip takes even PIP_NO_CACHE_DIR=0 for a yes
            if state.environment.get(variable, "") != "" or variable in state.arguments:
                raise _No(run.line, f"{variable} is set, so there is no cache to keep: take it out of ENV")
        network = run.instruction.flag("network")
        if network is not None and network.value == "none":
            raise _No(run.line, "with --network=none it can only use what is in the image")
        self._moved_in_script(run)

    def _moved_in_script(self, run: Run) -> None:
        manager = self.manager
        names = {name for cache in manager.caches for name, _ in cache.moved_by} | set(manager.defeating_variables)
        names |= set() if manager is APT else {"HOME"}
        for command in run.commands:
            words = [*(item.name for item in command.environment), *(word.raw.split("=")[0] for word in command.words)]
            sets = command.name in ("export", "declare", "unset", "read") or bool(command.environment)
            if sets and names.intersection(words):
                raise _No(run.line, f"it sets {', '.join(sorted(names.intersection(words)))} itself")
        for use in run.uses(manager):
            if use.moved:
                raise _No(run.line, f"an option of {manager.name} puts the cache elsewhere")
            if manager is GO and use.subcommand == "env" and "-w" in use.command.texts:
                raise _No(run.line, "go env -w may move the cache")
        for word in manager.offline:
            if word in run.text or word in " ".join(f"{k}={v}" for k, v in run.state.environment.items()):
                raise _No(run.line, f"with {word} it can only use what is in the image")
        if manager is APT and any("dir::" in word.raw.lower() for use in run.uses(APT) for word in use.arguments):
            raise _No(run.line, "an option of apt puts its folders elsewhere")
        if manager is APT and any({"-d", "--download-only"} & set(use.command.options) for use in run.uses(APT)):
            raise _No(run.line, "what it downloads is meant to stay in the image")

    def _step(self, run: Run, targets: tuple[str, ...]) -> _Step:
        there = mounts(run.instruction)
        wanted: list[CacheMount] = []
        for cache, target in zip(self.manager.caches, targets, strict=True):
            covering = [mount for mount in there if mount.target and mount.covers(target)]
            if any(mount.kind != "cache" for mount in covering):
                raise _No(run.line, f"something else is mounted on {target}")
            if any(mount.target.startswith(f"{target}/") for mount in there):
                raise _No(run.line, f"something is mounted inside {target}")
            if any("$" in mount.target for mount in there):
                raise _No(run.line, "a mount's target holds a variable")
            if not covering:
                owner = run.state.uid or 0
                wanted.append(CacheMount(target, self.manager.sharing, self._identity(cache, run.state), owner))
        try:
            dropped = drops(run, self.manager, targets)
            removals(run, [dropped])
        except Refused as no:
            raise _No(run.line, str(no)) from no
        return _Step(run, self.manager, tuple(wanted), dropped)

    def _identity(self, cache: Cache, state: State) -> str:
        """An id of its own where stages of this file differ in what the cache's content depends on."""
        if cache.portable is Portable.EVERYWHERE:
            return ""

        if not self.mixed:
            return ""
        kind = {"/var/cache/apt": "apt-cache", "/var/lib/apt/lists": "apt-lists"}.get(cache.path)
        return f"{kind or cache.path.rsplit('/', 1)[-1]}-{_content_of(self.manager, state)}"

    def _go_program_is_known(self) -> None:
        """What a container of these stages starts must be a program that was built, nothing that may run go."""
        known = states(self.dockerfile)
        for stage in self.dockerfile.stages:
            if stage.index not in self._members():
                continue
            made = tree(stage.instructions, known, self.context, self.dockerfile.escape)
            folders = type(made)(made.folders | made_folders(self.runs), made.copies)
            outputs = {build.output for build in builds(self.runs, folders)}
            entries = [item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
            if not entries and stage is self.dockerfile.final_stage:
                raise _No(stage.origin.lines[0], "the image starts no program of its own: a person may run go in it")
            for instruction in entries:
                programs = started(instruction, known[instruction.span.start])
                entry = instruction.keyword == "ENTRYPOINT" or not any(s.keyword == "ENTRYPOINT" for s in entries)
                if entry and outputs.isdisjoint(programs):
                    shown = " ".join(instruction.values)[:60]
                    raise _No(instruction.lines[0], f"`{shown}` is not known to be a built program: it may run go")

    def _members(self) -> set[int]:
        return {run.stage.index for run in self.runs} | {self.index}

    def _nothing_hidden(self, users: Sequence[Run], targets: tuple[str, ...]) -> None:
        left = any(_leaves(run, self.manager, targets) for run in users)
        scope = Scope(
            self.dockerfile,
            self.context,
            self.manager,
            self.index,
            self.runs,
            frozenset(run.instruction.span.start for run in users),
            targets,
            left,
            strict=self.manager in (APT, GO),
        )
        for found in hidden(scope):
            raise _No(found.line, found.reason)


def _content_of(manager: Manager, state: State) -> str:
    """What the content of a cache depends on: the distribution for packages, its release for what is compiled."""
    return state.base.distribution if manager is APT else state.base.release


def _switches_user(use: Use) -> bool:
    return any(word.text in ("-u", "--user") for word in use.command.words[: -len(use.command.argv) or None]) and bool(
        _SUDO.intersection(use.command.wrappers)
    )


def _updates_come_first(users: Sequence[Run]) -> None:
    """What needs apt's lists must fetch them in its own RUN: lists in a mount may be gone when the RUN is run again."""
    for run in users:
        uses = {id(use.command): use for use in run.uses(APT)}
        updated: list[tuple[str, ...]] = []
        previous = None
        for command in run.commands:
            use = uses.get(id(command))
            certain = previous is None or previous.operator != "||"
            if use is not None and use.subcommand == "update" and certain:
                updated.append(command.context)
            elif use is not None and use.uses_cache:
                if not any(command.context[: len(context)] == context for context in updated):
                    raise _No(
                        run.line, f"apt {use.subcommand} relies on lists of another RUN: put `apt-get update` before it"
                    )
            elif command.name in ("sh", "bash") and "deb.nodesource.com/" in run.text:
                updated.append(command.context)
            previous = command


def _leaves(run: Run, manager: Manager, targets: Sequence[str]) -> bool:
    """Whether the RUN, as it is, leaves content in the folders."""
    covered = mounts(run.instruction)
    if all(any(mount.kind == "cache" and mount.covers(target) for mount in covered) for target in targets):
        return False
    if manager is APT:
        return _leaves_lists(run)
    if manager is GO:
        cleaned = {option.lstrip("-") for use in run.uses(GO) if use.is_cleanup for option in use.command.options}
        return not cleaned >= {"modcache", "cache"}
    emptied = any(use.is_cleanup for use in run.uses(manager)) or _removes(run, targets[0])
    return not emptied and any(not list(use.defeats()) for use in run.needs(manager))


def _leaves_lists(run: Run) -> bool:
    left = False
    uses = {id(use.command): use for use in run.uses(APT)}
    for command in run.commands:
        use = uses.get(id(command))
        if use is not None and use.uses_cache:
            left = True
        elif command.name == "rm" and command.depth == 0 and _rm_of(command.argv[1:], "/var/lib/apt/lists", run):
            left = False
    return left


def _removes(run: Run, target: str) -> bool:
    return any(command.name == "rm" and _rm_of(command.argv[1:], target, run) for command in run.commands)


def _rm_of(words: Sequence[Word], target: str, run: Run) -> bool:
    return any(mention(word, [target], (), run.state.home) is Relation.INSIDE for word in words)


def _change(
    dockerfile: Dockerfile, runs: Sequence[Run], run: Run, steps: Sequence[_Step], kept: set[int]
) -> Iterator[Change]:
    wanted = [mount for step in steps for mount in step.mounts]
    edits = removals(run, [step.drops for step in steps])
    if wanted:
        edits.append(insertion(dockerfile, run.instruction, wanted))
    if not edits:
        return
    why = []
    if wanted:
        why.append(f"what {_names(steps)} downloads stays on the builder, outside the image, for the next build")
    if any(step.drops for step in steps):
        why.append("what would empty or defeat that cache goes")
    if any(mount.target == "/var/cache/apt" for mount in wanted) and not _keeps_packages(dockerfile, runs, run, kept):
        kept.add(run.stage.index)
        edits.append(keep_packages(dockerfile, run))
        why.append("a RUN before it lets apt keep its packages, which Debian's images delete")
    title = f"cache mounts for {_names(steps)}" if wanted else f"no clean-up of what {_names(steps)} has mounted"
    yield Change(NAME, title, "; ".join(why), run.instruction.lines, tuple(edits))


def _names(steps: Sequence[_Step]) -> str:
    return " and ".join(dict.fromkeys(step.manager.name for step in steps if step.mounts or step.drops))


def _keeps_packages(dockerfile: Dockerfile, runs: Sequence[Run], run: Run, kept: set[int]) -> bool:
    """Whether this stage or one below it already keeps downloaded packages."""
    stage: Stage | None = run.stage
    while stage is not None:
        if stage.index in kept:
            return True
        for other in runs:
            before = other.instruction.span.start <= run.instruction.span.start
            if other.stage.index == stage.index and before and ("docker-clean" in other.text or _KEEP in other.text):
                return True
        stage = dockerfile.stages[stage.base_index] if stage.base_index is not None else None
    return False


def keep_packages(dockerfile: Dockerfile, run: Run) -> Edit:
    """A RUN of its own, as Docker's documentation has it, above the comments that belong to the first apt RUN."""
    source = dockerfile.source
    line = run.instruction.lines[0]
    starts = {source.position(comment.span.start)[0] for comment in dockerfile.comments if not comment.inside}
    while line - 1 in starts:
        line -= 1
    start = source.line_start(line)
    own = source.text[source.line_start(run.instruction.lines[0]) : run.instruction.keyword_span.start]
    keyword = source.text[run.instruction.keyword_span.start : run.instruction.keyword_span.end]
    newline = source.newline
    text = (
        f"{own}# Let apt keep what it downloads: the cache mounts below hold it.{newline}"
        f"{own}{keyword} rm -f /etc/apt/apt.conf.d/docker-clean {dockerfile.escape}{newline}"
        f"{own}    && echo '{_KEEP} \"true\";' > /etc/apt/apt.conf.d/keep-cache{newline}"
    )
    return Edit(Span(start, start), text)

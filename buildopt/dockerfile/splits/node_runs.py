"""What the RUNs of a Node.js stage do: install, build, or make something that the runtime stage needs as well."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from buildopt.dockerfile.manager import Use
from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.passes.runs import HARMLESS, KNOWN_SCRIPTS, SHELLS, Run, runs_what_is_read
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.node_commands import words_of
from buildopt.dockerfile.splits.splits import No, Subject, writes_files
from buildopt.dockerfile.splits.started import literal

_INSTALLS = {
    "npm": word_set("install i ci clean-install install-clean ic isntall in ins add"),
    "yarn": word_set("install") | {""},
    "pnpm": word_set("install i"),
    "bun": word_set("install i"),
}
_ADDS = {"npm": frozenset[str](), "yarn": frozenset(("add",)), "pnpm": frozenset(("add",)), "bun": frozenset(("add",))}
_VALUED = word_set(
    "--registry --cache --loglevel --omit --include --only --prefix -C --network-timeout --network-concurrency "
    "--reporter  --cache-folder --mutex --modules-folder --store-dir --filter -F --userconfig --cwd --dir "
    "--fetch-timeout --maxsockets  --fetch-retries --fetch-retry-mintimeout --fetch-retry-maxtimeout "
    "--build-from-source --install-strategy --location --also"
)
_FOLDERS = frozenset(("--prefix", "-C", "--cwd", "--dir"))
_SYSTEM_MANAGERS = frozenset(("apt", "apk", "dnf", "zypper", "pip"))
_QUIET = word_set(
    "cd echo ls pwd set true : printf uname date whoami id env export test [ [[ which sleep hash cat du df exit"
)
_BUILDERS = word_set("npx pnpx bunx node tsc ng nest next vite webpack gulp grunt prisma nuxt rimraf rollup gatsby")
_ASKS = word_set("cache store -v --version version root audit fund ls list")
_CHANGES = word_set(
    "link unlink uninstall remove rm un set up upgrade workspaces workspace deploy fetch import pack publish"
)
_TREES = word_set(
    "/tmp /root/.npm /root/.cache /var/lib/apt /var/cache /usr/local/share/.cache /usr/share/doc /usr/share/man"
)
_PATHS = word_set(
    "cp mv rm mkdir chmod chown ln touch sed tar unzip install dos2unix find rsync tee chgrp gunzip gzip rmdir"
)


_OF_INSTALLS = re.compile(
    r"registry|_auth|strict-ssl|cafile|fetch-|cache|proxy|maxsockets|network|always-auth|unsafe-perm|legacy-peer-deps|"
    r"loglevel|update-notifier|fund|audit|timeout|engine"
)


class Kind(Enum):
    """What a command is to a split."""

    QUIET = "quiet"
    INSTALL = "install"
    ADD = "add"
    GLOBAL = "global"
    BUILD = "build"
    SYSTEM = "system"
    OWN = "own"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a RUN. ``folder`` is where it runs, or the project that it is told to work on.

    ``names`` are packages (GLOBAL, ADD), paths (OWN, OWNER) or ``[owner, path…]``.
    """

    run: Run
    command: Command
    folder: str
    kind: Kind
    names: tuple[str, ...] = ()
    tool: str = ""

    @property
    def shown(self) -> str:
        """The command for a reader."""
        return " ".join(word.raw for word in self.command.words)[:60]

    @property
    def offset(self) -> int:
        """Where its RUN stands."""
        return self.run.instruction.span.start


def with_folders(run: Run) -> Iterator[tuple[Command, str]]:
    """The commands of a RUN and the folder of each. Raises No where that is not known."""
    folder = run.state.workdir
    if folder is None:
        raise No(run.instruction, "the working folder is not known")
    for command in run.commands:
        if any("substitution" in part for part in command.context):
            continue
        yield command, folder
        if command.name == "cd":
            target = literal(command.arguments[0], run.state.environment) if len(command.arguments) == 1 else None
            if target is None or "subshell" in command.context:
                raise No(run.instruction, "where cd goes is not followed")
            folder = posixpath.normpath(posixpath.join(folder, target))


@dataclass(frozen=True, slots=True)
class Call:
    """A package manager's command line, read."""

    tool: str
    action: str
    operands: tuple[str, ...]
    options: frozenset[str]
    folder: str
    everywhere: bool


def managed(command: Command, folder: str) -> Call | None:
    """A command of npm, yarn, pnpm or bun."""
    words = words_of(command)
    name = posixpath.basename(words[0]) if words else ""
    if name == "corepack" and len(words) > 1 and words[1] in _INSTALLS:
        words, name = words[1:], words[1]
    name = "yarn" if name == "yarnpkg" else name
    if name not in _INSTALLS:
        return None
    operands: list[str] = []
    options: set[str] = set()
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("-") and word != "-":
            option, equals, value = word.partition("=")
            if option in _VALUED and not equals:
                value = next(rest, "")
            options.add(f"{option}={value}" if value else option)
            if option in _FOLDERS:
                folder = posixpath.normpath(posixpath.join(folder, value))
        else:
            operands.append(word)
    everywhere = bool(options & {"-g", "--global", "--location=global"}) or operands[:1] == ["global"]
    if operands[:1] == ["global"]:
        operands = operands[1:]
    action, rest_ = (operands[0], operands[1:]) if operands else ("", [])
    return Call(name, action, tuple(rest_), frozenset(options), folder, everywhere)


def install_of(command: Command, folder: str) -> Call | None:
    """The call if it installs what a package.json lists."""
    call = managed(command, folder)
    if call is None or call.everywhere or call.operands or call.action not in _INSTALLS[call.tool]:
        return None
    if call.tool == "yarn" and call.options & {"--version", "-v", "--help"}:
        return None
    return call


def is_production(step: Step) -> bool:
    """Whether an install leaves dev dependencies out."""
    call = managed(step.command, step.folder)
    options = call.options if call is not None else frozenset[str]()
    if options & {"--include=dev", "--production=false", "--prod=false", "--only=dev", "-D", "--dev", "--also=dev"}:
        return False
    if options & {
        "--production",
        "--production=true",
        "--prod",
        "-P",
        "--only=production",
        "--only=prod",
        "--omit=dev",
    }:
        return True
    environment = {**step.run.state.environment}
    environment.update((item.name, item.value.text) for item in step.command.environment)
    moved = {"NPM_CONFIG_PRODUCTION", "npm_config_production", "YARN_PRODUCTION"}
    return environment.get("NODE_ENV") == "production" and not moved & environment.keys()


def read_steps(subject: Subject, project: str, entries: Collection[str]) -> list[Step]:
    """Every command of every RUN. ``project`` is the project's folder. Raises No for what is not understood."""

    found: list[Step] = []
    for run in subject.runs:
        for command, folder in with_folders(run):
            if command.words:
                found.append(_Reading(run, command, folder, project, entries).step())
            elif writes_files(command):
                raise No(run.instruction, "a file is written that may be needed at run time")
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """One command that is being understood. ``entries`` are what the sources hold where ``project`` is ``/``."""

    run: Run
    command: Command
    folder: str
    project: str
    entries: Collection[str]

    @property
    def name(self) -> str:
        return self.command.name or ""

    def no(self, words: str) -> No:
        """The refusal that says why."""
        shown = " ".join(word.raw for word in self.command.words)[:60]
        return No(self.run.instruction, f"`{shown}`{words}")

    def found(self, kind: Kind, names: Sequence[str] = (), tool: str = "", folder: str = "") -> Step:
        return Step(self.run, self.command, folder or self.folder, kind, tuple(names), tool)

    def place(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.folder, path))

    def own(self, path: str) -> bool:
        """Whether a path is one of the project's."""
        if self.project != "/":
            return path == self.project or path.startswith(f"{self.project}/")
        return path.lstrip("/").split("/")[0] in self.entries

    def step(self) -> Step:
        """What it is to a split. Raises No where that is not known."""
        call = managed(self.command, self.folder)
        if call is not None:
            return _managing(self, call)
        targets = self.targets()
        use = recognise(self.command)
        if use is not None and use.manager.name in _SYSTEM_MANAGERS and not any(map(self.own, targets)):
            return _of_system(self, use)
        name = self.name
        if name == "corepack":
            return self.found(Kind.GLOBAL, ("corepack", "yarn", "pnpm"), "corepack")
        if name in _BUILDERS:
            return _building(self)
        if self.command.argv and "node_modules/" in words_of(self.command)[0]:
            return self.found(Kind.BUILD)
        if name in SHELLS:
            return _shell(self)
        if name == "git" and self.command.texts[:1] == ("config",):
            return self.found(Kind.SYSTEM)
        if name not in HARMLESS and name not in _QUIET:
            raise self.no(" may make what is needed at run time")
        if name in _QUIET and not targets:
            return self.found(Kind.QUIET)
        return _files(self, targets)

    def targets(self) -> list[str]:
        """The files that its output goes to. Raises No where their places are not known."""
        written = [
            literal(item.target, self.run.state.environment)
            for item in self.command.redirects
            if item.target is not None and item.operator.startswith(">")
        ]
        if None in written:
            raise self.no(" writes a file whose place is not known")
        return [self.place(str(path)) for path in written if path not in ("/dev/null", "1", "2")]


def _of_system(reading: _Reading, use: Use) -> Step:
    """A package manager of the system, or pip."""
    for word in reading.command.arguments:
        text = literal(word, reading.run.state.environment)
        if text and "/" in text and reading.own(reading.place(text)):
            raise reading.no(" needs a file of the sources")
    common = use.manager.name in ("apt", "apk", "dnf")
    if common and use.is_cleanup:
        return reading.found(Kind.QUIET)
    names = (use.subcommand, *(word.text or "" for word in use.rest))
    return reading.found(Kind.SYSTEM, names, "packages" if common else "")


def _building(reading: _Reading) -> Step:
    texts = reading.command.texts
    if reading.name == "node" and texts[:1] in (("-v",), ("--version",)):
        return reading.found(Kind.QUIET)
    if reading.name == "npx" and any(word in text for text in texts for word in ("playwright", "puppeteer", "cypress")):
        raise reading.no(" installs what is needed at run time")
    return reading.found(Kind.BUILD)


def _shell(reading: _Reading) -> Step:
    if runs_what_is_read(reading.command):
        return reading.found(Kind.QUIET)
    operands = [text for text in reading.command.texts if not text.startswith(("-", "+"))]
    if not operands and any(host in reading.run.text for host in KNOWN_SCRIPTS):
        return reading.found(Kind.SYSTEM)
    raise reading.no(" runs a script, and may make what is needed at run time")


def _managing(reading: _Reading, call: Call) -> Step:
    """A command of npm, yarn, pnpm or bun."""
    action, tool, there = call.action, call.tool, call.folder
    if call.everywhere and action in (*_INSTALLS["npm"], "add", "update", "upgrade"):
        if any(word.startswith((".", "/")) or "$" in word for word in call.operands):
            raise reading.no(" installs a program from the sources")
        return reading.found(Kind.GLOBAL, tuple(map(_plain_name, call.operands)) or ("?",), tool)
    if install_of(reading.command, reading.folder) is not None:
        return reading.found(Kind.INSTALL, (), tool, there)
    if action in _ADDS[tool] or (tool == "npm" and action in _INSTALLS["npm"]):
        if call.options & {"--no-save"}:
            raise reading.no(" installs what package.json does not list")
        return reading.found(Kind.ADD, tuple(map(_plain_name, call.operands)), tool, there)
    if action in ("config", "set") and not (tool == "yarn" and call.operands[:1] == ("version",)):
        # The registry to install from may be meant for the container as well.
        about = " ".join(call.operands)
        return reading.found(Kind.SYSTEM, (), "config" if _OF_INSTALLS.search(about) else "")
    if action in _ASKS or (not action and call.options & {"-v", "--version"}):
        return reading.found(Kind.QUIET)
    if action in ("rebuild", "rb"):
        return reading.found(Kind.INSTALL, ("rebuild",), tool, there)
    if action in ("prune", "dedupe", "ddp", "update"):
        return reading.found(Kind.INSTALL, (action,), tool, there)
    if action in _CHANGES:
        raise reading.no(" changes what is installed")
    return reading.found(Kind.BUILD)


def _plain_name(word: str) -> str:
    """``@a/b@1.2`` is ``@a/b``."""
    return word[0] + word[1:].split("@")[0] if word else word


def _files(reading: _Reading, targets: Sequence[str]) -> Step:
    """Programs that handle files: those of the project are carried along, others are to be made again."""
    name = reading.name
    environment = reading.run.state.environment
    words = [literal(word, environment) for word in reading.command.arguments] if name in _PATHS else []
    if None in words:
        raise reading.no(": which files it is about is not known")
    operands = [str(word) for word in words if word is not None and not word.startswith("-")]
    if name == "chown":
        deep = any(re.match(r"-[a-zA-Z]*R|--recursive", text) for text in reading.command.options)
        owner = operands[0] if operands else ""
        return reading.found(Kind.OWNER, (owner, *map(reading.place, operands[1:])), "R" if deep else "")
    if name in ("chmod", "chgrp"):
        operands = operands[1:]
    elif name == "sed":
        operands = operands[-1:]
    elif name == "find":
        operands = operands[:1]
    paths = [*map(reading.place, operands), *targets]
    if name == "rm" and all(
        any(path == tree or path.startswith((f"{tree}/", f"{tree}*")) for tree in _TREES) for path in paths
    ):
        return reading.found(Kind.QUIET)
    mine = [path for path in paths if reading.own(path)]
    if name == "mkdir":
        return reading.found(Kind.SYSTEM, paths, "mkdir")
    if not mine:
        if name in ("cp", "mv", "ln", "tar", "unzip", "rsync", "install") and any("*" in path for path in paths):
            raise reading.no(": which files it is about is not known")
        return reading.found(Kind.SYSTEM, paths, name)
    if len(mine) != len(paths) or name in ("find", "tar", "unzip", "install"):
        raise reading.no(" may make what is needed at run time")
    return reading.found(Kind.OWN, mine, name)

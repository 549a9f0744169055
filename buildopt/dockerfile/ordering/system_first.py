"""System packages, installed before the files that they have nothing to do with are copied.

The copies sink below the RUN: so it keeps its variables, its user, its shell and its folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from buildopt.dockerfile.installs import installs, with_folders
from buildopt.dockerfile.late_installs import copies_of_sources
from buildopt.dockerfile.managers import Use, recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.ordering.between import SYSTEM, Between
from buildopt.dockerfile.ordering.copied_files import ContextFiles, Landing, Tree, Unknown, landings
from buildopt.dockerfile.ordering.layer_edits import Block, Cut, block, cut_edits, removal
from buildopt.dockerfile.ordering.run_cut import reason
from buildopt.dockerfile.ordering.stage_steps import Blocked, Step
from buildopt.dockerfile.ordering.without_sources import PLAIN_COMMANDS, Before
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import mount_options
from buildopt.source import Edit, Span

_MANAGERS = frozenset(("apt", "apk", "dnf", "zypper", "pacman"))
_INSTALLS = word_set("install add in groupinstall reinstall build-dep")
_HARMLESS = word_set(
    "update upgrade dist-upgrade full-upgrade distro-sync clean autoclean autoremove remove purge del makecache "
    "refresh ref cache check-update repolist list info query show policy module config-manager up dup"
)
_MOUNTS = frozenset(("cache", "secret", "ssh", "tmpfs"))
_FILE = re.compile(r".*\.(?:deb|rpm|apk|pkg\.tar(?:\.\w+)?)")
# Folders of the system in which a project may have one of its own, and the names there that are taken.
_HOSTS = re.compile(r"/(?:home/[^/]+|opt|root|srv|tmp|usr/src|usr/share/nginx/html|var/task|var/www(?:/html)?)")
_TAKEN = re.compile(r"(?i)\..*|linux.*|gtest|gmock|googletest|html|google|ftp|tftp|lost\+found")
# What puts no page of its own where web servers look, and brings no web server along.
_NO_SERVER = re.compile(
    r"(?:lib(?!apache)[\w.+-]*|[\w.+-]+-dev(?:el)?|(?:g?un)?zip|git|curl|wget|nano|vim|less|gnupg2?|ca-certificates|"
    r"openssl|make|gcc|g\+\+|build-essential|bash|icu|procps|jq|(?:mariadb|mysql|postgresql|sqlite)3?-client|sqlite3?)"
)
# Folders that every system has: nothing needs to make them.
_EVERYWHERE = word_set(
    "/ /bin /dev /etc /home /lib /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin /usr/lib "
    "/usr/local /usr/local/bin /usr/local/lib /usr/local/share /usr/sbin /usr/share /var /var/cache /var/lib /var/log "
    "/var/spool /var/tmp"
)
_MAKERS = word_set("cp curl dd install ln mkdir mktemp mv rsync tar tee touch unzip wget xz zip")
_HOME_MAKERS = word_set("adduser useradd usermod")
# Variables that say where programs, libraries and settings are looked for.
_SEARCHED = re.compile(
    r"(?:\w+_)?PATH|HOME|PYTHON\w+|PERL\w+|RUBY\w+|LD_\w+|\w*CONFIG\w*|BASH_ENV|ENV|\w*OPTIONS?|TMPDIR"
)


@dataclass(frozen=True, slots=True)
class Lifted:
    """An installation and the copies that sink below it."""

    shown: str
    lines: tuple[int, int]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """An installation that stays behind a copy of the sources."""

    line: int
    reason: str


def lifted(dockerfile: Dockerfile, stage: Stage, walked: Sequence[Step], files: ContextFiles) -> Lifted | Stuck | None:
    """The last installation of a stage that copies can sink below, or why copies of sources cannot."""
    stuck: Stuck | None = None
    for last in reversed(range(len(walked))):
        step = walked[last]
        packages = _packages(step.run) if step.run is not None and step.stage is stage else None
        if not packages:
            continue
        copies = [index for index in range(last) if walked[index].stage is stage and _is_copy(walked[index])]
        for first in copies:
            try:
                steps = walked[first : last + 1]
                names = [name for item in steps if item.run is not None for name in _installed(item)]
                return _Sinking(dockerfile, steps, walked[: first + 1], packages[0], names, files).lifted()
            except Blocked as blocked:
                if any(copies_of_sources(walked[first].instruction, walked[first].scope)):
                    stuck = Stuck(blocked.line, f"`{packages[0]}` stays behind the sources: {blocked.reason}")
            except Unknown:
                continue
    return stuck


def _is_copy(step: Step) -> bool:
    return step.instruction.keyword in ("COPY", "ADD")


def _packages(run: Run) -> tuple[str, ...]:
    """The install of a RUN as it is shown and the packages, empty where it does anything else, or reads files."""
    found: list[str] = []
    shown = ""
    if not run.script.complete or any(installs(run)):
        return ()
    for flag in run.instruction.flags_named("mount"):
        if mount_options(flag.value or "")["type"] not in _MOUNTS:
            return ()
    for command in run.script.commands:
        use = recognise(command)
        if use is None or use.manager.name not in _MANAGERS:
            if command.words and command.name not in PLAIN_COMMANDS:
                return ()
            continue
        if use.subcommand in _HARMLESS:
            continue
        if use.subcommand not in _INSTALLS:
            return ()
        names = _names(use, run)
        if names is None:
            return ()
        found += names
        shown = shown or f"{command.name} {use.subcommand}"
    return (shown, *found) if found else ()


def _installed(step: Step) -> list[str]:
    """The system packages that a RUN installs, whatever else it does. Raises Blocked where they are not known."""
    assert step.run is not None
    found: list[str] = []
    for command in step.run.script.commands:
        use = recognise(command)
        if use is None or use.manager.name not in _MANAGERS or use.subcommand in _HARMLESS:
            continue
        names = _names(use, step.run) if use.subcommand in _INSTALLS else None
        if names is None:
            raise Blocked(step.line, f"what `{command.name}` installs here is not known")
        found += names
    return found


def _names(use: Use, run: Run) -> list[str] | None:
    """The packages that are named, None where one may be a file, or is not known."""
    found: list[str] = []
    for word in use.rest or use.arguments:
        text = word.text
        if text is None and re.fullmatch(r'"?[\w.+:=~-]*\$\{?\w+\}?[\w.+:=~*-]*"?', word.raw):
            expanded = run.scope.expand(word.raw.strip('"'))
            text = None if expanded is None else expanded.text
        if text is None or word.glob:
            return None
        for name in text.split():
            if "://" not in name and (_FILE.fullmatch(name) or re.match(r"\.{0,2}/|\.{1,2}$|~", name)):
                return None
            if not name.startswith("-"):
                found.append(re.split(r"[=<>~@:]", name)[0])
    return found


@dataclass(frozen=True, slots=True)
class _Sinking:
    """One try: the steps from a copy to an installation, those up to that copy, and all the packages of the former."""

    dockerfile: Dockerfile
    steps: Sequence[Step]
    above: Sequence[Step]
    shown: str
    packages: Sequence[str]
    files: ContextFiles

    def lifted(self) -> Lifted:
        """Raises Blocked, or Unknown where it is not worth a word."""
        *before, install = self.steps
        run = install.run
        assert run is not None
        sinking: list[Step] = []
        brought: list[Landing] = []
        for step in before:
            if _is_copy(step):
                mine = self._landings(step)
                if mine and all(self._is_plain(item) for item in mine):
                    sinking.append(step)
                    brought += mine
                elif step is self.steps[0]:
                    raise Blocked(step.line, f"what is copied to {mine[0].place if mine else 'there'} may matter to it")
                elif not mine or any(_related(one.place, other.place) for one in mine for other in brought):
                    raise Blocked(step.line, "what is copied here may be laid over the sources")
        tree = Tree(self.files, brought)
        steps = [step for step in self.steps if step in sinking or not _is_copy(step)]
        moved = [step.instruction for step in sinking]
        between = Between(steps, moved, tree, Before(tree, ()), (), prisma=False)
        self._finds_nothing(install, tree)
        self._manifests_are_not_read(before)
        between.check()
        if between.owners:
            raise Blocked(install.line, "a RUN in between gives the sources to another owner")
        for step in sinking:
            self._keeps_its_folder([item for item in brought if item.instruction is step.instruction])
        if reason(run, run.script.commands, between.before):
            raise Unknown("it reads what is copied")
        movers = [step for step in steps if step in sinking or step in between.along]
        return self._edits(run, [step.instruction for step in movers])

    def _landings(self, step: Step) -> list[Landing]:
        """Where a copy brings files of the context to, empty where that is not known."""
        if step.instruction.flag("from") is not None or step.folder is None:
            return []
        try:
            return landings(self.files, step.instruction, step.scope, step.folder)
        except Unknown:
            return []

    def _is_plain(self, landing: Landing) -> bool:
        """Whether no package has files where a copy brings its own."""
        place = landing.place
        if place == "/":
            return not SYSTEM & set(self.files.names(landing.origin))
        names = place.strip("/").split("/")
        if names[0] not in SYSTEM:
            return True
        host = _HOSTS.match(place)
        if host is None:
            return False
        if place.startswith(("/var/www", "/usr/share/nginx")):
            return all(_NO_SERVER.fullmatch(name) for name in self.packages)
        below = place[host.end() :].strip("/").split("/")[0]
        known = {name.lower() for name in self.packages}
        return bool(below) and _TAKEN.fullmatch(below) is None and not known & {name.lower() for name in names}

    def _finds_nothing(self, install: Step, tree: Tree) -> None:
        """No variable may lead programs of the system to the sources."""
        for step in (*self.above, *self.steps):
            if step.instruction.keyword not in ("ENV", "ARG"):
                continue
            for pair in step.instruction.pairs:
                if _SEARCHED.fullmatch(pair.key.text) is None:
                    continue
                for piece in re.split(r"[\s:=,\"']", pair.value.text if pair.value is not None else ""):
                    if piece in ("", f"${pair.key.text}", f"${{{pair.key.text}}}"):
                        continue
                    expanded = step.scope.expand(piece)
                    if expanded is None or "$" in expanded.text:
                        raise Blocked(install.line, f"{pair.key.text} may lead programs to the sources")
                    place = posixpath.normpath(posixpath.join(install.folder or "/", expanded.text))
                    if tree.kind(place):
                        raise Blocked(install.line, f"{pair.key.text} leads programs to the sources")

    def _manifests_are_not_read(self, before: Sequence[Step]) -> None:
        for step in before:
            found = next(installs(step.run), None) if step.run is not None else None
            if found is not None:
                raise Blocked(step.line, f"`{found.shown}` stands in between")

    def _keeps_its_folder(self, mine: Sequence[Landing]) -> None:
        """Where the copy itself makes the folder that it goes to, nothing in between may make it in another way."""
        for landing in mine:
            there = any(step.folder is not None and _within(step.folder, landing.place) for step in self.above)
            if there:
                continue
            for step, following in zip_longest(self.steps, self.steps[1:]):
                if step.instruction.keyword == "WORKDIR" and _related(following.folder or "/", landing.place):
                    raise Blocked(step.line, "this WORKDIR would make the folder that the copy makes")
                if step.run is not None and (
                    landing.place in step.instruction.logical.text or _may_make(step.run, landing.place)
                ):
                    raise Blocked(step.line, f"this RUN may make a folder of {landing.place}, which the copy makes")

    def _edits(self, run: Run, movers: Sequence[Instruction]) -> Lifted:
        blocks: list[Block] = []
        for found in (block(self.dockerfile, instruction) for instruction in movers):
            if blocks and blocks[-1].span.end == found.span.start:
                above = blocks.pop()
                text = f"{above.text}{self.dockerfile.source.newline}{found.text}"
                found = Block(Span(above.span.start, found.span.end), text, found.spaced)
            blocks.append(found)
        edits = [removal(self.dockerfile, found) for found in blocks]
        own = block(self.dockerfile, run.instruction)
        apart = self.dockerfile.source.text[: own.span.start].endswith(("\n\n", "\n\r\n"))
        edits += cut_edits(self.dockerfile, Cut(run, None), blocks, spaced=blocks[-1].spaced or apart)
        return Lifted(self.shown, (movers[0].lines[0], run.instruction.lines[1]), tuple(edits))


def _may_make(run: Run, place: str) -> bool:
    """Whether a RUN may make a folder that leads to ``place``: each word may be a path that it makes something at."""
    for command, folder in with_folders(run):
        if command.name in _HOME_MAKERS and _within(place, "/home"):
            return True
        targets = [redirect.target for redirect in command.redirects if redirect.target is not None]
        for word in (*command.arguments, *targets):
            raw = word.raw if word.text is None else word.text
            expanded = run.scope.expand(raw.strip("\"'"))
            makes = command.name in _MAKERS and not raw.startswith("-")
            if expanded is None or "$" in expanded.text or word.glob:
                if makes:
                    return True
                continue
            path = expanded.text.rpartition("=")[2] if raw.startswith("-") else expanded.text
            if not path.startswith("/") and not makes:
                continue
            if not path.startswith("/") and folder is None:
                return True
            common = posixpath.commonpath([place, posixpath.normpath(posixpath.join(folder or "/", path))])
            if common not in _EVERYWHERE:
                return True
    return False


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _related(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)

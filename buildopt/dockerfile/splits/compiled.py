"""What compiled programs have in common when they are shipped: what starts them, and what goes with them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.scope import mount_options
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import shipped
from buildopt.dockerfile.splits.build_steps import Repeated, Steps, is_removed
from buildopt.dockerfile.splits.repeats import owners
from buildopt.dockerfile.splits.shipped import Landed
from buildopt.dockerfile.splits.splits import No, Subject, copy_line, writes_files
from buildopt.dockerfile.splits.stand_alone import known_names
from buildopt.dockerfile.splits.started import Start

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What is only used for building, and programs that nobody starts but by name.
BUILD_PACKAGES = word_set(
    "autoconf automake binutils build-base build-essential ca-certificates clang cmake file g++ gcc gcc-multilib git "
    "git-lfs libc-dev libc6-dev libtool linux-headers lld llvm make mercurial mold musl musl-dev musl-tools nasm ninja "
    "ninja-build perl pkg-config pkgconf pkgconfig protobuf-compiler protobuf protobuf-dev subversion upx upx-ucl "
    "golang apt-transport-https software-properties-common gnupg gnupg2 dirmngr lsb-release"
)
_TOOL_PACKAGES = word_set(
    "bash curl wget vim nano less unzip zip jq tree net-tools iputils-ping procps telnet dnsutils bind-tools "
    "openssh-client openssh busybox-extras htop sudo netcat netcat-openbsd netcat-traditional postgresql-client "
    "mysql-client default-mysql-client redis-tools iproute2 strace rsync xz-utils gettext"
)
_PATH = (
    *("/go/bin", "/usr/local/go/bin", "/usr/local/cargo/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin"),
    *("/usr/bin", "/sbin", "/bin"),
)
_PROGRAMS_OF = {"postgresql-client": "psql pg_isready", "netcat": "nc", "netcat-openbsd": "nc", "procps": "ps pgrep"}
_OF_BUSYBOX = word_set("wget nc ping ps pgrep kill vi netstat unzip su adduser addgroup ip")
_STARTERS = word_set("tini dumb-init gosu su-exec sudo doas xvfb-run chronic unbuffer catchsegv eatmydata")
_LOOKERS = word_set("cat tree stat file ldd du wc nproc head tail grep gcc nm size sha256sum md5sum")
_IDLE_FOLDERS = frozenset(
    (".git", ".github", ".gitlab", ".circleci", ".idea", ".vscode", ".buildopt", "testdata", "vendor", "node_modules")
)
_IDLE_FILES = (
    *("*.proto", "Makefile", "*.mk", "LICENSE*", "NOTICE*", "README*", "AUTHORS*", "CODEOWNERS", "CHANGELOG*"),
    *("CONTRIBUTING*", "Dockerfile*", "dockerfile*", "*.Dockerfile", "*.dockerfile", "docker-compose*", "compose.y*ml"),
    *("compose.*.y*ml", ".dockerignore", "dockerignore", ".gitignore", ".gitattributes", ".gitmodules"),
    *(".editorconfig", ".golangci.*", ".goreleaser.*", ".travis.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml"),
    *("Jenkinsfile", "renovate.json", "skaffold.yaml", "buildopt.yaml", ".air.toml", "sonar-project.properties"),
    *(".DS_Store", "Taskfile.y*ml", "[Jj]ustfile", "CODE_OF_CONDUCT*", "SECURITY.md", "fly.toml", "Procfile"),
    *(
        "cloudbuild.*",
        "Makefile.toml",
        "LICENCE*",
        "COPYING*",
        "*.code-workspace",
        ".envrc",
        "flake.nix",
        "flake.lock",
        "shell.nix",
    ),
)


@dataclass(frozen=True, slots=True)
class Reads:
    """What the sources tell of files and programs.

    ``anything``: they may read files; ``names`` are the paths that their strings may stand for; ``programs`` are those
    that they start. ``settings``: ``.env`` is one of the files.
    """

    anything: bool = False
    settings: bool = False
    names: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shipment:
    """Compiled programs and all around them.

    ``outputs`` are the programs by the paths where they lie in the end, with the RUNs that make them. ``sources`` are
    patterns of names of sources, ``idle`` of folders that no program reads; ``mixed``: where data lies scattered among
    sources, the whole folder may be shipped.
    """

    subject: Subject
    files: Sequence[Landed]
    steps: Sequence[Steps]
    outputs: dict[str, Run]
    start: Start
    check: Start
    reads: Reads
    sources: tuple[str, ...]
    idle: frozenset[str] = frozenset()
    mixed: bool = True

    @property
    def alpine(self) -> bool:
        """Whether the base is made of Alpine."""
        return "alpine" in self.subject.final.base.tag.lower()

    @property
    def where(self) -> Run:
        """The RUN that makes the first program."""
        return next(iter(self.outputs.values()))

    @property
    def packages(self) -> frozenset[str]:
        """All packages that the build stage installs."""
        return frozenset(name for item in self.steps for name in item.packages)

    @property
    def words(self) -> set[str]:
        """The names of all commands that a container starts, of shells and of what starts other programs too."""
        found = {step.name for step in (*self.start.steps, *self.check.steps)}
        found |= {name for step in (*self.start.steps, *self.check.steps) for name in step.command.wrappers}
        return found | {posixpath.basename(word) for word in self._first_words()}

    def _first_words(self) -> list[str]:
        kinds = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
        items = [item for item in self.subject.body if item.keyword in kinds and item.exec_form]
        values = [item.values[item.keyword == "HEALTHCHECK" :] for item in items]
        return [words[0] for words in values if words]

    def owner(self, path: str) -> str:
        """Whose a path of the build stage is, where it is not root's. Raises No."""
        return owners(self.subject, self.steps, self.files)(path)

    def data(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The lines that ship files beside the programs, and what they cover. Raises No."""
        scripts = {*self.start.scripts, *self.check.scripts}
        lines, covers = shipped.data_copies(
            self.subject,
            self.files,
            lambda item: item.path in scripts or self._may_be_read(item),
            owners(self.subject, self.steps, self.files),
            mixed=self.mixed,
        )
        for item in self.steps:
            gone = [*item.removed, *(move.source for move in item.moves if move.removes)]
            lost = next(
                (path for path in covers if any(relation(path, place) is Relation.INSIDE for place in gone)), None
            )
            if lost is not None:
                raise No(item.run.instruction, f"{lost} may be read at run time, and a RUN moves or removes it")
        lines += self._moved(covers)
        local = [item for item in self.files if shipped.is_environment(item)]
        if self.reads.settings or any(self._may_be_read(item) for item in local):
            lines += shipped.environment_files(self.subject, self.files, covers, self.owner)
        return lines, covers

    def _moved(self, covers: Collection[str]) -> tuple[str, ...]:
        """The lines for what RUN copies or moves beside the programs. Raises No."""
        lines = []
        for item in self.steps:
            for move in item.moves:
                target = move.target
                inner = posixpath.join(target, posixpath.basename(move.source))
                if any(path in self.outputs for path in (target, inner)) or move.source in self.outputs:
                    continue
                if inside(target, covers) or inside(target.rstrip("/"), covers):
                    continue
                known = any(move.source == file.path for file in self.files)
                if not known:
                    raise No(item.run.instruction, f"what lies in {target} may be needed at run time")
                folder = target.endswith("/") or any(file.path.startswith(f"{target}/") for file in self.files)
                path = inner if folder or target == self.subject.final.workdir else target
                lines.append(copy_line(self.subject, path, chown=self.owner(path)))
        return tuple(lines)

    def _may_be_read(self, item: Landed) -> bool:
        own = _parts(item.origin) | _parts(item.path)
        if not self.reads.names.isdisjoint(own):
            return True
        if any(fnmatch(item.name, pattern) for pattern in self.sources):
            return False
        folders = (posixpath.dirname(item.origin), posixpath.dirname(item.path))
        idle = any(fnmatch(item.name, text) for text in _IDLE_FILES)
        idle = idle or not (_IDLE_FOLDERS | self.idle).isdisjoint(item.origin.split("/")[:-1])
        if not self.reads.names.isdisjoint({part for path in folders for part in _folders(path)}):
            return not idle or "/" in item.origin
        return self.reads.anything and not idle

    def is_needed(self, package: str) -> bool:
        """Whether a package is wanted at run time: not where it serves the build, or is a tool that nothing starts."""
        started = self.words | self.reads.programs
        if package in BUILD_PACKAGES:
            return package in started
        names = {package, *_PROGRAMS_OF.get(package, "").split()}
        if package in _TOOL_PACKAGES:
            return not names.isdisjoint(started) or self._asks_for(package)
        return not package.endswith(("-dev", "-dbg", "-doc", "-static"))

    def _scripts(self) -> Iterable[tuple[str, str]]:
        read = shipped.script_reader(self.subject, self.files)
        for path in (*self.start.scripts, *self.check.scripts):
            yield path, (read(path) or "").partition("\n")[0]

    def _passed_on(self, command: Command) -> bool:
        """Whether a command is what a script that waits for a service was given, which is looked at by itself."""
        waits = any(posixpath.basename(path).startswith("wait-for") for path, _ in self._scripts())
        return waits and re.fullmatch(r'"?\$\{\w+\[@\]\}"?', command.argv[0].raw) is not None

    def _functions(self) -> set[str]:
        """The functions that the scripts define."""
        read = shipped.script_reader(self.subject, self.files)
        texts = "\n".join(read(path) or "" for path in (*self.start.scripts, *self.check.scripts))
        return set(re.findall(r"^\s*(?:function\s+)?([\w-]+)\s*\(\)", texts, re.MULTILINE))

    def _asks_for(self, package: str) -> bool:
        """Whether a script that is started names the package's program in its first line."""
        return any(re.match(rf"#!.*\b{re.escape(package)}\b", line) for _, line in self._scripts())

    def all_is_there(self, again: Repeated) -> None:
        """Refuse what a container starts beside the programs and the runtime image may lack. Raises No."""
        there = again.packages | {name for package in again.packages for name in _PROGRAMS_OF.get(package, "").split()}
        for step in (*self.start.steps, *self.check.steps):
            if program_of(step.command, step.folder, self.outputs) is not None or not step.command.argv:
                continue
            word = step.command.argv[0].text
            name = step.name
            plain = bool(word) and (word == name or word in (f"/bin/{name}", f"/usr/bin/{name}"))
            if plain and (known_names(name) or name in there or (self.alpine and name in _OF_BUSYBOX)):
                continue
            if step.by_shell and (word in self._functions() or self._passed_on(step.command)):
                continue
            what = "health check" if step.instruction.keyword == "HEALTHCHECK" else "container"
            shown = word or step.command.argv[0].raw
            raise No(step.instruction, f"the {what} starts `{shown}`, which the smaller image may lack")
        for name in self.words & _STARTERS:
            if name not in there:
                raise No(self.subject.origin, f"the container starts {name}, which the smaller image may lack")
        if self.alpine and "bash" in self.words and "bash" not in there:
            raise No(self.subject.origin, "the container starts bash, which the smaller image lacks")
        shells = r"(?:da|a)?sh" if self.alpine and "bash" not in there else r"(?:ba|da|a)?sh"
        for path, line in self._scripts():
            if line.startswith("#!") and not re.match(rf"#!\s*(?:/usr)?/bin/(?:env\s+)?{shells}\b", line):
                raise No(self.subject.origin, f"what runs {path} may not be in the smaller image")

    def modes(self, covers: Collection[str]) -> None:
        """Refuse a change of modes of what is not shipped with them. Raises No."""
        copied = {item.path for item in self.files}
        for item in self.steps:
            for path in item.modes:
                if path in self.outputs or path in copied or (path not in covers and inside(path, covers)):
                    continue
                if any(fnmatch(name, path) for name in (*self.outputs, *copied)):
                    continue
                raise No(item.run.instruction, f"the mode of {path} is changed, and may matter at run time")

    def by_name(self, folder: str) -> bool:
        """Whether a program of a folder is started by its bare name."""
        for step in (*self.start.steps, *self.check.steps):
            path = program_of(step.command, step.folder, self.outputs)
            word = step.command.argv[0].text if step.command.argv else None
            if path is not None and path.startswith(f"{folder}/") and word and "/" not in word:
                return True
        names = {posixpath.basename(path) for path in self.outputs if path.startswith(f"{folder}/")}
        return not names.isdisjoint(self.reads.programs)


def begins(subject: Subject, outputs: Collection[str], start: Start, check: Start) -> None:
    """What a container starts must be one of the programs, or lead to it. Raises No."""
    entry = subject.entry()
    assert entry is not None
    for step in start.steps:
        if program_of(step.command, step.folder, outputs) is not None:
            return
        if not step.by_shell:
            break
    shown = " ".join(entry.values)[:60]
    raise No(entry, f"`{shown}` is not the program that is built ({', '.join(list(outputs)[:3])})")


def program_of(command: Command, folder: str, outputs: Collection[str]) -> str | None:
    """Which of the programs a command is."""
    word = command.argv[0].text if command.argv else None
    if not word:
        return None
    if "/" in word:
        path = posixpath.normpath(posixpath.join(folder, word))
        return path if path in outputs else None
    return next((path for path in (f"{place}/{word}" for place in _PATH) if path in outputs), None)


def followed(
    subject: Subject, made: Iterable[tuple[str, Run]], steps: Sequence[Steps], is_folder: Callable[[str], bool]
) -> dict[str, Run]:
    """The programs where they lie in the end: after ``cp``, ``mv`` and ``rm``. Raises No where none is left."""
    found = dict(made)
    for item in steps:
        for move in item.moves:
            run = found.get(move.source)
            if run is None:
                continue
            target = move.target
            if target.endswith("/") or is_folder(target):
                target = posixpath.join(target, posixpath.basename(move.source))
            found[target] = run
            if move.removes:
                del found[move.source]
    for path, run in list(found.items()):
        if _is_mounted(path, run):
            del found[path]
            continue
        after = [Steps(item.run, removed=item.removed) for item in steps if item.run.line >= run.line]
        if is_removed(after, path):
            del found[path]
    if not found:
        raise No(subject.head[-1], "the program that is built is removed")
    return found


def without_twins(outputs: dict[str, Run], start: Start, check: Start) -> dict[str, Run]:
    """The programs without those that nobody starts and that lie under the same name elsewhere, where they are."""
    steps = (*start.steps, *check.steps)
    used = {program_of(step.command, step.folder, outputs) for step in steps} - {None}
    names = {posixpath.basename(path or "") for path in used}
    return {path: run for path, run in outputs.items() if path in used or posixpath.basename(path) not in names}


def _is_mounted(path: str, run: Run) -> bool:
    """Whether a path lies in a mount of the RUN that makes it, and so not in the image."""
    for flag in run.instruction.flags_named("mount"):
        target = mount_options(flag.value or "").get("target", "")
        place = posixpath.normpath(posixpath.join(run.state.workdir or "/", target))
        if "$" in target or (target and relation(path, place) is Relation.INSIDE):
            return True
    return False


def without_lookers(run: Run) -> Run:
    """A RUN without the commands that make nothing: those that show something, or choose a mirror of packages."""
    if run.script is None:
        return run
    kept = tuple(command for command in run.commands if writes_files(command) or not _only_looks(command))
    return replace(run, script=replace(run.script, commands=kept))


def _only_looks(command: Command) -> bool:
    if command.name == "find":
        return not {"-delete", "-exec", "-execdir", "-ok", "-fprint"}.intersection(command.texts)
    if command.name == "sed" and command.arguments:
        return re.match(r"/etc/apk/repositories|/etc/apt/sources\.list", command.arguments[-1].text or "") is not None
    return command.name in _LOOKERS


def inside(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders or lies in one."""
    return any(relation(path, folder) is Relation.INSIDE for folder in folders)


def _parts(path: str) -> set[str]:
    """All that a file may be called: its path without the first folders."""
    names = path.lstrip("/").split("/")
    return {"/".join(names[start:]) for start in range(len(names))}


def _folders(path: str) -> set[str]:
    names = [name for name in path.split("/") if name]
    return {"/".join(names[start:end]) for start in range(len(names)) for end in range(start + 1, len(names) + 1)}

"""What a ``.dockerignore`` may leave out, and for each what shows that no build needs it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from buildopt.dockerfile.context import Ignored
from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.installs import compiled, installs, with_folders
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile, Stage
from buildopt.dockerfile.passes.context_reads import Read, chain, descendants, stays_behind
from buildopt.dockerfile.passes.context_text import Mention, ignored_by_git, mention_of, mention_of_pattern
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import HARMLESS
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.scope import shipped_stages
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.toolchains import starts_a_program

_JS = frozenset(("npm", "yarn", "pnpm", "bun"))
_JS_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb")
# Which folder a build script's program makes, unless its configuration says otherwise.
_JS_OUTPUTS = (("next build", ".next"), ("react-scripts build", "build"), ("vite build", "dist"), ("ng build", "dist"))
_PYTHON = re.compile(r"(?:python|pypy|pip)[0-9.]*|uv|poetry|pdm|pipenv")
_VERSIONED = re.compile(r"SETUPTOOLS_SCM|_SCM_|versioneer|vergen|GIT_(?:COMMIT|SHA|REV|TAG|HASH)", re.IGNORECASE)
_OUTPUT_MOVED = re.compile(r"emptyOutDir|outDir|deleteOutputPath|outputPath\"?\s*:\s*\{|BUILD_PATH")
_COMMITTED = (
    *(".github", ".gitlab-ci.yml", ".circleci", ".travis.yml", "Jenkinsfile", "azure-pipelines.yml", ".idea"),
    *(".vscode", "docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"),
)
# Programs that take a project's files by their names alone; those of _SCRIPTED also run what the project says.
_DIRECT = word_set("apt apt-get apk cargo go rustup update-ca-certificates")
_SCRIPTED = word_set(
    "npm yarn yarnpkg pnpm bun corepack pip pip3 uv poetry pipenv pdm mvn mvnw gradle gradlew make python python3 node"
)
_MODULES = frozenset(("compileall", "ensurepip", "pip", "poetry", "pipenv", "pdm", "uv", "venv", "virtualenv"))
_COPYING = word_set("cp mv tar rsync zip ln install find xargs cat tee patch source .")
_QUIET = HARMLESS - _COPYING
_COPYING_SCRIPT = re.compile(
    r"\b(?:cp|mv|rsync|tar|zip|copyfiles|cpx|cpy|ncp|shx|docker|pack|sh|bash|make|gulp|grunt)\b"
)
_EMBEDS_CRATE = re.compile(r"include_dir!\s*\(\s*\"(?:\$CARGO_MANIFEST_DIR|\.)/?\"|folder\s*=\s*\"\.?/?\"")
_EMBEDS_ALL = re.compile(r"^//go:embed.*[\s\"`](?:all:|\*|\.(?:[\s\"`]|$))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pattern, and the path of the context that stands for what it is about.

    ``made``: the build makes it itself; ``emptied``: and empties it first, so that nothing of it was ever kept.
    """

    pattern: str
    path: str
    why: str
    made: bool = False
    emptied: bool = False


@dataclass(frozen=True)
class Project:
    """A Dockerfile, its context, what it reads of it, and what is kept from it already.

    ``asked``: the first file of the context that speaks of git, looked for once.
    """

    dockerfile: Dockerfile
    context: Path
    reads: Sequence[Read]
    ignored: Ignored
    asked: Callable[[], Mention | str | None]

    def covering(self, path: str) -> list[Read]:
        """The reads of folders that a path lies in."""
        return [read for read in self.reads if read.covers(path)]

    def present(self, path: str) -> bool:
        """Whether the context holds a path now."""
        try:
            return (self.context / path).is_symlink() or (self.context / path).exists()
        except OSError:
            return True

    def holds(self, *names: str, folder: str = ".") -> bool:
        """Whether a folder of the context holds one of these files."""
        return any(self.present(posixpath.normpath(posixpath.join(folder, name))) for name in names)

    def runs_of(self, stages: Sequence[Stage]) -> list[Run]:
        """The RUN instructions of some stages."""
        indexes = {stage.index for stage in stages}
        return [run for run in runs(self.dockerfile) if run.stage.index in indexes]

    def stays_behind(self, path: str) -> bool:
        """Whether a path gets into stages only that are thrown away, and is moved nowhere in them."""
        return all(
            stays_behind(self.dockerfile, read.stage, read.landing(path)) and not self._moved(read, path)
            for read in self.covering(path)
        )

    def _moved(self, read: Read, path: str) -> bool:
        landing = read.landing(path)
        for run in self.runs_of(descendants(self.dockerfile, read.stage)):
            for command, folder in with_folders(run):
                if command.name not in _COPYING or landing is None or folder is None:
                    if command.name in _COPYING:
                        return True
                    continue
                for word in command.arguments:
                    if word.text is None or (
                        not word.text.startswith("-")
                        and relation(posixpath.join(folder, word.text), landing) is not Relation.NONE
                    ):
                        return True
        return False

    @cached_property
    def receivers(self) -> list[Stage]:
        """The stages that have files of folders of the context."""
        found = {
            stage.index: stage
            for read in self.reads
            if read.source == "." or (self.context / read.source).is_dir()
            for stage in descendants(self.dockerfile, read.stage)
        }
        return [found[index] for index in sorted(found)]

    @cached_property
    def unread(self) -> str:
        """The first RUN of these stages that cannot be read; empty where all can."""
        known = {run.instruction.span for run in self.runs_of(self.receivers) if run.script.complete}
        for stage in self.receivers:
            for instruction in stage.instructions:
                if instruction.keyword == "RUN" and instruction.span not in known:
                    return f"`RUN {instruction.arguments.text[:40]}` cannot be read to the end"
        return ""

    def commands(self) -> Iterator[tuple[Run, Command]]:
        """All commands of these stages."""
        for run in self.runs_of(self.receivers):
            for command in run.script.commands:
                if command.words:
                    yield run, command

    @cached_property
    def git_reader(self) -> str:
        """What may ask git, or look into ``.git``; empty where nothing does."""
        if self.unread:
            return self.unread
        for stage in self.receivers:
            if stage.index in shipped_stages(self.dockerfile) and not _starts_its_own(self.dockerfile, stage):
                return "the image may be meant for working in it"
        for run, command in self.commands():
            problem = _asks_git(run, command, self)
            if problem:
                return problem
        mention = self.asked()
        if isinstance(mention, Mention):
            return f"{mention.path}:{mention.line} speaks of {mention.text}"
        return mention or ""

    @cached_property
    def bundler(self) -> str:
        """What may take files of the project along that nobody named; empty where nothing does."""
        if self.unread:
            return self.unread
        for _, command in self.commands():
            name = command.name or ""
            if name in _JS and compiled(command) is not None:
                scripts = _scripts(self.context / "package.json")
                if scripts is None or _COPYING_SCRIPT.search(" ".join(scripts.values())):
                    return "package.json has scripts that may copy whole folders"
            elif name not in _QUIET | _DIRECT | _JS | _COPYING | {"mvn", "gradle"}:
                return f"`{name}` may copy whole folders"
        if self.holds("Cargo.toml") and mention_of_pattern(self.context, _EMBEDS_CRATE) is not None:
            return "a macro that embeds the whole crate"
        embeds = any(_EMBEDS_ALL.search(_text(path)) for path in self.context.glob("*.go"))
        return "a //go:embed of everything" if embeds else ""


def candidates(project: Project) -> Iterator[Candidate]:
    """What a person would think of leaving out of this context."""
    yield Candidate(".git", ".git", "nothing here asks git")
    yield from _node(project)
    yield from _python(project)
    yield from _compiled(project)
    own = Path(project.dockerfile.source.path)
    names = [own.name] if own.is_file() and own.resolve().parent == project.context.resolve() else []
    for name in (*names, *_COMMITTED):
        if project.present(name):
            yield Candidate(name, name, "no program of the build reads it")


def problem(project: Project, candidate: Candidate) -> str:
    """Why a candidate must stay in the context; empty where it may go."""
    path = candidate.path
    present = project.present(path) or (path == "__pycache__" and _has_pycache(project))
    if path == ".git" and project.git_reader:
        return project.git_reader
    if candidate.pattern in ("node_modules", ".venv") or candidate.path.endswith("/node_modules"):
        return _installed_problem(project, candidate, present)
    if candidate.made and not all(_makes(project, read, path) for read in project.covering(path)):
        return "not every stage that gets it makes it itself"
    if not present:
        return ""
    if candidate.made and not ignored_by_git(project.context, path):
        return "git does not ignore it: it may belong to the sources"
    if candidate.emptied:
        return ""
    if not project.stays_behind("x/__pycache__" if path == "__pycache__" else path):
        made = "what this machine built may get into the image now"
        return made if candidate.made else "the image holds it now, and would not any more"
    if path in (".git", "__pycache__") or candidate.made:
        return ""
    if project.bundler:
        return project.bundler
    mention = mention_of(project.context, path)
    return f"{mention.path}:{mention.line} speaks of it" if isinstance(mention, Mention) else mention or ""


def _installed_problem(project: Project, candidate: Candidate, present: bool) -> str:
    """``node_modules`` and ``.venv``: what is installed is laid over by what is copied."""
    path = candidate.path
    if candidate.made and not all(_makes(project, read, path) for read in project.covering(path)):
        return "not every stage that gets it installs it itself"
    if not present:
        return ""
    if candidate.made and not ignored_by_git(project.context, path):
        return "git does not ignore it: it may belong to the sources"
    if path.endswith("node_modules"):
        folder = posixpath.dirname(path) or "."
        locked = project.holds(*_JS_LOCKS, folder=folder)
        return "" if locked else "no lockfile says what it must hold: the image may need what this machine installed"
    return "" if project.stays_behind(path) else "the image holds it now, and would not any more"


def _node(project: Project) -> Iterator[Candidate]:
    seen: set[str] = set()
    for run in runs(project.dockerfile):
        for install in installs(run):
            if install.tool not in _JS or install.folder is None:
                continue
            for read in project.reads:
                for stage_folder in _contexts_of(read, install.folder):
                    path = posixpath.normpath(posixpath.join(stage_folder, "node_modules"))
                    if path not in seen and project.holds("package.json", folder=stage_folder):
                        seen.add(path)
                        yield Candidate(path, path, f"`{install.shown}` makes it", made=True)
    scripts = _scripts(project.context / "package.json") or {}
    build = scripts.get("build", "")
    if any((compiled(command) or ("",))[0] == "node" for _, command in project.commands()):
        for program, output in _JS_OUTPUTS:
            if re.search(rf"(?:^|\s|&&){re.escape(program)}\b(?!.*(?:--outDir|--output-path|-o\b))", build):
                emptied = program != "next build" and not _OUTPUT_MOVED.search(_configurations(project.context))
                yield Candidate(output, output, f"`{program}` makes it", made=True, emptied=emptied)


def _configurations(context: Path) -> str:
    """The files in which a bundler is told where to put its output."""
    names = (*sorted(context.glob("vite.config.*")), context / "angular.json", *sorted(context.glob(".env*")))
    return "\n".join(map(_text, names))


def _contexts_of(read: Read, folder: str) -> Iterator[str]:
    """The folder of the context whose content a read puts into a folder of the stage."""
    if read.folder is not None and (folder == read.folder or folder.startswith(f"{read.folder.rstrip('/')}/")):
        below = folder[len(read.folder) :].lstrip("/")
        yield posixpath.normpath(posixpath.join(read.source, below))


def _python(project: Project) -> Iterator[Candidate]:
    known = states(project.dockerfile)
    based = any(known[-1 - stage.index].base.repository == "python" for stage in project.receivers)
    if not based and not any(_PYTHON.fullmatch(command.name or "") for _, command in project.commands()):
        return
    yield Candidate("**/__pycache__", "__pycache__", "Python makes it where it runs")
    named = re.search(r"(?<![\w-])\.venv", project.dockerfile.source.text) is not None
    uses = any(command.name in ("uv", "poetry", "pdm", "pipenv") for _, command in project.commands())
    yield Candidate(".venv", ".venv", "it belongs to the machine that made it", made=named or uses)


def _compiled(project: Project) -> Iterator[Candidate]:
    for _, command in project.commands():
        tool = (compiled(command) or ("",))[0]
        if tool == "cargo" and project.holds("Cargo.toml"):
            yield Candidate("target", "target", "cargo makes it", made=True)
        elif tool == "mvn" and project.holds("pom.xml"):
            yield Candidate("target", "target", "maven makes it", made=True)
        elif tool == "gradle" and project.holds("build.gradle", "build.gradle.kts", "settings.gradle"):
            yield Candidate("build", "build", "gradle makes it", made=True)
            yield Candidate(".gradle", ".gradle", "gradle makes it", made=True)


def _makes(project: Project, read: Read, path: str) -> bool:
    """Whether the stage of a read, or one that it starts from, makes a path itself (or takes it from another stage)."""
    landing = read.landing(path)
    if landing is None:
        return False
    stages = chain(project.dockerfile, read.stage)
    known = states(project.dockerfile)
    for stage in stages:
        for instruction in stage.instructions:
            if instruction.keyword == "COPY" and instruction.flag("from") is not None:
                text = known[instruction.span.start].value(instruction.words[-1].text, project.dockerfile.escape)
                folder = known[instruction.span.start].workdir
                if text and folder and posixpath.normpath(posixpath.join(folder, text)) == landing:
                    return True
    folder, name = posixpath.split(landing)
    return any(_run_makes(run, folder, name) for run in project.runs_of(stages))


def _run_makes(run: Run, folder: str, name: str) -> bool:
    if name == "node_modules":
        return any(install.tool in _JS and install.folder == folder for install in installs(run))
    for command, here in with_folders(run):
        if here != folder:
            continue
        texts = command.texts
        if name == ".venv":
            by_uv = command.name == "uv" and texts[:1] in (("sync",), ("venv",)) and "--active" not in texts
            if by_uv and (texts[0] == "sync" or all(text.startswith("-") for text in texts[1:])):
                return True
            if (
                texts[:2] == ("-m", "venv")
                and posixpath.normpath(posixpath.join(folder, texts[-1])) == f"{folder}/.venv"
            ):
                return True
            continue
        tool = (compiled(command) or ("",))[0]
        if tool in {"target": ("cargo", "mvn"), "build": ("gradle", "node"), ".gradle": ("gradle",)}.get(
            name, ("node",)
        ):
            return True
    return False


def _asks_git(run: Run, command: Command, project: Project) -> str:
    name = command.name
    if name is None:
        return "a command of its own making is run"
    if name == "git":
        fine = command.texts[:1] in (("clone",), ("config",), ("--version",))
        return "" if fine else f"`git {' '.join(command.texts[:1])}` is run"
    if name.startswith("pip") and any(re.match(r"\.(?:/?$|\[|/)", text) for text in command.texts):
        if "poetry" in _text(project.context / "pyproject.toml"):
            return "poetry asks git which files it ignores"
        return ""
    if name == "go":
        action = command.texts[0] if command.texts else ""
        if action in ("build", "install", "run", "list", "test") and not _unstamped(run, command):
            return "go puts the commit into its programs; -buildvcs=false would not"
        return ""
    if name in ("python", "python3") and command.texts[:1] == ("-m",):
        return "" if command.texts[1:2] and command.texts[1] in _MODULES else f"`{command.texts[1:2]}` is run"
    if _VERSIONED.search(run.script.text):
        return "a version may be taken from the history"
    local = command.argv[0].raw.startswith("./") and project.present(posixpath.normpath(command.argv[0].raw))
    if name in _SCRIPTED | {"sh", "bash"} or local:
        return f"`{name}` may run go, which puts the commit into its programs" if project.holds("go.mod") else ""
    if name in _QUIET | _COPYING | _DIRECT:
        return ""
    return f"`{name}` may ask git"


def _starts_its_own(dockerfile: Dockerfile, stage: Stage) -> bool:
    entries = [item for item in stage.instructions if item.keyword in ("CMD", "ENTRYPOINT")]
    if any(re.search(r"\bgit\b", item.arguments.text) for item in entries):
        return False
    return starts_a_program(stage)


def _unstamped(run: Run, command: Command) -> bool:
    """Whether the Go tool leaves the commit out of what it builds."""
    flags = f"{run.scope.env.get('GOFLAGS') or ''} {' '.join(item.value.raw for item in command.environment)}"
    return "-buildvcs=false" in command.texts or "-buildvcs=false" in flags


def _has_pycache(project: Project) -> bool:
    from buildopt.dockerfile.passes.context_text import files

    seen: set[Path] = set()
    for count, path in enumerate(files(project.context)):
        folder = (project.context / path).parent
        if count > 5_000 or (folder not in seen and (folder / "__pycache__").exists()):
            return True
        seen.add(folder)
    return False


def _scripts(path: Path) -> dict[str, str] | None:
    """The scripts of a package.json; None where it cannot be read."""
    try:
        document = json_value(_text(path))
    except ValueError:
        return None
    scripts = document.get("scripts", {}) if isinstance(document, dict) else {}
    return (
        {name: text for name, text in scripts.items() if isinstance(text, str)} if isinstance(scripts, dict) else None
    )


def _text(path: Path) -> str:
    try:
        return read_text(path, most=512 * 1024)
    except OSError:
        return ""

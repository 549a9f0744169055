"""What the last stage asks of its base image: programs that it runs, files that it gets, packages that it installs."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from buildopt.dockerfile.installs import with_folders
from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.context_reads import context_reads
from buildopt.dockerfile.passes.slim_images import (
    DOCUMENTATION,
    IN_THE_JDK,
    JDK_TOOLS,
    NEEDS_MANUALS,
    OWN_PROGRAMS,
    PACKAGE_PROGRAMS,
    PLACES,
    PROGRAMS,
    USER_PROGRAMS,
    Variant,
)
from buildopt.dockerfile.passes.slim_packages import gems_problem, lock_problem, requirement_problem
from buildopt.dockerfile.passes.slim_sources import lines, listed, problem, scripts_of
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.runs import Run, runs
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.dockerfile.splits.splits import No

_NODE_SCRIPT = word_set(
    "babel eslint nest next ng node nuxt react-scripts rimraf rollup tsc vite vue-cli-service webpack"
)
# Programs of npm that are JavaScript with all that they depend on: no install scripts, no compiled modules, no ELF.
_PURE_PROGRAMS = frozenset(("http-server",))
_PYTHON_MODULES = frozenset(("flask", "uvicorn", "gunicorn", "http.server", "celery", "venv", "compileall"))
_NODE_OUTPUTS = re.compile(
    r"(?:^|/)(?:dist|build|public|static|out|\.next|node_modules|package(?:-lock)?\.json|app|src)/?$"
)
_JAVA_OUTPUTS = re.compile(
    r"\.(?:jar|war)$|/(?:dependency|lib|BOOT-INF|META-INF|classes|extracted|application|spring-boot-loader"
    r"|snapshot-dependencies|dependencies)\b"
)
_ELSEWHERE = re.compile(
    r"-e|--editable|--no-binary.*|--(?:extra-)?index-url.*|-i|--find-links.*|-f|--target.*|-t|--python.*|--root.*"
)
_ENTRIES = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh"))
_INTERPRETERS = frozenset(("python", "python3", "node", "ruby", "irb", "java"))


@dataclass(frozen=True)
class Needs:
    """The last stage of a file, its context, and the smaller image that it might start from."""

    dockerfile: Dockerfile
    stage: Stage
    variant: Variant
    context: Path | None

    def check(self) -> None:
        """Raises No where the full image may be needed."""
        read = {run.instruction.span for run in self.runs if run.script.complete}
        for instruction in self.stage.instructions:
            if instruction.keyword == "ONBUILD":
                raise No(instruction, "what ONBUILD runs may need the full image")
            if instruction.keyword == "RUN" and instruction.span not in read:
                raise No(instruction, "this RUN cannot be read to the end")
        self._packages()
        if self.variant.kind == "bare":
            self._documentation()
            return
        if self.context is None:
            raise No(self.stage.origin, "only the sources tell what the program needs: give --context")
        for run in self.runs:
            for command, folder in with_folders(run):
                self._command(run.instruction, command, folder)
        self._places()
        self._copies()
        self._started()
        found = "" if self.serves_files else problem(self.context, self.listed, self.variant.family)
        if found:
            raise No(self.stage.origin, found)

    @cached_property
    def runs(self) -> list[Run]:
        """Its RUN instructions."""
        return [run for run in runs(self.dockerfile) if run.stage.index == self.stage.index]

    @cached_property
    def listed(self) -> Sequence[str]:
        """The files of the context."""
        return listed(self.context)

    @cached_property
    def programs(self) -> frozenset[str]:
        """The programs that the smaller image has, or the stage installs."""
        found = set(PROGRAMS | OWN_PROGRAMS[self.variant.family])
        if re.search("stretch|buster|bullseye|bookworm", self.variant.tag):
            found |= USER_PROGRAMS
        for run in self.runs:
            for name in _installed(run):
                found.update(PACKAGE_PROGRAMS.get(name, "").split())
        return frozenset(found)

    @cached_property
    def serves_files(self) -> bool:
        """Whether a known program serves files, and nothing of the project runs here."""
        texts = [self._started_text(item) for item in self.stage.instructions if item.keyword in _ENTRIES]
        commands = [command for text in texts if text for command in parse_shell(text).commands]
        commands += [command for run in self.runs for command in run.script.commands if not _installs_pure(command)]
        return bool(commands) and all(command.name in _PURE_PROGRAMS for command in commands)

    def _packages(self) -> None:
        for run in self.runs:
            for name in _installed(run):
                if self.variant.kind in ("bare", "slim") and NEEDS_MANUALS.fullmatch(name):
                    raise No(run.instruction, f"{name} cannot be installed where folders of manual pages are missing")

    # ---- Debian

    def _documentation(self) -> None:
        """Debian's slim images hold the same programs; documentation and translations are left out."""
        for instruction, text in self._texts():
            found = DOCUMENTATION.search(text)
            if found is not None:
                raise No(instruction, f"it speaks of {found.group().strip(' ;&|')}, which slim images leave out")
            language = re.search(r"\bLAN(?:G|GUAGE)[= ][\"']?(?!C\b|C\.|POSIX|en|\$)\w+", text)
            if language is not None and instruction.keyword == "ENV":
                raise No(instruction, "slim images leave out the translations of messages")
        for run in self.runs:
            for command in run.script.commands:
                if _installs_unknown(command):
                    shown = " ".join(word.raw for word in command.words)[:60]
                    raise No(run.instruction, f"`{shown}` may install what wants folders of manual pages")
        for path in self.listed:
            if path.endswith((".sh", ".py", ".pl", "Makefile")):
                assert self.context is not None
                if DOCUMENTATION.search("\n".join(lines(self.context / path) or [])):
                    raise No(self.stage.origin, f"{path} speaks of documentation, which slim images leave out")

    def _texts(self) -> Iterator[tuple[Instruction, str]]:
        for instruction in self.stage.instructions:
            if instruction.keyword in ("RUN", "CMD", "ENTRYPOINT", "COPY", "ENV", "HEALTHCHECK"):
                yield instruction, " ".join([instruction.arguments.text, *(i.body.text for i in instruction.heredocs)])

    def _places(self) -> None:
        for instruction, text in self._texts():
            found = PLACES.search(text)
            if found is not None and self.variant.kind != "jre":
                raise No(instruction, f"it speaks of {found.group()}, which the slim image may lack")
            inside = IN_THE_JDK.search(text)
            if inside is not None and self.variant.kind == "jre":
                raise No(instruction, f"it speaks of {inside.group()}: folders of a JRE differ from those of a JDK")

    # ---- commands

    def _command(self, instruction: Instruction, command: Command, folder: str | None) -> None:
        if not command.words:
            return
        name = command.name
        shown = " ".join(word.raw for word in command.words)[:60]
        if name is None:
            raise No(instruction, f"what `{shown}` runs is not known")
        if self.variant.kind == "jre" and name in JDK_TOOLS:
            raise No(instruction, f"`{name}` is a tool of the JDK, or needs one")
        if self.variant.family == "eclipse-temurin":
            # JDK and JRE images are the same but for Java's own tools and binutils.
            if self._script(command) is not None:
                self._read_script(instruction, command)
            return
        use = recognise(command)
        if use is not None and use.manager.name == "pip":
            if use.subcommand in ("install", "download", "wheel"):
                self._pip(instruction, [word.text for word in use.rest], folder)
            return
        if name == "npm":
            self._npm(instruction, command, folder)
        elif name in ("bundle", "gem"):
            reason = gems_problem(self._in_context(folder, "Gemfile.lock")) if name == "bundle" else "it may compile"
            if reason:
                raise No(instruction, f"`{shown}`: {reason}")
        elif name in ("yarn", "pnpm", "bun"):
            raise No(instruction, f"the lockfile of {name} does not say which packages are compiled")
        elif name in ("python", "python3"):
            self._python(instruction, command, shown)
        elif self._script(command) is not None:
            self._read_script(instruction, command)
        elif name not in self.programs and not self.serves_files:
            raise No(instruction, f"`{name}` may be missing in the smaller image")

    def _python(self, instruction: Instruction, command: Command, shown: str) -> None:
        texts = command.texts
        if texts[:1] == ("-m",) and not _PYTHON_MODULES.intersection(texts[1:2]):
            raise No(instruction, f"what `{shown}` needs is not known")
        if "compilemessages" in texts:
            raise No(instruction, f"`{shown}` needs gettext")

    def _pip(self, instruction: Instruction, words: list[str | None], folder: str | None) -> None:
        minor = re.match(r"3\.([0-9]+)", self.variant.tag)
        version = int(minor[1]) if minor is not None else None
        rest = iter(words)
        for text in rest:
            if text is None:
                raise No(instruction, "what pip installs depends on a variable")
            if text in ("-r", "--requirement", "-c", "--constraint"):
                name = next(rest, None) or ""
                found = lines(self._in_context(folder, name))
                if found is None:
                    raise No(instruction, f"{name or 'what pip reads'} is not in the context")
            elif text.startswith("-"):
                if _ELSEWHERE.fullmatch(text) or text.startswith("-r"):
                    raise No(instruction, f"what pip installs with {text} is not known")
                continue
            else:
                found = [text]
            reason = next(filter(None, (requirement_problem(line, version) for line in found)), "")
            if reason:
                raise No(instruction, reason)

    def _npm(self, instruction: Instruction, command: Command, folder: str | None) -> None:
        words = [text for text in command.texts if not text.startswith("-")]
        action = words[0] if words else ""
        if _installs_pure(command):
            return
        if action in ("ci", "install", "i") and len(words) == 1 and not {"-g", "--global"} & set(command.texts):
            reason = lock_problem(self._in_context(folder, "package-lock.json"))
            if reason:
                raise No(instruction, reason)
            self._npm_scripts(instruction, folder, ("preinstall", "install", "postinstall", "prepare"))
        elif action in ("run", "run-script", "start"):
            self._npm_scripts(instruction, folder, (words[1],) if len(words) > 1 else ("start",))
        elif action not in ("cache", "config", "set", "prune"):
            raise No(instruction, f"what `npm {action}` needs is not known")

    def _npm_scripts(self, instruction: Instruction, folder: str | None, names: Sequence[str]) -> None:
        """The scripts of package.json must run programs of its packages alone."""
        scripts = scripts_of(self._in_context(folder, "package.json"))
        if scripts is None:
            raise No(instruction, "package.json cannot be read")
        for name in [f"{when}{name}" for name in names for when in ("pre", "", "post")]:
            script = parse_shell(scripts.get(name, ""))
            for command in script.commands:
                if not script.complete or (command.words and command.name not in _NODE_SCRIPT | PROGRAMS):
                    raise No(instruction, f"the script {name} of package.json may need the full image")

    def _in_context(self, folder: str | None, name: str) -> Path:
        """The file of the context that a command means; one that is not there where that is not known."""
        assert self.context is not None
        found = self.context / "\n"
        if folder is None or not name:
            return found
        path = posixpath.normpath(posixpath.join(folder, name))
        for read in context_reads(self.dockerfile):
            if isinstance(read, Instruction) or read.folder is None or read.stage.index != self.stage.index:
                continue
            below = path[len(read.folder.rstrip("/")) + 1 :] if path.startswith(f"{read.folder.rstrip('/')}/") else ""
            if path == read.folder:
                candidate = self.context / read.source
            elif below and "*" in read.source:
                candidate = self.context / posixpath.dirname(read.source) / below
            elif below == posixpath.basename(read.source):
                candidate = self.context / read.source
            else:
                candidate = self.context / posixpath.normpath(posixpath.join(read.source, below or "\n"))
            found = candidate if candidate.is_file() else found
        return found

    # ---- what is copied

    def _copies(self) -> None:
        known = states(self.dockerfile)
        family = known[self.stage.origin.span.start].base.repository
        for instruction in self.stage.instructions:
            source = instruction.flag("from")
            if any("from=" in (flag.value or "") for flag in instruction.flags_named("mount")):
                raise No(instruction, "what the mount shows may need the full image")
            if instruction.keyword == "ADD" and any("://" in word.text for word in instruction.words):
                raise No(instruction, "what it downloads may need libraries of the full image")
            if instruction.keyword != "COPY" or source is None:
                continue
            origin = self.dockerfile.stage(source.value or "", self.stage.index)
            base = known[origin.origin.span.start].base.repository if origin is not None else ""
            if not self._portable(base, family, [word.text for word in instruction.words[:-1]]):
                raise No(instruction, f"what comes from {source.value} may need libraries of the full image")

    def _portable(self, base: str, family: str, sources: Sequence[str]) -> bool:
        """Whether what a COPY brings from another stage is known to run on the smaller image."""
        if self.variant.kind == "jre":
            return all(_JAVA_OUTPUTS.search(source) for source in sources)
        if self.variant.kind == "aspnet":
            return base == "mcr.microsoft.com/dotnet/sdk"
        assert self.context is not None
        if self.serves_files:
            return not any("node_modules" in source for source in sources)
        plain = base == family == "node" and all(_NODE_OUTPUTS.search(source) for source in sources)
        return plain and not lock_problem(self.context / "package-lock.json")

    # ---- what is started

    def _started(self) -> None:
        entries = [item for item in self.stage.instructions if item.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK")]
        if not any(item.keyword != "HEALTHCHECK" for item in entries):
            raise No(self.stage.origin, "nothing says what the image runs: it may be meant for working in it")
        for item in entries:
            text = self._started_text(item)
            if text is None:
                continue
            script = parse_shell(text)
            if not script.complete or not script.commands:
                raise No(item, "what it starts cannot be read")
            workdir = states(self.dockerfile)[item.span.start].workdir
            for command in script.commands:
                self._entry(item, command, workdir)

    def _started_text(self, item: Instruction) -> str | None:
        """What CMD, ENTRYPOINT or HEALTHCHECK starts, as a script; None for nothing, and for options of another."""
        if item.command_word == "NONE":
            return None
        if not item.exec_form:
            logical = item.script(self.dockerfile.source)
            return logical.text if logical is not None else ""
        values = list(item.values[1:] if item.keyword == "HEALTHCHECK" else item.values)
        if not values or values[0].startswith("-"):
            return None
        if values[0].rpartition("/")[2] in _SHELLS and len(values) > 2 and "c" in values[1]:
            return values[2]
        return shlex.join(values)

    def _entry(self, item: Instruction, command: Command, workdir: str | None) -> None:
        waits = command.name in ("tail", "sleep") and item.keyword != "HEALTHCHECK"
        if waits or (command.name in _SHELLS | _INTERPRETERS and not command.arguments):
            raise No(item, f"`{command.name}` is started: the image may be meant for working in it")
        if self.variant.kind == "aspnet" and command.name == "dotnet":
            self._published(item, command)
            return
        self._command(item, command, workdir)
        if self.variant.kind == "jre" and command.words and item.keyword != "HEALTHCHECK":
            started = command.name == "java" and "-jar" in command.texts
            if not started and command.name not in PROGRAMS and self._script(command) is None:
                raise No(item, "only `java -jar` is known to do without a JDK")

    def _published(self, item: Instruction, command: Command) -> None:
        """A published program, whose port the file says itself: the runtime image sets another one than the SDK."""
        if not command.texts[:1] or not command.texts[0].endswith(".dll"):
            raise No(item, "it is not a published program that is started")
        environment = states(self.dockerfile)[-1 - self.stage.index].environment
        modern = int(self.variant.tag.partition(".")[0]) >= 8
        names = {"ASPNETCORE_URLS", "ASPNETCORE_HTTP_PORTS"} if modern else {"ASPNETCORE_URLS"}
        if not names & set(environment) and "--urls" not in command.texts:
            told = "ASPNETCORE_HTTP_PORTS" if modern else "ASPNETCORE_URLS"
            raise No(item, f"aspnet images listen on another port than the SDK's: set {told} first")

    def _script(self, command: Command) -> Path | None:
        """The script of the context that a command runs, found by its name."""
        argv = command.argv
        word = argv[1] if command.name in _SHELLS and len(argv) > 1 else argv[0]
        text = word.text or ""
        if self.context is None or ("/" not in text and not text.endswith((".sh", ".py"))):
            return None
        found = [path for path in self.listed if posixpath.basename(path) == posixpath.basename(text)]
        return self.context / found[0] if len(found) == 1 else None

    def _read_script(self, instruction: Instruction, command: Command) -> None:
        path = self._script(command)
        text = lines(path) if path is not None else None
        if path is None or text is None or path.suffix == ".py" or "python" in (text or [""])[0]:
            return  # the sources are read anyway
        script = parse_shell("\n".join(text))
        if not script.complete:
            raise No(instruction, f"{path.name} cannot be read to the end")
        functions = set(re.findall(r"^\s*(?:function\s+)?([A-Za-z_]\w*)\s*\(\)", script.text, re.MULTILINE))
        for inner in script.commands:
            name = inner.name
            if not inner.words or inner.words[-1].raw in ('"$@"', "$@"):
                continue
            java = self.variant.family == "eclipse-temurin" and name is not None
            if self.variant.kind == "jre" and name in JDK_TOOLS:
                raise No(instruction, f"{path.name} runs `{name}`, which is a tool of the JDK")
            if IN_THE_JDK.search(" ".join(word.raw for word in inner.words)) and self.variant.kind == "jre":
                raise No(instruction, f"{path.name} reaches into the JDK's folders")
            if not java and name not in self.programs | functions:
                shown = (name or inner.words[0].raw)[:40]
                raise No(instruction, f"{path.name} runs `{shown}`, which may be missing in the smaller image")


def _installs_pure(command: Command) -> bool:
    """Whether npm installs nothing but known programs of its own, for all users."""
    texts = [text for text in command.texts if not text.startswith("-")]
    names = {re.sub(r"(?<=.)@[\w.^~-]+$", "", text) for text in texts[1:]}
    return (
        command.name == "npm"
        and texts[:1] in (["install"], ["i"], ["add"])
        and bool({"-g", "--global"} & set(command.texts))
        and bool(names)
        and names <= _PURE_PROGRAMS
        and all(text in ("-g", "--global", "--no-audit", "--no-fund") for text in command.texts if text.startswith("-"))
        and len(command.texts) == len(command.arguments)
    )


def _installs_unknown(command: Command) -> bool:
    """Whether packages may be installed that nobody can name."""
    use = recognise(command)
    if use is not None and use.manager.name == "apt":
        unknown = any(word.text is None or word.glob or "/" in word.text for word in use.rest)
        return use.subcommand == "build-dep" or (use.subcommand == "install" and unknown)
    if command.name in ("mk-build-deps", "gdebi", "tasksel", "aptitude", "dpkg"):
        return command.name != "dpkg" or bool({"-i", "--install"} & set(command.texts))
    first = command.argv[0].raw if command.argv else ""
    return first.startswith(("./", "/")) and first.endswith(".sh")


def _installed(run: Run) -> Iterator[str]:
    """The packages that a RUN installs with the distribution's package manager."""
    for command in run.script.commands:
        use = recognise(command)
        if use is not None and use.manager.name in ("apt", "apk") and use.subcommand in ("install", "add"):
            for word in use.rest:
                if word.text is not None and not word.text.startswith("-"):
                    yield re.split(r"[=<>~/:]", word.text)[0]

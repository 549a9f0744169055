"""Commands that fetch a project's dependencies: what they read, where they run, and what compiles a project.

Only what is written in the command counts. An install of packages by name reads no manifest and is none here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildopt.dockerfile import packages
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.scope import joined
from buildopt.dockerfile.shell import Command, Word


@dataclass(frozen=True, slots=True)
class Install:
    """A command that fetches what a manifest lists.

    ``manifests`` are the files to name to people, ``reads`` the path of the first of them as the command means it
    (relative to ``folder``, which is None where it is not known). ``compiles``: it also builds the project. ``hint`` is
    what a command without the project's sources must be given.
    """

    tool: str
    command: Command
    shown: str
    manifests: tuple[str, ...]
    reads: str
    folder: str | None
    compiles: bool = False
    hint: str = ""

    @property
    def path(self) -> str | None:
        """Where the manifest is, absolute."""
        return None if self.folder is None else posixpath.normpath(posixpath.join(self.folder, self.reads))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one tool names its installs. ``folders``: options that say where the project is."""

    actions: frozenset[str]
    manifests: tuple[str, ...]
    builds: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    operands: bool = False
    hint: str = ""
    offline: frozenset[str] = frozenset()
    hintless: frozenset[str] = frozenset()


_GRADLE = _Kind(
    word_set("dependencies resolveDependencies"),
    ("build.gradle", "settings.gradle"),
    builds=word_set("build assemble bootJar shadowJar installDist jar war clean"),
    valued=word_set("-x --exclude-task -b -c -g --gradle-user-home -I"),
    folders=word_set("-p --project-dir"),
    operands=True,
    offline=word_set("--offline"),
)
_MAVEN = _Kind(
    word_set("dependency:go-offline dependency:resolve dependency:resolve-plugins"),
    ("pom.xml",),
    builds=word_set("package install verify compile clean deploy"),
    valued=word_set("-s --settings -P -pl --projects -T --threads -gs -l"),
    folders=word_set("-f --file"),
    operands=True,
    offline=word_set("-o --offline"),
)
_KINDS = {
    "npm": _Kind(
        word_set("ci install i clean-install install-clean"),
        ("package.json", "package-lock.json"),
        valued=word_set("--registry --cache --loglevel --omit --include --only --fetch-timeout --fetch-retries"),
        folders=word_set("--prefix -C"),
        offline=word_set("-g --global --location=global"),
    ),
    "yarn": _Kind(
        word_set("install") | {""},
        ("package.json", "yarn.lock"),
        valued=word_set("--cache-folder --network-timeout --registry --modules-folder --mutex --network-concurrency"),
        folders=word_set("--cwd"),
        offline=word_set("--version -v --help -h"),
    ),
    "pnpm": _Kind(
        word_set("install i"),
        ("package.json", "pnpm-lock.yaml"),
        valued=word_set("--store-dir --filter -F --registry --reporter"),
        folders=word_set("--dir -C --prefix"),
        offline=word_set("-g --global --offline"),
    ),
    "bun": _Kind(
        word_set("install i"), ("package.json", "bun.lock"), folders=word_set("--cwd"), offline=word_set("-g --global")
    ),
    "pipenv": _Kind(
        word_set("install sync"), ("Pipfile", "Pipfile.lock"), valued=word_set("--python --extra-pip-args")
    ),
    "poetry": _Kind(
        word_set("install"),
        ("pyproject.toml", "poetry.lock"),
        valued=word_set("--with --without --only -E --extras"),
        folders=word_set("-C --directory --project -P"),
        hint="--no-root",
        hintless=word_set("--no-root"),
    ),
    "pdm": _Kind(
        word_set("install sync"),
        ("pyproject.toml", "pdm.lock"),
        valued=word_set("-G --group -L --lockfile"),
        folders=word_set("-p --project"),
        hint="--no-self",
        hintless=word_set("--no-self"),
    ),
    "uv": _Kind(
        word_set("sync"),
        ("pyproject.toml", "uv.lock"),
        valued=word_set("--extra --group --no-group --only-group --python -p --index --default-index --cache-dir"),
        folders=word_set("--directory --project"),
        hint="--no-install-project",
        offline=word_set("--offline"),
        hintless=word_set("--no-install-project --no-install-workspace"),
    ),
    "bundle": _Kind(
        word_set("install"),
        ("Gemfile", "Gemfile.lock"),
        valued=word_set("-j --jobs --without --with --path --retry --gemfile --binstubs"),
        offline=word_set("--local --gemfile"),
    ),
    "composer": _Kind(
        word_set("install i"),
        ("composer.json", "composer.lock"),
        valued=word_set("--ignore-platform-req --prefer-install"),
        folders=word_set("-d --working-dir"),
        hint="--no-scripts --no-autoloader",
        hintless=word_set("--no-autoloader"),
    ),
    "cargo": _Kind(
        word_set("fetch"),
        ("Cargo.toml", "Cargo.lock"),
        builds=word_set("build b"),
        valued=word_set("--bin -p --package --target --features -F --target-dir --profile -j --example --config -Z"),
        folders=word_set("--manifest-path"),
        offline=word_set("--offline --frozen"),
    ),
    "dotnet": _Kind(
        word_set("restore"),
        ("*.csproj",),
        builds=word_set("build publish"),
        valued=word_set(
            "-c --configuration -r --runtime -o --output -f --framework -v --verbosity -s --source -a --os"
        ),
        operands=True,
        offline=word_set("--no-restore"),
    ),
    "mix": _Kind(word_set("deps.get"), ("mix.exs", "mix.lock"), valued=word_set("--only")),
    "mvn": _MAVEN,
    "mvnw": _MAVEN,
    "gradle": _GRADLE,
    "gradlew": _GRADLE,
}
_INTERPRETED = re.compile(r"(?:python|pypy)[0-9.]*")


def installs(run: Run) -> Iterator[Install]:
    """The installs of a RUN, each with the folder that it runs in."""
    for command, folder in with_folders(run):
        found = _install(command, folder)
        if found is not None:
            yield found


def with_folders(run: Run) -> Iterator[tuple[Command, str | None]]:
    """The commands of a RUN and the working folder of each, ``cd`` followed; None where it is not known."""
    # Most images that say no WORKDIR have none.
    places: list[tuple[tuple[str, ...], str | None]] = [((), run.scope.workdir or "/")]
    for command in run.script.commands:
        while len(places) > 1 and command.context[: len(places[-1][0])] != places[-1][0]:
            places.pop()
        folder = places[-1][1]
        yield command, folder
        if command.name in ("cd", "pushd", "popd"):
            target = command.arguments[0].text if len(command.arguments) == 1 and command.name != "popd" else None
            places.append((command.context, joined(folder, target) if target else None))


_SCRIPT_RUNNERS = frozenset(("npm", "yarn", "pnpm", "bun"))
_COMPILERS = {
    "go": word_set("build install"),
    "cargo": word_set("build b install"),
    "dotnet": word_set("build publish"),
    "swift": word_set("build"),
    "stack": word_set("build install"),
    "cabal": word_set("build install"),
}


def compiled(command: Command) -> tuple[str, str] | None:
    """What a command compiles with, and the command to show: ``("go", "go build")``; None where it compiles nothing."""
    name = command.name
    if name is None:
        return None
    words = [text for text in command.texts if not text.startswith("-")]
    action = words[0] if words else ""
    if name in _COMPILERS:
        # `go install example.org/tool@v1` and `cargo install tool` install somebody else's program.
        named = action == "install" and not any(text.startswith((".", "/")) for text in words[1:])
        foreign = named and (name != "go" or any("@" in text for text in words[1:])) and "--path" not in command.texts
        return (name, f"{name} {action}") if action in _COMPILERS[name] and not foreign else None
    if name in _SCRIPT_RUNNERS:
        script = words[1] if action == "run" and len(words) > 1 else action
        is_build = script == "build" or script.startswith("build:")
        return ("node", f"{name} {' '.join(words[:2])}".strip()) if is_build else None
    if name in ("mvn", "mvnw", "gradle", "gradlew"):
        kind = _KINDS[name]
        goal = next((text for text in words if text.rpartition(":")[2] in kind.builds - {"clean"}), None)
        family = "gradle" if name.startswith("gradle") else "mvn"
        return None if goal is None else (family, f"{name} {goal}")
    if name == "cmake" and "--build" in command.texts:
        return "make", "cmake --build"
    return ("make", name) if name in ("make", "ninja", "gcc", "g++", "cc", "c++", "clang") else None


def _install(command: Command, folder: str | None) -> Install | None:
    name = command.name
    if name is None or command.negated:
        return None
    if name == "go":
        return _go(command, folder)
    arguments = command.arguments
    if _INTERPRETED.fullmatch(name) and command.texts[:1] == ("-m",) and command.texts[1:2] != ("pip",):
        name, arguments = (command.texts[1:2] or ("",))[0], arguments[2:]
    if (name.startswith("pip") and name != "pipenv") or _INTERPRETED.fullmatch(name):
        return _pip(command, folder)
    kind = _KINDS.get(name)
    return None if kind is None else _plain(name, kind, command, arguments, folder)


def _go(command: Command, folder: str | None) -> Install | None:
    if command.texts[:2] != ("mod", "download") or len(command.arguments) != len(command.texts):
        return None
    if any(not text.startswith("-") for text in command.texts[2:]):
        return None
    return Install("go", command, "go mod download", ("go.mod", "go.sum"), "go.mod", folder)


def _pip(command: Command, folder: str | None) -> Install | None:
    """``pip install -r FILE``, unless it also installs something of the source tree."""
    call = packages.call(command)
    if call is None or call.tool != "pip" or call.action != "install":
        return None
    files = [option.value for option in call.options if option.name in ("-r", "--requirement")]
    own = [word.text or "$" for word in call.operands]
    if not files or call.has("-e", "--editable", "--no-index") or any(text.startswith((".", "/", "$")) for text in own):
        return None
    names = [word.text for word in files if word is not None and word.text is not None]
    if len(names) != len(files) or any("://" in name or name.startswith("/dev/") for name in names):
        return None
    shown = f"pip install -r {names[0]}"
    return Install("pip", command, shown, tuple(posixpath.basename(name) for name in names), names[0], folder)


def _plain(name: str, kind: _Kind, command: Command, arguments: tuple[Word, ...], folder: str | None) -> Install | None:
    operands, options, place = _read(kind, arguments)
    if operands is None or options & kind.offline:
        return None
    # Maven's and Gradle's goals may be several: the first that says anything counts.
    goals = operands if kind.operands and name != "dotnet" else operands[:1] or [""]
    action = next((goal for goal in goals if goal in kind.actions), None)
    builds = next((goal for goal in goals if goal.rpartition(":")[2] in kind.builds), None)
    if action is None and (builds is None or (builds == "clean" and len(goals) == 1)):
        return None
    if not kind.operands and len(operands) > 1:
        return None
    if place is not None:
        file = place.endswith((".xml", ".toml"))
        folder = joined(folder, posixpath.dirname(place) or "." if file else place)
    reads = _project(name, operands, kind)
    shown = " ".join([name, *([action] if action else goals)]).strip()
    hint = "" if options & kind.hintless else kind.hint
    return Install(name, command, shown, kind.manifests, reads, folder, action is None, hint)


def _project(name: str, operands: list[str], kind: _Kind) -> str:
    """The manifest as the command names it."""
    if name != "dotnet":
        return kind.manifests[0]
    project = next((text for text in operands[1:] if not text.startswith(("-", "/p:", "/"))), "")
    return project if project.endswith(("proj", ".sln")) else posixpath.join(project, "*.csproj")


def _read(kind: _Kind, arguments: tuple[Word, ...]) -> tuple[list[str] | None, set[str], str | None]:
    """Operands, options, and the folder that an option names; no operands where one of them is not known."""
    operands: list[str] = []
    options: set[str] = set()
    place: str | None = None
    words = iter(arguments)
    for word in words:
        text = word.text if word.text is not None else word.raw
        if text.startswith("-") and text != "-":
            name, equals, value = text.partition("=")
            options.add(text if text in kind.offline else name)
            if name in kind.folders | kind.valued and not equals:
                following = next(words, None)
                value = (following.text or "$") if following is not None else ""
            if name in kind.folders:
                place = value
        elif word.text is None:
            return None, options, place
        else:
            operands.append(text)
    return (None if place is not None and "$" in place else operands), options, place

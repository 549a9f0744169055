"""Which files of a Node.js project its container needs, and whether it gets along without dev dependencies."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_builds import Built
from buildopt.dockerfile.splits.node_code import (
    SUFFIXES,
    is_builtin,
    package_name,
    resolve,
)
from buildopt.dockerfile.splits.node_commands import Leaf
from buildopt.dockerfile.splits.node_development import development_problem, reads_repository
from buildopt.dockerfile.splits.node_project import Project, package_of
from buildopt.dockerfile.splits.node_start import SHELL_COMMANDS, Needs
from buildopt.dockerfile.splits.node_view import FRAMEWORKS, IDLE_FILES, RUNTIME_CONFIGS, View, view_of

# What is built there holds all that it needs.
_COMPLETE = (".output", ".next/standalone")
_WRAPPERS = word_set(
    "cross-env cross-env-shell dotenv dotenvx env-cmd dumb-init tini exec npm-run-all run-s run-p concurrently pm2 "
    "pm2-runtime pm2-docker forever nodemon node nodejs wait-on infisical doppler su-exec gosu serve http-server >"
)
_IDLE_FOLDERS = word_set(
    ".git .github .gitlab .husky .vscode .idea .circleci .storybook __tests__ __mocks__ test tests e2e cypress "
    "coverage .devcontainer"
)
_PLAIN = frozenset(
    (
        *SUFFIXES,
        ".css",
        ".scss",
        ".sass",
        ".less",
        ".styl",
        ".svg",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".ico",
        ".webp",
        ".avif",
    )
) | {".json", ".woff", ".woff2", ".ttf", ".eot", ".otf", ".map", ".snap", ".pcss", ".module", ".mp3", ".mp4", ".webm"}
_COMPILED = (".ts", ".tsx", ".mts", ".cts", ".jsx", ".vue", ".svelte", ".scss", ".sass", ".less")
_PAGES = word_set(
    "src app pages components lib hooks utils store stores context contexts styles layouts features modules types "
    "services ui"
)
_FILE_ACCESS = re.compile(
    r"__dirname|__filename|process\.cwd|import\.meta\.(?:url|dirname)|readFile|readdir|sendFile|createReadStream|\bfs\b"
)
# They compile what they load.
_COMPILES = re.compile(
    r"^(?:ts-node|tsx|jiti|esm|@babel/register|babel-register|babel-core/register|@swc-node/register|@swc/register|"
    r"esbuild-register|sucrase|coffee-script|coffeescript|css-modules-require-hook|ignore-styles)(?:/.*)?$"
)
# Data, wherever sources speak of it or not.
_DATA = word_set(
    "public static assets views locales locale i18n content posts data migrations uploads config prisma db "
    "database seeders seeds templates messages lang languages translations fonts images img media files storage "
    "certs keys"
)
_MOST_LINES = 14


@dataclass(frozen=True, slots=True)
class Keep:
    """What the runtime stage gets. ``paths`` are relative to the project, ``files`` those of them that are files.

    ``modules``: node_modules too. ``whole``: the project's folder as it is. ``left`` are entries that stay behind.
    ``problem``: why it is not known; ``started``: it is about what the container starts; ``development``: it would be
    none if dev dependencies were shipped.
    """

    paths: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    modules: bool = True
    whole: bool = False
    left: tuple[str, ...] = ()
    problem: str = ""
    started: bool = False
    development: bool = False


def kept(
    project: Project, built: Built, needs: Needs, starting: Sequence[Leaf], *, pruned: bool, peers: bool = True
) -> Keep:
    """Decide. ``pruned``: dev dependencies are to be taken out of node_modules; ``peers``: without those that others
    name as their peers.
    """
    places = [posixpath.relpath(path, project.folder) for path in (*needs.files, *needs.served)]
    outside = next((path for path in places if path == ".." or path.startswith("../")), None)
    if outside is not None:
        place = posixpath.normpath(posixpath.join(project.folder, outside))
        return Keep(problem=f"{place} is not a part of the project", started=True)
    unmade = next((path for path in places if not _is_made(project, built, path)), None)
    if unmade is not None:
        return Keep(problem=f"nothing here is known to make {unmade}", started=True)
    if pruned:
        missing = _started_by_development(project, needs)
        if missing:
            return Keep(problem=missing, started=True, development=True)
    if needs.only_static and "." not in places:
        return _static(project, needs, places)
    if (
        places
        and not needs.served
        and all(path.startswith(_COMPLETE) for path in places)
        and not needs.packages
        and not needs.other
    ):
        return _complete(project, needs, places)
    return _server(project, built, needs, starting, places, pruned=pruned, peers=peers)


def _is_made(project: Project, built: Built, path: str) -> bool:
    if built.unknown or built.beside or path == "." or project.has(path):
        return True
    if any(path + ending in project.files for ending in (".js", ".cjs", ".mjs", "/index.js")):
        return True
    return any(
        path == output or path.startswith(f"{output}/") or output.startswith(f"{path}/") for output in built.outputs
    )


def _started_by_development(project: Project, needs: Needs) -> str:
    for name in sorted(
        needs.packages | {package_name(name) for name in needs.loaded if not name.startswith((".", "/"))}
    ):
        package = package_of(name, project)
        if package in project.development or (
            package in project.locked_for_development and package not in project.dependencies
        ):
            return f"the container needs {package}, a dev dependency"
        if (
            package not in project.dependencies
            and package not in (project.locked or ())
            and package not in project.peers
            and not is_builtin(package)
        ):
            return f"the container needs {package}, which package.json does not list"
    return ""


def _named(project: Project, needs: Needs) -> set[str]:
    """Files and folders of the project that the words of commands name."""
    found = set()
    for word in needs.by_name:
        for part in (word, word.partition("=")[2]):
            path = posixpath.normpath(part.removeprefix(f"{project.folder.rstrip('/')}/"))
            if part and path != "." and not path.startswith(("/", "..", "-")) and project.has(path):
                found.add(path.split("/")[0])
    return found


def _static(project: Project, needs: Needs, places: Sequence[str]) -> Keep:
    paths = {*places, *(_named(project, needs) - {place.split("/")[0] for place in places})}
    if needs.managers:
        paths.add("package.json")
        paths |= _manager_files(project, needs)
    paths |= {name for name in ("serve.json",) if name in project.files}
    if needs.modules:
        paths.add("node_modules")
    return _made(project, paths, needs.modules, ("sources",))


def _manager_files(project: Project, needs: Needs) -> set[str]:
    wanted = {"yarn": ("yarn.lock", ".yarnrc"), "pnpm": ("pnpm-lock.yaml", "pnpm-workspace.yaml")}
    files = {name for manager in needs.managers for name in wanted.get(manager, ())} | {".npmrc"}
    return {name for name in files if name in project.files}


def _complete(project: Project, needs: Needs, places: Sequence[str]) -> Keep:
    paths = {".next" if path.startswith(".next") else path.split("/")[0] for path in places} | _named(project, needs)
    if needs.managers:
        paths |= {"package.json"} | _manager_files(project, needs)
    if ".next" in paths and project.has("public"):
        paths.add("public")
    paths |= {name for name in project.entries if name.startswith(".env")}
    return _made(project, paths, False, ("sources",))


def _made(project: Project, paths: Collection[str], modules: bool, left: tuple[str, ...]) -> Keep:
    plain = {path for path in paths if not any(path.startswith(f"{other}/") for other in paths)}
    files = frozenset(path for path in plain if path in project.files)
    order = sorted(plain, key=lambda path: (path not in files, path != "package.json", path != "node_modules", path))
    return Keep(tuple(order), files, modules, left=left)


def _server(
    project: Project,
    built: Built,
    needs: Needs,
    starting: Sequence[Leaf],
    places: Sequence[str],
    *,
    pruned: bool,
    peers: bool,
) -> Keep:
    view = view_of(project, built, needs, starting, places)
    loading = {name for path in view.running if path in view.codes for name in view.codes[path].imports} | needs.loaded
    compiling = next((name for name in sorted(loading) if _COMPILES.match(name)), None)
    if compiling is not None:
        return Keep(problem=f"{compiling} compiles sources when the container starts", started=True)
    if pruned:
        problem = development_problem(view, built, peers=peers)
        if problem:
            return Keep(problem=problem, development=True)
    if project.repository and (asking := reads_repository(view)):
        return Keep(problem=f"{asking} may ask Git, and .git is a part of the image", started=True)
    programs = {leaf.name for leaf in starting if leaf.local or leaf.fetched}
    unknown = {name for name in programs if not name.endswith(" run")} - FRAMEWORKS - _WRAPPERS - SHELL_COMMANDS
    everything = bool(unknown) or "." in places
    if (built.unknown or built.beside) and project.folder == "/":
        reason = f"what `{built.unknown}` makes" if built.unknown else "what tsc makes beside its sources"
        return Keep(problem=f"{reason} is not known, and the project is not in a folder of its own")
    everything = everything or "nuxt" in built.tools or ("vite" in programs and project.has("svelte.config.js"))
    if built.unknown or built.beside or (everything and project.folder != "/"):
        return Keep(whole=True)
    left = (
        []
        if everything
        else [entry for entry in sorted(project.entries) if _stays_behind(entry, view, built, needs, programs)]
    )
    paths = {"package.json", "node_modules"} | (project.entries - set(left)) | built.outputs
    if not project.dependencies and not project.peers and (pruned or not project.development):
        paths.discard("node_modules")
    paths = {path for path in paths if not path.startswith("node_modules/")}
    behind = tuple(entry for entry in left if any(path.endswith(SUFFIXES) for path in project.below(entry)))
    found = _made(project, paths, "node_modules" in paths, behind)
    odd = next((path for path in found.paths if re.search(r"[^\w./@+~-]", path)), None)
    if odd is not None and project.folder == "/":
        return Keep(problem=f"the name {odd} cannot be written in COPY")
    many = len(found.paths) - len(found.files) + bool(found.files) > _MOST_LINES
    if project.folder != "/" and (many or odd is not None):
        return Keep(whole=True)
    return found


def _stays_behind(entry: str, view: View, built: Built, needs: Needs, programs: Collection[str]) -> bool:
    """Whether an entry of the project's folder is for building alone."""
    project = view.project
    if entry in built.outputs or entry == "package.json" or entry in _named(project, needs):
        return False
    files = list(project.below(entry))
    if any(place.split("/")[0] == entry for place in project.linked):
        return False
    if view.in_place is None or any(path in view.in_place for path in files):
        return False
    framework = bool(FRAMEWORKS - {"prisma"} & set(programs))
    if "vite" in programs and entry in project.files and not entry.endswith((".md", "-lock.json")):
        return False  # what its configuration reads is not known
    if _is_mentioned(entry, view, framework=framework) or entry in _manager_files(project, needs):
        return False
    if entry in project.files:
        if entry.startswith("tsconfig") and _reads_tsconfig(view, needs):
            return False
        if entry == "nodemon.json" and "nodemon" in programs:
            return False
        if entry in ("yarn.lock", "pnpm-lock.yaml"):
            return True
        if any(fnmatchcase(entry, pattern) for pattern in IDLE_FILES):
            return True
        return entry.endswith((".ts", ".tsx", ".mts", ".cts")) and not RUNTIME_CONFIGS.match(entry)
    if entry in _DATA:
        return False
    if entry in _IDLE_FOLDERS:
        return entry.startswith(".") or all(posixpath.splitext(path)[1] in _PLAIN for path in files)
    if entry == "config" and "config" in project.dependencies:
        return False
    if any(posixpath.splitext(path)[1] not in _PLAIN for path in files) or _reads_everything(view):
        return False
    if _crossed(entry, view):
        return False
    compiled = any(path.endswith(_COMPILED) for path in files)
    return compiled or entry == "src" or (framework and entry in _PAGES)


def _reads_tsconfig(view: View, needs: Needs) -> bool:
    """Whether paths of imports are looked up in tsconfig.json when the container runs."""
    loading = {name for code in view.codes.values() for name in code.imports} | needs.loaded
    return any(re.match(r"tsconfig-paths|tsconfig-replace|tspath", name) for name in loading)


def _is_mentioned(entry: str, view: View, *, framework: bool) -> bool:
    """Whether a source speaks of an entry, other than by importing it."""
    expression = re.compile(rf"['\"`/]{re.escape(entry)}(?=['\"`/])")
    for code in view.codes.values():
        if framework and not _FILE_ACCESS.search(code.text):
            continue
        if entry in code.text and expression.search(code.text):
            return True
    return entry in view.settings and expression.search(view.settings) is not None


def _reads_everything(view: View) -> bool:
    """Whether a source looks for files everywhere."""
    return any(re.search(r"['\"`](?:\./)?\*\*?/", code.text) for code in view.codes.values())


def _crossed(entry: str, view: View) -> bool:
    """Whether sources elsewhere import plain JavaScript or data of this folder, which no compiler moves for certain."""
    for path, code in view.codes.items():
        if path.split("/")[0] == entry or path not in view.running:
            continue
        for specifier in code.imports:
            target = resolve(specifier, path, view.project, view.options)
            if (
                target is not None
                and target.split("/")[0] == entry
                and target.endswith((".js", ".cjs", ".mjs", ".json"))
            ):
                return True
    return False

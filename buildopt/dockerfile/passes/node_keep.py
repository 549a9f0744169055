"""Which files of a Node.js project its container needs, and whether it gets along without dev dependencies."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.node_builds import Built
from buildopt.dockerfile.passes.node_code import (
    SUFFIXES,
    Code,
    is_builtin,
    is_internal,
    package_name,
    reachable,
    read_code,
    resolve,
)
from buildopt.dockerfile.passes.node_commands import Leaf
from buildopt.dockerfile.passes.node_project import Compiler, Project, compiler, package_of
from buildopt.dockerfile.passes.node_start import SHELL_COMMANDS, Needs

# What is built there holds all that it needs.
_COMPLETE = (".output", ".next/standalone")
# Frameworks whose container reads what they built, their configuration, and data; no sources.
_FRAMEWORKS = word_set("next remix-serve react-router-serve prisma vite")
_WRAPPERS = word_set(
    "cross-env cross-env-shell dotenv dotenvx env-cmd dumb-init tini exec npm-run-all run-s run-p concurrently pm2 "
    "pm2-runtime pm2-docker forever nodemon node nodejs wait-on infisical doppler su-exec gosu serve http-server >"
)
_IDLE_FILES = (
    *("package-lock.json", "npm-shrinkwrap.json", "README*", "readme*", "LICENSE*", "CHANGELOG*", "CONTRIBUTING*"),
    *(
        "Dockerfile*",
        "*.Dockerfile",
        "docker-compose*",
        "compose.y*ml",
        ".dockerignore",
        ".gitignore",
        ".gitattributes",
    ),
    *(
        ".editorconfig",
        ".eslint*",
        "eslint.config.*",
        ".prettier*",
        "prettier.config.*",
        "jest.config.*",
        "jest-*.json",
    ),
    *("tsconfig*.json", "tsconfig*.tsbuildinfo", "jsconfig.json", "nest-cli.json", "angular.json", ".browserslistrc"),
    *(
        "babel.config.*",
        ".babelrc*",
        "vite.config.*",
        "vitest.config.*",
        "webpack.*.js",
        "webpack.config.*",
        "rollup.config.*",
    ),
    *(
        "postcss.config.*",
        "tailwind.config.*",
        "craco.config.*",
        "vue.config.*",
        "karma.conf.*",
        "tslint.json",
        "nodemon.json",
    ),
    *(
        ".nvmrc",
        ".swcrc",
        ".node-version",
        ".travis.yml",
        ".gitlab-ci.yml",
        "Jenkinsfile",
        "Makefile",
        "renovate.json",
        ".lintstagedrc*",
    ),
    *("commitlint.config.*", ".commitlintrc*", ".huskyrc*", ".nycrc*", ".mocharc*", "cypress.json", "cypress.config.*"),
    *(
        "playwright.config.*",
        "tsup.config.*",
        "sonar-project.properties",
        "next-env.d.ts",
        "setupTests.*",
        ".stylelint*",
    ),
    *(
        "gulpfile.*",
        "Gruntfile.*",
        "ng-package.json",
        "components.json",
        "codecov.y*ml",
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
    ),
)
_IDLE_FOLDERS = word_set(
    ".git .github .gitlab .husky .vscode .idea .circleci .storybook __tests__ __mocks__ test tests e2e cypress "
    "coverage .devcontainer"
)
_TESTS = re.compile(
    r"(?:^|/)(?:__tests__|__mocks__|__fixtures__|tests?|e2e|spec|specs|cypress|playwright|stories|\.storybook|benchmarks?|examples?)/"
    r"|[.-](?:test|spec|stories|story|cy|bench|e2e-spec|d)\.[cm]?[jt]sx?$|(?:^|/)setupTests\.\w+$"
)
_TOOLS = re.compile(
    r"(?:^|/)(?:[\w.-]+\.(?:config|conf)\.[\w.]+|gulpfile[\w.]*|Gruntfile\.\w+|webpack[\w.-]*|rollup[\w.-]*|\.[\w.-]+rc\.[cm]?js|"
    r"vite[\w.-]*\.[cm]?[jt]s|jest[\w.-]*\.[cm]?[jt]s|karma[\w.-]*|protractor[\w.-]*|commitlint[\w.-]*|codegen\.\w+)$"
)
_RUNTIME_CONFIGS = re.compile(
    r"^(?:next|nuxt|next-i18next|remix|ecosystem|pm2|astro|app|server|prisma|mikro-orm|ormconfig)[\w-]*\.config\.\w+$|^ecosystem"
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
# Libraries load these by name, whoever lists them.
_LOADED_BY_NAME = word_set(
    "pg pg-native mysql mysql2 sqlite3 better-sqlite3 tedious oracledb mongodb mongoose redis ioredis ejs pug hbs "
    "handlebars nunjucks express-handlebars eta mustache @nestjs/platform-express @nestjs/platform-fastify class- "
    "validator class-transformer class-transformer-validator pino-pretty bufferutil utf-8-validate encoding sharp "
    "critters swagger-ui-express @fastify/static @fastify/view fastify-swagger apollo-server-express kafkajs "
    "amqplib amqp-connection-manager nats mqtt @grpc/grpc-js @grpc/proto-loader socket.io ts-morph @as- "
    "integrations/express ffmpeg-static libsql @libsql/client opusscript @discordjs/opus sodium-native libsodium- "
    "wrappers tweetnacl erlpack zlib-sync @swc/helpers regenerator-runtime @napi-rs/canvas canvas"
)
# Others want these installed beside them, which older package managers do not see to.
_PEERS = word_set(
    "@nestjs/core @nestjs/common rxjs reflect-metadata react react-dom vue next nuxt express graphql ws "
    "@prisma/client core-js @babel/runtime"
)
_BUILD_ONLY = re.compile(
    r"^(?:@types/.*|.*eslint.*|.*prettier.*|.*jest.*|typescript|.*babel.*|.*webpack.*|.*rollup.*|vite|.*vitest.*|mocha|chai|sinon|husky|"
    r"lint-staged|.*stylelint.*|tslint.*|.*-loader|nodemon|ts-node.*|tsx|sass|node-sass|less|postcss.*|tailwindcss|autoprefixer|esbuild|"
    r".*testing.*|supertest|nyc|c8|rimraf|cross-env|copyfiles|concurrently|npm-run-all|.*storybook.*|cypress|playwright|.*playwright.*|"
    r"gulp.*|grunt.*|@nestjs/cli|@nestjs/schematics|@angular.*|@vue/.*|svelte.*|terser|.*commitlint.*|.*semantic-release.*)$"
)
_SPAWNS = re.compile(r"child_process|['\"](?:execa|shelljs|zx|cross-spawn|foreground-child)['\"]")
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
_MOST_TEXT = 1 << 16
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


@dataclass(frozen=True, slots=True)
class _View:
    """The sources of a project, and which of them run."""

    project: Project
    options: Compiler
    codes: Mapping[str, Code]
    running: frozenset[str]
    in_place: frozenset[str] | None
    settings: str


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
    view = _view(project, built, needs, starting, places)
    loading = {name for path in view.running if path in view.codes for name in view.codes[path].imports} | needs.loaded
    compiling = next((name for name in sorted(loading) if _COMPILES.match(name)), None)
    if compiling is not None:
        return Keep(problem=f"{compiling} compiles sources when the container starts", started=True)
    if pruned:
        problem = _development_problem(view, built, peers=peers)
        if problem:
            return Keep(problem=problem, development=True)
    programs = {leaf.name for leaf in starting if leaf.local or leaf.fetched}
    unknown = {name for name in programs if not name.endswith(" run")} - _FRAMEWORKS - _WRAPPERS - SHELL_COMMANDS
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


def _view(project: Project, built: Built, needs: Needs, starting: Sequence[Leaf], places: Sequence[str]) -> _View:
    options = next((found for found in built.compilers if found.found), compiler(project))
    own = {path.rpartition("/")[0] for path in project.files if path.endswith("/package.json")}
    codes = {path: read_code(project.text(path)) for path in project.files if path.endswith(SUFFIXES)}
    framework = bool(
        {leaf.name for leaf in starting} & (_FRAMEWORKS - {"prisma", "vite"}) or built.tools & {"next", "nuxt"}
    )
    preview = any(leaf.name == "vite" for leaf in starting)
    configs = [path for path in codes if _RUNTIME_CONFIGS.match(path) or (preview and path.startswith("vite.config."))]
    plain = [
        path
        for path in codes
        if path in configs
        or not (
            path in built.scripts
            or _TESTS.search(path)
            or _TOOLS.search(path)
            or any(path.startswith(f"{folder}/") for folder in own)
        )
    ]
    placed = [found for path in (*places, *_loaded(needs)) if (found := _in_context(path, project)) is not None]
    sources = [_source(path, project, built, codes) for path in places if _in_context(path, project) is None]
    running: set[str] | None = None
    if not framework and None not in sources and (sources or placed):
        running = reachable((*placed, *(path for path in sources if path), *configs), codes, project, options)
    everything = frozenset(reachable(plain, codes, project, options, strict=False) or plain)
    in_place = reachable((*placed, *configs), codes, project, options)
    return _View(
        project,
        options,
        codes,
        everything if running is None else frozenset(running),
        None if in_place is None else frozenset(in_place),
        _settings(project),
    )


def _settings(project: Project) -> str:
    """The text of files right in the project's folder that are neither sources nor for building alone."""
    found = [json.dumps({key: project.package.get(key) for key in ("prisma", "_moduleAliases", "imports", "config")})]
    for path in sorted(project.files):
        if "/" in path or path == "package.json" or path.endswith((*SUFFIXES, ".lock", "-lock.yaml")):
            continue
        if not any(fnmatchcase(path, pattern) for pattern in _IDLE_FILES):
            found.append(project.text(path)[:_MOST_TEXT])
    return "\n".join(found)


def _loaded(needs: Needs) -> list[str]:
    return [posixpath.normpath(name) for name in needs.loaded if name.startswith(".")]


def _in_context(path: str, project: Project) -> str | None:
    for candidate in (path, f"{path}.js", f"{path}.cjs", f"{path}.mjs", f"{path}/index.js"):
        if candidate in project.files:
            return candidate
    return None


def _source(path: str, project: Project, built: Built, codes: Mapping[str, Code]) -> str | None:
    """The source that a compiled file was made of."""
    stem = re.sub(r"\.[cm]?js$", "", path)
    for found in built.compilers:
        if found.output and (stem == found.output or stem.startswith(f"{found.output}/")):
            below = posixpath.relpath(stem, found.output)
            roots = [found.root] if found.root else [".", "src", "app", "server", "lib", "source"]
            for root in roots:
                for name in (below, posixpath.join(below, "index")):
                    for suffix in (".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs"):
                        candidate = posixpath.normpath(posixpath.join(str(root), name + suffix))
                        if candidate in codes:
                            return candidate
    return None


def _development_problem(view: _View, built: Built, *, peers: bool) -> str:
    """Why dev dependencies may be needed when the container runs."""
    project, options = view.project, view.options
    loaded = sorted(project.development & (_LOADED_BY_NAME | (_PEERS if peers else frozenset())))
    # SvelteKit's adapter bundles dev dependencies.
    bundled = "@sveltejs/adapter-node" in project.development | project.dependencies and "vite" in built.tools
    known = project.dependencies | (project.locked or frozenset()) | project.peers
    for path in sorted(view.running):
        code = view.codes.get(path)
        if code is None or (bundled and path.startswith("src/")):
            continue
        if _SPAWNS.search(code.raw) and (word := _spawned(code.text, project)):
            return f"{path} may run {word}, a dev dependency"
        for specifier in sorted(code.imports):
            name = package_name(specifier)
            if (
                name in known
                or is_builtin(specifier)
                or (name not in project.development and is_internal(specifier, project, options))
            ):
                continue
            if specifier.startswith((".", "/")):
                continue
            if name in project.development and not (name.startswith("@types/")):
                return f"{path} imports {name}, a dev dependency"
            typed = f"@types/{name.removeprefix('@').replace('/', '__')}"
            if typed in project.development | project.dependencies and name not in project.locked_for_development:
                continue
            return f"{path} imports {name}, which package.json does not list"
        for name in project.development:
            if not _BUILD_ONLY.match(name) and re.search(rf"['\"`]{re.escape(name)}['\"`/]", code.text):
                return f"{path} names {name}, a dev dependency"
    if loaded:
        return f"{loaded[0]} is a dev dependency that libraries load when they run"
    if options.helpers and "tslib" not in known:
        return "tslib, which the compiled code needs, is not among the dependencies"
    if any(name.endswith("plugin-transform-runtime") for name in project.development) and "@babel/runtime" not in known:
        return "@babel/runtime, which the compiled code needs, is not among the dependencies"
    if (
        "next.config.ts" in project.files
        and "typescript" in project.development
        and any(name == "next" for name in built.tools)
    ):
        return "next.config.ts needs typescript, a dev dependency, when the container starts"
    if (
        project.has("config")
        and "config" in project.dependencies
        and any(path.endswith(".ts") for path in project.below("config"))
    ):
        return "config/ holds TypeScript, which needs a dev dependency when the container starts"
    if "prisma" in project.development and "pnpm-lock.yaml" in project.files:
        return "pnpm keeps the generated Prisma client among what prisma, a dev dependency, brings"
    return ""


def _spawned(text: str, project: Project) -> str:
    """A dev dependency that a source which starts programs may start."""
    if re.search(r"\b(?:npx|npm|yarn|pnpm)\s", text):
        return "what npx or npm finds"
    programs = {name.rpartition("/")[2]: name for name in project.development if not name.startswith("@types/")}
    words = set(re.findall(r"[\w.-]+", text))
    return next((name for program, name in sorted(programs.items()) if program in words), "")


def _stays_behind(entry: str, view: _View, built: Built, needs: Needs, programs: Collection[str]) -> bool:
    """Whether an entry of the project's folder is for building alone."""
    project = view.project
    if entry in built.outputs or entry == "package.json" or entry in _named(project, needs):
        return False
    files = list(project.below(entry))
    if any(place.split("/")[0] == entry for place in project.linked):
        return False
    if view.in_place is None or any(path in view.in_place for path in files):
        return False
    framework = bool(_FRAMEWORKS - {"prisma"} & set(programs))
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
        if any(fnmatchcase(entry, pattern) for pattern in _IDLE_FILES):
            return True
        return entry.endswith((".ts", ".tsx", ".mts", ".cts")) and not _RUNTIME_CONFIGS.match(entry)
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


def _reads_tsconfig(view: _View, needs: Needs) -> bool:
    """Whether paths of imports are looked up in tsconfig.json when the container runs."""
    loading = {name for code in view.codes.values() for name in code.imports} | needs.loaded
    return any(re.match(r"tsconfig-paths|tsconfig-replace|tspath", name) for name in loading)


def _is_mentioned(entry: str, view: _View, *, framework: bool) -> bool:
    """Whether a source speaks of an entry, other than by importing it."""
    expression = re.compile(rf"['\"`/]{re.escape(entry)}(?=['\"`/])")
    for code in view.codes.values():
        if framework and not _FILE_ACCESS.search(code.text):
            continue
        if entry in code.text and expression.search(code.text):
            return True
    return entry in view.settings and expression.search(view.settings) is not None


def _reads_everything(view: _View) -> bool:
    """Whether a source looks for files everywhere."""
    return any(re.search(r"['\"`](?:\./)?\*\*?/", code.text) for code in view.codes.values())


def _crossed(entry: str, view: _View) -> bool:
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

"""The sources of a Node.js project as its container sees them: which run, which run where they lie, what they name."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_builds import Built
from buildopt.dockerfile.splits.node_code import (
    SUFFIXES,
    Code,
    reachable,
    read_code,
)
from buildopt.dockerfile.splits.node_commands import Leaf
from buildopt.dockerfile.splits.node_project import Compiler, Project, compiler
from buildopt.dockerfile.splits.node_start import Needs

# Frameworks whose container reads what they built, their configuration, and data; no sources.
FRAMEWORKS = word_set("next remix-serve react-router-serve prisma vite")
IDLE_FILES = (
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
_TESTS = re.compile(
    r"(?:^|/)(?:__tests__|__mocks__|__fixtures__|tests?|e2e|spec|specs|cypress|playwright|stories|\.storybook|benchmarks?|examples?)/"
    r"|[.-](?:test|spec|stories|story|cy|bench|e2e-spec|d)\.[cm]?[jt]sx?$|(?:^|/)setupTests\.\w+$"
)
_TOOLS = re.compile(
    r"(?:^|/)(?:[\w.-]+\.(?:config|conf)\.[\w.]+|gulpfile[\w.]*|Gruntfile\.\w+|webpack[\w.-]*|rollup[\w.-]*|\.[\w.-]+rc\.[cm]?js|"
    r"vite[\w.-]*\.[cm]?[jt]s|jest[\w.-]*\.[cm]?[jt]s|karma[\w.-]*|protractor[\w.-]*|commitlint[\w.-]*|codegen\.\w+)$"
)
RUNTIME_CONFIGS = re.compile(
    r"^(?:next|nuxt|next-i18next|remix|ecosystem|pm2|astro|app|server|prisma|mikro-orm|ormconfig)[\w-]*\.config\.\w+$|^ecosystem"
)
# `./workers/resize.js` in quotes.
_FILE_NAMES = re.compile(r"(?:['\"`/])([\w.@-]+)\.[cm]?[jt]s['\"`]")
_MOST_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class View:
    """The sources of a project, and which of them run."""

    project: Project
    options: Compiler
    codes: Mapping[str, Code]
    running: frozenset[str]
    in_place: frozenset[str] | None
    settings: str


def view_of(project: Project, built: Built, needs: Needs, starting: Sequence[Leaf], places: Sequence[str]) -> View:
    options = next((found for found in built.compilers if found.found), compiler(project))
    own = {path.rpartition("/")[0] for path in project.files if path.endswith("/package.json")}
    codes = {path: read_code(project.text(path)) for path in project.files if path.endswith(SUFFIXES)}
    framework = bool(
        {leaf.name for leaf in starting} & (FRAMEWORKS - {"prisma", "vite"}) or built.tools & {"next", "nuxt"}
    )
    preview = any(leaf.name == "vite" for leaf in starting)
    configs = [path for path in codes if RUNTIME_CONFIGS.match(path) or (preview and path.startswith("vite.config."))]
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
    if running is not None:
        running = _with_named(running, codes, project, options)
    everything = frozenset(reachable(plain, codes, project, options, strict=False) or plain)
    in_place = reachable((*placed, *configs), codes, project, options)
    return View(
        project,
        options,
        codes,
        everything if running is None else frozenset(running),
        None if in_place is None else frozenset(in_place),
        _settings(project),
    )


def _with_named(running: set[str], codes: Mapping[str, Code], project: Project, options: Compiler) -> set[str] | None:
    """What runs, with the sources that it names as files rather than imports: workers, jobs, plugins."""
    found = set(running)
    others = {path for path in codes if path not in found and not _TESTS.search(path) and not _TOOLS.search(path)}
    while True:
        said = {name for path in found & codes.keys() for name in _FILE_NAMES.findall(codes[path].text)}
        named = sorted(path for path in others - found if _stem(path) in said)
        more = reachable(named, codes, project, options) if named else set()
        if more is None:
            return None
        if not more - found:
            return found
        found |= more


def _stem(path: str) -> str:
    return re.sub(r"\.[cm]?[jt]sx?$", "", posixpath.basename(path))


def _settings(project: Project) -> str:
    """The text of files right in the project's folder that are neither sources nor for building alone."""
    found = [json.dumps({key: project.package.get(key) for key in ("prisma", "_moduleAliases", "imports", "config")})]
    for path in sorted(project.files):
        if "/" in path or path == "package.json" or path.endswith((*SUFFIXES, ".lock", "-lock.yaml")):
            continue
        if not any(fnmatchcase(path, pattern) for pattern in IDLE_FILES):
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

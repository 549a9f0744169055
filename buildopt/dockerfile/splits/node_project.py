"""A Node.js project as a build sees it: package.json, lock file, tsconfig files, and which files there are."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.dockerfile import files as context_files
from buildopt.dockerfile.context import Ignored
from buildopt.dockerfile.files import json_value
from buildopt.dockerfile.splits.brought import Brought

_MAX_FILES = 20_000
_SKIPPED = frozenset((".git", "node_modules"))
_JSON_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)
# The programs of packages that are called otherwise.
_PROGRAMS = {
    "tsc": "typescript",
    "tsserver": "typescript",
    "ng": "@angular/cli",
    "nest": "@nestjs/cli",
    "vue-cli-service": "@vue/cli-service",
    "remix-serve": "@remix-run/serve",
    "remix": "@remix-run/dev",
    "react-router-serve": "@react-router/serve",
    "react-router": "@react-router/dev",
    "sequelize": "sequelize-cli",
    "sequelize-cli": "sequelize-cli",
    "strapi": "@strapi/strapi",
    "nuxt-ts": "@nuxt/typescript-runtime",
    "dotenv": "dotenv-cli",
    "run-s": "npm-run-all",
    "run-p": "npm-run-all",
    "pm2-runtime": "pm2",
    "pm2-docker": "pm2",
    "medusa": "@medusajs/cli",
    "babel": "@babel/cli",
    "babel-node": "@babel/node",
    "cross-env-shell": "cross-env",
    "ncc": "@vercel/ncc",
    "svelte-kit": "@sveltejs/kit",
    "storybook": "storybook",
    "typeorm-ts-node-commonjs": "typeorm",
    "typeorm-ts-node-esm": "typeorm",
    "webpack-cli": "webpack-cli",
    "blitz": "blitz",
    "keystone": "@keystone-6/core",
    "payload": "payload",
    "docusaurus": "@docusaurus/core",
    "graphql-codegen": "@graphql-codegen/cli",
    "swc": "@swc/cli",
    "eleventy": "@11ty/eleventy",
    "cap": "@capacitor/cli",
    "tailwindcss": "tailwindcss",
    "ts-node-dev": "ts-node-dev",
    "tsnd": "ts-node-dev",
    "node-pg-migrate": "node-pg-migrate",
    "fastify": "fastify-cli",
    "cds-serve": "@sap/cds",
    "sirv": "sirv-cli",
    "envsub": "envsub",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A package.json and the files beside it. ``files`` are paths below its folder, and where each is on disk.

    ``dependencies`` are those that a production install has as far as package.json says, ``locked`` those that
    package-lock.json says (None where it says nothing). ``repository``: Git's own folder is brought along, which
    ``files`` do not have. ``problem`` is why it cannot be read.
    """

    folder: str = "/"
    files: Mapping[str, Path] = field(default_factory=dict)
    name: str = ""
    dependencies: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    development: frozenset[str] = frozenset()
    scripts: Mapping[str, str] = field(default_factory=dict)
    package: Mapping[str, object] = field(default_factory=dict)
    locked: frozenset[str] | None = None
    locked_for_development: frozenset[str] = frozenset()
    repository: bool = False
    problem: str = ""

    @property
    def entries(self) -> frozenset[str]:
        """The names of files and folders right in the project's folder."""
        return frozenset(path.split("/", 1)[0] for path in self.files)

    def has(self, path: str) -> bool:
        """Whether a file or a folder of that name is there."""
        path = posixpath.normpath(path)
        return path == "." or path in self.files or any(name.startswith(f"{path}/") for name in self.files)

    @property
    def linked(self) -> tuple[str, ...]:
        """The folders of the project, or beside it, that node_modules links to."""
        found = []
        for key in ("dependencies", "optionalDependencies", "devDependencies"):
            for value in mapping(self.package.get(key)).values():
                match = re.match(
                    r"(?:file:|link:|portal:)?((?:\.{1,2}/|/|~/).*)|(?:file:|link:|portal:)(.*)", str(value)
                )
                place = (match.group(1) or match.group(2)) if match else ""
                if place and not place.endswith((".tgz", ".tar.gz")):
                    found.append(posixpath.normpath(place))
        return tuple(found)

    def below(self, entry: str) -> Iterator[str]:
        """The files that an entry is or holds."""
        return (path for path in self.files if path == entry or path.startswith(f"{entry}/"))

    def text(self, path: str) -> str:
        """A file's text, empty where there is none."""
        place = self.files.get(posixpath.normpath(path))
        return "" if place is None else read_text(place)


def read_text(path: Path) -> str:
    """The text of a file, empty where it cannot be read or is too large to be a source."""
    try:
        return context_files.read_text(path, "utf-8-sig")
    except OSError:
        return ""


def loose_json(text: str) -> Mapping[str, object]:
    """An object in JSON, comments and trailing commas allowed; empty where it is none."""
    plain = _JSON_TOKENS.sub(lambda match: match.group() if match.group()[0] == '"' else "", text)
    try:
        found = json_value(_JSON_TOKENS.sub(lambda match: match.group() if match.group()[0] == '"' else "", plain))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def mapping(value: object) -> Mapping[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def package_of(program: str, project: Project) -> str:
    """The package that a program of node_modules/.bin comes from."""
    if program in project.dependencies or program in project.development:
        return program
    known = _PROGRAMS.get(program, program)
    if program == "nuxt" and "nuxt-edge" in project.dependencies:
        return "nuxt-edge"
    if program == "strapi" and "strapi" in project.dependencies:
        return "strapi"
    if program in ("run-s", "run-p") and "npm-run-all2" in project.dependencies | project.development:
        return "npm-run-all2"
    return known


def program_of(package: str) -> str:
    """The program of a package with a scope, where it is known, and else the package itself."""
    return next((program for program, known in _PROGRAMS.items() if known == package), package)


def read_project(folder: str, entries: Sequence[Brought], context: Path, hidden: Ignored) -> Project:
    """The project whose package.json the build puts into ``folder``."""
    files = _files(folder, entries, context, hidden)
    if files is None:
        return Project(problem="the context holds too many files to read")
    place = files.get("package.json")
    if place is None:
        return Project(problem=f"{posixpath.join(folder, 'package.json')} is not in the context")
    try:
        package = json_value(read_text(place))
    except ValueError:
        package = None
    if not isinstance(package, dict):
        return Project(problem="package.json cannot be read")
    scripts = {key: value for key, value in mapping(package.get("scripts")).items() if isinstance(value, str)}
    runtime = {*mapping(package.get("dependencies")), *mapping(package.get("optionalDependencies"))}
    locked, marked = _locked(files)
    return Project(
        folder,
        files,
        str(package.get("name") or ""),
        frozenset(runtime),
        frozenset(mapping(package.get("peerDependencies"))),
        frozenset(mapping(package.get("devDependencies"))) - runtime,
        scripts,
        package,
        locked,
        marked,
        any(_brings_git(folder, entry, context, hidden) for entry in entries),
    )


def _brings_git(folder: str, entry: Brought, context: Path, hidden: Ignored) -> bool:
    if not entry.path.startswith(folder.rstrip("/")):
        return False
    origin = entry.origin if posixpath.basename(entry.origin) == ".git" else posixpath.join(entry.origin, ".git")
    return (context / origin).exists() and not hidden.hides(posixpath.normpath(origin))


def _files(folder: str, entries: Sequence[Brought], context: Path, hidden: Ignored) -> dict[str, Path] | None:
    found: dict[str, Path] = {}
    start = f"{folder.rstrip('/')}/"
    for entry in entries:
        if not entry.path.startswith(start):
            continue
        own = entry.path[len(start) :]
        if own.split("/")[0] in _SKIPPED:
            continue
        if not entry.folder:
            found[own] = context / entry.origin
            continue
        for place, names, inside in os.walk(context / entry.origin):
            below = posixpath.normpath(Path(place).relative_to(context).as_posix())
            names[:] = sorted(
                name for name in names if name not in _SKIPPED and not hidden.hides(posixpath.join(below, name))
            )
            for name in sorted(inside):
                path = posixpath.join(below, name)
                if not hidden.hides(path):
                    found[posixpath.normpath(own + path[len(entry.origin) :])] = context / path
            if len(found) > _MAX_FILES:
                return None
    return found


def _locked(files: Mapping[str, Path]) -> tuple[frozenset[str] | None, frozenset[str]]:
    """What package-lock.json (version 2 and later) installs at the top: without, and only with dev dependencies."""
    place = files.get("package-lock.json") or files.get("npm-shrinkwrap.json")
    if place is None:
        return None, frozenset()
    packages = mapping(loose_json(read_text(place)).get("packages"))
    if not packages:
        return None, frozenset()
    plain: set[str] = set()
    marked: set[str] = set()
    for path, value in packages.items():
        if path.startswith("node_modules/") and "/node_modules/" not in path:
            name = path[len("node_modules/") :]
            (marked if mapping(value).get("dev") else plain).add(name)
    return frozenset(plain), frozenset(marked)


@dataclass(frozen=True, slots=True)
class Compiler:
    """What a tsconfig says. Paths are relative to the project. ``output`` is None where it writes beside the sources.

    ``aliases`` are the beginnings of imports that mean files of the project.
    """

    output: str | None = None
    root: str | None = None
    base: str | None = None
    aliases: tuple[str, ...] = ()
    helpers: bool = False
    emits: bool = True
    found: bool = False


def compiler(project: Project, path: str = "tsconfig.json", depth: int = 0) -> Compiler:
    """Read a tsconfig and those that it extends."""
    text = project.text(path)
    if not text or depth > 5:
        return Compiler()
    folder = posixpath.dirname(path)
    content = loose_json(text)
    start = Compiler()
    extended = content.get("extends")
    for name in extended if isinstance(extended, list) else [extended]:
        if isinstance(name, str) and name.startswith("."):
            target = posixpath.normpath(posixpath.join(folder, name))
            target = target if target in project.files else f"{target}.json"
            start = compiler(project, target, depth + 1)
    options = mapping(content.get("compilerOptions"))

    def place(key: str, before: str | None) -> str | None:
        value = options.get(key)
        return posixpath.normpath(posixpath.join(folder, value)) if isinstance(value, str) else before

    aliases = tuple(key.split("*")[0] for key in mapping(options.get("paths"))) or start.aliases
    helpers = options.get("importHelpers", start.helpers)
    silent = options.get("noEmit", not start.emits) or options.get("emitDeclarationOnly", False)
    output, root, base = place("outDir", start.output), place("rootDir", start.root), place("baseUrl", start.base)
    return Compiler(output, root, base, aliases, bool(helpers), not silent, found=True)

"""Whether the container of a Node.js project gets along without dev dependencies."""

from __future__ import annotations

import re

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_builds import Built
from buildopt.dockerfile.splits.node_code import (
    is_builtin,
    is_internal,
    package_name,
)
from buildopt.dockerfile.splits.node_project import Project
from buildopt.dockerfile.splits.node_view import View

# Libraries load these by name, whoever lists them.
_LOADED_BY_NAME = word_set(
    "pg pg-native mysql mysql2 sqlite3 better-sqlite3 tedious oracledb mongodb mongoose redis ioredis ejs pug hbs "
    "handlebars nunjucks express-handlebars eta mustache @nestjs/platform-express @nestjs/platform-fastify "
    "class-validator class-transformer class-transformer-validator pino-pretty bufferutil utf-8-validate encoding "
    "sharp critters swagger-ui-express @fastify/static @fastify/view fastify-swagger apollo-server-express kafkajs "
    "amqplib amqp-connection-manager nats mqtt @grpc/grpc-js @grpc/proto-loader socket.io ts-morph "
    "@as-integrations/express ffmpeg-static libsql @libsql/client opusscript @discordjs/opus sodium-native "
    "libsodium-wrappers tweetnacl erlpack zlib-sync @swc/helpers regenerator-runtime @napi-rs/canvas canvas"
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
_GIT = word_set(
    "simple-git git-rev-sync git-rev nodegit isomorphic-git git-repo-info git-describe git-last-commit last-commit-log "
    "gitlog git-raw-commits git-latest-semver-tag child-process-git dugite es-git"
)
_SPAWNS = re.compile(r"child_process|['\"](?:execa|shelljs|zx|cross-spawn|foreground-child)['\"]")


def reads_repository(view: View) -> str:
    """What asks Git about the project when the container runs, empty where nothing does."""
    named = sorted(_GIT & (view.project.dependencies | view.project.development))
    if named:
        return named[0]
    for path in sorted(view.running):
        code = view.codes.get(path)
        if code is not None and _SPAWNS.search(code.raw) and re.search(r"\bgit\b", code.text):
            return path
    return ""


def development_problem(view: View, built: Built, *, peers: bool) -> str:
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

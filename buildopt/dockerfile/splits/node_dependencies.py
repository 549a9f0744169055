"""A stage for the dependencies of a Node.js project, from which its build and the pruned node_modules both start.

So a changed source runs neither the install nor the pruning again.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.brought import Brought, brought
from buildopt.dockerfile.splits.node_builds import Built, note
from buildopt.dockerfile.splits.node_commands import Unclear, leaves
from buildopt.dockerfile.splits.node_plan import Plan, goes_into, options_of
from buildopt.dockerfile.splits.node_runs import Kind, Step
from buildopt.dockerfile.splits.splits import Fork, No, casing, stage_names

DEPENDENCIES, PRODUCTION = "dependencies", "production"
_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml")
_FROZEN = word_set("--frozen-lockfile --pure-lockfile --no-lockfile --no-package-lock --no-save")
# What pruning reads, beside node_modules.
_READ = word_set("package.json pnpm-workspace.yaml .npmrc .yarnrc .pnpmfile.cjs") | frozenset(_LOCKS)
# Builders that leave node_modules as it is, but for their own caches.
_BUILDERS = word_set(
    "tsc ttsc tspc nest nest-cli next react-scripts craco vite webpack webpack-cli rollup rspack rsbuild parcel "
    "vue-cli-service esbuild babel swc tsup tsdown unbuild ncc sass node-sass postcss tailwindcss browserify lessc "
    "stylus astro docusaurus eleventy gatsby microbundle bunchee pkgroll remix react-router nuxt nuxi vitepress "
    "vuepress tsc-alias tscpaths resolve-tspaths tsc-esm-fix cp mv mkdir rm touch cpx cpx2 cpy copyfiles ncp rimraf "
    "del del-cli mkdirp cpr copy > terser uglifyjs"
)
_LATER = frozenset((Kind.QUIET, Kind.BUILD, Kind.GLOBAL))


def fork(found: Plan, prune: str) -> Fork | None:
    """Where the stages part, or None: then what the build does may show in node_modules, or nothing would be won."""
    subject, project = found.subject, found.project
    last = found.installs[-1]
    position = subject.head.index(last.run.instruction)
    before, after = subject.head[: position + 1], subject.head[position + 1 :]
    names = {DEPENDENCIES, PRODUCTION}
    if names.intersection(stage_names(subject)) or project.linked or not _same_reads(found, last):
        return None
    if not any(item.keyword in ("COPY", "ADD") for item in after) or any(item.keyword == "ARG" for item in before):
        return None
    later = found.steps[found.steps.index(last) + 1 :]
    if not all(_leaves_modules_alone(found, step) for step in later):
        return None
    prune = prune.removeprefix(f"cd {project.folder} && ")
    if subject.known[after[0].span.start].workdir != project.folder:
        prune = f"cd {project.folder} && {prune}"
    return Fork(last.run.instruction, DEPENDENCIES, PRODUCTION, (f"{casing(subject)('RUN')} {prune}",))


def lock_taken_back(found: Plan) -> str:
    """The lock file that the sources bring again behind an install that may have written it anew, or nothing."""
    last = found.installs[-1]
    if options_of(last) & _FROZEN or any(text in ("ci", "clean-install") for text in last.command.texts[:1]):
        return ""
    names = (posixpath.join(found.project.folder, name) for name in _LOCKS)
    later = {entry.path for entry in found.entries if entry.instruction.span.start > last.offset}
    return next((posixpath.basename(path) for path in names if path in later), "")


def _same_reads(found: Plan, last: Step) -> bool:
    """Whether all that pruning reads is there when the install runs, and nothing is put into node_modules later."""
    subject, project = found.subject, found.project
    copies = [item for item in subject.head if item.keyword in ("COPY", "ADD") and item.flag("from") is None]
    early = [item for item in copies if item.span.start < last.offset and goes_into(subject, item, project.folder)]
    there = _origins(brought(subject, early))
    finally_ = _origins(found.entries)
    modules = posixpath.join(project.folder, "node_modules")
    if modules in finally_ or posixpath.join(project.folder, "package.json") not in there:
        return False
    paths = (posixpath.join(project.folder, name) for name in _READ)
    return all(there.get(path) == finally_.get(path) for path in paths)


def _origins(entries: Iterable[Brought]) -> Mapping[str, str]:
    return {entry.path: entry.origin for entry in entries}


def _leaves_modules_alone(found: Plan, step: Step) -> bool:
    if step.kind not in _LATER or re.search(r"node_modules/(?!\.bin)", step.run.text):
        return False
    if step.kind is not Kind.BUILD:
        return True
    built = Built()
    try:
        for leaf in leaves(found.project, step.command, step.folder):
            if leaf.name in ("patch-package", "patch", "ts-patch", "run-script-os"):
                return False
            if any("node_modules/" in word and "node_modules/.bin" not in word for word in leaf.arguments):
                return False
            note(built, found.project, leaf, step.run.state.environment)
    except (Unclear, No):
        return False
    return not built.unknown and built.tools <= _BUILDERS and "node_modules" not in built.outputs

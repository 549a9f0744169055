"""The hidden-content rule: what could miss a folder's content once a cache mount hides it from the image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from buildopt.dockerfile.caches.hidden_scope import Hidden, Scope
from buildopt.dockerfile.caches.hidden_starts import starts
from buildopt.dockerfile.caches.mounts import mounts
from buildopt.dockerfile.managers import CARGO, recognise, word_set
from buildopt.dockerfile.model import Instruction, Stage
from buildopt.dockerfile.passes.paths import Relation, mention, relation, word_path
from buildopt.dockerfile.passes.runs import HARMLESS, SHELLS, Run, runs_what_is_read, script_run
from buildopt.dockerfile.passes.state import State, states
from buildopt.dockerfile.scope import walk
from buildopt.dockerfile.shell import Command

_IGNORING = frozenset(("rm", "chown", "chmod", "chgrp", "mkdir", "ls", "du", "echo", "rmdir", "cd", "test", "[", "[["))


# These fail where a path is not there, or say so.
_LOOKING = frozenset(("chown", "chmod", "chgrp", "ls", "du", "cd", "rmdir", "rm", "test", "[", "[["))
# Folders above caches that images have before anything is installed.
_PRESENT = re.compile(
    r"/(?:root|home|home/[^/]+|opt|opt/conda|srv|tmp|etc|usr|usr/local|usr/local/(?:share|bundle|cargo|lib|bin)|go|var"
    r"|var/(?:cache|lib|tmp))?"
)

_COPYING = frozenset(("cp", "mv", "tar", "rsync", "ln", "install", "zip"))


def hidden(scope: Scope) -> Iterator[Hidden]:
    """Everything that speaks against the mounts."""
    known = states(scope.dockerfile)
    for stage in scope.dockerfile.stages:
        for instruction in stage.instructions:
            state = known[instruction.span.start]
            if instruction.keyword in ("COPY", "ADD"):
                yield from _copies(scope, stage, instruction, state)
            elif instruction.keyword == "RUN":
                yield from _bind_mounts(scope, instruction)
            elif instruction.keyword == "ONBUILD" and scope.inside(stage) and scope.left:
                text = instruction.trigger.arguments.text if instruction.trigger is not None else ""
                if scope.strict or re.search(rf"\b(?:{scope.manager.programs})\b", text):
                    yield Hidden(instruction.lines[0], f"ONBUILD may read {scope.shown} in another build")
    yield from _earlier_runs(scope)
    if scope.left:
        yield from _later_runs(scope)
        yield from starts(scope)


def _copies(scope: Scope, stage: Stage, instruction: Instruction, state: State) -> Iterator[Hidden]:
    words = [word.text for word in instruction.words]
    if len(words) < 2:
        return
    line = instruction.lines[0]
    origin = instruction.flag("from")
    if origin is not None and scope.left and _from_family(scope, stage, origin.value or ""):
        for source in words[:-1]:
            path = state.value(source, scope.dockerfile.escape) or _by_default(scope, instruction, source)
            if path is None:
                yield Hidden(line, f"COPY --from={origin.value} {source} may take {scope.shown} along")
                continue
            path = path if path.startswith("/") else f"/{path}"
            if any(relation(path, target) is not Relation.NONE for target in scope.targets):
                yield Hidden(line, f"COPY --from={origin.value} {source} takes {scope.shown} along")
    if scope.inside(stage):
        destination = state.value(words[-1], scope.dockerfile.escape)
        if destination is None or state.workdir is None:
            if any(mark in words[-1] for mark in scope.marks):
                yield Hidden(line, f"{instruction.keyword} writes into {scope.shown}")
            return
        path = posixpath.normpath(posixpath.join(state.workdir, destination))
        files = not instruction.flags_named("from") and all(_is_a_file(scope.context, word) for word in words[:-1])
        for target in scope.targets:
            where = relation(path, target)
            near = where is Relation.PARENT and path not in ("/", "/var", "/var/lib", "/var/cache", "/tmp")
            near = near and not files and not _lacks(scope.context, instruction, path, target)
            # A Go source tree below GOPATH is copied to /go/src: that is no parent of /go/pkg/mod.
            if where is Relation.INSIDE or near:
                yield Hidden(line, f"{instruction.keyword} may write into {target}, which the mount would hide")
                return


def _by_default(scope: Scope, instruction: Instruction, source: str) -> str | None:
    """The path that a source is unless somebody gives a build argument: nobody gives the folder of a cache."""
    for _, item, variables in walk(scope.dockerfile):
        if item is instruction:
            expansion = variables.expand(source)
            return expansion.text if expansion is not None else None
    return None


# Names that only files have.
_FILE = re.compile(
    r"\.?[\w*?-]+(?:\.[\w*?-]+)*\.(?:xml|properties|gradle|json|toml|ya?ml|cfg|conf|ini|txt|sh|config|sbt|lock|mod|sum)\*?"
    r"|(?:Gemfile|Pipfile|Makefile|Rakefile|Procfile|mvnw|gradlew)\*?"
)


def _is_a_file(context: Path | None, source: str) -> bool:
    """Whether a source of a COPY is one file, which does not bring a folder along."""
    if context is not None:
        try:
            if context.joinpath(*[part for part in source.split("/") if part not in ("", ".", "..")]).is_file():
                return True
        except (OSError, ValueError):
            return False
        if not re.search(r"[*?]", source):
            return False
    return _FILE.fullmatch(posixpath.basename(source)) is not None


def _lacks(context: Path | None, instruction: Instruction, path: str, target: str) -> bool:
    """Whether no source of a COPY from the context brings along what would land in the target."""
    if context is None or instruction.flag("from") is not None or instruction.heredocs:
        return False
    first = target[len(path) :].strip("/").split("/")[0]
    for word in instruction.words[:-1]:
        folder = context.joinpath(*[part for part in word.text.split("/") if part not in ("", ".", "..")])
        try:
            if "*" in word.text or "$" in word.text or "://" in word.text or (folder / first).exists():
                return False
        except (OSError, ValueError):
            return False
    return True


def _from_family(scope: Scope, stage: Stage, reference: str) -> bool:
    """Whether ``--from`` names a stage of the family; a name with variables might."""
    if "$" in reference:
        return True
    origin = scope.dockerfile.stage(reference, stage.index)
    return origin is not None and scope.inside(origin)


def _bind_mounts(scope: Scope, instruction: Instruction) -> Iterator[Hidden]:
    if not scope.left:
        return
    for mount in mounts(instruction):
        if mount.origin is None:
            continue
        stage = scope.dockerfile.stage_of(instruction)
        if stage is None or not _from_family(scope, stage, mount.origin):
            continue
        source = mount.source if mount.source.startswith("/") else f"/{mount.source}"
        if any(relation(source, target) is not Relation.NONE for target in scope.targets):
            yield Hidden(instruction.lines[0], f"a mount from {mount.origin} shows {scope.shown}")


def _earlier_runs(scope: Scope) -> Iterator[Hidden]:
    """What a RUN without the mounts puts into the folders, a RUN with them could not see."""
    last = max(scope.mounted, default=0)
    for run in scope.runs:
        if run.instruction.span.start in scope.mounted or run.instruction.span.start > last:
            continue
        for command in run.commands:
            words = [*command.arguments, *(item.target for item in command.redirects if item.target is not None)]
            linked = command.name == "ln" and any(
                mention(word, scope.targets, (), run.state.home, run.state.variables) is Relation.PARENT
                for word in command.arguments[-1:]
            )
            if linked or (
                command.name not in _IGNORING
                and any(
                    mention(word, scope.targets, (), run.state.home, run.state.variables) is Relation.INSIDE
                    for word in words
                )
            ):
                shown = " ".join(word.raw for word in command.words)[:60]
                yield Hidden(run.line, f"`{shown}` may write into {scope.shown}, which the mount would hide")
                break


def _later_runs(scope: Scope) -> Iterator[Hidden]:
    first = min(scope.mounted, default=0)
    for run in scope.runs:
        if run.instruction.span.start in scope.mounted or run.instruction.span.start < first:
            continue
        if run.script is None or not run.script.complete:
            if scope.strict or any(mark in run.text for mark in scope.marks):
                yield Hidden(run.line, f"this RUN cannot be read to the end and may need {scope.shown}")
            continue
        for command in run.commands:
            reason = _reads(scope, run, command)
            if reason:
                yield Hidden(run.line, reason)
                break


# What cargo has built is a program that needs no sources.
_BUILT = re.compile(r"\btarget/(?:[\w.-]+/)?(?:release|debug)/")


def _reads(scope: Scope, run: Run, command: Command) -> str:
    shown = " ".join(word.raw for word in command.words)[:60]
    for word in command.argv[1:]:
        where = mention(word, scope.targets, scope.marks, run.state.home, run.state.variables)
        if where is Relation.INSIDE and command.name not in _IGNORING:
            return f"`{shown}` reads {scope.shown}, which would not be in the image"
        if where is Relation.PARENT and command.name in _COPYING:
            return f"`{shown}` takes {scope.shown} along, which would not be in the image"
    if command.name in _LOOKING and (path := _missed(scope, run, command)):
        return f"`{shown}` needs {path}, which only the install makes, and the mount would leave out of the image"
    if not scope.strict or (scope.manager is CARGO and command.argv and _BUILT.search(command.argv[0].raw)):
        return ""
    script = script_run(command, run.text)
    if script is not None:
        return f"{script} may need {scope.shown}, which would not be in the image"
    if command.words and command.name not in SHELLS and not _known(scope, command):
        return f"`{shown}` may need {scope.shown}, which would not be in the image"
    return ""


def _missed(scope: Scope, run: Run, command: Command) -> str:
    """A path that a command wants to be there, and that would not be; empty where there is none."""
    if scope.manager.system or (
        command.name == "rm" and any(re.match(r"--force|-\w*f", text) for text in command.texts)
    ):
        return ""
    for word in command.arguments:
        path = word_path(word, run.state.home, run.state.variables)
        above = path.startswith("/") and any(relation(path, target) is not Relation.NONE for target in scope.targets)
        path = posixpath.normpath(path)
        if above and not _PRESENT.fullmatch(path) and not _is_made(scope, run, path):
            return path
    return ""


def _is_made(scope: Scope, run: Run, path: str) -> bool:
    """Whether WORKDIR or mkdir makes a folder before a RUN."""
    if f"{run.state.workdir or '/'}/".startswith(f"{path}/"):
        return True
    return any(
        command.name == "mkdir"
        and any(f"{word_path(word, other.state.home)}/".startswith(f"{path}/") for word in command.argv[1:])
        for other in scope.runs
        if other.instruction.span.start <= run.instruction.span.start
        and other.instruction.span.start not in scope.mounted
        for command in other.commands
    )


# Programs that build a project of another kind: they do not call apt.
BUILDERS = word_set(
    """ant bower bun bundle cargo cmake composer conda corepack cpan cpanm dotnet gcc g++ cc c++ clang gem git-lfs go
    go-bindata gradle gradlew java javac julia luarocks lua make mamba meson mix msbuild mvn mvnw mysql n nginx ninja
    jar jdeps jlink keytool native-image protoc wasm-bindgen wasm-opt
    node npm npx nvm openssl perl php phpize pecl docker-php-ext-install docker-php-ext-configure docker-php-ext-enable
    pipenv pnpm poetry postgres psql pyenv python python2 python3 pip pip2 pip3 rake rbenv R Rscript ruby rustc rustup
    sbt service sqlite3 stack systemctl tox uv virtualenv yarn yarnpkg a2query crontab envsubst gosu tini dumb-init
    nuget ssh supervisord wkhtmltopdf aws az gcloud gsutil kubectl helm terraform pkg-config"""
)


# Those that may well run another manager's program.
_CALLING = word_set("ant cmake make meson ninja rake tox supervisord npx")


def _known(scope: Scope, command: Command) -> bool:
    use = recognise(command)
    if use is not None and use.manager is scope.manager:
        return not use.uses_cache
    name = command.name
    if name is None:
        return False
    if name in HARMLESS or runs_what_is_read(command):
        return True
    if not scope.manager.system:
        return name in BUILDERS and name not in _CALLING
    return name in BUILDERS and not any("dep" in word for word in command.texts if name in ("make", "rake"))

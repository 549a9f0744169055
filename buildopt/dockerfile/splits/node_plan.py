"""What is known of a Node.js file before it is split: its project, what its RUNs do, what its container needs."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.state import State
from buildopt.dockerfile.shell import Command, parse_shell
from buildopt.dockerfile.splits.brought import Brought, brought, ignored, origin_of
from buildopt.dockerfile.splits.node_builds import Built, note
from buildopt.dockerfile.splits.node_commands import Leaf, Unclear, leaves
from buildopt.dockerfile.splits.node_project import Project, mapping, read_project, read_text
from buildopt.dockerfile.splits.node_runs import (
    Kind,
    Step,
    install_of,
    managed,
    read_steps,
    with_folders,
)
from buildopt.dockerfile.splits.node_start import Needs, note_start
from buildopt.dockerfile.splits.splits import No, Subject
from buildopt.dockerfile.splits.started import Reader, checked, started

# Programs of these are for building alone.
_TOOLS = word_set(
    "webpack gulp rimraf node-gyp turbo nx lerna create-react-app vite rollup parcel eslint jest bower sass "
    "node-sass react-scripts npm-check-updates prettier gatsby-cli esbuild tsup @vercel/ncc typings next tslint "
    "polymer-cli ember-cli @ionic/cli ionic cross-env copyfiles npm-run-all concurrently tsc-alias del-cli"
)
BUILD_PROGRAMS = {
    "typescript": "tsc",
    "@nestjs/cli": "nest",
    "@angular/cli": "ng",
    "@vue/cli": "vue",
    "@vue/cli-service": "vue-cli-service",
    "webpack-cli": "webpack",
    "gulp-cli": "gulp",
    "grunt-cli": "grunt",
    **{name: name for name in _TOOLS},
}
MANAGERS = frozenset(("npm", "yarn", "pnpm", "bun", "corepack"))
_DEVELOPMENT_OPTIONS = frozenset(("-D", "--save-dev", "--dev", "-d"))
_SYSTEM_FOLDERS = word_set("bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var")
_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SCRIPTS_OF_INSTALL = ("preinstall", "install", "postinstall", "prepare", "prepublish")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the file: its project, what the RUNs do, what is built, and what the container needs."""

    subject: Subject
    project: Project
    entries: tuple[Brought, ...]
    steps: tuple[Step, ...]
    built: Built
    needs: Needs
    starting: tuple[Leaf, ...]

    @property
    def installs(self) -> list[Step]:
        """The installs of the project itself."""
        return [step for step in self.steps if step.kind is Kind.INSTALL and step.folder == self.project.folder]


def read_plan(subject: Subject) -> Plan:
    context = subject.context
    assert context is not None
    folder = _project_folder(subject)
    instructions = [item for item in subject.body if item.keyword in ("COPY", "ADD") and item.flag("from") is None]
    inside = [item for item in instructions if goes_into(subject, item, folder)]
    entries = brought(subject, inside)
    hidden = ignored(context, subject.source.path)
    project = read_project(folder, entries, context, hidden)
    if project.problem:
        raise No(subject.origin, project.problem)
    if folder == "/" and project.entries & _SYSTEM_FOLDERS:
        raise No(subject.origin, "the project lies among the folders of the system")
    names = project.entries | {"node_modules", "dist", "build", ".next", "out"}
    steps = tuple(read_steps(subject, folder, names))
    project = _with_added(project, steps)
    link = next((entry for entry in entries if (context / entry.origin).is_symlink()), None)
    if link is not None:
        raise No(link.instruction, f"{link.origin} is a symbolic link")
    built = _builds(subject, project, steps)
    everything = brought(subject, [item for item in instructions if not any("://" in word.text for word in item.words)])

    def read(path: str) -> str | None:
        origin = origin_of(everything, path)
        place = context / origin if origin is not None else None
        return (
            read_text(place)
            if place is not None and place.is_file() and not path.endswith((".js", ".mjs", ".cjs", ".ts"))
            else None
        )

    follow = _Follow(subject, project, steps, read)
    start = started(subject, read)
    for step in (*start.steps, *checked(subject, read).steps):
        if step.name not in ("", "cd"):
            follow.command(step.command, step.folder, step.instruction, ())
    for name, text in _commands_of_compose(subject):
        for command in parse_shell(text).commands:
            follow.command(command, subject.final.workdir or "/", subject.origin, (), f"{name} starts `{text[:40]}`: ")
    follow.needs.by_name.update(posixpath.relpath(script, folder) for script in start.scripts)
    return Plan(subject, project, entries, steps, built, follow.needs, tuple(follow.starting))


class _Follow:
    """Follows what is started to what that needs."""

    def __init__(self, subject: Subject, project: Project, steps: Sequence[Step], read: Reader) -> None:
        self.project = project
        self.read = read
        self.needs = Needs()
        self.starting: list[Leaf] = []
        installed = {name for step in steps if step.kind is Kind.GLOBAL for name in step.names}
        installed |= {BUILD_PROGRAMS[name] for name in installed if name in BUILD_PROGRAMS}
        self.installed = installed | ({"pm2-runtime", "pm2-docker"} if "pm2" in installed else set())
        self.system = {name for step in steps if step.kind is Kind.SYSTEM for name in step.names}
        # `ENV PATH=/app/node_modules/.bin:$PATH`
        self.local = any(item.keyword == "ENV" and "node_modules/.bin" in item.arguments.text for item in subject.body)

    def command(
        self, command: Command, folder: str, place: Instruction, arguments: tuple[str, ...], before: str = ""
    ) -> None:
        """Note what a command needs. ``arguments`` are those of the script that it is of. Raises No."""
        if command.argv and command.argv[0].raw in ('"$@"', "$@", '"${@}"'):
            for inner in parse_shell(shlex.join(arguments)).commands:
                self.command(inner, folder, place, (), before)
            return
        try:
            for leaf in leaves(self.project, command, folder):
                self._leaf(replace(leaf, local=True) if self.local else leaf, place, before)
        except Unclear as unclear:
            raise No(place, f"{before}{unclear}") from None

    def _leaf(self, leaf: Leaf, place: Instruction, before: str) -> None:
        name = leaf.shown.split(" ")[0]
        paths = [posixpath.join(leaf.folder, name)] if "/" in name else []
        paths += [posixpath.join(folder, leaf.name) for folder in _PROGRAM_FOLDERS]
        text = next((text for path in paths if leaf.name and (text := self.read(posixpath.normpath(path)))), None)
        if text is None or leaf.script:
            self.starting.append(leaf)
            note_start(self.needs, self.project, leaf, self.installed, self.system)
            return
        if not re.match(r"#!.*\b(?:ba|da|a)?sh\b", text) or not parse_shell(text).complete:
            raise Unclear(f"what {leaf.name} runs is not known")
        self.needs.by_name.add(name)
        for command in parse_shell(text).commands:
            self.command(command, leaf.folder, place, leaf.arguments, before)


def _with_added(project: Project, steps: Sequence[Step]) -> Project:
    """The project with what RUNs add to package.json."""
    added = [step for step in steps if step.kind is Kind.ADD and step.folder == project.folder]
    development = {name for step in added if options_of(step) & _DEVELOPMENT_OPTIONS for name in step.names}
    runtime = {name for step in added for name in step.names} - development
    return replace(
        project,
        dependencies=project.dependencies | runtime,
        development=(project.development | development) - runtime,
    )


def _project_folder(subject: Subject) -> str:
    """The folder whose dependencies are installed."""
    found: list[str] = []
    for run in subject.runs:
        for command, folder in with_folders(run):
            call = install_of(command, folder)
            if call is not None:
                if call.tool == "bun":
                    raise No(run.instruction, "bun cannot take dev dependencies out again")
                found.append(call.folder)
    if not found:
        raise No(subject.head[-1], "no RUN installs the dependencies that package.json lists")
    folder = min(found, key=len)
    for other in found:
        if other != folder and not other.startswith(f"{folder.rstrip('/')}/"):
            raise No(subject.head[-1], f"there are two projects, {folder} and {other}")
    return folder


def goes_into(subject: Subject, instruction: Instruction, folder: str) -> bool:
    """Whether a COPY of the context puts something into the project. Raises No where that is not certain."""
    state = subject.known[instruction.span.start]
    last = state.value(instruction.words[-1].text, subject.dockerfile.escape) if instruction.words else None
    if last is None or state.workdir is None:
        raise No(instruction, "where it copies to is not known")
    target = posixpath.normpath(posixpath.join(state.workdir, last))
    if folder == "/":
        return target == "/" or not re.match(r"^/(?:etc|usr|bin|sbin|opt|root|home|var|lib|tmp)(?:/|$)", target)
    if target == folder or target.startswith(f"{folder}/"):
        return True
    if folder.startswith(f"{target.rstrip('/')}/"):
        raise No(instruction, "files beside the project may be needed at run time")
    return False


def _builds(subject: Subject, project: Project, steps: Sequence[Step]) -> Built:
    built = Built()
    for step in steps:
        environment = step.run.state.environment
        try:
            if step.kind is Kind.BUILD:
                for leaf in leaves(project, step.command, step.folder):
                    note(built, project, leaf, environment)
            elif step.kind is Kind.INSTALL and step.folder == project.folder:
                _scripts_of_install(built, project, step)
        except Unclear as unclear:
            raise No(step.run.instruction, str(unclear)) from None
        _attributes(built, project, step)
        if step.kind is Kind.OWN and step.tool not in ("rm", "chmod", "chgrp", "sed", "rmdir"):
            built.add(*(posixpath.relpath(path, project.folder) for path in step.names[-1:]))
            if any("*" in path for path in step.names[-1:]):
                raise No(step.run.instruction, f"`{step.shown}`: what it makes is not known")
        if step.kind is Kind.INSTALL and step.folder != project.folder:
            built.outputs.add(posixpath.relpath(step.folder, project.folder).split("/")[0])
    return built


def _attributes(built: Built, project: Project, step: Step) -> None:
    """Owners and modes of folders of the project: only a copy of the whole project keeps them. Raises No."""
    if step.kind is Kind.OWN and step.tool == "chmod":
        paths = step.names
    elif step.kind is Kind.OWNER:
        paths = tuple(path for path in step.names[1:] if path.startswith(f"{project.folder.rstrip('/')}/"))
    else:
        return
    if step.kind is Kind.OWN and project.folder in paths:
        raise No(step.run.instruction, f"`{step.shown}` changes the folder of the project itself")
    if any(posixpath.relpath(path, project.folder) not in project.files for path in paths):
        built.unknown = built.unknown or step.shown


def _scripts_of_install(built: Built, project: Project, step: Step) -> None:
    """What the project's own scripts make when it is installed."""
    for name in SCRIPTS_OF_INSTALL:
        text = project.scripts.get(name)
        if text is not None:
            for command in parse_shell(f"{step.tool} run {name}").commands:
                for leaf in leaves(project, command, project.folder):
                    note(built, project, leaf, step.run.state.environment)


def _commands_of_compose(subject: Subject) -> list[tuple[str, str]]:
    """What compose files of the context start with an image of theirs, and which file says so."""
    context = subject.context
    assert context is not None
    found: list[tuple[str, str]] = []
    for path in sorted(context.glob("*compose*.y*ml")):
        import yaml

        try:
            services = mapping(mapping(yaml.safe_load(read_text(path))).get("services"))
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        for service in services.values():
            if "build" not in mapping(service):
                continue
            for key in ("entrypoint", "command"):
                value = mapping(service).get(key)
                text = shlex.join(map(str, value)) if isinstance(value, list) else value
                if isinstance(text, str) and text.strip():
                    found.append((path.name, text))
    return found


def options_of(step: Step) -> frozenset[str]:
    call = managed(step.command, step.folder)
    return call.options if call is not None else frozenset()


def state_at_end(subject: Subject) -> State:
    """What is in force where the build stage ends."""
    return subject.known[subject.tail[0].span.start if subject.tail else -1]

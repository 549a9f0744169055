"""Splitting a Node.js file: the same base image twice, dev dependencies and sources stay in the build stage.

What only the build needs is pruned from node_modules where it was installed, so that the runtime stage has the very
same production dependencies, compiled ones included.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.brought import Brought, brought, ignored, origin_of
from buildopt.dockerfile.passes.node_builds import Built, note
from buildopt.dockerfile.passes.node_code import SUFFIXES
from buildopt.dockerfile.passes.node_commands import Leaf, Unclear, leaves
from buildopt.dockerfile.passes.node_keep import Keep, kept
from buildopt.dockerfile.passes.node_owners import owners
from buildopt.dockerfile.passes.node_project import Project, mapping, read_project, read_text
from buildopt.dockerfile.passes.node_runs import (
    Kind,
    Step,
    install_of,
    is_production,
    managed,
    read_steps,
    with_folders,
)
from buildopt.dockerfile.passes.node_start import Needs, note_start
from buildopt.dockerfile.passes.splits import No, Split, Subject, casing, stage_names
from buildopt.dockerfile.passes.started import Reader, checked, started
from buildopt.dockerfile.passes.state import State
from buildopt.dockerfile.shell import Command, parse_shell

_BASES = frozenset(("node", "debian", "ubuntu", "alpine", "buildpack-deps", "mhart/alpine-node", "bitnami/node"))
_STARTERS = re.compile(
    r"\b(?:node|npm|yarn|pnpm|npx|serve|http-server|pm2(?:-runtime)?|next|nuxt|tini|dumb-init|sh|bash|[\w./-]+\.sh)\b"
)
_BUILDING = re.compile(
    r"\b(?:build|compile|bundle|tsc|webpack|rollup|ncc|esbuild|generate|export|dist|gulp|grunt|transpile)\b|\bbuild:|:build\b"
)
# Programs of these are for building alone.
_TOOLS = word_set(
    "webpack gulp rimraf node-gyp turbo nx lerna create-react-app vite rollup parcel eslint jest bower sass node- "
    "sass react-scripts npm-check-updates prettier gatsby-cli esbuild tsup @vercel/ncc typings next tslint polymer- "
    "cli ember-cli @ionic/cli ionic cross-env copyfiles npm-run-all concurrently tsc-alias del-cli"
)
_BUILD_PROGRAMS = {
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
# Packages that compile modules, and are not needed by what they compiled.
_TOOLCHAIN = word_set(
    "python python2 python3 py3-pip make g++ gcc build-base build-essential musl-dev libc-dev libc6-dev linux- "
    "headers  pkg-config pkgconf autoconf automake libtool nasm node-gyp python-is-python3 python3-dev "
    "python3-setuptools  py3-setuptools"
)
_SPAWNING = re.compile(r"child_process|\b(?:execa|shelljs|zx|python-shell|pythonia|cross-spawn|bun:ffi|node-gyp)\b")
_MANAGERS = frozenset(("npm", "yarn", "pnpm", "bun", "corepack"))
_DEVELOPMENT_OPTIONS = frozenset(("-D", "--save-dev", "--dev", "-d"))
_PASSED_ON = re.compile(
    r"--(?:legacy-peer-deps|force|strict-peer-deps|no-optional|omit=(?:optional|peer)|install-strategy=\w+|legacy-bundling|no-package-lock)$|-f$"
)
_CODENAMES = {"argon": 4, "boron": 6, "carbon": 8, "dubnium": 10, "erbium": 12, "fermium": 14}
_SYSTEM_FOLDERS = word_set("bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var")
_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# Their scripts put browsers and the like outside node_modules.
_ELSEWHERE = word_set(
    "puppeteer playwright @playwright/test cypress mongodb-memory-server electron playwright-chromium"
)
_HARMLESS_SCRIPT = re.compile(
    r"(?:npx |yarn |yarn run )?(?:husky(?: install)?|is-ci \|\| husky install|prisma generate|husky \|\| true)"
)
_SCRIPTS_OF_INSTALL = ("preinstall", "install", "postinstall", "prepare", "prepublish")


@dataclass(frozen=True, slots=True)
class _Plan:
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


def concerns(subject: Subject) -> bool:
    """Whether Node.js starts the container, and a RUN builds something with it."""
    if subject.final.base.repository not in _BASES:
        return False
    entry = subject.entry()
    if entry is not None and not _STARTERS.search(" ".join(entry.values)) and subject.final.base.repository != "node":
        return False
    for run in subject.runs:
        for command in run.commands:
            words = " ".join(word.raw for word in command.argv)
            name = command.name or ""
            if (
                (
                    name in _MANAGERS
                    or name in ("npx", "node")
                    or "node_modules/" in words
                    or name in _BUILD_PROGRAMS.values()
                )
                and (_BUILDING.search(words))
                and install_of(command, "/") is None
                and not re.search(r"\s(?:-g|--global|global)\b", words)
            ):
                return True
    return False


def plan(subject: Subject) -> Split:
    """Ship what the program needs. Raises No."""
    if subject.context is None:
        raise No(subject.origin, "only package.json and the sources tell what is needed at run time: give --context")
    found = _read(subject)
    _understood(found)
    prunes = _prunes(found)
    options = {option for step in found.installs for option in _options(step)}
    peers = (
        found.installs[-1].tool != "npm" or _old_npm(found) or bool(options & {"--legacy-peer-deps", "--force", "-f"})
    )
    peers = peers or "legacy-peer-deps" in found.project.text(".npmrc")
    keep = kept(found.project, found.built, found.needs, found.starting, pruned=bool(prunes), peers=peers)
    shipped = ""
    if keep.problem and keep.development:
        other = kept(found.project, found.built, found.needs, found.starting, pruned=False)
        if other.left and not other.problem:
            keep, prunes, shipped = other, "", keep.problem
    if keep.problem:
        raise No(_line(found, started=keep.started), keep.problem)
    keep = _with_settings(found, _without_removed(found, keep))
    replayed, texts = _replays(found)
    if not prunes and not keep.left:
        raise No(
            subject.origin,
            "all of it is needed at run time: there are no dev dependencies, and no sources to leave behind",
        )
    copies = _copies(found, keep)
    copies += _corepack(found)
    finish: tuple[str, ...] = ()
    if prunes and keep.modules:
        finish = (*_blank(subject), f"{casing(subject)('RUN')} {prunes}")
    return Split(
        subject.written_base,
        tuple(copies),
        "a build stage, and a runtime stage on the same image",
        _why(keep, shipped, pruned=bool(finish)),
        replayed=replayed,
        texts=texts,
        finish=finish,
    )


def _ending(subject: Subject) -> State:
    """What is in force where the build stage ends."""
    return subject.known[subject.tail[0].span.start if subject.tail else -1]


def _blank(subject: Subject) -> tuple[str, ...]:
    """An empty line where the file has one before its last RUN."""
    line = subject.head[-1].lines[0]
    before = (
        subject.source.text[subject.source.line_start(line - 1) : subject.source.line_start(line)] if line > 1 else "x"
    )
    return () if before.strip() else ("",)


def _without_removed(found: _Plan, keep: Keep) -> Keep:
    """What RUNs remove, or move away, cannot be copied."""
    gone = {
        posixpath.relpath(path, found.project.folder)
        for step in found.steps
        if step.kind is Kind.OWN and step.tool in ("rm", "mv")
        for path in (step.names if step.tool == "rm" else step.names[:-1])
    }
    if keep.whole or not gone:
        return keep
    if any(re.search(r"[*?\[{]", path) for path in gone):
        if found.project.folder == "/" or "package.json" not in keep.paths:
            raise No(found.subject.head[-1], "which files a RUN removes is not known")
        return replace(keep, whole=True, left=())
    made = {
        posixpath.relpath(path, found.project.folder)
        for step in found.steps
        if step.kind is Kind.OWN and step.tool not in ("rm", "sed", "chmod")
        for path in step.names
    }
    paths = tuple(path for path in keep.paths if path not in gone or path == "node_modules")
    lost = next((path for path in found.built.outputs if path in gone - made), None)
    if lost is not None:
        raise No(found.subject.head[-1], f"{lost} is removed again")
    return replace(keep, paths=paths)


def _with_settings(found: _Plan, keep: Keep) -> Keep:
    """Git may hide .env, which lies on the machine that builds, and is copied with all the rest."""
    if keep.whole or "package.json" not in keep.files or any(name.startswith(".env") for name in keep.files):
        return keep
    project, context = found.project, found.subject.context
    assert context is not None
    place = origin_of(found.entries, posixpath.join(project.folder, "package.json")) or ""
    below = posixpath.dirname(place)
    sent = not ignored(context, found.subject.source.path).hides(posixpath.join(below, ".env"))
    all_of_it = any(
        item.keyword in ("COPY", "ADD")
        and any(posixpath.normpath(word.text.strip("/") or ".") == (below or ".") for word in item.words[:-1])
        for item in found.subject.head
    )
    hidden_by_git = re.search(
        r"^/?(?:\*\*/)?\.env\b",
        "\n".join((project.text(".gitignore"), read_text(context / ".gitignore"))),
        re.MULTILINE,
    )
    if not (sent and all_of_it and hidden_by_git):
        return keep
    return replace(keep, paths=(*keep.paths, ".env"), files=keep.files | {".env"})


def _line(found: _Plan, *, started: bool) -> Instruction:
    """Where a reason stands: the RUN that installs, unless it is about what the container starts."""
    entry = found.subject.entry()
    if started and entry is not None:
        return entry
    return found.installs[-1].run.instruction if found.installs else found.subject.origin


def _why(keep: Keep, shipped: str, *, pruned: bool) -> str:
    behind = []
    if not keep.modules:
        behind.append("node_modules")
    elif pruned:
        behind.append("dev dependencies")
    if keep.left:
        behind.append("sources")
    behind.append("caches of installs")
    text = ", ".join(behind[:-1]) + (" and " if len(behind) > 1 else "") + behind[-1]
    if shipped:
        return f"{text} stay in the build stage; dev dependencies are shipped, because {shipped}"
    return f"{text} stay in the build stage; what runs is copied from it"


def _read(subject: Subject) -> _Plan:
    context = subject.context
    assert context is not None
    folder = _project_folder(subject)
    instructions = [item for item in subject.body if item.keyword in ("COPY", "ADD") and item.flag("from") is None]
    inside = [item for item in instructions if _goes_into(subject, item, folder)]
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
    return _Plan(subject, project, entries, steps, built, follow.needs, tuple(follow.starting))


class _Follow:
    """Follows what is started to what that needs."""

    def __init__(self, subject: Subject, project: Project, steps: Sequence[Step], read: Reader) -> None:
        self.project = project
        self.read = read
        self.needs = Needs()
        self.starting: list[Leaf] = []
        installed = {name for step in steps if step.kind is Kind.GLOBAL for name in step.names}
        installed |= {_BUILD_PROGRAMS[name] for name in installed if name in _BUILD_PROGRAMS}
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
    development = {name for step in added if _options(step) & _DEVELOPMENT_OPTIONS for name in step.names}
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


def _goes_into(subject: Subject, instruction: Instruction, folder: str) -> bool:
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
    for name in _SCRIPTS_OF_INSTALL:
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


def _understood(found: _Plan) -> None:
    """Refuse projects of which too little is known. Raises No."""
    subject, project = found.subject, found.project
    if not any(step.kind is Kind.BUILD for step in found.steps):
        raise No(subject.head[-1], "no RUN builds the project")
    if not found.installs:
        raise No(subject.head[-1], "no RUN installs the dependencies that package.json lists")
    install = found.installs[-1].run.instruction
    workspaces = project.package.get("workspaces")
    if workspaces or re.search(r"^packages\s*:", project.text("pnpm-workspace.yaml"), re.MULTILINE):
        raise No(install, "a project of several workspaces is not split")
    if project.has("lerna.json") or project.has("nx.json") or project.has("rush.json"):
        raise No(install, "a project of several packages is not split")
    tools = {step.tool for step in found.installs}
    berry = (
        project.has(".yarnrc.yml")
        or "__metadata:" in project.text("yarn.lock")
        or re.match(r"yarn@[2-9]", str(project.package.get("packageManager") or ""))
    )
    if "onbuild" in subject.final.base.tag:
        raise No(subject.origin, "what the base image runs ON BUILD would run twice")
    if re.search(r"\$\{", project.text(".npmrc")) and any(
        flag.value and "secret" in flag.value for step in found.installs for flag in step.run.instruction.flags
    ):
        raise No(install, "what it installs needs a secret")
    if "yarn" in tools and berry:
        raise No(install, "Yarn 2 and later may need its own files at run time")
    if len(tools) > 1:
        raise No(install, f"both {' and '.join(sorted(tools))} install into node_modules")
    linked = next((place for place in project.linked if place.startswith(("..", "/", "~"))), None)
    if linked is not None:
        raise No(install, f"a dependency is linked from {linked}, outside the project")
    skipped = any(re.search(r"SKIP.*DOWNLOAD|SKIP_CHROMIUM", name) for name in subject.final.environment)
    outside = (_ELSEWHERE & project.dependencies) | (_ELSEWHERE & (project.locked or frozenset()))
    if outside and not skipped:
        raise No(install, f"{sorted(outside)[0]} may put what it needs outside node_modules")


def _prunes(found: _Plan) -> str:
    """The command that takes dev dependencies out again; empty where there are none."""
    project, last = found.project, found.installs[-1]
    added = [step for step in found.steps if step.kind is Kind.ADD]
    developed = bool(project.development) or any({"-D", "--save-dev", "--dev", "-d"} & _options(step) for step in added)
    removed = [
        step
        for step in found.steps
        if step.kind is Kind.OWN and step.tool == "rm" and any(path.endswith("node_modules") for path in step.names)
    ]
    if removed and removed[-1].offset > last.offset:
        raise No(removed[-1].run.instruction, "node_modules is removed again")
    if last.names[:1] == ("prune",) or is_production(last) or not developed:
        return ""
    if added and added[-1].tool != last.tool:
        raise No(added[-1].run.instruction, f"both {last.tool} and {added[-1].tool} install into node_modules")
    user = last.run.state.user
    ending = _ending(found.subject)
    if ending.user != user and not ending.root:
        raise No(last.run.instruction, "another user than at the end installs")
    flags = [word for word in sorted(_options(last)) if _PASSED_ON.match(word)]
    if last.tool == "npm":
        option = "--production" if _old_npm(found) else "--omit=dev"
        text = " ".join(("npm prune", option, *flags))
    elif last.tool == "yarn":
        if any(
            flag.value and ("secret" in flag.value or "ssh" in flag.value)
            for step in found.installs
            for flag in step.run.instruction.flags
        ):
            raise No(last.run.instruction, "what it installs needs a secret")
        scripts = [project.scripts.get(name, "") for name in ("preinstall", "install", "postinstall", "prepare")]
        changed = any(
            step.kind is Kind.OWN and ("/node_modules/" in name or name.endswith(".npmrc"))
            for step in found.steps
            for name in step.names
        )
        if changed or any(text and not _HARMLESS_SCRIPT.fullmatch(text.strip()) for text in scripts):
            raise No(last.run.instruction, "scripts change what Yarn installs, and it would put that right again")
        if not project.has("yarn.lock") and _options(last) & {"--frozen-lockfile", "--pure-lockfile", "--no-lockfile"}:
            raise No(last.run.instruction, "there is no yarn.lock: another install may choose other versions")
        text = "yarn install --production --frozen-lockfile --ignore-scripts --prefer-offline"
        text += " --ignore-engines" if "--ignore-engines" in _options(last) else ""
    else:
        text = "pnpm prune --prod"
        text += " --config.ignore-scripts=true" if any(name in project.scripts for name in _SCRIPTS_OF_INSTALL) else ""
    if ending.workdir != project.folder:
        text = f"cd {project.folder} && {text}"
    return text


def _options(step: Step) -> frozenset[str]:
    call = managed(step.command, step.folder)
    return call.options if call is not None else frozenset()


def _old_npm(found: _Plan) -> bool:
    """Whether npm may be older than 7, which knows no ``--omit``."""
    if any(step.kind is Kind.GLOBAL and "npm" in step.names for step in found.steps):
        return False
    if found.subject.final.base.repository != "node":
        return True
    tag = found.subject.final.base.tag.lower()
    match = re.match(r"v?([0-9]+)", tag)
    major = (
        int(match.group(1))
        if match
        else next((number for name, number in _CODENAMES.items() if tag.startswith(name)), 99)
    )
    return major < 15


def _replays(found: _Plan) -> tuple[frozenset[int], dict[int, str]]:
    """What of the head the runtime stage repeats, and the text of RUNs of which it repeats a part."""
    subject = found.subject
    repeated: set[int] = set()
    texts: dict[int, str] = {}
    for instruction in subject.head:
        start = instruction.span.start
        copies = instruction.keyword in ("COPY", "ADD")
        if instruction.keyword == "USER" or (copies and _is_outside(found, instruction)):
            repeated.add(start)
        elif instruction.keyword == "RUN":
            steps = [step for step in found.steps if step.offset == start]
            wanted = [step for step in steps if _is_wanted(found, step)]
            if not wanted:
                continue
            repeated.add(start)
            others = [step for step in steps if step not in wanted and step.kind is not Kind.QUIET]
            parts = _parts(wanted, others) if others else None
            if parts is not None:
                texts[start] = f"{casing(subject)('RUN')} {parts}"
    return frozenset(repeated), texts


def _is_wanted(found: _Plan, step: Step) -> bool:
    """Whether the runtime stage must do it again."""
    project = found.project
    if step.kind is Kind.SYSTEM:
        if step.tool == "packages":
            return _wants_packages(found, step)
        if step.tool == "config":
            return any(other.kind is Kind.GLOBAL and _is_wanted(found, other) for other in found.steps)
        if step.tool == "mkdir":
            # WORKDIR makes it, and by the same user.
            made = {item.workdir for item in found.subject.known.values()}
            plain = all(other.kind is not Kind.OWNER for other in found.steps) and not any(
                item.keyword == "USER" for item in found.subject.head
            )
            return not plain or any(path not in made for path in step.names)
        return True
    if step.kind is Kind.OWNER:
        paths = step.names[1:]
        outside = [
            path for path in paths if path == project.folder or not path.startswith(f"{project.folder.rstrip('/')}/")
        ]
        if outside and len(outside) != len(paths):
            raise No(step.run.instruction, f"`{step.shown}` is about files of the project and others")
        missing = next((path for path in outside if not _is_there(found, step, path)), None)
        if missing is not None:
            raise No(step.run.instruction, f"{missing} is not there yet when the runtime stage gets to this RUN")
        return bool(outside)
    if step.kind is not Kind.GLOBAL:
        return False
    for name in step.names:
        program = _BUILD_PROGRAMS.get(name, name)
        if name in _MANAGERS:
            if name in found.needs.managers or program in found.needs.globals:
                return True
        elif name not in _BUILD_PROGRAMS or program in found.needs.globals:
            return True
    return False


def _is_there(found: _Plan, step: Step, path: str) -> bool:
    """Whether the runtime stage has a path when it gets to a step: of the base, by WORKDIR, mkdir or COPY."""
    if path in ("/", "/opt", "/srv", "/tmp") or re.match(r"/(?:etc|usr/local|usr/lib|var|home/node|root)(?:/|$)", path):
        inside = path == found.project.folder or found.project.folder.startswith(f"{path}/")
        if not inside or path in ("/home/node", "/var", "/root", "/etc", "/usr/local"):
            return True
    state = step.run.state.workdir or "/"
    places = [state]
    for other in found.steps:
        if other.tool == "mkdir" and other.offset <= step.offset:
            places += other.names
    for item in found.subject.head:
        if item.keyword == "WORKDIR" and item.span.start < step.offset:
            places.append(found.subject.known[item.span.start].workdir or "/")
    return any(place == path or place.startswith(f"{path.rstrip('/')}/") for place in places)


def _installed(found: _Plan, offset: int) -> list[str]:
    """The system's packages that a RUN installs."""
    return [
        re.split(r"[=<>~]", name)[0]
        for step in found.steps
        if step.offset == offset and step.tool == "packages" and step.names[:1] in (("install",), ("add",))
        for name in step.names[1:]
        if not name.startswith((".", "-"))
    ]


def _wants_packages(found: _Plan, step: Step) -> bool:
    """Whether the runtime stage needs what a command of the system's package manager does."""
    action, own = step.names[:1], _installed(found, step.offset)
    if action in (("upgrade",), ("dist-upgrade",), ("full-upgrade",)):
        return True
    if own:
        return not _only_compile(found, own)
    if action in (("del",), ("remove",), ("purge",), ("autoremove",)):
        return False  # more may be there than was
    others = {other.offset for other in found.steps if other.tool == "packages" and other.offset > step.offset}
    return action not in (("update",), ("makecache",)) or any(
        packages and not _only_compile(found, packages) for offset in others if (packages := _installed(found, offset))
    )


def _only_compile(found: _Plan, packages: Sequence[str]) -> bool:
    """Whether all of the packages are for compiling modules, and nothing starts programs of them."""
    if not _TOOLCHAIN.issuperset(packages):
        return False
    text = " ".join(found.project.dependencies)
    sources = (found.project.text(path) for path in found.project.files if path.endswith(SUFFIXES))
    return not _SPAWNING.search(text) and not any(_SPAWNING.search(source) for source in sources)


def _corepack(found: _Plan) -> list[str]:
    """The package manager that Corepack fetched, where the container starts it. Raises No where it is not known."""
    enabled = [step for step in found.steps if step.tool == "corepack"]
    if not enabled or not found.needs.managers & {"pnpm", "yarn"}:
        return []
    pinned = found.project.package.get("packageManager")
    activated = any("--activate" in step.command.texts or "-g" in step.command.texts for step in enabled)
    if activated and not pinned:
        return []  # the same RUN fetches it
    state, final = found.installs[-1].run.state, found.subject.final
    moved = {"COREPACK_HOME", "XDG_CACHE_HOME"} & {*final.environment, *state.environment}
    if state.home is None or moved:
        raise No(enabled[-1].run.instruction, "where Corepack keeps what it fetches is not known")
    if final.home != state.home:
        return []
    place = f"{state.home}/.cache/node/corepack"
    chown = " --chown=node:node" if state.home == "/home/node" else ""
    return [f"{casing(found.subject)('COPY')} --from={stage_names(found.subject)[0]}{chown} {place} {place}"]


def _parts(wanted: Sequence[Step], others: Sequence[Step]) -> str | None:
    """The commands of a chain that are to be repeated; None where all of it may be.

    Raises No where they are not links of a chain.
    """
    run = wanted[0].run
    script = run.script
    assert script is not None
    parts = [
        part
        for part in script.parts
        if any(part.command is step.command or part.span == step.command.span for step in wanted)
    ]
    if (
        len(parts) != len(wanted)
        or any(part.operator not in ("&&", "") for part in script.parts)
        or run.instruction.heredocs
    ):
        if all(step.kind in (Kind.QUIET, Kind.GLOBAL) for step in others):
            return None
        raise No(run.instruction, f"`{wanted[0].shown}` is needed at run time, and stands in one RUN with the build")
    return " && ".join(script.text[part.span.start : part.span.end] for part in parts)


def _is_outside(found: _Plan, instruction: Instruction) -> bool:
    """Whether a COPY puts nothing into the project. Raises No where only a part of it goes there."""
    mine = [entry for entry in found.entries if entry.instruction is instruction]
    if instruction.flag("from") is not None or any("://" in word.text for word in instruction.words):
        if _goes_into(found.subject, instruction, found.project.folder):
            raise No(instruction, "what it copies from elsewhere may be needed at run time")
        return True
    return not mine and not _goes_into(found.subject, instruction, found.project.folder)


def _copies(found: _Plan, keep: Keep) -> list[str]:
    """The lines that bring what is kept. Files of one owner share a line."""
    subject, project = found.subject, found.project
    word, stage = casing(subject)("COPY"), stage_names(subject)[0]
    near = _ending(subject).workdir == project.folder
    owned = owners(subject, project, found.entries, found.steps, keep.paths, whole=keep.whole)
    if keep.whole:
        chown = f" --chown={owned['.']}" if owned.get(".") else ""
        return [f"{word} --from={stage}{chown} {project.folder} {'./' if near else project.folder}"]
    lines: list[str] = []
    files: dict[str, list[str]] = {}
    for path in keep.paths:
        if path in keep.files:
            files.setdefault(owned.get(path, ""), []).append(path)
    for owner, names in files.items():
        if any(name.startswith(".env") for name in names):
            # Often there is none where the repository has just been cloned.
            names = [*(name for name in names if not name.startswith(".env")), ".env*"]
        chown = f" --chown={owner}" if owner else ""
        places = " ".join(posixpath.join(project.folder, name) for name in names)
        lines.append(f"{word} --from={stage}{chown} {places} {'./' if near else project.folder.rstrip('/') + '/'}")
    for path in keep.paths:
        if path not in keep.files:
            chown = f" --chown={owned[path]}" if owned.get(path) else ""
            target = f"./{path}" if near else posixpath.join(project.folder, path)
            lines.append(f"{word} --from={stage}{chown} {posixpath.join(project.folder, path)} {target}")
    return lines

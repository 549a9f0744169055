"""Splitting a Go file: the program is shipped on the slim image of the golang image's distribution.

What the golang image itself sets (GOLANG_VERSION, its part of PATH) is not in the new image, so a file that speaks of
it is left alone; GOPATH is written out where the file uses it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.passes import runtime_images, shipped
from buildopt.dockerfile.passes.build_steps import Repeated, Steps, is_removed, repeated, steps
from buildopt.dockerfile.passes.go_build import GoBuild, builds
from buildopt.dockerfile.passes.go_project import Project, project
from buildopt.dockerfile.passes.go_sources import Needs, program_needs
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.repeats import owners, relocated, same_owners, trimmed
from buildopt.dockerfile.passes.shipped import Landed
from buildopt.dockerfile.passes.splits import (
    No,
    Split,
    Subject,
    casing,
    copy_line,
    known_user,
    known_variables,
    plain_copy,
    uncovered,
)
from buildopt.dockerfile.passes.stand_alone import known_names
from buildopt.dockerfile.passes.started import Start, checked, started
from buildopt.dockerfile.passes.state import states_on
from buildopt.dockerfile.shell import Command

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_ZONES = "/usr/local/go/lib/time/zoneinfo.zip"
# The brackets make it a pattern: COPY of a pattern that matches nothing is no error.
_TYPES = "/etc/mime.type[s]"
_GO_COMMANDS = word_set("build install mod test vet version env fmt list get clean")
_GENERATORS = word_set("swag sqlc wire mockgen mockery protoc templ easyjson stringer golangci-lint gofmt goimports")
_UNSAFE_OPTIONS = word_set("-race -msan -asan -buildmode -linkshared -toolexec -overlay -C")
_BASE_NAMES = frozenset(("GOROOT", "GOLANG_VERSION", "GOTOOLCHAIN"))
# What is only used for building, and programs that nobody starts but by name.
_BUILD_PACKAGES = word_set(
    "autoconf automake binutils build-base build-essential ca-certificates clang cmake file g++ gcc gcc-multilib git "
    "git-lfs libc-dev libc6-dev libtool linux-headers make mercurial musl musl-dev pkg-config pkgconf pkgconfig "
    "protobuf-compiler protobuf protobuf-dev subversion upx upx-ucl golang apt-transport-https "
    "software-properties-common gnupg gnupg2 dirmngr lsb-release"
)
_TOOL_PACKAGES = word_set(
    "bash curl wget vim nano less unzip zip jq tree net-tools iputils-ping procps telnet dnsutils bind-tools "
    "openssh-client openssh busybox-extras htop sudo netcat netcat-openbsd netcat-traditional postgresql-client "
    "mysql-client default-mysql-client redis-tools iproute2 strace rsync xz-utils gettext"
)
_PATH = ("/go/bin", "/usr/local/go/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_COMPILERS = word_set("gcc g++ build-base clang")
_PROGRAMS_OF = {"postgresql-client": "psql pg_isready", "netcat": "nc", "netcat-openbsd": "nc", "procps": "ps pgrep"}
_OF_BUSYBOX = word_set("wget nc ping ps pgrep kill vi netstat unzip su adduser addgroup ip")
_IDLE_FOLDERS = frozenset(
    (".git", ".github", ".gitlab", ".circleci", ".idea", ".vscode", ".buildopt", "testdata", "vendor", "node_modules")
)
_SOURCES = ("*.go", "go.mod", "go.sum", "go.work", "go.work.sum")
_IDLE_FILES = (
    *("*.proto", "Makefile", "*.mk", "LICENSE*", "NOTICE*", "README*", "AUTHORS*", "CODEOWNERS", "CHANGELOG*"),
    *("CONTRIBUTING*", "Dockerfile*", "dockerfile*", "*.Dockerfile", "*.dockerfile", "docker-compose*", "compose.y*ml"),
    *("compose.*.y*ml", ".dockerignore", "dockerignore", ".gitignore", ".gitattributes", ".gitmodules"),
    *(".editorconfig", ".golangci.*", ".goreleaser.*", ".travis.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml"),
    *("Jenkinsfile", "renovate.json", "skaffold.yaml", "buildopt.yaml", ".air.toml", "sonar-project.properties"),
    *(
        ".DS_Store",
        "Taskfile.y*ml",
        "justfile",
        "CODE_OF_CONDUCT*",
        "SECURITY.md",
        "fly.toml",
        "Procfile",
        "cloudbuild.*",
    ),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was found out. ``outputs`` are the programs by the paths where they lie in the end."""

    subject: Subject
    files: Sequence[Landed]
    steps: Sequence[Steps]
    outputs: dict[str, GoBuild]
    start: Start
    check: Start
    needs: Needs
    static: bool
    packages: frozenset[str]

    def owner(self, path: str) -> str:
        """Whose a path of the build stage is, where it is not root's. Raises No."""
        return owners(self.subject, self.steps, self.files)(path)

    @property
    def words(self) -> set[str]:
        """The names of all commands that a container starts."""
        return {step.name for step in (*self.start.steps, *self.check.steps)}


def concerns(subject: Subject) -> bool:
    """Whether the base is the golang image."""
    return subject.final.base.repository == "golang"


def plan(subject: Subject) -> Split:
    """Ship the programs, and of the files those that they may read. Raises No."""
    entry = subject.entry()
    if entry is None:
        raise No(subject.origin, "there is no CMD or ENTRYPOINT: the image may be meant for working with Go")
    if re.match(r"^\W*go\W+run\b", entry.arguments.text):
        raise No(entry, "a container runs the sources with the go tool: no program is built that could be shipped")
    subject = _on_golang(subject)
    known_variables(subject, _BASE_NAMES, "golang")
    for instruction in subject.tail:
        if instruction.keyword in ("COPY", "ADD"):
            plain_copy(instruction)
    found = _found_out(subject)
    return _split(found)


def _on_golang(subject: Subject) -> Subject:
    """The subject with the variables that the golang image is known to set."""
    known = states_on(subject.dockerfile, {"GOPATH": "/go"})
    runs = [replace(run, state=known[run.instruction.span.start]) for run in subject.runs]
    return replace(subject, known=known, runs=runs)


def _found_out(subject: Subject) -> _Plan:
    files = shipped.landed(subject)
    places = project(subject, files)
    done = steps(subject, _is_build)
    for item in done:
        if item.odd:
            raise No(item.run.instruction, item.odd)
    outputs = _programs(subject, places, done)
    read = shipped.script_reader(subject, files)
    start, check = started(subject, read), checked(subject, read)
    outputs = _used(subject, outputs, start, check)
    needs = program_needs(subject, files, outputs)
    first = next(iter(outputs.values()))
    if needs.problem:
        raise No(first.run.instruction, needs.problem)
    packages = frozenset(name for item in done for name in item.packages)
    static = all(_without_cgo(build) for build in outputs.values())
    return _Plan(subject, files, done, outputs, start, check, needs, static, packages)


def _is_build(command: Command) -> bool:
    use = recognise(command)
    if use is not None and use.manager.name == "go":
        return (use.subcommand in _GO_COMMANDS or use.is_cleanup) and "-w" not in command.options
    return command.name in _GENERATORS


def _programs(subject: Subject, places: Project, done: Sequence[Steps]) -> dict[str, GoBuild]:
    """The programs by the paths where they lie in the end. Raises No where one is not known."""
    found: dict[str, GoBuild] = {}
    made = builds(subject.runs, places)
    if not made:
        raise No(subject.head[-1], "no `go build` or `go install` makes a program here")
    for build in made:
        _plain_build(build)
        if build.output is None:
            raise No(build.run.instruction, f"where the program goes is not known: {build.problem}")
        found[build.output] = build
    for item in done:
        for move in item.moves:
            moved = found.get(move.source)
            if moved is not None:
                target = move.target
                if target.endswith("/") or target in places.folders:
                    target = posixpath.join(target, posixpath.basename(move.source))
                found[target] = moved
                if move.removes:
                    del found[move.source]
    gone = [path for path, build in found.items() if _is_gone(done, path, build)]
    for path in gone:
        del found[path]
    if not found:
        raise No(subject.head[-1], "the program that is built is removed")
    return found


def _is_gone(done: Sequence[Steps], path: str, build: GoBuild) -> bool:
    later = [item for item in done if item.run.instruction.span.start > build.run.instruction.span.start]
    return is_removed([replace_moves(item) for item in later], path)


def replace_moves(item: Steps) -> Steps:
    """Moves are followed already: only what is removed counts."""
    return Steps(item.run, removed=item.removed)


def _plain_build(build: GoBuild) -> None:
    unsafe = _UNSAFE_OPTIONS & build.options
    if unsafe:
        raise No(build.run.instruction, f"with {sorted(unsafe)[0]} the program may not stand alone")
    if any(
        item.name in ("GOOS", "GOFLAGS", "GOBIN", "GOPATH") and item.value.text not in ("linux", "-mod=vendor")
        for item in build.use.command.environment
    ):
        raise No(build.run.instruction, "its variables decide what is built")
    environment = build.run.state.environment
    if environment.get("GOOS", "linux") != "linux" or re.search("race|buildmode", environment.get("GOFLAGS") or ""):
        raise No(build.run.instruction, "its variables decide what is built")


def _without_cgo(build: GoBuild) -> bool:
    own = {item.name: item.value.text for item in build.use.command.environment}
    return own.get("CGO_ENABLED", build.run.state.environment.get("CGO_ENABLED")) == "0"


def _used(subject: Subject, outputs: dict[str, GoBuild], start: Start, check: Start) -> dict[str, GoBuild]:
    """The programs; what a container starts must be among them, or be in every image. Raises No."""
    entry = subject.entry()
    assert entry is not None
    begun = False
    for step in (*start.steps, *check.steps):
        program = _program_of(step.command, step.folder, outputs)
        begun = begun or (program is not None and step in start.steps)
        if program is None and not step.by_shell and step in start.steps:
            break
    if not begun:
        shown = " ".join(entry.values)[:60]
        raise No(entry, f"`{shown}` is not the program that is built ({', '.join(list(outputs)[:3])})")
    return outputs


def _program_of(command: Command, folder: str, outputs: Collection[str]) -> str | None:
    """Which of the programs a command is."""
    word = command.argv[0].text if command.argv else None
    if not word:
        return None
    if "/" in word:
        path = posixpath.normpath(posixpath.join(folder, word))
        return path if path in outputs else None
    return next((path for path in _candidates(word) if path in outputs), None)


def _candidates(name: str) -> Iterable[str]:
    return (f"{folder}/{name}" for folder in _PATH)


def _split(found: _Plan) -> Split:
    subject = found.subject
    alone = _runtime(found)
    covers = _data(found)
    paths = [path for path in found.outputs if not _inside(path, covers[1])]
    uncovered(subject, (*found.outputs, *covers[1]))
    again = repeated(subject, found.steps, [*found.outputs, *covers[1]], lambda name: _is_needed(found, name))
    _all_is_there(found, again)
    _modes(found, covers[1])
    same_owners(subject, found.steps)
    users = [item for item in subject.head if item.keyword == "USER"]
    known_user((*users, *subject.tail), again.users)
    for item in subject.runs:
        if item.instruction.span.start in again.offsets and not item.state.root:
            raise No(item.instruction, "another user than root runs what the runtime stage must repeat")
    moved = relocated(subject, found.steps, again.offsets)
    lines = _extra_copies(found)
    if _by_name(found):
        lines.insert(0, f"{casing(subject)('ENV')} PATH=/go/bin:$PATH")
    shown = ", ".join(found.outputs) if len(found.outputs) < 4 else "what is built"
    what = f"only {shown} is shipped" if not covers[0] else f"only {shown} and the files that it may read are shipped"
    return Split(
        alone,
        (*lines, *covers[0], *(copy_line(subject, path, chown=found.owner(path)) for path in paths)),
        f"a build stage, and a runtime stage on {alone.rpartition('/')[2]}",
        f"{what}; compiler and module cache stay in the build stage",
        replayed=(again.offsets - moved) | {item.span.start for item in users},
        relocated=moved,
        texts=trimmed(subject, again.offsets, lambda name: _is_needed(found, name)),
        workdir="/go",
        first=_first(subject),
    )


def _first(subject: Subject) -> tuple[str, ...]:
    texts = [item.arguments.text for item in subject.body if item.keyword != "RUN"]
    if not any(re.search(r"\$\{?GOPATH\b", text) for text in texts):
        return ()
    return (f"{casing(subject)('ENV')} GOPATH=/go",)


def _runtime(found: _Plan) -> str:
    """The slim image of the golang image's distribution. Raises No where what C needs is not known."""
    subject, needs = found.subject, found.needs
    where = next(iter(found.outputs.values())).run.instruction
    tag = subject.final.base.tag.lower()
    base = runtime_images.release(subject, "golang")
    if found.static:
        return base.image(any_release=True)
    runtime_images.known_release(subject, static=False)
    libraries = [name for name in found.packages if name.endswith(("-dev", "-devel")) and name not in _BUILD_PACKAGES]
    if libraries:
        raise No(where, f"{sorted(libraries)[0]} may be what the program is linked with: cgo is not switched off")
    foreign = needs.cgo or bool(needs.unknown)
    if base.alpine:
        compiles = bool(_COMPILERS & found.packages)
        if compiles and foreign and not {"gcc", "musl-dev"} >= _COMPILERS & found.packages:
            raise No(where, "the program may use C++, whose library the alpine image lacks: cgo is not switched off")
        return base.image(any_release=not compiles)
    minor = runtime_images.minor_version(tag)
    bundled = any(not _is_pure(name) for name in needs.modules)
    settled = minor is not None and minor <= 22
    return base.image(any_release=not foreign and not bundled, floor="bookworm" if settled else "")


def _is_pure(module: str) -> bool:
    from buildopt.dockerfile.passes.go_modules import is_pure

    return is_pure(module)


def _data(found: _Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines that ship files of the source tree, and what they cover."""
    scripts = {*found.start.scripts, *found.check.scripts}
    needs = found.needs
    lines, covers = shipped.data_copies(
        found.subject, found.files, lambda item: item.path in scripts or _may_be_read(item, needs), found.owner
    )
    changed = [path for item in found.steps for path in (*item.removed, *(move.source for move in item.moves))]
    for path in covers:
        if any(
            relation(place, path) is not Relation.NONE and relation(path, place) is Relation.INSIDE for place in changed
        ):
            raise No(found.subject.head[-1], f"{path} may be read at run time, and a RUN moves or removes it")
    local = [item for item in found.files if shipped.is_environment(item)]
    if needs.settings or any(_may_be_read(item, needs) for item in local):
        lines += shipped.environment_files(found.subject, found.files, covers)
    return lines, covers


def _may_be_read(item: Landed, needs: Needs) -> bool:
    source = any(fnmatch(item.name, pattern) for pattern in _SOURCES)
    own = _parts(item.origin) | _parts(item.path)
    if not needs.names.isdisjoint(own):
        return True
    if source:
        return False
    above = {part for path in (posixpath.dirname(item.origin), posixpath.dirname(item.path)) for part in _folders(path)}
    idle = _IDLE_FOLDERS.intersection(item.origin.split("/")) or any(fnmatch(item.name, text) for text in _IDLE_FILES)
    if not needs.names.isdisjoint(above):
        return not idle or "/" in item.origin
    return needs.reads and not idle


def _parts(path: str) -> set[str]:
    """All that a file may be called: its path without the first folders."""
    names = path.lstrip("/").split("/")
    return {"/".join(names[start:]) for start in range(len(names))}


def _folders(path: str) -> set[str]:
    names = [name for name in path.split("/") if name]
    return {"/".join(names[start:end]) for start in range(len(names)) for end in range(start + 1, len(names) + 1)}


def _inside(path: str, folders: Iterable[str]) -> bool:
    return any(relation(path, folder) is Relation.INSIDE for folder in folders)


def _is_needed(found: _Plan, package: str) -> bool:
    """Whether a package is wanted at run time: not where it only serves the build or is a tool that nothing starts."""
    if package in _BUILD_PACKAGES:
        return package in found.words or package in found.needs.programs
    names = {package, *_PROGRAMS_OF.get(package, "").split()}
    if package in _TOOL_PACKAGES:
        return not names.isdisjoint(found.words | found.needs.programs) or _asks_for(found, package)
    return not package.endswith(("-dev", "-dbg", "-doc"))


def _asks_for(found: _Plan, package: str) -> bool:
    """Whether a script that is started names the package's program in its first line."""
    read = shipped.script_reader(found.subject, found.files)
    scripts = (*found.start.scripts, *found.check.scripts)
    return any(re.match(rf"#!.*\b{re.escape(package)}\b", read(path) or "") for path in scripts)


def _all_is_there(found: _Plan, again: Repeated) -> None:
    """Refuse what a container starts beside the program and the runtime image may lack. Raises No."""
    alpine = "alpine" in found.subject.final.base.tag.lower()
    there = again.packages | {name for package in again.packages for name in _PROGRAMS_OF.get(package, "").split()}
    for step in (*found.start.steps, *found.check.steps):
        if _program_of(step.command, step.folder, found.outputs) is not None or not step.command.words:
            continue
        word = step.command.argv[0].text if step.command.argv else ""
        name = step.name
        plain = bool(word) and (word == name or word in (f"/bin/{name}", f"/usr/bin/{name}"))
        if plain and (known_names(name) or name in there or (alpine and name in _OF_BUSYBOX)):
            continue
        if not step.command.argv and step.command.assignments:
            continue
        what = "health check" if step.instruction.keyword == "HEALTHCHECK" else "container"
        raise No(
            step.instruction,
            f"the {what} starts `{word or step.command.words[0].raw}`, which the smaller image may lack",
        )
    if not alpine:
        read = shipped.script_reader(found.subject, found.files)
        scripts = (*found.start.scripts, *found.check.scripts)
        odd = next(
            (
                path
                for path in scripts
                if not re.match(r"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|da)?sh\b", read(path) or "#!/bin/sh")
            ),
            None,
        )
        if odd is not None:
            raise No(found.subject.origin, f"what runs {odd} may not be in the smaller image")
        return
    if "bash" not in there and any(_asks_for(found, "bash") for _ in (0,)):
        raise No(found.subject.origin, "a script needs bash, which the smaller image lacks")


def _modes(found: _Plan, covers: Collection[str]) -> None:
    """Refuse a change of modes of what is not shipped with them. Raises No."""
    copied = {item.path for item in found.files}
    for item in found.steps:
        for path in item.modes:
            if path in found.outputs or path in copied or (path not in covers and _inside(path, covers)):
                continue
            if any(fnmatch(name, path) for name in (*found.outputs, *copied)):
                continue
            raise No(item.run.instruction, f"the mode of {path} is changed, and may matter at run time")


def _extra_copies(found: _Plan) -> list[str]:
    copies: list[str] = []
    needs = found.needs
    base = runtime_images.release(found.subject, "golang")
    if needs.certificates or "ca-certificates" in found.packages:
        copies.append(copy_line(found.subject, _CERTIFICATES))
    if needs.zones or "TZ" in found.subject.final.environment:
        trimmed = any("-trimpath" in build.options for build in found.outputs.values())
        if not trimmed:
            copies.append(copy_line(found.subject, _ZONES))
        elif not base.alpine and base.name not in ("buster", "bullseye", "bookworm"):
            where = next(iter(found.outputs.values())).run.instruction
            raise No(where, "with -trimpath its time zones come from files that the smaller image may lack")
    if needs.mime and not base.alpine:
        copies.append(copy_line(found.subject, _TYPES, "/etc/"))
    return copies


def _by_name(found: _Plan) -> bool:
    """Whether a program of /go/bin is started by its bare name."""
    for step in (*found.start.steps, *found.check.steps):
        path = _program_of(step.command, step.folder, found.outputs)
        word = step.command.argv[0].text if step.command.argv else None
        if path is not None and path.startswith("/go/bin/") and word and "/" not in word:
            return True
    return any(
        path.startswith("/go/bin/") and posixpath.basename(path) in found.needs.programs for path in found.outputs
    )

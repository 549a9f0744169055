"""Splitting a Go file: the programs are shipped on the slim image of the golang image's distribution.

What the golang image itself sets (GOLANG_VERSION, its part of PATH) is not in the new image, so a file that speaks of
it is left alone; GOPATH is written out where the file uses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from buildopt.dockerfile.managers import recognise, word_set
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import runtime_images
from buildopt.dockerfile.splits.compiled import BUILD_PACKAGES, CERTIFICATES, Reads, Shipment
from buildopt.dockerfile.splits.go_build import GoBuild, builds
from buildopt.dockerfile.splits.go_modules import is_pure
from buildopt.dockerfile.splits.go_project import Project, project
from buildopt.dockerfile.splits.go_sources import Needs, program_needs
from buildopt.dockerfile.splits.makefiles import with_recipes
from buildopt.dockerfile.splits.programs import copied, known_steps, on_image, started_programs, two_stages
from buildopt.dockerfile.splits.shipped import Landed
from buildopt.dockerfile.splits.splits import No, Split, Subject, copy_line, known_variables

_ZONES = "/usr/local/go/lib/time/zoneinfo.zip"
# What files are served as, beyond what Go knows by itself. COPY of a pattern that matches nothing is no error.
_TYPES = "/etc/mime.type[s]"
_GO_COMMANDS = word_set("build install mod test vet version env fmt list get clean")
_GENERATORS = word_set("swag sqlc wire mockgen mockery protoc templ easyjson stringer golangci-lint gofmt goimports")
_UNSAFE_OPTIONS = word_set("-race -msan -asan -buildmode -linkshared -toolexec -overlay -C")
_BASE_NAMES = frozenset(("GOROOT", "GOLANG_VERSION", "GOTOOLCHAIN"))
_CPLUSPLUS = word_set("g++ build-base clang")
# Settings of the go tool that only say where modules come from.
_SETTING = re.compile(r"GO(?:PROXY|SUMDB|PRIVATE|NOSUMDB|NOPROXY|111MODULE|INSECURE|NOSUMCHECK)=")
_SOURCES = ("*.go", "go.mod", "go.sum", "go.work", "go.work.sum")


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
    subject = on_image(subject, {"GOPATH": "/go", "PATH": None})
    known_variables(subject, _BASE_NAMES, "golang")
    files = copied(subject)
    subject = _with_recipes(subject, files)
    places = project(subject, files)
    done = known_steps(subject, _is_build)
    made = _builds(subject, places)
    built = [(build.output or "", build.run) for build in made]
    outputs, start, check = started_programs(subject, files, built, done, lambda path: path in places.folders)
    needs = program_needs(subject, files, outputs)
    if needs.problem:
        raise No(made[0].run.instruction, needs.problem)
    reads = Reads(needs.reads, needs.settings, needs.names, needs.programs)
    found = Shipment(subject, files, done, outputs, start, check, reads, _SOURCES)
    image = _runtime(found, needs, static=all(_without_cgo(build) for build in made))
    return two_stages(
        found,
        image,
        found.is_needed,
        stays="compiler and module cache",
        variable=("GOPATH", "/go"),
        lines=_extra_copies(found, needs, made, image),
        workdir="/go",
    )


def _with_recipes(subject: Subject, files: Sequence[Landed]) -> Subject:
    """The subject with the recipes of a Makefile in the place of ``make``."""
    return replace(subject, runs=[made for run in subject.runs for made in with_recipes(subject, run, files)])


def _is_build(command: Command) -> bool:
    use = recognise(command)
    if use is not None and use.manager.name == "go":
        harmless = use.subcommand in _GO_COMMANDS or use.is_cleanup
        return harmless and ("-w" not in command.options or all(map(_SETTING.match, command.texts[2:])))
    return command.name in _GENERATORS


def _builds(subject: Subject, places: Project) -> list[GoBuild]:
    made = builds(subject.runs, places)
    if not made:
        raise No(subject.head[-1], "no `go build` or `go install` makes a program here")
    for build in made:
        _plain_build(build)
        if build.output is None:
            raise No(build.run.instruction, f"where the program goes is not known: {build.problem}")
    return made


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
    if any(text.startswith("CGO_ENABLED=") for command in build.run.commands for text in command.texts):
        return False
    return own.get("CGO_ENABLED", build.run.state.environment.get("CGO_ENABLED")) == "0"


def _runtime(found: Shipment, needs: Needs, *, static: bool) -> str:
    """The slim image of the golang image's distribution. Raises No where what C needs is not known."""
    subject, where = found.subject, found.where.instruction
    base = runtime_images.release(subject, "golang")
    tag = subject.final.base.tag.lower()
    wanted = [name for name in found.packages if found.is_needed(name)]
    suite = runtime_images.golang_suite(tag)
    runtime_images.same_packages(subject, base, wanted, suite)
    if static:
        return base.image(any_release=not wanted or base.alpine, floor=suite or "")
    runtime_images.known_release(subject, static=False)
    libraries = [name for name in found.packages if name.endswith(("-dev", "-devel")) and name not in BUILD_PACKAGES]
    if libraries:
        raise No(where, f"{sorted(libraries)[0]} may be what the program is linked with: cgo is not switched off")
    foreign = needs.cgo or bool(needs.unknown)
    if base.alpine:
        compiles = bool(found.packages & (_CPLUSPLUS | {"gcc"}))
        if foreign and found.packages & _CPLUSPLUS:
            raise No(where, "the program may use C++, whose library the alpine image lacks: cgo is not switched off")
        return base.image(any_release=not compiles)
    if wanted:
        return base.image(any_release=False, floor=suite or "")
    minor = runtime_images.minor_version(tag)
    settled = minor is not None and minor <= 22
    pure = not foreign and all(is_pure(name) for name in needs.modules)
    return base.image(any_release=pure, floor="bookworm" if settled else "")


def _extra_copies(found: Shipment, needs: Needs, made: Sequence[GoBuild], image: str) -> list[str]:
    subject = found.subject
    copies: list[str] = []
    base = runtime_images.release(subject, "golang")
    if needs.certificates or "ca-certificates" in found.packages:
        copies.append(copy_line(subject, CERTIFICATES))
    trimmed_paths = any("-trimpath" in build.options for build in made)
    # Debian's own zones are all there up to bookworm; newer releases lack the old names, and Alpine has none.
    zones = needs.zones or "TZ" in subject.final.environment
    if zones and not trimmed_paths and not runtime_images.has_all_zones(image):
        copies.append(copy_line(subject, _ZONES))
    if needs.mime and not base.alpine:
        line = copy_line(subject, _TYPES, "/etc/")
        copies.append(f"# The brackets make it no error where the base has no such file.{subject.source.newline}{line}")
    return copies
